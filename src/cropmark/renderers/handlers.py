"""Executes tasks with the engine. Imported only inside a worker: the front process never loads a decoder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, assert_never

from cropmark.engine import compare, debug_overlay, load, render, versions
from cropmark.model.formats import Format
from cropmark.model.problems import SourceUnusable
from cropmark.plan.plan import Limits
from cropmark.ports import AnalysisResult, Facts, Rendered
from cropmark.renderers.tasks import (
    Analyze,
    Compare,
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


def load_handler(setup: Setup) -> TaskHandler:
    """Load the engine, and for an analysis worker the networks' runtime; returns the function that executes tasks."""
    load.prepare(setup.cmyk)
    if not setup.with_analysis:
        return run_task
    # Imported here: numpy and onnxruntime take 0.2 s and 50 MB, which workers that only render save.
    import_module("numpy.fft")  # numpy loads it on first use, which would be inside the sandbox
    analyze = import_module("cropmark.engine.analyze")

    received: list[Models] = []

    def run_with_analysis(task: Task, sources: SourceBytes) -> TaskResult:
        if not isinstance(task, Analyze):
            return run_task(task, sources)
        if task.models is not None:
            received[:] = [task.models]
        source = _single(sources)
        rejection = load.rejection(source, task.plan)
        if rejection is not None:  # before a pixel is decoded, as for a render
            return AnalysisResult(None, rejection.detail)
        return AnalysisResult(analyze.analyze(source, received[0]))

    return run_with_analysis


def library_versions() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The versions of the native libraries that decode, and a message for each that is too old."""
    loaded = versions.loaded_libraries()
    vulnerable = tuple(
        f"{library} is older than {versions.format_version(library.minimum_version)}"
        for library in loaded
        if not library.is_safe
    )
    return tuple(map(str, loaded)), vulnerable


def run_task(task: Task, sources: SourceBytes) -> TaskResult:
    """Execute a task. Raises Problems."""
    match task:
        case Render(plan, analysis, low_effort):
            return render.render(sources, plan, analysis, low_effort=low_effort)
        case DrawOverlay(analysis, window):
            return Rendered(debug_overlay.draw_overlay(_single(sources), analysis, window), Format.PNG, Facts())
        case Inspect():
            return load.info_of(_single(sources), limit_bytes=Limits().source_bytes)
        case Compare():
            return compare.difference(*_pair(sources))
        case Analyze():
            return AnalysisResult(None, "this renderer has no networks")
        case _:
            assert_never(task)


def _pair(sources: SourceBytes) -> tuple[Data, Data]:
    if len(sources) != 2 or sources[0] is None or sources[1] is None:
        raise SourceUnusable(f"expected two sources, received {len(sources)}")
    return sources[0], sources[1]


def _single(sources: SourceBytes) -> Data:
    if len(sources) != 1 or sources[0] is None:
        raise SourceUnusable(f"expected one source, received {len(sources)}")
    return sources[0]
