"""Reads a backup by Kontent.ai's command line (`data-ops environment backup`): its ZIP file, or an unpacked folder.

    assets.json                         a list of assets
    assets/{asset id}-{file name}       the bytes
    assetFolders.json                   the folders

An asset has one file and no environments. The first id in an asset's URL identifies the environment that was backed up.

Source: https://github.com/kontent-ai/data-ops/tree/main/src/modules/backupRestore
"""

from __future__ import annotations

import io
import lzma
import os
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from cropmark.library.bulk_import import open_file
from cropmark.library.exports import (
    ExportedAsset,
    ExportedFolder,
    ExportedVersion,
    UnreadableEntry,
    delivery_url,
    json_values,
    long_text_of,
    safe_file,
    text_of,
    unix_ms_of,
)
from cropmark.model.assets import UUID
from cropmark.model.problems import BadRequest
from cropmark.model.text import clean_text
from cropmark.ports import OpenSource, SourceVersion

_PATH: Final = re.compile(rf"/(?P<path>(?P<environment>{UUID.pattern})/(?P<file>{UUID.pattern})/[^/]+)", re.IGNORECASE)
_UNREADABLE: Final = (
    KeyError,
    zipfile.BadZipFile,
    EOFError,
    OSError,  # of bzip2: without an errno
    zlib.error,
    lzma.LZMAError,
    MemoryError,  # LZMA names its memory in the file
    ValueError,
    RuntimeError,
)
"""Errors for a member of a ZIP file that is absent, damaged, encrypted, or compressed by an unsupported method."""


class KontentExport:
    """The files of a Kontent.ai backup. Implements exports.Export. The caller closes the export."""

    api_key: None = None

    def __init__(self, path: Path) -> None:
        """Open the backup at a path: a ZIP file or a folder. Raises BadRequest if the path is not a backup."""
        self.environments = MappingProxyType[str, str]({})
        self._folder = path if path.is_dir() else None
        try:
            self._zip = None if path.is_dir() else zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise BadRequest(f"{path} is not a ZIP file", fix="name a backup of data-ops") from error
        if not self._has("assets.json"):
            raise BadRequest(f"{path} has no assets.json", fix="name a backup of data-ops environment backup")
        self.kontent_id = next(
            (url["environment"].lower() for entry in self._entries() if (url := delivery_url(entry, _PATH))), None
        )

    def close(self) -> None:
        """Close the ZIP file."""
        if self._zip is not None:
            self._zip.close()

    def folders(self) -> Iterator[ExportedFolder]:
        if not self._has("assetFolders.json"):
            return
        folders: list[tuple[Any, str | None]] = []
        for value in self._values("assetFolders.json"):  # of an object with the list `folders`, or of the list
            folders += [(one, None) for one in (value if isinstance(value, list) else [value])]
        while folders:
            folder, parent = folders.pop(0)
            if not isinstance(folder, dict) or not isinstance(folder.get("id"), str):
                continue
            uid = uid_of(folder["id"])
            yield ExportedFolder(uid, text_of(folder.get("name"), folder["id"]), parent)
            below = folder.get("folders")
            folders += [(one, uid) for one in below] if isinstance(below, list) else []

    def assets(self) -> Iterator[ExportedAsset | UnreadableEntry]:
        for entry in self._entries():
            yield self._asset(entry)

    def _asset(self, entry: dict[str, Any]) -> ExportedAsset | UnreadableEntry:
        id_, filename, url = text_of(entry.get("id")), entry.get("file_name"), delivery_url(entry, _PATH)
        if url is None or url["environment"].lower() != self.kontent_id:
            return UnreadableEntry(id_ or "an asset", f"expected a URL with the id of {self.kontent_id}")
        name = f"{id_}-{filename}"
        if not isinstance(filename, str) or safe_file(Path(), name) is None:
            return UnreadableEntry(id_, "its file name is not usable")
        folder, size = entry.get("folder"), entry.get("size")
        return ExportedAsset(
            uid=uid_of(id_),
            origin=f"kontent:{id_}",
            title=text_of(entry.get("title"), filename),
            description=_description(entry.get("descriptions")),
            tags=(),
            parent_uid=uid_of(folder["id"]) if isinstance(folder, dict) and isinstance(folder.get("id"), str) else None,
            slug=None,
            versions=(
                ExportedVersion(
                    number=1,
                    path=url["path"],
                    filename=text_of(filename),
                    open_file=partial(self._open, f"assets/{name}"),
                    file_id=url["file"].lower(),
                    bytes=size if isinstance(size, int) else None,
                    created_ms=unix_ms_of(entry.get("last_modified")),
                ),
            ),
        )

    # ------------------------------------------------------------------------------------------ files

    def _entries(self) -> Iterator[dict[str, Any]]:
        return (entry for entry in self._values("assets.json") if isinstance(entry, dict))

    def _values(self, name: str) -> Iterator[Any]:
        if self._zip is None:
            assert self._folder is not None
            with (self._folder / name).open(encoding="utf-8", errors="replace") as file:
                yield from json_values(file, name)
            return
        try:
            with self._zip.open(name) as packed, io.TextIOWrapper(packed, "utf-8", "replace") as file:
                yield from json_values(file, name)
        except _UNREADABLE as error:
            _reraise_if_of_the_system(error)
            raise BadRequest(f"{name} is absent or damaged in the ZIP file: {error}", fix="export again") from error

    def _has(self, name: str) -> bool:
        if self._zip is not None:
            return name in self._zip.NameToInfo
        assert self._folder is not None
        return (self._folder / name).is_file()

    def _open(self, name: str) -> OpenSource:
        """Open a file of the backup. Raises OSError, also if the file is damaged or encrypted in the ZIP file."""
        if self._zip is None:
            assert self._folder is not None
            return open_file(self._folder / name)
        with tempfile.TemporaryFile() as file:
            try:
                with self._zip.open(name) as packed:
                    shutil.copyfileobj(packed, file, 256 * 1024)
            except _UNREADABLE as error:
                _reraise_if_of_the_system(error)
                raise OSError(f"it is absent or damaged in the ZIP file: {error}") from error
            file.flush()
            descriptor = os.dup(file.fileno())
            return OpenSource.from_fd(descriptor, file.tell(), SourceVersion(f"import:{name}", ""))


def _reraise_if_of_the_system(error: Exception) -> None:
    """Raise the error again if the operating system caused it (a full disk), and not the content of the ZIP file."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def uid_of(id_: str) -> str:
    """The library's uid for a Kontent.ai asset or folder. The same id always gives the same uid."""
    return "blt" + sha256(clean_text(f"kontent:{id_}").encode()).hexdigest()[:16]


def _description(descriptions: Any) -> str:
    """The first description that is not empty, or an empty text."""
    found = descriptions if isinstance(descriptions, list) else []
    texts = (one.get("description") for one in found if isinstance(one, dict))
    return next(filter(None, map(long_text_of, texts)), "")
