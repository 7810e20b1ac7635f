"""Reads an export by Contentstack's command line (`csdx cm:stacks:export`), with or without older versions.

Layout, in the export's folder or in the folder of a branch:
    assets/assets.json                       {"1": "….json", …}: the names of the files that list the assets
    assets/versions/versioned-assets.json    the same for older versions, if they were exported
    assets/files/{asset}/{file name}         the bytes
    assets/folders.json, environments/environments.json
Before 2023, assets.json itself lists the assets, and the bytes are in assets/{asset}/{file name}.
Source: https://github.com/contentstack/cli/tree/main/packages/contentstack-export
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

from cropmark.library.bulk_import import open_file
from cropmark.library.exports import (
    ExportedAsset,
    ExportedFolder,
    ExportedPublication,
    ExportedVersion,
    UnreadableEntry,
    delivery_url,
    json_values,
    long_text_of,
    safe_file,
    text_of,
    unix_ms_of,
)
from cropmark.model.assets import FILE_UID, UID
from cropmark.model.problems import BadRequest
from cropmark.ports import OpenSource

_PATH: Final = re.compile(
    rf"/(?P<path>v3/assets/(?P<stack>{UID.pattern})/(?P<asset>{UID.pattern})/(?P<file>{FILE_UID.pattern})/[^/]+)"
)
_LENGTH: Final = re.compile("[0-9]{1,18}")
_MAX_VERSION: Final = 2**31 - 1
"""Largest number that the database's column of versions can have."""


class ContentstackExport:
    """The files of a Contentstack export. Implements exports.Export."""

    kontent_id: None = None

    def __init__(self, folder: Path, branch: str) -> None:
        """Open the export in `folder`, or in its subfolder `branch`. Raises BadRequest if neither contains assets."""
        self._root = next((at for at in (folder, folder / branch) if (at / "assets" / "assets.json").is_file()), None)
        if self._root is None:
            raise BadRequest(
                f"{folder} has no assets/assets.json", fix="name the folder that csdx cm:stacks:export wrote"
            )
        self._assets = self._root / "assets"
        older = self._indexed(self._assets / "versions", "versioned-assets.json")
        self._older: dict[str, dict[int, dict[str, Any]]] = {}
        """The entries of older versions, by the asset's uid and the number."""
        for entry in older:
            self._older.setdefault(text_of(entry.get("uid")), {})[_number(entry.get("_version"))] = entry
        self.environments = self._environments()
        self.api_key = next((url["stack"] for asset in self._entries() if (url := delivery_url(asset, _PATH))), None)

    def folders(self) -> Iterator[ExportedFolder]:
        found = {entry["uid"]: entry for entry in self._values(self._assets / "folders.json") if _is_folder(entry)}
        done: set[str] = set()

        def with_parents(uid: str, above: frozenset[str]) -> Iterator[ExportedFolder]:
            parent: str | None = text_of(found[uid].get("parent_uid"))
            parent = parent if parent in found and parent not in above else None
            if uid in done:
                return
            if parent is not None:
                yield from with_parents(parent, above | {uid})
            done.add(uid)
            yield ExportedFolder(uid, text_of(found[uid].get("name"), uid), parent)

        for uid in found:
            yield from with_parents(uid, frozenset())

    def assets(self) -> Iterator[ExportedAsset | UnreadableEntry]:
        for entry in self._entries():
            yield self._asset(entry)

    # ------------------------------------------------------------------------------------------ entries

    def _asset(self, entry: dict[str, Any]) -> ExportedAsset | UnreadableEntry:
        uid, newest = text_of(entry.get("uid")), _number(entry.get("_version"))
        if not UID.fullmatch(uid):
            return UnreadableEntry(uid or "an asset", "expected a uid such as blt0123456789abcdef")
        if newest > _MAX_VERSION:
            return UnreadableEntry(uid, f"expected a version number up to {_MAX_VERSION}")
        older = [entry for number, entry in sorted(self._older.get(uid, {}).items()) if number < newest]
        versions = [self._version(uid, one, [*older, entry]) for one in [*older, entry]]
        unreadable = next((one for one in versions if isinstance(one, UnreadableEntry)), None)
        if unreadable is not None:
            return unreadable
        return ExportedAsset(
            uid=uid,
            origin=f"contentstack:{uid}",
            title=text_of(entry.get("title"), text_of(entry.get("filename"), uid)),
            description=long_text_of(entry.get("description")),
            tags=tuple(tag for tag in map(text_of, _list(entry.get("tags"))) if tag),
            parent_uid=text_of(entry.get("parent_uid")) or None,
            slug=_slug(entry.get("permanent_url")),
            versions=tuple(one for one in versions if isinstance(one, ExportedVersion)),
            publications=tuple(map(_publication, filter(_is_publication, _list(entry.get("publish_details"))))),
        )

    def _version(
        self, uid: str, entry: dict[str, Any], all_: Sequence[dict[str, Any]]
    ) -> ExportedVersion | UnreadableEntry:
        """Read one version of an asset. `all_` has the entries of all versions of the asset."""
        url, filename = delivery_url(entry, _PATH), entry.get("filename")
        if url is None or url["asset"] != uid or url["stack"] != self.api_key:
            return UnreadableEntry(uid, f"expected a URL with the ids of {self.api_key} and the asset")
        opener = self._opener(uid, filename if isinstance(filename, str) else "", _sharing(entry, all_))
        if opener is None:
            return UnreadableEntry(uid, "its file name is not usable")
        return ExportedVersion(
            number=_number(entry.get("_version")),
            path=url["path"],
            filename=text_of(filename),
            open_file=opener,
            file_uid=url["file"],
            bytes=_size(entry),
            created_ms=unix_ms_of(entry.get("updated_at")) or unix_ms_of(entry.get("created_at")),
            created_by=text_of(entry.get("updated_by")),
        )

    def _opener(self, uid: str, filename: str, sharing: Sequence[int]) -> Callable[[], OpenSource] | None:
        """A function that opens the file of a version; None if the file's name is not usable.

        Versions of an asset with the same file name share one file in the export, which has the bytes of only one
        version. The file's length shows which version it is. `sharing` has the numbers of versions with different file
        uids that the length cannot distinguish. If there are any, the returned function raises OSError and none of them
        is imported.
        """
        path = safe_file(self._assets / "files", uid, filename)
        old = safe_file(self._assets, uid, filename)
        if path is None or old is None:
            return None
        return partial(_open, path, old, sharing)

    def _entries(self) -> Iterator[dict[str, Any]]:
        return (entry for entry in self._indexed(self._assets, "assets.json") if not entry.get("is_dir"))

    def _environments(self) -> dict[str, str]:
        assert self._root is not None
        found = self._values(self._root / "environments" / "environments.json")
        return {
            one["uid"]: text_of(one.get("name"))
            for one in found
            if isinstance(one, dict)
            and isinstance(one.get("uid"), str)
            and UID.fullmatch(one["uid"])
            and one.get("name")
        }

    # ------------------------------------------------------------------------------------------ files

    def _indexed(self, folder: Path, index: str) -> Iterator[dict[str, Any]]:
        """The entries of all files that an index file names. Before 2023, the index itself contains the entries."""
        for value in self._values(folder / index):
            if isinstance(value, dict):
                yield value
            elif isinstance(value, str) and (path := safe_file(folder, value)) is not None:
                yield from (entry for entry in self._values(path) if isinstance(entry, dict))

    @staticmethod
    def _values(path: Path) -> Iterator[Any]:
        if path.is_file():
            with path.open(encoding="utf-8", errors="replace") as file:
                yield from json_values(file, str(path))


def _sharing(entry: dict[str, Any], all_: Sequence[dict[str, Any]]) -> list[int]:
    """The numbers of the versions that the entry's file may belong to.

    Empty if the file certainly is the entry's own.
    """
    found = [one for one in all_ if one.get("filename") == entry.get("filename")]
    found = [one for one in found if None in (sizes := (_size(one), _size(entry))) or sizes[0] == sizes[1]]
    files = {url["file"] for one in found if (url := delivery_url(one, _PATH))}
    return [_number(one.get("_version")) for one in found] if len(files) > 1 else []


def _open(path: Path, old: Path, sharing: Sequence[int]) -> OpenSource:
    if sharing:
        numbers = " and ".join(map(str, sharing))
        raise OSError(f"the export has one file for the versions {numbers}; export without versions")
    return open_file(old if old.is_file() else path)


def _size(entry: dict[str, Any]) -> int | None:
    size = str(entry.get("file_size"))
    return int(size) if _LENGTH.fullmatch(size) else None


def _slug(url: Any) -> str | None:
    """The last segment of a permanent URL; None if the asset has no permanent URL."""
    slug = unquote(url.rpartition("/")[2]) if isinstance(url, str) else ""
    return text_of(slug) or None


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_folder(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("uid"), str) and bool(UID.fullmatch(entry["uid"]))


def _is_publication(details: Any) -> bool:
    return isinstance(details, dict) and isinstance(details.get("environment"), str)


def _publication(details: dict[str, Any]) -> ExportedPublication:
    return ExportedPublication(
        environment=text_of(details["environment"]),
        locale=text_of(details.get("locale"), "en-us")[:64],
        version=_number(details.get("version")),
        at_ms=unix_ms_of(details.get("time")),
        by=text_of(details.get("user")),
    )
