"""The metrics page: every metric is in the table, the table is complete, and counters never go back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from cropmark.runtime.metric_table import METRICS, MetricType
from cropmark.runtime.metrics import FIRST_BUCKET_S, Metrics, Sample


def page_of(metrics: Metrics) -> str:
    return metrics.exposition().decode()


def test_names_follow_the_conventions_of_prometheus() -> None:
    for spec in METRICS:
        assert re.fullmatch(r"(cropmark|process)_[a-z_]+", spec.name)
        assert spec.name.endswith("_total") == (spec.type is MetricType.COUNTER), spec.name
        assert spec.help.endswith(".")
    assert len({spec.name for spec in METRICS}) == len(METRICS)


def test_every_metric_is_exposed_with_its_type_and_help() -> None:
    metrics = Metrics()
    counted_here = set(re.findall(r"# HELP (\S+)", page_of(metrics)))
    others = [spec for spec in METRICS if spec.name not in counted_here]
    metrics.read_from(others, lambda: [(spec.name, tuple("x" for _ in spec.labels), 1.0) for spec in others])
    page = page_of(metrics)
    for spec in METRICS:
        assert re.search(rf"^# HELP {spec.name} \S", page, re.MULTILINE), spec.name
        assert f"# TYPE {spec.name} {spec.type.value}\n" in page
        assert spec.name.startswith("process_") or f"# HELP {spec.name} {spec.help}\n" in page


def test_nothing_else_is_exposed() -> None:
    """No `_created` series either."""
    metrics = Metrics()
    metrics.count_fetch("shop", "ok", 0.1, 5)
    metrics.stage_duration.labels("render").observe(1)
    names = {spec.name for spec in METRICS}
    for name in re.findall(r"^([a-z_]+)", page_of(metrics), re.MULTILINE):
        assert name in names or re.sub("_(bucket|count|sum)$", "", name) in names, name


def test_a_request_is_counted_and_timed() -> None:
    metrics = Metrics()
    for duration_s in (FIRST_BUCKET_S, 0.002, 0.2, 99.0):
        metrics.count_request("shop", "fastly", 200, "miss", duration_s)
    metrics.count_request("shop", "fastly", 206, "miss", 0.002)
    labels = 'cache="miss",dialect="fastly",site="shop"'
    page = page_of(metrics)
    assert f'cropmark_requests_total{{{labels},status="200"}} 4.0' in page
    assert f'cropmark_requests_total{{{labels},status="206"}} 1.0' in page
    series = 'cropmark_request_duration_seconds_bucket{cache="miss",dialect="fastly",le="%s",site="shop",%s} %s'
    for bound, count in (
        ("0.00025", 1.0),
        ("0.001", 1.0),
        ("0.0025", 3.0),
        ("0.25", 4.0),
        ("10.0", 4.0),
        ("+Inf", 5.0),
    ):
        assert series % (bound, 'status_class="2xx"', count) in page
    assert f'cropmark_request_duration_seconds_count{{{labels},status_class="2xx"}} 5.0' in page
    assert re.search(r"duration_seconds_sum\{.*\} 99\.20", page)


def test_series_that_are_only_prepared_are_not_exposed() -> None:
    metrics = Metrics()
    metrics.request_series("shop", "fastly", "hit-shared", 200)
    assert "hit-shared" not in page_of(metrics)


def test_a_sample_that_is_not_in_the_table_fails() -> None:
    metrics = Metrics()
    metrics.read_from("owner", lambda: [("cropmark_unknown", (), 1.0)])
    with pytest.raises(KeyError):
        metrics.exposition()


class Part:
    """A part of a server with a counter and a gauge."""

    def __init__(self, hits: int, entries: int) -> None:
        self.hits, self.entries = hits, entries

    def samples(self) -> Iterator[Sample]:
        yield "cropmark_cache_hits_total", ("memory",), self.hits
        yield "cropmark_cache_entries", ("memory",), self.entries


def test_counters_of_a_replaced_part_are_kept() -> None:
    metrics, old, new = Metrics(), Part(5, 100), Part(0, 1)
    end_old = metrics.read_from(old, old.samples)
    metrics.read_from(new, new.samples)
    old.hits = 7
    new.hits = 1
    assert 'hits_total{tier="memory"} 8.0' in page_of(metrics)
    end_old()
    old.hits = 99
    assert 'hits_total{tier="memory"} 8.0' in page_of(metrics)
    assert 'entries{tier="memory"} 1.0' in page_of(metrics)
    new.hits = 2
    assert 'hits_total{tier="memory"} 9.0' in page_of(metrics)


def test_a_part_of_two_servers_counts_once() -> None:
    metrics, shared = Metrics(), Part(5, 100)
    end_first = metrics.read_from(shared, shared.samples)
    end_second = metrics.read_from(shared, shared.samples)
    end_first()
    assert 'hits_total{tier="memory"} 5.0' in page_of(metrics)
    shared.hits = 6
    assert 'hits_total{tier="memory"} 6.0' in page_of(metrics)
    end_second()
    assert 'hits_total{tier="memory"} 6.0' in page_of(metrics)
    assert "entries{" not in page_of(metrics)
