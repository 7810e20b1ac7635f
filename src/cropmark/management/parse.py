"""Reads the bodies of management requests. All functions raise InvalidField, which names the invalid field."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from cropmark.management.request import InvalidField, ManagementRequest
from cropmark.model.assets import MAX_LOCALE_CHARS, MAX_NAME_CHARS, AssetChanges, PublishRequest
from cropmark.model.text import is_valid_text
from cropmark.ports import Library

ROOT: Final = "cs_root"
_MAX_DESCRIPTION: Final = 10_000
_MAX_TAGS: Final = 100


def read_object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The JSON object in the member `name` of the body."""
    found = body.get(name)
    if not isinstance(found, Mapping):
        raise InvalidField(f"expected an object named {name}", fix=f'send {{"{name}": {{…}}}}', parameter=name)
    return found


def read_changes(body: Mapping[str, Any]) -> AssetChanges:
    """The new values of an asset's editable fields. Other fields are ignored, because SDKs send them back unchanged."""
    asset = body.get("asset")
    if not isinstance(asset, Mapping):
        return AssetChanges()
    parent = asset.get("parent_uid")
    to_top = "parent_uid" in asset and parent in (None, "", ROOT)
    return AssetChanges(
        title=read_text(asset["title"], "title", MAX_NAME_CHARS) if asset.get("title") else None,
        description=read_text(asset.get("description"), "description", _MAX_DESCRIPTION, least=0)
        if asset.get("description") is not None
        else None,
        tags=_tags(asset["tags"]) if asset.get("tags") is not None else None,
        parent_uid=None if to_top or parent is None else read_text(parent, "parent_uid", 64),
        to_top=to_top,
    )


def _tags(value: object) -> tuple[str, ...]:
    """The tags in a list, or in the comma-separated text that forms send."""
    words = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
    if not isinstance(words, list) or len(words) > _MAX_TAGS:
        raise InvalidField(f"expected a list of at most {_MAX_TAGS} tags", parameter="tags")
    return tuple(read_text(word, "tags", MAX_NAME_CHARS) for word in words if word != "")


def read_version_name(body: Mapping[str, Any]) -> str:
    """The name for a version, from `_version_name` in `asset`, in `upload` or in the body itself.

    The vendor's page puts it in `asset`, the example of its Python SDK in `upload`.
    """
    inner = next((body[name] for name in ("asset", "upload") if isinstance(body.get(name), Mapping)), body)
    return read_text(inner.get("_version_name"), "_version_name", MAX_NAME_CHARS)


def read_slug(request: ManagementRequest) -> str | None:
    """The last path segment of the permanent URL in the body; None if the body has no permanent URL."""
    asset = request.body.get("asset")
    url = asset.get("permanent_url") if isinstance(asset, Mapping) else None
    if not url:
        return None
    parts = urlsplit(read_text(url, "permanent_url", 2048)).path.split("/")
    slug = unquote(parts[-1], errors="surrogateescape")
    if (
        parts[-4:-1] != ["assets", request.branch.stack, request.path_values.get("uid")]
        or slug in (".", "..")
        or "/" in slug
    ):
        slug = ""  # the URL is of another asset, or the slug is not a single path segment
    try:
        return read_text(slug, "permanent_url", MAX_NAME_CHARS)
    except InvalidField as error:
        raise InvalidField(
            "expected this asset's permanent URL",
            fix="write …/v3/assets/{api key}/{uid}/{at most 255 characters}",
            parameter="permanent_url",
        ) from error


def read_publishing(library: Library, request: ManagementRequest) -> PublishRequest:
    asset = read_object(request.body, "asset")
    version = request.body.get("version", asset.get("version"))
    names = _names(asset, "environments")
    if request.strict_environments:
        known = {n for e in library.environments(request.branch.stack) for n in (e.name, e.uid)}
        if missing := [name for name in names if name not in known]:
            raise InvalidField(f"expected a known environment, got {missing[0]!r}", parameter="environments")
    at = request.body.get("scheduled_at") or None
    return PublishRequest(
        names,
        _names(asset, "locales"),
        None if version is None else read_int(version, "version"),
        None if at is None else _unix_ms(at),
    )


def _names(asset: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = asset.get(name)
    if not isinstance(found, list) or not 0 < len(found) <= _MAX_TAGS:
        raise InvalidField(f"expected a list of {name}", fix=f'send {{"asset": {{"{name}": […]}}}}', parameter=name)
    return tuple(read_text(one, name, MAX_NAME_CHARS if name == "environments" else MAX_LOCALE_CHARS) for one in found)


def read_text(value: object, name: str, most: int, *, least: int = 1) -> str:
    """`value` itself, if it is a text of `least` to `most` characters that the database can store.

    `name` is the field for the error message.
    """
    if not isinstance(value, str) or not least <= len(value.strip()) or len(value) > most:
        raise InvalidField(f"{name}: expected a text of {least} to {most} characters", parameter=name)
    if not is_valid_text(value):
        raise InvalidField(f"{name}: expected text without NUL and lone surrogates", parameter=name)
    return value


def read_int(value: object, name: str, *, least: int = 1, most: int = 2**31 - 1) -> int:
    try:
        found = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    except ValueError:  # more digits than int() converts
        found = None
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise InvalidField(f"{name}: expected a whole number of {least} or more", parameter=name)
    return found


def _unix_ms(value: object) -> int:
    """The Unix time, in milliseconds, of an ISO 8601 text. A text without a time zone is in UTC."""
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
        return int(found.replace(tzinfo=found.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise InvalidField(
            "scheduled_at: expected a time", fix="write 2026-11-21T10:00:00.000Z", parameter="scheduled_at"
        ) from error
