"""Exports OpenTelemetry traces: a span for each request, with a span for each of its stages.

OpenTelemetry's own environment variables configure the export. Without OTEL_EXPORTER_OTLP_ENDPOINT, tracing is off: the
functions return empty values, and the app does not call them for a cache hit. If several requests share a task, the
task's spans belong to the request that started the task.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import metadata
from typing import Any, Final

import structlog

log = structlog.get_logger("cropmark.tracing")

_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_CONTEXT_HEADERS: Final = ("traceparent", "tracestate")
_MAX_CONTEXT: Final = 1024
"""Longest value of a trace context header that is read."""

_tracer: Any = None  # the SDK belongs to the extra `otel`, which may not be installed


def start() -> Callable[[], None]:
    """Begin exporting traces, if an endpoint is configured. Returns a function that sends waiting spans and stops."""
    global _tracer  # noqa: PLW0603 - as the tracer provider of OpenTelemetry, one per process
    if not any(map(os.environ.get, _ENDPOINTS)) or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return lambda: None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - an extra
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        log.warning("traces are off: OpenTelemetry is not installed", fix="install cropmark[otel]")
        return lambda: None
    provider = TracerProvider(resource=Resource.create(_resource()), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    _tracer = provider.get_tracer("cropmark")
    return lambda: _end(provider)


def _resource() -> dict[str, str]:
    version = {"service.version": metadata.version("cropmark")}
    named = os.environ.get("OTEL_SERVICE_NAME") or "service.name" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    return version if named else {**version, "service.name": "cropmark"}


def _end(provider: Any) -> None:
    global _tracer  # noqa: PLW0603 - see start()
    _tracer = None
    provider.shutdown()


def is_on() -> bool:
    """True while traces are exported."""
    return _tracer is not None


@contextmanager
def request_span(method: str, attributes: Mapping[str, str], carrier: Mapping[str, str]) -> Iterator[Any]:
    """Run the block in a span of a request, and yield the span.

    The span continues the trace named by the headers in `carrier`; without them, it begins a trace.
    """
    from opentelemetry.propagate import extract  # noqa: PLC0415 - an extra
    from opentelemetry.trace import SpanKind  # noqa: PLC0415

    with _tracer.start_as_current_span(
        method, context=extract(carrier), kind=SpanKind.SERVER, attributes=attributes
    ) as span:
        yield span


def context_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The trace context headers among the headers of a request: traceparent and tracestate."""
    found = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if len(value) <= _MAX_CONTEXT}
    return {name: found[name] for name in _CONTEXT_HEADERS if name in found}


def span(name: str) -> AbstractContextManager[object]:
    """A context manager that runs its block in a span of a stage. Does nothing while tracing is off."""
    return nullcontext() if _tracer is None else _tracer.start_as_current_span(name)


def stage_spans(stages: Iterable[tuple[str, float]]) -> None:
    """Record a span for each stage, given by its name and milliseconds.

    The stages ran one after the other, and the last stage ended now.
    """
    if _tracer is None:
        return
    stages = tuple(stages)
    at_ns = time.time_ns() - int(sum(ms for _, ms in stages) * 1e6)
    for name, ms in stages:
        stage = _tracer.start_span(name, start_time=at_ns)
        at_ns += int(ms * 1e6)
        stage.end(at_ns)


def outgoing_headers() -> dict[str, str]:
    """The headers by which a request to another server continues the current trace; empty while tracing is off."""
    if _tracer is None:
        return {}
    from opentelemetry.propagate import inject  # noqa: PLC0415 - an extra

    carrier: dict[str, str] = {}
    inject(carrier)
    return {name: carrier[name] for name in _CONTEXT_HEADERS if name in carrier}


def trace_id() -> str:
    """The id of the current trace, in hexadecimal; empty without a trace."""
    if _tracer is None:
        return ""
    from opentelemetry.trace import get_current_span  # noqa: PLC0415 - an extra

    context = get_current_span().get_span_context()
    return f"{context.trace_id:032x}" if context.is_valid else ""
