"""Cores, memory and processor time of the machine and its processes, read from Linux' /proc."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """The cores of the servers and of the load generators."""

    servers: tuple[int, ...]
    load: tuple[int, ...]

    @property
    def shared(self) -> bool:
        return bool(set(self.servers) & set(self.load))


def cores() -> Cores:
    """Two for the servers; the load comes from others where there are any."""
    have = sorted(os.sched_getaffinity(0))
    return Cores(tuple(have[:2]), tuple(have[2:] or have))


def described() -> str:
    """One line: processor, cores, memory, system."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    number = len(os.sched_getaffinity(0))
    return f"{_processor()}, {number} cores, {pages / 2**30:.0f} GiB, {platform.system()} {platform.release()}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def load_average() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def family(pid: int) -> list[int]:
    """A process with all its children, and theirs."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for task in _listed(Path(f"/proc/{one}/task")):
            todo += map(int, _text(task / "children").split())
    return found


def cpu_s(pids: Sequence[int]) -> float:
    """Processor time that these have used, and those of their children that have ended."""
    return sum(_cpu_s(pid) for pid in pids)


def _cpu_s(pid: int) -> float:
    reported = _text(Path(f"/proc/{pid}/stat"))
    if not reported:
        return 0.0
    fields = reported.rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) * TICK_S


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory of several processes in MiB. Shared pages count once in `proportional`, per process in `resident`."""

    resident: float
    proportional: float


def memory(pids: Sequence[int]) -> Memory:
    resident = proportional = 0
    for pid in pids:
        for line in _text(Path(f"/proc/{pid}/smaps_rollup")).splitlines():
            name, _, rest = line.partition(":")
            if name == "Rss":
                resident += int(rest.split()[0])
            elif name == "Pss":
                proportional += int(rest.split()[0])
    return Memory(resident / 1024, proportional / 1024)


def peak_bytes(pid: int) -> int:
    """The largest memory that a process had; 0 if it has exited."""
    lines = _text(Path(f"/proc/{pid}/status")).splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def tool(name: str, package: str) -> str | None:
    """The path of a program; from Debian's package where it is missing and we may install it."""
    if found := shutil.which(name):
        return found
    install(package)
    return shutil.which(name)


def install(package: str) -> bool:
    """True if the Debian package is installed; as root it is installed first."""
    if installed(package):
        return True
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return False
    command = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for attempt in (command, ["apt-get", "update", "-q"], command):
        subprocess.run(attempt, env=environment, capture_output=True, check=False)
        if installed(package):
            return True
    return False


def installed(package: str) -> bool:
    if shutil.which("dpkg-query") is None:
        return False
    requested = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True, check=False
    )
    return requested.stdout.endswith("ok installed")


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""  # the process has exited


def _listed(path: Path) -> list[Path]:
    try:
        return list(path.iterdir())
    except OSError:
        return []
