"""deploy/grafana: a Prometheus that scrapes a started server answers every query of the dashboard."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.builders import make_images
from tests.deploy.proxies import DEPLOY
from tests.ports import free_port
from tests.requirements import require
from tests.web.server_process import Running, running

pytestmark = require("prometheus", shutil.which("prometheus") is not None)

TOKEN = "t" * 32
ABSENT = {
    "Library reachable": "no library",
    "Age of the library's changes": "no library",
    "Lookups without the database": "no library",
    "Errors of Redis": "no Redis",
}
"""Panels without data on a server that has served a folder and an origin only, with the reason."""
VARIABLES = {"$instance": ".*", "$site": ".*", "$__rate_interval": "20s"}
SITES = """
[[site]]
name = "folder"
dialect = "fastly"
prefix = "/fastly"
source = "{images}"

[[site]]
name = "origin"
dialect = "fastly"
prefix = "/origin"
source = "http://127.0.0.1:{port}/fastly"

[[site]]
name = "broken"
dialect = "fastly"
prefix = "/broken"
source = "http://127.0.0.1:1"
"""


def queries() -> Iterator[tuple[str, str]]:
    """The title of each panel with each of its queries, as Grafana sends it."""
    for panel in json.loads((DEPLOY / "grafana/dashboard.json").read_text())["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            yield panel["title"], expression


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[httpx.Client]:
    """A client of a Prometheus with the scrape configuration of deploy/, every second."""
    config = yaml.safe_load((DEPLOY / "prometheus/prometheus.yaml").read_text())
    config["global"] |= {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(DEPLOY / "prometheus/rules.yaml")]
    (job,) = config["scrape_configs"]
    job["static_configs"] = [{"targets": [target]}]
    job["authorization"] = {"credentials": TOKEN}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    command = [
        "prometheus",
        f"--config.file={folder}/prometheus.yaml",
        f"--storage.tsdb.path={folder}/series",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            with httpx.Client(base_url=f"http://{address}", trust_env=False) as client:
                yield client
        finally:
            process.terminate()


def result(client: httpx.Client, expression: str) -> list[Any]:
    """The series that Prometheus finds; none while it starts."""
    try:
        response = client.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        return []
    if response.status_code == 503:
        return []
    reply = response.json()
    assert reply["status"] == "success", reply
    found: list[Any] = reply["data"]["result"]
    return found


def request_everything(server: Running, images: Path, number: int) -> None:
    """Requests that give data to all panels: a miss, a hit, an origin, a missing image, and an origin that is away."""
    shutil.copy(images / "wide.jpg", images / f"{number}.jpg")
    miss = f"/fastly/{number}.jpg?width=20"
    for path in (miss, miss, f"/origin/{number}.jpg?width=20", "/fastly/none.jpg", f"/broken/{number}.jpg?width=20"):
        server.get(path)


def test_every_query_has_data(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    make_images(tmp_path / "images")
    port = free_port()
    (tmp_path / "cropmark.toml").write_text(SITES.format(images=tmp_path / "images", port=port))
    environment = {"CROPMARK_METRICS_TOKEN": TOKEN}
    arguments = ("--config", str(tmp_path / "cropmark.toml"))
    with (
        running(*arguments, cache=tmp_path / "cache", environment=environment, port=port) as server,
        prometheus(tmp_path, server.address.removeprefix("http://")) as client,
    ):
        waiting = [(title, query) for title, query in queries() if title not in ABSENT]
        number, deadline = 0, time.monotonic() + 60
        while waiting and time.monotonic() < deadline:
            request_everything(server, tmp_path / "images", number := number + 1)
            waiting = [(title, query) for title, query in waiting if not has_number(result(client, query))]
            time.sleep(0.3)
        assert waiting == []
        assert [title for title, query in queries() if title in ABSENT and has_number(result(client, query))] == []
        assert {one["metric"]["job"] for one in result(client, "up == 1")} == {"cropmark"}
        assert result(client, 'ALERTS{alertstate="firing"}') == []


def has_number(series: list[Any]) -> bool:
    return any(one["value"][1] != "NaN" for one in series)
