"""The cost model: estimates the milliseconds of one core that a task or a Recipe takes.

    bytes of the sources x a factor of their format  +  output pixels x a factor of the output's format

The pool estimates before any header is read: it takes the pixels from the Plan, and learns from earlier tasks. Its
estimates only order and bound the queue. `explain` knows the Recipe and takes the pixels from there.
The factors were measured on one core of a 2024 server: 12 MP of JPEG (4.5 MB) decode in 45 ms.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import assert_never

from cachetools import LRUCache

from cropmark.geometry.recipe import OriginalBytes, Recipe, Resolved
from cropmark.model.formats import TRAITS, Format, Info
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
"""Estimated output pixels per source byte, for a Plan that names no size."""
_MAX_ESTIMATED_PIXELS = 25_000_000
_MAX_LEARNED = 8192


@dataclass(frozen=True, slots=True)
class CostSource:
    """The facts about a source that are known before its header is read."""

    name: str
    """Identity and version."""
    bytes: int
    format: Format | None


@dataclass(frozen=True, slots=True)
class CostKey:
    """Tasks with the same key take about the same time: same first source, kind, format and magnitude of pixels."""

    source: str
    task: str
    format: Format | None = None
    magnitude: int = 0
    """Bit length of the number of requested pixels."""


class CostModel:
    """Estimates costs and corrects them by measured times. Bounded: the least recently used key is dropped."""

    def __init__(self) -> None:
        self._learned: LRUCache[CostKey, float] = LRUCache(_MAX_LEARNED)

    def estimate(self, task: Task, sources: Sequence[CostSource]) -> tuple[CostKey, float]:
        """The key of the task, and its estimated time in ms. `sources` are those that are present."""
        key = _cost_key(task, sources)
        learned_ms = self._learned.get(key)
        return key, _task_ms(task, sources) if learned_ms is None else learned_ms

    def record(self, key: CostKey, took_ms: float) -> None:
        """Learn from a measured time. A longer time counts less: it is more likely caused by load."""
        before_ms = self._learned.get(key, took_ms)
        self._learned[key] = before_ms + (took_ms - before_ms) / (4 if took_ms > before_ms else 2)


def resolved_ms(infos: Iterable[Info | None], resolved: Resolved | None) -> float:
    """Estimated time in ms of a resolved Plan, with the headers of its sources known."""
    if isinstance(resolved, OriginalBytes):
        return 0.0
    decode_ms = _decode_ms([CostSource("", info.bytes, info.format) for info in infos if info is not None])
    if not isinstance(resolved, Recipe):
        return decode_ms
    return decode_ms + _output_ms(resolved.size.area * resolved.frames, resolved.encoding.format)


def _cost_key(task: Task, sources: Sequence[CostSource]) -> CostKey:
    source = sources[0].name if sources else ""
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
            pixels = requested_pixels(plan) or 0
            return CostKey(source, "render", _output_format(plan, sources), pixels.bit_length())
        case _:
            assert_never(task)


def _task_ms(task: Task, sources: Sequence[CostSource]) -> float:
    match task:
        case Inspect():
            return INSPECT_MS
        case Compare():
            return _decode_ms(sources)
        case DrawOverlay():
            return _decode_ms(sources) + ENCODE_MS_PER_MP[Format.PNG]
        case Analyze():
            return ANALYZE_MS + _decode_ms(sources)
        case Render(plan):
            first = sources[0] if sources else CostSource("", 0, None)
            pixels = requested_pixels(plan) or min(first.bytes * _PIXELS_PER_BYTE, _MAX_ESTIMATED_PIXELS)
            return _decode_ms(sources) + _output_ms(pixels, _output_format(plan, sources) or first.format)
        case _:
            assert_never(task)


def _decode_ms(sources: Iterable[CostSource]) -> float:
    return sum(s.bytes / 1e6 * DECODE_MS_PER_MB.get(s.format, DECODE_MS_PER_MB[None]) for s in sources)


def _output_ms(pixels: int, output: Format | None) -> float:
    return pixels / 1e6 * (ENCODE_MS_PER_MP.get(output, ENCODE_MS_PER_MP[None]) + _STEPS_MS_PER_MP)


def _output_format(plan: Plan, sources: Sequence[CostSource]) -> Format | None:
    """The format of the first choice that the first source's format does not exclude; None: the source's format."""
    source_format = sources[0].format if sources else None
    for choice in plan.output.choices:
        if not any(_matches_format(source_format, skipped) for skipped in choice.skipped_for):
            return choice.format
    return None


def _matches_format(source_format: Format | None, rule: SourceFilter) -> bool:
    """True if the rule matches every image of the format. A format without animations also matches a rule on stills."""
    if source_format is None or rule == SourceFilter():
        return False
    if rule.formats is not None and source_format not in rule.formats:
        return False
    is_still_rule = rule.animated is False and not TRAITS[source_format].animated
    return rule == SourceFilter(rule.formats, animated=False if is_still_rule else None)


def requested_pixels(plan: Plan) -> int | None:
    """The largest pixel count that a Step requests; None if no Step names a size in pixels.

    A missing side counts as equal to the other: Resize(800 px, None) requests 640,000.
    """
    return max((pixels for step in plan.steps if (pixels := _step_pixels(step)) is not None), default=None)


def _step_pixels(step: object) -> int | None:
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
