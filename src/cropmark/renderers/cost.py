"""The cost model: estimates the milliseconds of one core that a task takes, before any of its sources is read.

The Plan is resolved against the sources' headers where an earlier task reported them, else against headers that are
guessed from the number of bytes. `geometry.cost` gives the time of the Recipe, and measured times correct it. The
estimates only order and bound the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from typing import assert_never

from cachetools import LRUCache

from cropmark.geometry.cost import decode_ms, encode_ms, op_ms, recipe_ms
from cropmark.geometry.findings import Findings
from cropmark.geometry.recipe import Encoding, Need, OriginalBytes, Recipe, Resolved
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import READABLE, Format, Info
from cropmark.model.problems import Problem
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Plan
from cropmark.ports import OpenSource
from cropmark.renderers.tasks import Analyze, Compare, DrawOverlay, Inspect, Render, Task

INSPECT_MS = 2.0
ANALYZE_MS = 140.0
_PIXELS_PER_BYTE = {Format.JPEG: 4, Format.PNG: 1, Format.WEBP: 8, Format.GIF: 4, Format.AVIF: 16, Format.TIFF: 1}
_MAX_GUESSED_PIXELS = 25_000_000
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
    """Tasks with the same key take about the same time: same first source, kind, and magnitude of the estimate."""

    source: str
    task: str
    magnitude: int
    """Bit length of the estimated milliseconds."""


def cost_name(source: OpenSource) -> str:
    """Identity and version of a source."""
    return f"{source.version.identity} {source.version.version}"


class CostModel:
    """Estimates costs and corrects them by measured times. Bounded: the least recently used key is dropped."""

    def __init__(self) -> None:
        self._learned: LRUCache[CostKey, float] = LRUCache(_MAX_LEARNED)
        self._headers: LRUCache[str, Info] = LRUCache(_MAX_LEARNED)

    def estimate(self, task: Task, sources: Sequence[CostSource | None]) -> tuple[CostKey, float]:
        """The key of the task, and its estimated time in ms. `sources` has None for each that is missing."""
        estimated_ms = _task_ms(task, tuple(None if source is None else self._info(source) for source in sources))
        first = next((source.name for source in sources if source is not None), "")
        key = CostKey(first, type(task).__name__, int(estimated_ms).bit_length())
        return key, self._learned.get(key, estimated_ms)

    def record(self, key: CostKey, took_ms: float) -> None:
        """Learn from a measured time. A longer time counts less: it is more likely caused by load."""
        before_ms = self._learned.get(key, took_ms)
        self._learned[key] = before_ms + (took_ms - before_ms) / (4 if took_ms > before_ms else 2)

    def record_header(self, name: str, info: Info) -> None:
        """Learn the header of the source with this identity and version."""
        self._headers[name] = info

    def _info(self, source: CostSource) -> Info:
        return self._headers.get(source.name) or _guessed_info(source)


def resolved_ms(infos: Sequence[Info | None], resolved: Resolved | None) -> float:
    """Estimated time in ms of a resolved Plan, with the headers of its sources known."""
    match resolved:
        case Recipe():
            return recipe_ms(resolved, infos)
        case OriginalBytes():
            return 0.0
        case _:
            return sum(decode_ms(info) for info in infos if info is not None)


def _task_ms(task: Task, infos: tuple[Info | None, ...]) -> float:
    decoding_ms = sum(decode_ms(info) for info in infos if info is not None)
    match task:
        case Inspect():
            return INSPECT_MS
        case Compare():
            return decoding_ms
        case DrawOverlay():
            pixels = sum(info.stored_size.area for info in infos if info is not None)
            return decoding_ms + encode_ms(Encoding(Format.PNG, 100), pixels)
        case Analyze():
            return ANALYZE_MS + decoding_ms
        case Render(plan):
            return INSPECT_MS + _plan_ms(plan, infos)
        case _:
            assert_never(task)


@lru_cache(1024)  # the URLs of a site share few Plans, and guessed headers are few too
def _plan_ms(plan: Plan, infos: tuple[Info | None, ...]) -> float:
    """The time in ms of the Plan for sources with these headers. A border is taken to be empty: nothing is trimmed."""
    measuring_ms, findings = 0.0, Findings()
    try:
        while isinstance(resolved := resolve(plan, infos, findings), Need):
            frame = infos[0].size if infos and infos[0] is not None else Size(1, 1)
            measuring_ms += resolved_ms(infos, None)
            for op in resolved.ops:
                measuring_ms += op_ms(op, frame, op.frame_after(frame), infos)
                frame = op.frame_after(frame)
            findings = Findings((*findings.borders, Box(0, 0, frame.width, frame.height)))
    except Problem:  # for a guessed header only, perhaps
        return resolved_ms(infos, None)
    return measuring_ms + resolved_ms(infos, resolved)


def _guessed_info(source: CostSource) -> Info:
    """A landscape of about as many pixels as a file of this length usually has."""
    source_format = source.format if source.format in READABLE else None
    if source_format is None:
        return Info(Format.SVG, Size(1, 1), source.bytes)
    # Three significant bits, so that few different headers occur.
    dropped = max(0, source.bytes.bit_length() - 3)
    length = source.bytes >> dropped << dropped
    height = max(1, isqrt(3 * min(length * _PIXELS_PER_BYTE[source_format], _MAX_GUESSED_PIXELS) // 4))
    return Info(source_format, Size(4 * height // 3 + 1, height), length)
