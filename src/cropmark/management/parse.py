"""What the bodies of calls say. Everything raises Unacceptable with the field that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from cropmark.management.request import ManagementRequest, Unprocessable
from cropmark.model.assets import MAX_LOCALE_CHARS, MAX_NAME_CHARS, Changes, Publishing
from cropmark.ports import Library

ROOT: Final = "cs_root"
_MAX_DESCRIPTION: Final = 10_000
_MAX_TAGS: Final = 100


def member(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object within the body."""
    found = body.get(name)
    if not isinstance(found, Mapping):
        raise Unprocessable(f"expected an object named {name}", fix=f'send {{"{name}": {{…}}}}', parameter=name)
    return found


def read_changes(body: Mapping[str, Any]) -> Changes:
    """What is said of an asset; whatever else an SDK sends back with it is not ours to set."""
    asset = body.get("asset")
    if not isinstance(asset, Mapping):
        return Changes()
    parent = asset.get("parent_uid")
    to_top = "parent_uid" in asset and parent in (None, "", ROOT)
    return Changes(
        title=text_of(asset["title"], "title", MAX_NAME_CHARS) if asset.get("title") else None,
        description=text_of(asset.get("description"), "description", _MAX_DESCRIPTION, least=0)
        if asset.get("description") is not None
        else None,
        tags=_tags(asset["tags"]) if asset.get("tags") is not None else None,
        parent_uid=None if to_top or parent is None else text_of(parent, "parent_uid", 64),
        to_top=to_top,
    )


def _tags(value: object) -> tuple[str, ...]:
    """A list, or a comma list as forms have it."""
    words = [word.strip() for word in value.split(",")] if isinstance(value, str) else value
    if not isinstance(words, list) or len(words) > _MAX_TAGS:
        raise Unprocessable(f"expected a list of at most {_MAX_TAGS} tags", parameter="tags")
    return tuple(text_of(word, "tags", MAX_NAME_CHARS) for word in words if word != "")


def read_version_name(body: Mapping[str, Any]) -> str:
    """The page has it in `asset`, the Python SDK's example in `upload`."""
    inner = next((body[name] for name in ("asset", "upload") if isinstance(body.get(name), Mapping)), body)
    return text_of(inner.get("_version_name"), "_version_name", MAX_NAME_CHARS)


def read_slug(call: ManagementRequest) -> str | None:
    """The last part of a permanent URL that is to be set."""
    asset = call.body.get("asset")
    url = asset.get("permanent_url") if isinstance(asset, Mapping) else None
    if not url:
        return None
    parts = urlsplit(text_of(url, "permanent_url", 2048)).path.split("/")
    slug = unquote(parts[-1], errors="surrogateescape")
    if parts[-4:-1] != ["assets", call.place.stack, call.names.get("uid")] or slug in (".", "..") or "/" in slug:
        slug = ""  # one of another asset, or one that no request can ask for
    try:
        return text_of(slug, "permanent_url", MAX_NAME_CHARS)
    except Unprocessable as error:
        raise Unprocessable(
            "expected this asset's permanent URL",
            fix="write …/v3/assets/{api key}/{uid}/{at most 255 characters}",
            parameter="permanent_url",
        ) from error


def read_publishing(library: Library, call: ManagementRequest) -> Publishing:
    asset = member(call.body, "asset")
    version = call.body.get("version", asset.get("version"))
    names = _names(asset, "environments")
    if call.strict:
        known = {n for e in library.environments(call.place.stack) for n in (e.name, e.uid)}
        if missing := [name for name in names if name not in known]:
            raise Unprocessable(f"there is no environment {missing[0]!r}", parameter="environments")
    at = call.body.get("scheduled_at") or None
    return Publishing(
        names,
        _names(asset, "locales"),
        None if version is None else whole_of(version, "version"),
        None if at is None else _ms(at),
    )


def _names(asset: Mapping[str, Any], name: str) -> tuple[str, ...]:
    found = asset.get(name)
    if not isinstance(found, list) or not 0 < len(found) <= _MAX_TAGS:
        raise Unprocessable(f"expected a list of {name}", fix=f'send {{"asset": {{"{name}": […]}}}}', parameter=name)
    return tuple(text_of(one, name, MAX_NAME_CHARS if name == "environments" else MAX_LOCALE_CHARS) for one in found)


def text_of(value: object, name: str, most: int, *, least: int = 1) -> str:
    """A text that a database can hold."""
    if not isinstance(value, str) or not least <= len(value.strip()) or len(value) > most or "\0" in value:
        raise Unprocessable(f"{name}: expected a text of {least} to {most} characters", parameter=name)
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unprocessable(f"{name}: expected a text of whole characters", parameter=name) from error
    return value


def whole_of(value: object, name: str, *, least: int = 1, most: int = 2**31 - 1) -> int:
    try:
        found = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    except ValueError:  # more digits than Python reads
        found = None
    if not isinstance(found, int) or isinstance(found, bool) or not least <= found <= most:
        raise Unprocessable(f"{name}: expected a whole number of {least} or more", parameter=name)
    return found


def _ms(value: object) -> int:
    """Unix milliseconds of a time in ISO 8601; without a zone, of UTC."""
    try:
        found = datetime.fromisoformat(value if isinstance(value, str) else "")
        return int(found.replace(tzinfo=found.tzinfo or UTC).timestamp() * 1000)
    except (ValueError, OverflowError) as error:
        raise Unprocessable(
            "scheduled_at: expected a time", fix="write 2026-11-21T10:00:00.000Z", parameter="scheduled_at"
        ) from error
