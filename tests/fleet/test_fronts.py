"""The front processes of one host: their share of the limits, messages, locks, purges and the sum of their metrics."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cropmark.caches.disk import DiskCache
from cropmark.caches.entry_store import INLINE_READ_BYTES
from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiered import TieredCaches
from cropmark.config.errors import TomlDocument
from cropmark.config.loader import LoadedSettings
from cropmark.config.settings import Settings
from cropmark.fleet.host_locks import HostLocks
from cropmark.fleet.siblings import Message, Siblings
from cropmark.model.problems import BadRequest, InternalError
from cropmark.pipeline import Pipeline, RequestContext
from cropmark.ports import Digest, Purge, PurgeKind
from cropmark.runtime.metric_sums import sum_of
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.purge_log import PurgeHistory
from cropmark.server.errors import StartupError
from cropmark.server.exposition import HostMetrics
from cropmark.server.fleet import HostPurger
from cropmark.server.fronts import (
    Front,
    drop_originals,
    loaded_by,
    number_of,
    originals_folder,
    position_file,
    remove_files_beyond,
)
from cropmark.web.purges import SitePurger
from cropmark.web.site import Sites
from tests.adapters.renditions import key_of
from tests.builders import until
from tests.test_pipeline import RENDERED, FakeRenderers, FakeSource, Fixture, order

SHOES = Purge(PurgeKind.TAG, "shoes")
CONTEXT = RequestContext(tags=("tag:shoes\n",))
MIB = 2**20


# ---------------------------------------------------------------------------------------------- shares


@pytest.mark.parametrize(
    ("cores", "configured", "renderers", "expected"),
    [(2, None, None, 1), (8, None, None, 2), (64, None, None, 16), (64, None, 3, 3), (2, 2, None, 2), (4, 3, 2, 0)],
)
def test_the_number_of_fronts(
    cores: int, configured: int | None, renderers: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cropmark.runtime.cgroups.cores", lambda: cores)
    settings = Settings(fronts=configured, renderers=renderers)
    if expected:
        assert number_of(settings) == expected
    else:
        with pytest.raises(StartupError, match="3 fronts need as many renderers, but there are 2"):
            number_of(settings)


def test_a_unix_socket_has_one_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cropmark.runtime.cgroups.cores", lambda: 64)
    assert number_of(Settings(host="unix:/run/cropmark.sock")) == 1
    with pytest.raises(StartupError, match="several fronts cannot listen on a Unix socket"):
        number_of(Settings(host="unix:/run/cropmark.sock", fronts=2))


@pytest.mark.parametrize(("renderers", "each"), [(2, [1, 1]), (5, [3, 2]), (8, [4, 4])])
def test_fronts_share_the_limits_of_the_server(renderers: int, each: list[int], tmp_path: Path) -> None:
    settings = Settings(renderers=renderers, memory_limit_bytes=512 * MIB, queue_limit=101, max_connections=10)
    loaded = LoadedSettings(settings, TomlDocument(None, "", {}), ())
    fronts = [loaded_by(loaded, Front(number, 2, tmp_path, (), 0)).settings for number in range(2)]
    assert [one.renderers for one in fronts] == each
    assert {one.memory_limit_bytes for one in fronts} == {256 * MIB}
    assert {one.memory_cache_bytes for one in fronts} == {settings.memory_cache_bytes // 2}
    assert {(one.queue_limit, one.max_connections) for one in fronts} == {(51, 5)}
    assert {one.disk_cache_bytes for one in fronts} == {settings.disk_cache_bytes}  # they share its folder


# ---------------------------------------------------------------------------------------------- messages


@asynccontextmanager
async def siblings(folder: Path, count: int = 2) -> AsyncIterator[list[Siblings]]:
    found = [Siblings(folder, number, count) for number in range(count)]
    for each in found:
        await each.listen()
    yield found
    for each in found:
        await each.close()


async def test_messages_reach_all_fronts_that_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def echo(message: Message) -> Message:
        return {"got": message["x"]}

    async def fail(_: Message) -> Message:
        raise BadRequest("no")

    async def hang(_: Message) -> Message:
        await asyncio.sleep(60)
        return {}

    async with siblings(tmp_path, 4) as (one, two, three, four):
        for each, handler in ((two, echo), (three, fail), (four, hang)):
            each.answers = {"say": handler}
        await two.close()
        assert (tmp_path / "1.sock").exists() is False
        monkeypatch.setattr("cropmark.fleet.siblings.TIMEOUT_S", 0.2)
        failed = [{"error": "no"}, {"error": "front 3 does not answer"}]
        assert await one.ask_all("say", {"x": 7}) == [{"absent": 1}, *failed]
        await two.listen()
        assert await one.ask_all("say", {"x": 7}) == [{"got": 7}, *failed]


async def test_a_front_that_cannot_be_reached_has_not_ended(tmp_path: Path) -> None:
    async with siblings(tmp_path, 3) as (one, two, three):
        for each in (two, three):
            await each.close()
        (tmp_path / "1.sock").symlink_to("1.sock")
        failed = {"error": "front 1 cannot be reached: Too many levels of symbolic links"}
        assert await one.ask_all("say", {}) == [failed, {"absent": 2}]


# ---------------------------------------------------------------------------------------------- locks

HOLD = """
import sys, asyncio
from pathlib import Path
from cropmark.fleet.host_locks import HostLocks
locks = HostLocks(Path(sys.argv[1]))
assert asyncio.run(locks.acquire(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_lock_of_another_process_ends_with_it(tmp_path: Path) -> None:
    file, key = tmp_path / "cache" / "renders.lock", key_of("a")
    locks = HostLocks(file)
    command = [sys.executable, "-c", HOLD, str(file), key]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert await locks.acquire(key) is None
        assert await locks.acquire(key_of("b")) == key_of("b")
        await locks.release(key_of("b"), key_of("b"))
        began_s = time.monotonic()
        await locks.wait(key, began_s + 0.1)
        assert await locks.acquire(key) is None
        holder.kill()
        await locks.wait(key, time.monotonic() + 10)
        assert await locks.acquire(key) == key


# ---------------------------------------------------------------------------------------------- purges


class OneFront(Fixture):
    history: PurgeHistory
    caches: TieredCaches
    purger: HostPurger


@asynccontextmanager
async def fronts(folder: Path, count: int = 2) -> AsyncIterator[list[OneFront]]:
    """Pipelines with memory caches of their own over one disk cache, which reach each other."""
    sockets = folder / "sockets"
    sockets.mkdir()
    found: list[OneFront] = []
    async with siblings(sockets, count) as links:
        for link in links:
            history = PurgeHistory()
            caches = TieredCaches([MemoryCache(MIB), await DiskCache.open(folder / "cache", history=history)])
            renderers = FakeRenderers(RENDERED)
            pipeline = Pipeline(cache=caches, renderers=renderers, metrics=Metrics(), history=history)
            front = OneFront(FakeSource(folder, {"a.jpg": "1"}), renderers, Metrics(), pipeline)
            front.history, front.caches = history, caches
            front.purger = HostPurger(SitePurger(Sites([]), pipeline), link, Settings(cache_dir=folder))
            link.answers = front.purger.answers
            found.append(front)
        yield found
        for front in found:
            await front.pipeline.close()
            await front.caches.close()


async def status(front: OneFront) -> str:
    return (await front.deliver(order(), CONTEXT)).cache_status


async def on_disk(front: OneFront) -> None:
    """Wait until the rendition is in the folder."""
    disk = front.caches.tiers[1]
    assert isinstance(disk, DiskCache)
    await until(lambda: not disk._behind.bytes)


async def test_a_purge_reaches_the_memory_of_all_fronts(tmp_path: Path) -> None:
    async with fronts(tmp_path, 3) as (one, two, three):
        assert await status(one) == "miss"
        await on_disk(one)
        assert [await status(each) for each in (two, three)] == ["hit-disk", "hit-disk"]
        await asyncio.sleep(0.01)
        assert [await status(each) for each in (two, three)] == ["hit-memory", "hit-memory"]
        assert await two.purger.apply(SHOES) == 1
        assert await status(one) == "miss"
        await on_disk(one)
        assert await status(three) == "hit-disk"


async def test_after_a_soft_purge_all_fronts_send_the_old_image_from_the_disk(tmp_path: Path) -> None:
    async with fronts(tmp_path) as (one, two):
        assert await status(one) == "miss"
        await on_disk(one)
        assert await one.purger.apply(replace(SHOES, soft=True)) == 1
        assert await status(two) == "hit-stale"
        await until(lambda: not two.pipeline._refreshing)
        assert await status(two) == "hit-memory"
        assert await two.purger.apply(SHOES) == 1
        assert await status(one) == "miss"


async def test_a_render_from_before_a_purge_is_not_stored_by_another_front(tmp_path: Path) -> None:
    async with fronts(tmp_path) as (one, two):
        go = asyncio.Event()
        two.renderers.before = go.wait
        request = asyncio.create_task(two.deliver(order(), CONTEXT))
        await until(lambda: two.renderers.renders == 1)
        await one.purger.apply(SHOES)
        go.set()
        await request
        await on_disk(two)
        assert await status(one) == "miss"
        await on_disk(one)
        assert await status(two) == "hit-disk"


async def test_a_write_in_progress_of_another_front_is_purged(tmp_path: Path) -> None:
    async with fronts(tmp_path) as (one, two):
        assert await status(two) == "miss"  # its file is written up to 50 ms later
        assert await one.purger.apply(SHOES) == 1
        assert await status(one) == "miss"


async def test_a_front_does_not_read_a_file_that_another_one_wrote_during_a_purge(tmp_path: Path) -> None:
    """The second front has an image that it has not written yet when the first front purges."""
    async with fronts(tmp_path) as (one, two):
        assert await status(two) == "miss"
        apply, seen = two.purger._own.apply, []

        async def read_then_apply(*arguments: object, **options: object) -> int:
            await on_disk(two)
            seen.append(await status(one))
            return await apply(*arguments, **options)  # type: ignore[arg-type]  # as they were given

        two.purger._own.apply = read_then_apply  # type: ignore[method-assign]
        await one.purger.apply(SHOES)
        assert seen == ["miss"]


async def test_a_copy_made_during_a_purge_does_not_stay_in_memory(tmp_path: Path) -> None:
    """The second front forgets the image, and reads its file before the first front has removed it."""
    async with fronts(tmp_path) as (one, two):
        assert await status(one) == "miss"
        await on_disk(one)
        apply, seen = one.purger._own.apply, []

        async def read_then_apply(*arguments: object, **options: object) -> int:
            seen.append(await status(two))
            return await apply(*arguments, **options)  # type: ignore[arg-type]  # as they were given

        one.purger._own.apply = read_then_apply  # type: ignore[method-assign]
        await one.purger.apply(SHOES)
        assert seen == ["hit-disk"]
        assert await status(two) == "miss"


async def test_a_purge_of_all_servers_is_carried_out_by_each_front(tmp_path: Path) -> None:
    """Until a front has read the purge, it may write old renditions: the others do not use them."""
    async with fronts(tmp_path) as (one, two):
        for each in (one, two):
            each.history.position = (5, 0)
        await two.purger.apply(SHOES, (9, 0))
        assert await status(one) == "miss"
        await on_disk(one)
        assert await status(two) == "miss"
        await on_disk(two)
        await one.purger.apply(SHOES, (9, 0))


async def test_a_purge_that_a_front_cannot_carry_out_is_reported(tmp_path: Path) -> None:
    async with fronts(tmp_path) as (one, two):

        async def fail(purge: Purge) -> None:
            raise InternalError("the disk is broken")

        two.purger._own.forget = fail  # type: ignore[method-assign]
        assert await status(one) == "miss"
        with pytest.raises(InternalError, match="the disk is broken"):
            await one.purger.apply(SHOES)
        assert await status(one) == "miss"


async def test_a_front_that_does_not_listen_yet_keeps_no_originals_from_before_a_purge(tmp_path: Path) -> None:
    async with fronts(tmp_path, 3) as (one, two, three):
        await two.purger._siblings.close()
        files = [originals_folder(Settings(cache_dir=tmp_path), number) / "original" for number in range(3)]
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"from before")
        await one.purger.apply(SHOES)
        assert [file.exists() for file in files] == [True, False, True]
        await two.purger._siblings.listen()
        assert await status(three) == "miss"


async def test_a_server_that_is_not_the_current_one_gets_no_purges(tmp_path: Path) -> None:
    """A reload builds a server, and may fail after that."""
    async with fronts(tmp_path) as (one, two):
        unused: Any = None
        HostPurger(SitePurger(Sites([]), unused), two.purger._siblings, Settings(cache_dir=tmp_path))
        assert [await status(one), await status(two)] == ["miss", "miss"]
        await one.purger.apply(SHOES)
        assert await status(two) == "miss"


async def test_fronts_render_an_image_once(tmp_path: Path) -> None:
    """In one process POSIX locks do not exclude each other, so the locks are a dictionary here."""
    held: dict[Digest, str] = {}

    class Locks:
        tier, longest_wait_s = "disk", 5.0

        async def acquire(self, key: Digest) -> str | None:
            return None if held.setdefault(key, str(id(self))) != str(id(self)) else key

        async def wait(self, key: Digest, until_s: float) -> None:
            await until(lambda: key not in held)

        async def release(self, key: Digest, token: str) -> None:
            del held[key]

    async with fronts(tmp_path, 3) as found:
        for front in found:
            front.pipeline._locks = Locks()
            front.renderers.before = lambda: asyncio.sleep(0.05)
        statuses = await asyncio.gather(*(status(each) for each in found for _ in range(2)))
        assert sorted(set(statuses)) == ["hit-disk", "miss"]
        assert sum(each.renderers.renders for each in found) == 1


async def test_a_large_image_that_another_front_stored_before_the_lock_is_not_rendered_again(tmp_path: Path) -> None:
    """A file that is too large for the event loop is found in the cache folder, too."""
    async with fronts(tmp_path) as (one, two):

        class Locks:
            tier, longest_wait_s = "disk", 5.0

            async def acquire(self, key: Digest) -> str | None:
                assert await status(one) == "miss"
                await on_disk(one)
                return key

            async def wait(self, key: Digest, until_s: float) -> None:
                raise AssertionError

            async def release(self, key: Digest, token: str) -> None:
                pass

        one.renderers.outcome = replace(RENDERED, body=b"x" * (INLINE_READ_BYTES + 1))
        two.pipeline._locks = Locks()
        assert await status(two) == "hit-disk"
        assert two.renderers.renders == 0
        assert [tier.misses for tier in two.caches.stats()] == [2, 1]


async def test_a_restart_of_the_disk_cache_leaves_the_position_among_purges(tmp_path: Path) -> None:
    file = position_file(Settings(cache_dir=tmp_path), 0)
    file.parent.mkdir()
    file.write_text("5-0")
    cache = await DiskCache.open(tmp_path)
    assert await cache.purge("") == 0  # removes the files of pending purges
    await cache.close()
    assert file.read_text() == "5-0"


def test_each_front_has_a_position_which_begins_at_that_of_the_first(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path)
    first = position_file(settings, 0)
    first.parent.mkdir()
    assert not position_file(settings, 1).exists()
    first.write_text("5-0")
    assert position_file(settings, 1).read_text() == "5-0"
    position_file(settings, 1).write_text("4-0")
    assert (position_file(settings, 1).read_text(), first.read_text()) == ("4-0", "5-0")


def test_files_of_fronts_that_may_have_missed_purges_are_removed(tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path)
    remove_files_beyond(settings, 1)
    drop_originals(settings, 0)
    (tmp_path / "purges").mkdir()
    for number in range(3):
        originals_folder(settings, number).mkdir(parents=True)
        (originals_folder(settings, number) / "a.body").touch()
        position_file(settings, number).write_text("5-0")
    remove_files_beyond(settings, 2)
    assert sorted(path.name for path in tmp_path.glob("*/*")) == ["a.body", "front-1", "position", "position-1"]
    drop_originals(settings, 0)
    assert [path.name for path in tmp_path.glob("originals/**/*")] == ["front-1", "a.body"]
    drop_originals(settings, 1)
    assert [path.name for path in tmp_path.glob("originals/**/*")] == ["front-1"]


# ---------------------------------------------------------------------------------------------- metrics


async def test_the_sum_of_the_metrics_does_not_go_back(tmp_path: Path) -> None:
    async with siblings(tmp_path) as (one, two):
        metrics = [Metrics(), Metrics()]
        for each, count in zip(metrics, (3, 4), strict=True):
            each.count_request("shop", "fastly", 200, "miss", 0.02 * count)
            each.saved_bytes.inc(count)
            read = lambda count=count: [  # noqa: E731
                ("cropmark_cache_entries", ("memory",), count),
                ("cropmark_cache_entries", ("disk",), 9),
                ("cropmark_cache_available", ("disk",), count - 3),
                ("cropmark_library_reachable", (), count - 3),
            ]
            each.read_from(each.saved_bytes, read)
        first, second = (HostMetrics(each, link) for each, link in zip(metrics, (one, two), strict=True))
        two.answers = second.answers
        text = (await first.total()).decode()
        for line in (
            "cropmark_saved_bytes_total 7.0",
            'cropmark_requests_total{cache="miss",dialect="fastly",site="shop",status="200"} 2.0',
            'cropmark_cache_entries{tier="memory"} 7.0',
            'cropmark_cache_entries{tier="disk"} 9.0',
            'cropmark_cache_available{tier="disk"} 0.0',
            "cropmark_library_reachable 0.0",
            'cropmark_front_up{front="1"} 1.0',
        ):
            assert line in text.splitlines()
        assert 'le="0.1",site="shop",status_class="2xx"} 2.0' in text
        await two.close()
        before = text.count("\n")
        text = (await first.total()).decode()
        assert "cropmark_saved_bytes_total 7.0" in text.splitlines()
        assert 'cropmark_cache_entries{tier="memory"} 3.0' in text.splitlines()
        assert 'cropmark_front_up{front="1"} 0.0' in text.splitlines()
        assert text.count("\n") == before
        for restarts in range(1, 4):
            started_again = Metrics()
            two.answers = HostMetrics(started_again, two).answers
            await two.listen()
            started_again.saved_bytes.inc(1)
            assert f"cropmark_saved_bytes_total {7 + restarts}.0" in (await first.total()).decode().splitlines()
            await two.close()
        assert len([*tmp_path.glob("*.metrics")]) == 2  # not one for each process


async def test_a_scrape_names_a_front_that_hangs_and_answers_without_it(tmp_path: Path) -> None:
    async def hang(_: Message) -> Message:
        await asyncio.sleep(60)
        return {}

    async with siblings(tmp_path, 3) as links:
        metrics = [Metrics(), Metrics(), Metrics()]
        hosts = [HostMetrics(each, link) for each, link in zip(metrics, links, strict=True)]
        for each, link, host in zip(metrics, links, hosts, strict=True):
            each.saved_bytes.inc(1)
            link.answers = host.answers
        await hosts[0].total()
        links[1].answers = {"metrics": hang}
        metrics[2].saved_bytes.inc(10)
        async with asyncio.timeout(8):
            lines = (await hosts[0].total()).decode().splitlines()
        assert "cropmark_saved_bytes_total 13.0" in lines
        assert [f'cropmark_front_up{{front="{n}"}} {up}.0' in lines for n, up in enumerate((1, 0, 1))] == [True] * 3


def test_metrics_of_one_front_are_unchanged_by_the_sum() -> None:
    metrics = Metrics()
    metrics.count_request("shop", "fastly", 200, "miss", 0.02)
    text = metrics.exposition().decode()
    lines = [line for line in text.splitlines() if not line.startswith("process_")]
    assert [line for line in sum_of([text]).decode().splitlines() if not line.startswith("process_")] == lines
