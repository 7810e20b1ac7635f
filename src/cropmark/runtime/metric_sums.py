"""Combines the metrics of several front processes into those of one server, in Prometheus' text format.

Counters and histograms are added. Those of fronts that have ended are included, so that no sum decreases. For each
gauge, the table of metrics (metric_table.py) defines the combination: sum, largest or smallest value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample as PrometheusSample

from cropmark.runtime.metric_table import SPECS, Combination

_COUNTED: Final = ("counter", "histogram")
_SHARED_TIERS: Final = ("disk",)
"""Cache tiers that all fronts share: each of them reports the whole size."""


def sum_of(running: Sequence[str], ended: Iterable[str] = ()) -> bytes:
    """The combined metrics of fronts, in Prometheus' text format.

    `running` has the text of each running front. `ended` has that of fronts that have ended; only their counters and
    histograms are added.
    """
    families: dict[str, MetricFamily] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for is_running, text in [*((True, text) for text in running), *((False, text) for text in ended)]:
        for family in text_string_to_metric_families(text):
            if not is_running and family.type not in _COUNTED:
                continue
            families.setdefault(family.name, family)
            found = values.setdefault(family.name, {})
            for sample in family.samples:
                key = (sample.name, tuple(sorted(sample.labels.items())))
                is_new = key not in found
                found[key] = sample.value if is_new else _combined(family, sample, found[key])
    return generate_latest(_registry([_family(families[name], found) for name, found in values.items()]))


def _combined(family: MetricFamily, sample: PrometheusSample, before: float) -> float:
    if family.type in _COUNTED:
        return before + sample.value
    match SPECS[family.name].combination:
        case Combination.SUM if sample.labels.get("tier") in _SHARED_TIERS:
            return max(before, sample.value)
        case Combination.SUM:
            return before + sample.value
        case Combination.MAX:
            return max(before, sample.value)
        case Combination.MIN:
            return min(before, sample.value)


def _family(described: MetricFamily, values: dict[tuple[str, tuple[tuple[str, str], ...]], float]) -> MetricFamily:
    family = MetricFamily(described.name, described.documentation, described.type)
    for (name, labels), value in values.items():
        family.add_sample(name, dict(labels), value)
    return family


def _registry(families: list[MetricFamily]) -> CollectorRegistry:
    class Sums(Collector):
        def collect(self) -> Iterable[MetricFamily]:
            return families

    registry = CollectorRegistry()
    registry.register(Sums())
    return registry
