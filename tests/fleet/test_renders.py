"""A render that began before a purge is stored nowhere: not in memory, on disk or in the shared store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from cropmark.caches.disk import DiskCache
from cropmark.caches.memory import MemoryCache
from cropmark.caches.pending_purges import PendingPurge, PendingPurges
from cropmark.caches.shared import SharedCache
from cropmark.caches.tiered import TieredCaches
from cropmark.model.problems import SourceNotFound
from cropmark.pipeline import Pipeline, PurgeTarget, RequestContext, url_tag
from cropmark.plan.plan import InfoDocument
from cropmark.plan.source import SitePath
from cropmark.ports import STALE_S, Digest, Rendition, StoredRendition
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.purge_log import LatestPurges, PurgeHistory
from tests.builders import until
from tests.caches.test_pending_purges import all_removed, no_removal
from tests.test_pipeline import RENDERED, SMART, FakeRenderers, FakeSource, Fixture, order

CONTEXT = RequestContext(tags=(url_tag("/a.jpg"), "tag:shoes\n"))


class Line(Fixture):
    history: PurgeHistory
    shared: SharedCache
    disk: DiskCache
    caches: TieredCaches


@asynccontextmanager
async def server(folder: Path, store: MemoryStore) -> AsyncIterator[Line]:
    """A pipeline with all three tiers over fakes of sources and renderers."""
    folder.mkdir(exist_ok=True)
    history = PurgeHistory()
    history.position = (1, 0)
    shared = SharedCache(store, read_s=5, history=history)
    disk = await DiskCache.open(folder / "cache")
    caches = TieredCaches([MemoryCache(2**20), disk, shared])
    renderers = FakeRenderers(RENDERED)
    pipeline = Pipeline(cache=caches, renderers=renderers, metrics=Metrics(), history=history)
    line = Line(FakeSource(folder, {"a.jpg": "1"}), renderers, Metrics(), pipeline)
    line.history, line.shared, line.disk, line.caches = history, shared, disk, caches
    try:
        yield line
    finally:
        await pipeline.close()
        await caches.close()


async def stored(line: Line) -> list[int]:
    """The number of entries in memory, on disk and in the shared store."""
    await line.caches._wait_for_puts()
    await line.shared.flush(5)
    line.disk._behind.flush()
    await line.disk._run_in(line.disk._writer, int)  # the writer thread has ended everything before
    return [tier.entries for tier in line.caches.stats()[:2]] + [_objects(line.shared._store)]


def _marks(store: MemoryStore) -> int:
    return sum(1 for page in store.list() for each in page if each["path"].startswith("purges/"))


def _objects(store: MemoryStore) -> int:
    return sum(1 for page in store.list() for each in page if not each["path"].startswith("purges/"))


@pytest.mark.parametrize("tag", [url_tag("/a.jpg"), "tag:shoes\n", "source:files:a.jpg\n", "source:", ""])
@pytest.mark.parametrize("at", [None, (5, 0)])
async def test_a_render_from_before_a_purge_is_not_stored(tag: str, at: tuple[int, int] | None, tmp_path: Path) -> None:
    async with server(tmp_path / "one", MemoryStore()) as line:
        go = asyncio.Event()
        line.renderers.before = go.wait
        request = asyncio.create_task(line.deliver(order(), CONTEXT))
        await until(lambda: line.renderers.renders == 1)
        await line.pipeline.purge([PurgeTarget(tag)], at=at)
        later = asyncio.create_task(line.deliver(order(), CONTEXT))
        await until(lambda: line.renderers.renders == 2)  # it does not share the render from before the purge
        later.cancel()
        await asyncio.gather(later, return_exceptions=True)
        go.set()
        assert (await request).body == RENDERED.body
        assert await stored(line) == [0, 0, 0]
        assert (await line.deliver(order(), CONTEXT)).cache_status == "miss"


async def test_an_analysis_from_before_a_purge_is_not_stored(tmp_path: Path) -> None:
    async with server(tmp_path / "one", MemoryStore()) as line:

        async def purge() -> None:
            await line.pipeline.purge([PurgeTarget("source:files:a.jpg\n")])

        line.renderers.before_analysis = purge
        await line.deliver(order(plan=SMART))
        assert await stored(line) == [0, 0, 0]


async def test_a_purge_of_others_does_not_concern_it(tmp_path: Path) -> None:
    async with server(tmp_path / "one", MemoryStore()) as line:
        go = asyncio.Event()
        line.renderers.before = go.wait
        request = asyncio.create_task(line.deliver(order(), CONTEXT))
        await until(lambda: line.renderers.renders == 1)
        await line.pipeline.purge([PurgeTarget("tag:hats\n")])
        later = asyncio.create_task(line.deliver(order(), CONTEXT))
        await until(lambda: [each.waiting for each in line.pipeline._renders._flights.values()] == [2])
        go.set()
        assert [(await each).cache_status for each in (request, later)] == ["miss", "miss"]
        assert line.renderers.renders == 1  # the later request shared it
        assert await stored(line) == [1, 1, 1]


async def test_what_a_server_stores_before_it_knows_a_purge_is_not_used_by_others(tmp_path: Path) -> None:
    """Both know purge 5; then purge 9 reaches the second one first, and the first one stores an old render."""
    store = MemoryStore()
    async with server(tmp_path / "one", store) as one, server(tmp_path / "two", store) as two:
        one.history.position = two.history.position = (5, 0)
        await two.pipeline.purge([PurgeTarget("tag:shoes\n")], at=(9, 0))
        await one.deliver(order(), CONTEXT)
        assert await stored(one) == [1, 1, 1]
        assert (await two.deliver(order(), CONTEXT)).cache_status == "miss"
        await two.shared.flush(5)
        await one.pipeline.purge([PurgeTarget("tag:shoes\n")], at=(9, 0))
        await one.deliver(order(), CONTEXT)
        await one.shared.flush(5)
        async with server(tmp_path / "three", store) as three:
            assert (await three.deliver(order(), CONTEXT)).cache_status == "hit-shared"


async def test_a_server_that_purges_late_does_not_purge_what_others_have_rendered_since(tmp_path: Path) -> None:
    store = MemoryStore()
    async with server(tmp_path / "one", store) as one, server(tmp_path / "late", store) as late:
        one.source.versions["b.jpg"] = late.source.versions["b.jpg"] = "1"
        await one.pipeline.purge([PurgeTarget("tag:shoes\n")], at=(9, 0))
        await one.deliver(order(), CONTEXT)
        await late.deliver(order("b.jpg"), CONTEXT)  # from before the purge
        await stored(one)
        marks = _marks(store)
        await late.pipeline.purge_own([PurgeTarget("tag:shoes\n")], at=(9, 0))
        assert _marks(store) == marks
        for name, status in (("a.jpg", "hit-shared"), ("b.jpg", "miss")):
            async with server(tmp_path / name, store) as other:
                other.source.versions["b.jpg"] = "1"
                assert (await other.deliver(order(name), CONTEXT)).cache_status == status
        await one.pipeline.purge([PurgeTarget("tag:shoes\n")])  # Redis is away: a purge without a position
        async with server(tmp_path / "last", store) as last:
            assert (await last.deliver(order(), CONTEXT)).cache_status == "miss"


async def test_a_purge_of_several_targets_counts_each_entry_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    add = PendingPurges.add

    def noted(self: PendingPurges, tag_prefix: str, *, soft: bool = False) -> PendingPurge:
        begun.append(tag_prefix)
        return add(self, tag_prefix, soft=soft)

    monkeypatch.setattr(PendingPurges, "add", noted)
    store = MemoryStore()
    async with server(tmp_path / "one", store) as line:
        for tags, scanned in ((("source:", "tag:shoes\n"), 2), (("source:", "source:files:", "", "source:"), 1)):
            await line.deliver(order(), CONTEXT)
            await stored(line)
            marks = _marks(store)
            assert await line.pipeline.purge([PurgeTarget(tag, line.source) for tag in tags]) == 1
            assert _marks(store) == marks + scanned
            assert len(begun) == scanned
            begun.clear()


async def test_every_target_is_purged_before_a_render_can_begin(tmp_path: Path) -> None:
    """Else the record of this render would name a purge that its source had not carried out."""
    async with server(tmp_path / "one", MemoryStore()) as line:
        purge = line.pipeline.purge([PurgeTarget("tag:hats\n"), PurgeTarget("source:files:", line.source)], at=(9, 0))
        task = asyncio.create_task(purge)
        await asyncio.sleep(0)
        assert not task.done()
        assert line.history.position == (9, 0)
        assert line.source.stat(SitePath("a.jpg")).generation == 1
        await task


async def test_a_soft_purge_serves_the_old_image_while_a_new_one_is_rendered(tmp_path: Path) -> None:
    async with server(tmp_path / "one", MemoryStore()) as line:
        await line.deliver(order(), CONTEXT)
        go = asyncio.Event()
        line.renderers.before = go.wait
        line.source.versions["a.jpg"] = "2"
        await line.pipeline.purge([PurgeTarget("source:files:a.jpg\n", line.source)], soft=True)
        old = [await line.deliver(order(), CONTEXT) for _ in range(3)]
        assert {each.cache_status for each in old} == {"hit-stale"}
        assert all(each.body == RENDERED.body and each.record.is_transient for each in old)
        await until(lambda: line.renderers.renders == 2)
        go.set()
        await until(lambda: not line.pipeline._stale)
        assert (await line.deliver(order(), CONTEXT)).cache_status == "hit-memory"
        assert line.renderers.renders == 2


@pytest.mark.parametrize("restart", ["before the purge", "after the purge"])
async def test_a_soft_purge_serves_the_old_image_from_the_disk(restart: str, tmp_path: Path) -> None:
    """The memory of the server is empty since its restart."""

    async def purge(line: Line) -> None:
        line.source.versions["a.jpg"] = "2"
        await line.pipeline.purge([PurgeTarget("source:files:a.jpg\n", line.source)], soft=True)

    async with server(tmp_path / "one", MemoryStore()) as line:
        await line.deliver(order(), CONTEXT)
        if restart == "after the purge":
            await purge(line)
    async with server(tmp_path / "one", MemoryStore()) as line:
        go = asyncio.Event()
        line.renderers.before = go.wait
        if restart == "before the purge":
            await purge(line)
        line.source.versions["a.jpg"] = "2"
        old = [await asyncio.wait_for(line.deliver(order(), CONTEXT), 10) for _ in range(3)]
        assert {(each.cache_status, each.body) for each in old} == {("hit-stale", RENDERED.body)}
        assert all(each.record.is_transient for each in old)
        await until(lambda: line.renderers.renders == 1)
        go.set()
        await until(lambda: not line.pipeline._refreshing)
        assert (await line.deliver(order(), CONTEXT)).cache_status == "hit-memory"
        assert line.renderers.renders == 1
        assert await stored(line) == [1, 1, 1]


@pytest.mark.parametrize("reached", ["after the render", "during the render"])
async def test_the_old_image_does_not_follow_the_new_one(
    reached: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first request comes before the purge has reached the old entry on the disk, so it waits for the new image."""
    async with server(tmp_path / "one", MemoryStore()) as line:
        await line.deliver(order(), CONTEXT)
    async with server(tmp_path / "one", MemoryStore()) as line:
        go = asyncio.Event()
        line.renderers.before = go.wait
        line.source.versions["a.jpg"] = "2"
        with no_removal(line.disk, monkeypatch):
            await line.pipeline.purge([PurgeTarget("source:files:a.jpg\n", line.source)], soft=True)
            request = asyncio.create_task(line.deliver(order(), CONTEXT))
            await until(lambda: line.renderers.renders == 1)
            if reached == "after the render":
                go.set()
                assert (await request).cache_status == "miss"
        await all_removed(line.disk)
        go.set()
        assert (await request).cache_status == "miss"
        assert (await line.deliver(order(), CONTEXT)).cache_status == "hit-memory"
        assert await stored(line) == [1, 1, 1]


async def test_stale_images_are_looked_up_after_a_start_and_a_soft_purge_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(tmp_path / "one", MemoryStore()) as line:
        lookups: list[str] = []
        find_stale = line.disk.find_stale

        async def counted(order_key: Digest, *, streams: bool) -> Rendition | StoredRendition | None:
            lookups.append(order_key)
            return await find_stale(order_key, streams=streams)

        monkeypatch.setattr(line.disk, "find_stale", counted)
        now_s = time.time()
        monkeypatch.setattr(line.pipeline, "_clock", lambda: now_s)
        seen = []
        for event in ("the start", "five minutes later", "a soft purge", "five minutes later"):
            if event == "five minutes later":
                now_s += STALE_S + 1
            elif event == "a soft purge":
                await line.pipeline.purge([PurgeTarget("tag:hats\n")], soft=True)
            await line.deliver(order(), CONTEXT)
            seen.append(len(lookups))
        assert seen == [1, 1, 2, 2]


async def test_a_soft_purge_serves_an_old_document(tmp_path: Path) -> None:
    async with server(tmp_path / "one", MemoryStore()) as line:
        asked = replace(order(plan=None), facts=InfoDocument())
        await line.deliver(asked, CONTEXT)
        await line.pipeline.purge([PurgeTarget("tag:shoes\n")], soft=True)
        assert (await line.deliver(asked, CONTEXT)).cache_status == "hit-stale"


async def test_a_soft_purge_ends_with_a_purge_and_with_the_source(tmp_path: Path) -> None:
    async with server(tmp_path / "one", MemoryStore()) as line:
        await line.deliver(order(), CONTEXT)
        await line.pipeline.purge([PurgeTarget("tag:shoes\n")], soft=True)
        await line.pipeline.purge([PurgeTarget("tag:shoes\n")])
        assert (await line.deliver(order(), CONTEXT)).cache_status == "miss"
        await line.pipeline.purge([PurgeTarget("tag:shoes\n")], soft=True)
        line.source.versions.clear()
        assert (await line.deliver(order(), CONTEXT)).cache_status == "hit-stale"
        await until(lambda: not line.pipeline._refreshing)
        with pytest.raises(SourceNotFound):
            await line.deliver(order(), CONTEXT)


async def test_dropping_own_entries_keeps_the_shared_store(tmp_path: Path) -> None:
    async with server(tmp_path / "one", MemoryStore()) as line:
        await line.deliver(order(), CONTEXT)
        await stored(line)
        await line.pipeline.purge_own([PurgeTarget("source:", line.source), PurgeTarget("")])
        assert await stored(line) == [0, 0, 1]
        assert (await line.deliver(order(), CONTEXT)).cache_status == "hit-shared"


def test_the_number_of_prefixes_in_memory_is_bounded() -> None:
    purges: LatestPurges[int] = LatestPurges(0, limit=10)
    for n in range(1, 101):
        purges.note(f"tag:{n}\n", n)
    assert purges.latest(["tag:100\n"]) == 100
    assert purges.latest(["tag:1\n"]) is None
    assert purges.forgotten >= 90
