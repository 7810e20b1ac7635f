"""The web source: shared fetches, freshness, conditional requests, stale originals, failures and purges."""

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
from tests.builders import Clock, until
from tests.sources.conftest import MakeSource, policy_for
from tests.sources.origins import GIF, PNG, FakeInternet, Handler, Origin, ReceivedRequest, Send, reply

MODIFIED = "Fri, 15 Jan 2027 07:00:00 GMT"
MODIFIED_S = 1_799_996_400.0
OTHER = PNG + b"changed"


async def body_of(source: WebSource, url: str) -> bytes:
    original = await source.open(WebUrl(url))
    try:
        return os.pread(original.descriptor, original.bytes + 1, 0)
    finally:
        original.close()


async def wait_for_revalidation(source: WebSource) -> None:
    """Wait for the background requests."""
    await asyncio.gather(*source._remote._revalidating.values())


def is_source(source: WebSource) -> Source:
    """mypy checks here that it implements the port."""
    return source


class ChangingImage:
    """An image of an origin that a test changes; sends validators and responds to conditional requests."""

    def __init__(self, control: str = "max-age=60", body: bytes = PNG) -> None:
        self.control = control
        self.body = body
        self.conditions: list[tuple[str | None, str | None]] = []
        self.statuses: list[int] = []

    async def __call__(self, request: ReceivedRequest, send: Send) -> None:
        etag = f'"{hashlib.md5(self.body).hexdigest()}"'
        self.conditions.append((request.headers.get("if-none-match"), request.headers.get("if-modified-since")))
        status = 304 if request.headers.get("if-none-match") == etag else 200
        self.statuses.append(status)
        headers = {"ETag": etag, "Last_Modified": MODIFIED, "Cache_Control": self.control}
        await send(reply(b"" if status == 304 else self.body, status, **headers))


def after_event(response: bytes | None = None) -> tuple[Handler, asyncio.Event]:
    """A handler that responds, with an image by default, when the event is set."""
    go = asyncio.Event()

    async def respond(_: ReceivedRequest, send: Send) -> None:
        await go.wait()
        await send(reply() if response is None else response)

    return respond, go


async def never(_: ReceivedRequest, send: Send) -> None:
    """A handler that never responds."""
    await asyncio.Event().wait()


# ------------------------------------------------------------------------------------------ one fetch


async def test_an_image_is_fetched_once(source: WebSource, server: Origin) -> None:
    server.responses["/a"] = reply(Last_Modified=MODIFIED)
    ref = WebUrl(server.url("/a"))
    assert source.stat(ref) is None
    original = await source.open(ref)
    original.close()
    assert original.bytes == len(PNG)
    digest = hashlib.sha256(PNG).hexdigest()
    assert original.version == SourceVersion(f"web:{server.url('/a')}", digest, modified_s=MODIFIED_S)
    assert source.stat(ref) == original.version
    assert await body_of(source, server.url("/a")) == PNG
    assert server.paths() == ["/a"]
    assert is_source(source).identity(ref) == original.version.identity


async def test_fetches_and_lookups_are_counted(
    make_source: MakeSource, server: Origin, originals: OriginalCache, clock: Clock
) -> None:
    fetches: list[tuple[str, int]] = []

    def on_fetch(result: str, duration_s: float, length: int) -> None:
        assert duration_s > 0
        fetches.append((result, length))

    source = make_source(policy_for(server), on_fetch=on_fetch)
    server.responses["/a"] = ChangingImage(control="max-age=60")
    for wait_s in (0, 1, 100_000):  # fetched, stored, validated
        clock.now += wait_s
        await body_of(source, server.url("/a"))
    with pytest.raises(SourceNotFound):
        await source.open(WebUrl(server.url("/b")))
    server.responses["/slow"] = never
    opening = asyncio.ensure_future(source.open(WebUrl(server.url("/slow"))))
    await until(lambda: "/slow" in server.paths())
    opening.cancel()
    await until(lambda: len(fetches) == 4)
    assert fetches == [("ok", len(PNG)), ("not_modified", 0), ("source_not_found", 0), ("cancelled", 0)]
    counted = {name: value for name, _, value in originals.samples()}
    assert (counted["cropmark_cache_hits_total"], counted["cropmark_cache_misses_total"]) == (1, 4)
    assert (counted["cropmark_cache_entries"], counted["cropmark_cache_bytes"]) == (1, len(PNG))


async def test_concurrent_requests_share_one_fetch(source: WebSource, server: Origin) -> None:
    server.responses["/a"], go = after_event()
    before = len(os.listdir("/proc/self/fd"))
    bodies = [asyncio.create_task(body_of(source, server.url("/a"))) for _ in range(8)]
    await until(lambda: server.requests)
    go.set()
    assert await asyncio.gather(*bodies) == [PNG] * 8
    assert server.paths() == ["/a"]
    # The server's end of the connection may still be open.
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before + 1)


async def test_a_cancelled_request_does_not_cancel_the_fetch_of_others(source: WebSource, server: Origin) -> None:
    server.responses["/a"], go = after_event()
    first = asyncio.create_task(body_of(source, server.url("/a")))
    await until(lambda: server.requests)
    second = asyncio.create_task(body_of(source, server.url("/a")))
    await asyncio.sleep(0)  # it joins the fetch
    first.cancel()
    go.set()
    assert await second == PNG
    assert server.paths() == ["/a"]


async def test_equivalent_urls_are_one_source(source: WebSource, server: Origin) -> None:
    server.responses["/a"] = reply()
    for url in (server.url("/a"), server.url("/x/../a"), server.url("/%61#top"), server.url("/a").replace("h", "H", 1)):
        assert await body_of(source, url) == PNG
    assert len(server.requests) == 1


async def test_the_query_is_part_of_the_identity(source: WebSource, server: Origin) -> None:
    server.responses["/a"] = reply()
    await body_of(source, server.url("/a?v=1"))
    await body_of(source, server.url("/a?v=2"))
    assert server.paths() == ["/a?v=1", "/a?v=2"]


async def test_originals_survive_a_restart(
    make_source: MakeSource, server: Origin, originals: OriginalCache, web: FakeInternet, clock: Clock, tmp_path: Path
) -> None:
    server.responses["/a"] = reply()
    await body_of(make_source(policy_for(server)), server.url("/a"))
    again = WebSource(policy_for(server), OriginalCache(tmp_path / "originals"), network=web.network(), clock=clock)
    assert again.stat(WebUrl(server.url("/a"))) is not None
    assert await body_of(again, server.url("/a")) == PNG
    assert server.paths() == ["/a"]
    await again.close()


async def test_an_original_is_not_served_under_another_policy(
    make_source: MakeSource, server: Origin, web: FakeInternet
) -> None:
    """Sources share the originals and not the policy: one may follow a redirect that another may not."""
    web.add_server("a.example", server.port)
    web.add_server("b.example", server.port)
    server.responses |= {"/1": reply(b"", 302, Location="http://b.example/2"), "/2": reply()}
    assert await body_of(make_source(Policy(open=True)), "http://a.example/1") == PNG
    narrow = make_source(Policy(hosts=(HostRule.read("a.example"),)))
    assert narrow.stat(WebUrl("http://a.example/1")) is None
    with pytest.raises(SourceForbidden):
        await narrow.open(WebUrl("http://a.example/1"))


# ------------------------------------------------------------------------------------------ freshness


async def test_a_fresh_original_is_not_revalidated(source: WebSource, server: Origin, clock: Clock) -> None:
    server.responses["/a"] = versions = ChangingImage("max-age=60")
    await body_of(source, server.url("/a"))
    clock.now += 59
    assert await body_of(source, server.url("/a")) == PNG
    assert len(versions.conditions) == 1


async def test_an_expired_original_is_fetched_conditionally(source: WebSource, server: Origin, clock: Clock) -> None:
    """A 304 renews the lifetimes of the same bytes."""
    server.responses["/a"] = versions = ChangingImage("max-age=60, must-revalidate")
    ref = WebUrl(server.url("/a"))
    await body_of(source, server.url("/a"))
    version = source.stat(ref)
    for _ in range(2):
        clock.now += 61
        assert source.stat(ref) is None
        assert await body_of(source, server.url("/a")) == PNG
        assert source.stat(ref) == version
    assert versions.statuses == [200, 304, 304]
    assert versions.conditions[1] == (f'"{hashlib.md5(PNG).hexdigest()}"', MODIFIED)


async def test_a_changed_image_replaces_the_original(source: WebSource, server: Origin, clock: Clock) -> None:
    server.responses["/a"] = versions = ChangingImage("max-age=60, must-revalidate")
    ref = WebUrl(server.url("/a"))
    await body_of(source, server.url("/a"))
    before = source.stat(ref)
    versions.body = OTHER
    clock.now += 61
    assert await body_of(source, server.url("/a")) == OTHER
    after = source.stat(ref)
    assert versions.statuses == [200, 200]
    assert before is not None
    assert after is not None
    assert (after.identity, after.version != before.version) == (before.identity, True)


async def test_a_304_without_lifetimes_renews_the_old_ones(source: WebSource, server: Origin, clock: Clock) -> None:
    ref = WebUrl(server.url("/a"))
    server.responses["/a"] = reply(ETag='"1"', Cache_Control="max-age=100, must-revalidate")
    await body_of(source, server.url("/a"))
    server.responses["/a"] = reply(b"", 304)
    clock.now += 101
    assert await body_of(source, server.url("/a")) == PNG
    clock.now += 99
    assert source.stat(ref) is not None
    clock.now += 2
    assert source.stat(ref) is None


async def test_validators_are_sent_only_to_the_url_that_gave_them(
    source: WebSource, server: Origin, clock: Clock
) -> None:
    """Otherwise a redirecting server could confirm an original that it never sent."""
    server.responses["/b"] = ChangingImage("max-age=1, must-revalidate")
    server.responses["/a"] = reply(b"", 302, Location="/b")
    for _ in range(2):
        await body_of(source, server.url("/a"))
        clock.now += 2
    sent = [(h.path, "if-none-match" in h.header_names) for h in server.requests]
    assert sent == [("/a", False), ("/b", False), ("/a", False), ("/b", True)]


async def test_a_304_for_a_lost_body_is_followed_by_an_unconditional_request(
    source: WebSource, server: Origin, clock: Clock, tmp_path: Path
) -> None:
    """The file was lost while the request was in progress."""
    server.responses["/a"] = versions = ChangingImage("max-age=1, must-revalidate")
    await body_of(source, server.url("/a"))
    next((tmp_path / "originals").glob("*.body")).unlink()
    clock.now += 2
    assert await body_of(source, server.url("/a")) == PNG
    assert versions.statuses == [200, 304, 200]


async def test_a_corrupt_original_is_fetched_again(source: WebSource, server: Origin, tmp_path: Path) -> None:
    server.responses["/a"] = reply()
    await body_of(source, server.url("/a"))
    next((tmp_path / "originals").glob("*.body")).write_bytes(b"x")
    assert await body_of(source, server.url("/a")) == PNG
    assert server.paths() == ["/a", "/a"]


@pytest.mark.parametrize("control", ["no-store", "private", "no-store, max-age=600"])
async def test_a_response_that_may_not_be_stored_is_shared_briefly(
    make_source: MakeSource, server: Origin, originals: OriginalCache, tmp_path: Path, control: str
) -> None:
    """One request uses it twice, for its version and its bytes; a later request fetches it again."""
    server.responses["/a"] = reply(Cache_Control=control)
    source = make_source(policy_for(server), LifetimeBounds(minimum_s=0.1))
    ref = WebUrl(server.url("/a"))
    assert await body_of(source, server.url("/a")) == PNG
    assert source.stat(ref) is not None
    assert await body_of(source, server.url("/a")) == PNG
    assert server.paths() == ["/a"]
    assert len(originals) == 0
    assert list((tmp_path / "originals").iterdir()) == []
    await until(lambda: source.stat(ref) is None)
    await body_of(source, server.url("/a"))
    assert server.paths() == ["/a", "/a"]


async def test_an_image_that_becomes_private_has_another_version(
    source: WebSource, server: Origin, clock: Clock
) -> None:
    """Otherwise its public renditions would stay in use."""
    server.responses["/a"] = versions = ChangingImage("max-age=1, must-revalidate")
    ref = WebUrl(server.url("/a"))
    seen = []
    for control in ("max-age=1, must-revalidate", "public, max-age=1", "private, max-age=9"):
        versions.control = control
        original = await source.open(ref)
        original.close()
        seen.append(original.version)
        clock.now += 400
        await wait_for_revalidation(source)
    assert versions.statuses == [200, 304, 304]
    assert [version.private for version in seen] == [False, False, True]
    assert [version.cache_control for version in seen] == [
        "max-age=1, must-revalidate",
        "public, max-age=1",
        "private, max-age=9",
    ]
    assert seen[0].version == seen[1].version != seen[2].version


async def test_an_original_that_may_no_longer_be_stored_is_dropped(
    source: WebSource, server: Origin, originals: OriginalCache, clock: Clock
) -> None:
    server.responses["/a"] = versions = ChangingImage("max-age=1, must-revalidate")
    await body_of(source, server.url("/a"))
    clock.now += 2
    versions.control = "no-store"
    assert await body_of(source, server.url("/a")) == PNG
    assert versions.statuses == [200, 304]
    assert len(originals) == 0


# ------------------------------------------------------------------------------------------ stale


async def test_stale_while_revalidate(source: WebSource, server: Origin, clock: Clock) -> None:
    """The stale version immediately, one conditional request in the background, then the new version."""
    server.responses["/a"] = versions = ChangingImage("max-age=60, stale-while-revalidate=30")
    ref = WebUrl(server.url("/a"))
    await body_of(source, server.url("/a"))
    old = source.stat(ref)
    versions.body = OTHER
    clock.now += 75
    assert [source.stat(ref) for _ in range(5)] == [old] * 5
    assert await body_of(source, server.url("/a")) == PNG
    await wait_for_revalidation(source)
    assert len(versions.conditions) == 2
    assert source.stat(ref) != old
    assert await body_of(source, server.url("/a")) == OTHER
    clock.now += 91
    assert source.stat(ref) is None


# fmt: off
ERRORS = [
    # the origin's response                  is a stale original used instead
    (reply(b"", 500),                        True),
    (reply(b"", 503),                        True),
    (reply(b"", 429),                        True),     # come back later
    (b"",                                    True),     # the connection is closed
    (reply(b"", 404),                        False),    # the image does not exist
    (reply(b"", 410),                        False),
    (reply(b"", 403),                        False),
    (reply(b"<html>"),                       False),    # not an image any more
    (reply(b"", 302, Location="file:///x"),  False),
]
# fmt: on


@pytest.mark.parametrize(("response", "is_used"), ERRORS)
async def test_stale_if_error(
    source: WebSource, server: Origin, originals: OriginalCache, clock: Clock, response: bytes, is_used: bool
) -> None:
    ref = WebUrl(server.url("/a"))
    server.responses["/a"] = reply(ETag='"1"', Cache_Control="max-age=60, stale-while-revalidate=0, stale-if-error=600")
    await body_of(source, server.url("/a"))
    version = source.stat(ref)
    server.responses["/a"] = response
    clock.now += 100
    if not is_used:
        with pytest.raises(Problem):
            await source.open(ref)
        assert len(originals) == 0
        return
    assert await body_of(source, server.url("/a")) == PNG
    # The failed request is not repeated for some seconds.
    count = len(server.requests)
    assert source.stat(ref) == version
    assert await body_of(source, server.url("/a")) == PNG
    assert len(server.requests) == count
    clock.now += 6
    assert await body_of(source, server.url("/a")) == PNG
    assert len(server.requests) > count
    # After stale-if-error has passed, the error is raised.
    clock.now += 600
    with pytest.raises(SourceFailed):
        await source.open(ref)


async def test_a_timeout_is_an_error_for_stale_if_error(make_source: MakeSource, server: Origin, clock: Clock) -> None:
    source = make_source(policy_for(server, first_byte_s=0.1))

    server.responses["/a"] = reply(Cache_Control="max-age=60, stale-while-revalidate=0")
    await body_of(source, server.url("/a"))
    server.responses["/a"] = never
    clock.now += 100
    assert await body_of(source, server.url("/a")) == PNG
    server.responses["/b"] = never
    with pytest.raises(SourceTimeout):
        await source.open(WebUrl(server.url("/b")))


async def test_a_failed_revalidation_is_not_repeated_immediately(
    source: WebSource, server: Origin, clock: Clock
) -> None:
    ref = WebUrl(server.url("/a"))
    server.responses["/a"] = reply(Cache_Control="max-age=60, stale-while-revalidate=600, stale-if-error=0")
    await body_of(source, server.url("/a"))
    server.responses["/a"] = reply(b"", 500)
    clock.now += 100
    seen = set()
    for _ in range(5):
        seen.add(source.stat(ref))
        await wait_for_revalidation(source)
    assert len(seen) == 1
    assert len(server.requests) == 2


# ------------------------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("response", "kind"),
    [(reply(b"", 404), SourceNotFound), (reply(b"", 500), SourceFailed), (reply(b"<html>"), SourceUnusable)],
)
async def test_failures_are_remembered_for_seconds(
    source: WebSource, server: Origin, clock: Clock, response: bytes, kind: type[Problem]
) -> None:
    server.responses["/a"] = response
    ref = WebUrl(server.url("/a"))
    for _ in range(3):
        with pytest.raises(kind) as caught:
            await source.open(ref)
    assert len(server.requests) == 1
    status = getattr(caught.value, "origin_status", None)
    assert status == (None if kind is SourceUnusable else int(response[9:12]))
    if kind is SourceNotFound:
        with pytest.raises(SourceNotFound):
            source.stat(ref)
    else:
        assert source.stat(ref) is None
    clock.now += 5.1
    server.responses["/a"] = reply()
    assert await body_of(source, server.url("/a")) == PNG


async def test_the_number_of_remembered_failures_is_limited(make_source: MakeSource, server: Origin) -> None:
    source = make_source(policy_for(server), max_failures=3)
    for n in (0, 1, 2, 3, 4, 5, 5, 0):
        with pytest.raises(SourceNotFound):
            await source.open(WebUrl(server.url(f"/{n}")))
    assert server.paths() == ["/0", "/1", "/2", "/3", "/4", "/5", "/0"]


# ------------------------------------------------------------------------------------------ purges


async def test_a_purged_image_is_fetched_again(source: WebSource, server: Origin) -> None:
    ref = WebUrl(server.url("/a"))
    server.responses["/a"] = reply()
    await body_of(source, server.url("/a"))
    before = source.stat(ref)
    source.purge(source.identity(ref))
    assert source.stat(ref) is None
    await body_of(source, server.url("/a"))
    after = source.stat(ref)
    assert before is not None
    assert after is not None
    assert (after.version, after.generation > before.generation) == (before.version, True)
    assert len(server.requests) == 2


async def test_a_purge_covers_failures_and_shared_responses(source: WebSource, server: Origin) -> None:
    server.responses |= {"/b": reply(Cache_Control="no-store")}
    with pytest.raises(SourceNotFound):
        await source.open(WebUrl(server.url("/a")))
    await body_of(source, server.url("/b"))
    source.purge(f"web:{server.url('/')}")
    server.responses |= {"/a": reply(), "/b": reply(GIF)}
    assert await body_of(source, server.url("/a")) == PNG
    assert await body_of(source, server.url("/b")) == GIF


async def test_a_fetch_started_before_a_purge_is_answered_and_not_stored(
    source: WebSource, server: Origin, originals: OriginalCache
) -> None:
    """A request after the purge does not join the fetch."""
    server.responses["/a"], go = after_event()
    ref = WebUrl(server.url("/a"))
    before = asyncio.create_task(source.open(ref))
    await until(lambda: server.requests)
    source.purge("web:")
    server.responses["/a"] = reply(GIF)
    assert await body_of(source, server.url("/a")) == GIF
    go.set()
    old = await before
    old.close()
    assert old.bytes == len(PNG)
    assert await body_of(source, server.url("/a")) == GIF
    current = source.stat(ref)
    assert current is not None
    assert current.generation > old.version.generation
    assert len(originals) == 1


async def test_a_fetch_started_before_a_purge_is_not_shared(source: WebSource, server: Origin) -> None:
    server.responses["/a"], go = after_event(reply(PNG, Cache_Control="no-store"))
    before = asyncio.create_task(body_of(source, server.url("/a")))
    await until(lambda: server.requests)
    source.purge("web:")
    go.set()
    assert await before == PNG
    server.responses["/a"] = reply(GIF)
    assert await body_of(source, server.url("/a")) == GIF


async def test_a_failure_of_a_fetch_started_before_a_purge_is_not_remembered(source: WebSource, server: Origin) -> None:
    server.responses["/a"], go = after_event(reply(b"", 404))
    before = asyncio.create_task(source.open(WebUrl(server.url("/a"))))
    await until(lambda: server.requests)
    source.purge("web:")
    go.set()
    with pytest.raises(SourceNotFound):
        await before
    server.responses["/a"] = reply()
    assert await body_of(source, server.url("/a")) == PNG


# ------------------------------------------------------------------------------------------ logs and close


async def test_no_secrets_in_logs(source: WebSource, server: Origin, clock: Clock) -> None:
    """check_51: only scheme and host of a URL are logged, since its path and query may contain credentials."""
    server.responses["/secret"] = reply(Cache_Control="max-age=1, stale-while-revalidate=60")
    ref = WebUrl(server.url("/secret?X-Amz-Signature=hush"))
    with structlog.testing.capture_logs() as logs:
        await body_of(source, ref.url)
        server.responses["/secret"] = reply(b"", 500)
        clock.now += 10
        source.stat(ref)
        await wait_for_revalidation(source)
        with pytest.raises(SourceNotFound):
            await source.open(WebUrl(server.url("/nothing?token=hush")))
    assert len(logs) == 2
    assert logs[0]["origin"] == f"http://127.0.0.1:{server.port}"
    assert not any(word in str(logs) for word in ("hush", "secret", "nothing"))


async def test_close_stops_fetches_in_progress(make_source: MakeSource, server: Origin, clock: Clock) -> None:
    source = make_source(policy_for(server, first_byte_s=4.0, total_s=4.0))
    server.responses["/a"] = reply(Cache_Control="max-age=1, stale-while-revalidate=60")
    await body_of(source, server.url("/a"))
    server.responses["/a"] = never
    clock.now += 10
    source.stat(WebUrl(server.url("/a")))
    waiting = asyncio.create_task(source.open(WebUrl(server.url("/a?2"))))
    await until(lambda: len(server.requests) == 3)
    async with asyncio.timeout(1):
        await source.close()
        with pytest.raises((Problem, asyncio.CancelledError)):
            await waiting
