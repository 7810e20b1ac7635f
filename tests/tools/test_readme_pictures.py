"""The README's pictures: small files, each the response to the URL next to it."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from PIL import Image

from cropmark import render

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import readme_pictures

ROOT = readme_pictures.ROOT
README = (ROOT / "README.md").read_text("utf-8")


def test_the_first_screen_has_the_playground_and_three_urls_with_their_images() -> None:
    first_screen = "\n".join(README.splitlines()[:30])
    assert "](docs/images/playground.webp)" in first_screen
    assert len(readme_pictures.urls(first_screen)) == 3
    shown = {name for _, name in readme_pictures.urls(README)} | {"playground.webp"}
    assert shown == {path.name for path in readme_pictures.PICTURES.iterdir()}
    for path in readme_pictures.PICTURES.iterdir():
        assert path.stat().st_size <= readme_pictures.MAX_BYTES, path.name
    assert Image.open(readme_pictures.PICTURES / "playground.webp").size == readme_pictures.SIZE


def test_each_picture_is_the_response_to_its_url() -> None:
    """Nearly: the encoders of another machine may differ."""
    for path, name in readme_pictures.urls(README):
        found = re.fullmatch(r"/(\w+)/([\w.]+)\?(.*)", path)
        assert found is not None
        dialect, image, query = found.groups()
        body = render(ROOT / "examples" / "images" / image, query, dialect=dialect).body
        new, old = (Image.open(io.BytesIO(each)) for each in (body, (readme_pictures.PICTURES / name).read_bytes()))
        assert (new.size, new.format) == (old.size, old.format), name
        gray = [list(each.convert("L").resize((16, 16)).tobytes()) for each in (new, old)]
        assert max(abs(one - other) for one, other in zip(*gray, strict=True)) < 16, name
