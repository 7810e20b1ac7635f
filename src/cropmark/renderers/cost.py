"""The cost model: estimates the time in ms that a task takes on one core, before any of its sources is read.

The Plan is resolved against the headers of its sources. The header of a source is known if an earlier task reported it.
Otherwise it is guessed from the number of bytes. `geometry.cost` estimates the time of the Recipe. Measured times of
earlier tasks correct the estimate. Estimates are used only to order and to limit the queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import isqrt
from typing import NamedTuple, assert_never

from cachetools import LRUCache

from cropmark.geometry import memory
from cropmark.geometry.cost import decode_ms, encode_ms, op_ms, recipe_ms
from cropmark.geometry.findings import Findings
from cropmark.geometry.recipe import Encoding, Need, OriginalBytes, Recipe, Resolved
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import READABLE, Format, Info
from cropmark.model.problems import Problem
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Plan
from cropmark.ports import OpenSource
from cropmark.renderers.tasks import Analyze, Compare, Describe, DrawOverlay, Inspect, Render, Task

INSPECT_MS = 2.0
ANALYZE_MS = 140.0
DESCRIBE_MS = 40.0
# fmt: off
_PIXELS_PER_BYTE = {
    Format.JPEG: 4, Format.PNG: 1, Format.WEBP: 8, Format.GIF: 4, Format.AVIF: 16, Format.TIFF: 1,
    Format.HEIC: 8, Format.JXL: 8, Format.BMP: 1,
}
# fmt: on
_MAX_GUESSED_PIXELS = 25_000_000
_GUESSED_MARGIN = 1.5
"""The factor for the memory of a task with a guessed header.

If the memory is too little, the renderer asks for more, and the task starts a second time. This costs a quarter of the
CPU time that the front spends on a small cache miss.
"""
_MAX_LEARNED = 8192
_MIN_PACE, _MAX_PACE = 0.25, 16.0


@dataclass(frozen=True, slots=True)
class CostSource:
    """The facts about a source that are known before its header is read."""

    name: str
    """The identity and version of the source, from cost_name()."""
    bytes: int
    format: Format | None


@dataclass(frozen=True, slots=True)
class CostKey:
    """A key for learned costs.

    Tasks with the same first source, of the same kind and about the same estimate share a key.
    """

    source: str
    task: str
    magnitude: int
    """The bit length of the estimated milliseconds."""


class Estimate(NamedTuple):
    """The estimated cost of a task."""

    key: CostKey
    ms: float
    """The time on one core of this machine."""
    model_ms: float
    """The time on one core of the machine on which the numbers in geometry.cost were measured."""
    bytes: int = 0
    """The memory in addition to that of an idle renderer."""


def cost_name(source: OpenSource) -> str:
    """The name of a source in the cost model: its identity and version."""
    return f"{source.version.identity} {source.version.version}"


class CostModel:
    """Estimates the costs of tasks, and learns from measured times.

    It stores a limited number of keys, and drops the least recently used.
    """

    def __init__(self) -> None:
        self._learned: LRUCache[CostKey, float] = LRUCache(_MAX_LEARNED)
        self._learned_bytes: LRUCache[CostKey, int] = LRUCache(_MAX_LEARNED)
        self._headers: LRUCache[str, Info] = LRUCache(_MAX_LEARNED)
        self.pace = 1.0
        """Ratio of times measured on this machine to times of the model; above 1 on a slower machine."""

    def estimate(self, task: Task, sources: Sequence[CostSource | None]) -> Estimate:
        """The estimated cost of the task. `sources` has None for each optional source that is missing."""
        model_ms, needed = _task_cost(task, tuple(None if source is None else self._info(source) for source in sources))
        if any(source is not None and source.name not in self._headers for source in sources):
            needed = int(_GUESSED_MARGIN * needed)
        first = next((source.name for source in sources if source is not None), "")
        key = CostKey(first, type(task).__name__, int(model_ms).bit_length())
        learned_ms = self._learned.get(key, model_ms * self.pace)
        return Estimate(key, learned_ms, model_ms, max(needed, self._learned_bytes.get(key, 0)))

    def record(self, estimate: Estimate, took_ms: float) -> None:
        """Learn the time of a finished task, for later tasks with the same key.

        A time above the estimated one has less weight, because load on the machine may have caused it.
        """
        before_ms = self._learned.get(estimate.key, estimate.ms)
        self._learned[estimate.key] = before_ms + (took_ms - before_ms) / (4 if took_ms > before_ms else 2)

    def record_oom(self, estimate: Estimate, granted_bytes: int) -> None:
        """Learn that a task with this estimate needs more memory than `granted_bytes`."""
        self._learned_bytes[estimate.key] = max(estimate.bytes, 3 * granted_bytes // 2)

    def record_pace(self, estimate: Estimate, took_ms: float) -> None:
        """Learn the pace of this machine from a finished task.

        One task has little weight, because estimates are rough.
        """
        ratio = took_ms / max(estimate.model_ms, 1.0)
        self.pace = self.pace**0.95 * min(max(ratio, _MIN_PACE), _MAX_PACE) ** 0.05

    def record_header(self, name: str, info: Info) -> None:
        """Learn the header of a source. `name` is from cost_name()."""
        self._headers[name] = info

    def _info(self, source: CostSource) -> Info:
        return self._headers.get(source.name) or _guessed_info(source)


def resolved_cost(infos: Sequence[Info | None], resolved: Resolved | None) -> tuple[float, int]:
    """The estimated time in ms and memory in bytes of the result of resolve(), for sources with the headers `infos`.

    Without a Recipe (for a Need, or None), the time is that of decoding all sources, and the memory is 0.
    """
    match resolved:
        case Recipe():
            return recipe_ms(resolved, infos), memory.recipe_bytes(resolved, infos)
        case OriginalBytes():
            return 0.0, 0
        case _:
            return sum(decode_ms(info) for info in infos if info is not None), 0


def _task_cost(task: Task, infos: tuple[Info | None, ...]) -> tuple[float, int]:
    """The estimated time in ms and memory in bytes of a task, for sources with the headers `infos`."""
    present = [info for info in infos if info is not None]
    decoding_ms = sum(map(decode_ms, present))
    match task:
        case Inspect():
            return INSPECT_MS, sum(map(memory.file_bytes, present))
        case Compare():
            return decoding_ms, memory.comparison_bytes(present)
        case DrawOverlay():
            pixels = sum(info.stored_size.area for info in present)
            drawing_bytes = max(map(memory.drawing_bytes, present), default=0)
            return decoding_ms + encode_ms(Encoding(Format.PNG, 100), pixels), drawing_bytes
        case Analyze():
            return ANALYZE_MS + decoding_ms, max(map(memory.analysis_bytes, present), default=0)
        case Describe():
            return DESCRIBE_MS + decoding_ms, max(map(memory.description_bytes, present), default=0)
        case Render(plan):
            plan_ms, plan_bytes = _plan_cost(plan, infos)
            return INSPECT_MS + plan_ms, plan_bytes
        case _:
            assert_never(task)


@lru_cache(1024)  # the URLs of a site share few Plans, and guessed headers are few too
def _plan_cost(plan: Plan, infos: tuple[Info | None, ...]) -> tuple[float, int]:
    """The estimated time in ms and memory in bytes of a Plan, for sources with the headers `infos`.

    The size of a border is unknown before decoding. The estimate assumes that the image has no border to trim.
    """
    measuring_ms, measuring_bytes, findings = 0.0, 0, Findings()
    try:
        while isinstance(resolved := resolve(plan, infos, findings), Need):
            frame = infos[0].size if infos and infos[0] is not None else Size(1, 1)
            measuring_ms += resolved_cost(infos, None)[0]
            measuring_bytes = max(measuring_bytes, memory.search_bytes(resolved, infos))
            for op in resolved.ops:
                measuring_ms += op_ms(op, frame, op.frame_after(frame), infos)
                frame = op.frame_after(frame)
            findings = Findings((*findings.borders, Box(0, 0, frame.width, frame.height)))
    except Problem:  # perhaps only because the header is guessed
        return resolved_cost(infos, None)
    plan_ms, plan_bytes = resolved_cost(infos, resolved)
    return measuring_ms + plan_ms, max(measuring_bytes, plan_bytes)


def _guessed_info(source: CostSource) -> Info:
    """A guessed header: a 4:3 image with the usual number of pixels for a file of this format and length."""
    source_format = source.format if source.format in READABLE else None
    if source_format is None:
        return Info(Format.SVG, Size(1, 1), source.bytes)
    # Three significant bits, so that few different headers occur.
    dropped = max(0, source.bytes.bit_length() - 3)
    length = source.bytes >> dropped << dropped
    height = max(1, isqrt(3 * min(length * _PIXELS_PER_BYTE[source_format], _MAX_GUESSED_PIXELS) // 4))
    return Info(source_format, Size(4 * height // 3 + 1, height), length)
