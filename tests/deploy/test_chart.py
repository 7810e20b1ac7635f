"""deploy/chart: its rendered objects are valid for Kubernetes, and confined. `make check-chart` renders them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from cropmark.config.loader import load_settings
from cropmark.runtime.metric_table import METRICS
from cropmark.server.check import find_issues
from tests.deploy.proxies import DEPLOY

RENDERED = Path(__file__).with_name("chart.yaml")
OBJECTS: dict[str, dict[str, Any]] = {
    one["kind"]: one for one in yaml.safe_load_all(RENDERED.read_text()) if one is not None
}
KINDS = ("ConfigMap", "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Service")


def test_the_rendered_objects_are_those_of_the_chart() -> None:
    files = sorted((path for path in (DEPLOY / "chart").rglob("*") if path.is_file()), key=lambda path: str(path))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    assert RENDERED.read_text().splitlines()[0] == f"# sha256 of deploy/chart: {digest}", "run make check-chart"


@pytest.mark.parametrize("version", ["1.30", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("kind", KINDS)
def test_objects_are_valid(kind: str, version: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], version, strict=True)


def test_the_schema_rejects_an_unknown_field() -> None:
    broken = {**OBJECTS["Service"], "spec": {**OBJECTS["Service"]["spec"], "prots": []}}
    with pytest.raises(kubernetes_validate.ValidationError, match="prots"):
        kubernetes_validate.validate(broken, "1.30", strict=True)


def test_pods_are_confined() -> None:
    pod = OBJECTS["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_probes_ask_the_right_paths() -> None:
    (container,) = OBJECTS["Deployment"]["spec"]["template"]["spec"]["containers"]
    paths = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"startupProbe": "/readyz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}


def test_a_pod_has_time_to_drain(tmp_path: Path) -> None:
    file = tmp_path / "cropmark.toml"
    file.write_text(OBJECTS["ConfigMap"]["data"]["cropmark.toml"])
    loaded = load_settings(file, environ={})
    assert [*find_issues(loaded)] == []
    grace = OBJECTS["Deployment"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace > loaded.settings.drain_delay_s + loaded.settings.shutdown_timeout_s


def test_the_monitor_reads_metrics_with_their_own_token() -> None:
    (endpoint,) = OBJECTS["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["path"] == "/metrics"
    assert endpoint["authorization"]["credentials"]["key"] == "CROPMARK_METRICS_TOKEN"
    assert endpoint["port"] in {one["name"] for one in OBJECTS["Service"]["spec"]["ports"]}
    labels = OBJECTS["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert labels.items() <= OBJECTS["Service"]["metadata"]["labels"].items()


def test_the_autoscaler_reads_a_metric_that_exists() -> None:
    (metric,) = OBJECTS["HorizontalPodAutoscaler"]["spec"]["metrics"]
    assert metric["pods"]["metric"]["name"] in {spec.name for spec in METRICS}
