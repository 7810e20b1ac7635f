"""How long a task will take, guessed before it runs: from its source and Plan, or from how it went before.

    bytes of the sources x a factor of their format  +  pixels asked for x a factor of the output's format

in milliseconds of one core. A guess only orders and bounds the queue; what a renderer may really do is decided by it,
from the header. The factors are of the tables in docs/performance.md: 12 MP of JPEG (4.5 MB) decode in 45 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from cachetools import LRUCache

from cropmark.model.formats import TRAITS, Format
from cropmark.model.values import Length, Pixels
from cropmark.plan.plan import Plan
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import Canvas, Dimensions, Montage, Resize
from cropmark.renderers.tasks import Analyze, Compare, DrawOverlay, Inspect, Render, Task

# fmt: off
DECODE_MS_PER_MB: dict[Format | None, float] = {
    Format.JPEG: 10, Format.PNG: 20, Format.WEBP: 80, Format.GIF: 100, Format.AVIF: 300, Format.TIFF: 5, None: 20,
}
ENCODE_MS_PER_MP: dict[Format | None, float] = {
    Format.JPEG: 12, Format.PNG: 75, Format.WEBP: 45, Format.GIF: 450, Format.AVIF: 75, None: 45,
}
# fmt: on
INSPECT_MS = 2.0
ANALYZE_MS = 140.0
_STEPS_MS_PER_MP = 15.0
_PIXELS_PER_BYTE = 3
"""Of a source whose size nobody knows, for a Plan that does not resize it."""
_MOST_GUESSED_PIXELS = 25_000_000
_LEARNED = 8192


@dataclass(frozen=True, slots=True)
class CostKey:
    """Tasks that take about the same time on one source: its name, what is done, pixels asked for by powers of two."""

    source: str
    task: str
    format: Format | None = None
    magnitude: int = 0


class CostModel:
    """Guesses, and what became of them. Bounded; the least recently used is forgotten."""

    def __init__(self) -> None:
        self._learned: LRUCache[CostKey, float] = LRUCache(_LEARNED)

    def guess_ms(self, task: Task, sources: Sequence[tuple[str, int, Format | None]]) -> tuple[CostKey, float]:
        """The task's sort, and how long it will take.

        `sources` are name and version in one, bytes, and format of each that is there.
        """
        sort = _sort(task, sources)
        learned = self._learned.get(sort)
        return sort, _guess(task, sources) if learned is None else learned

    def learn(self, sort: CostKey, took_ms: float) -> None:
        """How long one of the sort took. One that took longer than before says more of the load than of itself."""
        before = self._learned.get(sort, took_ms)
        self._learned[sort] = before + (took_ms - before) / (4 if took_ms > before else 2)


def _sort(task: Task, sources: Sequence[tuple[str, int, Format | None]]) -> CostKey:
    source = sources[0][0] if sources else ""
    match task:
        case Inspect():
            return CostKey(source, "inspect")
        case Compare():
            return CostKey(source, "compare")
        case DrawOverlay():
            return CostKey(source, "draw")
        case Analyze():
            return CostKey(source, "analyze")
        case Render(plan):
            pixels = asked_pixels(plan) or 0
            return CostKey(source, "render", _written(plan, sources), pixels.bit_length())
        case _:
            assert_never(task)


def _guess(task: Task, sources: Sequence[tuple[str, int, Format | None]]) -> float:
    match task:
        case Inspect():
            return INSPECT_MS
        case Compare():
            return _decoding(sources)
        case DrawOverlay():
            return _decoding(sources) + ENCODE_MS_PER_MP[Format.PNG]
        case Analyze():
            return ANALYZE_MS + _decoding(sources)
        case Render(plan):
            first_bytes, first_format = (sources[0][1], sources[0][2]) if sources else (0, None)
            pixels = asked_pixels(plan) or min(first_bytes * _PIXELS_PER_BYTE, _MOST_GUESSED_PIXELS)
            encode = ENCODE_MS_PER_MP.get(_written(plan, sources) or first_format, ENCODE_MS_PER_MP[None])
            return _decoding(sources) + pixels / 1e6 * (encode + _STEPS_MS_PER_MP)
        case _:
            assert_never(task)


def _written(plan: Plan, sources: Sequence[tuple[str, int, Format | None]]) -> Format | None:
    """The format of the first choice that the first source's format alone does not rule out; None: its own."""
    kind = sources[0][2] if sources else None
    for choice in plan.output.choices:
        if not any(_of_format(kind, skipped) for skipped in choice.skipped_for):
            return choice.format
    return None


def _of_format(kind: Format | None, rule: SourceFilter) -> bool:
    """Whether the rule is about all pictures of a format; of one that never moves, so is a rule about stills."""
    if kind is None or rule == SourceFilter() or (rule.formats is not None and kind not in rule.formats):
        return False
    stills = rule.animated is False and not TRAITS[kind].animated
    return rule == SourceFilter(rule.formats, animated=False if stills else None)


def _decoding(sources: Sequence[tuple[str, int, Format | None]]) -> float:
    return sum(count / 1e6 * DECODE_MS_PER_MB.get(kind, DECODE_MS_PER_MB[None]) for _, count, kind in sources)


def asked_pixels(plan: Plan) -> int | None:
    """The most pixels that one Step asks for; None where none names a size in pixels.

    A side left out is taken for as long as the other: Resize(800 px, None) asks for 640,000.
    """
    asked = [pixels for step in plan.steps if (pixels := _asked_by(step)) is not None]
    return max(asked, default=None)


def _asked_by(step: object) -> int | None:
    match step:
        case Montage(size=size):
            return size.area
        case Resize(width=width, height=height, dpr=dpr):
            return _area(width, height, dpr)
        case Canvas(shape=Dimensions(width, height)):
            return _area(width, height, Fraction(1))
        case _:
            return None


def _area(width: Length | None, height: Length | None, dpr: Fraction) -> int | None:
    sides = [length.count for length in (width, height) if isinstance(length, Pixels)]
    if not sides:
        return None
    return int(sides[0] * sides[-1] * dpr * dpr)
