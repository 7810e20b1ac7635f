"""The renderer process: executes tasks from its socket until the front closes it.

Started as `python -m cropmark.renderers.worker` with the socket as descriptor 0.
"""

from __future__ import annotations

import gc
import os
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Sequence

from cropmark.geometry.recipe import Reason
from cropmark.model.formats import READABLE, SNIFF_BYTES, sniff_format
from cropmark.model.problems import InternalError, Problem, SourceUnusable
from cropmark.ports import Passthrough
from cropmark.renderers import protocol, transport
from cropmark.renderers.protocol import Failure, Ready, Reply
from cropmark.renderers.sandbox import confine
from cropmark.renderers.tasks import EXIT_OWN_FAULT, MAX_SOURCES, Message, Setup, SourceBytes, Task, TaskHandler
from cropmark.renderers.transport import RawReply
from cropmark.runtime.reads import FileBytes

LibraryVersions = Callable[[], tuple[tuple[str, ...], tuple[str, ...]]]
"""Returns the versions of the native libraries that decode, and a message for each that is too old."""


def main(load_handler: Callable[[Setup], TaskHandler], library_versions: LibraryVersions = lambda: ((), ())) -> None:
    """Set up, enter the sandbox, report readiness, then execute one task after another.

    `load_handler` must load everything that tasks need: after confine() nothing can be loaded.
    """
    end = socket.socket(fileno=0)
    first = transport.receive(end)
    if first is None:
        return
    setup = transport.parse_request(first[0])
    assert isinstance(setup, Setup)
    _set_limits(setup)
    handler = load_handler(setup)
    libraries = library_versions()
    # Last: a start at low priority takes twice as long among busy workers, and the front is waiting for it.
    _lower_priority(setup.niceness)
    transport.send_reply(end, protocol.serialize_ready(Ready(confine(setup.sandbox), *libraries)))
    try:
        _serve(end, handler)
    except BaseException:  # noqa: BLE001 - any error here is our own, never that of a source
        traceback.print_exc()
        os._exit(EXIT_OWN_FAULT)
    # Not sys.exit(): there is nothing to save, and shutting libvips down takes longer than the rest of the exit.
    os._exit(0)


def _serve(end: socket.socket, handler: TaskHandler) -> None:
    """Execute one task after another until the front closes the socket.

    Garbage is collected between tasks only: libvips calls back from its threads, and there a collection could free an
    image of the pipeline that runs. Without the objects that exist now, a collection takes 0.1 ms.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    while (received := transport.receive(end)) is not None:
        transport.send_reply(end, _reply(handler, *received))
        gc.collect()


def _reply(handler: TaskHandler, request: bytes, descriptors: Sequence[int]) -> RawReply:
    """The reply to a serialized task; an InternalError for a failure before or after the task itself."""
    sources: Sequence[FileBytes | None] = ()
    try:
        message = transport.parse_request(request)
        assert isinstance(message, Message)
        sources = transport.open_sources(descriptors, message.lengths)
        return protocol.serialize_reply(execute(handler, message.task, sources))
    except MemoryError:
        return protocol.serialize_reply(_out_of_memory())
    except Exception:  # noqa: BLE001 - the front must receive every error, or it takes it for a crash of the decoder
        return protocol.serialize_reply(_own_fault())
    finally:
        for source in sources:
            if source is not None:
                source.close()


def execute(handler: TaskHandler, task: Task, sources: SourceBytes) -> Reply:
    """The handler's result, or the Failure if it raises."""
    try:
        result = handler(task, sources)
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
    """For the exception that is being handled."""
    return Reply(Failure(InternalError("the renderer failed"), log=traceback.format_exc()), recycle=True)


def _set_limits(setup: Setup) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 2 * MAX_SOURCES if hard == resource.RLIM_INFINITY else min(2 * MAX_SOURCES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    if sys.platform == "linux":  # macOS defines the limit but refuses to set it
        resource.setrlimit(resource.RLIMIT_AS, (setup.memory_bytes, setup.memory_bytes))


def _lower_priority(niceness: int) -> None:
    """Lower our priority so that waking a worker does not preempt the front process."""
    os.nice(niceness)
    if hasattr(os, "SCHED_BATCH"):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _decoder_ran(sources: SourceBytes) -> bool:
    """True if any source has a format that a decoder reads."""
    return any(source is not None and sniff_format(source[:SNIFF_BYTES]) in READABLE for source in sources)


if __name__ == "__main__":
    from cropmark.renderers.handlers import library_versions, load_handler

    main(load_handler, library_versions)
