"""check_19, check_20, check_21: hostile and failing origins; the Problem of each status."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
import tracemalloc
import zlib
from dataclasses import replace

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
from tests.builders import until
from tests.sources.conftest import MakeSource, policy_for
from tests.sources.origins import GIF, PNG, Origin, ReceivedRequest, Send, reply

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
    # status  problem
    (404,     SourceNotFound),
    (410,     SourceNotFound),
    (201,     SourceFailed),
    (204,     SourceFailed),
    (206,     SourceFailed),   # no range was requested
    (300,     SourceFailed),
    (302,     SourceFailed),   # without a Location
    (304,     SourceFailed),   # the request was not conditional
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
    """Dialects may repeat the number; the origin's text never reaches the client."""
    body = b"" if status in (204, 304) else b"<h1>secret words"
    server.responses["/"] = reply(body, status, Content_Type="text/html", X_Secret="words")
    problem = await problem_of(source, server.url("/"))
    assert type(problem) is kind
    assert isinstance(problem, SourceProblem)
    assert problem.origin_status == status
    assert "secret" not in str(problem)
    assert str(status) not in str(problem)


async def test_the_body_is_unchanged(source: WebSource, server: Origin) -> None:
    server.responses["/a"] = reply(GIF, Content_Type="text/html")
    assert await body_of(source, server.url("/a")) == GIF


async def test_the_descriptor_is_read_only(source: WebSource, server: Origin) -> None:
    server.responses |= {"/stored": reply(), "/not-stored": reply(Cache_Control="no-store")}
    for path in server.responses:
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
    server.responses |= {
        "/fits": reply(PNG + bytes(LIMIT - len(PNG))),
        "/over": reply(PNG + bytes(LIMIT - len(PNG) + 1)),
    }
    source = make_source(policy_for(server, limit_bytes=LIMIT))
    assert len(await body_of(source, server.url("/fits"))) == LIMIT
    problem = await problem_of(source, server.url("/over"))
    assert isinstance(problem, SourceTooLarge)
    assert problem.detail == "the image is larger than the limit of 100,000 bytes"


@pytest.mark.parametrize("head", [CHUNKED, ENDLESS], ids=["check_19-chunked", "check_19-no-length"])
async def test_an_endless_body_is_aborted_at_the_limit(make_source: MakeSource, server: Origin, head: bytes) -> None:
    sent, closed = 0, asyncio.Event()

    async def endless(_: ReceivedRequest, send: Send) -> None:
        nonlocal sent
        try:
            await send(head + (chunk(PNG) if head is CHUNKED else PNG))
            while True:
                await send(chunk(bytes(8192)) if head is CHUNKED else bytes(8192))
                sent += 8192
        finally:
            closed.set()

    server.responses["/"] = endless
    source = make_source(policy_for(server, limit_bytes=LIMIT))
    assert isinstance(await problem_of(source, server.url("/")), SourceTooLarge)
    await until(lambda: closed.is_set())
    assert sent < LIMIT + 8_000_000  # the buffers of the sockets


async def test_a_content_length_above_the_limit_is_rejected_immediately(
    make_source: MakeSource, server: Origin
) -> None:
    """check_19"""
    server.responses["/"] = reply(PNG, Content_Length="999999999999")
    started = time.monotonic()
    source = make_source(policy_for(server, limit_bytes=LIMIT, first_byte_s=60.0, total_s=60.0))
    assert isinstance(await problem_of(source, server.url("/")), SourceTooLarge)
    assert time.monotonic() - started < 10


async def test_bytes_after_the_content_length_are_ignored(source: WebSource, server: Origin) -> None:
    """check_19: they belong neither to this response nor to the next one."""
    server.responses["/"] = reply(
        PNG + b"HTTP/1.1 200 OK\r\n\r\n", Content_Length=str(len(PNG)), Connection="keep-alive"
    )
    assert await body_of(source, server.url("/")) == PNG


@pytest.mark.parametrize(
    "response",
    [
        pytest.param(reply(PNG, Content_Length=str(len(PNG) + 10)), id="shorter than its length"),
        pytest.param(CHUNKED + chunk(PNG), id="chunks without an end"),
        pytest.param(CHUNKED + b"zz\r\n" + PNG, id="invalid chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5", id="half a header"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + PNG, id="negative length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + PNG, id="two lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n" + PNG, id="100 kB header"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another protocol"),
        pytest.param(b"", id="nothing"),
        pytest.param(reply(PNG, Content_Encoding="zstd"), id="invalid zstd"),
        pytest.param(reply(gzip.compress(os.urandom(9000))[:5000], Content_Encoding="gzip"), id="truncated gzip"),
    ],
)
async def test_malformed_responses_fail(
    source: WebSource, server: Origin, originals: OriginalCache, response: bytes
) -> None:
    server.responses["/"] = response
    problem = await problem_of(source, server.url("/"))
    assert isinstance(problem, SourceFailed | SourceUnusable)
    assert len(originals) == 0


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        pytest.param(reply(PNG, Content_Encoding="br"), UnknownEncoding, id="brotli"),
        pytest.param(reply(zlib.compress(PNG)[:50], Content_Encoding="gzip"), BrokenEncoding, id="invalid gzip"),
        pytest.param(reply(PNG, Content_Encoding="deflate"), BrokenEncoding, id="invalid deflate"),
    ],
)
async def test_an_encoding_that_cannot_be_decoded_is_reported(
    source: WebSource, server: Origin, originals: OriginalCache, response: bytes, kind: type[SourceUnusable]
) -> None:
    """Its own Problem: the origin is reachable and responded with 200."""
    server.responses["/"] = response
    assert type(await problem_of(source, server.url("/"))) is kind
    assert len(originals) == 0


async def test_a_content_encoding_is_decoded(source: WebSource, server: Origin) -> None:
    """Some servers encode although the request does not ask for it. The digest is that of the image."""
    server.responses |= {
        "/gzip": reply(gzip.compress(PNG), Content_Encoding="gzip"),
        "/deflate": reply(zlib.compress(PNG), Content_Encoding="deflate"),
    }
    for path in server.responses:
        assert await body_of(source, server.url(path)) == PNG


async def test_the_limit_counts_decoded_bytes(make_source: MakeSource, server: Origin) -> None:
    """check_19: 200 MB in 200 kB. The limit stops the decoding, and memory never holds more than a piece."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = packer.compress(PNG) + b"".join(packer.compress(bytes(1_000_000)) for _ in range(200)) + packer.flush()
    server.responses["/"] = reply(bomb, Content_Encoding="gzip")
    source = make_source(policy_for(server, limit_bytes=5_000_000, total_s=5.0, first_byte_s=5.0))
    tracemalloc.start()
    try:
        problem = await problem_of(source, server.url("/"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(problem, SourceTooLarge)
    assert peak < 8_000_000


# ------------------------------------------------------------------------------------------ times


async def test_an_origin_that_never_responds_is_left_after_first_byte_s(
    make_source: MakeSource, server: Origin
) -> None:
    """check_20"""

    async def never(_: ReceivedRequest, send: Send) -> None:
        await asyncio.Event().wait()

    server.responses["/"] = never
    source = make_source(policy_for(server, first_byte_s=0.2, total_s=60.0))
    started = time.monotonic()
    assert isinstance(await problem_of(source, server.url("/")), SourceTimeout)
    assert 0.15 < time.monotonic() - started < 10


async def test_a_body_that_stalls_is_aborted(make_source: MakeSource, server: Origin) -> None:
    """check_20"""

    async def stall(_: ReceivedRequest, send: Send) -> None:
        await send(reply(PNG, Content_Length="99999"))
        await asyncio.Event().wait()

    server.responses["/"] = stall
    source = make_source(policy_for(server, first_byte_s=0.2, total_s=60.0))
    started = time.monotonic()
    assert isinstance(await problem_of(source, server.url("/")), SourceTimeout)
    assert time.monotonic() - started < 10


async def test_a_slow_body_is_aborted_after_total_s(
    make_source: MakeSource, server: Origin, originals: OriginalCache
) -> None:
    """check_20: each byte arrives within first_byte_s, and the body does not end within total_s."""
    pieces_sent = 0

    async def drip(_: ReceivedRequest, send: Send) -> None:
        nonlocal pieces_sent
        await send(reply(PNG, Content_Length="99999"))
        for _n in range(5000):
            await send(b"x")
            pieces_sent += 1
            await asyncio.sleep(0.02)

    server.responses["/"] = drip
    source = make_source(policy_for(server, first_byte_s=0.75, total_s=1.0))
    started = time.monotonic()
    problem = await problem_of(source, server.url("/"))
    assert isinstance(problem, SourceTimeout)
    assert problem.detail == "the image's server took too long"
    assert 0.95 < time.monotonic() - started < 10
    assert pieces_sent >= 4
    assert len(originals) == 0


async def test_slow_headers_are_aborted(make_source: MakeSource, server: Origin) -> None:
    """check_20: single bytes of the headers do not extend the timeout."""

    async def drip(_: ReceivedRequest, send: Send) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000:
            await send(bytes([byte]))
            await asyncio.sleep(0.02)

    server.responses["/"] = drip
    source = make_source(policy_for(server, connect_s=0.1, first_byte_s=0.15, total_s=60.0))
    started = time.monotonic()
    assert isinstance(await problem_of(source, server.url("/")), SourceTimeout)
    assert time.monotonic() - started < 10


async def test_redirects_share_total_s(make_source: MakeSource, server: Origin) -> None:
    """check_20"""

    async def slowly(request: ReceivedRequest, send: Send) -> None:
        await asyncio.sleep(0.75)
        await send(reply(b"", 302, Location=request.path + "x"))

    server.responses |= {"/" + "x" * n: slowly for n in range(5)}
    source = make_source(policy_for(server, first_byte_s=1.75, total_s=2.0))
    assert isinstance(await problem_of(source, server.url("/")), SourceTimeout)
    assert len(server.requests) == 3


async def test_a_look_up_without_an_answer_times_out(originals: OriginalCache) -> None:
    """check_20: connect_s includes the look-up."""

    async def never(_: str) -> list[str]:
        await asyncio.Event().wait()
        return []

    source = WebSource(Policy(open=True, connect_s=0.2, total_s=60.0), originals, network=NetworkAccess(never))
    started = time.monotonic()
    assert isinstance(await problem_of(source, "http://slow.example/"), SourceTimeout)
    assert time.monotonic() - started < 10
    await source.close()


# ------------------------------------------------------------------------------------------ formats

# fmt: off
NOT_IMAGES = [
    b"", b"x", b"\x89PN", b"<!DOCTYPE html><html>", b"<html><svg></svg>", b"%PDF-1.7\n", b"#!/bin/sh\n", b"\0" * 5000,
    b"{\"json\": 1}", b"root:x:0:0:root:/root:/bin/sh\n", b"P6 1 1 255 ", b"PK\x03\x04",
]
# fmt: on


@pytest.mark.parametrize(("path", "body", "accepted"), [("/a.pdf", b"%PDF-1.7\n", True), ("/a.ini", b"[a]", False)])
async def test_an_origin_of_a_site_may_have_other_files(
    server: Origin, originals: OriginalCache, path: str, body: bytes, accepted: bool
) -> None:
    server.responses[path] = reply(body)
    policy = replace(policy_for(server), images_only=False)
    source = WebSource(policy, originals)
    if accepted:
        opened = await source.open(WebUrl(server.url(path)))
        assert os.pread(opened.descriptor, 99, 0) == body
        opened.close()
    else:
        assert isinstance(await problem_of(source, server.url(path)), SourceUnusable)
    await source.close()


@pytest.mark.parametrize("body", NOT_IMAGES)
async def test_a_body_that_is_not_an_image_is_rejected(
    source: WebSource, server: Origin, originals: OriginalCache, body: bytes
) -> None:
    """check_21: Content-Type is not considered."""
    server.responses["/"] = reply(body, Content_Type="image/png")
    problem = await problem_of(source, server.url("/"))
    assert isinstance(problem, SourceUnusable)
    assert problem.detail == "the response is not an image of a supported format"
    assert len(originals) == 0


async def test_an_unsupported_format_is_rejected_before_its_body_is_read(
    make_source: MakeSource, server: Origin
) -> None:
    """check_21: a few kilobytes of 50 MB of HTML are read."""
    sent, closed = 0, asyncio.Event()

    async def html(_: ReceivedRequest, send: Send) -> None:
        nonlocal sent
        try:
            await send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 50000000\r\n\r\n<!DOCTYPE html>")
            while sent < 50_000_000:
                await send(b" " * 10_000)
                sent += 10_000
        finally:
            closed.set()

    server.responses["/"] = html
    assert isinstance(await problem_of(make_source(policy_for(server)), server.url("/")), SourceUnusable)
    await until(lambda: closed.is_set())
    assert sent < 10_000_000


# ------------------------------------------------------------------------------------------ concurrency


async def test_the_number_of_concurrent_fetches_is_limited(make_source: MakeSource, server: Origin) -> None:
    """The others wait for connect_s, then fail with Overloaded."""
    current, maximum = 0, 0
    free = asyncio.Event()

    async def slowly(_: ReceivedRequest, send: Send) -> None:
        nonlocal current, maximum
        current += 1
        maximum = max(maximum, current)
        await free.wait()
        await send(reply())
        current -= 1

    server.responses |= {f"/{n}": slowly for n in range(6)}
    policy = policy_for(server, max_fetches_per_host=2, connect_s=0.2, first_byte_s=2.0, total_s=2.0)
    source = make_source(policy)
    waiting = [asyncio.create_task(body_of(source, server.url(f"/{n}"))) for n in range(6)]
    await until(lambda: sum(task.done() for task in waiting) == 4)  # these waited for connect_s
    assert maximum == 2
    free.set()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [r for r in results if r == PNG] == [PNG, PNG]
    overloaded = [r for r in results if isinstance(r, Overloaded)]
    assert len(overloaded) == 4
    assert overloaded[0].retry_after_s == 2
    # The failure is not remembered for the URL.
    assert await body_of(source, server.url("/5")) == PNG
