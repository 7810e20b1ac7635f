"""CPU and memory limits of this process, from its cgroups (versions 1 and 2).

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


def cores(groups: Path = _GROUPS, own: Path = _OWN) -> int:
    """Number of CPU cores this process may use: its CPU affinity, or its CPU quota rounded up if that is less."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([available, *(max(1, math.ceil(quota)) for quota in _quotas(groups, own))])


def memory_limits(groups: Path = _GROUPS, own: Path = _OWN) -> Iterator[int]:
    """The memory limit in bytes of each group that has one, the process's own group first."""
    for folder in _folders("memory", groups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from map(int, _read_numbers(folder / name)[:1])


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """The CPU quota in cores of each group that has one."""
    for folder in _folders("cpu", groups, own):
        parts = _read_numbers(folder / "cpu.max")
        parts = parts or _read_numbers(folder / "cpu.cfs_quota_us") + _read_numbers(folder / "cpu.cfs_period_us")
        if len(parts) == 2 and all(part > 0 for part in parts):
            yield parts[0] / parts[1]


def _folders(controller: str, groups: Path, own: Path) -> Iterator[Path]:
    """The folders of the process's group and its parents, of both versions. A container may see only the last one."""
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
    """The numbers in a file; empty if it contains anything else, such as `max`."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
