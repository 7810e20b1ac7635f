"""The tasks by the engine. Imported inside a renderer only: the front never loads a decoder."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, assert_never

from cropmark.engine import compare, debug_overlay, load, render, versions
from cropmark.model.formats import Format
from cropmark.model.problems import SourceUnusable
from cropmark.ports import AnalysisResult, Facts, Rendered
from cropmark.renderers.tasks import Analyze, Answer, Compare, DrawOverlay, Inspect, Render, Setup, Sources, Task, Work

if TYPE_CHECKING:
    from cropmark.analysis.models import Models


def prepared(setup: Setup) -> Work:
    """The engine, loaded and set up; for an analyst the networks' runtime too."""
    load.prepare()
    if not setup.analyst:
        return work
    # Here and not above: numpy and onnxruntime take 0.2 s and 50 MB, which those who only render save.
    import_module("numpy.fft")  # numpy loads it when it is first used, which would be inside the sandbox
    analyze = import_module("cropmark.engine.analyze")

    known: list[Models] = []

    def with_analysis(task: Task, sources: Sources) -> Answer:
        if not isinstance(task, Analyze):
            return work(task, sources)
        if task.models is not None:
            known[:] = [task.models]
        return AnalysisResult(analyze.analyzed(_only(sources), known[0]))

    return with_analysis


def libraries() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The versions of the native libraries that decode, and which of them are too old."""
    loaded = versions.libraries()
    outdated = tuple(f"{one} is older than {versions.dotted(one.minimum_version)}" for one in loaded if not one.is_safe)
    return tuple(map(str, loaded)), outdated


def work(task: Task, sources: Sources) -> Answer:
    """Carry out a task. Raises Problems."""
    match task:
        case Render(plan, analyzed, low_effort):
            return render.rendered(sources, plan, analyzed, low_effort=low_effort)
        case DrawOverlay(analysis, window):
            return Rendered(debug_overlay.drawing(_only(sources), analysis, window), Format.PNG, Facts())
        case Inspect():
            return load.info_of(_only(sources))
        case Compare():
            return compare.compared(*_both(sources))
        case Analyze():
            return AnalysisResult(None, "this renderer has no networks")
        case _:
            assert_never(task)


def _both(sources: Sources) -> tuple[bytes, bytes]:
    if len(sources) != 2 or sources[0] is None or sources[1] is None:
        raise SourceUnusable("two sources were due")
    return sources[0], sources[1]


def _only(sources: Sources) -> bytes:
    if len(sources) != 1 or sources[0] is None:
        raise SourceUnusable("one source was due")
    return sources[0]
