"""Executes tasks with the engine. Imported only inside a worker: the front process never loads a decoder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, assert_never

from cropmark.engine import compare, debug_overlay, describe, load, render, versions
from cropmark.engine.frames import FrameCache
from cropmark.geometry import memory
from cropmark.geometry.limits import check_source, rejection_of
from cropmark.model.formats import Format
from cropmark.model.problems import SourceUnusable
from cropmark.plan.plan import Limits, Plan
from cropmark.ports import AnalysisResult, Facts, Rendered
from cropmark.renderers.tasks import (
    UNLIMITED,
    Analyze,
    Compare,
    Describe,
    DrawOverlay,
    Inspect,
    Render,
    Setup,
    SourceBytes,
    Task,
    TaskHandler,
    TaskResult,
)
from cropmark.runtime.reads import Data

if TYPE_CHECKING:
    from cropmark.analysis.models import Models


_FRAMES = FrameCache()
"""The cache of decoded frames of the last source. It exists until the process ends."""


def load_handler(setup: Setup) -> TaskHandler:
    """Load the engine; returns the function that executes tasks.

    A worker for analysis also loads the runtime of the neural networks.
    """
    load.prepare(setup.cmyk, reads_svg=setup.reads_svg)
    _FRAMES.limit_bytes = setup.frame_cache_bytes
    if not setup.with_analysis:
        return run_task
    # Imported here: numpy and onnxruntime take 0.2 s and 40 MB, which workers that only render save.
    import_module("numpy.fft")  # numpy loads it on first use, which would be inside the sandbox
    analyze = import_module("cropmark.engine.analyze")

    received: list[Models] = []

    def run_with_analysis(task: Task, sources: SourceBytes, grant_bytes: int) -> TaskResult:
        if not isinstance(task, Analyze):
            return run_task(task, sources, grant_bytes)
        if task.models is not None:
            received[:] = [task.models]
        source = _single(sources)
        header = _header_for(task.plan, source)
        rejection = rejection_of(header[0], task.plan)
        if rejection is not None:  # before a pixel is decoded, as for a render
            return AnalysisResult(None, rejection.detail)
        memory.check(memory.analysis_bytes(header[0]), grant_bytes)
        return AnalysisResult(analyze.analyze(source, received[0], header))

    return run_with_analysis


def preload() -> None:
    """Load all code that does not depend on a Setup, in the process that forks workers. Starts no thread."""
    load.prepare()
    import_module("numpy.fft")
    library_versions()


def drop_frames() -> None:
    """Free the cached frames. The worker calls this when it has received no task for a while."""
    _FRAMES.clear()


def library_versions() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The versions of the native libraries that decode images, and a message for each library that is too old."""
    loaded = versions.loaded_libraries()
    vulnerable = tuple(
        f"{library} is older than {versions.format_version(library.minimum_version)}"
        for library in loaded
        if not library.is_safe
    )
    return tuple(map(str, loaded)), vulnerable


def run_task(task: Task, sources: SourceBytes, grant_bytes: int = UNLIMITED) -> TaskResult:
    """Execute a task. Raises Problems, and OverGrant if the task needs more memory than `grant_bytes`."""
    match task:
        case Render(plan, analysis, low_effort, cached_name):
            cached = _FRAMES.of(cached_name)
            return render.render(sources, plan, analysis, low_effort=low_effort, cached=cached, grant_bytes=grant_bytes)
        case DrawOverlay(analysis, window):
            source = _single(sources)
            header = _header(source)
            memory.check(memory.drawing_bytes(header[0]), grant_bytes)
            return Rendered(debug_overlay.draw_overlay(source, analysis, window, header), Format.PNG, Facts())
        case Inspect():
            return load.info_of(_single(sources), limit_bytes=Limits().source_bytes)
        case Describe(plan):
            source = _single(sources)
            # Checked before a pixel is decoded, as for a render. A description has no fallback: check_source() raises.
            header = _header_for(plan, source)
            check_source(header[0], plan)
            memory.check(memory.description_bytes(header[0]), grant_bytes)
            return describe.describe(source, header)
        case Compare():
            pair = _pair(sources)
            headers = [_header(each) for each in pair]
            memory.check(memory.comparison_bytes([info for info, _ in headers]), grant_bytes)
            return compare.difference(*pair, headers)
        case Analyze():
            return AnalysisResult(None, "this renderer has no networks")
        case _:
            assert_never(task)


def _header_for(plan: Plan, source: Data) -> load.Header:
    return load.inspect(source, limit_bytes=plan.limits.source_bytes, reads_svg=Format.SVG in plan.reads)


def _header(source: Data) -> load.Header:
    return load.inspect(source, limit_bytes=Limits().source_bytes)


def _pair(sources: SourceBytes) -> tuple[Data, Data]:
    if len(sources) != 2 or sources[0] is None or sources[1] is None:
        raise SourceUnusable(f"expected two sources, received {len(sources)}")
    return sources[0], sources[1]


def _single(sources: SourceBytes) -> Data:
    if len(sources) != 1 or sources[0] is None:
        raise SourceUnusable(f"expected one source, received {len(sources)}")
    return sources[0]
