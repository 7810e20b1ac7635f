"""The library: assets, versions and what is published, each call one transaction.

Bytes come first: they lie whole under their digest before a row names them, and are removed after the last such row. A
crash at any point leaves the old state or the new one, and at worst bytes that nobody names: mending.py finds those.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import structlog
from sqlalchemy import Connection, insert, select
from sqlalchemy.exc import IntegrityError

from cropmark.library import keys, lookup, publishing, queries, writes
from cropmark.library.blobs import BlobStore, FolderBlobStore, digest_of
from cropmark.library.changes import ChangeFeed, news_since
from cropmark.library.database import ChangeKind, Database, WriteTransaction
from cropmark.library.publishing import PublishAction, new_uid
from cropmark.library.tables import assets, stacks, versions
from cropmark.model.assets import (
    Asset,
    BranchRef,
    Changes,
    Environment,
    File,
    Folder,
    KeyKind,
    KeyScope,
    LibraryKey,
    Listing,
    ListPage,
    Publishing,
    Stack,
    UploadInfo,
    Version,
)
from cropmark.model.problems import BadRequest, NotFound, Overloaded
from cropmark.plan.source import PublishScope
from cropmark.ports import OpenSource

T = TypeVar("T")

log = structlog.get_logger("cropmark.library")

BYTES: Final = "assets"
"""The folder of the bytes, beside the database."""


class LibraryStore:
    """Implements ports.Library over a database and a place for bytes."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self.database = database
        self.blobs = blobs

    @classmethod
    def opened(cls, folder: Path, url: str = "", blobs: BlobStore | None = None) -> LibraryStore:
        """The library of a data folder; `url` where its database is elsewhere. Raises LibraryUnusable."""
        return cls(Database.opened(url or folder), blobs or FolderBlobStore(folder / BYTES))

    def close(self) -> None:
        self.database.close()

    # ------------------------------------------------------------------------------------------ stacks

    def stack(self, api_key: str) -> Stack | None:
        return self._read(lambda c: queries.stack_of(c, api_key))

    def stacks(self) -> tuple[Stack, ...]:
        return self._read(queries.stacks_of)

    def new_stack(self, name: str, *, secured: bool = False) -> Stack:
        """Raises BadOrder where a stack has that name."""
        with self.database.write_transaction() as writing:
            row = {
                "api_key": new_uid(),
                "name": name,
                "kontent_id": str(uuid.uuid4()),
                "secured": secured,
                "created_ms": writing.now_ms,
            }
            try:
                writing.connection.execute(insert(stacks).values(**row))
            except IntegrityError as error:
                raise BadRequest(f"there is a stack {name[:80]!r}", fix="choose another name") from error
        return Stack(**row)  # type: ignore[arg-type]  # a row has the columns' types, which a dict cannot tell

    def environments(self, stack: str) -> tuple[Environment, ...]:
        return self._read(lambda c: queries.environments_of(c, stack))

    def new_environment(self, stack: str, name: str) -> Environment:
        """Raises BadOrder where an environment has that name."""
        with self.database.write_transaction() as writing:
            if queries.environment_uid(writing.connection, stack, name) is not None:
                raise BadRequest("there is an environment of that name", fix="choose another", parameter="name")
            uid = publishing.environment_in(writing, stack, name, make=True)
            writing.record_change(ChangeKind.STACK, stack)
            return next(e for e in queries.environments_of(writing.connection, stack) if e.uid == uid)

    # ------------------------------------------------------------------------------------------ assets

    def add(
        self,
        place: BranchRef,
        upload: UploadInfo,
        source: OpenSource,
        changes: Changes,
        by: str,
        *,
        published: Publishing | None = None,
        origin: str | None = None,
    ) -> Asset:
        """A new asset; `origin` is where an import has it from, once in a branch."""
        file = self._kept(upload, source)
        with self.database.write_transaction() as writing:
            uid = new_uid()
            writes.insert_asset(writing, uid, place, changes.title or file.filename, by, newest=1, origin=origin)
            self._insert_version(writing, uid, 1, file, by, source)
            writes.apply(writing, place, uid, changes)
            writing.record_change(ChangeKind.ASSET, place.stack, uid)
            if published is not None:
                publishing.done(writing, place.stack, uid, PublishAction.PUBLISH, published, by)
            return queries.asset_of(writing.connection, place, uid)

    def replace(
        self,
        place: BranchRef,
        uid: str,
        upload: UploadInfo,
        source: OpenSource,
        changes: Changes,
        by: str,
        *,
        published: Publishing | None = None,
    ) -> Asset:
        """A new version. What is published stays published as it is. Raises BadOrder as change() does."""
        _slug(self.asset(place, uid), changes)
        file = self._kept(upload, source)
        with self.database.write_transaction() as writing:
            asset = queries.asset_of(writing.connection, place, uid)
            number = asset.newest + 1
            self._insert_version(writing, uid, number, file, by, source)
            writes.touch(writing, place, uid, by, version=number, **_slug(asset, changes))
            writes.apply(writing, place, uid, changes)
            if published is not None:
                publishing.done(writing, place.stack, uid, PublishAction.PUBLISH, published, by)
            return queries.asset_of(writing.connection, place, uid)

    def restore(self, place: BranchRef, uid: str, number: int, by: str) -> Asset:
        """An older version's bytes, as a new version."""
        with self.database.write_transaction() as writing:
            newest = queries.asset_of(writing.connection, place, uid).newest + 1
            old = self._numbered(writing.connection, place, uid, number)
            writes.insert_version(writing, uid, newest, old.version.file, by)
            writes.touch(writing, place, uid, by, version=newest)
            return queries.asset_of(writing.connection, place, uid)

    def name_version(self, place: BranchRef, uid: str, number: int, name: str | None) -> None:
        """Raises NotFound for a version that the asset does not have."""
        with self.database.write_transaction() as writing:
            self._numbered(writing.connection, place, uid, number)
            writes.name_version(writing, uid, number, name)

    def change(self, place: BranchRef, uid: str, changes: Changes, by: str) -> Asset:
        """Raises BadOrder where the asset has another permanent URL already."""
        with self.database.write_transaction() as writing:
            asset = queries.asset_of(writing.connection, place, uid)
            writes.touch(writing, place, uid, by, **_slug(asset, changes))
            writes.apply(writing, place, uid, changes)
            return queries.asset_of(writing.connection, place, uid)

    def delete(self, place: BranchRef, uid: str) -> None:
        """Remove the asset with all its versions; their bytes too, where no other asset has the same."""
        with self.database.write_transaction() as writing:
            queries.asset_of(writing.connection, place, uid)
            digests = {version.file.digest for version in queries.versions_of(writing.connection, uid)}
            writes.remove(writing, place, uid)
        self._drop_deleted(digests)

    # ------------------------------------------------------------------------------------------ publishing

    def publish(self, place: BranchRef, uid: str, wanted: Publishing, by: str) -> None:
        self._publish(place, uid, PublishAction.PUBLISH, wanted, by)

    def unpublish(self, place: BranchRef, uid: str, wanted: Publishing, by: str) -> None:
        self._publish(place, uid, PublishAction.UNPUBLISH, wanted, by)

    def run_due(self) -> int:
        """Publish and unpublish what is due; how much it was."""
        with self.database.write_transaction() as writing:
            return publishing.carry_out_due(writing)

    # ------------------------------------------------------------------------------------------ asked

    def asset(self, place: BranchRef, uid: str, number: int | None = None) -> Asset:
        """Raises NotFound, also for a version that it does not have."""
        return self._read(lambda c: self._numbered(c, place, uid, number))

    def imported(self, place: BranchRef, origin: str) -> Asset | None:
        """The asset that an import has from there."""
        wanted = select(assets.c.uid).where(
            assets.c.stack == place.stack, assets.c.branch == place.branch, assets.c.origin == origin
        )
        with self.database.read_transaction() as connection:
            uid = connection.execute(wanted).scalar()
            return queries.asset_of(connection, place, uid) if uid else None

    def versions(self, place: BranchRef, uid: str) -> tuple[Version, ...]:
        """The newest first."""
        with self.database.read_transaction() as connection:
            queries.asset_of(connection, place, uid)
            return queries.versions_of(connection, uid)

    def list_entries(self, place: BranchRef, listing: Listing) -> ListPage:
        return self._read(lambda c: queries.listed(c, place, listing))

    # ------------------------------------------------------------------------------------------ delivery

    def find(self, address: lookup.Address, edition: PublishScope | None) -> lookup.LookupResult:
        return self._read(lambda c: lookup.find(c, address, edition))

    def open_file(self, digest: str) -> int:
        """A descriptor of the bytes. Raises OSError."""
        return self.blobs.open(digest)

    def changes_since(self, n: int | None, looked_ms: int) -> ChangeFeed:
        """What changed since the clock stood at `n`, which was looked at then."""
        return self._read(lambda c: news_since(c, n, self.database.now_ms, looked_ms))

    # ------------------------------------------------------------------------------------------ folders

    def folder(self, place: BranchRef, uid: str) -> Folder:
        return self._read(lambda c: queries.folder_of(c, place, uid))

    def new_folder(self, place: BranchRef, name: str, parent_uid: str | None, by: str) -> Folder:
        with self.database.write_transaction() as writing:
            uid = new_uid()
            writes.insert_asset(writing, uid, place, name, by, newest=0, is_dir=True)
            writes.apply(writing, place, uid, Changes(parent_uid=parent_uid))
            return queries.folder_of(writing.connection, place, uid)

    def change_folder(self, place: BranchRef, uid: str, changes: Changes, by: str) -> Folder:
        with self.database.write_transaction() as writing:
            queries.folder_of(writing.connection, place, uid)
            writes.touch(writing, place, uid, by)
            writes.apply(writing, place, uid, changes)
            return queries.folder_of(writing.connection, place, uid)

    def delete_folder(self, place: BranchRef, uid: str) -> None:
        """Remove a folder with all that is in it, as the vendor does."""
        with self.database.write_transaction() as writing:
            queries.folder_of(writing.connection, place, uid)
            inside = queries.inside(writing.connection, uid)
            digests = {v.file.digest for one in inside for v in queries.versions_of(writing.connection, one)}
            for one in reversed(inside):
                writes.remove(writing, place, one)
        self._drop_deleted(digests)

    # ------------------------------------------------------------------------------------------ keys

    def all_keys(self) -> tuple[LibraryKey, ...]:
        return self._read(keys.listed)

    def new_key(self, kind: KeyKind, name: str, scope: KeyScope, secret: str) -> LibraryKey:
        with self.database.write_transaction() as writing:
            return keys.create(writing, kind, name, scope, secret)

    def revoke_key(self, key_id: str) -> bool:
        with self.database.write_transaction() as writing:
            return keys.revoke(writing, key_id)

    def keys_used(self, times_ms: dict[str, int]) -> None:
        """When keys were used last, by their ids."""
        if times_ms:
            with self.database.write_transaction() as writing:
                keys.used(writing, times_ms)

    # ------------------------------------------------------------------------------------------ bytes

    def drop(self, digests: Iterable[str], *, young_s: float = 0.0) -> int:
        """Remove these bytes where no version names them; how many were. Younger ones than that are left.

        Done as a writer: whoever adds a version of them waits, and then keeps them anew.
        """
        with self.database.write_transaction() as writing:
            going = [digest for digest in digests if not self._named(writing.connection, digest)]
            going = [digest for digest in going if (self.blobs.age_s(digest) or 0.0) >= young_s]
            for digest in going:
                self.blobs.remove(digest)
        return len(going)

    def _drop_deleted(self, digests: Iterable[str]) -> None:
        """Remove what no asset has any more; where the storage fails it is left for mending.py to find."""
        try:
            self.drop(digests)
        except OSError as error:
            log.warning("bytes of what was deleted are left, and removed later", why=str(error))

    def _kept(self, upload: UploadInfo, source: OpenSource) -> File:
        """The file, its bytes kept, on which nothing has a claim yet."""
        digest = digest_of(source)
        self._put(digest, source)
        return File(digest, upload.filename, upload.format, source.bytes, upload.size)

    def _put(self, digest: str, source: OpenSource) -> None:
        with _writable():
            self.blobs.put(digest, source)

    @staticmethod
    def _named(connection: Connection, digest: str) -> bool:
        return connection.execute(select(versions.c.digest).where(versions.c.digest == digest)).first() is not None

    # ------------------------------------------------------------------------------------------ rows

    def _read(self, ask: Callable[[Connection], T]) -> T:
        with self.database.read_transaction() as connection:
            return ask(connection)

    @staticmethod
    def _numbered(connection: Connection, place: BranchRef, uid: str, number: int | None) -> Asset:
        newest = queries.asset_of(connection, place, uid)
        if number in (None, newest.newest):
            return newest
        try:
            return queries.asset_of(connection, place, uid, number)
        except NotFound as error:
            raise publishing.no_such_version() from error

    def _publish(self, place: BranchRef, uid: str, act: PublishAction, wanted: Publishing, by: str) -> None:
        with self.database.write_transaction() as writing:
            queries.asset_of(writing.connection, place, uid)
            if act is PublishAction.UNPUBLISH:
                publishing.check_environments(writing, place.stack, wanted)
            publishing.done(writing, place.stack, uid, act, wanted, by)

    def _insert_version(
        self, writing: WriteTransaction, uid: str, number: int, file: File, by: str, source: OpenSource
    ) -> None:
        with _writable():
            is_gone = self.blobs.age_s(file.digest) is None
        if is_gone:
            self._put(file.digest, source)  # removed a moment ago, with the last asset that had the same bytes
        writes.insert_version(writing, uid, number, file, by)


def _slug(asset: Asset, changes: Changes) -> dict[str, str]:
    """The column of its permanent URL, where that is to be set. Raises BadOrder where the asset has another."""
    if changes.slug is None:
        return {}
    if asset.slug not in (None, changes.slug):
        raise BadRequest("the permanent URL is set already, and can be set once", parameter="permanent_url")
    return {"slug": changes.slug}


@contextmanager
def _writable() -> Iterator[None]:
    """Trouble with the place for bytes is told as Overloaded."""
    try:
        yield
    except OSError as error:
        log.warning("the library's storage cannot be written", why=str(error))
        raise Overloaded("the library's storage cannot be written", fix="try again", retry_after_s=10) from error
