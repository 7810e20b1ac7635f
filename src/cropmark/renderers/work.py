"""The tasks by the engine. Imported inside a renderer only: the front never loads a decoder."""

from __future__ import annotations

from typing import assert_never

from cropmark.analysis.models import Models
from cropmark.engine import load, render
from cropmark.ports import Analysed
from cropmark.problems import SourceUnusable
from cropmark.renderers.tasks import Analyse, Answer, Inspect, Render, Setup, Sources, Task, Work


def prepared(setup: Setup) -> Work:
    """The engine, loaded and set up; for an analyst the networks' runtime too."""
    load.prepare()
    if not setup.analyst:
        return work
    from cropmark.engine import analyse  # noqa: PLC0415 - brings numpy and onnxruntime: 0.2 s and 50 MB that others save

    known: list[Models] = []

    def with_analysis(task: Task, sources: Sources) -> Answer:
        if not isinstance(task, Analyse):
            return work(task, sources)
        if task.models is not None:
            known[:] = [task.models]
        return Analysed(analyse.analysed(_only(sources), known[0]))

    return with_analysis


def work(task: Task, sources: Sources) -> Answer:
    """Carry out a task. Raises Problems."""
    match task:
        case Render(plan, analysed, hurried):
            return render.rendered(sources, plan, analysed, hurried=hurried)
        case Inspect():
            return load.info_of(_only(sources))
        case Analyse():
            return Analysed(None, "this renderer has no networks")
        case _:
            assert_never(task)


def _only(sources: Sources) -> bytes:
    if len(sources) != 1 or sources[0] is None:
        raise SourceUnusable("one source was due")
    return sources[0]
