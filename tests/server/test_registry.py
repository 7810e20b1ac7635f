"""A dialect that is only registered appears in configuration, server, start page, command line and documents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.builders import make_images

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def appearances(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = make_images(tmp_path_factory.mktemp("images"))
    command = [sys.executable, "-m", "tests.server.made_up_dialect", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_configuration(appearances: dict[str, Any]) -> None:
    assert (appearances["setting"], appearances["variable"], appearances["site"]) == ("red", "gold", "madeup")


def test_documents(appearances: dict[str, Any]) -> None:
    documents = appearances["documents"]
    settings = documents["docs/configuration.md"]
    assert "# Made-up Images: parameters" in documents["docs/dialects/madeup.md"]
    assert "wide" in json.loads(documents["docs/dialects/madeup.schema.json"])["properties"]
    assert "| `shade` | `CROPMARK_MADEUP__SHADE` | `pink` | The color of nothing. |" in settings
    assert "`/madeup`" in settings


def test_command_line(appearances: dict[str, Any]) -> None:
    assert "madeup" in appearances["help"]


def test_server(appearances: dict[str, Any]) -> None:
    responses = appearances["responses"]
    assert "wide sample" in responses["/"]
    assert responses["/madeup/a%2Fb?wide=3"] == "/elsewhere/a%2Fb?wide=3&shade=pink"
    assert responses["/madeup-blue/a?wide=4"] == "/elsewhere/a?wide=4&shade=blue"


def test_facts_are_json_and_cached_like_renditions(appearances: dict[str, Any]) -> None:
    responses = appearances["responses"]
    assert json.loads(responses["facts"])["width"] > 0
    assert responses["facts type"] == "application/json"
    assert "miss" in responses["facts cache"].split(" ")[0]
    assert "hit-memory" in responses["facts cache"]
    assert responses["facts missing"] == "404"


def test_conformance_runner(appearances: dict[str, Any]) -> None:
    dialect, *options = appearances["runner"]
    assert dialect == "madeup"
    assert "--base=madeup=http://a/madeup" in options
