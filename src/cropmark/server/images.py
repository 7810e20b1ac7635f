"""Lists the images that the playground offers: those in a site's folder or in the library."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cropmark.dialects.kontent.dialect import Kontent
from cropmark.model.assets import MAIN_BRANCH, Asset, AssetFilter, BranchRef, Listing, Stack
from cropmark.model.problems import DatabaseUnavailable
from cropmark.plan.source import SitePath
from cropmark.sources.files import FolderSource
from cropmark.sources.site import SiteSource
from cropmark.web.admin_context import ImageList, ListedImage
from cropmark.web.site import Site

if TYPE_CHECKING:
    from cropmark.library.service import LibraryService
    from cropmark.library.store import LibraryStore

_MAX_FOLDER_IMAGES = 10_000
_Newest = tuple[list[tuple[Stack, Asset]], int]
"""Images of the library with their stacks, and the number of all its images."""


class SiteImages:
    """Lists the images of sites for the playground. Implements web.admin_context.ImageLists."""

    def __init__(self, library: LibraryService | None) -> None:
        self._library = library

    async def of(self, sites: Sequence[Site], limit: int) -> list[ImageList | None]:
        """One list of at most `limit` images per site.

        None for an origin, for a bucket, and for a library that does not respond. Each folder is read only once, and so
        is the library. Assets of secured stacks are left out, because their URLs need a token.
        """
        folders = {folder.root: folder for site in sites if (folder := _folder_of(site)) is not None}
        lists = {root: await _folder_images(folder, limit) for root, folder in folders.items()}
        newest = await self._newest(limit) if any(map(self._is_of_library, sites)) else None
        return [self._images(site, lists, newest) for site in sites]

    def _is_of_library(self, site: Site) -> bool:
        return self._library is not None and site.source is self._library.source

    def _images(self, site: Site, lists: Mapping[Path, ImageList], newest: _Newest | None) -> ImageList | None:
        if self._is_of_library(site):
            return None if newest is None else _library_images(newest, site.dialect.name)
        folder = _folder_of(site)
        return None if folder is None else lists[folder.root]

    async def _newest(self, limit: int) -> _Newest | None:
        assert self._library is not None
        store = self._library.store
        try:
            return await self._library.read(lambda _: _newest(store, limit))
        except DatabaseUnavailable:
            return None


def _folder_of(site: Site) -> FolderSource | None:
    folder = site.source.reader_of(SitePath) if isinstance(site.source, SiteSource) else None
    return folder if isinstance(folder, FolderSource) else None


async def _folder_images(folder: FolderSource, limit: int) -> ImageList:
    paths = await asyncio.to_thread(folder.images, _MAX_FOLDER_IMAGES)
    listed = tuple(ListedImage(path, path) for path in paths[:limit])
    return ImageList(listed, len(paths), f"the folder {folder.root.name}")


def _library_images(newest: _Newest, dialect: str) -> ImageList:
    found, total = newest
    return ImageList(tuple(_listed(asset, stack, dialect) for stack, asset in found), total, "the library")


def _newest(store: LibraryStore, limit: int) -> _Newest:
    """The `limit` images that changed last, with their stacks, and the number of all images. Skips secured stacks."""
    found, total = [], 0
    listing = Listing(AssetFilter.IMAGES, limit=limit, with_count=True)
    for stack in store.stacks():
        if not stack.secured:
            page = store.list_entries(BranchRef(stack.api_key, MAIN_BRANCH), listing)
            found += [(stack, item) for item in page.items if isinstance(item, Asset)]
            total += page.count or 0
    found.sort(key=lambda each: each[1].entry.updated_ms, reverse=True)
    return found[:limit], total


def _listed(asset: Asset, stack: Stack, dialect: str) -> ListedImage:
    """The asset with its path in URLs of the dialect."""
    version, title = asset.version, asset.entry.title
    if dialect == Kontent.name:
        return ListedImage(f"{stack.kontent_id}/{version.file_id}/{version.file.filename}", title)
    path = f"v3/assets/{stack.api_key}/{asset.uid}/{version.file_uid}/{version.file.filename}"
    names = [each.environment_name for each in asset.publications if each.version == version.number]
    return ListedImage(path, title, (("environment", names[0]),) if names else ())
