"""Processes, as /proc lists them: no test needs ps, pgrep or pkill, which a minimal Debian does not have."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path


def is_running(pid: int) -> bool:
    """True if the process runs; a zombie, which remains without an init process, does not."""
    return any(state != "Z" for state, _, _ in _stat(pid))


def exists(pid: int) -> bool:
    """True if there is such a process, including a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def children(pid: int) -> set[int]:
    """Ids of the running processes that this process started."""
    return {child for child, (state, parent, _) in _processes() if parent == pid and state != "Z"}


def renderers(pid: int) -> set[int]:
    """Ids of the running renderers of a front, without the process that forks them."""
    return {child for child in children(pid) if _name(child) == "cropmark-render"}


def resident_bytes(pid: int) -> int:
    """The memory that a process holds; 0 if it has ended."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def kill_session(session: int) -> None:
    """Kills all processes of a session, also those that start during the call."""
    while members := [pid for pid, (state, _, found) in _processes() if found == session and state != "Z"]:
        for pid in members:
            os.kill(pid, signal.SIGKILL)


def _processes() -> Iterator[tuple[int, tuple[str, int, int]]]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            for stat in _stat(int(name)):
                yield int(name), stat


def _name(pid: int) -> str:
    """The name of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _stat(pid: int) -> Iterator[tuple[str, int, int]]:
    """State, parent and session of a process; nothing if it has ended."""
    try:
        state, parent, _, session = Path(f"/proc/{pid}/stat").read_text("latin-1").rpartition(")")[2].split()[:4]
    except (FileNotFoundError, ProcessLookupError):
        return
    yield state, int(parent), int(session)
