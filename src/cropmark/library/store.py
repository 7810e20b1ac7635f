"""Stores and finds assets, versions, publications and keys. Each call is one transaction.

Bytes are stored before a row refers to them, and removed after the last row that refers to them. So a crash may leave
unreferenced bytes, which garbage.py removes, but never a row without its bytes.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import structlog
from sqlalchemy import Connection, distinct, func, select

from cropmark.library import keys, lookup, queries, writes
from cropmark.library.blobs import BlobStore, FolderBlobStore, digest_of
from cropmark.library.changes import ChangeFeed, changes_since
from cropmark.library.database import TIMEOUT_S, ChangeKind, Database, WriteTransaction
from cropmark.library.lookup import FoundVersion
from cropmark.library.publishing import (
    PublicationChange,
    PublishAction,
    apply_publication,
    check_environments,
    insert_environment,
    new_uid,
    no_such_version,
    run_due,
)
from cropmark.library.tables import assets, versions
from cropmark.model.assets import (
    Asset,
    AssetChanges,
    BranchRef,
    Environment,
    File,
    Folder,
    KeyKind,
    KeyScope,
    LibraryKey,
    Listing,
    ListPage,
    PublishRequest,
    Stack,
    UploadInfo,
    Version,
)
from cropmark.model.problems import BadRequest, NotFound, Overloaded, Problem
from cropmark.plan.source import PublishScope
from cropmark.ports import OpenSource

T = TypeVar("T")

log = structlog.get_logger("cropmark.library")

BLOB_FOLDER: Final = "assets"
"""The subfolder of the data folder that contains the bytes."""


class LibraryStore:
    """A ports.Library with a database and a blob store."""

    def __init__(self, database: Database, blobs: BlobStore) -> None:
        self.database = database
        self.blobs = blobs

    @classmethod
    def open(
        cls, folder: Path, url: str = "", blobs: BlobStore | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> LibraryStore:
        """Open the library in a data folder. Raises LibraryUnavailable.

        `url` is a database that replaces the folder's SQLite file. `blobs` replaces the folder's blob store.
        `timeout_s` limits PostgreSQL's queries.
        """
        return cls(Database.open(url or folder, timeout_s=timeout_s), blobs or FolderBlobStore(folder / BLOB_FOLDER))

    def close(self) -> None:
        self.database.close()

    # ------------------------------------------------------------------------------------------ stacks

    def stack(self, api_key: str) -> Stack | None:
        return self._read(lambda c: queries.stack_of(c, api_key))

    def stacks(self) -> tuple[Stack, ...]:
        return self._read(queries.stacks_of)

    def new_stack(self, name: str, *, secured: bool = False) -> Stack:
        """Create a stack. Raises BadRequest if a stack has this name."""
        with self.database.write_transaction() as transaction:
            return writes.insert_stack(
                transaction, Stack(new_uid(), name, str(uuid.uuid4()), secured, transaction.now_ms)
            )

    def environments(self, stack: str) -> tuple[Environment, ...]:
        return self._read(lambda c: queries.environments_of(c, stack))

    def new_environment(self, stack: str, name: str) -> Environment:
        """Create an environment. Raises BadRequest if an environment of the stack has this name."""
        with self.database.write_transaction() as transaction:
            if queries.environment_uid(transaction.connection, stack, name) is not None:
                raise BadRequest("an environment has this name already", fix="choose another name", parameter="name")
            uid = insert_environment(transaction, stack, name)
            transaction.record_change(ChangeKind.STACK, stack)
            return next(e for e in queries.environments_of(transaction.connection, stack) if e.uid == uid)

    # ------------------------------------------------------------------------------------------ assets

    def add(
        self,
        place: BranchRef,
        upload: UploadInfo,
        source: OpenSource,
        changes: AssetChanges,
        by: str,
        *,
        publishing: PublishRequest | None = None,
        origin: str | None = None,
    ) -> Asset:
        """Add an asset with its first version.

        `origin` is the path of an imported file. It must be unique in the branch.
        """
        file = self.store_bytes(upload, source)
        with self.database.write_transaction() as transaction:
            uid = new_uid()
            title = changes.title or file.filename
            writes.insert_entry(transaction, place, by, uid=uid, title=title, version=1, origin=origin)
            self._insert_version(transaction, uid, 1, file, by, source)
            writes.apply_changes(transaction, place, uid, changes)
            transaction.record_change(ChangeKind.ASSET, place.stack, uid)
            if publishing is not None:
                change = PublicationChange(place.stack, uid, PublishAction.PUBLISH, publishing, by)
                apply_publication(transaction, change)
            return queries.asset_of(transaction.connection, place, uid)

    def replace(
        self,
        place: BranchRef,
        uid: str,
        upload: UploadInfo,
        source: OpenSource,
        changes: AssetChanges,
        by: str,
        *,
        publishing: PublishRequest | None = None,
    ) -> Asset:
        """Add a version to an asset. Published versions stay published.

        Raises BadRequest if the changes set a permanent URL and the asset already has a different one.
        """
        _slug(self.asset(place, uid), changes)
        file = self.store_bytes(upload, source)
        with self.database.write_transaction() as transaction:
            asset = queries.asset_of(transaction.connection, place, uid)
            number = asset.newest + 1
            self._insert_version(transaction, uid, number, file, by, source)
            writes.touch(transaction, place, uid, by, version=number, **_slug(asset, changes))
            writes.apply_changes(transaction, place, uid, changes)
            if publishing is not None:
                change = PublicationChange(place.stack, uid, PublishAction.PUBLISH, publishing, by)
                apply_publication(transaction, change)
            return queries.asset_of(transaction.connection, place, uid)

    def restore(self, place: BranchRef, uid: str, number: int, by: str) -> Asset:
        """Add a version that has the bytes of the older version `number`."""
        with self.database.write_transaction() as transaction:
            newest = queries.asset_of(transaction.connection, place, uid).newest + 1
            old = self._asset_version(transaction.connection, place, uid, number)
            writes.insert_version(transaction, uid, newest, old.version.file, by)
            writes.touch(transaction, place, uid, by, version=newest)
            return queries.asset_of(transaction.connection, place, uid)

    def name_version(self, place: BranchRef, uid: str, number: int, name: str | None) -> None:
        """Set the display name of a version, or remove it with None. Raises NotFound if the version does not exist."""
        with self.database.write_transaction() as transaction:
            self._asset_version(transaction.connection, place, uid, number)
            writes.name_version(transaction, uid, number, name)

    def change(self, place: BranchRef, uid: str, changes: AssetChanges, by: str) -> Asset:
        """Apply the changes to an asset.

        Raises BadRequest if the changes set a permanent URL and the asset already has a different one.
        """
        with self.database.write_transaction() as transaction:
            asset = queries.asset_of(transaction.connection, place, uid)
            writes.touch(transaction, place, uid, by, **_slug(asset, changes))
            writes.apply_changes(transaction, place, uid, changes)
            return queries.asset_of(transaction.connection, place, uid)

    def delete(self, place: BranchRef, uid: str) -> None:
        """Delete an asset with all its versions. Bytes that another asset also uses stay stored."""
        with self.database.write_transaction() as transaction:
            queries.asset_of(transaction.connection, place, uid)
            digests = {version.file.digest for version in queries.versions_of(transaction.connection, uid)}
            writes.delete_entry(transaction, place, uid)
        self._drop_deleted(digests)

    # ------------------------------------------------------------------------------------------ publishing

    def publish(self, place: BranchRef, uid: str, publishing: PublishRequest, by: str) -> None:
        self._publish(place, uid, PublishAction.PUBLISH, publishing, by)

    def unpublish(self, place: BranchRef, uid: str, publishing: PublishRequest, by: str) -> None:
        self._publish(place, uid, PublishAction.UNPUBLISH, publishing, by)

    def run_due(self) -> int:
        """Run the due schedules and return their number."""
        with self.database.write_transaction() as transaction:
            return run_due(transaction)

    # ------------------------------------------------------------------------------------------ queries

    def asset(self, place: BranchRef, uid: str, number: int | None = None) -> Asset:
        """The asset with its newest version, or with the version `number`. Raises NotFound."""
        return self._read(lambda c: self._asset_version(c, place, uid, number))

    def imported(self, place: BranchRef, origin: str) -> Asset | None:
        """The asset that was imported from `origin`, or None. `origin` may be the path of a file."""
        return self._read(lambda c: queries.imported_asset(c, place, origin))

    def versions(self, place: BranchRef, uid: str) -> tuple[Version, ...]:
        """All versions of an asset, the newest first."""
        with self.database.read_transaction() as connection:
            queries.asset_of(connection, place, uid)
            return queries.versions_of(connection, uid)

    def version_digests(self, place: BranchRef, uid: str) -> dict[int, str]:
        """The digests of an asset's versions by number; empty if the branch does not have the asset."""
        query = select(versions.c.number, versions.c.digest).join(assets, assets.c.uid == versions.c.asset)
        where = (assets.c.uid == uid, assets.c.stack == place.stack, assets.c.branch == place.branch)
        return self._read(lambda c: {row.number: row.digest for row in c.execute(query.where(*where))})

    def count(self, place: BranchRef) -> tuple[int, int]:
        """The number of assets and the number of versions in a branch."""
        query = select(func.count(distinct(assets.c.uid)), func.count(versions.c.number))
        where = (assets.c.stack == place.stack, assets.c.branch == place.branch)
        joined = query.join(versions, versions.c.asset == assets.c.uid).where(*where)
        stored_assets, stored_versions = self._read(lambda c: c.execute(joined).one())
        return stored_assets, stored_versions

    def list_entries(self, place: BranchRef, listing: Listing) -> ListPage:
        return self._read(lambda c: queries.list_page(c, place, listing))

    # ------------------------------------------------------------------------------------------ delivery

    def find(self, address: lookup.Address, scope: PublishScope | None) -> lookup.LookupResult:
        return self._read(lambda c: lookup.find(c, address, scope))

    def find_stored(self, address: lookup.Address, branch: str) -> FoundVersion | Problem:
        """The version at the address, published or not. Checks no permissions."""
        return self._read(lambda c: lookup.find_stored(c, address, branch))

    def open_file(self, digest: str) -> int:
        """A file descriptor of the bytes with this digest, which the caller closes. Raises OSError."""
        return self.blobs.open(digest)

    def changes_since(self, n: int | None, polled_ms: int) -> ChangeFeed:
        """The changes since the previous poll. At that poll, the library's clock had the value `n`.

        `polled_ms` is the time of that poll in Unix milliseconds. The feed is a reset without `n`, or if the poll is
        older than half a day.
        """
        return self._read(lambda c: changes_since(c, n, self.database.now_ms, polled_ms))

    # ------------------------------------------------------------------------------------------ folders

    def folder(self, place: BranchRef, uid: str) -> Folder:
        return self._read(lambda c: queries.folder_of(c, place, uid))

    def new_folder(self, place: BranchRef, name: str, parent_uid: str | None, by: str) -> Folder:
        with self.database.write_transaction() as transaction:
            uid = new_uid()
            writes.insert_entry(transaction, place, by, uid=uid, title=name, version=0, is_dir=True)
            writes.apply_changes(transaction, place, uid, AssetChanges(parent_uid=parent_uid))
            return queries.folder_of(transaction.connection, place, uid)

    def change_folder(self, place: BranchRef, uid: str, changes: AssetChanges, by: str) -> Folder:
        with self.database.write_transaction() as transaction:
            queries.folder_of(transaction.connection, place, uid)
            writes.touch(transaction, place, uid, by)
            writes.apply_changes(transaction, place, uid, changes)
            return queries.folder_of(transaction.connection, place, uid)

    def delete_folder(self, place: BranchRef, uid: str) -> None:
        """Delete a folder with everything in it, as Contentstack does."""
        with self.database.write_transaction() as transaction:
            queries.folder_of(transaction.connection, place, uid)
            tree = queries.folder_tree(transaction.connection, uid)
            digests = {v.file.digest for entry in tree for v in queries.versions_of(transaction.connection, entry)}
            for entry in reversed(tree):
                writes.delete_entry(transaction, place, entry)
        self._drop_deleted(digests)

    # ------------------------------------------------------------------------------------------ keys

    def all_keys(self) -> tuple[LibraryKey, ...]:
        return self._read(keys.all_keys)

    def new_key(self, kind: KeyKind, name: str, scope: KeyScope, secret: str) -> LibraryKey:
        with self.database.write_transaction() as transaction:
            return keys.create(transaction, kind, name, scope, secret)

    def revoke_key(self, key_id: str) -> bool:
        with self.database.write_transaction() as transaction:
            return keys.revoke(transaction, key_id)

    def record_key_uses(self, times_ms: dict[str, int]) -> None:
        """Store when keys were last used. `times_ms` has the times in Unix milliseconds, by key id."""
        if times_ms:
            with self.database.write_transaction() as transaction:
                keys.record_uses(transaction, times_ms)

    # ------------------------------------------------------------------------------------------ bytes

    def delete_unreferenced(self, digests: Iterable[str], *, min_age_s: float = 0.0) -> int:
        """Remove those blobs among `digests` that no version uses and that are at least `min_age_s` old.

        Returns the number of removed blobs. Runs in a write transaction. A process that adds a version with the same
        bytes waits for this transaction, and then stores the bytes again.
        """
        with self.database.write_transaction() as transaction:
            unreferenced = [digest for digest in digests if not self._is_referenced(transaction.connection, digest)]
            removable = [digest for digest in unreferenced if (self.blobs.age_s(digest) or 0.0) >= min_age_s]
            for digest in removable:
                self.blobs.remove(digest)
        return len(removable)

    def _drop_deleted(self, digests: Iterable[str]) -> None:
        """Remove the bytes of deleted versions. If the storage fails, they are removed later as garbage."""
        try:
            self.delete_unreferenced(digests)
        except OSError as error:
            log.warning("the bytes of deleted assets could not be removed yet", why=str(error))

    def store_bytes(self, upload: UploadInfo, source: OpenSource) -> File:
        """Store the bytes of `source` and return the File for a new version. The caller inserts the version's row."""
        digest = digest_of(source)
        self._put(digest, source)
        return File(digest, upload.filename, upload.format, source.bytes, upload.size, upload.other_type)

    def _put(self, digest: str, source: OpenSource) -> None:
        with _translate_storage_errors():
            self.blobs.put(digest, source)

    @staticmethod
    def _is_referenced(connection: Connection, digest: str) -> bool:
        return connection.execute(select(versions.c.digest).where(versions.c.digest == digest)).first() is not None

    # ------------------------------------------------------------------------------------------ rows

    def _read(self, query: Callable[[Connection], T]) -> T:
        with self.database.read_transaction() as connection:
            return query(connection)

    @staticmethod
    def _asset_version(connection: Connection, place: BranchRef, uid: str, number: int | None) -> Asset:
        newest = queries.asset_of(connection, place, uid)
        if number in (None, newest.newest):
            return newest
        try:
            return queries.asset_of(connection, place, uid, number)
        except NotFound as error:
            raise no_such_version() from error

    def _publish(self, place: BranchRef, uid: str, action: PublishAction, publishing: PublishRequest, by: str) -> None:
        with self.database.write_transaction() as transaction:
            queries.asset_of(transaction.connection, place, uid)
            if action is PublishAction.UNPUBLISH:
                check_environments(transaction, place.stack, publishing)
            apply_publication(transaction, PublicationChange(place.stack, uid, action, publishing, by))

    def _insert_version(
        self, transaction: WriteTransaction, uid: str, number: int, file: File, by: str, source: OpenSource
    ) -> None:
        with _translate_storage_errors():
            is_gone = self.blobs.age_s(file.digest) is None
        if is_gone:
            self._put(file.digest, source)  # a delete removed them with the last asset that had the same bytes
        writes.insert_version(transaction, uid, number, file, by)


def _slug(asset: Asset, changes: AssetChanges) -> dict[str, str]:
    """The new value of the column `slug`, by the column's name. Empty if the changes set no permanent URL.

    Raises BadRequest if the asset already has a different permanent URL.
    """
    if changes.slug is None:
        return {}
    if asset.slug not in (None, changes.slug):
        raise BadRequest("the permanent URL is set already and cannot be changed", parameter="permanent_url")
    return {"slug": changes.slug}


@contextmanager
def _translate_storage_errors() -> Iterator[None]:
    """Translate errors of the blob store to Overloaded."""
    try:
        yield
    except OSError as error:
        log.warning("the library's storage cannot be written", why=str(error))
        raise Overloaded("the library's storage cannot be written", fix="try again", retry_after_s=10) from error
