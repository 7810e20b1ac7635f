"""Writes an imported site to the database, within a transaction. The rows have the vendor's ids."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import insert, or_, select, update

from cropmark.library import queries, writes
from cropmark.library.database import ChangeKind, WriteTransaction
from cropmark.library.exports import ExportedAsset, ExportedFolder, ExportedPublication, ExportedVersion
from cropmark.library.publishing import new_uid
from cropmark.library.tables import assets, environments, publications, published, stacks, versions
from cropmark.model.assets import AssetChanges, BranchRef, File, Stack
from cropmark.model.problems import BadRequest


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """An exported version with its bytes in the blob store. It has a `file` only if it is new in the library."""

    version: ExportedVersion
    digest: str
    file: File | None


def write_stack(
    transaction: WriteTransaction, name: str, api_key: str | None, kontent_id: str | None, *, secured: bool
) -> Stack:
    """Find the stack with this `api_key` or `kontent_id`, or create it.

    Raises BadRequest if the new stack has the name of another stack.
    """
    query = select(stacks.c.api_key).where(or_(stacks.c.api_key == api_key, stacks.c.kontent_id == kontent_id))
    known = transaction.connection.execute(query).scalar()
    if known is not None:
        stack = queries.stack_of(transaction.connection, known)
        assert stack is not None
        return stack
    new = Stack(api_key or new_uid(), name, kontent_id or str(uuid.uuid4()), secured, transaction.now_ms)
    return writes.insert_stack(transaction, new)


def write_environments(transaction: WriteTransaction, stack: str, exported: Mapping[str, str]) -> dict[str, str]:
    """Find or create the exported environments. Returns their uids in the library, by their uids in the export.

    `exported` has the names of the environments by uid. An existing environment of the stack is found by its name, then
    by its uid. A new environment gets the exported uid. If another stack already uses that uid, the environment is not
    created and is missing in the result.
    """
    found: dict[str, str] = {}
    for uid, name in exported.items():
        known = queries.environment_uid(transaction.connection, stack, name)
        known = known or queries.environment_uid(transaction.connection, stack, uid)
        if known is None:
            query = select(environments.c.uid).where(environments.c.uid == uid)
            if transaction.connection.execute(query).first() is not None:
                continue
            row = {"uid": uid, "stack": stack, "name": name, "created_ms": transaction.now_ms}
            transaction.connection.execute(insert(environments).values(**row))
            transaction.record_change(ChangeKind.STACK, stack)
        found[uid] = known or uid
    return found


def write_folder(transaction: WriteTransaction, place: BranchRef, folder: ExportedFolder, by: str) -> bool:
    """Insert a folder, unless the branch already has it.

    Returns False if its uid belongs to an asset, or to a folder in another stack or branch.
    """
    query = select(assets).where(assets.c.uid == folder.uid)
    known = transaction.connection.execute(query).first()
    if known is None:
        row = {"uid": folder.uid, "title": folder.name, "version": 0, "is_dir": True, "parent_uid": folder.parent_uid}
        writes.insert_entry(transaction, place, by, **row)
        return True
    return (known.stack, known.branch, known.is_dir) == (place.stack, place.branch, True)


def write_asset(
    transaction: WriteTransaction,
    place: BranchRef,
    asset: ExportedAsset,
    new: Sequence[StoredVersion],
    environment_uids: Mapping[str, str],
    parent_uid: str | None,
    by: str,
) -> None:
    """Insert an asset with its versions and publications. If the branch already has the asset, only add the new ones.

    Raises BadRequest if the uid belongs to a folder, or to an asset in another stack or branch. Also raises BadRequest
    if the id of a new file belongs to another version.
    """
    connection, newest = transaction.connection, max(one.version.number for one in new)
    row = connection.execute(select(assets).where(assets.c.uid == asset.uid)).first()
    if row is None:
        writes.insert_entry(
            transaction,
            place,
            by,
            uid=asset.uid,
            title=asset.title,
            version=newest,
            origin=asset.origin,
            slug=asset.slug,
            parent_uid=parent_uid,
        )
        changes = AssetChanges(description=asset.description, tags=asset.tags)
        writes.apply_changes(transaction, place, asset.uid, changes)
    elif (row.stack, row.branch, row.is_dir) != (place.stack, place.branch, False):
        raise BadRequest("another entry of the library has this uid", fix="import into another library")
    elif newest > row.version:
        connection.execute(update(assets).where(assets.c.uid == asset.uid).values(version=newest))
    for one in new:
        _insert_version(transaction, asset.uid, one, by)
    _publish(transaction, asset, environment_uids)
    transaction.record_change(ChangeKind.ASSET, place.stack, asset.uid)


def _insert_version(transaction: WriteTransaction, uid: str, one: StoredVersion, by: str) -> None:
    assert one.file is not None, "only versions that the library does not have are written"
    version = one.version
    given = {
        "file_uid": version.file_uid,
        "file_id": version.file_id,
        "created_ms": version.created_ms,
        "created_by": version.created_by,
        "name": version.name,
    }
    columns = {name: value for name, value in given.items() if value}
    writes.insert_version(transaction, uid, version.number, one.file, by, **columns)


def _publish(transaction: WriteTransaction, asset: ExportedAsset, environment_uids: Mapping[str, str]) -> None:
    """Publish the versions that are published in the export. Existing publications stay unchanged.

    All older versions are recorded as published in the past, because pages may still have their URLs. The export does
    not say which of them were really published.
    """
    connection = transaction.connection
    stored = set(connection.execute(select(versions.c.number).where(versions.c.asset == asset.uid)).scalars())
    for one in asset.publications:
        environment = environment_uids.get(one.environment)
        if environment is None or one.version not in stored:
            continue
        here = {"asset": asset.uid, "environment": environment}
        _insert_publication(transaction, here, one)
        past = (number for number in stored if number <= one.version)
        _insert_published(transaction, here, past)


def _insert_publication(transaction: WriteTransaction, here: dict[str, str], one: ExportedPublication) -> None:
    key = {**here, "locale": one.locale}
    where = [publications.c[name] == value for name, value in key.items()]
    if transaction.connection.execute(select(publications.c.version).where(*where)).first() is None:
        row = {"version": one.version, "at_ms": one.at_ms or transaction.now_ms, "n": transaction.n, "by": one.by}
        transaction.connection.execute(insert(publications).values(**key, **row))


def _insert_published(transaction: WriteTransaction, here: dict[str, str], numbers: Iterable[int]) -> None:
    where = [published.c[name] == value for name, value in here.items()]
    known = set(transaction.connection.execute(select(published.c.version).where(*where)).scalars())
    rows = [{**here, "version": number} for number in numbers if number not in known]
    if rows:
        transaction.connection.execute(insert(published), rows)
