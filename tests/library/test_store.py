"""The contract of the library, on SQLite and PostgreSQL."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from structlog.testing import capture_logs

from cropmark.library import garbage, lookup, migrate
from cropmark.library.database import HEAD
from cropmark.library.errors import LibraryUnavailable
from cropmark.library.keys import KeyIndex, new_secret
from cropmark.library.lookup import FoundVersion, read_address
from cropmark.library.store import LibraryStore
from cropmark.library.tables import metadata
from cropmark.model.assets import (
    Asset,
    AssetChanges,
    AssetFilter,
    BranchRef,
    KeyKind,
    KeyScope,
    Listing,
    PublishRequest,
    SortField,
)
from cropmark.model.problems import BadRequest, NotFound, Overloaded, Problem
from cropmark.plan.source import PublishScope
from cropmark.ports import OpenSource
from tests.library.builders import PRODUCTION, STAGING, add_asset, replace_asset


def found(store: LibraryStore, path: str, scope: PublishScope | None = None) -> str:
    """The file uid at an address, or the code of the Problem."""
    address = read_address(path)
    assert address is not None, path
    outcome = store.find(address, scope).outcome
    return outcome.file_uid if isinstance(outcome, FoundVersion) else outcome.code


def address(asset: Asset, file_uid: str | None = None) -> str:
    """The path of a version's delivery URL."""
    version = file_uid or asset.version.file_uid
    return f"v3/assets/{asset.entry.branch_ref.stack}/{asset.uid}/{version}/{asset.version.file.filename}"


IN_PRODUCTION = PublishScope("production")


# ------------------------------------------------------------------------------------------ the database


def test_the_migrations_create_the_tables(store: LibraryStore) -> None:
    with store.database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_head_is_the_newest_migration() -> None:
    assert migrate.head() == HEAD


@pytest.mark.parametrize(("revision", "newer"), [("0001", ("name", "media_type")), ("0002", ("media_type",))])
def test_an_older_library_is_upgraded(revision: str, newer: tuple[str, ...], tmp_path: Path) -> None:
    store = LibraryStore.open(tmp_path)
    place = BranchRef(store.new_stack("shop").api_key)
    asset = add_asset(store, place, b"one")
    with store.database.engine.begin() as connection:
        for column in newer:
            connection.exec_driver_sql(f"ALTER TABLE versions DROP COLUMN {column}")
        connection.exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")
    store.close()
    store = LibraryStore.open(tmp_path)
    assert store.asset(place, asset.uid) == asset
    store.name_version(place, asset.uid, 1, "the first")
    store.close()


def test_a_newer_library_is_rejected(store: LibraryStore, tmp_path: Path) -> None:
    url = store.database.engine.url.render_as_string(hide_password=False)
    with store.database.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LibraryUnavailable, match="newer version of cropmark"):
        LibraryStore.open(tmp_path / "library", url.replace("+psycopg", ""))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "not a valid URL"),
        ("mysql://u@127.0.0.1/x", "mysql is not supported"),
        ("postgresql://u@127.0.0.1:1/x", "cannot be used"),
    ],
)
def test_an_unusable_database_is_reported(url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(LibraryUnavailable, match=words):
        LibraryStore.open(tmp_path, url)


# ------------------------------------------------------------------------------------------ delivery


def test_an_upload_is_not_published(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one")
    assert found(store, address(asset)) == asset.version.file_uid  # without an environment: published or not
    assert found(store, address(asset), IN_PRODUCTION) == "source_not_found"


def test_published_in_one_environment_is_not_in_another(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    assert found(store, address(asset), IN_PRODUCTION) == asset.version.file_uid
    assert found(store, address(asset), PublishScope("staging")) == "source_not_found"
    assert found(store, address(asset), PublishScope("Production")) == "source_not_found"  # compared exactly
    uid = store.environments(place.stack)[0].uid
    assert found(store, address(asset), PublishScope(uid)) == asset.version.file_uid


def test_a_replaced_file_is_served_where_it_was_published(store: LibraryStore, place: BranchRef) -> None:
    old = add_asset(store, place, b"one", publishing=PRODUCTION)
    new = replace_asset(store, place, old.uid, b"two")
    assert (new.newest, new.uid) == (2, old.uid)
    assert found(store, address(old), IN_PRODUCTION) == old.version.file_uid
    assert found(store, address(new), IN_PRODUCTION) == "source_not_found"  # a version that was never published there
    store.publish(place, old.uid, PRODUCTION, "tester")
    assert found(store, address(new), IN_PRODUCTION) == new.version.file_uid
    assert found(store, address(old), IN_PRODUCTION) == old.version.file_uid  # pages out there still carry its URL
    store.unpublish(place, old.uid, PRODUCTION, "tester")
    assert found(store, address(new), IN_PRODUCTION) == "source_not_found"
    assert found(store, address(old), IN_PRODUCTION) == "source_not_found"


def test_addresses_without_a_file_lead_to_the_newest(store: LibraryStore, place: BranchRef) -> None:
    old = add_asset(store, place, b"one", publishing=PRODUCTION)
    store.change(place, old.uid, AssetChanges(slug="our owl"), "tester")
    new = replace_asset(store, place, old.uid, b"two")
    for path in (f"v3/assets/{place.stack}/{old.uid}", f"v3/assets/{place.stack}/{old.uid}/our owl"):
        assert found(store, path) == new.version.file_uid
        assert found(store, path, IN_PRODUCTION) == old.version.file_uid
        assert found(store, path, PublishScope("staging")) == "source_not_found"
    assert found(store, f"v3/assets/{place.stack}/{old.uid}/another") == "source_not_found"


def test_a_permanent_url_is_set_once(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one")
    assert store.change(place, asset.uid, AssetChanges(slug="owl"), "tester").slug == "owl"
    assert store.change(place, asset.uid, AssetChanges(slug="owl"), "tester").slug == "owl"  # an SDK sends it back
    with pytest.raises(BadRequest, match="is set already"):
        store.change(place, asset.uid, AssetChanges(slug="eagle"), "tester")
    with pytest.raises(BadRequest, match="is set already"):
        replace_asset(store, place, asset.uid, b"two", changes=AssetChanges(slug="eagle"))
    assert len(store.versions(place, asset.uid)) == 1
    assert garbage.check(store).orphans == ()
    assert replace_asset(store, place, asset.uid, b"two", changes=AssetChanges(slug="owl")).slug == "owl"


def test_branches_are_separate(store: LibraryStore, place: BranchRef) -> None:
    draft = BranchRef(place.stack, "draft")
    asset = add_asset(store, draft, b"one", publishing=PRODUCTION)
    assert found(store, address(asset), PublishScope("production", "draft")) == asset.version.file_uid
    assert found(store, address(asset), IN_PRODUCTION) == "source_not_found"
    with pytest.raises(NotFound):
        store.asset(place, asset.uid)


def test_uids_must_belong_together(store: LibraryStore, place: BranchRef) -> None:
    one, two = add_asset(store, place, b"one"), add_asset(store, place, b"two")
    other = store.new_stack("other").api_key
    assert found(store, address(one, two.version.file_uid)) == "source_not_found"
    assert found(store, address(one).replace(place.stack, other)) == "source_not_found"


def test_kontent_addresses_serve_every_version(store: LibraryStore, place: BranchRef) -> None:
    stack = store.stack(place.stack)
    assert stack is not None
    old = add_asset(store, place, b"one")
    new = replace_asset(store, place, old.uid, b"two")
    for version in (old.version, new.version):
        assert found(store, f"{stack.kontent_id}/{version.file_id}/owl.jpg") == version.file_uid
    store.delete(place, old.uid)
    assert found(store, f"{stack.kontent_id}/{old.version.file_id}/owl.jpg") == "source_not_found"


@pytest.mark.parametrize(
    "path",
    [
        "v3/assets",
        "v3/assets/blt0123456789abcdef",
        "v3/assets/blt0123456789ABCDEF/blt0123456789abcdef",
        "v3/assets/blt0123456789abcdef/blt0123456789abcdef/0123456789abcdef01234567",  # a slug, by its form
        "owl.jpg",
        "00000000-0000-0000-0000-00000000000g/00000000-0000-0000-0000-000000000000/a.jpg",
    ],
)
def test_paths_that_are_not_addresses(path: str) -> None:
    read = read_address(path)
    assert read is None or (isinstance(read, lookup.ContentstackUrl) and read.file is None)


def test_secured_stacks_require_a_token_of_the_environment(store: LibraryStore) -> None:
    place = BranchRef(store.new_stack("secured", secured=True).api_key)
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    here, there = new_secret(KeyKind.DELIVERY), new_secret(KeyKind.DELIVERY)
    store.new_key(KeyKind.DELIVERY, "here", KeyScope(place.stack, ("production",)), here)
    store.new_key(KeyKind.DELIVERY, "there", KeyScope(place.stack, ("staging",)), there)
    path = address(asset)
    assert found(store, path, PublishScope("production", token=here)) == asset.version.file_uid
    uid = store.environments(place.stack)[0].uid
    assert found(store, path, PublishScope(uid, token=here)) == asset.version.file_uid  # in place of its name
    assert found(store, path, PublishScope(uid, token=there)) == "forbidden"
    assert found(store, path, IN_PRODUCTION) == "unauthorized"
    assert found(store, path, PublishScope("production", token="x" * 40)) == "unauthorized"
    assert found(store, path, PublishScope("production", token=there)) == "forbidden"
    assert found(store, path, PublishScope(None, token=here)) == "forbidden"
    open_ = BranchRef(store.new_stack("open").api_key)
    free = address(add_asset(store, open_, b"two", publishing=PRODUCTION))
    # fmt: off
    overlays = [
        # overlay, stack of the image below it  allowed
        (path, place.stack,                 False),
        (path, open_.stack,                 False),
        (free, place.stack,                 False),
        (free, open_.stack,                 True),
        (free, "",                          True),   # the image below is not from the library
    ]
    # fmt: on
    for overlay, below, had in overlays:
        answer = found(store, overlay, PublishScope("production", token=here, parent_stack=below))
        assert (answer != "source_not_found") is had


# ------------------------------------------------------------------------------------------ publishing


def test_schedules_run_when_they_are_due(
    store: LibraryStore, place: BranchRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = add_asset(store, place, b"one")
    now_ms = int(time.time() * 1000)
    store.publish(place, asset.uid, PublishRequest(("production",), at_ms=now_ms + 60_000), "tester")
    store.unpublish(place, asset.uid, PublishRequest(("production",), at_ms=now_ms + 120_000), "tester")
    assert store.run_due() == 0
    monkeypatch.setattr(store.database, "_clock", lambda: now_ms / 1000 + 61)
    assert store.changes_since(0, 0).due
    assert store.run_due() == 1
    assert store.run_due() == 0
    assert found(store, address(asset), IN_PRODUCTION) == asset.version.file_uid
    monkeypatch.setattr(store.database, "_clock", lambda: now_ms / 1000 + 121)
    assert store.run_due() == 1
    assert found(store, address(asset), IN_PRODUCTION) == "source_not_found"


def test_the_feed_has_the_time_of_each_scheduled_unpublishing(
    store: LibraryStore, place: BranchRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A front needs it if the database does not respond at that time."""
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    monkeypatch.setattr(store.database, "_clock", lambda: 1000.0)
    n = store.changes_since(None, 0).n
    for at_ms in (1_090_000, 1_060_000):
        store.unpublish(place, asset.uid, PublishRequest(("production",), at_ms=at_ms), "tester")
    store.publish(place, asset.uid, PublishRequest(("production",), at_ms=1_030_000), "tester")
    feeds = [store.changes_since(since, 1_000_000) for since in (None, n, n + 2)]
    assert [feed.unpublishing_in_ms for feed in feeds] == [{asset.uid: 60_000}, {asset.uid: 60_000}, None]
    monkeypatch.setattr(store.database, "_clock", lambda: 1061.0)
    store.run_due()
    assert store.changes_since(n + 2, 1_000_000).unpublishing_in_ms == {asset.uid: 29_000}


def test_locales_are_published_separately(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one", publishing=PublishRequest(("production",), ("en-us", "de-de")))
    store.unpublish(place, asset.uid, PRODUCTION, "tester")
    assert found(store, address(asset), IN_PRODUCTION) == asset.version.file_uid  # in German it still is
    assert [p.locale for p in store.asset(place, asset.uid).publications] == ["de-de"]


def test_an_unknown_version_is_not_published(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one")
    with pytest.raises(NotFound, match="no such version"):
        store.publish(place, asset.uid, PublishRequest(("production",), version=2), "tester")
    assert store.environments(place.stack) == ()  # nothing of it happened


def test_an_older_version_can_be_published_again(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one")
    replace_asset(store, place, asset.uid, b"two")
    store.publish(place, asset.uid, PRODUCTION, "tester")
    store.publish(place, asset.uid, PublishRequest(("production",), version=1), "tester")
    assert found(store, f"v3/assets/{place.stack}/{asset.uid}", IN_PRODUCTION) == asset.version.file_uid


# ------------------------------------------------------------------------------------------ lists


def test_lists_are_filtered_sorted_and_paged(store: LibraryStore, place: BranchRef) -> None:
    names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]
    for name in names:
        add_asset(
            store, place, name.encode(), name, changes=AssetChanges(tags=("even",) if name in "b.jpg d.jpg" else ())
        )

    def titles(listing: Listing) -> list[str]:
        return [i.entry.title for i in store.list_entries(place, listing).items]

    by_title = {"sort": SortField.TITLE, "descending": False}
    assert titles(Listing(sort=SortField.TITLE, descending=False)) == names
    assert titles(Listing(sort=SortField.TITLE)) == names[::-1]
    assert titles(Listing(sort=SortField.TITLE, descending=False, skip=1, limit=2)) == ["b.jpg", "c.jpg"]
    assert titles(Listing(equal=(("tags", "even"),), **by_title)) == ["b.jpg", "d.jpg"]  # type: ignore[arg-type]  # mixed
    assert titles(Listing(equal=(("filename", "c.jpg"),))) == ["c.jpg"]
    assert titles(Listing(equal=(("content_type", "image/png"),))) == []
    assert titles(Listing(filter=AssetFilter.NONE)) == []
    assert store.list_entries(place, Listing(limit=1, with_count=True)).count == 4


def test_a_list_of_an_environment_has_its_published_versions(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    replace_asset(store, place, asset.uid, b"two")
    add_asset(store, place, b"other", publishing=STAGING)
    page = store.list_entries(place, Listing(environment="production", with_count=True))
    assert page.count == 1
    assert [item.version.number for item in page.items if isinstance(item, Asset)] == [1]
    with pytest.raises(NotFound, match="environment not found"):
        store.list_entries(place, Listing(environment="moon"))


def test_folders_hold_assets_and_folders(store: LibraryStore, place: BranchRef) -> None:
    outer = store.new_folder(place, "outer", None, "tester").entry.uid
    inner = store.new_folder(place, "inner", outer, "tester").entry.uid
    asset = add_asset(store, place, b"one", changes=AssetChanges(parent_uid=inner))
    top = add_asset(store, place, b"top")
    assert [i.entry.title for i in store.list_entries(place, Listing(filter=AssetFilter.ALL, folder=outer)).items] == [
        "inner"
    ]
    assert [i.entry.uid for i in store.list_entries(place, Listing(folder="")).items] == [top.uid]
    with pytest.raises(BadRequest, match="into itself"):
        store.change_folder(place, outer, AssetChanges(parent_uid=inner), "tester")
    with pytest.raises(NotFound):
        store.change(place, top.uid, AssetChanges(parent_uid=asset.uid), "tester")  # not a folder
    assert store.change(place, asset.uid, AssetChanges(to_top=True), "tester").entry.parent_uid is None
    store.change(place, asset.uid, AssetChanges(parent_uid=inner), "tester")
    store.delete_folder(place, outer)
    with pytest.raises(NotFound):
        store.asset(place, asset.uid)
    assert garbage.check(store).orphans == ()


# ------------------------------------------------------------------------------------------ bytes


def test_equal_bytes_are_stored_once_until_their_last_asset_is_deleted(store: LibraryStore, place: BranchRef) -> None:
    one, two = add_asset(store, place, b"same"), add_asset(store, place, b"same")
    assert len(list(store.blobs.digests())) == 1
    store.delete(place, one.uid)
    assert len(list(store.blobs.digests())) == 1
    store.delete(place, two.uid)
    assert list(store.blobs.digests()) == []


def test_the_log_has_the_reason_why_bytes_cannot_be_stored(
    store: LibraryStore, place: BranchRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(digest: str, source: OpenSource) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.blobs, "put", full)
    with capture_logs() as logs, pytest.raises(Overloaded, match="storage cannot be written"):
        add_asset(store, place, b"one")
    assert [line["why"] for line in logs] == ["[Errno 28] No space left on device"]


def test_unpublishing_from_an_unknown_environment_is_rejected(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    with pytest.raises(BadRequest, match="unknown environment 'prodction'"):
        store.unpublish(place, asset.uid, PublishRequest(("production", "prodction")), "tester")
    assert len(store.asset(place, asset.uid).publications) == 1
    uid = store.new_environment(place.stack, "empty").uid
    for taken in ("empty", uid):
        with pytest.raises(BadRequest, match="an environment has this name already"):
            store.new_environment(place.stack, taken)
    store.unpublish(place, asset.uid, PublishRequest(("empty",)), "tester")  # where it never was, it is not


def test_version_names_can_be_set_and_removed(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one")
    replace_asset(store, place, asset.uid, b"two")
    store.name_version(place, asset.uid, 1, "the first")
    assert [v.name for v in store.versions(place, asset.uid)] == [None, "the first"]
    store.name_version(place, asset.uid, 1, None)
    assert [v.name for v in store.versions(place, asset.uid)] == [None, None]
    with pytest.raises(NotFound, match="no such version"):
        store.name_version(place, asset.uid, 3, "none")


def test_a_restored_version_is_a_new_version_with_the_old_bytes(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one")
    replace_asset(store, place, asset.uid, b"two")
    restored = store.restore(place, asset.uid, 1, "tester")
    assert restored.newest == 3
    assert restored.version.file.digest == asset.version.file.digest
    assert restored.version.file_uid != asset.version.file_uid
    assert [v.number for v in store.versions(place, asset.uid)] == [3, 2, 1]


def test_a_second_import_of_one_file_is_rejected(store: LibraryStore, place: BranchRef) -> None:
    asset = add_asset(store, place, b"one", origin="/photos/owl.jpg")
    assert store.imported(place, "/photos/owl.jpg") == store.asset(place, asset.uid)
    assert store.imported(place, "/photos/other.jpg") is None
    with pytest.raises(BadRequest, match="imported from this path already"):
        add_asset(store, place, b"two", origin="/photos/owl.jpg")


# ------------------------------------------------------------------------------------------ keys


def test_keys_are_found_by_kind_and_secret_until_they_are_revoked(store: LibraryStore, place: BranchRef) -> None:
    secret = new_secret(KeyKind.MANAGEMENT)
    key = store.new_key(KeyKind.MANAGEMENT, "editor", KeyScope(place.stack), secret)
    ring = KeyIndex(store.all_keys())
    assert ring.find(KeyKind.MANAGEMENT, secret, 7) == key
    assert ring.find(KeyKind.ADMIN, secret, 7) is None  # of another kind
    assert ring.find(KeyKind.MANAGEMENT, secret + "x", 7) is None
    store.record_key_uses(ring.take_uses())
    assert [k.last_used_ms for k in store.all_keys()] == [7]
    assert ring.take_uses() == {}
    assert store.revoke_key(key.id)
    assert not store.revoke_key(key.id)
    ring.replace(store.all_keys())
    assert ring.find(KeyKind.MANAGEMENT, secret, 8) is None


def test_a_secret_is_not_stored_anywhere(store: LibraryStore, place: BranchRef, tmp_path: Path) -> None:
    secret = new_secret(KeyKind.ADMIN)
    key = store.new_key(KeyKind.ADMIN, "admin", KeyScope(), secret)
    assert secret not in repr(key)
    assert len(secret) >= 32
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


@pytest.mark.parametrize(("secret", "words"), [("x" * 14, "at least 15 characters, got 14")])
def test_short_keys_are_rejected(store: LibraryStore, secret: str, words: str) -> None:
    with pytest.raises(BadRequest, match=words):
        store.new_key(KeyKind.PIXLAB, "short", KeyScope(), secret)


# ------------------------------------------------------------------------------------------ feed


def test_the_feed_has_every_change_in_order(store: LibraryStore, place: BranchRef, database: Callable[[], str]) -> None:
    start = store.changes_since(None, 0)
    assert start.reset
    asset = add_asset(store, place, b"one", publishing=PRODUCTION)
    store.unpublish(place, asset.uid, PRODUCTION, "tester")
    store.delete(place, asset.uid)
    feed = store.changes_since(start.n, store.database.now_ms)
    assert [change.kind.value for change in feed.changes] == ["asset", "asset", "withdrawn", "deleted"]
    assert [change.n for change in feed.changes] == sorted(change.n for change in feed.changes)
    assert store.changes_since(feed.n, store.database.now_ms).changes == ()


def test_a_late_poll_gets_a_reset(store: LibraryStore, place: BranchRef) -> None:
    n = store.changes_since(None, 0).n
    assert store.changes_since(n, store.database.now_ms - 20 * 3_600_000).reset


def test_a_problem_is_a_problem(store: LibraryStore, place: BranchRef) -> None:
    """Every call reports an absent asset in the same way."""
    uid = "blt0123456789abcdef"
    for act in (
        lambda: store.asset(place, uid),
        lambda: store.delete(place, uid),
        lambda: store.versions(place, uid),
        lambda: store.publish(place, uid, PRODUCTION, "tester"),
        lambda: replace_asset(store, place, uid, b"x"),
        lambda: store.folder(place, uid),
    ):
        with pytest.raises(Problem) as raised:
            act()
        assert raised.value.code == "not_found"
