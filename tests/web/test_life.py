"""A server over time: replaced files, purges, killed processes, full caches, signals. Each test has its own server."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import pytest
import structlog
from PIL import Image

from cropmark.config.errors import TomlDocument
from cropmark.config.loader import LoadedSettings, Settings
from cropmark.runtime.connections import Connections
from cropmark.server.reloads import Generation, Reloader, SwappableApp
from tests.builders import make_images, until, wait_until
from tests.command import run
from tests.processes import is_running
from tests.web.local_server import local_server
from tests.web.server_process import TOKEN, Running, running

WIDE = "/fastly/wide.jpg?width=100"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return make_images(tmp_path / "pictures")


def cache_of(reply: httpx.Response) -> str:
    return reply.headers["server-timing"].split(",")[0].removeprefix("cache;desc=")


def pixels(body: bytes) -> bytes:
    """The pixels of an image: under load, effort and so bytes may differ, but not pixels."""
    return Image.open(io.BytesIO(body)).tobytes()


def test_a_replaced_file_is_served_immediately(folder: Path, tmp_path: Path) -> None:
    with local_server(folder, cache=tmp_path / "cache") as server:
        before = server.get(WIDE)
        assert cache_of(server.get(WIDE)) == "hit-memory"
        Image.new("RGB", (400, 400), (9, 9, 9)).save(folder / "wide.jpg")
        after = server.get(WIDE)
        assert cache_of(after) == "miss"
        assert Image.open(io.BytesIO(after.content)).size == (100, 100)
        assert after.headers["etag"] != before.headers["etag"]


def test_if_modified_since_counts_with_one_source_only(folder: Path, tmp_path: Path) -> None:
    """Last-Modified is that of the first source; a replaced overlay changes the image all the same."""
    overlaid = {"x-fastly-imageopto-overlay": "overlay=/fastly/tall.png"}
    with local_server(folder, cache=tmp_path / "cache") as server:
        before = server.get(WIDE, headers=overlaid)
        since = {"if-modified-since": before.headers["last-modified"]}
        Image.new("RGB", (9, 9)).save(folder / "tall.png")
        after = server.get(WIDE, headers={**overlaid, **since})
        assert (after.status_code, after.headers["etag"] == before.headers["etag"]) == (200, False)
        assert server.get(WIDE, headers=since).status_code == 304


@pytest.mark.parametrize("started", ['exec "$@" <&-', 'exec "$@" 2>&-', 'ulimit -n 64; exec "$@"'])
def test_it_serves_without_standard_streams_and_with_few_files(folder: Path, tmp_path: Path, started: str) -> None:
    """Without a standard stream, as under some supervisors; with a low limit of open files."""
    with running(str(folder), cache=tmp_path / "cache", under=("sh", "-c", started, "sh")) as server:
        assert server.get(WIDE).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_renditions_outlive_the_server(folder: Path, tmp_path: Path) -> None:
    with local_server(folder, cache=tmp_path / "cache") as server:
        first = server.get(WIDE)
    with local_server(folder, cache=tmp_path / "cache") as server:
        again = server.get(WIDE)
    assert cache_of(again) == "hit-disk"
    assert again.content == first.content
    assert again.headers["etag"] == first.headers["etag"]


# fmt: off
PURGES = [
    # asked                                       forgets wide.jpg?width=100   …?width=50   tall.png
    ({"url": WIDE},                               True,                        False,       False),
    ({"source": "wide.jpg"},                      True,                        True,        False),
    ({"source": "wide"},                          False,                       False,       False),   # the whole name
    ({"prefix": "wi"},                            True,                        True,        False),
    ({"prefix": ""},                              True,                        True,        True),
]
# fmt: on


@pytest.mark.parametrize(("target", "url", "other", "tall"), PURGES)
def test_purges(folder: Path, tmp_path: Path, target: dict[str, str], url: bool, other: bool, tall: bool) -> None:
    paths = [WIDE, "/fastly/wide.jpg?width=50", "/fastly/tall.png?width=50"]
    with local_server(folder, cache=tmp_path / "cache") as server:
        for path in paths:
            server.get(path)
        purged = server.purge(**target)
        assert purged.status_code == 200
        assert purged.json() == {"purged": sum((url, other, tall))}
        assert [cache_of(server.get(path)) == "miss" for path in paths] == [url, other, tall]


def test_the_purge_command(folder: Path, tmp_path: Path) -> None:
    with running(str(folder), cache=tmp_path / "cache") as server:
        server.get(WIDE)
        command = ["purge", "--source", "wide.jpg", "--server", server.address]
        reply = run(command, environment={**os.environ, "CROPMARK_ADMIN_TOKEN": TOKEN})
        assert (reply.returncode, reply.stdout) == (0, "1 variant purged\n")
        assert cache_of(server.get(WIDE)) == "miss"


def test_kill_9_of_renderers_under_load(folder: Path, tmp_path: Path) -> None:
    """No wrong or incomplete image is served; only requests in progress fail, with 503."""
    with running(str(folder), cache=tmp_path / "cache", renderers=2) as server:
        expected = {w: server.get(f"/fastly/wide.jpg?width={w}&format=png").content for w in range(20, 60)}
        server.purge(prefix="")
        replies = asyncio.run(_load_and_kill_renderers(server, list(expected)))
        assert {a.status_code for _, a in replies} <= {200, 503}
        wait_until(lambda: server.get("/readyz").json()["renderers"]["alive"] == 2, 20)
        afterwards = asyncio.run(_load(server, list(expected)))
        assert {a.status_code for _, a in afterwards} == {200}
        made = [(w, a) for w, a in (*replies, *afterwards) if a.status_code == 200]
        assert [w for w, a in made if pixels(a.content) != pixels(expected[w])] == []


async def _load(
    server: Running, widths: list[int], replies: list[tuple[int, httpx.Response]] | None = None
) -> list[tuple[int, httpx.Response]]:
    """Request all widths, eight at a time. `replies` gets the responses as they arrive."""
    replies = [] if replies is None else replies
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:

        async def one(width: int) -> None:
            reply = await client.get(f"{server.address}/fastly/wide.jpg?width={width}&format=png")
            replies.append((width, reply))

        for start in range(0, len(widths), 8):
            await asyncio.gather(*(one(w) for w in widths[start : start + 8]))
    return replies


async def _load_and_kill_renderers(server: Running, widths: list[int]) -> list[tuple[int, httpx.Response]]:
    replies: list[tuple[int, httpx.Response]] = []

    async def kill() -> None:
        for count in range(0, 30, 5):
            await until(lambda count=count: len(replies) >= count)  # type: ignore[misc]  # bound now
            for pid in server.renderers()[:1]:
                with contextlib.suppress(ProcessLookupError):  # it may have exited since it was listed
                    os.kill(pid, signal.SIGKILL)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_load(server, widths, replies))
        tasks.create_task(kill())
    return replies


def test_kill_9_of_the_server_under_load(folder: Path, tmp_path: Path) -> None:
    """Afterwards the cache opens again: every complete entry is served unchanged, and no incomplete one."""
    widths = list(range(20, 60))
    with running(str(folder), cache=tmp_path / "reference") as server:
        expected = {w: server.get(f"/fastly/wide.jpg?width={w}&format=png").content for w in widths}
    for after in (10, 20, 30):
        with running(str(folder), cache=tmp_path / "cache") as server:
            with pytest.raises((httpx.HTTPError, ExceptionGroup)):
                asyncio.run(_load_and_kill_server(server, widths, after))
            pids = server.renderers()
            wait_until(lambda pids=pids: not any(is_running(pid) for pid in pids))  # type: ignore[misc]  # bound now
    with running(str(folder), cache=tmp_path / "cache") as server:
        replies = {w: server.get(f"/fastly/wide.jpg?width={w}&format=png") for w in widths}
    assert {a.status_code for a in replies.values()} == {200}
    assert [w for w, a in replies.items() if pixels(a.content) != pixels(expected[w])] == []
    assert "hit-disk" in {cache_of(a) for a in replies.values()}


async def _load_and_kill_server(server: Running, widths: list[int], after: int) -> None:
    """Kill the server when it has sent `after` responses."""
    replies: list[tuple[int, httpx.Response]] = []

    async def kill() -> None:
        await until(lambda: len(replies) >= after)
        server.process.kill()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_load(server, widths * 40, replies))
        tasks.create_task(kill())


def test_requests_are_served_while_the_cache_folder_fails(folder: Path, tmp_path: Path) -> None:
    with local_server(folder, cache=tmp_path / "cache") as server:
        assert server.get(WIDE).status_code == 200
        subprocess.run(["rm", "-rf", str(tmp_path / "cache")], check=True)
        (tmp_path / "cache").write_text("in the way")
        for width in range(30, 40):
            assert server.get(f"/fastly/wide.jpg?width={width}").status_code == 200


def test_five_hundred_identical_misses_are_one_render(folder: Path, tmp_path: Path) -> None:
    """check_41"""
    Image.effect_noise((2000, 1500), 60).convert("RGB").save(folder / "large.png", compress_level=0)

    async def ask(address: httpx.URL) -> tuple[bytes, bytes]:
        """The status line and the body. A client of httpx takes longer for 500 connections than the server."""
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"GET /fastly/large.png?width=900&format=webp HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        writer.close()
        return head.partition(b"\r\n")[0], body

    async def ask_all(address: httpx.URL) -> list[tuple[bytes, bytes]]:
        return await asyncio.gather(*(ask(address) for _ in range(500)))

    with running(str(folder), cache=tmp_path / "cache") as server:
        replies = asyncio.run(ask_all(httpx.URL(server.address)))
        assert {status for status, _ in replies} == {b"HTTP/1.1 200 OK"}
        assert len({body for _, body in replies}) == 1
        assert Image.open(io.BytesIO(replies[0][1])).size == (900, 675)
        reply = server.get("/metrics").text
        assert 'cropmark_render_stage_duration_seconds_count{stage="render"} 1.0' in reply


def test_abandoned_requests_leave_the_queue(folder: Path, tmp_path: Path) -> None:
    Image.effect_noise((3000, 2000), 60).convert("RGB").save(folder / "large.png")

    async def abandon(address: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=0.3) as client:
            urls = [f"{address}/fastly/large.png?width={w}&format=webp" for w in range(800, 806)]
            await asyncio.gather(*(client.get(url) for url in urls), return_exceptions=True)

    with running(str(folder), cache=tmp_path / "cache") as server:
        asyncio.run(abandon(server.address))
        wait_until(lambda: server.get("/readyz").json()["renderers"]["queued"] == 0, 3)
        started = time.monotonic()
        assert server.get(WIDE).status_code == 200
        assert time.monotonic() - started < 5


def test_sigterm_finishes_requests_in_progress(folder: Path, tmp_path: Path) -> None:
    """check_52"""
    Image.effect_noise((1500, 1000), 60).convert("RGB").save(folder / "large.png", compress_level=0)

    async def ask(server: Running) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            request = asyncio.create_task(client.get(f"{server.address}/fastly/large.png?width=1400&format=webp"))
            while not (await client.get(f"{server.address}/readyz")).json()["renderers"]["running"]:
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            return await request

    patience = {"CROPMARK_RENDER_TIMEOUT_S": "25", "CROPMARK_SHUTDOWN_TIMEOUT_S": "30"}  # for machines with other load
    with running(str(folder), cache=tmp_path / "cache", environment=patience) as server:
        reply = asyncio.run(ask(server))
        assert reply.status_code == 200
        assert Image.open(io.BytesIO(reply.content)).size == (1400, 933)
        assert server.process.wait(15) == 0


def test_sighup_reloads_completely_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "cropmark.toml"
    config.write_text("max_age_s = 100\n")
    with running(str(folder), "--config", str(config), cache=tmp_path / "cache") as server:
        assert server.get(WIDE).headers["cache-control"] == "public, max-age=100"
        config.write_text("max_age_s = 200\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: server.get(WIDE).headers["cache-control"] == "public, max-age=200")
        config.write_text("max_age_s = 'soon'\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reload failed" in server.log.read_text())
        assert server.get(WIDE).headers["cache-control"] == "public, max-age=200"
        config.write_text("host = '127.0.0.2'\n")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "takes effect at the next start" in server.log.read_text())


async def test_a_failed_reload_is_logged(folder: Path, tmp_path: Path) -> None:
    """For any error, and immediately."""
    settings = Settings(folder=folder, cache_dir=tmp_path / "cache", data_dir=tmp_path / "data", renderers=1)

    def reread() -> LoadedSettings:
        raise OSError("the disk is gone")

    generation = await Generation.open(settings, "http://127.0.0.1:1", lambda _: None)
    front = SwappableApp(generation)
    reloads = Reloader(front, reread, settings, "http://127.0.0.1:1", Connections(1, 0, lambda _: None))
    with structlog.testing.capture_logs() as logs:
        await reloads._reload()
    assert front.generation is generation
    await reloads.close()
    assert [(one["event"], one["log_level"]) for one in logs if "reload" in one["event"]] == [
        ("reload failed, the configuration is unchanged", "error")
    ]


async def test_a_reload_changes_the_limit_of_connections(folder: Path, tmp_path: Path) -> None:
    class Recorder(Connections):
        limits: tuple[int, str | None, str | None, float | None] | None = None

        def configure(
            self, per_client: int, client_of: Callable[[str], str | None], stall_s: float | None = None
        ) -> None:
            super().configure(per_client, client_of, stall_s)
            self.limits = per_client, client_of("10.0.0.7"), client_of("192.0.2.1"), stall_s

    settings = Settings(folder=folder, cache_dir=tmp_path / "cache", data_dir=tmp_path / "data", renderers=1)
    changed = settings.model_copy(
        update={"max_connections_per_client": 7, "trusted_proxies": ("10.0.0.7",), "write_timeout_s": 8.0}
    )
    connections = Recorder(1, 256, lambda peer: peer)
    front = SwappableApp(await Generation.open(settings, "http://127.0.0.1:1", connections.cut))
    reread = partial(LoadedSettings, changed, TomlDocument(None, "", {}), ())
    reloads = Reloader(front, reread, settings, "http://127.0.0.1:1", connections)
    await reloads._reload()
    await reloads.close()
    assert connections.limits == (7, None, "192.0.2.1", 8.0)


def test_sites_by_host_name(folder: Path, tmp_path: Path) -> None:
    """With a site on a host name, the vendor's own path works with only the host changed."""
    config = tmp_path / "cropmark.toml"
    config.write_text(
        f"""
[[site]]
hosts = ["images.example.com"]
dialect = "fastly"
source = "{folder}"
max_age_s = 7
settings = {{ jpeg_quality = 10 }}

[[site]]
prefix = "/shop"
dialect = "kontent"
source = "{folder}"
"""
    )
    with local_server(folder, cache=tmp_path / "cache", config=config) as server:
        there = server.get("/wide.jpg?width=100", headers={"Host": "images.example.com:8000"})
        assert there.status_code == 200
        assert there.headers["cache-control"] == "public, max-age=7"
        assert len(there.content) < len(server.get(WIDE).content)
        assert server.get("/wide.jpg?width=100").status_code == 404
        assert server.get("/shop/wide.jpg?w=100").status_code == 200
