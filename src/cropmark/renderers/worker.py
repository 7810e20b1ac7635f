"""A renderer from the inside: takes tasks from its one socket until the front closes it.

Started as `python -m cropmark.renderers.worker` with the socket as descriptor 0.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import traceback
from collections.abc import Callable

from cropmark.geometry.recipe import Reason
from cropmark.model.formats import READABLE, SNIFFED_BYTES, sniffed
from cropmark.model.problems import InternalError, Problem, SourceUnusable
from cropmark.ports import Passthrough
from cropmark.renderers import protocol, transport
from cropmark.renderers.protocol import Failure, Ready, Reply
from cropmark.renderers.sandbox import confine
from cropmark.renderers.tasks import MOST_SOURCES, Message, Setup, Sources, Task, Work

Libraries = Callable[[], tuple[tuple[str, ...], tuple[str, ...]]]
"""Tells the versions of the native libraries that decode, and which of them are too old."""


def main(prepared: Callable[[Setup], Work], libraries: Libraries = lambda: ((), ())) -> None:
    """Set up, lock in, say so, then answer one task after another.

    `prepared` loads all that the tasks will need: after confine() nothing can be loaded any more.
    """
    end = socket.socket(fileno=0)
    first = transport.receive(end)
    if first is None:
        return
    setup = first[0]
    assert isinstance(setup, Setup)
    _limit(setup)
    work = prepared(setup)
    told_of = libraries()
    # Only now: among busy renderers a start at their low rank takes twice as long, and somebody waits for it.
    _step_back(setup.niceness)
    transport.tell(end, protocol.ready(Ready(confine(setup.sandbox), *told_of)))
    while (received := transport.receive(end)) is not None:
        message, descriptors = received
        assert isinstance(message, Message)
        sources = transport.contents(descriptors, message.lengths)
        transport.tell(end, protocol.written(told(work, message.task, sources)))
    # Not sys.exit(): there is nothing to save, and tearing libvips down takes longer than all the rest.
    os._exit(0)


def told(work: Work, task: Task, sources: Sources) -> Reply:
    """What the work says, or why it says nothing."""
    try:
        answer = work(task, sources)
    except Problem as problem:
        return Reply(Failure(problem), spent=isinstance(problem, SourceUnusable) and _was_decoded(sources))
    except MemoryError:
        return Reply(Failure(SourceUnusable("the picture needs more memory than it may take")), spent=True)
    except Exception:  # noqa: BLE001 - the front must hear of whatever it is, or it waits for its deadline
        return Reply(Failure(InternalError("the renderer failed"), log=traceback.format_exc()), spent=True)
    broken = isinstance(answer, Passthrough) and answer.reason is Reason.UNREADABLE
    return Reply(answer, spent=broken and _was_decoded(sources))


def _limit(setup: Setup) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 2 * MOST_SOURCES if most == resource.RLIM_INFINITY else min(2 * MOST_SOURCES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if sys.platform == "linux":  # macOS knows the limit by name and refuses to set it
        resource.setrlimit(resource.RLIMIT_AS, (setup.memory_bytes, setup.memory_bytes))


def _step_back(niceness: int) -> None:
    """Take a low rank, and interrupt nobody: else a renderer that is handed a task runs before the front goes on."""
    os.nice(niceness)
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _was_decoded(sources: Sources) -> bool:
    """Whether any source is of a format that a decoder was let loose on."""
    return any(source is not None and sniffed(source[:SNIFFED_BYTES]) in READABLE for source in sources)


if __name__ == "__main__":
    from cropmark.renderers.handlers import libraries, prepared

    main(prepared, libraries)
