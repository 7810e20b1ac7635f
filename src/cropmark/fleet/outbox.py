"""Stores messages until they are sent. Each message is a file, so that a restart does not lose it.

Several processes may share a folder. Each process sends its own messages, and those of processes that have ended. To
show that it runs, a process that adds messages locks a byte of FOLDER/senders. The kernel unlocks the byte when the
process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

import structlog

from cropmark.runtime.atomic_file import write_atomically

log = structlog.get_logger("cropmark.fleet")

_NAME: Final = re.compile(r"[0-9]+-([0-9]{1,10})-[0-9a-f]+\.json")
_PART: Final = ".part-"


class Outbox:
    """Messages that wait to be sent, stored as JSON files in a folder; in memory if the folder cannot be used."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._in_memory: dict[str, dict[str, Any]] = {}

    def __len__(self) -> int:
        return sum(1 for _ in self._names())

    def add(self, name: str, message: dict[str, Any]) -> None:
        """Store a message under a name from message_name()."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _senders(self._folder, os.getpid())
            write_atomically(self._folder / name, [json.dumps(message).encode()], prefix=_PART, durable=True)
        except OSError as error:
            log.warning("a message waits in memory only, its folder cannot be used", error=error.strerror)
            self._in_memory[name] = message

    def names(self) -> list[str]:
        """The names of the stored messages, oldest first."""
        return sorted(self._names())

    def is_of_another_process(self, name: str) -> bool:
        """True if another process added the message and still runs, so that it will send the message itself."""
        pid = _pid_of(name)
        if pid in (None, os.getpid()):
            return False
        try:
            descriptor = _senders(self._folder, os.getpid())
            fcntl.lockf(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB, 1, pid)
        except (BlockingIOError, PermissionError):
            return True
        except OSError:  # without locks, a message may be sent twice
            return False
        fcntl.lockf(descriptor, fcntl.LOCK_UN, 1, pid)
        return False

    def read(self, name: str) -> dict[str, Any] | None:
        """The stored message with this name; None if it was already sent and removed, or if its file is not valid."""
        if name in self._in_memory:
            return self._in_memory[name]
        try:
            message = json.loads((self._folder / name).read_bytes())
        except (OSError, ValueError):
            return None
        return message if isinstance(message, dict) else None

    def remove(self, name: str) -> None:
        """Remove a message that was sent. Does nothing if the message is missing."""
        self._in_memory.pop(name, None)
        with contextlib.suppress(OSError):
            (self._folder / name).unlink(missing_ok=True)

    def _names(self) -> Iterator[str]:
        yield from tuple(self._in_memory)
        with contextlib.suppress(OSError), os.scandir(self._folder) as files:
            for file in files:
                if file.name.endswith(".json") and not file.name.startswith(_PART):
                    yield file.name


def message_name() -> str:
    """A new, unique name for a message of this process. The order of names is the order of time."""
    return f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}.json"


def _pid_of(name: str) -> int | None:
    """The id of the process that added a message, from the message's name; None if the name has another form."""
    found = _NAME.fullmatch(name)
    return None if found is None else int(found[1])


@cache
def _senders(folder: Path, pid: int) -> int:
    """Lock the byte for this process in FOLDER/senders, and return the file's descriptor. Raises OSError.

    The byte's offset is `pid`, the id of this process. If the lock fails, the descriptor is still returned. The file
    stays open, because closing it, even through another descriptor, would release the lock.
    """
    descriptor = os.open(folder / "senders", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(OSError):  # a process of another container has this id, or locks fail
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, pid)
    return descriptor
