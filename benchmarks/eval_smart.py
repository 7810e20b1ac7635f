"""Scores smart crops on annotated photographs, against the center, libvips and smartcrop.py.

    python benchmarks/eval_smart.py                         the project's photographs; writes SMART.md and smart.jpg
    python benchmarks/eval_smart.py FOLDER... [--out DIR]   other ones: annotations.json and photos/, as in
                                                            tests/data/corpus (its README says how they are scored)

smartcrop.py takes part where it is installed: `pip install -r benchmarks/smart-peers.txt`.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("VIPS_CONCURRENCY", "1")

from rich.console import Console
from rich.table import Table
from smart_corpus import ASPECTS, Photo, photos
from smart_methods import Cropmark, Method, Times, peers, resident_mb
from smart_sheet import sheet

from cropmark.model.values import Box

HERE = Path(__file__).parent
CORPUS = HERE.parent / "tests" / "data" / "corpus"
OWN_PHOTOGRAPHS = HERE.parent / "tests" / "data" / "photographs"

Windows = dict[tuple[str, str], Box]
"""By a photograph's name and an aspect."""


@dataclass(frozen=True, slots=True)
class Score:
    """Percent; of a corpus without such things, None."""

    faces: float | None
    subject: float | None
    subject_without_faces: float | None
    heads: float | None
    """Share of animal heads that are complete. Not a target; people look for it."""


def main(arguments: Sequence[str]) -> int:
    requested = _arguments(arguments)
    corpora = [photos(folder) for folder in requested.folders or (CORPUS, OWN_PHOTOGRAPHS)]
    every = [photo for corpus in corpora for photo in corpus]
    before_mb = resident_mb()
    ours = Cropmark()
    methods: list[Method] = [ours, *peers()]
    windows = {method.name: _windows(method, every) for method in methods}
    windows["best possible"] = {key: box for photo in every for key, box in _best(photo).items()}
    tables = [{name: score(corpus, found) for name, found in windows.items()} for corpus in corpora]
    facts = _facts(every, ours, before_mb)
    _print(tables, facts)
    out = requested.out or (None if requested.folders else HERE)
    if out is not None:
        (out / "smart.jpg").write_bytes(sheet(every, windows, ours.analyses))
        (out / "SMART.md").write_text(_page(corpora, tables, facts))
        print(f"wrote {out / 'SMART.md'} and {out / 'smart.jpg'}")
    return 0


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help="the project's two folders by default")
    parser.add_argument("--out", type=Path, help="where SMART.md and smart.jpg go")
    return parser.parse_args(arguments)


def _windows(method: Method, corpus: Sequence[Photo]) -> Windows:
    return {(photo.name, aspect): method.window(photo, aspect) for photo in corpus for aspect in ASPECTS}


def _facts(corpus: Sequence[Photo], ours: Cropmark, before_mb: float) -> list[str]:
    return [
        f"main faces found at a score of 0.8: {_found(corpus, ours)}",
        f"analysis, ms: {_times(ours.analysis)}",
        f"choice of a window, ms: {_times(ours.choice)}",
        f"resident memory, MB: {before_mb:.0f} without networks, {ours.resident_mb:.0f} after {len(corpus)} images",
    ]


def _times(times: Times) -> str:
    cpu, clock = times.cpu_ms, times.clock_ms
    middle = statistics.median
    return (
        f"median {middle(cpu):.3g} of CPU, {middle(clock):.3g} by the clock; most {max(cpu):.3g} and {max(clock):.3g}"
    )


# ---------------------------------------------------------------------------------------------- scores


def score(corpus: Sequence[Photo], windows: Windows) -> Score:
    """As the corpus' README says."""
    pairs = [(photo, windows[photo.name, aspect]) for photo in corpus for aspect in ASPECTS]
    return Score(
        faces=_percent(_whole(face, window) for photo, window in pairs for face in photo.faces),
        subject=_percent(_inside(photo.subject, window) for photo, window in pairs),
        subject_without_faces=_percent(_inside(photo.subject, window) for photo, window in pairs if not photo.faces),
        heads=_percent(_whole(head, window) for photo, window in pairs for head in photo.heads),
    )


def _percent(values: Iterable[float]) -> float | None:
    stored = list(values)
    return 100 * statistics.fmean(stored) if stored else None


def _inside(box: Box, window: Box) -> float:
    """The part of the box that the window holds."""
    across = min(box.right, window.right) - max(box.left, window.left)
    down = min(box.bottom, window.bottom) - max(box.top, window.top)
    return max(across, 0) * max(down, 0) / (box.width * box.height)


def _whole(box: Box, window: Box) -> bool:
    return _inside(box, window) >= 0.98


def _best(photo: Photo) -> Windows:
    """The windows with the most complete faces, then the most of the subject: the upper bound for any method."""
    found = {}
    for aspect in ASPECTS:
        size = photo.window_size(aspect)
        rights, downs = photo.size.width - size.width, photo.size.height - size.height
        tried = [Box(left, top, size.width, size.height) for left in range(rights + 1) for top in range(downs + 1)]
        found[photo.name, aspect] = max(
            tried,
            key=lambda window: (sum(_whole(face, window) for face in photo.faces), _inside(photo.subject, window)),
        )
    return found


def _found(corpus: Sequence[Photo], ours: Cropmark) -> str:
    """The number of main faces matched by a detection (at least 0.4 of the common area), and of false detections."""
    main = found = strange = 0
    for photo in corpus:
        detected = [box for box, value in ours.faces(photo) if value >= 0.8]
        main += len(photo.faces)
        found += sum(any(_union_share(face, box) >= 0.4 for box in detected) for face in photo.faces)
        known = (*photo.faces, *photo.minor_faces, *photo.heads)
        strange += sum(not any(_union_share(face, box) >= 0.2 for face in known) for box in detected)
    return f"{found} of {main}; {strange} detections are neither a face nor a head"


def _union_share(one: Box, other: Box) -> float:
    shared = _inside(one, other) * one.width * one.height
    return shared / (one.width * one.height + other.width * other.height - shared)


# ---------------------------------------------------------------------------------------------- the page

COLUMNS = ("faces whole, %", "subject inside, %", "subject, no faces, %", "animal heads whole, %")


def _cells(score: Score) -> list[str]:
    values = (score.faces, score.subject, score.subject_without_faces, score.heads)
    return ["-" if value is None else f"{value:.1f}" for value in values]


def _print(tables: Sequence[dict[str, Score]], facts: Sequence[str]) -> None:
    console = Console()
    for scores in tables:
        table = Table("", *COLUMNS, title="smart crops")
        for name, found in scores.items():
            table.add_row(name, *_cells(found), style="bold" if name == Cropmark.name else "")
        console.print(table)
    for fact in facts:
        console.print(fact)


def _page(corpora: Sequence[Sequence[Photo]], tables: Sequence[dict[str, Score]], facts: Sequence[str]) -> str:
    lines = [
        "# Scores of smart crops",
        "",
        f"Written by `make eval-smart` on {datetime.now(UTC):%Y-%m-%d}, of annotated photographs in",
        f"{len(ASPECTS)} aspects: {', '.join(ASPECTS)}.",
        "",
        "- *Faces whole*, *animal heads whole*: at least 98 % of the box is inside the window.",
        "- *Subject inside*: the mean share of the subject's box inside the window.",
        "- *Best possible*: the windows with the most complete faces, then the most of the subject.",
        *(line for corpus, scores in zip(corpora, tables, strict=True) for line in _table(corpus, scores)),
        "",
        *(f"- {fact}" for fact in facts),
        "",
        "Times are elapsed times of one thread, on a machine that may have had other work.",
        "",
        "![each photograph with its windows](smart.jpg)",
        "",
        "In the sheet, first the photograph: faces green, bystanders yellow, animals' heads blue, the subject red,",
        "detections as rings. Then by aspect: cropmark's window is bright, and the windows of others are lines:",
        "the center white, libvips' attention orange, smartcrop.py blue.",
        "Photographers and licenses: CREDITS.md in the folders of the photographs.",
        "",
    ]
    return "\n".join(lines)


def _table(corpus: Sequence[Photo], scores: dict[str, Score]) -> list[str]:
    return [
        "",
        f"The {len(corpus)} photographs of `tests/data/{corpus[0].path.parents[1].name}`:",
        "",
        f"| | {' | '.join(COLUMNS)} |",
        f"| --- |{' --- |' * len(COLUMNS)}",
        *(f"| {name} | {' | '.join(_cells(found))} |" for name, found in scores.items()),
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
