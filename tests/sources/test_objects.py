"""The bucket source: paths, conditional reads, freshness, and the failures that a bucket can have."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import obstore
import pytest
import structlog
from obstore.store import MemoryStore

from cropmark.model.problems import (
    Overloaded,
    Problem,
    SourceFailed,
    SourceNotFound,
    SourceTimeout,
    SourceTooLarge,
    SourceUnusable,
    UnknownEncoding,
)
from cropmark.plan.source import SitePath, WebUrl
from cropmark.runtime.object_store import Failure, StoreUnusable, open_store, store_scope
from cropmark.sources import objects
from cropmark.sources.objects import BucketLimits, BucketPlace, ObjectSource, check_reachable, checked_path
from cropmark.sources.original_cache import OriginalCache
from tests.builders import Clock
from tests.sources.origins import PNG, Origin, ReceivedRequest, Send, reply

MODIFIED = "Fri, 15 Jan 2027 07:00:00 GMT"
LIMITS = BucketLimits(connect_s=2, read_s=2, total_s=3, limit_bytes=10_000)
PLACE = BucketPlace("s3:pictures", "shop", "scope")

Make = Callable[..., ObjectSource]


def s3_options(server: Origin) -> dict[str, str]:
    return {
        "endpoint": server.url(""),
        "access_key_id": "id",
        "secret_access_key": "secret-of-the-shop",
        "region": "us-east-1",
        "allow_http": "true",
    }


def store_at(server: Origin, limits: BucketLimits = LIMITS) -> Any:
    return open_store("s3://pictures", "source", limits.times, options=s3_options(server))


@pytest.fixture(autouse=True)
def _few_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "_RETRIES", 2)


@pytest.fixture
async def make(originals: OriginalCache, server: Origin, clock: Clock) -> AsyncIterator[Make]:
    """Creates sources over the bucket `pictures` of the scripted server; closes them at the end."""
    sources: list[ObjectSource] = []

    def new(limits: BucketLimits = LIMITS) -> ObjectSource:
        sources.append(ObjectSource(store_at(server, limits), PLACE, originals, limits=limits, clock=clock))
        return sources[-1]

    yield new
    for source in sources:
        await source.close()


async def body_of(source: ObjectSource, path: str) -> bytes:
    opened = await source.open(SitePath(path))
    try:
        return os.pread(opened.descriptor, opened.bytes + 1, 0)
    finally:
        opened.close()


def error(code: str, status: int) -> bytes:
    return reply(f"<Error><Code>{code}</Code><Message>secret-reason</Message></Error>".encode(), status)


# ------------------------------------------------------------------------------------------ paths

# fmt: off
PATHS = [
    # path                  key below the prefix, as the server receives it
    ("a.png",               "a.png"),
    ("/a.png",              "a.png"),               # one leading slash, as for folders
    ("sky/blue 1.png",      "sky/blue%201.png"),
    ("a%2fb.png",           "a%252fb.png"),         # decoded once: the percent sign is part of the name
    ("a#b?c.png",           "a%23b%3Fc.png"),
    ("ä/…/ほし.png",         "%C3%A4/%E2%80%A6/%E3%81%BB%E3%81%97.png"),
    ("...png",              "...png"),
    ("a\\..\\b.png",        "a%5C..%5Cb.png"),      # S3 has no backslash
]
REFUSED_PATHS = [
    "", "/", "//a.png", "a//b.png", "a.png/", ".", "..", "../a.png", "sky/../../a.png", "sky/./a.png", "a\0.png",
    "a\n.png", "a\x7f.png", "a\udc80.png", "x" * 1025,
]
# fmt: on


@pytest.mark.parametrize(("path", "key"), PATHS)
async def test_a_path_is_a_key_below_the_prefix(path: str, key: str, make: Make, server: Origin) -> None:
    server.responses[f"/pictures/shop/{key}"] = reply(ETag='"1"')
    assert await body_of(make(), path) == PNG
    assert server.paths() == [f"/pictures/shop/{key}"]


@pytest.mark.parametrize("path", REFUSED_PATHS)
async def test_a_path_that_leaves_the_prefix_or_names_no_object_is_not_requested(
    path: str, make: Make, server: Origin
) -> None:
    source = make()
    with pytest.raises(SourceNotFound):
        source.stat(SitePath(path))
    with pytest.raises(SourceNotFound):
        await source.open(SitePath(path))
    assert server.requests == []


def test_the_store_accepts_every_checked_path() -> None:
    store = MemoryStore()
    for code in [*range(0x21, 0x250), 0xFFFE, 0x10FFFF]:
        try:
            path = checked_path(f"a{chr(code)}b")
        except SourceNotFound:
            continue
        obstore.put(store, path, b"")


async def test_other_references_are_not_found(make: Make) -> None:
    with pytest.raises(SourceNotFound):
        await make().open(WebUrl("https://a.example/x"))


def test_identities_name_the_bucket(make: Make) -> None:
    assert make().identity(SitePath("/sky/blue.png")) == "s3:pictures/shop/sky/blue.png"


# ------------------------------------------------------------------------------------------ other vendors

GOOGLE = {"base_url": "{}", "skip_signature": "true"}  # {} is the server's URL
AZURE = {"endpoint": "{}/account", "account_name": "account", "account_key": "a2V5"}
VENDORS = [
    ("gs://pictures", GOOGLE, "/pictures/shop%2Fa%2Epng"),
    ("az://pictures", AZURE, "/account/pictures/shop/a.png"),
]


@pytest.mark.parametrize(("url", "options", "path"), VENDORS)
async def test_vendors(
    url: str, options: dict[str, str], path: str, server: Origin, originals: OriginalCache, clock: Clock
) -> None:
    given = {name: text.replace("{}", server.url("")) for name, text in options.items()}
    store = open_store(url, "source", LIMITS.times, options={**given, "allow_http": "true"})
    source = ObjectSource(store, PLACE, originals, limits=LIMITS, clock=clock)
    server.responses[path] = reply(ETag='"1"', Cache_Control="max-age=60", Last_Modified=MODIFIED)
    assert await body_of(source, "a.png") == PNG
    with pytest.raises(SourceNotFound):
        await source.open(SitePath("none.png"))
    await source.close()


# ------------------------------------------------------------------------------------------ freshness


async def test_a_fresh_object_is_fetched_once_and_then_revalidated(make: Make, server: Origin, clock: Clock) -> None:
    conditions: list[str | None] = []

    async def respond(request: ReceivedRequest, send: Send) -> None:
        conditions.append(request.headers.get("if-none-match"))
        is_same = conditions[-1] == '"v1"'
        headers = {"ETag": '"v1"', "Last_Modified": MODIFIED, "Cache_Control": "max-age=60, must-revalidate"}
        await send(reply(b"" if is_same else PNG, 304 if is_same else 200, **headers))

    server.responses["/pictures/shop/a.png"] = respond
    source = make()
    assert source.stat(SitePath("a.png")) is None
    assert await body_of(source, "a.png") == PNG
    first = source.stat(SitePath("a.png"))
    assert first is not None
    assert first.cache_control == "max-age=60, must-revalidate"
    assert first.modified_s == 1_799_996_400.0
    clock.now += 59
    assert await body_of(source, "a.png") == PNG
    clock.now += 2
    assert source.stat(SitePath("a.png")) is None
    assert await body_of(source, "a.png") == PNG
    assert source.stat(SitePath("a.png")) == first
    assert conditions == [None, '"v1"']


async def test_originals_survive_a_restart(make: Make, server: Origin, tmp_path: Path, clock: Clock) -> None:
    server.responses["/pictures/shop/a.png"] = reply(ETag='"1"', Cache_Control="max-age=60")
    await body_of(make(), "a.png")
    again = OriginalCache(tmp_path / "originals", clock=clock)
    source = ObjectSource(store_at(server), PLACE, again, clock=clock)
    assert await body_of(source, "a.png") == PNG
    assert len(server.requests) == 1


async def test_another_place_does_not_serve_the_originals_of_this_one(
    make: Make, server: Origin, originals: OriginalCache, clock: Clock
) -> None:
    server.responses["/pictures/shop/a.png"] = reply(ETag='"1"', Cache_Control="max-age=60")
    await body_of(make(), "a.png")
    other = ObjectSource(store_at(server), BucketPlace("s3:pictures", "shop", "other"), originals, clock=clock)
    assert other.stat(SitePath("a.png")) is None


# ------------------------------------------------------------------------------------------ failures

# fmt: off
FAILURES = [
    # the bucket's response                           problem         word of it          requests   word of the log
    (error("NoSuchKey", 404),                         SourceNotFound, "does not exist",   {1},       None),
    (error("NoSuchBucket", 404),                      SourceFailed,   "may not read",     {1},       "refuses"),
    (error("AccessDenied", 403),                      SourceFailed,   "may not read",     {1},       "refuses"),
    (error("SignatureDoesNotMatch", 403),             SourceFailed,   "may not read",     {1},       "refuses"),
    (error("ExpiredToken", 400),                      SourceFailed,   "may not read",     {1},       "refuses"),
    (error("PermanentRedirect", 301),                 SourceFailed,   "may not read",     {1},       "refuses"),
    (error("SlowDown", 503),                          SourceFailed,   "limits",           {3}, "limits"),
    (error("TooManyRequests", 429),                   SourceFailed,   "limits",           {3}, "limits"),
    (error("InternalError", 500),                     SourceFailed,   "reached",          {3}, "failed"),
    (reply(bytes(5000), ETag='"1"'),                  SourceUnusable, "not an image",     {1},       None),
    (reply(PNG + bytes(10_000), ETag='"1"'),          SourceTooLarge, "10,000 bytes",     {1},       None),
    (reply(PNG, Content_Encoding="gzip", ETag='"1"'), UnknownEncoding, "Content-Encoding", {1},      None),
]
# fmt: on


@pytest.mark.parametrize(("response", "kind", "word", "requests", "logged"), FAILURES)
async def test_failures_are_told_apart(
    response: bytes,
    kind: type[Problem],
    word: str,
    requests: set[int],
    logged: str | None,
    make: Make,
    server: Origin,
) -> None:
    server.responses["/pictures/shop/a.png"] = response
    with structlog.testing.capture_logs() as logs, pytest.raises(kind) as caught:
        await make().open(SitePath("a.png"))
    assert word in caught.value.detail
    assert len(server.requests) in requests
    assert "secret-reason" not in str(caught.value)
    warnings = [entry for entry in logs if entry["log_level"] == "warning"]
    assert [logged in entry["event"] for entry in warnings if logged] == ([True] if logged else [])
    assert all(entry["fix"] and entry["bucket"] == "s3:pictures" for entry in warnings)
    assert "secret-of-the-shop" not in repr(logs)


async def test_the_last_retry_of_a_throttled_request_is_before_the_deadline(
    make: Make, server: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the failure would be a SourceTimeout."""
    monkeypatch.setattr(objects, "_RETRIES", 1000)
    server.responses["/pictures/shop/a.png"] = error("SlowDown", 503)
    with pytest.raises(SourceFailed, match="limits"):
        await make().open(SitePath("a.png"))
    assert len(server.requests) > 3


async def test_a_throttled_request_is_repeated_after_a_pause(make: Make, server: Origin) -> None:
    responses = [error("SlowDown", 503), error("SlowDown", 503), reply(ETag='"1"')]

    async def respond(_: ReceivedRequest, send: Send) -> None:
        await send(responses.pop(0))

    server.responses["/pictures/shop/a.png"] = respond
    assert await body_of(make(), "a.png") == PNG
    assert len(server.requests) == 3


async def test_a_slow_bucket_is_a_timeout(make: Make, server: Origin) -> None:
    async def never(_: ReceivedRequest, send: Send) -> None:
        await asyncio.Event().wait()

    server.responses["/pictures/shop/a.png"] = never
    limits = BucketLimits(connect_s=0.2, read_s=0.2, total_s=0.4)
    with pytest.raises(SourceTimeout):
        await make(limits).open(SitePath("a.png"))


async def test_a_bucket_that_cannot_be_reached_fails(originals: OriginalCache) -> None:
    nothing_listens = {"endpoint": "http://127.0.0.1:9", "access_key_id": "i", "secret_access_key": "s"}
    store = open_store("s3://pictures", "x", LIMITS.times, options={**nothing_listens, "allow_http": "true"})
    source = ObjectSource(store, PLACE, originals, limits=LIMITS)
    with pytest.raises((SourceFailed, SourceTimeout)):
        await source.open(SitePath("a.png"))
    await source.close()


@pytest.mark.parametrize("failure", [error("AccessDenied", 403), error("SlowDown", 503)])
async def test_a_stale_original_replaces_a_failure_of_the_bucket(
    failure: bytes, make: Make, server: Origin, clock: Clock
) -> None:
    server.responses["/pictures/shop/a.png"] = reply(ETag='"1"', Cache_Control="max-age=1")
    source = make()
    await body_of(source, "a.png")
    clock.now += 3600
    server.responses["/pictures/shop/a.png"] = failure
    assert await body_of(source, "a.png") == PNG
    assert len(server.requests) > 1


async def test_a_deleted_object_is_not_replaced_by_a_stale_original(make: Make, server: Origin, clock: Clock) -> None:
    server.responses["/pictures/shop/a.png"] = reply(ETag='"1"', Cache_Control="max-age=1")
    source = make()
    await body_of(source, "a.png")
    clock.now += 3600
    server.responses["/pictures/shop/a.png"] = error("NoSuchKey", 404)
    with pytest.raises(SourceNotFound):
        await source.open(SitePath("a.png"))


async def test_requests_wait_for_a_free_slot(make: Make, server: Origin) -> None:
    go = asyncio.Event()

    async def wait(_: ReceivedRequest, send: Send) -> None:
        await go.wait()
        await send(reply(ETag='"1"'))

    for name in "abc":
        server.responses[f"/pictures/shop/{name}.png"] = wait
    source = make(BucketLimits(connect_s=0.3, read_s=5, total_s=9, concurrency=2))
    tasks = [asyncio.create_task(body_of(source, f"{name}.png")) for name in "abc"]
    with pytest.raises(Overloaded):
        await tasks[2]
    assert len(server.requests) == 2
    go.set()
    assert await asyncio.gather(*tasks[:2]) == [PNG, PNG]


async def test_bytes_that_stop_early_are_not_an_image(make: Make, server: Origin) -> None:
    server.responses["/pictures/shop/a.png"] = reply(PNG, Content_Length="5000", ETag='"1"')
    with pytest.raises((SourceFailed, SourceTimeout)):
        await make().open(SitePath("a.png"))


# fmt: off
PATHS_LIKE_FAILURES = [
    # path                                 response                       problem
    ("status code: 403 .jpg",              error("NoSuchKey", 404),       SourceNotFound),
    ("a status code: 403",                 error("NoSuchKey", 404),       SourceNotFound),
    ("<Code>NoSuchBucket</Code>.jpg",      error("NoSuchKey", 404),       SourceNotFound),
    ("<Code>SlowDown</Code>.jpg",          error("AccessDenied", 403),    SourceFailed),
    ("<Code>NoSuchBucket</Code>.jpg",      error("InternalError", 500),   SourceFailed),
    ("a.jpg",                              error("NoSuchBucket", 404),    SourceFailed),
]
# fmt: on


@pytest.mark.parametrize(("path", "response", "kind"), PATHS_LIKE_FAILURES)
async def test_the_path_of_a_request_does_not_decide_the_kind_of_a_failure(
    path: str, response: bytes, kind: type[Problem], make: Make, server: Origin
) -> None:
    """Errors of the client contain the key."""
    server.responses[f"/pictures/shop/{quote(path)}"] = response
    is_refused = b"AccessDenied" in response or b"NoSuchBucket" in response
    with structlog.testing.capture_logs() as logs, pytest.raises(kind):
        await make().open(SitePath(path))
    assert ("the bucket refuses requests" in [entry["event"] for entry in logs]) == is_refused


# ------------------------------------------------------------------------------------------ the check

# fmt: off
CHECKS = [
    (error("NoSuchKey", 404),             None),
    (reply(b"x", 206, ETag='"1"', Content_Range="bytes 0-0/9"), None),  # the object exists
    (error("NoSuchBucket", 404),          (Failure.REFUSED, "NoSuchBucket")),
    (error("InvalidAccessKeyId", 403),    (Failure.REFUSED, "InvalidAccessKeyId")),
]
# fmt: on


@pytest.mark.parametrize(("response", "issue"), CHECKS)
async def test_the_check_sends_one_request(response: bytes, issue: object, server: Origin) -> None:
    server.responses["/pictures/shop/cropmark-check"] = response
    assert await check_reachable(store_at(server), PLACE, LIMITS) == issue
    assert len(server.requests) == 1


# ------------------------------------------------------------------------------------------ credentials


@pytest.fixture
def no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A home without credentials."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "AZURE_", "GOOGLE_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("url", ["s3://pictures", "gs://pictures", "az://pictures"])
def test_a_store_without_credentials_is_not_opened(url: str, no_credentials: Path) -> None:
    with pytest.raises(StoreUnusable, match="no credentials"):
        open_store(url, "source", LIMITS.times)


async def test_a_profile_of_the_vendors_tools_is_used(
    no_credentials: Path, monkeypatch: pytest.MonkeyPatch, server: Origin
) -> None:
    folder = no_credentials / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text("[shop]\naws_access_key_id = AKIASHOP\naws_secret_access_key = s%cret\n")
    (folder / "config").write_text("[profile shop]\nregion = eu-central-1\n")
    monkeypatch.setenv("AWS_PROFILE", "shop")
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url(""))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    await check_reachable(open_store("s3://pictures", "source", LIMITS.times), PLACE, LIMITS)
    signed = server.requests[0].headers["authorization"]
    assert "Credential=AKIASHOP/" in signed
    assert "/eu-central-1/s3/" in signed


@pytest.mark.parametrize(
    ("options", "is_same"),
    [
        ({"region": "eu"}, True),
        ({"region": "eu", "access_key_id": "x"}, True),  # another key gives the same bytes
        ({"region": "us"}, False),
        ({"region": "eu", "endpoint": "http://a"}, False),
    ],
)
def test_originals_are_shared_by_keys_but_not_by_stores(options: dict[str, str], is_same: bool) -> None:
    assert (store_scope("s3://b", options) == store_scope("s3://b", {"region": "eu"})) is is_same


@pytest.mark.parametrize("allowed", ["", "false"])
def test_an_endpoint_without_tls_must_be_allowed(
    allowed: str, no_credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.internal")
    monkeypatch.setenv("AWS_ALLOW_HTTP", allowed)
    key = {"access_key_id": "a", "secret_access_key": "b"}
    with pytest.raises(StoreUnusable, match=r"begins with http://.*AWS_ALLOW_HTTP=true"):
        open_store("s3://b", "source", LIMITS.times, options=key)
    open_store("s3://b", "source", LIMITS.times, options={**key, "allow_http": "true"})


def test_an_unknown_option_is_named(no_credentials: Path) -> None:
    with pytest.raises(StoreUnusable, match="nonsense"):
        open_store("s3://b", "source", LIMITS.times, options={"access_key_id": "a", "nonsense": "b"})
