"""A server's life: replaced files, purges, killed processes, full caches, signals. Each test has its own server."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
import structlog
from PIL import Image

from cropmark.config.loader import LoadedSettings, Settings
from cropmark.server.run import _Reloader, _SwappableApp
from cropmark.server.wiring import open_server
from tests.builders import make_images
from tests.web.server_process import TOKEN, Running, running

WIDE = "/fastly/wide.jpg?width=100"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pictures").mkdir()
    return make_images(tmp_path / "pictures")


def cache_of(answer: httpx.Response) -> str:
    return answer.headers["server-timing"].split(",")[0].removeprefix("cache;desc=")


def pixels(body: bytes) -> bytes:
    """Under load the encoder's effort falls, never what it encodes: bodies may differ, pixels not."""
    return Image.open(io.BytesIO(body)).tobytes()


def eventually(true: Callable[[], bool], within_s: float = 5.0) -> bool:
    end = time.monotonic() + within_s
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_a_replaced_file_is_seen_at_once(folder: Path, tmp_path: Path) -> None:
    with running(str(folder), cache=tmp_path / "cache") as server:
        before = server.get(WIDE)
        assert cache_of(server.get(WIDE)) == "hit-memory"
        Image.new("RGB", (400, 400), (9, 9, 9)).save(folder / "wide.jpg")
        after = server.get(WIDE)
        assert cache_of(after) == "miss"
        assert Image.open(io.BytesIO(after.content)).size == (100, 100)
        assert after.headers["etag"] != before.headers["etag"]


def test_a_date_is_of_one_source_only(folder: Path, tmp_path: Path) -> None:
    """Last-Modified is the first one's: with an overlay that was replaced it is another answer all the same."""
    overlaid = {"x-fastly-imageopto-overlay": "overlay=/fastly/tall.png"}
    with running(str(folder), cache=tmp_path / "cache") as server:
        before = server.get(WIDE, headers=overlaid)
        since = {"if-modified-since": before.headers["last-modified"]}
        Image.new("RGB", (9, 9)).save(folder / "tall.png")
        after = server.get(WIDE, headers={**overlaid, **since})
        assert (after.status_code, after.headers["etag"] == before.headers["etag"]) == (200, False)
        assert server.get(WIDE, headers=since).status_code == 304


@pytest.mark.parametrize("started", ['exec "$@" <&-', 'exec "$@" 2>&-', 'ulimit -n 64; exec "$@"'])
def test_it_serves_whatever_it_is_started_with(folder: Path, tmp_path: Path, started: str) -> None:
    """Without a standard stream, as under some supervisors; with few open files."""
    with running(str(folder), cache=tmp_path / "cache", under=("sh", "-c", started, "sh")) as server:
        assert server.get(WIDE).status_code == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_renditions_outlive_the_server(folder: Path, tmp_path: Path) -> None:
    with running(str(folder), cache=tmp_path / "cache") as server:
        first = server.get(WIDE)
    with running(str(folder), cache=tmp_path / "cache") as server:
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


@pytest.mark.parametrize(("asked", "url", "other", "tall"), PURGES)
def test_purges(folder: Path, tmp_path: Path, asked: dict[str, str], url: bool, other: bool, tall: bool) -> None:
    paths = [WIDE, "/fastly/wide.jpg?width=50", "/fastly/tall.png?width=50"]
    with running(str(folder), cache=tmp_path / "cache") as server:
        for path in paths:
            server.get(path)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        told = httpx.post(f"{server.address}/admin/purge", json=asked, headers=headers, trust_env=False)
        assert told.status_code == 200
        assert told.json() == {"purged": sum((url, other, tall))}
        assert [cache_of(server.get(path)) == "miss" for path in paths] == [url, other, tall]


def test_the_purge_command(folder: Path, tmp_path: Path) -> None:
    with running(str(folder), cache=tmp_path / "cache") as server:
        server.get(WIDE)
        command = [*CROPMARK, "purge", "--source", "wide.jpg", "--server", server.address]
        told = subprocess.run(
            command, capture_output=True, text=True, env={**os.environ, "CROPMARK_ADMIN_TOKEN": TOKEN}, check=True
        )
        assert told.stdout == "1 variants purged\n"
        assert cache_of(server.get(WIDE)) == "miss"


CROPMARK = [sys.executable, "-c", "import sys; sys.argv[0] = 'cropmark'; from cropmark.cli.main import main; main()"]


def test_kill_9_of_renderers_under_load(folder: Path, tmp_path: Path) -> None:
    """No wrong or half picture is ever served; only the requests in hand are lost, and told of."""
    with running(str(folder), cache=tmp_path / "cache", renderers=2) as server:
        expected = {w: server.get(f"/fastly/wide.jpg?width={w}&format=png").content for w in range(20, 60)}
        _purged(server)
        answers = asyncio.run(_load(server, list(expected), killing=True))
        assert {a.status_code for _, a in answers} <= {200, 503}
        assert eventually(lambda: server.get("/readyz").json()["renderers"]["alive"] == 2, 20)
        afterwards = asyncio.run(_load(server, list(expected), killing=False))
        assert {a.status_code for _, a in afterwards} == {200}
        made = [(w, a) for w, a in (*answers, *afterwards) if a.status_code == 200]
        assert [w for w, a in made if pixels(a.content) != pixels(expected[w])] == []


async def _load(server: Running, widths: list[int], *, killing: bool) -> list[tuple[int, httpx.Response]]:
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:

        async def one(width: int) -> tuple[int, httpx.Response]:
            return width, await client.get(f"{server.address}/fastly/wide.jpg?width={width}&format=png")

        async def kill() -> None:
            for _ in range(6):
                for pid in server.renderers()[:1]:
                    os.kill(pid, signal.SIGKILL)
                await asyncio.sleep(0.03)

        killer = asyncio.create_task(kill()) if killing else None
        answers = []
        for start in range(0, len(widths), 8):
            answers += await asyncio.gather(*(one(w) for w in widths[start : start + 8]))
        if killer is not None:
            await killer
        return answers


def _purged(server: Running) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    httpx.post(f"{server.address}/admin/purge", json={"prefix": ""}, headers=headers, trust_env=False)


def test_kill_9_of_the_server_under_load(folder: Path, tmp_path: Path) -> None:
    """Afterwards the cache opens again: every whole entry is served as it was, and no half one."""
    widths = list(range(20, 60))
    with running(str(folder), cache=tmp_path / "reference") as server:
        expected = {w: server.get(f"/fastly/wide.jpg?width={w}&format=png").content for w in widths}
    for _ in range(3):
        with running(str(folder), cache=tmp_path / "cache") as server:
            with pytest.raises((httpx.HTTPError, ExceptionGroup)):
                asyncio.run(_killed_meanwhile(server, widths))
            pids = server.renderers()
            assert eventually(lambda pids=pids: not any(_alive(pid) for pid in pids))  # type: ignore[misc]  # bound now
    with running(str(folder), cache=tmp_path / "cache") as server:
        answers = {w: server.get(f"/fastly/wide.jpg?width={w}&format=png") for w in widths}
    assert {a.status_code for a in answers.values()} == {200}
    assert [w for w, a in answers.items() if pixels(a.content) != pixels(expected[w])] == []
    assert "hit-disk" in {cache_of(a) for a in answers.values()}


async def _killed_meanwhile(server: Running, widths: list[int]) -> None:
    async def kill() -> None:
        await asyncio.sleep(0.15)
        server.process.kill()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_load(server, widths * 40, killing=False))
        tasks.create_task(kill())


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_cache_folder_that_fails_costs_caching_never_an_answer(folder: Path, tmp_path: Path) -> None:
    with running(str(folder), cache=tmp_path / "cache") as server:
        assert server.get(WIDE).status_code == 200
        subprocess.run(["rm", "-rf", str(tmp_path / "cache")], check=True)
        (tmp_path / "cache").write_text("in the way")
        for width in range(30, 40):
            assert server.get(f"/fastly/wide.jpg?width={width}").status_code == 200


def test_five_hundred_identical_misses_are_one_render(folder: Path, tmp_path: Path) -> None:
    """check_41"""
    Image.effect_noise((2000, 1500), 60).convert("RGB").save(folder / "large.png")

    async def ask(address: str) -> list[httpx.Response]:
        limits = httpx.Limits(max_connections=500)
        async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:
            url = f"{address}/fastly/large.png?width=900&format=webp"
            return await asyncio.gather(*(client.get(url) for _ in range(500)))

    with running(str(folder), cache=tmp_path / "cache") as server:
        answers = asyncio.run(ask(server.address))
        assert {a.status_code for a in answers} == {200}
        assert len({a.content for a in answers}) == 1
        told = server.get("/metrics").text
        assert 'cropmark_render_stage_duration_seconds_count{stage="render"} 1.0' in told


def test_abandoned_requests_leave_the_queue(folder: Path, tmp_path: Path) -> None:
    Image.effect_noise((3000, 2000), 60).convert("RGB").save(folder / "large.png")

    async def abandon(address: str) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=0.3) as client:
            urls = [f"{address}/fastly/large.png?width={w}&format=webp" for w in range(800, 806)]
            await asyncio.gather(*(client.get(url) for url in urls), return_exceptions=True)

    with running(str(folder), cache=tmp_path / "cache") as server:
        asyncio.run(abandon(server.address))
        assert eventually(lambda: server.get("/readyz").json()["renderers"]["queued"] == 0, 3)
        began = time.monotonic()
        assert server.get(WIDE).status_code == 200
        assert time.monotonic() - began < 5


def test_sigterm_finishes_what_is_in_hand(folder: Path, tmp_path: Path) -> None:
    """check_52"""
    Image.effect_noise((3000, 2000), 60).convert("RGB").save(folder / "large.png")

    async def ask(server: Running) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            asked = asyncio.create_task(client.get(f"{server.address}/fastly/large.png?width=2500&format=webp"))
            while not (await client.get(f"{server.address}/readyz")).json()["renderers"]["running"]:
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            return await asked

    with running(str(folder), cache=tmp_path / "cache") as server:
        answer = asyncio.run(ask(server))
        assert answer.status_code == 200
        assert Image.open(io.BytesIO(answer.content)).size == (2500, 1667)
        assert server.process.wait(15) == 0


def test_sighup_reloads_whole_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "cropmark.toml"
    config.write_text("max_age_s = 100\n")
    with running(str(folder), "--config", str(config), cache=tmp_path / "cache") as server:
        assert server.get(WIDE).headers["cache-control"] == "public, max-age=100"
        config.write_text("max_age_s = 200\n")
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: server.get(WIDE).headers["cache-control"] == "public, max-age=200")
        config.write_text("max_age_s = 'soon'\n")
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "reload failed" in server.log.read_text())
        assert server.get(WIDE).headers["cache-control"] == "public, max-age=200"
        config.write_text("host = '127.0.0.2'\n")
        server.process.send_signal(signal.SIGHUP)
        assert eventually(lambda: "takes effect at the next start" in server.log.read_text())


async def test_a_reload_that_fails_is_told(folder: Path, tmp_path: Path) -> None:
    """Whatever it fails of, at once: not when the next one comes."""
    settings = Settings(folder=folder, cache_dir=tmp_path / "cache", data_dir=tmp_path / "data", renderers=1)

    def reread() -> LoadedSettings:
        raise OSError("the disk is gone")

    async with open_server(settings) as server:
        front = _SwappableApp(server)
        reloads = _Reloader(front, reread, settings, "http://127.0.0.1:1")
        with structlog.testing.capture_logs() as logs:
            await reloads._reload()
        assert front.server is server
    assert [(one["event"], one["log_level"]) for one in logs if "reload" in one["event"]] == [
        ("reload failed, the configuration is unchanged", "error")
    ]


def test_sites_by_host_name(folder: Path, tmp_path: Path) -> None:
    """With a site bound to a host name, the vendor's own path works with only the host changed."""
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
    with running(str(folder), "--config", str(config), cache=tmp_path / "cache") as server:
        there = server.get("/wide.jpg?width=100", headers={"Host": "images.example.com:8000"})
        assert there.status_code == 200
        assert there.headers["cache-control"] == "public, max-age=7"
        assert len(there.content) < len(server.get(WIDE).content)
        assert server.get("/wide.jpg?width=100").status_code == 404
        assert server.get("/shop/wide.jpg?w=100").status_code == 200
