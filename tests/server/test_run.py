"""Reloads of a running server: requests, keys, processes and memory over several generations."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import structlog

from cropmark.config.loader import LoadedSettings, load_settings
from cropmark.runtime.metric_table import METRICS, MetricType
from cropmark.server.kept import Kept
from cropmark.server.library import open_library
from cropmark.server.run import RunningServer, serve
from tests.builders import WAIT_S, make_images, until
from tests.processes import children


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return make_images(tmp_path / "pictures")


KEYS = tuple(f"key-of-generation-{number}" for number in range(4))


class Served:
    """serve() in the test's own process. `key` is the API key that the next reload reads."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.key = KEYS[0]
        self.address = ""
        self.generation: list[weakref.ref[object]] = []
        """Parts of the first generation."""
        self._folders = {"folder": folder, "cache_dir": root / "cache", "data_dir": root / "data"}

    def read(self) -> LoadedSettings:
        keys = {"CROPMARK_PIXLAB_KEY": self.key, "CROPMARK_PIXLAB_REQUESTS_PER_MINUTE": "1000000"}
        return load_settings(None, {**self._folders, "renderers": 1, "port": 0}, keys)

    def on_started(self, running: RunningServer) -> None:
        self.address = running.address
        self.generation = [weakref.ref(running.server.app), weakref.ref(running.server.pipeline)]

    async def status(self, client: httpx.AsyncClient, key: str) -> int:
        query = f"img=http://127.0.0.1:1/a.png&width=9&key={key}"
        return (await client.get(f"{self.address}/pixlab/resize?{query}")).status_code


@asynccontextmanager
async def served(folder: Path, root: Path) -> AsyncIterator[Served]:
    server = Served(folder, root)
    started = asyncio.Event()

    def on_started(running: RunningServer) -> None:
        server.on_started(running)
        started.set()

    task = asyncio.ensure_future(serve(server.read(), reload_settings=lambda: server.read(), on_started=on_started))
    starting = asyncio.ensure_future(started.wait())
    await asyncio.wait({task, starting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        starting.cancel()
        await task
    try:
        yield server
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await task


@asynccontextmanager
async def request_in_progress(address: str, key: str) -> AsyncIterator[None]:
    """A request of which the body never ends."""
    host, _, port = address.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    lines = (
        "POST /pixlab/resize HTTP/1.1",
        f"Host: {host}",
        f"WWW-Authenticate: {key}",
        "Content-Type: application/json",
        "Content-Length: 1000",
    )
    writer.write("\r\n".join((*lines, "", "{")).encode())
    await writer.drain()
    try:
        yield
    finally:
        writer.close()


def library_tasks() -> int:
    return sum("LibraryService" in str(task.get_coro()) for task in asyncio.all_tasks())


def widths() -> Iterator[int]:
    while True:
        yield from range(20, 400)


async def test_three_reloads_under_load(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A revoked key is invalid immediately, although an old request runs; then the first generation is closed."""
    for limit in ("cropmark.server.reloads.REPLACED_TIMEOUT_S", "cropmark.web.body_reader.IDLE_S"):
        monkeypatch.setattr(limit, 20 * WAIT_S)  # neither of them ends the old request
    first = Served(folder, tmp_path).read().settings
    open_library(first).close()
    before = children(os.getpid())
    async with served(folder, tmp_path) as server, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        renderers, pollers = children(os.getpid()) - before, library_tasks()
        assert renderers
        assert pollers
        statuses: list[int] = []
        ended = asyncio.Event()

        async def load() -> None:
            for width in widths():
                if ended.is_set():
                    return
                reply = await client.get(f"{server.address}/fastly/wide.jpg?width={width}")
                statuses.append(reply.status_code)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load())
            async with request_in_progress(server.address, KEYS[0]):
                for key in KEYS[1:]:
                    revoked, server.key = server.key, key
                    assert await server.status(client, revoked) != 401
                    os.kill(os.getpid(), signal.SIGHUP)
                    async with asyncio.timeout(WAIT_S):
                        while await server.status(client, revoked) != 401:
                            await asyncio.sleep(0.02)
                    assert await server.status(client, key) != 401
            ended.set()
        assert set(statuses) == {200}
        await until(lambda: len(children(os.getpid()) - before) == len(renderers))
        assert not (children(os.getpid()) - before) & renderers
        await until(lambda: library_tasks() == pollers)

        def is_gone() -> bool:
            gc.collect()
            return not any(part() for part in server.generation)

        await until(is_gone)
    assert children(os.getpid()) == before


COUNTERS = frozenset(
    name
    for spec in METRICS
    for name in {
        MetricType.COUNTER: [spec.name],
        MetricType.GAUGE: [],
        MetricType.HISTOGRAM: [f"{spec.name}_{part}" for part in ("bucket", "sum", "count")],
    }[spec.type]
)


async def counters(client: httpx.AsyncClient, address: str) -> dict[str, float]:
    """The values of all counters of /metrics, by name and labels."""
    lines = [line for line in (await client.get(f"{address}/metrics")).text.splitlines() if line[0] != "#"]
    values = {series: float(value) for series, _, value in (line.rpartition(" ") for line in lines)}
    return {series: value for series, value in values.items() if series.partition("{")[0] in COUNTERS}


async def test_counters_and_the_memory_cache_survive_three_reloads_under_load(folder: Path, tmp_path: Path) -> None:
    async with served(folder, tmp_path) as server, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        ended = asyncio.Event()
        answered = scrapes = 0
        last: dict[str, float] = {}

        async def load() -> None:
            nonlocal answered
            for width in widths():
                if ended.is_set():
                    return
                await client.get(f"{server.address}/fastly/wide.jpg?width={20 + width % 40}")
                answered += 1

        async def scrape() -> None:
            nonlocal last, scrapes
            while not ended.is_set():
                now = await counters(client, server.address)
                assert {s: (v, now.get(s)) for s, v in last.items() if now.get(s, -1.0) < v} == {}
                last, scrapes = now, scrapes + 1

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(load())
            tasks.create_task(scrape())
            for key in KEYS[1:]:
                revoked, server.key = server.key, key
                warm = f"{server.address}/fastly/tall.png?width=31"
                await client.get(warm)
                os.kill(os.getpid(), signal.SIGHUP)
                async with asyncio.timeout(WAIT_S):
                    while await server.status(client, revoked) != 401:
                        await asyncio.sleep(0.02)
                assert (await client.get(warm)).headers["server-timing"] == "cache;desc=hit-memory"
            ended.set()
        served_here = {s: v for s, v in (await counters(client, server.address)).items() if 'site="fastly"' in s}
        assert sum(v for s, v in served_here.items() if s.startswith("cropmark_requests_total")) == answered + 6
        timed = sum(v for s, v in served_here.items() if s.startswith("cropmark_request_duration_seconds_count"))
        assert timed == answered + 6
        assert scrapes > 20


async def test_a_memory_cache_of_another_size_is_a_new_one() -> None:
    kept = Kept()
    first = kept.memory_cache(2**20)
    assert kept.memory_cache(2**20) is first
    assert kept.memory_cache(2**21) is not first


async def test_a_signal_during_a_reload_is_not_lost(folder: Path, tmp_path: Path) -> None:
    async with served(folder, tmp_path) as server, httpx.AsyncClient(trust_env=False, timeout=30) as client:
        reads: list[str] = []
        read = server.read

        def read_while_signaled() -> LoadedSettings:
            reads.append(server.key)
            settings = read()
            if len(reads) == 1:
                server.key = KEYS[2]
                os.kill(os.getpid(), signal.SIGHUP)
            return settings

        server.read = read_while_signaled  # type: ignore[method-assign]  # the signal arrives during the first reload
        server.key = KEYS[1]
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(WAIT_S):
            while await server.status(client, KEYS[2]) == 401:
                await asyncio.sleep(0.02)
        assert reads == list(KEYS[1:3])


async def test_start_and_stop_are_logged(folder: Path, tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as logs:
        async with served(folder, tmp_path) as server:
            pass
    events = [line for line in logs if line["event"] in ("started", "stopping", "stopped")]
    assert [line["event"] for line in events] == ["started", "stopping", "stopped"]
    assert (events[0]["address"], events[0]["pid"]) == (server.address, os.getpid())
