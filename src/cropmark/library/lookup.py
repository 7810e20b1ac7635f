"""Which bytes an address of delivery stands for, or why it may not be had.

The vendors' forms: /v3/assets/{api key}/{asset}/{file}/{name}, …/{asset}/{slug}, …/{asset}; /{uuid}/{uuid}/{name}.
Source: https://www.contentstack.com/docs/headless-cms/understanding-asset-url
"""

from __future__ import annotations

import hmac
import json
import re
from dataclasses import dataclass, replace
from typing import Any, assert_never

from sqlalchemy import Connection, Select, and_, select

from cropmark.library import queries
from cropmark.library.keys import digest_of
from cropmark.library.tables import assets, clock, keys, publications, published, stacks, versions
from cropmark.model.assets import FILE_UID, UID, UUID, KeyKind, KeyScope, Stack
from cropmark.model.problems import Forbidden, Problem, SourceNotFound, Unauthorized
from cropmark.plan.source import PublishScope


@dataclass(frozen=True, slots=True)
class ContentstackUrl:
    """An asset's file; without one, its newest. `slug` is the permanent URL's."""

    stack: str
    asset: str
    file: str | None = None
    slug: str | None = None


@dataclass(frozen=True, slots=True)
class KontentUrl:
    """A file by Kontent.ai's form: one that was replaced is served as before."""

    stack: str
    file: str


Address = ContentstackUrl | KontentUrl

_CONTENTSTACK = re.compile(
    rf"v3/assets/(?P<stack>{UID.pattern})/(?P<asset>{UID.pattern})"
    rf"(?:/(?P<file>{FILE_UID.pattern})/[^/]+|/(?P<slug>[^/]{{1,255}}))?"
)
_KONTENT = re.compile(rf"(?P<stack>{UUID.pattern})/(?P<file>{UUID.pattern})/[^/]+")


def read_address(path: str) -> Address | None:
    """What a path names; None: nothing that could be here."""
    if found := _CONTENTSTACK.fullmatch(path):
        return ContentstackUrl(**found.groupdict())
    if found := _KONTENT.fullmatch(path.lower()):
        return KontentUrl(**found.groupdict())
    return None


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version's bytes. `private`: only for whoever has the token."""

    stack: str
    asset: str
    file_uid: str
    digest: str
    bytes: int
    created_ms: int
    private: bool
    key: str = ""
    """The id of the key by which it may be had."""

    @property
    def identity(self) -> str:
        """What stamps call it."""
        return f"library:{self.stack}/{self.asset}/{self.file_uid}"


@dataclass(frozen=True, slots=True)
class LookupResult:
    """What was found, or the Problem to raise, as it was when the clock stood at `n`.

    `asset` is the one it is about, where that is known.
    """

    n: int
    found: FoundVersion | Problem
    asset: str


def find(connection: Connection, address: Address, edition: PublishScope | None) -> LookupResult:
    """The bytes, if there are any and they may be had in this edition."""
    n = connection.execute(select(clock.c.n)).scalar_one()  # first: what is read after it is as new or newer
    match address:
        case ContentstackUrl():
            found = _contentstack(connection, address, edition or PublishScope())
            return LookupResult(n, found, address.asset)
        case KontentUrl():
            row = connection.execute(_by_file_id(address)).first()
            return LookupResult(n, _found(row, private=row.secured) if row else missing(), row.asset if row else "")
        case _:
            assert_never(address)


def missing() -> SourceNotFound:
    """One text for all: whoever has no right to an asset does not learn whether there is one."""
    return SourceNotFound("there is no such asset here", fix="check the address, the environment and the branch")


def _contentstack(connection: Connection, address: ContentstackUrl, edition: PublishScope) -> FoundVersion | Problem:
    stack = queries.stack_of(connection, address.stack)
    if stack is None or (edition.beside is not None and _one_is_secured(connection, stack, edition.beside)):
        return missing()
    if stack.secured:
        if manager := _manager(connection, address.stack, edition):
            return _by(manager, _draft(connection, address, edition))
        reader = _reader(connection, address.stack, edition)
        if isinstance(reader, Problem):
            return reader
        return _by(reader, _published(connection, address, edition, private=True))
    return _published(connection, address, edition, private=False)


def _one_is_secured(connection: Connection, stack: Stack, beside: str) -> bool:
    """Whether an overlay's stack, or that of the picture below it, asks for a token."""
    below = queries.stack_of(connection, beside)
    return stack.secured or (below is not None and below.secured)


def _by(key: str, found: FoundVersion | Problem) -> FoundVersion | Problem:
    return replace(found, key=key) if isinstance(found, FoundVersion) else found


def _draft(connection: Connection, address: ContentstackUrl, edition: PublishScope) -> FoundVersion | Problem:
    """For whoever manages the stack: what is published in the environment, where there is none what is not yet."""
    found = _published(connection, address, edition, private=True)
    return (
        found
        if isinstance(found, FoundVersion)
        else _published(connection, address, replace(edition, environment=None), private=True)
    )


def _published(
    connection: Connection, address: ContentstackUrl, edition: PublishScope, *, private: bool
) -> FoundVersion | Problem:
    """What is published in the edition's environment, or if it names none, what is there."""
    environment = None
    if edition.environment is not None:
        environment = queries.environment_uid(connection, address.stack, edition.environment)
        if environment is None:
            return missing()
    row = connection.execute(_wanted(address, edition.branch, environment)).first()
    return _found(row, private=private) if row else missing()


def _wanted(address: ContentstackUrl, branch: str, environment: str | None) -> Select[Any]:
    """The version that is meant; no row where there is none, or where it is not published."""
    found = (
        select(versions, assets.c.stack)
        .join(assets, assets.c.uid == versions.c.asset)
        .where(assets.c.uid == address.asset, assets.c.stack == address.stack, assets.c.branch == branch)
    )
    if address.slug is not None:
        found = found.where(assets.c.slug == address.slug)
    if address.file is not None:
        found = found.where(versions.c.file_uid == address.file)
    if environment is None:
        return found if address.file else found.where(versions.c.number == assets.c.version)
    here = and_(publications.c.asset == assets.c.uid, publications.c.environment == environment)
    if address.file is None:
        return found.join(publications, and_(here, publications.c.version == versions.c.number)).order_by(
            publications.c.n.desc()
        )
    # An older file's URL goes on working while the asset is published: pages out there still carry it.
    once = and_(published.c.asset == assets.c.uid, published.c.environment == environment)
    return found.join(publications, here).join(published, and_(once, published.c.version == versions.c.number))


def _by_file_id(address: KontentUrl) -> Select[Any]:
    return (
        select(versions, assets.c.stack, stacks.c.secured)
        .join(assets, assets.c.uid == versions.c.asset)
        .join(stacks, stacks.c.api_key == assets.c.stack)
        .where(versions.c.file_id == address.file, stacks.c.kontent_id == address.stack, stacks.c.secured.is_(False))
    )


def _found(row: Any, *, private: bool) -> FoundVersion:  # a row of versions, with its stack
    return FoundVersion(row.stack, row.asset, row.file_uid, row.digest, row.bytes, row.created_ms, private)


def _manager(connection: Connection, stack: str, edition: PublishScope) -> str | None:
    """The id of the management token of the stack that whoever asks has."""
    row = _key_row(connection, KeyKind.MANAGEMENT, edition.manager) if edition.manager else None
    return row.id if row is not None and row.stack in (None, stack) else None


def _key_row(connection: Connection, kind: KeyKind, secret: str) -> Any:  # a row of keys, or None
    digest = digest_of(secret)
    row = connection.execute(select(keys).where(keys.c.digest == digest, keys.c.kind == kind.value)).first()
    return row if row is not None and hmac.compare_digest(row.digest, digest) else None


def _reader(connection: Connection, stack: str, edition: PublishScope) -> str | Problem:
    """The id of the delivery token, or why a secured stack's asset may not be had with it."""
    if not edition.token:
        return Unauthorized("a delivery token is needed here", fix="add access_token=…", parameter="access_token")
    row = _key_row(connection, KeyKind.DELIVERY, edition.token)
    if row is None or row.stack not in (None, stack):
        return Unauthorized("the delivery token is not valid", fix="use one of this stack", parameter="access_token")
    if edition.environment is None:
        return Forbidden("secured assets need an environment", fix="add environment=…", parameter="environment")
    scope = KeyScope(row.stack, tuple(json.loads(row.environments)))
    if not scope.opens(edition.environment, queries.environments_of(connection, stack)):
        return Forbidden("the delivery token is for another environment", fix="use its own", parameter="environment")
    found: str = row.id
    return found
