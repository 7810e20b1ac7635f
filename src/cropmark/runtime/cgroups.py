"""Reads the CPU and memory limits of this process from its cgroups (versions 1 and 2), and counts out-of-memory kills.

Sources: https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/scheduler/sched-bwc.html
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

_GROUPS: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")
_VM_STATISTICS: Final = Path("/proc/vmstat")
_MAX_STATM: Final = 256
"""Bytes to read of statm, which has seven numbers and is shorter."""
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


def cores(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """The number of CPU cores that this process may use.

    This is the number of cores in its CPU affinity, or its CPU quota rounded up if that is less.
    """
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([available, *(max(1, math.ceil(quota)) for quota in _quotas(groups, own))])


def memory_limits(groups: Path = _GROUPS, own: Path = _OWN) -> Iterator[int]:
    """The memory limits of this process's cgroups in bytes, innermost first. Cgroups without a limit are left out."""
    for folder in _folders("memory", groups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from map(int, _read_numbers(folder / name)[:1])


def memory_limit(groups: Path = _GROUPS, own: Path = _OWN) -> int | None:
    """The bytes of memory that this process and its children may use.

    This is the lowest limit of the process's cgroups, or the machine's memory if that is less. None if the system
    reports neither.
    """
    return min([*memory_limits(groups, own), *_physical_bytes()], default=None)


def _physical_bytes() -> Iterator[int]:
    try:
        yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return


def oom_kills(groups: Path = _GROUPS, own: Path = _OWN) -> tuple[int, ...]:
    """Counts of processes that the kernel has killed because memory ran out.

    There is one count for each cgroup of this process, and one for the machine. A kill may be in several counts.
    """
    files = [
        folder / name for folder in _folders("memory", groups, own) for name in ("memory.events", "memory.oom_control")
    ]
    return tuple(_counter(file, "oom_kill") for file in (*files, _VM_STATISTICS))


def _counter(file: Path, name: str) -> int:
    """The number in the line `NAME NUMBER` of a file; 0 if the file has no such line."""
    try:
        rows = (line.split() for line in file.read_text().splitlines())
        return next((int(row[1]) for row in rows if len(row) == 2 and row[0] == name), 0)
    except (OSError, ValueError):
        return 0


def own_memory(pid: int | str = "self") -> int:
    """The bytes of memory that the process `pid` uses, without shared memory and mapped files; 0 if unknown."""
    try:
        with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:  # noqa: PTH123 - a Path takes twice as long
            resident, shared = file.read(_MAX_STATM).split()[1:3]
        return (int(resident) - int(shared)) * _PAGE_BYTES
    except (OSError, ValueError):
        return 0


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """The CPU quotas of this process's cgroups, in cores. Cgroups without a quota are left out."""
    for folder in _folders("cpu", groups, own):
        parts = _read_numbers(folder / "cpu.max")
        parts = parts or _read_numbers(folder / "cpu.cfs_quota_us") + _read_numbers(folder / "cpu.cfs_period_us")
        if len(parts) == 2 and all(part > 0 for part in parts):
            yield parts[0] / parts[1]


def _folders(controller: str, groups: Path, own: Path) -> Iterator[Path]:
    """The folders of the process's cgroup and of its parent cgroups, innermost first, for both versions of cgroups.

    In a container, possibly only the last folder exists.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            root = groups / controller if controllers else groups
            group = PurePosixPath(path.lstrip("/"))
            yield from (root / part for part in (group, *group.parents) if ".." not in part.parts)


def _read_numbers(file: Path) -> list[int]:
    """The numbers in a file; empty if the file contains any other word, such as `max`."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
