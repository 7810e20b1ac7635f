"""What of the machine this process may use: of a container's, the share it is given and not all that is there.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, https://docs.kernel.org/scheduler/sched-bwc.html
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
    """Cores: those it may run on, or as many as its quota of their time comes to, rounded up."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([here, *(max(1, math.ceil(quota)) for quota in _quotas(groups, own))])


def memory_limits(groups: Path = _GROUPS, own: Path = _OWN) -> Iterator[int]:
    """Bytes of memory that all in its groups may take, group by group; nothing where there is no bound."""
    for folder in _folders("memory", groups, own):
        for name in ("memory.max", "memory.limit_in_bytes"):
            yield from map(int, _numbers(folder / name)[:1])


def _quotas(groups: Path, own: Path) -> Iterator[float]:
    """Cores' worth of time, group by group."""
    for folder in _folders("cpu", groups, own):
        parts = _numbers(folder / "cpu.max")
        parts = parts or _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
        if len(parts) == 2 and all(part > 0 for part in parts):
            yield parts[0] / parts[1]


def _folders(controller: str, groups: Path, own: Path) -> Iterator[Path]:
    """The process' group and all that it is in; of both versions. A container may see the last one alone."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            root = groups / controller if controllers else groups
            inside = PurePosixPath(path.lstrip("/"))
            yield from (root / part for part in (inside, *inside.parents) if ".." not in part.parts)


def _numbers(file: Path) -> list[int]:
    """The numbers in a file, if it holds nothing else; `max` is none."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
