"""Imports a vendor's export with its ids, versions and environments, so that the old URLs remain valid.

Each asset is one transaction. Then each version is verified: its URL must lead to it, and the stored bytes must have
the digest of the exported file. At the end, the stored assets and versions are counted. A second run skips the stored
versions, and adds the versions that the first run could not read.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from cropmark.library import lookup
from cropmark.library.blobs import digest_of
from cropmark.library.bulk_import import CONCURRENCY, UnknownType, inspect
from cropmark.library.exports import Export, ExportedAsset, ExportedVersion, UnreadableEntry
from cropmark.library.import_writes import StoredVersion, write_asset, write_environments, write_folder, write_stack
from cropmark.library.lookup import FoundVersion
from cropmark.library.store import LibraryStore
from cropmark.model.assets import BranchRef, Stack
from cropmark.model.problems import BadRequest, Problem
from cropmark.ports import Renderers
from cropmark.runtime.reads import sha256_of


class AssetOutcome(Enum):
    """The outcome of an asset's import. The values are the words in the summary that the command prints."""

    ADDED = "added"
    COMPLETED = "completed"
    """Versions were added to an asset of an earlier run."""
    UNCHANGED = "unchanged"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AssetRecord:
    """The outcome of one asset's import, with a reason for each part that failed.

    `versions` is the number of exported versions, `verified` the number of versions that were stored and verified.
    """

    name: str
    outcome: AssetOutcome
    reasons: tuple[str, ...] = ()
    versions: int = 0
    verified: int = 0


@dataclass(slots=True)
class ImportTotals:
    """The totals of an import."""

    outcomes: Counter[AssetOutcome] = field(default_factory=Counter)
    exported_versions: int = 0
    verified_versions: int = 0
    stored_assets: int = 0
    stored_versions: int = 0

    def add(self, record: AssetRecord) -> None:
        """Add the record of one asset to the totals."""
        self.outcomes[record.outcome] += 1
        self.exported_versions += record.versions
        self.verified_versions += record.verified

    @property
    def is_complete(self) -> bool:
        """True if every version of the export is in the library and was verified."""
        wrong = self.outcomes[AssetOutcome.FAILED] + self.outcomes[AssetOutcome.INCOMPLETE]
        return not wrong and self.exported_versions == self.verified_versions


@dataclass(frozen=True, slots=True)
class SiteImport:
    """Options of an import. `name` and `secured` are used only if the import creates the stack."""

    name: str
    branch: str
    by: str
    secured: bool = False


async def import_site(
    store: LibraryStore,
    renderers: Renderers,
    export: Export,
    options: SiteImport,
    report: Callable[[AssetRecord], None],
) -> tuple[Stack, ImportTotals]:
    """Import an export. Returns the stack and the totals. Calls `report` with the record of each asset.

    If the list of assets cannot be read to its end, one more failed record is reported. Raises BadRequest if the
    folders cannot be read.
    """
    with store.database.write_transaction() as transaction:
        stack = write_stack(transaction, options.name, export.api_key, export.kontent_id, secured=options.secured)
        environments = write_environments(transaction, stack.api_key, export.environments)
    place = BranchRef(stack.api_key, options.branch)
    folders = set[str]()
    for folder in export.folders():
        inside = folder if folder.parent_uid in folders else replace(folder, parent_uid=None)
        with store.database.write_transaction() as transaction:
            if write_folder(transaction, place, inside, options.by):
                folders.add(folder.uid)
    importer = _Importer(
        store, renderers, stack, place, environments, export.environments, frozenset(folders), options.by
    )
    totals = ImportTotals()

    def count(record: AssetRecord) -> None:
        totals.add(record)
        report(record)

    await importer.run(export.assets(), count)
    totals.stored_assets, totals.stored_versions = await asyncio.to_thread(store.count, place)
    return stack, totals


@dataclass(frozen=True, slots=True)
class _Importer:
    store: LibraryStore
    renderers: Renderers
    stack: Stack
    place: BranchRef
    environments: dict[str, str]
    exported_environments: Mapping[str, str]
    folders: frozenset[str]
    by: str

    async def run(
        self, assets: Iterator[ExportedAsset | UnreadableEntry], report: Callable[[AssetRecord], None]
    ) -> None:
        """Import the assets, CONCURRENCY at a time."""
        entries = _readable(assets)

        async def work() -> None:
            for asset in entries:
                report(await self._record(asset))

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(work())

    async def _record(self, asset: ExportedAsset | UnreadableEntry) -> AssetRecord:
        if isinstance(asset, UnreadableEntry):
            return AssetRecord(asset.name, AssetOutcome.FAILED, (asset.reason,))
        try:
            return await self._import(asset)
        except Problem as problem:
            return AssetRecord(asset.origin, AssetOutcome.FAILED, (problem.detail,), len(asset.versions))

    async def _import(self, asset: ExportedAsset) -> AssetRecord:
        known = await asyncio.to_thread(self.store.version_digests, self.place, asset.uid)
        reasons, stored, digests = list[str](), list[StoredVersion](), dict[int, str]()
        for version in asset.versions:
            try:
                one = await self._stored_version(version, known)
            except (OSError, UnknownType, Problem) as error:
                reasons.append(f"version {version.number}: {_reason(error)}")
                continue
            stored.append(one)
            digests[version.number] = one.digest
        written = await asyncio.to_thread(self._write, asset, stored, known)
        reasons += [
            f"version {one.version} is published but was not imported"
            for one in asset.publications
            if one.version not in digests
        ]
        reasons += [
            f"published in the environment {one.environment}, {self._reason_without(one.environment)}"
            for one in asset.publications
            if one.environment not in self.environments
        ]
        unverified = await asyncio.to_thread(self._unverified, asset, digests)
        reasons += unverified
        return AssetRecord(
            asset.origin,
            _outcome(reasons, known, written, stored),
            tuple(reasons),
            len(asset.versions),
            len(digests) - len(unverified),
        )

    def _reason_without(self, environment: str) -> str:
        if environment in self.exported_environments:
            return "and its uid is that of an environment in another stack"
        return "which the export does not have"

    async def _stored_version(self, version: ExportedVersion, known: dict[int, str]) -> StoredVersion:
        """Store the version's bytes, unless the library already has the version.

        `known` has the digests of the versions in the library, by number. Raises OSError, UnknownType and Problems.
        """
        source = await asyncio.to_thread(version.open_file)
        try:
            if version.bytes is not None and version.bytes != source.bytes:
                raise OSError(f"the file has {source.bytes:,} bytes, expected {version.bytes:,}")
            digest = await asyncio.to_thread(digest_of, source)
            if version.number in known:
                if known[version.number] != digest:
                    raise OSError("the library has other bytes for this version")
                return StoredVersion(version, digest, None)
            upload = await inspect(source, self.renderers, version.filename)
            file = await asyncio.to_thread(self.store.store_bytes, upload, source)
            return StoredVersion(version, digest, file)
        finally:
            source.close()

    def _write(self, asset: ExportedAsset, stored: list[StoredVersion], known: dict[int, str]) -> bool:
        """Write the versions that the library does not have. Returns True if there were any."""
        new = [one for one in stored if one.version.number not in known]
        if not new:
            return False
        parent = asset.parent_uid if asset.parent_uid in self.folders else None
        with self.store.database.write_transaction() as transaction:
            write_asset(transaction, self.place, asset, new, self.environments, parent, self.by)
        return True

    # ------------------------------------------------------------------------------------------ verification

    def _unverified(self, asset: ExportedAsset, digests: dict[int, str]) -> list[str]:
        """A reason for each stored version that failed the verification.

        The verification fails if the version's URL does not deliver the exported bytes.
        """
        wrong = []
        for version in asset.versions:
            if version.number in digests:
                reason = self._wrong_delivery(version, digests[version.number])
                wrong += [f"version {version.number}: {reason}"] if reason else []
        return wrong

    def _wrong_delivery(self, version: ExportedVersion, digest: str) -> str | None:
        address = lookup.read_address(version.path)
        if address is None:
            return "its URL has another form"
        found = self.store.find_stored(address, self.place.branch)
        if not isinstance(found, FoundVersion):
            return "its URL leads to no version"
        if found.digest != digest:
            return "its URL leads to other bytes"
        try:
            return None if self._stored_digest(digest) == digest else "the stored bytes are damaged"
        except (OSError, Problem) as error:
            return f"the stored bytes cannot be read: {_reason(error)}"

    def _stored_digest(self, digest: str) -> str:
        """Read the stored bytes again and return their digest."""
        descriptor = self.store.open_file(digest)
        try:
            return sha256_of(descriptor, os.fstat(descriptor).st_size)
        finally:
            os.close(descriptor)


def _readable(assets: Iterator[ExportedAsset | UnreadableEntry]) -> Iterator[ExportedAsset | UnreadableEntry]:
    """Yields the assets. If reading fails, the last item is an UnreadableEntry with the reason."""
    try:
        yield from assets
    except (BadRequest, OSError) as error:
        yield UnreadableEntry("the rest of the export", _reason(error))


def _outcome(reasons: list[str], known: dict[int, str], written: bool, stored: list[StoredVersion]) -> AssetOutcome:
    if reasons:
        return AssetOutcome.INCOMPLETE if stored else AssetOutcome.FAILED
    if not known:
        return AssetOutcome.ADDED
    return AssetOutcome.COMPLETED if written else AssetOutcome.UNCHANGED


def _reason(error: Exception) -> str:
    if isinstance(error, Problem):
        return error.detail
    return str(getattr(error, "strerror", None) or error)
