"""Tasks in this process: how often each reads the header of its source."""

from __future__ import annotations

import pytest

from cropmark.analysis.models import Models
from cropmark.engine import analyze, load
from cropmark.geometry.findings import Analysis, SaliencyMap
from cropmark.plan.plan import Plan
from cropmark.renderers.handlers import load_handler
from cropmark.renderers.tasks import UNLIMITED, Analyze, Compare, Describe, DrawOverlay, Inspect, Render, Setup, Task
from tests.engine.images import file_of, slopes

GRID = SaliencyMap(1, 1, b"\x01")
PHOTO = file_of(slopes(60, 40), "JPEG")

# fmt: off
TASKS: dict[str, tuple[Task, int]] = {
    # task                                                   sources
    "inspect":  (Inspect(),                                     1),
    "render":   (Render(Plan()),                                1),
    "describe": (Describe(Plan()),                              1),
    "analyze":  (Analyze(Plan(), Models(b"", b"")),             1),
    "draw":     (DrawOverlay(Analysis(1, (), GRID, GRID), None), 1),
    "compare":  (Compare(),                                     2),
}
# fmt: on


class Networks:
    face = subject = None


@pytest.mark.parametrize(("task", "sources"), TASKS.values(), ids=TASKS)
def test_each_header_is_read_once(task: Task, sources: int, monkeypatch: pytest.MonkeyPatch) -> None:
    run = load_handler(Setup(with_analysis=True))
    read: list[int] = []
    inspect = load.inspect

    def counted(data: bytes, *, limit_bytes: int = 2**40, reads_svg: bool = True) -> load.Header:
        read.append(len(data))
        return inspect(data, limit_bytes=limit_bytes, reads_svg=reads_svg)

    monkeypatch.setattr(load, "inspect", counted)
    monkeypatch.setattr(analyze, "open_sessions", lambda _: Networks())
    monkeypatch.setattr(analyze, "detect_faces", lambda *_: ())
    for network in ("subject_map", "residual_map"):
        monkeypatch.setattr(analyze, network, lambda *_: GRID)
    run(task, [PHOTO] * sources, UNLIMITED)
    assert len(read) == sources
