"""Publishes and unpublishes assets within a transaction, immediately or at a scheduled time."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import delete, insert, select

from cropmark.library import queries
from cropmark.library.database import ChangeKind, WriteTransaction
from cropmark.library.tables import assets, environments, publications, published, schedules, versions
from cropmark.model.assets import PublishRequest
from cropmark.model.problems import BadRequest, NotFound


class PublishAction(Enum):
    PUBLISH = "publish"
    UNPUBLISH = "unpublish"


@dataclass(frozen=True, slots=True)
class PublicationChange:
    """A request to publish or unpublish an asset. `by` names the client that made the request."""

    stack: str
    uid: str
    action: PublishAction
    publishing: PublishRequest
    by: str


def new_uid() -> str:
    """A new random uid for a stack, environment, asset or folder."""
    return "blt" + secrets.token_hex(8)


def apply_publication(transaction: WriteTransaction, change: PublicationChange) -> None:
    """Publish or unpublish an existing asset. A change for a later time is only scheduled.

    Publishing creates missing environments. Raises NotFound if the asset does not have the version that the change
    names.
    """
    publishing = change.publishing
    number = _version_number(transaction, change.uid, publishing.version)
    if _is_later(transaction, publishing):
        _schedule(transaction, change, number)
        return
    publishes = change.action is PublishAction.PUBLISH
    for name in publishing.environments:
        uid = queries.environment_uid(transaction.connection, change.stack, name)
        if uid is None and publishes:
            uid = insert_environment(transaction, change.stack, name)
        if uid is not None:
            _apply(transaction, change, uid, number)
    kind = ChangeKind.ASSET if publishes else ChangeKind.WITHDRAWN
    transaction.record_change(kind, change.stack, change.uid)


def check_environments(transaction: WriteTransaction, stack: str, publishing: PublishRequest) -> None:
    """Check that the environments of an unpublish request exist. Raises BadRequest for a misspelled name.

    A request for a later time is not checked, since an earlier schedule may create the environment.
    """
    if _is_later(transaction, publishing):
        return
    for name in publishing.environments:
        if queries.environment_uid(transaction.connection, stack, name) is None:
            raise BadRequest(
                f"unknown environment {name[:80]!r}", fix="name an environment of the stack", parameter="environments"
            )


def insert_environment(transaction: WriteTransaction, stack: str, name: str) -> str:
    """Create an environment and return its uid."""
    uid = new_uid()
    row = {"uid": uid, "stack": stack, "name": name, "created_ms": transaction.now_ms}
    transaction.connection.execute(insert(environments).values(**row))
    return uid


def run_due(transaction: WriteTransaction) -> int:
    """Run all due schedules, the earliest first. Returns the number of schedules that ran.

    The same transaction deletes the schedules, so only one of several fronts runs them.
    """
    due = transaction.connection.execute(
        select(schedules, assets.c.stack)
        .join(assets, assets.c.uid == schedules.c.asset)
        .where(schedules.c.at_ms <= transaction.now_ms)
        .order_by(schedules.c.at_ms, schedules.c.id)
    ).all()
    for row in due:
        transaction.connection.execute(delete(schedules).where(schedules.c.id == row.id))
        names, locales = tuple(json.loads(row.environments)), tuple(json.loads(row.locales))
        publishing = PublishRequest(names, locales, row.version)
        change = PublicationChange(row.stack, row.asset, PublishAction(row.action), publishing, row.by)
        apply_publication(transaction, change)
    return len(due)


def _is_later(transaction: WriteTransaction, publishing: PublishRequest) -> bool:
    return publishing.at_ms is not None and publishing.at_ms > transaction.now_ms


def _version_number(transaction: WriteTransaction, uid: str, number: int | None) -> int:
    """The number of the requested version, or the newest number for None.

    Raises NotFound if the version does not exist.
    """
    if number is None:
        query = select(assets.c.version).where(assets.c.uid == uid)
        newest: int = transaction.connection.execute(query).scalar_one()
        return newest
    query = select(versions.c.number).where(versions.c.asset == uid, versions.c.number == number)
    if transaction.connection.execute(query).first() is None:
        raise no_such_version()
    return number


def no_such_version() -> NotFound:
    return NotFound("the asset has no such version", fix="name a version of the asset", parameter="version")


def _schedule(transaction: WriteTransaction, change: PublicationChange, number: int) -> None:
    row = {
        "id": secrets.token_hex(16),
        "asset": change.uid,
        "action": change.action.value,
        "environments": json.dumps(change.publishing.environments),
        "locales": json.dumps(change.publishing.locales),
        "version": number,
        "at_ms": change.publishing.at_ms,
        "by": change.by,
    }
    transaction.connection.execute(insert(schedules).values(**row))
    if change.action is PublishAction.UNPUBLISH:
        transaction.record_change(ChangeKind.SCHEDULED, change.stack, change.uid)


def _apply(transaction: WriteTransaction, change: PublicationChange, environment: str, number: int) -> None:
    connection, uid, locales = transaction.connection, change.uid, change.publishing.locales
    here = (publications.c.asset == uid, publications.c.environment == environment)
    connection.execute(delete(publications).where(*here, publications.c.locale.in_(locales)))
    if change.action is PublishAction.UNPUBLISH:
        return
    row = {"asset": uid, "environment": environment, "version": number}
    publication = {**row, "at_ms": transaction.now_ms, "n": transaction.n, "by": change.by}
    for locale in dict.fromkeys(locales):
        connection.execute(insert(publications).values(**publication, locale=locale))
    past = (published.c.asset == uid, published.c.environment == environment, published.c.version == number)
    if connection.execute(select(published.c.version).where(*past)).first() is None:
        connection.execute(insert(published).values(**row))
