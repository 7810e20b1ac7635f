"""Traces of a real server, as a receiver of OTLP over HTTP gets them."""

from __future__ import annotations

import gzip
import importlib.util
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import structlog

from cropmark.runtime import tracing
from tests.builders import make_images, wait_until
from tests.requirements import require
from tests.web.asgi_client import FakePipeline, app_of
from tests.web.server_process import Running, running

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CONTEXT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
otel = require("opentelemetry", importlib.util.find_spec("opentelemetry") is not None)


@dataclass
class Received:
    """The spans that came, and the trace context of each request for an image."""

    spans: list[Any] = field(default_factory=list)
    resources: list[dict[str, str]] = field(default_factory=list)
    contexts: list[str | None] = field(default_factory=list)

    def read(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - of the extra `otel`
            ExportTraceServiceRequest,
        )

        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append({pair.key: pair.value.string_value for pair in group.resource.attributes})
            self.spans += (span for scope in group.scope_spans for span in scope.spans)

    def named(self, name: str) -> list[Any]:
        return [span for span in self.spans if span.name == name]


@contextmanager
def collector(image: bytes) -> Iterator[tuple[str, Received]]:
    """A receiver of traces, which is an origin of one image too."""
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.read(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self._reply(b"", "application/x-protobuf")

        def do_GET(self) -> None:
            received.contexts.append(self.headers["traceparent"])
            self._reply(image, "image/jpeg")

        def _reply(self, body: bytes, media_type: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def traced(tmp_path: Path, url: str, settings: str = "trusted_proxies = ['127.0.0.1']") -> Iterator[Running]:
    config = tmp_path / "cropmark.toml"
    site = f"[[site]]\nname = 'shop'\nprefix = '/shop'\ndialect = 'fastly'\nsource = '{url}'\n"
    config.write_text(f"{settings}\n{site}")
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
    }
    with running("--config", str(config), cache=tmp_path / "cache", environment=environment) as server:
        yield server


@pytest.fixture
def image(tmp_path: Path) -> bytes:
    (tmp_path / "pictures").mkdir()
    return (make_images(tmp_path / "pictures") / "wide.jpg").read_bytes()


@otel
def test_a_request_and_its_stages_are_spans(tmp_path: Path, image: bytes) -> None:
    """In the trace of the proxy, which goes on at the origin; its id is in the log."""
    with collector(image) as (url, received), traced(tmp_path, url) as server:
        reply = server.get("/shop/wide.jpg?width=50", headers={**CONTEXT, "X-Request-Id": "from-the-proxy"})
        assert (reply.status_code, reply.headers["x-request-id"]) == (200, "from-the-proxy")
        wait_until(lambda: received.named("GET"))
        lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    (request,) = received.named("GET")
    assert (request.trace_id.hex(), request.parent_span_id.hex(), request.kind) == (TRACE, PARENT, 2)
    attributes = {pair.key: pair.value for pair in request.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["url.path"].string_value == "/shop/wide.jpg"
    assert attributes["cropmark.request_id"].string_value == "from-the-proxy"
    assert {span.trace_id.hex() for span in received.spans} == {TRACE}
    stages = {span.name: span for span in received.spans if span.parent_span_id == request.span_id}
    assert {"fetch", "queue", "render", "store"} <= set(stages)
    for stage in stages.values():
        assert request.start_time_unix_nano <= stage.start_time_unix_nano + 50_000_000
        assert stage.start_time_unix_nano <= stage.end_time_unix_nano <= request.end_time_unix_nano
    (context,) = received.contexts
    assert context is not None
    assert context.split("-")[1] == TRACE
    assert context.split("-")[2] != PARENT
    resource = received.resources[0]
    assert (resource["service.name"], resource["deployment.environment"]) == ("cropmark", "test")
    (line,) = (line for line in lines if line["event"] == "request")
    assert (line["trace_id"], line["id"]) == (TRACE, "from-the-proxy")


@otel
@pytest.mark.parametrize(("settings", "continues"), [("", False), ("trace_from_anyone = true", True)])
def test_the_trace_of_a_client_is_continued_if_that_is_set(
    tmp_path: Path, image: bytes, settings: str, continues: bool
) -> None:
    """A hit is a span too."""
    with collector(image) as (url, received), traced(tmp_path, url, settings) as server:
        for _ in range(2):
            server.get("/shop/wide.jpg?width=50", headers=CONTEXT)
        wait_until(lambda: len(received.named("GET")) == 2)
    assert {span.trace_id.hex() == TRACE for span in received.named("GET")} == {continues}


@otel
def test_a_collector_that_is_away_fails_no_request(tmp_path: Path, image: bytes) -> None:
    assert image
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",  # until it gives up, which the server awaits when it stops
        "OTEL_BSP_SCHEDULE_DELAY": "50",
    }
    with running(str(tmp_path / "pictures"), cache=tmp_path / "other", environment=environment) as server:
        assert server.get("/fastly/wide.jpg?width=50").status_code == 200


def test_without_an_endpoint_the_app_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    tracing.start()()
    assert not tracing.is_on()
    assert app_of(FakePipeline())._respond.__qualname__ == "HitPath.respond"
    assert (tracing.trace_id(), tracing.outgoing_headers()) == ("", {})


def test_an_endpoint_without_the_extra_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    for name in [*sys.modules, "opentelemetry"]:
        if name.partition(".")[0] == "opentelemetry":
            monkeypatch.setitem(sys.modules, name, None)
    with structlog.testing.capture_logs() as logs:
        tracing.start()()
    assert not tracing.is_on()
    assert [(line["log_level"], line["fix"]) for line in logs] == [("warning", "install cropmark[otel]")]
