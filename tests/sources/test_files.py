"""The images of a folder: served and missing paths; nothing outside is opened."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.model.problems import SourceFailed, SourceNotFound
from cropmark.plan.source import SitePath, SourceRef, UploadRef, WebUrl
from cropmark.sources.files import FolderSource

JPEG = b"\xff\xd8\xff\xe0 picture"
SECRET = b"\xff\xd8\xff\xe0 not for you"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with images, next to folders that must not be served."""
    made = tmp_path / "pictures"
    for path in (
        "a.jpg",
        "sky/blue.jpg",
        "sky/%2e%2e.jpg",
        "%2e%2e/b.jpg",
        "ほし ü+&.jpg",
        "...",
        ".hidden/a.jpg",
        ".env",
    ):
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_bytes(JPEG)
    for path in ("secret.jpg", "pictures-of-others/a.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(SECRET)
    (made / "in.jpg").symlink_to("sky/blue.jpg")
    (made / "in").symlink_to("sky")
    (made / "absolute.jpg").symlink_to(made / "a.jpg")
    (made / "out.jpg").symlink_to("../secret.jpg")
    (made / "sibling").symlink_to(tmp_path / "pictures-of-others")
    (made / "sky/up").symlink_to("../..")
    (made / "loop").symlink_to("loop")
    (made / "round").symlink_to(".")
    (made / "dangling.jpg").symlink_to("none.jpg")
    (made / "proc.jpg").symlink_to("/proc/self/environ")
    (made / "zero.jpg").symlink_to("/dev/zero")
    os.mkfifo(made / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(made / "socket.jpg"))
    return made


async def read(source: FolderSource, path: str) -> bytes:
    opened = await source.open(SitePath(path))
    try:
        return os.pread(opened.descriptor, 1_000, 0)
    finally:
        opened.close()


# fmt: off
SERVED = [
    "a.jpg",
    "sky/blue.jpg",
    "sky/%2e%2e.jpg",     # decoded once: the rest is part of the name
    "%2e%2e/b.jpg",
    "ほし ü+&.jpg",
    "in.jpg",             # links that stay inside
    "in/blue.jpg",
    "absolute.jpg",
    "round/round/a.jpg",
    "/a.jpg", "sky//blue.jpg", "//sky///blue.jpg",   # several slashes are one
]

MISSING = [
    "none.jpg", "sky/none.jpg", "a.jpg/b.jpg",
    "", "/", "//", "sky", "sky/", "sky//", "a.jpg/", "a.jpg//",
    "..", ".", "...", "../secret.jpg", "sky/../a.jpg", "./a.jpg", "sky/./blue.jpg", "sky/../../secret.jpg",
    "..\\secret.jpg", "sky\\blue.jpg", "a.jpg\0", "a.jpg\0.png", "\0",
    "%2e%2e/secret.jpg", "%2e%2e%2fsecret.jpg", "..%2fsecret.jpg", "%252e%252e/secret.jpg", "..;/secret.jpg",
    "../pictures-of-others/a.jpg", "sibling/a.jpg",
    ".env", ".hidden/a.jpg", "sky/.hidden", ".git/config",
    "out.jpg", "sky/up/secret.jpg", "loop", "dangling.jpg",
    "proc.jpg", "zero.jpg", "fifo.jpg", "socket.jpg", "round",
    "x" * 256, "x" * 5_000, "x/" * 3_000 + "x",
    "a.jpg\ud800", "\udcff.jpg", "\udc2e\udc2e/secret.jpg",
    "/etc/passwd", "~/a.jpg", "C:\\a.jpg", "file:///etc/passwd", "//secret.jpg",
]
# fmt: on


@pytest.mark.parametrize("path", SERVED)
async def test_a_path_to_a_file_inside_is_served(root: Path, path: str) -> None:
    assert await read(FolderSource(root), path) == JPEG


@pytest.mark.parametrize("path", MISSING)
async def test_any_other_path_is_missing_without_detail_check_22(root: Path, path: str) -> None:
    async with asyncio.timeout(5):  # opening a FIFO could wait for its writer
        with pytest.raises(SourceNotFound) as caught:
            await FolderSource(root).open(SitePath(path))
    assert str(caught.value) == "the image does not exist"
    assert caught.value.__cause__ is None


# fmt: off
SPELLINGS = [
    # the file's path              other paths to it
    ("caf\u00e9.jpg",              ["cafe\u0301.jpg"]),
    ("cafe\u0301.jpg",             ["caf\u00e9.jpg"]),
    ("\u00fc/Bru\u0308cke.jpg",    ["\u00fc/Br\u00fccke.jpg", "u\u0308//Bru\u0308cke.jpg"]),   # one of each
    ("\ud55c\uae00.jpg",           ["\u1112\u1161\u11ab\u1100\u1173\u11af.jpg"]),
]
# fmt: on


@pytest.mark.parametrize(("path", "others"), SPELLINGS)
async def test_both_unicode_forms_name_a_file(tmp_path: Path, path: str, others: list[str]) -> None:
    (tmp_path / path).parent.mkdir(exist_ok=True)
    (tmp_path / path).write_bytes(JPEG)
    source = FolderSource(tmp_path)
    for other in others:
        assert await read(source, other) == JPEG
        version = source.stat(SitePath(path))
        assert source.stat(SitePath(other)) == version
        assert source.identity(SitePath(other)) == source.identity(SitePath(path)) == version.identity


async def test_the_exact_spelling_comes_first(tmp_path: Path) -> None:
    (tmp_path / "caf\u00e9.jpg").write_bytes(b"composed")
    source = FolderSource(tmp_path)
    assert await read(source, "cafe\u0301.jpg") == b"composed"
    (tmp_path / "cafe\u0301.jpg").write_bytes(b"decomposed")
    assert await read(source, "cafe\u0301.jpg") == b"decomposed"
    assert await read(source, "caf\u00e9.jpg") == b"composed"
    assert source.stat(SitePath("cafe\u0301.jpg")) != source.stat(SitePath("caf\u00e9.jpg"))


async def test_another_letter_is_another_name(tmp_path: Path) -> None:
    (tmp_path / "caf\u00e9.jpg").write_bytes(JPEG)
    for path in ("cafe.jpg", "caf\u00e8.jpg", "\uff43af\u00e9.jpg", "caf\u00e9/a.jpg"):
        with pytest.raises(SourceNotFound):
            await FolderSource(tmp_path).open(SitePath(path))
        with pytest.raises(SourceNotFound):
            FolderSource(tmp_path).stat(SitePath(path))


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EIO])
async def test_a_system_error_is_not_reported_as_missing(
    root: Path, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caches store a 404, and editors remove the image from their pages."""
    source = FolderSource(root)

    def fails(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(source, "_stat", fails)
    with structlog.testing.capture_logs() as logs:
        with pytest.raises(SourceFailed, match="cannot be read now"):
            source.stat(SitePath("a.jpg"))
        monkeypatch.setattr(os, "open", fails)
        with pytest.raises(SourceFailed, match="cannot be read now"):
            await source.open(SitePath("a.jpg"))
    assert [(log["path"], log["error"]) for log in logs] == [("a.jpg", os.strerror(number))] * 2


LINKS_OUT = ["out.jpg", "sibling/a.jpg", "sky/up/secret.jpg", "proc.jpg"]


@pytest.mark.parametrize("path", [path for path in MISSING if path not in LINKS_OUT])
def test_stat_finds_only_links_that_open_rejects(root: Path, path: str) -> None:
    with pytest.raises(SourceNotFound, match="the image does not exist"):
        FolderSource(root).stat(SitePath(path))


@pytest.mark.parametrize("ref", [WebUrl("http://127.0.0.1/a.jpg"), UploadRef("0" * 64)])
async def test_other_kinds_of_references_are_missing(root: Path, ref: SourceRef) -> None:
    with pytest.raises(SourceNotFound):
        FolderSource(root).stat(ref)
    with pytest.raises(SourceNotFound):
        await FolderSource(root).open(ref)


PARTS = ["test_files.py", "sources", "..", ".", "", "%2e%2e", "\0", "\\", "~", "\udcff", "caches", "test_disk.py"]


@given(st.lists(st.sampled_from(PARTS), max_size=6).map("/".join) | st.text(max_size=40))
@settings(max_examples=300, deadline=None)
async def test_no_text_opens_anything_outside(path: str) -> None:
    here = Path(__file__).parent
    try:
        opened = await FolderSource(here).open(SitePath(path))
    except SourceNotFound:
        return
    real = Path(f"/proc/self/fd/{opened.descriptor}").readlink()
    opened.close()
    assert real.is_relative_to(here.resolve())


async def test_a_link_that_changes_while_a_file_is_opened_never_leads_outside(root: Path, tmp_path: Path) -> None:
    """A folder and a link to the outside replace each other repeatedly while the file is opened."""
    inside, outside, place = root / "real", root / "link", root / "swap"
    inside.mkdir()
    (inside / "a.jpg").write_bytes(JPEG)
    outside.symlink_to(tmp_path / "pictures-of-others")
    source, stop = FolderSource(root), threading.Event()

    def swap() -> None:
        while not stop.is_set():
            inside.rename(place)
            place.rename(inside)
            outside.rename(place)
            place.rename(outside)

    swapping = threading.Thread(target=swap)
    swapping.start()
    seen = {"opened": 0, "missing": 0}
    until = time.monotonic() + 0.5
    try:
        while time.monotonic() < until:
            try:
                opened = await source.open(SitePath("swap/a.jpg"))
            except SourceNotFound:
                seen["missing"] += 1
                continue
            assert os.pread(opened.descriptor, 100, 0) == JPEG
            opened.close()
            seen["opened"] += 1
    finally:
        stop.set()
        swapping.join()
    assert min(seen.values()) > 0


# ------------------------------------------------------------------------------------------ versions


async def test_the_version_has_the_modification_time(root: Path) -> None:
    os.utime(root / "a.jpg", (0, 1_763_779_200.5))
    version = FolderSource(root).stat(SitePath("a.jpg"))
    assert (version.identity, version.modified_s, version.versioned) == ("files:a.jpg", 1_763_779_200.5, False)


def test_a_replacement_with_equal_time_and_length_is_another_version(root: Path) -> None:
    source = FolderSource(root, name="shop")
    os.utime(root / "a.jpg", (0, 1_763_779_200))
    before = source.stat(SitePath("a.jpg"))
    (root / "new").write_bytes(JPEG[::-1])
    os.utime(root / "new", (0, 1_763_779_200))
    (root / "new").rename(root / "a.jpg")
    after = source.stat(SitePath("a.jpg"))
    assert before.version != after.version
    assert before.identity == after.identity == "shop:a.jpg"


async def test_a_root_that_is_a_link_is_resolved_for_every_request(tmp_path: Path) -> None:
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "a.jpg").write_bytes(JPEG + release.encode())
    current = tmp_path / "current"
    current.symlink_to("one")
    source = FolderSource(current)
    assert (await read(source, "a.jpg")).endswith(b"one")
    current.unlink()
    current.symlink_to("two")
    assert (await read(source, "a.jpg")).endswith(b"two")


async def test_no_descriptor_stays_open(root: Path) -> None:
    source = FolderSource(root)
    before = len(os.listdir("/proc/self/fd"))
    for path in (*SERVED, *MISSING):
        try:
            (await source.open(SitePath(path))).close()
        except SourceNotFound:
            continue
    source.images(100)
    assert len(os.listdir("/proc/self/fd")) == before


# ------------------------------------------------------------------------------------------ the start page


def test_images_are_listed_by_content_and_sorted(tmp_path: Path) -> None:
    for path in ("b.jpg", "a.txt", "z/c.png", "z/.d.jpg", ".e/f.jpg", "A.jpg"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(JPEG)
    (tmp_path / "words.jpg").write_bytes(b"not an image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "out.jpg").symlink_to("/etc/passwd")
    (tmp_path / "round").symlink_to(".")
    os.mkfifo(tmp_path / "fifo.jpg")
    source = FolderSource(tmp_path)
    assert source.images(10) == ["A.jpg", "a.txt", "b.jpg", "z/c.png"]
    assert source.images(2) == ["A.jpg", "a.txt"]
    assert source.count() == 4


def test_names_that_a_url_cannot_contain_are_not_listed(tmp_path: Path) -> None:
    with open(os.fsencode(tmp_path) + b"/\xff.jpg", "wb") as file:
        file.write(JPEG)
    (tmp_path / "back\\slash.jpg").write_bytes(JPEG)
    assert FolderSource(tmp_path).images(10) == []


def test_a_missing_folder_has_no_images(tmp_path: Path) -> None:
    assert FolderSource(tmp_path / "none").images(10) == []
    assert FolderSource(tmp_path / "none").count() == 0
