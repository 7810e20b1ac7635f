"""CPU and memory limits of a container, read from files as the kernel writes them."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest

from cropmark.runtime import cgroups

UNIFIED = "0::/\n"
SERVICE = "0::/system.slice/cropmark.service\n"
FIRST = "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n"
UNIT = "system.slice/cropmark.service"

# fmt: off
CORES = [
    # /proc/self/cgroup    files below /sys/fs/cgroup                                            cores of 8
    (UNIFIED,              {},                                                                   8),
    (UNIFIED,              {"cpu.max": "max 100000"},                                            8),
    (UNIFIED,              {"cpu.max": "200000 100000"},                                         2),
    (UNIFIED,              {"cpu.max": "250000 100000"},                                         3),
    (UNIFIED,              {"cpu.max": "50000 100000"},                                          1),
    (UNIFIED,              {"cpu.max": "3200000 100000"},                                        8),
    (UNIFIED,              {"cpu.max": "nonsense"},                                              8),
    (UNIFIED,              {"cpu.max": "100000 0"},                                              8),
    (SERVICE,              {f"{UNIT}/cpu.max": "400000 100000", "cpu.max": "max 100000"},        4),
    (SERVICE,              {f"{UNIT}/cpu.max": "max 100000", "system.slice/cpu.max": "9 3"},     3),
    (FIRST,                {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}, 2),
    (FIRST,                {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"},    8),
    ("0::/../elsewhere\n", {"cpu.max": "200000 100000"},                                         2),
    ("",                   {"cpu.max": "200000 100000"},                                         8),
]

MEMORY = [
    (UNIFIED,  {"memory.max": "536870912"},                                   [536870912]),
    (UNIFIED,  {"memory.max": "max"},                                         []),
    (FIRST,    {"memory/docker/abc/memory.limit_in_bytes": "5", "memory/memory.limit_in_bytes": "9"}, [5, 9]),
    (SERVICE,  {},                                                            []),
]
# fmt: on


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def write_groups(folder: Path, own: str, files: dict[str, str]) -> tuple[Path, Path]:
    for name, text in files.items():
        (folder / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "groups" / name).write_text(text + "\n")
    (folder / "own").write_text(own)
    return folder / "groups", folder / "own"


@pytest.mark.usefixtures("eight_cores")
@pytest.mark.parametrize(("own", "files", "cores"), CORES)
def test_cores(own: str, files: dict[str, str], cores: int, tmp_path: Path) -> None:
    assert cgroups.cores(*write_groups(tmp_path, own, files)) == cores


@pytest.mark.parametrize(("own", "files", "limits"), MEMORY)
def test_memory(own: str, files: dict[str, str], limits: list[int], tmp_path: Path) -> None:
    assert list(cgroups.memory_limits(*write_groups(tmp_path, own, files))) == limits


def test_without_cgroups(tmp_path: Path) -> None:
    assert cgroups.cores(tmp_path, tmp_path / "none") >= 1
    assert list(cgroups.memory_limits(tmp_path, tmp_path / "none")) == []


# fmt: off
LIMIT = [
    (FIRST,    {"memory/docker/abc/memory.limit_in_bytes": "700", "memory/memory.limit_in_bytes": "900"}, 700),
    (FIRST,    {"memory/docker/abc/memory.limit_in_bytes": "9223372036854771712"}, None),
    (SERVICE,  {f"{UNIT}/memory.max": "max", "system.slice/memory.max": "800"}, 800),
    (UNIFIED,  {}, None),
]
# fmt: on


@pytest.mark.parametrize(("own", "files", "limit"), LIMIT)
def test_the_least_limit_counts_or_the_memory_of_the_machine(
    own: str, files: dict[str, str], limit: int | None, tmp_path: Path
) -> None:
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert cgroups.memory_limit(*write_groups(tmp_path, own, files)) == (machine if limit is None else limit)


# fmt: off
KILLS = [
    (SERVICE,  {f"{UNIT}/memory.events": "low 0\nhigh 5\noom 9\noom_kill 3\noom_group_kill 0"},          3),
    (FIRST,    {"memory/docker/abc/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 2"}, 2),
    (UNIFIED,  {"memory.events": "nonsense"},                                                         0),
]
# fmt: on


@pytest.mark.parametrize(("own", "files", "kills"), KILLS)
def test_kills_are_counted(own: str, files: dict[str, str], kills: int, tmp_path: Path) -> None:
    assert max(cgroups.oom_kills(*write_groups(tmp_path, own, files))[:-1]) == kills


def test_own_memory_grows_with_what_a_process_holds() -> None:
    megabyte = b"x" * 1_000_000
    before = cgroups.own_memory()
    with mmap.mmap(-1, 50_000_000, mmap.MAP_PRIVATE) as held:  # new pages, not memory that was released before
        for _ in range(50):
            held.write(megabyte)
        assert 45_000_000 < cgroups.own_memory(os.getpid()) - before < 60_000_000
    assert cgroups.own_memory(2**22) == 0
