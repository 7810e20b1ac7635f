"""The renderer process: executes the tasks that it receives from its socket, until the front closes the socket.

It is started as `python -m cropmark.renderers.worker` with the socket as descriptor 0.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cropmark.analysis.malloc import trim_heap
from cropmark.geometry.memory import OverGrant
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import READABLE, SNIFF_BYTES, sniff_format
from cropmark.model.problems import InternalError, Problem, SourceUnusable
from cropmark.ports import Passthrough
from cropmark.renderers import protocol, transport
from cropmark.renderers.protocol import Failure, NeedsMemory, Ready, Reply
from cropmark.renderers.sandbox import confine
from cropmark.renderers.tasks import (
    EXIT_OWN_FAULT,
    MAX_SOURCES,
    UNLIMITED,
    Message,
    Setup,
    SourceBytes,
    Task,
    TaskHandler,
)
from cropmark.renderers.transport import RawReply
from cropmark.runtime.reads import FileBytes

_LARGE_BYTES = 256 * 2**20
"""After a task with this grant or more, freed memory is returned to the system before the next task.

After smaller tasks it is returned when the renderer is idle: returning it, and having it zeroed again for the next
task, takes 12 ms for a PNG of 3 MP.
"""

LibraryVersions = Callable[[], tuple[tuple[str, ...], tuple[str, ...]]]
"""Returns the versions of the native libraries that decode, and a message for each library that is too old."""


IDLE_S: Final = 3.0


def main(
    load_handler: Callable[[Setup], TaskHandler],
    library_versions: LibraryVersions = lambda: ((), ()),
    on_idle: Callable[[], None] = lambda: None,
) -> None:
    """Set up the worker, enter the sandbox, report readiness, then execute one task after another.

    `load_handler` must load everything that tasks need, because nothing can be loaded in the sandbox. `on_idle` is
    called after each IDLE_S without a task.
    """
    end = socket.socket(fileno=0)
    first = transport.receive(end)
    if first is None:
        return
    transport.set_idle_time(end, IDLE_S)
    setup = transport.parse_request(first[0])
    assert isinstance(setup, Setup)
    _set_limits(setup)
    _volunteer_for_oom_kill()
    handler = load_handler(setup)
    libraries = library_versions()
    # Last: a start at low priority takes twice as long among busy workers, and the front is waiting for it.
    _lower_priority(setup.niceness)
    transport.send_reply(end, protocol.serialize_ready(Ready(confine(setup.sandbox), *libraries)))
    try:
        _serve(end, handler, on_idle)
    except BaseException:  # noqa: BLE001 - any error here is our own, never that of a source
        traceback.print_exc()
        os._exit(EXIT_OWN_FAULT)
    # Not sys.exit(): there is nothing to save, and shutting libvips down takes longer than the rest of the exit.
    os._exit(0)


def _serve(end: socket.socket, handler: TaskHandler, on_idle: Callable[[], None]) -> None:
    """Execute one task after another, until the front closes the socket.

    Garbage is collected only between tasks. During a task, libvips calls back from its threads, and a collection there
    could free an image that the task still uses. Objects that exist at the start are excluded, so a collection takes
    0.1 ms.
    """
    has_freed = False

    def rest() -> None:
        nonlocal has_freed
        on_idle()
        if has_freed:
            trim_heap()
            has_freed = False

    gc.collect()
    gc.freeze()
    gc.disable()
    while (received := transport.receive(end, rest)) is not None:
        reply, grant_bytes = _reply(handler, *received)
        transport.send_reply(end, reply)
        del reply
        gc.collect()
        has_freed = grant_bytes < _LARGE_BYTES
        if not has_freed:
            trim_heap()


def _reply(handler: TaskHandler, request: bytes, descriptors: Sequence[int]) -> tuple[RawReply, int]:
    """The serialized reply to a serialized task, and the memory that the task was granted.

    A failure before or after the execution of the task becomes an InternalError.
    """
    sources: Sequence[FileBytes | None] = ()
    grant_bytes = 0
    try:
        message = transport.parse_request(request)
        assert isinstance(message, Message)
        grant_bytes = message.grant_bytes
        sources = transport.open_sources(descriptors, message.lengths)
        reply = execute(handler, message.task, sources, grant_bytes)
        return protocol.serialize_reply(reply), grant_bytes
    except MemoryError:
        return protocol.serialize_reply(_out_of_memory()), grant_bytes
    except Exception:  # noqa: BLE001 - the front must receive every error, or it takes it for a crash of the decoder
        return protocol.serialize_reply(_own_fault()), grant_bytes
    finally:
        for source in sources:
            if source is not None:
                source.close()


def execute(handler: TaskHandler, task: Task, sources: SourceBytes, grant_bytes: int = UNLIMITED) -> Reply:
    """The Reply with the result of the handler. If the handler raises, the Reply has a Failure or NeedsMemory."""
    try:
        result = handler(task, sources, grant_bytes)
    except OverGrant as needs:
        return Reply(NeedsMemory(needs.bytes))
    except Problem as problem:
        return Reply(Failure(problem), recycle=isinstance(problem, SourceUnusable) and _decoder_ran(sources))
    except MemoryError:
        return _out_of_memory()
    except Exception:  # noqa: BLE001 - the front must receive every error, or it waits until the timeout
        return _own_fault()
    broken = isinstance(result, Passthrough) and result.reason is Reason.UNREADABLE
    return Reply(result, recycle=broken and _decoder_ran(sources))


def _out_of_memory() -> Reply:
    return Reply(Failure(SourceUnusable("the image needs more memory than the limit")), recycle=True)


def _own_fault() -> Reply:
    """A Reply with an InternalError, and with the traceback of the current exception for the log."""
    return Reply(Failure(InternalError("the renderer failed"), log=traceback.format_exc()), recycle=True)


def _set_limits(setup: Setup) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 2 * MAX_SOURCES if hard == resource.RLIM_INFINITY else min(2 * MAX_SOURCES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if sys.platform == "linux":  # macOS defines the limit but refuses to set it
        memory_bytes = setup.memory_bytes + setup.frame_cache_bytes  # so that no task fails for the cache
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _volunteer_for_oom_kill() -> None:
    """Make the kernel kill this process before any other process of the server if memory runs out."""
    with suppress(OSError):  # only Linux has this file
        Path("/proc/self/oom_score_adj").write_text("1000")


def _lower_priority(niceness: int) -> None:
    """Lower our priority, so that waking a worker does not preempt the front process."""
    os.nice(niceness)
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _decoder_ran(sources: SourceBytes) -> bool:
    """True if a source has a format that a decoder reads, so that a decoder has probably run."""
    return any(source is not None and sniff_format(source[:SNIFF_BYTES]) in READABLE for source in sources)


if __name__ == "__main__":
    from cropmark.renderers.handlers import drop_frames, library_versions, load_handler

    main(load_handler, library_versions, drop_frames)
