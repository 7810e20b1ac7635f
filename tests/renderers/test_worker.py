"""A renderer returns freed memory to the system: directly after a large task, else when it is idle."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from threading import Thread
from types import SimpleNamespace
from typing import NoReturn

import pytest

from cropmark.model.problems import InternalError
from cropmark.renderers import transport, worker
from cropmark.renderers.tasks import Inspect, Message, SourceBytes, Task

MIB = 2**20


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The events of a worker that runs in a thread, without its settings of the garbage collector."""
    seen: list[str] = []
    idle_collector = SimpleNamespace(collect=lambda: None, freeze=lambda: None, disable=lambda: None)
    monkeypatch.setattr(worker, "gc", idle_collector)
    monkeypatch.setattr(worker, "trim_heap", lambda: seen.append("returned"))
    yield seen


# fmt: off
TASKS = [
    # grants in MiB     events                                    reason
    ((300,),            ["task", "returned"],                     "a large task is followed by the return"),
    ((32, 64, 255),     ["task", "task", "task", "returned"],     "others reuse the memory until the worker is idle"),
    ((32, 256),         ["task", "task", "returned"],             "once for both"),
    ((256, 32),         ["task", "returned", "task", "returned"], "the second when the worker is idle"),
]
# fmt: on


@pytest.mark.parametrize(("grants", "expected", "reason"), TASKS, ids=[reason for *_, reason in TASKS])
def test_freed_memory_is_returned(grants: tuple[int, ...], expected: list[str], reason: str, events: list[str]) -> None:
    ours, theirs = socket.socketpair()
    idle = []

    def on_idle() -> None:
        idle.append(1)
        if len(idle) == 3:  # memory is returned in the first idle period only
            ours.shutdown(socket.SHUT_WR)

    def handler(task: Task, sources: SourceBytes, grant_bytes: int) -> NoReturn:
        events.append("task")
        raise InternalError("made by the test")

    with ours, theirs:
        thread = Thread(target=worker._serve, args=(theirs, handler, on_idle))
        thread.start()
        for number, grant in enumerate(grants, 1):
            if number == len(grants):
                transport.set_idle_time(theirs, 0.01)
            ours.sendall(transport.serialize_request(Message(Inspect(), (), grant * MIB)))
            assert ours.recv(transport.CHUNK_BYTES)
        thread.join(30)
        assert not thread.is_alive()
    assert events == expected
    assert len(idle) == 3
