"""Libraries and files for tests."""

from __future__ import annotations

import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from cropmark.library.keys import new_secret
from cropmark.library.store import LibraryStore
from cropmark.model.assets import Asset, AssetChanges, BranchRef, KeyKind, KeyScope, PublishRequest, Stack, UploadInfo
from cropmark.model.formats import Format
from cropmark.model.values import Size
from cropmark.ports import OpenSource, SourceVersion
from cropmark.server.library import LIBRARY_FOLDER

PRODUCTION = PublishRequest(("production",))
STAGING = PublishRequest(("staging",))


def open_source(body: bytes) -> OpenSource:
    """Bytes as an open file, closed by close()."""
    with tempfile.TemporaryFile() as file:
        file.write(body)
        file.flush()
        descriptor = os.dup(file.fileno())
    left = [descriptor]

    def close() -> None:
        if left:
            os.close(left.pop())

    return OpenSource(descriptor, len(body), SourceVersion("test:", ""), close)


def upload_info(name: str = "owl.jpg") -> UploadInfo:
    return UploadInfo(name, Format.JPEG, Size(4, 3))


def add_asset(
    store: LibraryStore,
    place: BranchRef,
    body: bytes,
    name: str = "owl.jpg",
    *,
    publishing: PublishRequest | None = None,
    changes: AssetChanges = AssetChanges(),  # noqa: B008 - frozen
    origin: str | None = None,
) -> Asset:
    """A new asset with these bytes."""
    source = open_source(body)
    try:
        return store.add(place, upload_info(name), source, changes, "tester", publishing=publishing, origin=origin)
    finally:
        source.close()


def replace_asset(
    store: LibraryStore,
    place: BranchRef,
    uid: str,
    body: bytes,
    name: str = "owl.jpg",
    *,
    changes: AssetChanges = AssetChanges(),  # noqa: B008 - frozen
) -> Asset:
    source = open_source(body)
    try:
        return store.replace(place, uid, upload_info(name), source, changes, "tester")
    finally:
        source.close()


def png(red: int = 200, size: tuple[int, int] = (40, 30)) -> bytes:
    """A small PNG."""
    out = io.BytesIO()
    Image.new("RGB", size, (red, 80, 40)).save(out, "PNG")
    return out.getvalue()


@dataclass(frozen=True, slots=True)
class Shop:
    """A data folder with a stack in its library, and a token to manage it with."""

    data: Path
    stack: Stack
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"api_key": self.stack.api_key, "authorization": self.token}

    @property
    def place(self) -> BranchRef:
        return BranchRef(self.stack.api_key)


def create_shop(data: Path, url: str = "", name: str = "shop") -> Shop:
    """A new one; `url` where its database is elsewhere."""
    store = LibraryStore.open(data / LIBRARY_FOLDER, url)
    try:
        stack = store.new_stack(name)
        token = new_secret(KeyKind.MANAGEMENT)
        store.new_key(KeyKind.MANAGEMENT, "tester", KeyScope(stack.api_key), token)
        return Shop(data, stack, token)
    finally:
        store.close()
