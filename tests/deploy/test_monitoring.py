"""deploy/prometheus, deploy/grafana and docs/alerts.md: their metrics exist, and every alert fires in a test."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cropmark.runtime.metric_table import METRICS, MetricType
from tests.deploy.proxies import DEPLOY
from tests.requirements import require
from tests.web.server_process import running

(GROUP,) = yaml.safe_load((DEPLOY / "prometheus/rules.yaml").read_text())["groups"]
RULES = GROUP["rules"]
DASHBOARD = json.loads((DEPLOY / "grafana/dashboard.json").read_text())
RUNBOOK = (DEPLOY.parent / "docs/alerts.md").read_text()
OF_PROMETHEUS = frozenset(("instance", "job", "le"))
SERIES = {
    series: frozenset((*spec.labels, *OF_PROMETHEUS))
    for spec in METRICS
    for series in (
        [f"{spec.name}_{part}" for part in ("bucket", "sum", "count")]
        if spec.type is MetricType.HISTOGRAM
        else [spec.name]
    )
} | {"up": OF_PROMETHEUS}
promtool = require("promtool", shutil.which("promtool") is not None)


def expressions() -> Iterator[str]:
    """All PromQL of the rules, and of the dashboard's panels, variables and annotations."""
    yield from (rule["expr"] for rule in RULES)
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel.get("targets", ()))
    for one in DASHBOARD["annotations"]["list"]:
        yield one["expr"]
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert found is not None
            yield f"sum by ({found[2]}) ({found[1]})"


def unknown_names(expression: str) -> set[str]:
    """The names of metrics that do not exist, and of labels that the metrics of the expression do not have."""
    without_values = re.sub(r'"[^"]*"', '""', expression)
    named = set(re.findall(r"\b((?:cropmark|process)_\w+|up)\b", without_values))
    labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", without_values))
    for group in re.findall(r"\bby \(([\w, ]+)\)", without_values):
        labels |= set(re.split(r",\s*", group))
    known = frozenset[str]().union(*(SERIES.get(name, ()) for name in named))
    return {name for name in named if name not in SERIES} | {label for label in labels if label not in known}


@pytest.mark.parametrize("expression", [*expressions()])
def test_queries_use_metrics_and_labels_that_exist(expression: str) -> None:
    assert re.search(r"\b(cropmark_|process_|up\b)", expression)
    assert unknown_names(expression) == set()


def test_an_unknown_name_is_found() -> None:
    assert unknown_names('sum by (color) (rate(cropmark_requests_total{size=~"x"}[5m])) / cropmark_cats') == {
        "color",
        "size",
        "cropmark_cats",
    }


def test_every_alert_has_its_paragraphs() -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL))
    assert list(sections) == [rule["alert"] for rule in RULES]
    for rule in RULES:
        section = sections[rule["alert"]]
        assert rule["annotations"]["runbook"] == f"docs/alerts.md#{rule['alert'].lower()}"
        assert f"Severity: {rule['labels']['severity']}." in section
        for part in ("Meaning", "Look at", "Fix"):
            assert re.search(rf"^\*\*{part}:\*\* \S", section, re.MULTILINE), (rule["alert"], part)


def test_every_alert_fires_and_stays_quiet_in_the_unit_tests() -> None:
    tests = yaml.safe_load((DEPLOY / "prometheus/rules_test.yaml").read_text())["tests"]
    fires: dict[str, set[bool]] = {}
    for one in (check for test in tests for check in test["alert_rule_test"]):
        fires.setdefault(one["alertname"], set()).add(bool(one["exp_alerts"]))
    assert fires == {rule["alert"]: {True, False} for rule in RULES}


def checked(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["promtool", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@promtool
def test_the_alerts_pass_their_unit_tests() -> None:
    folder = DEPLOY / "prometheus"
    assert f"{len(RULES)} rules found" in checked("check", "rules", "rules.yaml", folder=folder)
    assert "SUCCESS" in checked("test", "rules", "rules_test.yaml", folder=folder)


@promtool
def test_a_wrong_threshold_fails_the_unit_tests(tmp_path: Path) -> None:
    folder = shutil.copytree(DEPLOY / "prometheus", tmp_path / "prometheus")
    rules = folder / "rules.yaml"
    rules.write_text(rules.read_text().replace("> 0.02", "> 0.5"))
    done = subprocess.run(
        ["promtool", "test", "rules", "rules_test.yaml"], cwd=folder, capture_output=True, check=False
    )
    assert (done.returncode, b"CropmarkErrors" in done.stdout + done.stderr) == (1, True)


@promtool
def test_the_scrape_configuration_is_valid(tmp_path: Path) -> None:
    folder = shutil.copytree(DEPLOY / "prometheus", tmp_path / "prometheus")
    (folder / "metrics-token").write_text("secret")
    assert "SUCCESS" in checked("check", "config", "prometheus.yaml", folder=folder)


@promtool
def test_a_servers_metrics_are_valid(tmp_path: Path) -> None:
    """In Prometheus' own parser, and read with the token of the metrics."""
    token = "t" * 32
    (tmp_path / "pictures").mkdir()
    environment = {"CROPMARK_METRICS_TOKEN": token}
    with running(str(tmp_path / "pictures"), cache=tmp_path / "cache", environment=environment) as server:
        server.get("/fastly/missing.jpg?width=10")
        page = server.get("/metrics", headers={"Authorization": f"Bearer {token}"}).text
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def panels() -> list[Any]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def test_the_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= own
    assert len({panel["title"] for panel in panels()}) == len(panels())
