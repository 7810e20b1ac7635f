"""check_19, check_20, check_21: origins that lie, drip, bomb, hang up and never answer; and what a status means."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
import tracemalloc
import zlib

import pytest

from cropmark.model.problems import (
    BrokenEncoding,
    Overloaded,
    Problem,
    SourceFailed,
    SourceNotFound,
    SourceProblem,
    SourceTimeout,
    SourceTooLarge,
    SourceUnusable,
    UnknownEncoding,
)
from cropmark.plan.source import WebUrl
from cropmark.sources.connection import NetworkAccess
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import Policy
from cropmark.sources.web import WebSource
from tests.sources.conftest import MakeSource, opened_to
from tests.sources.origins import GIF, PNG, Heard, Origin, Send, reply

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
LIMIT = 100_000


async def body_of(source: WebSource, url: str) -> bytes:
    opened = await source.open(WebUrl(url))
    try:
        return os.pread(opened.descriptor, opened.bytes + 1, 0)
    finally:
        opened.close()


async def problem_of(source: WebSource, url: str) -> Problem:
    with pytest.raises(Problem) as caught:
        await source.open(WebUrl(url))
    return caught.value


# ------------------------------------------------------------------------------------------ statuses

# fmt: off
STATUSES = [
    # origin  what it is told as
    (404,     SourceNotFound),
    (410,     SourceNotFound),
    (201,     SourceFailed),
    (204,     SourceFailed),
    (206,     SourceFailed),   # nobody asked for a part
    (300,     SourceFailed),
    (302,     SourceFailed),   # without a Location
    (304,     SourceFailed),   # nothing was asked conditionally
    (400,     SourceFailed),
    (401,     SourceFailed),
    (403,     SourceFailed),
    (429,     SourceFailed),
    (500,     SourceFailed),
    (503,     SourceFailed),
]
# fmt: on


@pytest.mark.parametrize(("status", "kind"), STATUSES)
async def test_status(source: WebSource, server: Origin, status: int, kind: type[SourceProblem]) -> None:
    """The number goes along for dialects that keep it (Fastly E1); the origin's own words never do (PixLab 6.5)."""
    body = b"" if status in (204, 304) else b"<h1>secret words"
    server.answers["/"] = reply(body, status, Content_Type="text/html", X_Secret="words")
    problem = await problem_of(source, server.url("/"))
    assert type(problem) is kind
    assert isinstance(problem, SourceProblem)
    assert problem.origin_status == status
    assert "secret" not in str(problem)
    assert str(status) not in str(problem)


async def test_the_bytes_come_as_they_are(source: WebSource, server: Origin) -> None:
    server.answers["/a"] = reply(GIF, Content_Type="text/html")
    assert await body_of(source, server.url("/a")) == GIF


async def test_the_descriptor_is_read_only(source: WebSource, server: Origin) -> None:
    server.answers |= {"/kept": reply(), "/not-kept": reply(Cache_Control="no-store")}
    for path in server.answers:
        opened = await source.open(WebUrl(server.url(path)))
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(opened.descriptor, b"x")
        opened.close()
        opened.close()  # a second time does nothing


# ------------------------------------------------------------------------------------------ sizes


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(piece), piece)


async def test_the_limit_holds_exactly(make_source: MakeSource, server: Origin) -> None:
    """check_19"""
    server.answers |= {"/fits": reply(PNG + bytes(LIMIT - len(PNG))), "/over": reply(PNG + bytes(LIMIT - len(PNG) + 1))}
    source = make_source(opened_to(server, limit_bytes=LIMIT))
    assert len(await body_of(source, server.url("/fits"))) == LIMIT
    problem = await problem_of(source, server.url("/over"))
    assert isinstance(problem, SourceTooLarge)
    assert problem.detail == "the picture is larger than the 100,000 bytes that are fetched"


@pytest.mark.parametrize("head", [CHUNKED, ENDLESS], ids=["check_19-chunked", "check_19-no-length"])
async def test_an_endless_body_is_cut_at_the_limit(make_source: MakeSource, server: Origin, head: bytes) -> None:
    sent = 0

    async def endless(_: Heard, send: Send) -> None:
        nonlocal sent
        await send(head + (chunk(PNG) if head is CHUNKED else PNG))
        while True:
            await send(chunk(bytes(8192)) if head is CHUNKED else bytes(8192))
            sent += 8192

    server.answers["/"] = endless
    source = make_source(opened_to(server, limit_bytes=LIMIT))
    assert isinstance(await problem_of(source, server.url("/")), SourceTooLarge)
    await asyncio.sleep(0.05)
    assert sent < LIMIT + 8_000_000  # what the sockets of this machine take, not what the origin has


async def test_a_length_above_the_limit_is_not_waited_for(make_source: MakeSource, server: Origin) -> None:
    """check_19: a large claim may end it at once; a small one is not believed."""
    server.answers["/"] = reply(PNG, Content_Length="999999999999")
    started = time.monotonic()
    source = make_source(opened_to(server, limit_bytes=LIMIT))
    assert isinstance(await problem_of(source, server.url("/")), SourceTooLarge)
    assert time.monotonic() - started < 1.5


async def test_a_length_shorter_than_the_body_ends_it(source: WebSource, server: Origin) -> None:
    """check_19: what lies behind the claimed length is no part of the answer, nor of the next."""
    server.answers["/"] = reply(PNG + b"HTTP/1.1 200 OK\r\n\r\n", Content_Length=str(len(PNG)), Connection="keep-alive")
    assert await body_of(source, server.url("/")) == PNG


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(reply(PNG, Content_Length=str(len(PNG) + 10)), id="shorter than its length"),
        pytest.param(CHUNKED + chunk(PNG), id="chunks without an end"),
        pytest.param(CHUNKED + b"zz\r\n" + PNG, id="no chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5", id="half a header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + PNG, id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + PNG, id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n" + PNG, id="100 kB header"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"", id="nothing"),
        pytest.param(reply(PNG, Content_Encoding="zstd"), id="zstd that is none"),
        pytest.param(reply(gzip.compress(os.urandom(9000))[:5000], Content_Encoding="gzip"), id="gzip cut off"),
    ],
)
async def test_broken_answers_fail(source: WebSource, server: Origin, originals: OriginalCache, answer: bytes) -> None:
    server.answers["/"] = answer
    problem = await problem_of(source, server.url("/"))
    assert isinstance(problem, SourceFailed | SourceUnusable)
    assert len(originals) == 0


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        pytest.param(reply(PNG, Content_Encoding="br"), UnknownEncoding, id="brotli"),
        pytest.param(reply(zlib.compress(PNG)[:50], Content_Encoding="gzip"), BrokenEncoding, id="gzip that is none"),
        pytest.param(reply(PNG, Content_Encoding="deflate"), BrokenEncoding, id="deflate that is none"),
    ],
)
async def test_an_encoding_that_cannot_be_undone_is_told(
    source: WebSource, server: Origin, originals: OriginalCache, answer: bytes, kind: type[SourceUnusable]
) -> None:
    """Not as if the server could not be reached: it answered 200."""
    server.answers["/"] = answer
    assert type(await problem_of(source, server.url("/"))) is kind
    assert len(originals) == 0


async def test_what_comes_encoded_is_decoded(source: WebSource, server: Origin) -> None:
    """Nobody asked for it, but servers do it; the digest is that of the picture."""
    server.answers |= {
        "/gzip": reply(gzip.compress(PNG), Content_Encoding="gzip"),
        "/deflate": reply(zlib.compress(PNG), Content_Encoding="deflate"),
    }
    for path in server.answers:
        assert await body_of(source, server.url(path)) == PNG


async def test_a_bomb_is_counted_as_it_unpacks(make_source: MakeSource, server: Origin) -> None:
    """check_19: 200 MB in 200 kB. The limit stops it, and memory never holds more than a piece."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(PNG) + b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    server.answers["/"] = reply(bomb, Content_Encoding="gzip")
    source = make_source(opened_to(server, limit_bytes=5_000_000, total_s=5.0, first_byte_s=5.0))
    tracemalloc.start()
    try:
        problem = await problem_of(source, server.url("/"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(problem, SourceTooLarge)
    assert peak < 8_000_000


# ------------------------------------------------------------------------------------------ times


async def test_an_origin_that_never_answers_is_left_at_the_first_byte(make_source: MakeSource, server: Origin) -> None:
    """check_20"""

    async def never(_: Heard, send: Send) -> None:
        await asyncio.sleep(5)

    server.answers["/"] = never
    source = make_source(opened_to(server, first_byte_s=0.2, total_s=3.0))
    started = time.monotonic()
    assert isinstance(await problem_of(source, server.url("/")), SourceTimeout)
    assert 0.15 < time.monotonic() - started < 1.0


async def test_a_body_that_stops_is_left(make_source: MakeSource, server: Origin) -> None:
    """check_20"""

    async def stops(_: Heard, send: Send) -> None:
        await send(reply(PNG, Content_Length="99999"))
        await asyncio.sleep(5)

    server.answers["/"] = stops
    source = make_source(opened_to(server, first_byte_s=0.2, total_s=3.0))
    started = time.monotonic()
    assert isinstance(await problem_of(source, server.url("/")), SourceTimeout)
    assert time.monotonic() - started < 1.0


async def test_a_drip_is_cut_at_the_total(make_source: MakeSource, server: Origin, originals: OriginalCache) -> None:
    """check_20: each byte comes in time, all of them never."""
    dripped = 0

    async def drips(_: Heard, send: Send) -> None:
        nonlocal dripped
        await send(reply(PNG, Content_Length="99999"))
        for _n in range(100):
            await send(b"x")
            dripped += 1
            await asyncio.sleep(0.05)

    server.answers["/"] = drips
    source = make_source(opened_to(server, first_byte_s=0.3, total_s=0.5))
    started = time.monotonic()
    problem = await problem_of(source, server.url("/"))
    assert isinstance(problem, SourceTimeout)
    assert problem.detail == "the picture's server took too long"
    assert 0.4 < time.monotonic() - started < 1.0
    assert dripped >= 4
    assert len(originals) == 0


async def test_a_header_that_drips_is_cut(make_source: MakeSource, server: Origin) -> None:
    """check_20: bytes of the header keep the connection alive, not the request."""

    async def drips(_: Heard, send: Send) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200:
            await send(bytes([byte]))
            await asyncio.sleep(0.05)

    server.answers["/"] = drips
    source = make_source(opened_to(server, connect_s=0.1, first_byte_s=0.3, total_s=5.0))
    started = time.monotonic()
    assert isinstance(await problem_of(source, server.url("/")), SourceTimeout)
    assert time.monotonic() - started < 1.0


async def test_redirects_share_the_total(make_source: MakeSource, server: Origin) -> None:
    """check_20"""

    async def slowly(heard: Heard, send: Send) -> None:
        await asyncio.sleep(0.25)
        await send(reply(b"", 302, Location=heard.path + "x"))

    server.answers |= {"/" + "x" * n: slowly for n in range(5)}
    source = make_source(opened_to(server, first_byte_s=0.4, total_s=0.6))
    assert isinstance(await problem_of(source, server.url("/")), SourceTimeout)
    assert len(server.heard) == 3


async def test_a_name_that_is_not_answered_is_left(originals: OriginalCache) -> None:
    """check_20: the look-up is part of connecting."""

    async def never(_: str) -> list[str]:
        await asyncio.sleep(5)
        return []

    source = WebSource(Policy(open=True, connect_s=0.2, total_s=3.0), originals, network=NetworkAccess(never))
    started = time.monotonic()
    assert isinstance(await problem_of(source, "http://slow.example/"), SourceTimeout)
    assert time.monotonic() - started < 1.0
    await source.close()


# ------------------------------------------------------------------------------------------ kinds

# fmt: off
NO_PICTURES = [
    b"", b"x", b"\x89PN", b"<!DOCTYPE html><html>", b"<html><svg></svg>", b"%PDF-1.7\n", b"#!/bin/sh\n", b"\0" * 5000,
    b"{\"json\": 1}", b"root:x:0:0:root:/root:/bin/sh\n", b"P6 1 1 255 ", b"PK\x03\x04",
]
# fmt: on


@pytest.mark.parametrize("body", NO_PICTURES)
async def test_what_is_no_picture_is_not_taken(
    source: WebSource, server: Origin, originals: OriginalCache, body: bytes
) -> None:
    """check_21: whatever its Content-Type says."""
    server.answers["/"] = reply(body, Content_Type="image/png")
    problem = await problem_of(source, server.url("/"))
    assert isinstance(problem, SourceUnusable)
    assert problem.detail == "what the address gives is no picture of a known format"
    assert len(originals) == 0


async def test_an_unknown_kind_is_left_before_its_body(make_source: MakeSource, server: Origin) -> None:
    """check_21: of 50 MB of HTML some kilobytes are read."""
    sent = 0

    async def html(_: Heard, send: Send) -> None:
        nonlocal sent
        await send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 50000000\r\n\r\n<!DOCTYPE html>")
        while sent < 50_000_000:
            await send(b" " * 10_000)
            sent += 10_000

    server.answers["/"] = html
    assert isinstance(await problem_of(make_source(opened_to(server)), server.url("/")), SourceUnusable)
    await asyncio.sleep(0.05)
    assert sent < 10_000_000


# ------------------------------------------------------------------------------------------ at once


async def test_so_many_at_once_and_no_more(make_source: MakeSource, server: Origin) -> None:
    """The rest wait for their turn; who waits in vain is told to come back."""
    now, most = 0, 0
    free = asyncio.Event()

    async def slowly(_: Heard, send: Send) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await free.wait()
        await send(reply())
        now -= 1

    server.answers |= {f"/{n}": slowly for n in range(6)}
    policy = opened_to(server, at_once_per_host=2, connect_s=0.3, first_byte_s=2.0, total_s=2.0)
    source = make_source(policy)
    waiting = [asyncio.create_task(body_of(source, server.url(f"/{n}"))) for n in range(6)]
    await asyncio.sleep(0.5)
    assert most == 2
    free.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [r for r in results if r == PNG] == [PNG, PNG]
    overloaded = [r for r in results if isinstance(r, Overloaded)]
    assert len(overloaded) == 4
    assert overloaded[0].retry_after_s == 2
    # It was nobody's fault, and is not remembered.
    assert await body_of(source, server.url("/5")) == PNG
