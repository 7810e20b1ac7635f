"""Finds the version that a delivery URL addresses, or the reason to reject the request.

Contentstack:  /v3/assets/{api key}/{asset}, /v3/assets/{api key}/{asset}/{slug},
               /v3/assets/{api key}/{asset}/{file}/{name}
Kontent.ai:    /{stack UUID}/{file UUID}/{name}
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
from cropmark.model.text import is_valid_text
from cropmark.plan.source import PublishScope


@dataclass(frozen=True, slots=True)
class ContentstackUrl:
    """A parsed Contentstack URL.

    Without `file`, it addresses the current version. `slug` is the end of a permanent URL.
    """

    stack: str
    asset: str
    file: str | None = None
    slug: str | None = None


@dataclass(frozen=True, slots=True)
class KontentUrl:
    """A parsed Kontent.ai URL. It always addresses the same file, even after the asset gets a newer file."""

    stack: str
    file: str


Address = ContentstackUrl | KontentUrl

_CONTENTSTACK = re.compile(
    rf"v3/assets/(?P<stack>{UID.pattern})/(?P<asset>{UID.pattern})"
    rf"(?:/(?P<file>{FILE_UID.pattern})/[^/]+|/(?P<slug>[^/]{{1,255}}))?"
)
_KONTENT = re.compile(rf"(?P<stack>{UUID.pattern})/(?P<file>{UUID.pattern})/[^/]+")


def read_address(path: str) -> Address | None:
    """Parse the path of a delivery URL. None if the text is not valid or the path has another form."""
    if not is_valid_text(path):
        return None
    if match := _CONTENTSTACK.fullmatch(path):
        return ContentstackUrl(**match.groupdict())
    if match := _KONTENT.fullmatch(path.lower()):
        return KontentUrl(**match.groupdict())
    return None


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A version that may be delivered. If `private` is true, only clients with a valid token may receive it."""

    stack: str
    asset: str
    file_uid: str
    digest: str
    bytes: int
    created_ms: int
    private: bool
    key: str = ""
    """The id of the API key that permits the delivery; empty if no key is necessary."""
    media_type: str | None = None
    """The media type of a file that is not an image."""

    @property
    def identity(self) -> str:
        """The identity of this version as a source image: `library:{stack}/{asset}/{file_uid}`."""
        return f"library:{self.stack}/{self.asset}/{self.file_uid}"


@dataclass(frozen=True, slots=True)
class LookupResult:
    """The result of a lookup. `outcome` is the version, or the Problem to raise."""

    n: int
    """The library's clock before the lookup."""
    outcome: FoundVersion | Problem
    asset: str
    """The uid of the asset; empty if it is unknown."""


def find(connection: Connection, address: Address, scope: PublishScope | None) -> LookupResult:
    """Look up the version at the address. The outcome is a Problem if it does not exist or the scope forbids it."""
    n = connection.execute(select(clock.c.n)).scalar_one()  # first, so that the result is at least as new as `n`
    match address:
        case ContentstackUrl():
            outcome = _find_contentstack(connection, address, scope or PublishScope())
            return LookupResult(n, outcome, address.asset)
        case KontentUrl():
            row = connection.execute(_file_query(address)).first()
            return LookupResult(
                n, _found_version(row, private=row.secured) if row else asset_not_found(), row.asset if row else ""
            )
        case _:
            assert_never(address)


def find_stored(connection: Connection, address: Address, branch: str) -> FoundVersion | Problem:
    """The version at the address, published or not. Checks no permissions: imports are verified with it."""
    match address:
        case ContentstackUrl():
            row = connection.execute(_version_query(address, branch, None)).first()
        case KontentUrl():
            row = connection.execute(_file_query(address, allow_secured=True)).first()
        case _:
            assert_never(address)
    return _found_version(row, private=False) if row else asset_not_found()


def asset_not_found() -> SourceNotFound:
    """The Problem for an absent asset.

    A forbidden asset gets the same Problem, so that clients cannot find out that it exists.
    """
    return SourceNotFound("asset not found", fix="check the address, the environment and the branch")


def _find_contentstack(connection: Connection, address: ContentstackUrl, scope: PublishScope) -> FoundVersion | Problem:
    stack = queries.stack_of(connection, address.stack)
    if stack is None or (scope.parent_stack is not None and _one_is_secured(connection, stack, scope.parent_stack)):
        return asset_not_found()
    if stack.secured:
        if manager := _management_key_id(connection, address.stack, scope):
            return _with_key(manager, _find_draft(connection, address, scope))
        reader = _delivery_key_id(connection, address.stack, scope)
        if isinstance(reader, Problem):
            return reader
        return _with_key(reader, _find_published(connection, address, scope, private=True))
    return _find_published(connection, address, scope, private=False)


def _one_is_secured(connection: Connection, stack: Stack, parent_stack: str) -> bool:
    """True if an overlay needs a token, because its own stack or the base image's stack is secured.

    `stack` is the overlay's stack, `parent_stack` the base image's stack.
    """
    parent = queries.stack_of(connection, parent_stack)
    return stack.secured or (parent is not None and parent.secured)


def _with_key(key: str, outcome: FoundVersion | Problem) -> FoundVersion | Problem:
    return replace(outcome, key=key) if isinstance(outcome, FoundVersion) else outcome


def _find_draft(connection: Connection, address: ContentstackUrl, scope: PublishScope) -> FoundVersion | Problem:
    """The version for a client with a management token: the published version, else an unpublished version."""
    published = _find_published(connection, address, scope, private=True)
    if isinstance(published, FoundVersion):
        return published
    return _find_published(connection, address, replace(scope, environment=None), private=True)


def _find_published(
    connection: Connection, address: ContentstackUrl, scope: PublishScope, *, private: bool
) -> FoundVersion | Problem:
    """The addressed version, if it is published in the scope's environment.

    If the scope has no environment, the version need not be published.
    """
    environment = None
    if scope.environment is not None:
        environment = queries.environment_uid(connection, address.stack, scope.environment)
        if environment is None:
            return asset_not_found()
    row = connection.execute(_version_query(address, scope.branch, environment)).first()
    return _found_version(row, private=private) if row else asset_not_found()


def _version_query(address: ContentstackUrl, branch: str, environment: str | None) -> Select[Any]:
    """A query for the addressed version. It returns no row if the version is absent.

    With `environment`, the version must be published there. A version that is addressed by `file` may be an older one:
    it must have been published there once, and the asset must still be published.
    """
    query = (
        select(versions, assets.c.stack)
        .join(assets, assets.c.uid == versions.c.asset)
        .where(assets.c.uid == address.asset, assets.c.stack == address.stack, assets.c.branch == branch)
    )
    if address.slug is not None:
        query = query.where(assets.c.slug == address.slug)
    if address.file is not None:
        query = query.where(versions.c.file_uid == address.file)
    if environment is None:
        return query if address.file else query.where(versions.c.number == assets.c.version)
    here = and_(publications.c.asset == assets.c.uid, publications.c.environment == environment)
    if address.file is None:
        return query.join(publications, and_(here, publications.c.version == versions.c.number)).order_by(
            publications.c.n.desc()
        )
    # The URL of an older file stays valid while the asset is published: existing pages still have it.
    past = and_(published.c.asset == assets.c.uid, published.c.environment == environment)
    return query.join(publications, here).join(published, and_(past, published.c.version == versions.c.number))


def _file_query(address: KontentUrl, *, allow_secured: bool = False) -> Select[Any]:
    query = (
        select(versions, assets.c.stack, stacks.c.secured)
        .join(assets, assets.c.uid == versions.c.asset)
        .join(stacks, stacks.c.api_key == assets.c.stack)
        .where(versions.c.file_id == address.file, stacks.c.kontent_id == address.stack)
    )
    return query if allow_secured else query.where(stacks.c.secured.is_(False))


def _found_version(row: Any, *, private: bool) -> FoundVersion:  # a row of versions, with its stack
    return FoundVersion(
        row.stack, row.asset, row.file_uid, row.digest, row.bytes, row.created_ms, private, media_type=row.media_type
    )


def _management_key_id(connection: Connection, stack: str, scope: PublishScope) -> str | None:
    """The id of the client's management token; None if the client sent no token that is valid for the stack."""
    row = _key_row(connection, KeyKind.MANAGEMENT, scope.management_token) if scope.management_token else None
    return row.id if row is not None and row.stack in (None, stack) else None


def _key_row(connection: Connection, kind: KeyKind, secret: str) -> Any:  # a row of keys, or None
    digest = digest_of(secret)
    row = connection.execute(select(keys).where(keys.c.digest == digest, keys.c.kind == kind.value)).first()
    return row if row is not None and hmac.compare_digest(row.digest, digest) else None


def _delivery_key_id(connection: Connection, stack: str, scope: PublishScope) -> str | Problem:
    """The id of the client's delivery token, or a Problem if the token does not permit the delivery."""
    if not scope.token:
        return Unauthorized("a delivery token is required", fix="add access_token=…", parameter="access_token")
    row = _key_row(connection, KeyKind.DELIVERY, scope.token)
    if row is None or row.stack not in (None, stack):
        return Unauthorized(
            "the delivery token is not valid", fix="use a token of this stack", parameter="access_token"
        )
    if scope.environment is None:
        return Forbidden("secured assets need an environment", fix="add environment=…", parameter="environment")
    token = KeyScope(row.stack, tuple(json.loads(row.environments)))
    if not token.allows_environment(scope.environment, queries.environments_of(connection, stack)):
        return Forbidden(
            "the delivery token is for another environment", fix="use the token's environment", parameter="environment"
        )
    key_id: str = row.id
    return key_id
