"""deploy/compose.yaml and the configuration files of deploy/: files, services and settings that they name exist."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cropmark.config.loader import load_settings
from cropmark.config.production import errors
from cropmark.server.check import find_issues
from tests.deploy.proxies import DEPLOY, replaced

COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVERS = ("cropmark-1", "cropmark-2")
CONFIGURATIONS = ["cropmark.toml", "compose/cropmark.toml"]
SECRETS = "compose/secrets.example.env"


def _secrets() -> dict[str, str]:
    lines = [line for line in (DEPLOY / SECRETS).read_text().splitlines() if line and not line.startswith("#")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_configurations_are_valid_and_fit_for_production(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "cropmark.toml"
    file.write_text(replaced((DEPLOY / name).read_text(), ('"/srv/images"', f'"{tmp_path}"')))
    secrets = _secrets()
    for variable, value in secrets.items():
        if variable.startswith("AWS_"):
            monkeypatch.setenv(variable, value)
    loaded = load_settings(file, environ={k: v for k, v in secrets.items() if k.startswith("CROPMARK_")})
    assert loaded.settings.production
    assert [*find_issues(loaded)] == []
    assert [*errors(loaded.settings)] == []


def test_files_that_are_mounted_exist() -> None:
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", ()):
            host = volume.partition(":")[0]
            if host.startswith("."):
                assert (DEPLOY / host).exists(), host
            else:
                assert host in COMPOSE["volumes"]
        if "build" in service:
            assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()


def test_nginx_and_dependencies_name_services() -> None:
    upstream = (DEPLOY / "compose" / "upstream.conf").read_text()
    assert tuple(re.findall(r"server ([\w-]+):8000 ", upstream)) == SERVERS
    for service in COMPOSE["services"].values():
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])


@pytest.mark.parametrize("name", SERVERS)
def test_servers_are_confined(name: str) -> None:
    server = COMPOSE["services"][name]
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert server["security_opt"] == ["no-new-privileges:true"]
    assert server["user"] == "10001:10001"


def test_images_are_named_by_tag() -> None:
    for service in COMPOSE["services"].values():
        assert re.fullmatch(r"[\w./-]+:[\w.-]+", service["image"]), service["image"]
        assert not service["image"].endswith(":latest")
