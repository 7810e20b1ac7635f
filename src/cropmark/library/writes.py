"""Writes the rows of stacks, assets, folders and versions, within a transaction."""

from __future__ import annotations

import secrets
import uuid
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, delete, insert, update
from sqlalchemy.exc import IntegrityError

from cropmark.library import queries
from cropmark.library.database import ChangeKind, WriteTransaction
from cropmark.library.tables import NO_IMAGE, assets, stacks, tags, versions
from cropmark.model.assets import AssetChanges, BranchRef, File, Stack
from cropmark.model.problems import BadRequest


def insert_stack(transaction: WriteTransaction, stack: Stack) -> Stack:
    """Insert the stack and return it. Raises BadRequest if another stack has its name."""
    try:
        transaction.connection.execute(insert(stacks).values(**asdict(stack)))
    except IntegrityError as error:
        raise BadRequest(
            f"a stack with the name {stack.name[:80]!r} exists already", fix="choose another name"
        ) from error
    return stack


def insert_entry(
    transaction: WriteTransaction, place: BranchRef, by: str, **columns: Any
) -> None:  # columns by their names
    """Insert an asset or a folder.

    Raises NotFound if the stack does not exist, BadRequest if the branch has an asset with this `origin`.
    """
    if queries.stack_of(transaction.connection, place.stack) is None:
        raise queries.asset_not_found()
    row = {
        "stack": place.stack,
        "branch": place.branch,
        "is_dir": False,
        "description": "",
        "created_ms": transaction.now_ms,
        "updated_ms": transaction.now_ms,
        "created_by": by,
        "updated_by": by,
        **columns,
    }
    try:
        transaction.connection.execute(insert(assets).values(**row))
    except IntegrityError as error:
        raise BadRequest(
            "the branch has an asset imported from this path already",
            fix="import with the option that updates changed files, or replace the asset",
        ) from error


def touch(
    transaction: WriteTransaction, place: BranchRef, uid: str, by: str, **columns: Any
) -> None:  # columns by their names
    """Set columns of an asset or folder. Records `by` and the current time as its last change."""
    row = {"updated_ms": transaction.now_ms, "updated_by": by, **columns}
    transaction.connection.execute(update(assets).where(assets.c.uid == uid).values(**row))
    transaction.record_change(ChangeKind.ASSET, place.stack, uid)


def apply_changes(transaction: WriteTransaction, place: BranchRef, uid: str, changes: AssetChanges) -> None:
    """Apply the changes to an asset or a folder. Raises NotFound if the new parent folder does not exist."""
    row: dict[str, Any] = {"title": changes.title, "description": changes.description}
    row = {name: value for name, value in row.items() if value is not None}
    if changes.parent_uid is not None:
        _check_not_below(transaction.connection, place, uid, changes.parent_uid)
    if changes.parent_uid is not None or changes.to_top:
        row["parent_uid"] = changes.parent_uid
    if row:
        transaction.connection.execute(update(assets).where(assets.c.uid == uid).values(**row))
    if changes.tags is not None:
        transaction.connection.execute(delete(tags).where(tags.c.asset == uid))
        rows = [{"asset": uid, "place": at, "tag": tag} for at, tag in enumerate(dict.fromkeys(changes.tags))]
        if rows:
            transaction.connection.execute(insert(tags), rows)


def delete_entry(transaction: WriteTransaction, place: BranchRef, uid: str) -> None:
    """Delete an asset or folder. The database also deletes the rows that refer to it."""
    transaction.connection.execute(delete(assets).where(assets.c.uid == uid))
    transaction.record_change(ChangeKind.DELETED, place.stack, uid)


def insert_version(
    transaction: WriteTransaction, uid: str, number: int, file: File, by: str, **columns: Any
) -> None:  # columns by their names
    """Insert a version. Its bytes must be stored already.

    Raises BadRequest if another version has its `file_uid` or `file_id`.
    """
    row = {
        "asset": uid,
        "number": number,
        "file_uid": secrets.token_hex(12),
        "file_id": str(uuid.uuid4()),
        "digest": file.digest,
        "filename": file.filename,
        "format": file.format.value if file.format else NO_IMAGE,
        "media_type": file.other_type,
        "bytes": file.bytes,
        "width": file.size.width if file.size else None,
        "height": file.size.height if file.size else None,
        "created_ms": transaction.now_ms,
        "created_by": by,
        **columns,
    }
    try:
        transaction.connection.execute(insert(versions).values(**row))
    except IntegrityError as error:
        raise BadRequest("another version of the library has the id of this file", fix="change the id") from error


def name_version(transaction: WriteTransaction, uid: str, number: int, name: str | None) -> None:
    """Set the name of an existing version; None removes it."""
    here = (versions.c.asset == uid, versions.c.number == number)
    transaction.connection.execute(update(versions).where(*here).values(name=name))


def _check_not_below(connection: Connection, place: BranchRef, uid: str, parent_uid: str) -> None:
    """Check that an asset or folder may be moved into the folder `parent_uid`.

    Raises NotFound if the parent is not a folder. Raises BadRequest if the parent is the moved folder or is inside it.
    """
    ancestor: str | None = parent_uid
    while ancestor is not None:
        if ancestor == uid:
            raise BadRequest("a folder cannot be moved into itself", fix="name another folder", parameter="parent_uid")
        ancestor = queries.folder_of(connection, place, ancestor, "parent_uid").entry.parent_uid
