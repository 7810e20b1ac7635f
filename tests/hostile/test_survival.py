"""The cost of renderers that crash, hang or run out of memory in a running server.

tests/renderers does this with rogue processes. Here the workers are real, and receive the signals of a crashing decoder
from the test: no file is known that crashes this decoder.
"""

from __future__ import annotations

import asyncio
import os
import re
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.builders import wait_until
from tests.hostile import seeds
from tests.hostile.slowness import slowness, start_slowness
from tests.web.server_process import Running, running

REJECTED = "is rejected for ten minutes"
"""The second signal reaches a thumbnail that tries the image alone, or the request itself. Either is rejected then."""
SLOW = "/contentstack/{name}.jpg?width={width}&format=webpll"
GOOD = "/fastly/good.png?width={width}&format=png"
TIMEOUT_S = round(min(8.0, 3.0 * slowness()), 1)
"""The slow plans take longer on any machine: 16 s of CPU time or more on the machine of slowness()."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("survival")
    (folder / "files").mkdir()
    (folder / "files" / "good.png").write_bytes(seeds.torn_seeds()["plain.png"])
    heavy = seeds.saved(seeds.noise("RGB", 4800, 3600), "JPEG", quality=80)
    for name in ("SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "hang", "hunger", "slow"):
        (folder / "files" / f"{name}.jpg").write_bytes(heavy)
    settings = {"CROPMARK_RENDER_TIMEOUT_S": str(TIMEOUT_S)}
    with running(str(folder / "files"), cache=folder / "cache", environment=settings, renderers=2) as found:
        yield found


def lost(server: Running, cause: str) -> int:
    """The number of workers replaced for this cause."""
    reported = re.search(rf'renderer_restarts_total\{{cause="{cause}"\}} (\d+)', server.get("/metrics").text)
    return int(reported[1]) if reported else 0


async def hurt(server: Running, path: str, deed: int) -> tuple[httpx.Response, list[httpx.Response]]:
    """The responses to a slow request with a signal to its worker, and to requests in parallel."""
    async with httpx.AsyncClient(base_url=server.address, trust_env=False, timeout=60) as client:
        while (await client.get("/readyz")).json()["renderers"]["alive"] < 2:
            await asyncio.sleep(0.02)  # a starting worker uses CPU time too
        slow = asyncio.create_task(client.get(path))
        victim = await busy(server)
        others = [asyncio.create_task(client.get(GOOD.format(width=at))) for at in range(20, 30)]
        await asyncio.sleep(0)
        os.kill(victim, deed)
        return await slow, await asyncio.gather(*others)


async def busy(server: Running) -> int:
    """The worker that used the most CPU time in a short interval."""
    for _ in range(200):
        before = {pid: used_ticks(pid) for pid in server.renderers()}
        await asyncio.sleep(0.05)
        spent = {pid: used_ticks(pid) - ticks for pid, ticks in before.items()}
        if spent and max(spent.values()) >= 2:
            return max(spent, key=lambda pid: spent[pid])
    raise AssertionError("no renderer is at work")


def alive(server: Running) -> int:
    """The number of workers that are ready."""
    found: int = server.get("/readyz").json()["renderers"]["alive"]
    return found


def used_ticks(pid: int) -> int:
    """CPU time in hundredths of a second; 0 if the process is gone."""
    try:
        reported = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return int(reported[11]) + int(reported[12])


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS"])
def test_check_27_a_source_that_killed_two_workers_is_rejected_without_another_try(server: Running, name: str) -> None:
    crashes = lost(server, "crash")
    for _ in range(2):
        server.purge(url="/none")  # else the failure is repeated from memory for some seconds
        response, others = asyncio.run(hurt(server, SLOW.format(name=name, width=4000), getattr(signal, name)))
        assert response.status_code == 422
        assert "could not be decoded safely" in response.text
        assert {other.status_code for other in others} == {200}
    assert lost(server, "crash") == crashes + 2
    wait_until(lambda: alive(server) >= 2)  # a starting worker uses CPU time too
    assert min(rejected_s(server, name) for _ in range(3)) < 0.3 * slowness()
    assert lost(server, "crash") == crashes + 2
    assert server.get(GOOD.format(width=31)).status_code == 200


def rejected_s(server: Running, name: str) -> float:
    """Seconds in which a request for the image of this name is rejected."""
    server.purge(url="/none")
    began = time.perf_counter()
    refused = server.get(SLOW.format(name=name, width=4000))
    took_s = time.perf_counter() - began
    assert refused.status_code == 422
    assert REJECTED in refused.text
    return took_s


def test_check_27_an_image_that_hangs_times_out_and_is_then_rejected(server: Running) -> None:
    """A stopped process is equivalent to an endless loop."""
    hangs = lost(server, "timeout")
    for _ in range(2):
        began = time.perf_counter()
        response, others = asyncio.run(hurt(server, SLOW.format(name="hang", width=4000), signal.SIGSTOP))
        assert response.status_code == 503
        assert f"not rendered within {TIMEOUT_S:g} s" in response.text
        assert time.perf_counter() - began < (TIMEOUT_S + 2) * slowness()
        assert {other.status_code for other in others} == {200}
    assert REJECTED in server.get(SLOW.format(name="hang", width=4000)).text
    assert lost(server, "timeout") == hangs + 2


def test_check_54_two_slow_requests_block_no_image(server: Running) -> None:
    """No worker is stopped here: the plans take longer than the limit."""
    large = "width=8192&height=8192&enable=upscale&blur=90&sharpen=a10,r100,t0&format=png"
    for quality in (80, 81):
        assert server.get(f"/fastly/slow.jpg?{large}&quality={quality}").status_code == 503
    for small in ("/fastly/slow.jpg?width=40", "/contentstack/slow.jpg?width=40", "/fastly/good.png?overlay=slow.jpg"):
        assert server.get(small).status_code == 200


def test_check_27_memory_that_is_not_there_costs_one_request(server: Running) -> None:
    """Both workers get a limit of 24 MiB more: the large image fails with an error, small ones are rendered."""
    wait_until(lambda: alive(server) >= 2)  # a starting worker has not set its own limits yet
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_AS) for pid in server.renderers()}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_AS, (mapped(pid) + 24 * 2**20, hard))
    response = server.get(SLOW.format(name="hunger", width=4000))
    assert response.status_code in (422, 500, 503)  # 500: an encoder ran out of memory, and its error does not say so
    assert "Traceback" not in response.text, response.text
    for pid in set(server.renderers()) & set(limits):
        resource.prlimit(pid, resource.RLIMIT_AS, limits[pid])
    after = server.get(GOOD.format(width=32))
    assert after.status_code == 200, after.text
    assert server.process.poll() is None


def mapped(pid: int) -> int:
    """Bytes of address space."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_check_27_another_renderer_is_ready_soon(server: Running) -> None:
    """300 ms on a machine with nothing else to do."""
    assert server.get(GOOD.format(width=33)).status_code == 200
    assert min(replaced_s(server) / start_slowness() for _ in range(3)) < 1.5


def replaced_s(server: Running) -> float:
    """Seconds in which the server replaces a renderer that is killed."""
    before = server.renderers()
    os.kill(before[0], signal.SIGSEGV)
    return wait_until(lambda: before[0] not in server.renderers() and alive(server) >= len(before))
