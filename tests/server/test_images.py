"""The images that the playground offers for a site: those of its folder, or of the library at the site's URLs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import Dialect
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.library.service import LibraryService
from cropmark.library.store import LibraryStore
from cropmark.model.assets import BranchRef
from cropmark.plan.source import SitePath, WebUrl
from cropmark.ports import Source
from cropmark.server.images import SiteImages
from cropmark.sources.files import FolderSource
from cropmark.sources.site import SiteSource
from cropmark.web.admin_context import ListedImage
from cropmark.web.site import Site
from tests.builders import encode
from tests.library.builders import PRODUCTION, add_asset


async def ignore(named: str) -> None:
    """Nothing is cached."""


@pytest.fixture
async def library(tmp_path: Path) -> AsyncIterator[LibraryService]:
    service = LibraryService(LibraryStore.open(tmp_path / "library"), poll_interval_s=3600)
    await service.start(ignore)
    yield service
    await service.close()


def site(source: Source, dialect: Dialect | None = None) -> Site:
    return Site("site", dialect or Contentstack(), source)


async def test_images_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.png", "notes.txt", "c.webp"):
        (tmp_path / name).write_bytes(encode(Image.new("RGB", (1, 1)), "JPEG") if name != "notes.txt" else b"x")
    source = SiteSource({SitePath: FolderSource(tmp_path)})
    (found,) = await SiteImages(None).of([site(source)], 2)
    assert found is not None
    assert [each.path for each in found.images] == ["a.png", "b.jpg"]
    assert (found.total, found.place) == (3, f"the folder {tmp_path.name}")


async def test_a_folder_of_several_sites_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(Image.new("RGB", (1, 1)), "JPEG"))
    read: list[Path] = []
    images = FolderSource.images

    def noted(folder: FolderSource, limit: int) -> list[str]:
        read.append(folder.root)
        return images(folder, limit)

    monkeypatch.setattr(FolderSource, "images", noted)
    sites = [site(SiteSource({SitePath: FolderSource(tmp_path, name=name)})) for name in ("one", "two")]
    first, second = await SiteImages(None).of(sites, 2)
    assert first == second
    assert first is not None
    assert read == [tmp_path]


async def test_an_origin_cannot_be_listed(tmp_path: Path) -> None:
    source = SiteSource({WebUrl: FolderSource(tmp_path)}, origin="https://a.example")
    assert await SiteImages(None).of([site(source)], 2) == [None]


async def test_images_of_the_library_have_the_path_of_the_dialect(library: LibraryService) -> None:
    store = library.store
    stack = store.new_stack("shop")
    draft = add_asset(store, BranchRef(stack.api_key), b"one", "a b.jpg")
    shown = add_asset(store, BranchRef(stack.api_key), b"two", publishing=PRODUCTION)
    add_asset(store, BranchRef(store.new_stack("secret", secured=True).api_key), b"three")
    images = SiteImages(library)
    (found,) = await images.of([site(library.source)], 60)
    assert found is not None
    prefix = f"v3/assets/{stack.api_key}"
    assert set(found.images) == {
        ListedImage(
            f"{prefix}/{shown.uid}/{shown.version.file_uid}/owl.jpg", "owl.jpg", (("environment", "production"),)
        ),
        ListedImage(f"{prefix}/{draft.uid}/{draft.version.file_uid}/a b.jpg", "a b.jpg"),
    }
    assert (found.total, found.place) == (2, "the library")
    (first,) = await images.of([site(library.source, Kontent())], 1)
    assert first is not None
    assert (len(first.images), first.total) == (1, 2)
    assert first.images[0].path.startswith(f"{stack.kontent_id}/")
    for listed in (*found.images, *first.images):
        (await library.source.open(SitePath(listed.path))).close()


async def test_a_library_that_does_not_respond_is_not_listed(library: LibraryService) -> None:
    for _ in range(10):
        library.source.lookups.poll_failed()
    assert not library.source.lookups.reachable
    assert await SiteImages(library).of([site(library.source)], 60) == [None]
