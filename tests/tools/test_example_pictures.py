"""The pictures of the documentation site: one row for each parameter, rendered by this version."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

from cropmark.dialects import registry

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import documentation_site
import example_pictures


def test_each_parameter_has_a_row_with_pictures_that_differ(tmp_path: Path) -> None:
    kontent = registry.entry("kontent")
    names = ("w", "fit", "fp-z", "auto", "bg")
    chosen = tuple(doc for doc in kontent.cls.params if doc.name in names)
    entry = replace(kontent, cls=type("Some", (kontent.cls,), {"params": chosen, "__slots__": ()}))
    example_pictures.write_pictures(tmp_path, [entry])
    rows = {row["name"]: row for row in json.loads((tmp_path / "pictures.json").read_text())["kontent"]}
    assert set(rows) == set(names)
    size = {name: Image.open(tmp_path / row["after"]["file"]).size for name, row in rows.items() if not row["same"]}
    assert size == {"w": (300, 225), "fit": (300, 150), "fp-z": (200, 200), "auto": (1024, 768)}
    assert rows["bg"]["same"], "the photograph is opaque"
    before = tmp_path / rows["w"]["before"]["file"]
    assert (before.read_bytes(), rows["w"]["before"]["text"]) == (
        (example_pictures.IMAGES / example_pictures.IMAGE).read_bytes(),
        f"JPEG, {before.stat().st_size:,} bytes",
    )
    section = documentation_site.before_and_after(list(rows.values()))
    assert section.count("<img ") == 8
    assert "| `w` | <img " in section
    assert "WEBP, " in section


def test_together_has_parameters_of_the_dialect() -> None:
    for entry in registry.DIALECTS:
        for place in (entry.name, *(header for header, _ in entry.header_params)):
            for query in example_pictures.TOGETHER[place]:
                used = {pair.partition("=")[0] for pair in query.split("&") if pair}
                assert used <= entry.parameter_names, place
