"""Range requests, and the headers of originals."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects import registry
from cropmark.geometry.recipe import Reason
from cropmark.pipeline import Delivered, RequestContext
from cropmark.plan.plan import Order
from cropmark.ports import OpenSource, Record, Rendition, Source, SourceVersion, StoredRendition
from cropmark.web.ranges import ByteRange, Unsatisfiable, is_same_body, requested_range
from cropmark.web.routing import Mount
from cropmark.web.site import Site
from tests.web.asgi_client import FakePipeline, NoSource, Reply, app_of, respond

BODY = bytes(range(256)) * 2000  # two pieces of a sent file
MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"

# fmt: off
RANGES = [
    # Range              of bytes   the part; None: the complete body
    ("bytes=0-499",      1000,      (0, 500)),
    ("bytes=500-",       1000,      (500, 1000)),
    ("bytes=-300",       1000,      (700, 1000)),
    ("bytes=0-0",        1000,      (0, 1)),
    ("bytes=990-2000",   1000,      (990, 1000)),
    ("bytes=-5000",      1000,      (0, 1000)),
    ("BYTES= 0-1 ",      1000,      (0, 2)),
    ("bytes=1000-",      1000,      "beyond"),
    ("bytes=1000-1001",  1000,      "beyond"),
    ("bytes=-0",         1000,      "beyond"),
    ("bytes=0-",         0,         "beyond"),
    ("bytes=-1",         0,         "beyond"),
    ("bytes=5-2",        1000,      None),       # a syntax error
    ("bytes=0-1,4-5",    1000,      None),       # several ranges
    ("bytes=",           1000,      None),
    ("bytes=-",          1000,      None),
    ("bytes=a-b",        1000,      None),
    ("bytes=-1-2",       1000,      None),
    ("bytes=٠-٩",        1000,      None),       # digits, but not ASCII
    ("items=0-1",        1000,      None),
    ("bytes 0-1",        1000,      None),
    ("",                 1000,      None),
    ("bytes=0-" + "9" * 40, 1000,   None),
]
SAME = [
    # If-Range                           the ETag   same
    ("",                                 '"a"',     True),
    ('"a"',                              '"a"',     True),
    (' "a" ',                            '"a"',     True),
    ('"b"',                              '"a"',     False),
    ('W/"a"',                            '"a"',     False),     # weak
    (MODIFIED,                           '"a"',     True),
    ("Thu, 01 Jan 2026 00:00:01 GMT",    '"a"',     False),     # later is not equal
    ("yesterday",                        '"a"',     False),
    ('"a", "b"',                         '"a"',     False),
]
# fmt: on


@pytest.mark.parametrize(("text", "total", "part"), RANGES)
def test_requested_range(text: str, total: int, part: tuple[int, int] | str | None) -> None:
    found = requested_range(text, total)
    match part:
        case (start, end):
            assert found == ByteRange(int(start), int(end), total)
        case "beyond":
            assert found == Unsatisfiable(total)
        case _:
            assert found is None


@given(st.text(max_size=30).map(lambda text: f"bytes={text}"), st.integers(0, 100))
def test_a_range_is_inside_its_body(text: str, total: int) -> None:
    found = requested_range(text, total)
    if isinstance(found, ByteRange):
        assert 0 <= found.start < found.end <= total


@pytest.mark.parametrize(("if_range", "etag", "same"), SAME)
def test_if_range(if_range: str, etag: str, same: bool) -> None:
    assert is_same_body(if_range, etag, MODIFIED) is same


def test_without_a_date_only_the_etag_counts() -> None:
    assert not is_same_body(MODIFIED, '"a"', "")


# ------------------------------------------------------------------------------------------------ responses


@dataclass
class OriginalPipeline(FakePipeline):
    """A pipeline that delivers a file unchanged."""

    path: Path = Path()
    media_type: str = "video/mp4"

    async def deliver(self, source: Source, order: Order, context: RequestContext) -> Delivered:
        version = SourceVersion("files:a", "1", modified_s=1767225600.0)
        record = Record(self.media_type, '"etag"', len(BODY), versions=(version,), original=Reason.UNSUPPORTED)
        return Delivered(record, None, "miss", OpenSource.from_fd(os.open(self.path, os.O_RDONLY), len(BODY), version))


def ask(
    tmp_path: Path,
    *headers: tuple[bytes, bytes],
    method: str = "GET",
    dialect: str = "fastly",
    media_type: str = "video/mp4",
) -> Reply:
    path = tmp_path / "original"
    path.write_bytes(BODY)
    site = Site(dialect, registry.entry(dialect).build(), NoSource(), Mount(f"/{dialect}"))
    app = app_of(OriginalPipeline(path=path, media_type=media_type), site=site)
    return respond(app, f"/{dialect}/a".encode(), method=method, headers=headers)


FIRST = (b"range", b"bytes=0-1")
# fmt: off
RESPONSES = [
    # headers                                    status  body              Content-Range
    ((),                                         200,    BODY,             None),
    (((b"range", b"bytes=10-300009"),),          206,    BODY[10:300_010], "bytes 10-300009/512000"),
    (((b"range", b"bytes=-3"),),                 206,    BODY[-3:],        "bytes 511997-511999/512000"),
    (((b"range", b"bytes=512000-"),),            416,    b"",              "bytes */512000"),
    (((b"range", b"bytes=0-1,3-4"),),            200,    BODY,             None),
    ((FIRST, (b"range", b"bytes=3-4")),          200,    BODY,             None),
    ((FIRST, (b"if-range", b'"etag"')),          206,    BODY[:2],         "bytes 0-1/512000"),
    ((FIRST, (b"if-range", b'"other"')),         200,    BODY,             None),
    ((FIRST, (b"if-range", MODIFIED.encode())),  206,    BODY[:2],         "bytes 0-1/512000"),
    ((FIRST, (b"if-none-match", b'"etag"')),     304,    b"",              None),
]
# fmt: on


@pytest.mark.parametrize(("headers", "status", "body", "content_range"), RESPONSES)
def test_a_range_of_an_original(
    tmp_path: Path, headers: tuple[tuple[bytes, bytes], ...], status: int, body: bytes, content_range: str | None
) -> None:
    reply = ask(tmp_path, *headers)
    assert (reply.status, reply.body, reply.header("content-range")) == (status, body, content_range)
    if status != 304:
        assert reply.header("accept-ranges") == "bytes"
        assert reply.header("content-length") == str(len(body))
    if status == 416:
        assert reply.header("cache-control") == "no-store"
        assert reply.header("content-type") is None


def test_a_head_ignores_the_range(tmp_path: Path) -> None:
    reply = ask(tmp_path, (b"range", b"bytes=0-1"), method="HEAD")
    assert (reply.status, reply.header("content-length"), reply.body) == (200, str(len(BODY)), b"")
    assert reply.header("accept-ranges") == "bytes"


@dataclass
class VideoPipeline(FakePipeline):
    """A pipeline that delivers a rendered video: from the memory, after a render, or from an open file."""

    place: str = "memory"
    body: bytes = BODY
    path: Path = Path()

    @property
    def video(self) -> Record:
        return Record("video/mp4", '"etag"', len(self.body))

    def peek(self, source: Source, order: Order, fingerprint: str) -> tuple[Rendition, str] | None:
        return (Rendition(self.body, record=self.video), "memory") if self.place == "memory" else None

    async def deliver(self, source: Source, order: Order, context: RequestContext) -> Delivered:
        if self.place != "disk":
            return Delivered(self.video, self.body, "miss")
        self.path.write_bytes(b"head" + self.body)
        stored = StoredRendition.from_fd(os.open(self.path, os.O_RDONLY), 4, self.video)
        return Delivered(self.video, None, "hit-disk", stored=stored)


# fmt: off
PARTS = [
    # headers                                    status  part          Content-Range
    ((),                                         200,    (0, None),    None),
    (((b"range", b"bytes=0-1"),),                206,    (0, 2),       "bytes 0-1/{}"),
    (((b"range", b"bytes=2-"),),                 206,    (2, None),    "bytes 2-{last}/{}"),
    (((b"range", b"bytes=900000-"),),            416,    (0, 0),       "bytes */{}"),
    ((FIRST, (b"if-range", b'"other"')),         200,    (0, None),    None),
]
# fmt: on


@pytest.mark.parametrize(("headers", "status", "part", "content_range"), PARTS)
@pytest.mark.parametrize("body", [BODY, b"small video"], ids=["large", "small"])
@pytest.mark.parametrize("place", ["memory", "render", "disk"])
def test_a_range_of_a_rendered_video(
    tmp_path: Path,
    place: str,
    body: bytes,
    headers: tuple[tuple[bytes, bytes], ...],
    status: int,
    part: tuple[int, int | None],
    content_range: str | None,
) -> None:
    """Safari plays no video without ranges."""
    app = app_of(VideoPipeline(place=place, body=body, path=tmp_path / "entry"))
    for _ in range(2):  # the second time from the memo
        reply = respond(app, b"/fastly/a.gif", headers=headers)
        assert (reply.status, reply.body) == (status, body[slice(*part)])
        expected = content_range and content_range.format(len(body), last=len(body) - 1)
        assert reply.header("content-range") == expected
        assert reply.header("accept-ranges") == "bytes"
        assert reply.header("content-length") == str(len(reply.body))


def test_a_rendered_image_has_no_ranges() -> None:
    reply = respond(app_of(FakePipeline()), b"/fastly/a.jpg", headers=[(b"range", b"bytes=0-1")])
    assert (reply.status, reply.header("accept-ranges")) == (200, None)


# fmt: off
HEADERS = [
    # media type                      Content-Disposition     words of the Content-Security-Policy
    ("image/jpeg",                    None,                   ("default-src 'none'", "sandbox")),
    ("image/x-icon",                  None,                   ("default-src 'none'", "sandbox")),
    ("video/mp4",                     None,                   ("media-src 'self'", "sandbox")),
    ("application/json",              None,                   ("default-src 'none'", "sandbox")),
    ("application/pdf",               "attachment",           ("default-src 'none'", "sandbox")),
    ("text/html; charset=utf-8",      "attachment",           ("default-src 'none'", "sandbox")),
    ("application/octet-stream",      "attachment",           ("default-src 'none'", "sandbox")),
]
# fmt: on


@pytest.mark.parametrize(("media_type", "disposition", "words"), HEADERS)
@pytest.mark.parametrize("dialect", ["fastly", "contentstack", "kontent"])
def test_headers_of_a_file_that_is_not_rendered(
    tmp_path: Path, dialect: str, media_type: str, disposition: str | None, words: tuple[str, ...]
) -> None:
    reply = ask(tmp_path, dialect=dialect, media_type=media_type)
    assert reply.header("content-type") == media_type
    assert reply.header("x-content-type-options") == "nosniff"
    policy = reply.header("content-security-policy") or ""
    assert all(word in policy for word in words)
    usual = "inline" if dialect == "contentstack" else None  # on each response of that vendor
    assert reply.header("content-disposition") == (disposition or usual)
