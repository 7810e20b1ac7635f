"""Originals in use: one fetch for many, freshness, conditional requests, stale ones, failures and purges."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path

import pytest
import structlog

from cropmark.model.problems import (
    Problem,
    SourceFailed,
    SourceForbidden,
    SourceNotFound,
    SourceTimeout,
    SourceUnusable,
)
from cropmark.plan.source import WebUrl
from cropmark.ports import Source, SourceVersion
from cropmark.sources.freshness import LifetimeBounds
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.policy import HostRule, Policy
from cropmark.sources.web import WebSource
from tests.sources.conftest import Clock, MakeSource, opened_to
from tests.sources.origins import GIF, PNG, Heard, Origin, Send, Web, reply

MODIFIED = "Fri, 15 Jan 2027 07:00:00 GMT"
MODIFIED_S = 1_799_996_400.0
OTHER = PNG + b"changed"


async def body_of(source: WebSource, url: str) -> bytes:
    opened = await source.open(WebUrl(url))
    try:
        return os.pread(opened.descriptor, opened.bytes + 1, 0)
    finally:
        opened.close()


async def settled(source: WebSource) -> None:
    """Waits for what goes on in the background."""
    await asyncio.gather(*source._refreshing.values())


def is_source(source: WebSource) -> Source:
    """mypy checks here that it is one."""
    return source


class Versions:
    """An origin's picture that changes, with validators; answers conditional requests as it should."""

    def __init__(self, control: str = "max-age=60", body: bytes = PNG) -> None:
        self.control = control
        self.body = body
        self.asked: list[tuple[str | None, str | None]] = []
        self.statuses: list[int] = []

    async def __call__(self, heard: Heard, send: Send) -> None:
        etag = f'"{hashlib.md5(self.body).hexdigest()}"'
        self.asked.append((heard.headers.get("if-none-match"), heard.headers.get("if-modified-since")))
        status = 304 if heard.headers.get("if-none-match") == etag else 200
        self.statuses.append(status)
        headers = {"ETag": etag, "Last_Modified": MODIFIED, "Cache_Control": self.control}
        await send(reply(b"" if status == 304 else self.body, status, **headers))


# ------------------------------------------------------------------------------------------ one fetch


async def test_a_picture_is_fetched_once(source: WebSource, server: Origin) -> None:
    server.answers["/a"] = reply(Last_Modified=MODIFIED)
    where = WebUrl(server.url("/a"))
    assert source.stat(where) is None
    opened = await source.open(where)
    opened.close()
    assert opened.bytes == len(PNG)
    digest = hashlib.sha256(PNG).hexdigest()
    assert opened.stamp == SourceVersion(f"web:{server.url('/a')}", digest, modified_s=MODIFIED_S)
    assert source.stat(where) == opened.stamp
    assert await body_of(source, server.url("/a")) == PNG
    assert server.paths() == ["/a"]
    assert is_source(source).identity(where) == opened.stamp.identity


async def test_eight_widths_are_one_fetch(source: WebSource, server: Origin) -> None:
    async def slowly(_: Heard, send: Send) -> None:
        await asyncio.sleep(0.1)
        await send(reply())

    server.answers["/a"] = slowly
    before = len(os.listdir("/proc/self/fd"))
    bodies = await asyncio.gather(*(body_of(source, server.url("/a")) for _ in range(8)))
    assert bodies == [PNG] * 8
    assert server.paths() == ["/a"]
    await asyncio.sleep(0.05)
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the server's end may linger


async def test_who_gives_up_takes_nobody_along(source: WebSource, server: Origin) -> None:
    async def slowly(_: Heard, send: Send) -> None:
        await asyncio.sleep(0.1)
        await send(reply())

    server.answers["/a"] = slowly
    first = asyncio.create_task(body_of(source, server.url("/a")))
    await asyncio.sleep(0.03)
    second = asyncio.create_task(body_of(source, server.url("/a")))
    await asyncio.sleep(0.03)
    first.cancel()
    assert await second == PNG
    assert server.paths() == ["/a"]


async def test_spellings_of_a_url_are_one_source(source: WebSource, server: Origin) -> None:
    server.answers["/a"] = reply()
    for url in (server.url("/a"), server.url("/x/../a"), server.url("/%61#top"), server.url("/a").replace("h", "H", 1)):
        assert await body_of(source, url) == PNG
    assert len(server.heard) == 1


async def test_queries_are_part_of_it(source: WebSource, server: Origin) -> None:
    server.answers["/a"] = reply()
    await body_of(source, server.url("/a?v=1"))
    await body_of(source, server.url("/a?v=2"))
    assert server.paths() == ["/a?v=1", "/a?v=2"]


async def test_after_a_restart_nothing_is_fetched(
    make_source: MakeSource, server: Origin, originals: OriginalCache, web: Web, clock: Clock, tmp_path: Path
) -> None:
    server.answers["/a"] = reply()
    await body_of(make_source(opened_to(server)), server.url("/a"))
    again = WebSource(opened_to(server), OriginalCache(tmp_path / "originals"), network=web.network(), clock=clock)
    assert again.stat(WebUrl(server.url("/a"))) is not None
    assert await body_of(again, server.url("/a")) == PNG
    assert server.paths() == ["/a"]
    await again.close()


async def test_what_one_policy_let_in_is_not_anothers(make_source: MakeSource, server: Origin, web: Web) -> None:
    """Sources share the store, not their rules: a redirect that one may follow another may not."""
    web.place("a.example", server.port)
    web.place("b.example", server.port)
    server.answers |= {"/1": reply(b"", 302, Location="http://b.example/2"), "/2": reply()}
    assert await body_of(make_source(Policy(open=True)), "http://a.example/1") == PNG
    narrow = make_source(Policy(hosts=(HostRule.read("a.example"),)))
    assert narrow.stat(WebUrl("http://a.example/1")) is None
    with pytest.raises(SourceForbidden):
        await narrow.open(WebUrl("http://a.example/1"))


# ------------------------------------------------------------------------------------------ freshness


async def test_fresh_ones_are_not_asked_for(source: WebSource, server: Origin, clock: Clock) -> None:
    server.answers["/a"] = versions = Versions("max-age=60")
    await body_of(source, server.url("/a"))
    clock.now += 59
    assert await body_of(source, server.url("/a")) == PNG
    assert len(versions.asked) == 1


async def test_past_all_windows_it_is_asked_conditionally(source: WebSource, server: Origin, clock: Clock) -> None:
    """A 304 keeps the digest, and sets the clock anew."""
    server.answers["/a"] = versions = Versions("max-age=60, must-revalidate")
    where = WebUrl(server.url("/a"))
    await body_of(source, server.url("/a"))
    stamp = source.stat(where)
    for _ in range(2):
        clock.now += 61
        assert source.stat(where) is None
        assert await body_of(source, server.url("/a")) == PNG
        assert source.stat(where) == stamp
    assert versions.statuses == [200, 304, 304]
    assert versions.asked[1] == (f'"{hashlib.md5(PNG).hexdigest()}"', MODIFIED)


async def test_a_changed_picture_is_taken(source: WebSource, server: Origin, clock: Clock) -> None:
    server.answers["/a"] = versions = Versions("max-age=60, must-revalidate")
    where = WebUrl(server.url("/a"))
    await body_of(source, server.url("/a"))
    before = source.stat(where)
    versions.body = OTHER
    clock.now += 61
    assert await body_of(source, server.url("/a")) == OTHER
    after = source.stat(where)
    assert versions.statuses == [200, 200]
    assert before is not None
    assert after is not None
    assert (after.identity, after.version != before.version) == (before.identity, True)


async def test_a_304_without_freshness_keeps_the_old_one(source: WebSource, server: Origin, clock: Clock) -> None:
    where = WebUrl(server.url("/a"))
    server.answers["/a"] = reply(ETag='"1"', Cache_Control="max-age=100, must-revalidate")
    await body_of(source, server.url("/a"))
    server.answers["/a"] = reply(b"", 304)
    clock.now += 101
    assert await body_of(source, server.url("/a")) == PNG
    clock.now += 99
    assert source.stat(where) is not None
    clock.now += 2
    assert source.stat(where) is None


async def test_validators_go_to_the_url_that_gave_them(source: WebSource, server: Origin, clock: Clock) -> None:
    """A redirecting server that also says 304 would confirm what it never saw."""
    server.answers["/b"] = Versions("max-age=1, must-revalidate")
    server.answers["/a"] = reply(b"", 302, Location="/b")
    for _ in range(2):
        await body_of(source, server.url("/a"))
        clock.now += 2
    sent = [(h.path, "if-none-match" in h.names) for h in server.heard]
    assert sent == [("/a", False), ("/b", False), ("/a", False), ("/b", True)]


async def test_the_etag_of_a_304_that_lost_its_body_is_not_asked_with(
    source: WebSource, server: Origin, clock: Clock, tmp_path: Path
) -> None:
    """The file was damaged while the origin was asked: it is fetched whole."""
    server.answers["/a"] = versions = Versions("max-age=1, must-revalidate")
    await body_of(source, server.url("/a"))
    next((tmp_path / "originals").glob("*.body")).unlink()
    clock.now += 2
    assert await body_of(source, server.url("/a")) == PNG
    assert versions.statuses == [200, 304, 200]


async def test_a_damaged_fresh_one_is_fetched_again(source: WebSource, server: Origin, tmp_path: Path) -> None:
    server.answers["/a"] = reply()
    await body_of(source, server.url("/a"))
    next((tmp_path / "originals").glob("*.body")).write_bytes(b"x")
    assert await body_of(source, server.url("/a")) == PNG
    assert server.paths() == ["/a", "/a"]


@pytest.mark.parametrize("control", ["no-store", "private", "no-store, max-age=600"])
async def test_what_may_not_be_kept_is_held_for_its_moment(
    make_source: MakeSource, server: Origin, originals: OriginalCache, tmp_path: Path, control: str
) -> None:
    """One request looks at it twice (for its stamp, for its bytes); the next one fetches it anew."""
    server.answers["/a"] = reply(Cache_Control=control)
    source = make_source(opened_to(server), LifetimeBounds(minimum_s=0.1))
    where = WebUrl(server.url("/a"))
    assert await body_of(source, server.url("/a")) == PNG
    assert source.stat(where) is not None
    assert await body_of(source, server.url("/a")) == PNG
    assert server.paths() == ["/a"]
    assert len(originals) == 0
    assert list((tmp_path / "originals").iterdir()) == []
    await asyncio.sleep(0.15)
    assert source.stat(where) is None
    await body_of(source, server.url("/a"))
    assert server.paths() == ["/a", "/a"]


async def test_what_becomes_private_is_another_picture(source: WebSource, server: Origin, clock: Clock) -> None:
    """Else what was made of it when it was public would be told as public."""
    server.answers["/a"] = versions = Versions("max-age=1, must-revalidate")
    where = WebUrl(server.url("/a"))
    stamps = []
    for control in ("max-age=1, must-revalidate", "public, max-age=1", "private, max-age=9"):
        versions.control = control
        opened = await source.open(where)
        opened.close()
        stamps.append(opened.stamp)
        clock.now += 400
        await settled(source)
    assert versions.statuses == [200, 304, 304]
    assert [stamp.private for stamp in stamps] == [False, False, True]
    assert [stamp.cache_control for stamp in stamps] == [
        "max-age=1, must-revalidate",
        "public, max-age=1",
        "private, max-age=9",
    ]
    assert stamps[0].version == stamps[1].version != stamps[2].version


async def test_what_may_no_longer_be_kept_is_dropped(
    source: WebSource, server: Origin, originals: OriginalCache, clock: Clock
) -> None:
    server.answers["/a"] = versions = Versions("max-age=1, must-revalidate")
    await body_of(source, server.url("/a"))
    clock.now += 2
    versions.control = "no-store"
    assert await body_of(source, server.url("/a")) == PNG
    assert versions.statuses == [200, 304]
    assert len(originals) == 0


# ------------------------------------------------------------------------------------------ stale


async def test_stale_while_revalidate(source: WebSource, server: Origin, clock: Clock) -> None:
    """The stale stamp at once, one conditional request behind it, the new stamp after it."""
    server.answers["/a"] = versions = Versions("max-age=60, stale-while-revalidate=30")
    where = WebUrl(server.url("/a"))
    await body_of(source, server.url("/a"))
    old = source.stat(where)
    versions.body = OTHER
    clock.now += 75
    assert [source.stat(where) for _ in range(5)] == [old] * 5
    assert await body_of(source, server.url("/a")) == PNG
    await settled(source)
    assert len(versions.asked) == 2
    assert source.stat(where) != old
    assert await body_of(source, server.url("/a")) == OTHER
    clock.now += 91
    assert source.stat(where) is None


# fmt: off
ERRORS = [
    # the origin's answer                    may a stale original stand in for it
    (reply(b"", 500),                        True),
    (reply(b"", 503),                        True),
    (reply(b"", 429),                        True),     # come back later
    (b"",                                    True),     # it hangs up
    (reply(b"", 404),                        False),    # it says that there is none
    (reply(b"", 410),                        False),
    (reply(b"", 403),                        False),
    (reply(b"<html>"),                       False),    # it is something else now
    (reply(b"", 302, Location="file:///x"),  False),
]
# fmt: on


@pytest.mark.parametrize(("answer", "stands_in"), ERRORS)
async def test_stale_if_error(
    source: WebSource, server: Origin, originals: OriginalCache, clock: Clock, answer: bytes, stands_in: bool
) -> None:
    where = WebUrl(server.url("/a"))
    server.answers["/a"] = reply(ETag='"1"', Cache_Control="max-age=60, stale-while-revalidate=0, stale-if-error=600")
    await body_of(source, server.url("/a"))
    stamp = source.stat(where)
    server.answers["/a"] = answer
    clock.now += 100
    if not stands_in:
        with pytest.raises(Problem):
            await source.open(where)
        assert len(originals) == 0
        return
    assert await body_of(source, server.url("/a")) == PNG
    # For some seconds the origin is left alone.
    asked = len(server.heard)
    assert source.stat(where) == stamp
    assert await body_of(source, server.url("/a")) == PNG
    assert len(server.heard) == asked
    clock.now += 6
    assert await body_of(source, server.url("/a")) == PNG
    assert len(server.heard) > asked
    # Past the window it is the error.
    clock.now += 600
    with pytest.raises(SourceFailed):
        await source.open(where)


async def test_an_origin_that_hangs_is_an_error_too(make_source: MakeSource, server: Origin, clock: Clock) -> None:
    source = make_source(opened_to(server, first_byte_s=0.3))

    async def hangs(_: Heard, send: Send) -> None:
        await asyncio.sleep(5)

    server.answers["/a"] = reply(Cache_Control="max-age=60, stale-while-revalidate=0")
    await body_of(source, server.url("/a"))
    server.answers["/a"] = hangs
    clock.now += 100
    assert await body_of(source, server.url("/a")) == PNG
    server.answers["/b"] = hangs
    with pytest.raises(SourceTimeout):
        await source.open(WebUrl(server.url("/b")))


async def test_a_background_request_that_fails_is_not_repeated(source: WebSource, server: Origin, clock: Clock) -> None:
    where = WebUrl(server.url("/a"))
    server.answers["/a"] = reply(Cache_Control="max-age=60, stale-while-revalidate=600, stale-if-error=0")
    await body_of(source, server.url("/a"))
    server.answers["/a"] = reply(b"", 500)
    clock.now += 100
    stamps = set()
    for _ in range(5):
        stamps.add(source.stat(where))
        await settled(source)
    assert len(stamps) == 1
    assert len(server.heard) == 2


# ------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(reply(b"", 404), SourceNotFound), (reply(b"", 500), SourceFailed), (reply(b"<html>"), SourceUnusable)],
)
async def test_failures_are_remembered_for_seconds(
    source: WebSource, server: Origin, clock: Clock, answer: bytes, kind: type[Problem]
) -> None:
    server.answers["/a"] = answer
    where = WebUrl(server.url("/a"))
    for _ in range(3):
        with pytest.raises(kind) as caught:
            await source.open(where)
    assert len(server.heard) == 1
    status = getattr(caught.value, "origin_status", None)
    assert status == (None if kind is SourceUnusable else int(answer[9:12]))
    if kind is SourceNotFound:
        with pytest.raises(SourceNotFound):
            source.stat(where)
    else:
        assert source.stat(where) is None
    clock.now += 5.1
    server.answers["/a"] = reply()
    assert await body_of(source, server.url("/a")) == PNG


async def test_many_failures_are_remembered_within_a_bound(source: WebSource, server: Origin) -> None:
    source._failures = type(source._failures)(3, 60, timer=lambda: 0.0)
    for n in range(6):
        with pytest.raises(SourceNotFound):
            await source.open(WebUrl(server.url(f"/{n}")))
    assert len(source._failures) == 3


# ------------------------------------------------------------------------------------------ purges


async def test_a_purged_picture_is_fetched_anew(source: WebSource, server: Origin) -> None:
    where = WebUrl(server.url("/a"))
    server.answers["/a"] = reply()
    await body_of(source, server.url("/a"))
    before = source.stat(where)
    source.purge(source.identity(where))
    assert source.stat(where) is None
    await body_of(source, server.url("/a"))
    after = source.stat(where)
    assert before is not None
    assert after is not None
    assert (after.version, after.generation > before.generation) == (before.version, True)
    assert len(server.heard) == 2


async def test_a_purge_forgets_failures_and_moments(source: WebSource, server: Origin) -> None:
    server.answers |= {"/b": reply(Cache_Control="no-store")}
    with pytest.raises(SourceNotFound):
        await source.open(WebUrl(server.url("/a")))
    await body_of(source, server.url("/b"))
    source.purge(f"web:{server.url('/')}")
    server.answers |= {"/a": reply(), "/b": reply(GIF)}
    assert await body_of(source, server.url("/a")) == PNG
    assert await body_of(source, server.url("/b")) == GIF


async def test_a_fetch_from_before_a_purge_is_answered_and_not_kept(
    source: WebSource, server: Origin, originals: OriginalCache
) -> None:
    """DESIGN §5. Who asks after the purge does not join it."""
    go = asyncio.Event()

    async def waits(_: Heard, send: Send) -> None:
        await go.wait()
        await send(reply(PNG))

    server.answers["/a"] = waits
    where = WebUrl(server.url("/a"))
    before = asyncio.create_task(source.open(where))
    await asyncio.sleep(0.05)
    source.purge("web:")
    server.answers["/a"] = reply(GIF)
    assert await body_of(source, server.url("/a")) == GIF
    go.set()
    old = await before
    old.close()
    assert old.bytes == len(PNG)
    assert await body_of(source, server.url("/a")) == GIF
    current = source.stat(where)
    assert current is not None
    assert current.generation > old.stamp.generation
    assert len(originals) == 1


async def test_nor_is_it_held_for_a_moment(source: WebSource, server: Origin) -> None:
    go = asyncio.Event()

    async def waits(_: Heard, send: Send) -> None:
        await go.wait()
        await send(reply(PNG, Cache_Control="no-store"))

    server.answers["/a"] = waits
    before = asyncio.create_task(body_of(source, server.url("/a")))
    await asyncio.sleep(0.05)
    source.purge("web:")
    go.set()
    assert await before == PNG
    server.answers["/a"] = reply(GIF)
    assert await body_of(source, server.url("/a")) == GIF


async def test_a_failure_from_before_a_purge_is_not_remembered(source: WebSource, server: Origin) -> None:
    go = asyncio.Event()

    async def waits(_: Heard, send: Send) -> None:
        await go.wait()
        await send(reply(b"", 404))

    server.answers["/a"] = waits
    before = asyncio.create_task(source.open(WebUrl(server.url("/a"))))
    await asyncio.sleep(0.05)
    source.purge("web:")
    go.set()
    with pytest.raises(SourceNotFound):
        await before
    server.answers["/a"] = reply()
    assert await body_of(source, server.url("/a")) == PNG


# ------------------------------------------------------------------------------------------ what others see


async def test_no_secrets_in_logs(source: WebSource, server: Origin, clock: Clock) -> None:
    """check_51, PixLab 6.9: scheme and host of a URL, no more of it."""
    server.answers["/secret"] = reply(Cache_Control="max-age=1, stale-while-revalidate=60")
    where = WebUrl(server.url("/secret?X-Amz-Signature=hush"))
    with structlog.testing.capture_logs() as logs:
        await body_of(source, where.url)
        server.answers["/secret"] = reply(b"", 500)
        clock.now += 10
        source.stat(where)
        await settled(source)
        with pytest.raises(SourceNotFound):
            await source.open(WebUrl(server.url("/nothing?token=hush")))
    assert len(logs) == 2
    assert logs[0]["origin"] == f"http://127.0.0.1:{server.port}"
    assert not any(word in str(logs) for word in ("hush", "secret", "nothing"))


async def test_close_stops_what_is_under_way(make_source: MakeSource, server: Origin, clock: Clock) -> None:
    async def never(_: Heard, send: Send) -> None:
        await asyncio.sleep(5)

    source = make_source(opened_to(server, first_byte_s=4.0, total_s=4.0))
    server.answers["/a"] = reply(Cache_Control="max-age=1, stale-while-revalidate=60")
    await body_of(source, server.url("/a"))
    server.answers["/a"] = never
    clock.now += 10
    source.stat(WebUrl(server.url("/a")))
    waiting = asyncio.create_task(source.open(WebUrl(server.url("/a?2"))))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(1):
        await source.close()
        with pytest.raises((Problem, asyncio.CancelledError)):
            await waiting
