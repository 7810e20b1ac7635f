"""Uploads: available by digest while a request needs them, then removed."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from cropmark.model.problems import Overloaded, SourceNotFound, SourceTooLarge
from cropmark.plan.source import SitePath, SourceRef, UploadRef, WebUrl
from cropmark.ports import OpenSource
from cropmark.sources.untrusted import UntrustedSource
from cropmark.sources.uploads import TemporaryUploads

CAT = b"an image of a cat" * 1000
DOG = b"an image of a dog" * 1000
LIMIT = 100_000


@pytest.fixture
def uploads(tmp_path: Path) -> TemporaryUploads:
    return TemporaryUploads(tmp_path / "uploads", limit_bytes=LIMIT)


def read(opened: OpenSource) -> bytes:
    try:
        return os.pread(opened.descriptor, opened.bytes, 0)
    finally:
        opened.close()


def has_space(uploads: TemporaryUploads, count: int) -> bool:
    """True if `count` more bytes are accepted."""
    writer = uploads.new_writer(count)
    try:
        writer.write(bytes(count))
    except Overloaded:
        return False
    finally:
        writer.discard()
    return True


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def test_an_upload_written_in_pieces_is_opened_by_its_digest(uploads: TemporaryUploads) -> None:
    writer = uploads.new_writer(50_000)
    for at in range(0, len(CAT), 777):
        writer.write(CAT[at : at + 777])
    upload = writer.finish()
    assert upload == UploadRef(sha(CAT))
    assert writer.length == len(CAT)
    assert read(await uploads.open(upload)) == CAT
    assert uploads.stat(upload).identity == f"upload:{sha(CAT)}"


async def test_an_upload_is_removed_with_its_request(uploads: TemporaryUploads) -> None:
    writer = uploads.new_writer(50_000)
    writer.write(CAT)
    upload = writer.finish()
    writer.discard()
    writer.discard()  # a second time does nothing
    with pytest.raises(SourceNotFound, match="does not exist"):
        await uploads.open(upload)
    assert has_space(uploads, LIMIT)


async def test_an_open_upload_stays_readable_after_its_request(uploads: TemporaryUploads) -> None:
    writer = uploads.new_writer(50_000)
    writer.write(CAT)
    opened = await uploads.open(writer.finish())
    writer.discard()
    assert read(opened) == CAT


async def test_equal_uploads_are_stored_once_until_the_last_request_ends(uploads: TemporaryUploads) -> None:
    first, second = uploads.new_writer(50_000), uploads.new_writer(50_000)
    for writer in (first, second):
        writer.write(CAT)
    upload = first.finish()
    assert second.finish() == upload
    assert has_space(uploads, LIMIT - len(CAT))
    assert not has_space(uploads, LIMIT - len(CAT) + 1)
    first.discard()
    assert read(await uploads.open(upload)) == CAT
    second.discard()
    with pytest.raises(SourceNotFound):
        uploads.stat(upload)


async def test_uploads_have_no_names_on_disk(uploads: TemporaryUploads, tmp_path: Path) -> None:
    writer = uploads.new_writer(50_000)
    writer.write(CAT)
    assert list((tmp_path / "uploads").iterdir()) == []
    writer.finish()
    assert list((tmp_path / "uploads").iterdir()) == []
    writer.discard()


async def test_an_opened_upload_is_read_only(uploads: TemporaryUploads) -> None:
    writer = uploads.new_writer(50_000)
    writer.write(CAT)
    opened = await uploads.open(writer.finish())
    assert fcntl.fcntl(opened.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    opened.close()
    opened.close()  # not another file's number
    writer.discard()


def test_the_size_of_one_upload_is_limited(uploads: TemporaryUploads) -> None:
    writer = uploads.new_writer(100)
    writer.write(bytes(100))
    with pytest.raises(SourceTooLarge, match="at most 100 bytes"):
        writer.write(b"1")
    writer.discard()
    assert has_space(uploads, LIMIT)


def test_the_total_size_is_limited(uploads: TemporaryUploads) -> None:
    first, second = uploads.new_writer(80_000), uploads.new_writer(80_000)
    first.write(bytes(80_000))
    with pytest.raises(Overloaded, match="not enough disk space"):
        second.write(bytes(20_001))
    first.discard()
    second.write(bytes(20_001))
    second.discard()
    assert has_space(uploads, LIMIT)


def test_a_full_disk_raises_overloaded(uploads: TemporaryUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = uploads.new_writer(1000)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Overloaded, match="not enough disk space"):
        writer.write(b"a")
    writer.discard()
    monkeypatch.undo()
    assert has_space(uploads, LIMIT)


def test_other_kinds_of_references_are_missing(uploads: TemporaryUploads) -> None:
    for ref in (SitePath("a.jpg"), WebUrl("https://a.example/a.jpg"), UploadRef("0" * 64)):
        with pytest.raises(SourceNotFound):
            uploads.stat(ref)


async def test_close_removes_all_uploads(uploads: TemporaryUploads) -> None:
    writer = uploads.new_writer(50_000)
    writer.write(CAT)
    upload = writer.finish()
    await uploads.close()
    with pytest.raises(SourceNotFound):
        uploads.stat(upload)


# ------------------------------------------------------------------------------ UntrustedSource


async def test_an_identity_reveals_only_scheme_and_host(uploads: TemporaryUploads) -> None:
    class FakeWeb(TemporaryUploads):
        def identity(self, ref: SourceRef) -> str:
            assert isinstance(ref, WebUrl)
            return f"web:{ref.url}"

    source = UntrustedSource(FakeWeb(uploads.create_folder()), uploads)
    one = source.identity(WebUrl("https://cdn.example:8443/private/a.jpg?token=hunter2"))
    other = source.identity(WebUrl("https://cdn.example:8443/private/a.jpg?token=hunter3"))
    assert one.startswith("img:https://cdn.example#")
    assert "hunter" not in one
    assert "private" not in one
    assert one != other


async def test_an_untrusted_upload_is_opened_by_its_digest(uploads: TemporaryUploads) -> None:
    source = UntrustedSource(TemporaryUploads(uploads.create_folder()), uploads)
    writer = uploads.new_writer(50_000)
    writer.write(DOG)
    assert read(await source.open(writer.finish())) == DOG
    writer.discard()
    with pytest.raises(SourceNotFound, match="named by a path"):
        source.stat(SitePath("a.jpg"))
    await source.close()
