"""The metrics page: every metric is in the table, and the table is complete."""

from __future__ import annotations

import re

import pytest

from cropmark.runtime.metrics import METRICS, Metrics, MetricType


def test_names_follow_the_conventions_of_prometheus() -> None:
    for spec in METRICS:
        assert re.fullmatch(r"cropmark_[a-z_]+", spec.name)
        assert spec.name.endswith("_total") == (spec.type is MetricType.COUNTER), spec.name
        assert spec.help.endswith(".")
    assert len({spec.name for spec in METRICS}) == len(METRICS)


def test_every_metric_is_exposed_with_its_type_and_help() -> None:
    metrics = Metrics()
    counted_here = set(re.findall(r"# HELP (\S+)", metrics.exposition().decode()))
    others = [spec for spec in METRICS if spec.name not in counted_here]
    metrics.add_samples(lambda: [(spec.name, tuple("x" for _ in spec.labels), 1.0) for spec in others])
    page = metrics.exposition().decode()
    for spec in METRICS:
        assert f"# HELP {spec.name} {spec.help}\n" in page
        assert f"# TYPE {spec.name} {spec.type.value}\n" in page


def test_a_request_is_counted_and_timed() -> None:
    metrics = Metrics()
    for duration_s in (0.002, 0.2, None):
        metrics.count_request("fastly", 200, "miss", duration_s)
    page = metrics.exposition().decode()
    assert 'cropmark_requests_total{cache="miss",dialect="fastly",status="200"} 3.0' in page
    assert 'cropmark_request_duration_seconds_count{cache="miss",dialect="fastly"} 2.0' in page
    assert 'cropmark_request_duration_seconds_bucket{cache="miss",dialect="fastly",le="0.0025"} 1.0' in page


def test_a_sample_that_is_not_in_the_table_fails() -> None:
    metrics = Metrics()
    metrics.add_samples(lambda: [("cropmark_unknown", (), 1.0)])
    with pytest.raises(KeyError):
        metrics.exposition()
