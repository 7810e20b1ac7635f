"""Renderers that crash, hang and starve while a server uses them: what it costs whom.

The renderers' own tests do all this with rogue processes; here the processes are those that serve pictures, and the
signals those of a decoder that falls: sent from outside, for no file is known that brings this decoder down.
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

from tests.hostile import seeds
from tests.hostile.load import slowness
from tests.web.server_process import Running, running

REFUSED = "brought 2 renderers down and is refused for now"
SLOW = "/contentstack/{name}.jpg?width={width}&format=webpll"
GOOD = "/fastly/good.png?width={width}&format=png"
DEADLINE_S = 3.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("survival")
    (folder / "files").mkdir()
    (folder / "files" / "good.png").write_bytes(seeds.torn_seeds()["plain.png"])
    heavy = seeds.saved(seeds.noise("RGB", 4800, 3600), "JPEG", quality=80)
    for name in ("SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS", "hang", "hunger"):
        (folder / "files" / f"{name}.jpg").write_bytes(heavy)
    settings = {"CROPMARK_RENDER_TIMEOUT_S": str(DEADLINE_S)}
    with running(str(folder / "files"), cache=folder / "cache", environment=settings, renderers=2) as found:
        yield found


def lost(server: Running, cause: str) -> int:
    """How many renderers were lost so."""
    told = re.search(rf'renderer_restarts_total\{{cause="{cause}"\}} (\d+)', server.get("/metrics").text)
    return int(told[1]) if told else 0


async def hurt(server: Running, path: str, deed: int) -> tuple[httpx.Response, list[httpx.Response]]:
    """The answer to a slow request whose renderer gets a signal, and to others that are made meanwhile."""
    async with httpx.AsyncClient(base_url=server.address, trust_env=False, timeout=60) as client:
        while (await client.get("/readyz")).json()["renderers"]["alive"] < 2:
            await asyncio.sleep(0.02)  # one that starts is at work too, but not for us
        slow = asyncio.create_task(client.get(path))
        victim = await busy(server)
        others = [asyncio.create_task(client.get(GOOD.format(width=at))) for at in range(20, 30)]
        await asyncio.sleep(0)
        os.kill(victim, deed)
        return await slow, await asyncio.gather(*others)


async def busy(server: Running) -> int:
    """The renderer that works longest: the one that has used the most of a core in a short while."""
    for _ in range(200):
        before = {pid: used_ticks(pid) for pid in server.renderers()}
        await asyncio.sleep(0.05)
        spent = {pid: used_ticks(pid) - ticks for pid, ticks in before.items()}
        if spent and max(spent.values()) >= 2:
            return max(spent, key=lambda pid: spent[pid])
    raise AssertionError("no renderer is at work")


def used_ticks(pid: int) -> int:
    """Hundredths of a second of CPU; 0 for one that is gone."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return int(told[11]) + int(told[12])


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGFPE", "SIGABRT", "SIGBUS"])
def test_check_27_a_source_that_killed_two_renderers_is_refused_without_another_try(server: Running, name: str) -> None:
    crashes = lost(server, "crash")
    for width in (4000, 4001):
        answer, others = asyncio.run(hurt(server, SLOW.format(name=name, width=width), getattr(signal, name)))
        assert answer.status_code == 422
        assert "could not be decoded safely" in answer.text
        assert {other.status_code for other in others} == {200}
    assert lost(server, "crash") == crashes + 2
    for width in (4002, 48):
        began = time.perf_counter()
        refused = server.get(SLOW.format(name=name, width=width))
        assert refused.status_code == 422
        assert REFUSED in refused.text
        assert time.perf_counter() - began < 0.3 * slowness()
    assert lost(server, "crash") == crashes + 2
    assert server.get(GOOD.format(width=31)).status_code == 200


def test_check_27_a_picture_that_hangs_is_given_up_and_then_refused(server: Running) -> None:
    """A stopped process is what an endless loop looks like from outside."""
    hangs = lost(server, "deadline")
    for width in (4000, 4001):
        began = time.perf_counter()
        answer, others = asyncio.run(hurt(server, SLOW.format(name="hang", width=width), signal.SIGSTOP))
        assert answer.status_code == 503
        assert f"not made within {DEADLINE_S:g} s" in answer.text
        assert time.perf_counter() - began < (DEADLINE_S + 2) * slowness()
        assert {other.status_code for other in others} == {200}
    assert REFUSED in server.get(SLOW.format(name="hang", width=4002)).text
    assert lost(server, "deadline") == hangs + 2


def test_check_27_memory_that_is_not_there_costs_one_request(server: Running) -> None:
    """Both renderers may have 24 MiB more than now: the large picture fails in words, small ones are made."""
    while server.get("/readyz").json()["renderers"]["alive"] < 2:
        time.sleep(0.02)  # one that starts has not set its own limits yet
    limits = {pid: resource.prlimit(pid, resource.RLIMIT_AS) for pid in server.renderers()}
    for pid, (_, hard) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_AS, (mapped(pid) + 24 * 2**20, hard))
    answer = server.get(SLOW.format(name="hunger", width=4000))
    assert answer.status_code in (422, 500, 503)  # 500 where an encoder ran out of it, which does not say of what
    assert "Traceback" not in answer.text, answer.text
    for pid in set(server.renderers()) & set(limits):
        resource.prlimit(pid, resource.RLIMIT_AS, limits[pid])
    assert server.get(GOOD.format(width=32)).status_code == 200
    assert server.process.poll() is None


def mapped(pid: int) -> int:
    """Bytes of address space."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def test_check_27_another_renderer_is_ready_soon(server: Running) -> None:
    """300 ms on a machine with nothing else to do."""
    assert server.get(GOOD.format(width=33)).status_code == 200
    before = server.renderers()
    os.kill(before[0], signal.SIGSEGV)
    began = time.perf_counter()
    while server.get("/readyz").json()["renderers"]["alive"] < len(before) or before[0] in server.renderers():
        assert time.perf_counter() - began < 10
        time.sleep(0.01)
    took_s = time.perf_counter() - began
    print(f"another renderer was ready after {took_s * 1000:.0f} ms")
    assert took_s < 1.5 * slowness()
