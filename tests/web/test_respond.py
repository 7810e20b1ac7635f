"""The access log and the byte counts of requests to the app."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Any

import pytest
import structlog

from cropmark.model.problems import SourceNotFound
from cropmark.pipeline import Delivered, RequestContext
from cropmark.plan.plan import Order
from cropmark.ports import Source
from cropmark.runtime.metrics import Metrics
from tests.web.asgi_client import FakePipeline, app_of, respond

WIDE = b"/fastly/a.jpg?width=9"
ETAG = ((b"if-none-match", b'"etag"'),)


@dataclass
class SlowFailure(FakePipeline):
    async def deliver(self, source: Source, order: Order, context: RequestContext) -> Delivered:
        await asyncio.sleep(0.02)
        raise SourceNotFound("missing")


def logged(pipeline: FakePipeline, target: bytes = WIDE, times: int = 1, **more: Any) -> list[Any]:
    app = app_of(pipeline, access_log=more.pop("access_log", "misses"))
    with structlog.testing.capture_logs() as logs:
        for _ in range(times):
            respond(app, target, **more)
    return [line for line in logs if line["event"] == "request"]


def test_the_line_of_an_error_has_its_time() -> None:
    (line,) = logged(SlowFailure())
    assert (line["status"], line["ms"] >= 20) == (404, True)


# fmt: off
LINES = [
    # access_log  target                headers            site      status   lines of the second request
    ("misses",    WIDE,                 ETAG,              "fastly", 304,     0),
    ("all",       WIDE,                 ETAG,              "fastly", 304,     1),
    ("all",       WIDE,                 (),                "fastly", 200,     1),
    ("misses",    b"/nowhere",          (),                "none",   404,     1),   # no site serves it
    ("misses",    b"/" + b"a" * 9000,   (),                "none",   414,     1),
    ("misses",    WIDE,                 ((b"x", b"a" * 40_000),), "none", 431, 1),
    ("off",       b"/nowhere",          (),                "none",   404,     0),
]
# fmt: on


@pytest.mark.parametrize(("access_log", "target", "headers", "site", "status", "lines"), LINES)
def test_lines_of_requests(access_log: str, target: bytes, headers: Any, site: str, status: int, lines: int) -> None:
    pipeline = FakePipeline(always_hit=True)
    found = logged(pipeline, target, times=2, access_log=access_log, headers=headers)
    found = found[-lines:] if lines else []
    assert [(line["site"], line["status"]) for line in found] == [(site, status)] * lines
    assert all(line["ms"] is not None for line in found)


def test_a_304_of_the_miss_path_has_a_line() -> None:
    (line,) = logged(FakePipeline(), headers=ETAG)
    assert (line["status"], line["cache"], line["bytes"]) == (304, "miss", 0)


# fmt: off
BYTES = [
    # cache hits   method   target   bytes of one response
    (True,         "GET",   WIDE,    3),
    (True,         "HEAD",  WIDE,    0),
    (False,        "GET",   WIDE,    3),
    (False,        "HEAD",  WIDE,    0),
]
# fmt: on


@pytest.mark.parametrize(("hits", "method", "target", "length"), BYTES)
def test_the_bytes_of_sent_bodies_are_counted(hits: bool, method: str, target: bytes, length: int) -> None:
    metrics = Metrics()
    app = app_of(FakePipeline(always_hit=hits), metrics=metrics)
    sent = [len(respond(app, target, method=method).body) for _ in range(3)]
    assert sent == [length] * 3
    counted = f'cropmark_response_bytes_total{{dialect="fastly"}} {3.0 * length}' in metrics.exposition().decode()
    assert counted == (length > 0)


def test_the_line_of_a_head_counts_no_bytes() -> None:
    assert [line["bytes"] for line in logged(FakePipeline(), method="HEAD")] == [0]


def test_the_bytes_of_errors_are_counted() -> None:
    metrics = Metrics()
    body = respond(app_of(SlowFailure(), metrics=metrics), WIDE).body
    assert f'bytes_total{{dialect="fastly"}} {float(len(body))}' in metrics.exposition().decode()


def test_a_preflight_has_a_line_and_an_id() -> None:
    (line,) = logged(FakePipeline(), method="OPTIONS")
    assert (line["method"], line["status"], line["site"], line["ms"] >= 0) == ("OPTIONS", 204, "fastly", True)
    reply = respond(app_of(FakePipeline()), WIDE, method="OPTIONS")
    assert reply.header("x-request-id")


# fmt: off
REASONS = [
    # target                        method  reason
    (b"/fastly/wide.jpg?width=x",   "GET",  "bad_value"),
    (b"/fastly/wide.jpg",           "POST", "method_not_allowed"),
    (b"/fastly/a b.jpg",            "GET",  "bad_request"),
]
# fmt: on


@pytest.mark.parametrize(("target", "method", "reason"), REASONS)
def test_the_reasons_of_rejected_requests_are_counted(target: bytes, method: str, reason: str) -> None:
    metrics = Metrics()
    app = app_of(FakePipeline(), metrics=metrics)
    assert 400 <= respond(app, target, method=method).status < 500
    assert f'cropmark_rejected_requests_total{{reason="{reason}"}} 1.0' in metrics.exposition().decode()


@pytest.mark.parametrize("target", [WIDE, b"/fastly/wide.jpg?width=x"])
def test_every_request_is_timed(target: bytes) -> None:
    """Memory hits too."""
    metrics = Metrics()
    app = app_of(FakePipeline(always_hit=True), metrics=metrics)
    for _ in range(3):
        respond(app, target)
    page = metrics.exposition().decode()
    counts = re.findall(r'duration_seconds_bucket\{.*le="\+Inf",site="fastly",.*\} (.+)', page)
    assert sum(map(float, counts)) == 3
    sums = re.findall(r"duration_seconds_sum\{.*\} (.+)", page)
    assert all(0 < float(total) < 1 for total in sums)
