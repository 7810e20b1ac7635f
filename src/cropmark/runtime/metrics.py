"""Counts and exposes Prometheus metrics. metric_table.py describes all of them.

Each `Metrics` has its own registry, so that two servers in one process, and tests, count separately. A reload of the
configuration does not reset it: counters of the parts of a replaced server stay at their last values.
"""

from __future__ import annotations

import platform
from bisect import bisect_left
from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector

from cropmark.runtime.metric_table import SPECS, MetricType

BUCKETS_S: Final = (0.00025, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the histogram buckets in seconds. A memory hit usually falls into the first bucket."""
FIRST_BUCKET_S: Final = BUCKETS_S[0]

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series per counter that nothing reads

Sample = tuple[str, tuple[str, ...], float]
"""The name of a metric in the table, the values of its labels, its value."""
ReadSamples = Callable[[], Iterable[Sample]]


@dataclass(slots=True, eq=False)
class RequestSeries:
    """The histogram of the durations of requests with the same labels.

    `counts` has the number of requests in each bucket of BUCKETS_S, and above the last. prometheus_client's Histogram
    is not used, because its observation takes longer than all other counting for a memory hit.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS_S) + 1))
    sum_s: float = 0.0

    def observe(self, duration_s: float) -> None:
        self.sum_s += duration_s
        self.counts[bisect_left(BUCKETS_S, duration_s)] += 1


class Metrics:
    """The metrics of one server. They continue when its configuration is reloaded."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests: dict[tuple[str, str, str, int], RequestSeries] = {}
        self._samples = _Samples()
        self._registry.register(_Collector(self._request_families))
        self._registry.register(_Collector(self._samples.families))
        ProcessCollector(registry=self._registry)
        self.response_bytes: Counts[str] = Counts()
        """Bytes of sent response bodies, by dialect. Not a Counter: adding to a number is faster on a memory hit."""
        self.rejected: Counts[str] = Counts()
        """Number of requests that ended with an error, by the code of the error."""
        self.read_from(self, self._own_samples)
        self.saved_bytes = self._counter("cropmark_saved_bytes_total")
        self.coalesced_requests = self._counter("cropmark_coalesced_requests_total")
        self.stage_duration = self._histogram("cropmark_render_stage_duration_seconds")
        self._fetches = self._counter("cropmark_origin_fetches_total")
        self._fetch_duration = self._histogram("cropmark_origin_fetch_duration_seconds")
        self._fetched_bytes = self._counter("cropmark_origin_bytes_total")

    def request_series(self, site: str, dialect: str, cache: str, status: int) -> RequestSeries:
        """The histogram of requests with these labels. `cache` is hit-memory, hit-disk, hit-shared, miss or none."""
        series = self._requests.get((site, dialect, cache, status))
        if series is None:
            series = self._requests[site, dialect, cache, status] = RequestSeries()
        return series

    def count_request(self, site: str, dialect: str, status: int, cache: str, duration_s: float) -> None:
        """Count a request when its response is complete."""
        self.request_series(site, dialect, cache, status).observe(duration_s)

    def count_fetch(self, site: str, result: str, duration_s: float, length: int) -> None:
        """Count a fetch of an original from an origin. `length` is the number of bytes of its body that were stored."""
        self._fetches.labels(site, result).inc()
        self._fetch_duration.labels(site).observe(duration_s)
        self._fetched_bytes.labels(site).inc(length)

    def read_from(self, owner: object, read: ReadSamples) -> Callable[[], None]:
        """Expose the values that the object `owner` counts, until the returned function is called.

        `read` returns the values, and is called at each scrape. If several servers share an owner, it is read once per
        scrape. After the last server has ended its reading, the owner's counters stay at their last values.
        """
        return self._samples.read_from(owner, read)

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def _counter(self, name: str) -> Counter:
        return Counter(name, SPECS[name].help, SPECS[name].labels, registry=self._registry)

    def _histogram(self, name: str) -> Histogram:
        return Histogram(name, SPECS[name].help, SPECS[name].labels, registry=self._registry, buckets=BUCKETS_S)

    def _own_samples(self) -> Iterator[Sample]:
        for dialect, length in self.response_bytes.items():
            yield "cropmark_response_bytes_total", (dialect,), length
        for reason, count in self.rejected.items():
            yield "cropmark_rejected_requests_total", (reason,), count

    def _request_families(self) -> Iterator[MetricFamily]:
        spec = SPECS["cropmark_requests_total"]
        total = CounterMetricFamily(spec.name, spec.help, labels=spec.labels)
        spec = SPECS["cropmark_request_duration_seconds"]
        duration = HistogramMetricFamily(spec.name, spec.help, labels=spec.labels)
        classes: dict[tuple[str, ...], RequestSeries] = {}
        for (site, dialect, cache, status), series in self._requests.items():
            if not (requests := sum(series.counts)):
                continue  # prepared for hits that have not come
            total.add_metric((site, dialect, str(status), cache), requests)
            of_class = classes.setdefault((site, dialect, cache, f"{status // 100}xx"), RequestSeries())
            of_class.counts = [a + b for a, b in zip(of_class.counts, series.counts, strict=True)]
            of_class.sum_s += series.sum_s
        for labels, series in classes.items():
            bounds = (*map(str, BUCKETS_S), "+Inf")
            duration.add_metric(labels, list(zip(bounds, accumulate(series.counts), strict=True)), series.sum_s)
        yield total
        yield duration


class _Collector(Collector):
    """A collector for prometheus_client, which gets the metrics from the function `collect` at each scrape."""

    def __init__(self, collect: Callable[[], Iterable[MetricFamily]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[MetricFamily]:
        return self._collect()


@dataclass(slots=True, eq=False)
class _Reader:
    """An object that counts values, and the function that reads them. `uses` is the number of servers that share it."""

    owner: object
    read: ReadSamples
    uses: int = 0


class _Samples:
    """Collects the values that other objects, the owners, count.

    If several owners have the same counter, its values are added. For a gauge, the value of the newest owner is used.
    """

    def __init__(self) -> None:
        self._readers: dict[int, _Reader] = {}
        self._ended: dict[tuple[str, tuple[str, ...]], float] = {}
        """The last values of counters that are no longer read from an owner."""

    def read_from(self, owner: object, read: ReadSamples) -> Callable[[], None]:
        reader = self._readers.pop(id(owner), None) or _Reader(owner, read)
        reader.uses += 1
        self._readers[id(owner)] = reader  # at the end: the newest

        def end() -> None:
            reader.uses -= 1
            if not reader.uses and self._readers.pop(id(reader.owner), None) is reader:
                for name, labels, value in reader.read():
                    if SPECS[name].type is MetricType.COUNTER:
                        self._ended[name, labels] = self._ended.get((name, labels), 0) + value

        return end

    def families(self) -> Iterable[MetricFamily]:
        values: dict[tuple[str, tuple[str, ...]], float] = dict(self._ended)
        for reader in self._readers.values():
            for name, labels, value in reader.read():
                is_counter = SPECS[name].type is MetricType.COUNTER
                values[name, labels] = values.get((name, labels), 0) + value if is_counter else value
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for (name, labels), value in values.items():
            family = families.get(name)
            if family is None:
                spec = SPECS[name]
                new_family = CounterMetricFamily if spec.type is MetricType.COUNTER else GaugeMetricFamily
                family = families[name] = new_family(name, spec.help, labels=spec.labels)
            family.add_metric(labels, value)
        return families.values()


def build_info(version: str, libvips: str) -> Sample:
    """The sample of the metric cropmark_build_info, with the versions of cropmark, libvips and Python as labels."""
    return "cropmark_build_info", (version, libvips, platform.python_version()), 1.0
