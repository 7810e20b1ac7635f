"""What an operator can watch: counters and times for Prometheus, one page of names.

`Metrics` owns its registry, so that two servers in one process (and every test) count apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

Reading = Callable[[], Iterable[tuple[str, str, dict[str, str], float]]]
"""Rows of (name, help, labels, value) read when Prometheus asks; a name that ends in _total is a counter."""


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "cropmark_requests", "Requests answered.", ("dialect", "status", "cache"), registry=self.registry
        )
        self.stage_seconds = Histogram(
            "cropmark_stage_seconds", "Time by stage of a miss.", ("stage",), registry=self.registry, buckets=SECONDS
        )
        self.shared_flights = Counter(
            "cropmark_shared_renders", "Misses answered by another request's render.", registry=self.registry
        )
        self.bytes_out = Counter("cropmark_body_bytes", "Bytes of bodies sent.", ("dialect",), registry=self.registry)
        self.bytes_saved = Counter(
            "cropmark_saved_bytes", "Bytes by which pictures were smaller than their sources.", registry=self.registry
        )
        self.warnings = Counter(
            "cropmark_warnings", "Warnings told to callers.", ("dialect", "parameter"), registry=self.registry
        )

    def read_from(self, reading: Reading) -> None:
        """Ask `reading` for its rows at every scrape."""
        self.registry.register(_Rows(reading))

    def exposition(self) -> bytes:
        """All of it in Prometheus' text format."""
        return generate_latest(self.registry)


class _Rows(Collector):
    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for name, about, labels, value in self._reading():
            family = families.get(name)
            if family is None:
                kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
                family = families[name] = kind(name, about, labels=tuple(labels))
            family.add_metric(tuple(labels.values()), value)  # type: ignore[attr-defined]  # both families have it
        return families.values()
