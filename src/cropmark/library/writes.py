"""Rows of assets and folders as they are written, within a transaction."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from sqlalchemy import Connection, delete, insert, update
from sqlalchemy.exc import IntegrityError

from cropmark.library import queries
from cropmark.library.database import ChangeKind, WriteTransaction
from cropmark.library.tables import assets, tags, versions
from cropmark.model.assets import BranchRef, Changes, File
from cropmark.model.problems import BadRequest


def insert_asset(
    writing: WriteTransaction,
    uid: str,
    place: BranchRef,
    title: str,
    by: str,
    *,
    newest: int,
    is_dir: bool = False,
    origin: str | None = None,
) -> None:
    """An asset or a folder. Raises NotFound without its stack, BadOrder where that import has brought it already."""
    if queries.stack_of(writing.connection, place.stack) is None:
        raise queries.missing()
    row = {
        "uid": uid,
        "stack": place.stack,
        "branch": place.branch,
        "is_dir": is_dir,
        "title": title,
        "description": "",
        "version": newest,
        "origin": origin,
        "created_ms": writing.now_ms,
        "updated_ms": writing.now_ms,
        "created_by": by,
        "updated_by": by,
    }
    try:
        writing.connection.execute(insert(assets).values(**row))
    except IntegrityError as error:
        raise BadRequest("this file is there already", fix="replace it") from error


def touch(
    writing: WriteTransaction, place: BranchRef, uid: str, by: str, **more: Any
) -> None:  # columns by their names
    """Somebody changed it now."""
    row = {"updated_ms": writing.now_ms, "updated_by": by, **more}
    writing.connection.execute(update(assets).where(assets.c.uid == uid).values(**row))
    writing.record_change(ChangeKind.ASSET, place.stack, uid)


def apply(writing: WriteTransaction, place: BranchRef, uid: str, changes: Changes) -> None:
    """What is said of an asset or a folder. Raises NotFound for a parent that is not there."""
    row: dict[str, Any] = {"title": changes.title, "description": changes.description}
    row = {name: value for name, value in row.items() if value is not None}
    if changes.parent_uid is not None:
        _not_below(writing.connection, place, uid, changes.parent_uid)
    if changes.parent_uid is not None or changes.to_top:
        row["parent_uid"] = changes.parent_uid
    if row:
        writing.connection.execute(update(assets).where(assets.c.uid == uid).values(**row))
    if changes.tags is not None:
        writing.connection.execute(delete(tags).where(tags.c.asset == uid))
        rows = [{"asset": uid, "place": at, "tag": tag} for at, tag in enumerate(dict.fromkeys(changes.tags))]
        if rows:
            writing.connection.execute(insert(tags), rows)


def remove(writing: WriteTransaction, place: BranchRef, uid: str) -> None:
    """It is gone, with all that hangs on it."""
    writing.connection.execute(delete(assets).where(assets.c.uid == uid))
    writing.record_change(ChangeKind.GONE, place.stack, uid)


def insert_version(writing: WriteTransaction, uid: str, number: int, file: File, by: str) -> None:
    """A version, whose bytes are kept already."""
    row = {
        "asset": uid,
        "number": number,
        "file_uid": secrets.token_hex(12),
        "file_id": str(uuid.uuid4()),
        "digest": file.digest,
        "filename": file.filename,
        "format": file.format.value,
        "bytes": file.bytes,
        "width": file.size.width if file.size else None,
        "height": file.size.height if file.size else None,
        "created_ms": writing.now_ms,
        "created_by": by,
    }
    writing.connection.execute(insert(versions).values(**row))


def name_version(writing: WriteTransaction, uid: str, number: int, name: str | None) -> None:
    """What people call a version that is there."""
    here = (versions.c.asset == uid, versions.c.number == number)
    writing.connection.execute(update(versions).where(*here).values(name=name))


def _not_below(connection: Connection, place: BranchRef, uid: str, parent_uid: str) -> None:
    """Raises NotFound where the parent is no folder, BadOrder where it is in what is moved."""
    above: str | None = parent_uid
    while above is not None:
        if above == uid:
            raise BadRequest("a folder cannot be moved into itself", fix="name another", parameter="parent_uid")
        above = queries.folder_of(connection, place, above, "parent_uid").entry.parent_uid
