"""Prometheus metrics. METRICS describes every one; a metric that is not in the table cannot be exposed.

`Metrics` has its own registry, so that two servers in one process, and tests, count separately.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector

BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
"""Upper bounds of the histogram buckets in seconds."""


class MetricType(Enum):
    """The type of a metric in Prometheus."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """The description of one metric."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str


def _counter(name: str, help_text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, MetricType.COUNTER, labels, help_text)


def _gauge(name: str, help_text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, MetricType.GAUGE, labels, help_text)


def _histogram(name: str, help_text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, MetricType.HISTOGRAM, labels, help_text)


METRICS: Final = (
    _counter(
        "cropmark_requests_total", "Requests, by dialect, HTTP status and cache result.", "dialect", "status", "cache"
    ),
    _histogram(
        "cropmark_request_duration_seconds",
        "Time from the request to the end of its response; cache hits are not timed.",
        "dialect",
        "cache",
    ),
    _gauge("cropmark_requests_in_progress", "Requests in progress."),
    _counter(
        "cropmark_response_bytes_total",
        "Bytes of response bodies that were sent.",
        "dialect",
    ),
    _counter("cropmark_saved_bytes_total", "Bytes by which rendered images are smaller than their sources."),
    _counter("cropmark_coalesced_requests_total", "Cache misses that shared the render of another request."),
    _histogram("cropmark_render_stage_duration_seconds", "Time per stage of a render.", "stage"),
    _gauge("cropmark_renderer_processes", "Renderer processes that run."),
    _gauge("cropmark_renderer_tasks_running", "Tasks that renderers work on."),
    _counter("cropmark_renderer_restarts_total", "Renderer processes replaced, by cause.", "cause"),
    _gauge("cropmark_sandbox_active", "1 if the sandbox is fully active."),
    _gauge("cropmark_queue_tasks", "Tasks that wait for a renderer."),
    _gauge("cropmark_queue_estimated_work_seconds", "Estimated CPU time of the tasks that wait for a renderer."),
    _counter("cropmark_queue_rejected_total", "Tasks rejected because the queue was full."),
    _counter("cropmark_queue_dropped_total", "Tasks cancelled by their clients while they waited."),
    _gauge("cropmark_cache_entries", "Entries in the cache.", "tier"),
    _gauge("cropmark_cache_bytes", "Bytes in the cache.", "tier"),
    _counter("cropmark_cache_hits_total", "Lookups that found an entry.", "tier"),
    _counter("cropmark_cache_misses_total", "Lookups that found no entry.", "tier"),
    _counter("cropmark_cache_evictions_total", "Entries removed to free space.", "tier"),
    _counter("cropmark_cache_errors_total", "Storage errors.", "tier"),
    _gauge("cropmark_library_reachable", "1 if the library's database responds."),
    _gauge("cropmark_library_feed_age_seconds", "Time since the changes of the library were last read."),
    _counter("cropmark_library_stale_lookups_total", "Assets served from memory while the database did not respond."),
    _counter("cropmark_library_rejected_lookups_total", "Lookups that failed because the database did not respond."),
)
_SPECS: Final = {spec.name: spec for spec in METRICS}

Sample = tuple[str, tuple[str, ...], float]
"""The name of a metric in METRICS, the values of its labels, its value."""


class Metrics:
    """The metrics of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = self._counter("cropmark_requests_total")
        self._durations = self._histogram("cropmark_request_duration_seconds")
        self._by_request: dict[tuple[str, int, str], tuple[Counter, Histogram]] = {}
        self.response_bytes: Counts[str] = Counts()
        """Bytes of sent response bodies, by dialect. Not a Counter: adding to a number is faster on a memory hit."""
        self.add_samples(lambda: [("cropmark_response_bytes_total", (d,), n) for d, n in self.response_bytes.items()])
        self.saved_bytes = self._counter("cropmark_saved_bytes_total")
        self.coalesced_requests = self._counter("cropmark_coalesced_requests_total")
        self.stage_duration = self._histogram("cropmark_render_stage_duration_seconds")

    def request_counter(self, dialect: str, status: int, cache: str) -> Counter:
        """The counter of requests with these labels, for a caller that cannot afford count_request()."""
        return self._requests.labels(dialect, str(status), cache)

    def count_request(self, dialect: str, status: int, cache: str, duration_s: float | None) -> None:
        """Count a request after its response. `cache`: hit-memory, hit-disk, hit-shared, miss or none.

        `duration_s` None: the request was not timed.
        """
        key = (dialect, status, cache)
        series = self._by_request.get(key)  # labels() takes longer than everything else here, on every hit
        if series is None:
            series = self._requests.labels(dialect, str(status), cache), self._durations.labels(dialect, cache)
            self._by_request[key] = series
        series[0].inc()
        if duration_s is not None:
            series[1].observe(duration_s)

    def add_samples(self, read: Callable[[], Iterable[Sample]]) -> None:
        """Expose values that are counted elsewhere; `read` is called at every scrape."""
        self._registry.register(_SampleCollector(read))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str) -> Counter:
        return Counter(name, _SPECS[name].help, _SPECS[name].labels, registry=self._registry)

    def _histogram(self, name: str) -> Histogram:
        return Histogram(name, _SPECS[name].help, _SPECS[name].labels, registry=self._registry, buckets=BUCKETS_S)


class _SampleCollector(Collector):
    def __init__(self, read: Callable[[], Iterable[Sample]]) -> None:
        self._read = read

    def collect(self) -> Iterable[MetricFamily]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for name, labels, value in self._read():
            family = families.get(name)
            if family is None:
                spec = _SPECS[name]
                new_family = CounterMetricFamily if spec.type is MetricType.COUNTER else GaugeMetricFamily
                family = families[name] = new_family(name, spec.help, labels=spec.labels)
            family.add_metric(labels, value)
        return families.values()
