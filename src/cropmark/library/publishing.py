"""Publishing within a transaction: now, or at a time that the database remembers."""

from __future__ import annotations

import json
import secrets
from enum import Enum

from sqlalchemy import delete, insert, select

from cropmark.library import queries
from cropmark.library.database import ChangeKind, WriteTransaction
from cropmark.library.tables import assets, environments, publications, published, schedules, versions
from cropmark.model.assets import Publishing
from cropmark.model.problems import BadRequest, NotFound


class PublishAction(Enum):
    """What is done, now or later."""

    PUBLISH = "publish"
    UNPUBLISH = "unpublish"


def new_uid() -> str:
    """Of a stack, an environment, an asset or a folder."""
    return "blt" + secrets.token_hex(8)


def done(writing: WriteTransaction, stack: str, uid: str, act: PublishAction, wanted: Publishing, by: str) -> None:
    """Publish or unpublish, or remember to. The asset is known to be there.

    Raises NotFound for a version that it does not have.
    """
    number = _number(writing, uid, wanted.version)
    if wanted.at_ms is not None and wanted.at_ms > writing.now_ms:
        _remember(writing, uid, act, wanted, number, by)
        return
    for name in wanted.environments:
        environment = environment_in(writing, stack, name, make=act is PublishAction.PUBLISH)
        if environment is not None:
            _carry_out(writing, uid, environment, act, wanted.locales, number, by)
    writing.record_change(ChangeKind.ASSET if act is PublishAction.PUBLISH else ChangeKind.WITHDRAWN, stack, uid)


def check_environments(writing: WriteTransaction, stack: str, wanted: Publishing) -> None:
    """Raises BadOrder for one that is not there: a misspelled name must not pass for an asset that was withdrawn.

    What is to be done later may be about an environment that another schedule makes.
    """
    if wanted.at_ms is not None and wanted.at_ms > writing.now_ms:
        return
    for name in wanted.environments:
        if queries.environment_uid(writing.connection, stack, name) is None:
            raise BadRequest(
                f"there is no environment {name[:80]!r}", fix="name one of the stack's", parameter="environments"
            )


def environment_in(writing: WriteTransaction, stack: str, name: str, *, make: bool) -> str | None:
    """The uid of an environment by its name or uid; a new one is made where it may be."""
    found = queries.environment_uid(writing.connection, stack, name)
    if found is not None or not make:
        return found
    uid = new_uid()
    row = {"uid": uid, "stack": stack, "name": name, "created_ms": writing.now_ms}
    writing.connection.execute(insert(environments).values(**row))
    return uid


def carry_out_due(writing: WriteTransaction) -> int:
    """All that is due by now, in the order of its times; how much it was.

    The rows are removed in the transaction that acts on them: of several fronts one does it, once.
    """
    due = writing.connection.execute(
        select(schedules, assets.c.stack)
        .join(assets, assets.c.uid == schedules.c.asset)
        .where(schedules.c.at_ms <= writing.now_ms)
        .order_by(schedules.c.at_ms, schedules.c.id)
    ).all()
    for row in due:
        names, locales = tuple(json.loads(row.environments)), tuple(json.loads(row.locales))
        writing.connection.execute(delete(schedules).where(schedules.c.id == row.id))
        done(writing, row.stack, row.asset, PublishAction(row.action), Publishing(names, locales, row.version), row.by)
    return len(due)


def _number(writing: WriteTransaction, uid: str, number: int | None) -> int:
    """Of the version that is meant."""
    if number is None:
        newest: int = writing.connection.execute(select(assets.c.version).where(assets.c.uid == uid)).scalar_one()
        return newest
    found = select(versions.c.number).where(versions.c.asset == uid, versions.c.number == number)
    if writing.connection.execute(found).first() is None:
        raise no_such_version()
    return number


def no_such_version() -> NotFound:
    """What is told of a version that an asset does not have."""
    return NotFound("the asset has no such version", fix="name one of its versions", parameter="version")


def _remember(
    writing: WriteTransaction, uid: str, act: PublishAction, wanted: Publishing, number: int, by: str
) -> None:
    row = {
        "id": secrets.token_hex(16),
        "asset": uid,
        "action": act.value,
        "environments": json.dumps(wanted.environments),
        "locales": json.dumps(wanted.locales),
        "version": number,
        "at_ms": wanted.at_ms,
        "by": by,
    }
    writing.connection.execute(insert(schedules).values(**row))


def _carry_out(
    writing: WriteTransaction,
    uid: str,
    environment: str,
    act: PublishAction,
    locales: tuple[str, ...],
    number: int,
    by: str,
) -> None:
    here = (publications.c.asset == uid, publications.c.environment == environment)
    writing.connection.execute(delete(publications).where(*here, publications.c.locale.in_(locales)))
    if act is PublishAction.UNPUBLISH:
        return
    for locale in dict.fromkeys(locales):
        row = {"asset": uid, "environment": environment, "locale": locale, "version": number}
        told = {"at_ms": writing.now_ms, "n": writing.n, "by": by}
        writing.connection.execute(insert(publications).values(**row, **told))
    past = (published.c.asset == uid, published.c.environment == environment, published.c.version == number)
    if writing.connection.execute(select(published.c.version).where(*past)).first() is None:
        row = {"asset": uid, "environment": environment, "version": number}
        writing.connection.execute(insert(published).values(**row))
