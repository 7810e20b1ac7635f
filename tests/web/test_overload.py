"""More work, or larger work, than a server has time or memory for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.web.server_process import TOKEN, Running, running

CLIENTS = 64
MIB = 2**20
LIMIT_BYTES = 320 * MIB
GROUPS = Path("/sys/fs/cgroup")


def noise(width: int, height: int) -> Image.Image:
    small = Image.effect_noise((width // 4, height // 4), 60)
    return Image.merge("RGB", (small, small.rotate(180), small)).resize((width, height))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    noise(800, 536).save(folder / "small.jpg", quality=85)
    noise(6704, 4472).save(folder / "large.jpg", quality=85)  # 30 MP
    return folder


def answers(server: Running, paths: list[str]) -> list[httpx.Response]:
    """The responses to the paths, requested by one client each, all at the same time."""
    start = threading.Barrier(len(paths))

    def get(path: str) -> httpx.Response:
        start.wait()
        return server.get(path)

    with ThreadPoolExecutor(len(paths)) as clients:
        return list(clients.map(get, paths))


def test_check_42_sixty_four_clients_of_one_renderer_get_their_images(pictures: Path, tmp_path: Path) -> None:
    """Each requests a small image that is in no cache.

    tests/renderers/test_queue.py has the same for the default deadline, by estimates in place of the machine's time.
    """
    with running(str(pictures), cache=tmp_path / "cache", renderers=1) as server:
        # The first tasks are slower than the others: the server learns the time of smaller and of larger ones.
        for width in (*range(290, 300), *range(300 + CLIENTS, 310 + CLIENTS)):
            assert server.get(f"/fastly/small.jpg?width={width}&format=webp").status_code == 200
        paths = [f"/fastly/small.jpg?width={width}&format=webp" for width in range(300, 300 + CLIENTS)]
        assert [reply.status_code for reply in answers(server, paths)] == [200] * CLIENTS
        assert server.get("/readyz").json()["renderers"]["queued"] == 0


# ------------------------------------------------------------------------------------------------ memory


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path]:
    """A group of processes with this limit of memory; skips the test if none can be made here."""
    is_unified = (GROUPS / "cgroup.controllers").exists()
    group = (GROUPS if is_unified else GROUPS / "memory") / f"cropmark-test-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no group of processes can be made here: {error}")
    try:
        try:
            (group / ("memory.max" if is_unified else "memory.limit_in_bytes")).write_text(str(limit_bytes))
        except OSError as error:
            pytest.skip(f"no limit of memory can be set here: {error}")
        yield group
    finally:
        _remove(group)


def _remove(group: Path) -> None:
    """Remove the group; its last processes may still be ending."""
    for _ in range(100):
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)
    raise AssertionError(f"{group} has processes: {(group / 'cgroup.procs').read_text().split()}")


def kills(group: Path) -> int:
    for name in ("memory.events", "memory.oom_control"):
        if (group / name).exists():
            rows = (line.split() for line in (group / name).read_text().splitlines())
            return next(int(row[1]) for row in rows if row[0] == "oom_kill")
    raise AssertionError("the kernel does not count kills")


def inside(group: Path) -> tuple[str, ...]:
    """A command that starts another one inside the group."""
    return ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")


def test_check_68_four_large_images_in_a_small_container(pictures: Path, tmp_path: Path) -> None:
    """320 MiB, two renderers, 30 MP: each image is made, one after the other, or is too large. Nothing is killed."""
    with (
        memory_group(LIMIT_BYTES) as group,
        running(str(pictures), cache=tmp_path / "cache", renderers=2, under=inside(group)) as server,
    ):
        paths = [f"/fastly/large.jpg?width={5000 - at}&format={'webp' if at < 2 else 'jpg'}" for at in range(4)]
        assert [reply.status_code for reply in answers(server, paths)] == [200] * 4
        refused = answers(server, ["/fastly/large.jpg?width=4000&format=avif"] * 4)
        assert [reply.status_code for reply in refused] == [413] * 4
        assert all("MB of memory, at most" in reply.text for reply in refused)
        assert kills(group) == 0
        assert server.get("/fastly/large.jpg?width=400").status_code == 200


def test_check_69_the_server_survives_a_kill_by_the_kernel(pictures: Path, tmp_path: Path) -> None:
    """With a limit that is set too high, the kernel kills renderers: the log says so, and the server goes on."""
    wrong = {"CROPMARK_MEMORY_LIMIT_BYTES": str(4096 * MIB)}
    with (
        memory_group(LIMIT_BYTES) as group,
        running(str(pictures), cache=tmp_path / "cache", renderers=1, environment=wrong, under=inside(group)) as server,
    ):
        reply = server.get("/fastly/large.jpg?width=4000&format=avif")
        assert reply.status_code == 503
        assert "memory of the server ran out" in reply.text
        assert int(reply.headers["retry-after"]) >= 1
        assert kills(group) == 2
        assert "a renderer was killed: out of memory" in server.log.read_text()
        metrics = server.get(f"/metrics?token={TOKEN}").text
        assert 'cropmark_renderer_restarts_total{cause="out_of_memory"} 2.0' in metrics
        for width in (400, 410, 420):
            assert server.get(f"/fastly/large.jpg?width={width}").status_code == 200
