"""Shows how far the constants of smart crops generalize: fitted on ten photographs, scored on the other ten.

    python benchmarks/smart_splits.py          tests/data/corpus; writes SMART_SPLITS.md
    python benchmarks/smart_splits.py FOLDER   other photographs

A fit takes the median of each constant in the BEST best of SETS random sets, which are drawn from RANGES without regard
to the values in the code. The single best set would be a matter of chance: many sets score the same on ten photographs.
"""

from __future__ import annotations

import random
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType

from eval_smart import CORPUS, HERE, Windows, score
from smart_corpus import ASPECTS, Photo, photos

from cropmark.analysis import models, saliency
from cropmark.engine.analyze import analyze
from cropmark.geometry import smart_crop, smart_faces, smart_profile
from cropmark.geometry.findings import Analysis
from cropmark.geometry.view import View
from cropmark.model.values import Box

SPLITS, SETS, BEST, SEED = 20, 400, 40, 13

UNCERTAINTIES = (0.1, 0.15, 0.2, 0.3)
"""Values of saliency.MAX_UNCERTAINTY: each needs an analysis of all photographs."""
RANGES: Mapping[tuple[ModuleType, str], tuple[float, float]] = {
    (smart_crop, "FACE_WORTH"): (1.5, 6),
    (smart_crop, "OFF_BALANCE_PENALTY"): (0, 0.3),
    (smart_crop, "CUT_PENALTY"): (0, 0.2),
    (smart_crop, "SPACE"): (0, 0.4),
    (smart_profile, "TOP_WEIGHT"): (0, 1.5),
    (smart_faces, "LARGE_FACE"): (0.1, 0.5),
}

Analyses = Mapping[float, Mapping[str, Analysis]]


@dataclass(frozen=True)
class Constants:
    uncertainty: float
    values: tuple[float, ...]
    """In the order of RANGES."""


@dataclass(frozen=True)
class Split:
    """Scores on one half: with constants from the other half, from the code, and the best of all sets."""

    fitted: float
    shipped: float
    best: float


def main(arguments: Sequence[str]) -> int:
    folder = Path(arguments[0]) if arguments else CORPUS
    corpus = photos(folder)
    shipped = Constants(saliency.MAX_UNCERTAINTY, tuple(getattr(*place) for place in RANGES))
    analyses = _analyses(corpus)
    sets = [*_random_sets(), shipped]
    windows = {constants: _windows(corpus, analyses[constants.uncertainty], constants) for constants in sets}
    splits = [_split(corpus, windows, shipped, analyses, seed) for seed in range(SPLITS)]
    page = _page(splits, len(corpus))
    print(page)
    if not arguments:
        (HERE / "SMART_SPLITS.md").write_text(page)
    return 0


def _analyses(corpus: Sequence[Photo]) -> Analyses:
    networks = models.load_models()
    found = {}
    for uncertainty in sorted({*UNCERTAINTIES, saliency.MAX_UNCERTAINTY}):
        _set_constant(saliency, "MAX_UNCERTAINTY", uncertainty)
        found[uncertainty] = {photo.name: analyze(photo.data, networks) for photo in corpus}
    return found


def _set_constant(module: ModuleType, name: str, value: float) -> None:
    setattr(module, name, value)


def _random_sets() -> list[Constants]:
    draw = random.Random(SEED)
    return [
        Constants(draw.choice(UNCERTAINTIES), tuple(draw.uniform(*limits) for limits in RANGES.values()))
        for _ in range(SETS)
    ]


def _windows(corpus: Sequence[Photo], analyses: Mapping[str, Analysis], constants: Constants) -> Windows:
    for (module, name), value in zip(RANGES, constants.values, strict=True):
        _set_constant(module, name, value)
    return {
        (photo.name, aspect): _window(photo, aspect, analyses[photo.name]) for photo in corpus for aspect in ASPECTS
    }


def _window(photo: Photo, aspect: str, analysis: Analysis) -> Box:
    size = photo.window_size(aspect)
    placed = smart_crop.smart_placement((Fraction(size.width), Fraction(size.height)), View(photo.size), analysis)
    free_x, free_y = photo.size.width - size.width, photo.size.height - size.height
    left, top = (round(placed.left), round(placed.top)) if placed else (free_x // 2, free_y // 2)
    return Box(min(left, free_x), min(top, free_y), size.width, size.height)


def _split(
    corpus: Sequence[Photo], windows: Mapping[Constants, Windows], shipped: Constants, analyses: Analyses, seed: int
) -> Split:
    half = set(random.Random(seed).sample(range(len(corpus)), len(corpus) // 2))
    fit = [photo for i, photo in enumerate(corpus) if i in half]
    other = [photo for i, photo in enumerate(corpus) if i not in half]
    drawn = [constants for constants in windows if constants != shipped]
    fitted = _medians(sorted(drawn, key=lambda constants: -_mean_score(fit, windows[constants]))[:BEST])
    return Split(
        fitted=_mean_score(other, _windows(other, analyses[fitted.uncertainty], fitted)),
        shipped=_mean_score(other, windows[shipped]),
        best=max(_mean_score(other, windows[constants]) for constants in drawn),
    )


def _medians(sets: Sequence[Constants]) -> Constants:
    values = zip(*(constants.values for constants in sets), strict=True)
    return Constants(
        statistics.median_low(constants.uncertainty for constants in sets),
        tuple(statistics.median(constant) for constant in values),
    )


def _mean_score(corpus: Sequence[Photo], windows: Windows) -> float:
    """The mean of the scores that a smart crop is held to: faces, subject, and subject without faces."""
    found = score(corpus, windows)
    return statistics.fmean(
        value for value in (found.faces, found.subject, found.subject_without_faces) if value is not None
    )


def _page(splits: Sequence[Split], count: int) -> str:
    losses = {
        "constants of the code": [split.shipped - split.fitted for split in splits],
        "best set for the half": [split.best - split.fitted for split in splits],
    }
    return "\n".join(
        [
            "# Constants of smart crops on photographs that they were not fitted to",
            "",
            f"Written by `make smart-splits`. {SPLITS} times, {count} annotated photographs are split at random into",
            f"two halves. {len(RANGES) + 1} constants are fitted on one half: each is the median of the {BEST} best of",
            f"{SETS} sets drawn at random from wide ranges. Then they are scored on the other half. A score is the",
            "mean of faces whole, subject inside, and subject inside without faces, in percent.",
            "",
            "| split | fitted on the other half | constants of the code | best set for this half |",
            "| --- | --- | --- | --- |",
            *(f"| {i} | {s.fitted:.1f} | {s.shipped:.1f} | {s.best:.1f} |" for i, s in enumerate(splits, 1)),
            f"| mean | {_mean(splits, 'fitted'):.2f} | {_mean(splits, 'shipped'):.2f} | {_mean(splits, 'best'):.2f} |",
            "",
            *(
                f"- Loss against the {other}: mean {statistics.fmean(loss):.2f}, most {max(loss):.2f}."
                for other, loss in losses.items()
            ),
            "",
        ]
    )


def _mean(splits: Sequence[Split], name: str) -> float:
    return statistics.fmean(getattr(split, name) for split in splits)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
