"""Uploads: held by their digest while a request needs them, and nothing of them left behind."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from pathlib import Path

import pytest

from cropmark.model.problems import Overloaded, SourceMissing, SourceTooLarge
from cropmark.plan.source import SitePath, Upload, WebUrl
from cropmark.ports import Opened
from cropmark.sources.untrusted import ForeignSource
from cropmark.sources.uploads import Uploads

CAT = b"a picture of a cat" * 1000
DOG = b"a picture of a dog" * 1000
ROOM = 100_000


@pytest.fixture
def uploads(tmp_path: Path) -> Uploads:
    return Uploads(tmp_path / "uploads", limit_bytes=ROOM)


def read(opened: Opened) -> bytes:
    try:
        return os.pread(opened.descriptor, opened.bytes, 0)
    finally:
        opened.close()


def has_room(uploads: Uploads, count: int) -> bool:
    """Whether so many bytes more are taken."""
    intake = uploads.intake(count)
    try:
        intake.write(bytes(count))
    except Overloaded:
        return False
    finally:
        intake.discard()
    return True


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


async def test_what_was_written_in_pieces_is_opened_by_its_digest(uploads: Uploads) -> None:
    intake = uploads.intake(50_000)
    for at in range(0, len(CAT), 777):
        intake.write(CAT[at : at + 777])
    upload = intake.held()
    assert upload == Upload(sha(CAT))
    assert intake.length == len(CAT)
    assert read(await uploads.open(upload)) == CAT
    assert uploads.glance(upload).identity == f"upload:{sha(CAT)}"


async def test_after_the_request_it_is_gone(uploads: Uploads) -> None:
    intake = uploads.intake(50_000)
    intake.write(CAT)
    upload = intake.held()
    intake.discard()
    intake.discard()  # a second time does nothing
    with pytest.raises(SourceMissing, match="no such upload"):
        await uploads.open(upload)
    assert has_room(uploads, ROOM)


async def test_what_is_open_stays_readable_when_the_request_ends(uploads: Uploads) -> None:
    intake = uploads.intake(50_000)
    intake.write(CAT)
    opened = await uploads.open(intake.held())
    intake.discard()
    assert read(opened) == CAT


async def test_equal_bytes_of_two_requests_are_held_until_the_last_lets_go(uploads: Uploads) -> None:
    first, second = uploads.intake(50_000), uploads.intake(50_000)
    for intake in (first, second):
        intake.write(CAT)
    upload = first.held()
    assert second.held() == upload
    assert has_room(uploads, ROOM - len(CAT))
    assert not has_room(uploads, ROOM - len(CAT) + 1)
    first.discard()
    assert read(await uploads.open(upload)) == CAT
    second.discard()
    with pytest.raises(SourceMissing):
        uploads.glance(upload)


async def test_no_name_is_ever_on_the_disk(uploads: Uploads, tmp_path: Path) -> None:
    intake = uploads.intake(50_000)
    intake.write(CAT)
    assert list((tmp_path / "uploads").iterdir()) == []
    intake.held()
    assert list((tmp_path / "uploads").iterdir()) == []
    intake.discard()


async def test_a_renderer_gets_a_descriptor_that_it_cannot_write_to(uploads: Uploads) -> None:
    intake = uploads.intake(50_000)
    intake.write(CAT)
    opened = await uploads.open(intake.held())
    assert fcntl.fcntl(opened.descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY
    opened.close()
    opened.close()  # not another file's number
    intake.discard()


def test_one_picture_has_a_limit(uploads: Uploads) -> None:
    intake = uploads.intake(100)
    intake.write(bytes(100))
    with pytest.raises(SourceTooLarge, match="at most 100 bytes"):
        intake.write(b"1")
    intake.discard()
    assert has_room(uploads, ROOM)


def test_all_together_have_a_limit(uploads: Uploads) -> None:
    first, second = uploads.intake(80_000), uploads.intake(80_000)
    first.write(bytes(80_000))
    with pytest.raises(Overloaded, match="no room"):
        second.write(bytes(20_001))
    first.discard()
    second.write(bytes(20_001))
    second.discard()
    assert has_room(uploads, ROOM)


def test_a_full_disk_is_told_as_such(uploads: Uploads, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, data: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    intake = uploads.intake(1000)
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(Overloaded, match="no room"):
        intake.write(b"a")
    intake.discard()
    monkeypatch.undo()
    assert has_room(uploads, ROOM)


def test_it_knows_no_other_kind_of_source(uploads: Uploads) -> None:
    for where in (SitePath("a.jpg"), WebUrl("https://a.example/a.jpg"), Upload("0" * 64)):
        with pytest.raises(SourceMissing):
            uploads.glance(where)


async def test_closing_lets_go_of_all(uploads: Uploads) -> None:
    intake = uploads.intake(50_000)
    intake.write(CAT)
    upload = intake.held()
    await uploads.close()
    with pytest.raises(SourceMissing):
        uploads.glance(upload)


# ------------------------------------------------------------------------------ strangers' sources together


async def test_a_foreign_address_is_named_by_scheme_and_host_only(uploads: Uploads) -> None:
    class Web(Uploads):
        def identity(self, where: SitePath | WebUrl | Upload) -> str:
            assert isinstance(where, WebUrl)
            return f"web:{where.url}"

    source = ForeignSource(Web(uploads.folder()), uploads)
    one = source.identity(WebUrl("https://cdn.example:8443/private/a.jpg?token=hunter2"))
    other = source.identity(WebUrl("https://cdn.example:8443/private/a.jpg?token=hunter3"))
    assert one.startswith("img:https://cdn.example#")
    assert "hunter" not in one
    assert "private" not in one
    assert one != other


async def test_a_foreign_upload_is_opened_by_its_digest(uploads: Uploads) -> None:
    source = ForeignSource(Uploads(uploads.folder()), uploads)
    intake = uploads.intake(50_000)
    intake.write(DOG)
    assert read(await source.open(intake.held())) == DOG
    intake.discard()
    with pytest.raises(SourceMissing, match="by path"):
        source.glance(SitePath("a.jpg"))
    await source.close()
