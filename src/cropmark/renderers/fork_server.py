"""The process that starts renderers by forks (docs/decisions/0277).

It is started as `python -m cropmark.renderers.fork_server` with its control socket as descriptor 0. It imports the code
of the renderer once, and never reads a source.

Each message on the socket requests one worker. It has two descriptors: the socket of the worker, and the pipe for its
output. The reply is the process id of the worker, or an error number, negated. The worker becomes a child of the front,
which must be a subreaper (renderers/starters.py).
"""

from __future__ import annotations

import gc
import os
import socket
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from struct import Struct
from typing import NoReturn

PROCESS_ID = Struct("=i")


def main(run_worker: Callable[[], None]) -> None:
    """Fork one worker for each message, until the front closes the socket.

    `run_worker` is the code of a worker. It serves the socket at descriptor 0.
    """
    if len([*Path("/proc/self/task").iterdir()]) != 1:
        raise RuntimeError("an import started a thread, which forks would not have")
    control = socket.socket(fileno=0)
    _set_name("cropmark-forks")
    gc.freeze()
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not message:
            return
        control.sendall(PROCESS_ID.pack(_fork_worker(run_worker, *descriptors)))
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_worker(run_worker: Callable[[], None], end: int, output: int) -> int:
    """Fork a worker; returns its process id, or an error number, negated.

    The worker is forked by a process in between, which exits immediately. When that process is reaped, the worker is a
    child of the nearest subreaper.
    """
    reader, writer = os.pipe()
    try:
        between = os.fork()
        if between == 0:
            _fork_and_exit(run_worker, end, output, writer)
        os.close(writer)
        writer = -1
        os.waitpid(between, 0)
        reply = os.read(reader, PROCESS_ID.size)
        return int(PROCESS_ID.unpack(reply)[0])
    except OSError as error:
        return -(error.errno or 1)
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _fork_and_exit(run_worker: Callable[[], None], end: int, output: int, writer: int) -> NoReturn:
    try:
        pid = os.fork()
    except OSError as error:
        pid = -(error.errno or 1)
    if pid == 0:
        _become_worker(run_worker, end, output)
    os.write(writer, PROCESS_ID.pack(pid))
    os._exit(0)


def _become_worker(run_worker: Callable[[], None], end: int, output: int) -> NoReturn:
    """Run the worker with these descriptors only, in its own session. Then exit as `python -m` would."""
    status = 1
    try:
        os.setsid()  # Ctrl-C in a terminal signals the front only, which then closes workers
        for number, descriptor in enumerate((end, output, output)):
            os.dup2(descriptor, number)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        _set_name("cropmark-render")
        run_worker()
        status = 0
    except BaseException:  # noqa: BLE001 - no error may return to the loop of the fork server
        traceback.print_exc()
    finally:
        os._exit(status)


def _set_name(name: str) -> None:
    """Set the name of this process that ps and top show."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


if __name__ == "__main__":
    from cropmark.renderers import handlers, sandbox, worker
    from cropmark.renderers.handlers import drop_frames, library_versions, load_handler

    handlers.preload()
    sandbox.preload()
    main(lambda: worker.main(load_handler, library_versions, drop_frames))
