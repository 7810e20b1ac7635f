"""Uploads: held by their digest while a request needs them, and nothing of them left behind."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from cropmark.model.problems import Overloaded, SourceNotFound, SourceTooLarge
from cropmark.plan.source import SitePath, UploadRef, WebUrl
from cropmark.ports import OpenSource
from cropmark.sources.untrusted import UntrustedSource
from cropmark.sources.uploads import TemporaryUploads

CAT = b"a picture of a cat" * 1000
DOG = b"a picture of a dog" * 1000
ROOM = 100_000


@pytest.fixture
def uploads(tmp_path: Path) -> TemporaryUploads:
    return TemporaryUploads(tmp_path / "uploads", limit_bytes=ROOM)


def read(opened: OpenSource) -> bytes:
    try:
        return os.pread(opened.descriptor, opened.bytes, 0)
    finally:
        opened.close()


def has_room(uploads: TemporaryUploads, count: int) -> bool:
    """Whether so many bytes more are taken."""
    intake = uploads.new_writer(count)
    try:
        intake.write(bytes(count))
    except Overloaded:
        return False
    finally:
        intake.discard()
    return True


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def test_what_was_written_in_pieces_is_opened_by_its_digest(uploads: TemporaryUploads) -> None:
    intake = uploads.new_writer(50_000)
    for at in range(0, len(CAT), 777):
        intake.write(CAT[at : at + 777])
    upload = intake.finish()
    assert upload == UploadRef(sha(CAT))
    assert intake.length == len(CAT)
    assert read(await uploads.open(upload)) == CAT
    assert uploads.stat(upload).identity == f"upload:{sha(CAT)}"


async def test_after_the_request_it_is_gone(uploads: TemporaryUploads) -> None:
    intake = uploads.new_writer(50_000)
    intake.write(CAT)
    upload = intake.finish()
    intake.discard()
    intake.discard()  # a second time does nothing
    with pytest.raises(SourceNotFound, match="no such upload"):
        await uploads.open(upload)
    assert has_room(uploads, ROOM)


async def test_what_is_open_stays_readable_when_the_request_ends(uploads: TemporaryUploads) -> None:
    intake = uploads.new_writer(50_000)
    intake.write(CAT)
    opened = await uploads.open(intake.finish())
    intake.discard()
    assert read(opened) == CAT


async def test_equal_bytes_of_two_requests_are_held_until_the_last_lets_go(uploads: TemporaryUploads) -> None:
    first, second = uploads.new_writer(50_000), uploads.new_writer(50_000)
    for intake in (first, second):
        intake.write(CAT)
    upload = first.finish()
    assert second.finish() == upload
    assert has_room(uploads, ROOM - len(CAT))
    assert not has_room(uploads, ROOM - len(CAT) + 1)
    first.discard()
    assert read(await uploads.open(upload)) == CAT
    second.discard()
    with pytest.raises(SourceNotFound):
        uploads.stat(upload)


async def test_no_name_is_ever_on_the_disk(uploads: TemporaryUploads, tmp_path: Path) -> None:
    intake = uploads.new_writer(50_000)
    intake.write(CAT)
    assert list((tmp_path / "uploads").iterdir()) == []
    intake.finish()
    assert list((tmp_path / "uploads").iterdir()) == []
    intake.discard()


async def test_a_renderer_gets_a_descriptor_that_it_cannot_write_to(uploads: TemporaryUploads) -> None:
    intake = uploads.new_writer(50_000)
    intake.write(CAT)
    opened = await uploads.open(intake.finish())
    assert fcntl.fcntl(opened.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    opened.close()
    opened.close()  # not another file's number
    intake.discard()


def test_one_picture_has_a_limit(uploads: TemporaryUploads) -> None:
    intake = uploads.new_writer(100)
    intake.write(bytes(100))
    with pytest.raises(SourceTooLarge, match="at most 100 bytes"):
        intake.write(b"1")
    intake.discard()
    assert has_room(uploads, ROOM)


def test_all_together_have_a_limit(uploads: TemporaryUploads) -> None:
    first, second = uploads.new_writer(80_000), uploads.new_writer(80_000)
    first.write(bytes(80_000))
    with pytest.raises(Overloaded, match="no room"):
        second.write(bytes(20_001))
    first.discard()
    second.write(bytes(20_001))
    second.discard()
    assert has_room(uploads, ROOM)


def test_a_full_disk_is_told_as_such(uploads: TemporaryUploads, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    intake = uploads.new_writer(1000)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Overloaded, match="no room"):
        intake.write(b"a")
    intake.discard()
    monkeypatch.undo()
    assert has_room(uploads, ROOM)


def test_it_knows_no_other_kind_of_source(uploads: TemporaryUploads) -> None:
    for where in (SitePath("a.jpg"), WebUrl("https://a.example/a.jpg"), UploadRef("0" * 64)):
        with pytest.raises(SourceNotFound):
            uploads.stat(where)


async def test_closing_lets_go_of_all(uploads: TemporaryUploads) -> None:
    intake = uploads.new_writer(50_000)
    intake.write(CAT)
    upload = intake.finish()
    await uploads.close()
    with pytest.raises(SourceNotFound):
        uploads.stat(upload)


# ------------------------------------------------------------------------------ strangers' sources together


async def test_a_foreign_address_is_named_by_scheme_and_host_only(uploads: TemporaryUploads) -> None:
    class Web(TemporaryUploads):
        def identity(self, where: SitePath | WebUrl | UploadRef) -> str:
            assert isinstance(where, WebUrl)
            return f"web:{where.url}"

    source = UntrustedSource(Web(uploads.folder()), uploads)
    one = source.identity(WebUrl("https://cdn.example:8443/private/a.jpg?token=hunter2"))
    other = source.identity(WebUrl("https://cdn.example:8443/private/a.jpg?token=hunter3"))
    assert one.startswith("img:https://cdn.example#")
    assert "hunter" not in one
    assert "private" not in one
    assert one != other


async def test_a_foreign_upload_is_opened_by_its_digest(uploads: TemporaryUploads) -> None:
    source = UntrustedSource(TemporaryUploads(uploads.folder()), uploads)
    intake = uploads.new_writer(50_000)
    intake.write(DOG)
    assert read(await source.open(intake.finish())) == DOG
    intake.discard()
    with pytest.raises(SourceNotFound, match="by path"):
        source.stat(SitePath("a.jpg"))
    await source.close()
