"""The library as a Source: cached lookups are correct, and are dropped in time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cropmark.library.changes import ChangeFeed
from cropmark.library.keys import new_secret
from cropmark.library.lookup import Address, FoundVersion, LookupResult, read_address
from cropmark.library.lookup_cache import MAX_FEED_AGE_S
from cropmark.library.service import MIN_REPOLL_S, LibraryService
from cropmark.library.source import LibrarySource
from cropmark.library.store import LibraryStore
from cropmark.model.assets import Asset, BranchRef, KeyKind, KeyScope, PublishRequest
from cropmark.model.problems import SourceFailed, SourceNotFound, Unauthorized
from cropmark.plan.source import PublishScope, SitePath, WebUrl
from tests.builders import until
from tests.library.builders import PRODUCTION, add_asset, replace_asset

PUBLISHED = PublishScope("production")


class Counted:
    """A store that counts its lookups."""

    def __init__(self, store: LibraryStore) -> None:
        self.store = store
        self.lookups = 0

    def find(self, address: Address, scope: PublishScope | None) -> LookupResult:
        self.lookups += 1
        return self.store.find(address, scope)

    def open_file(self, digest: str) -> int:
        return self.store.open_file(digest)


class Front:
    """A source over a store, with its own clock. It applies changes when poll() is called."""

    def __init__(self, store: LibraryStore) -> None:
        self.store = store
        self.counted = Counted(store)
        self.now_s = 100.0
        self.threads = ThreadPoolExecutor(1)
        self.source = LibrarySource(self.counted, self.threads, self.threads, lambda: self.now_s)
        self.n: int | None = None
        self.poll()

    def poll(self) -> None:
        feed = self.store.changes_since(self.n, self.store.database.now_ms)
        self.n = feed.n
        self.source.lookups.apply(feed)

    async def bytes_at(self, where: SitePath) -> bytes:
        opened = await self.source.open(where)
        try:
            return os.pread(opened.descriptor, opened.bytes, 0)
        finally:
            opened.close()


@pytest.fixture
async def front(store: LibraryStore) -> AsyncIterator[Front]:
    found = Front(store)
    yield found
    found.threads.shutdown()


def at(asset: Asset, scope: PublishScope | None = PUBLISHED) -> SitePath:
    version = asset.version
    return SitePath(f"v3/assets/{asset.entry.branch_ref.stack}/{asset.uid}/{version.file_uid}/owl.jpg", scope)


async def test_the_second_lookup_queries_no_database(front: Front, store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    assert front.source.stat(at(asset)) is None  # nothing is known yet
    assert await front.bytes_at(at(asset)) == b"one"
    stamp = front.source.stat(at(asset))
    assert stamp is not None
    assert stamp.identity == f"library:{place.stack}/{asset.uid}/{asset.version.file_uid}"
    assert stamp.version == asset.version.file.digest
    assert await front.bytes_at(at(asset)) == b"one"
    assert front.counted.lookups == 1


async def test_failed_lookups_are_cached_too(front: Front, store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one")
    for _ in range(2):
        with pytest.raises(SourceNotFound):
            await front.source.open(at(asset))
    with pytest.raises(SourceNotFound):
        front.source.stat(at(asset))
    assert front.counted.lookups == 1
    store.publish(place, asset.uid, PRODUCTION, "tester")
    front.poll()
    assert await front.bytes_at(at(asset)) == b"one"


async def test_an_unpublished_asset_is_gone_after_the_next_poll(
    front: Front, store: LibraryStore, place: BranchRef
) -> None:
    asset, other = (
        add_asset(store, place, b"one", publishing=PRODUCTION),
        add_asset(store, place, b"two", publishing=PRODUCTION),
    )
    await front.bytes_at(at(asset))
    await front.bytes_at(at(other))
    store.unpublish(place, asset.uid, PRODUCTION, "tester")
    front.poll()
    assert front.source.stat(at(asset)) is None
    assert front.source.stat(at(other)) is not None  # whatever else is known stays known
    with pytest.raises(SourceNotFound):
        await front.source.open(at(asset))


async def test_a_deleted_asset_is_gone_without_a_query(front: Front, store: LibraryStore, place: BranchRef) -> None:
    """A render that began before the deletion must not be cached: stat() raises without a query."""
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    await front.bytes_at(at(asset))
    store.delete(place, asset.uid)
    front.poll()
    with pytest.raises(SourceNotFound):
        front.source.stat(at(asset))


async def test_a_replaced_asset_has_a_new_version_after_the_next_poll(
    front: Front, store: LibraryStore, place: BranchRef
) -> None:
    asset = add_asset(store, place, b"one")
    newest = SitePath(f"v3/assets/{place.stack}/{asset.uid}")
    assert await front.bytes_at(newest) == b"one"
    replace_asset(store, place, asset.uid, b"two")
    front.poll()
    assert await front.bytes_at(newest) == b"two"


async def test_without_polling_no_cached_lookup_is_used(front: Front, store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    await front.bytes_at(at(asset))
    front.now_s += MAX_FEED_AGE_S + 0.01
    assert front.source.stat(at(asset)) is None
    store.unpublish(place, asset.uid, PRODUCTION, "tester")
    with pytest.raises(SourceNotFound):
        await front.source.open(at(asset))


async def test_a_lookup_older_than_the_last_poll_is_not_cached(
    front: Front, store: LibraryStore, place: BranchRef
) -> None:
    """A lookup that began before a change and ended after its poll is used once and not cached."""
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    find = front.counted.find

    def slow(address: Address, scope: PublishScope | None) -> LookupResult:
        answered = find(address, scope)
        store.unpublish(place, asset.uid, PRODUCTION, "tester")
        front.poll()
        return answered

    front.counted.find = slow  # type: ignore[method-assign]  # for one call
    await front.bytes_at(at(asset))
    front.counted.find = find  # type: ignore[method-assign]  # as it was
    assert front.source.stat(at(asset)) is None


async def test_missing_tokens_are_reported_by_open_and_not_by_stat(front: Front, store: LibraryStore) -> None:
    place = BranchRef(store.new_stack("secured", secured=True).api_key)
    token = new_secret(KeyKind.DELIVERY)
    key = store.new_key(KeyKind.DELIVERY, "site", KeyScope(place.stack), token)
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    with pytest.raises(Unauthorized):
        await front.source.open(at(asset))
    assert front.source.stat(at(asset)) is None
    allowed = at(asset, PublishScope("production", token=token))
    assert await front.bytes_at(allowed) == b"one"
    stamp = front.source.stat(allowed)
    assert stamp is not None
    assert stamp.private
    store.revoke_key(key.id)
    front.poll()
    with pytest.raises(Unauthorized):
        await front.source.open(allowed)


async def test_a_purge_changes_the_generation(front: Front, store: LibraryStore, place: BranchRef) -> None:
    asset, other = (
        add_asset(store, place, b"one", publishing=PRODUCTION),
        add_asset(store, place, b"two", publishing=PRODUCTION),
    )
    for one in (asset, other):
        await front.bytes_at(at(one))
    front.source.purge(front.source.identity(SitePath(f"{place.stack}/{asset.uid}/")))
    generations = [stamp.generation for one in (asset, other) if (stamp := front.source.stat(at(one)))]
    assert generations == [1, 0]


async def test_missing_bytes_are_a_server_error(front: Front, store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    store.blobs.remove(asset.version.file.digest)
    with pytest.raises(SourceFailed, match="cannot be read"):
        await front.source.open(at(asset))


async def test_other_kinds_of_sources_are_not_found(front: Front) -> None:
    assert front.source.stat(WebUrl("https://example.com/a.jpg")) is None
    with pytest.raises(SourceNotFound):
        await front.source.open(WebUrl("https://example.com/a.jpg"))
    with pytest.raises(SourceNotFound):
        await front.source.open(SitePath("../../etc/passwd"))


async def test_changes_of_other_processes_apply_within_a_second(tmp_path: Path) -> None:
    """Two servers, or a server and the command line, over one database."""
    live = LibraryService(LibraryStore.open(tmp_path / "library"))
    dropped: list[str] = []

    async def drop(named: str) -> None:
        dropped.append(named)

    await live.start(drop)
    other = LibraryStore.open(tmp_path / "library")
    try:
        place = BranchRef(other.new_stack("shop").api_key)
        asset = add_asset(other, place, b"one", publishing=PRODUCTION)
        (await live.source.open(at(asset))).close()
        other.publish(place, asset.uid, PublishRequest(("staging",), at_ms=other.database.now_ms + 300), "tester")
        staging = at(asset, PublishScope("staging"))
        address = read_address(staging.path)
        assert address is not None
        await until(lambda: isinstance(other.find(address, staging.scope).outcome, FoundVersion))
        (await live.source.open(staging)).close()
        other.delete(place, asset.uid)
        await until(lambda: dropped, within_s=2 * MAX_FEED_AGE_S)
        with pytest.raises(SourceNotFound):
            live.source.stat(at(asset))
        assert dropped == [f"{place.stack}/{asset.uid}/"]
    finally:
        other.close()
        await live.close()


async def test_an_unknown_key_causes_an_extra_poll_but_not_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live = LibraryService(LibraryStore.open(tmp_path / "library"), poll_interval_s=3600)
    await live.start(dropped_nowhere)
    other = LibraryStore.open(tmp_path / "library")
    polls = 0
    changes_since = live.store.changes_since

    def count_poll(n: int | None, polled_ms: int) -> ChangeFeed:
        nonlocal polls
        polls += 1
        return changes_since(n, polled_ms)

    monkeypatch.setattr(live.store, "changes_since", count_poll)
    try:
        for kind in (KeyKind.MANAGEMENT, KeyKind.PIXLAB, KeyKind.ADMIN):
            secret = new_secret(kind)
            other.new_key(kind, "new", KeyScope(), secret)
            keys = await asyncio.gather(*(live.key(kind, secret) for _ in range(3)))
            assert [key.name for key in keys if key] == ["new"] * 3
            assert await live.key(KeyKind.DELIVERY, secret) is None  # it is of another kind
            await asyncio.sleep(MIN_REPOLL_S + 0.05)
        before, began_s = polls, time.monotonic()
        for n in range(300):
            assert await live.key(KeyKind.ADMIN, f"guess {n}") is None
        assert polls - before <= 1 + (time.monotonic() - began_s) / MIN_REPOLL_S
        assert await live.key(KeyKind.ADMIN, "") is None
        other.revoke_key(other.all_keys()[0].id)
        await live.poll()
        assert await live.key(KeyKind.MANAGEMENT, secret) is None
    finally:
        other.close()
        await live.close()


async def test_a_delivery_updates_the_last_use_of_its_token(tmp_path: Path) -> None:
    live = LibraryService(LibraryStore.open(tmp_path / "library"))
    place = BranchRef(live.store.new_stack("secured", secured=True).api_key)
    asset = add_asset(live.store, place, b"one", publishing=PRODUCTION)
    token = new_secret(KeyKind.DELIVERY)
    live.store.new_key(KeyKind.DELIVERY, "reader", KeyScope(place.stack), token)
    await live.start(dropped_nowhere)
    try:
        with pytest.raises(Unauthorized):
            await live.source.open(at(asset, PublishScope("production", token="x" * 40)))
        await live.sweep()
        assert live.store.all_keys()[0].last_used_ms is None
        for _ in range(2):  # from the database, then from memory
            (await live.source.open(at(asset, PublishScope("production", token=token)))).close()
            used_ms = live.store.all_keys()[0].last_used_ms or 0
            await asyncio.sleep(0.01)
            await live.sweep()
            assert (live.store.all_keys()[0].last_used_ms or 0) > used_ms
    finally:
        await live.close()


async def dropped_nowhere(named: str) -> None:
    """Nothing is cached."""


async def test_a_write_applies_to_deliveries_immediately(tmp_path: Path) -> None:
    live = LibraryService(LibraryStore.open(tmp_path / "library"), poll_interval_s=3600)
    place = BranchRef(live.store.new_stack("shop").api_key)
    asset = add_asset(live.store, place, b"one", publishing=PRODUCTION)
    await live.start(dropped_nowhere)
    try:
        (await live.source.open(at(asset))).close()
        await live.write(lambda library: library.unpublish(place, asset.uid, PRODUCTION, "tester"))
        with pytest.raises(SourceNotFound):
            await live.source.open(at(asset))
    finally:
        await live.close()
