"""admin_port: the operator paths are on this port only, also after a reload."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cropmark.config.loader import load_settings
from cropmark.server.check import find_issues
from cropmark.server.reloads import OperatorApp
from tests.builders import make_images, wait_until
from tests.web.asgi_client import FakePipeline, app_of
from tests.web.server_process import TOKEN, Running, running

PATHS = ("/readyz", "/metrics", "/_explain?url=/fastly/wide.jpg?width=10", "/admin/purge")
AUTHORIZED = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("operators")
    (folder / "images").mkdir()
    images = make_images(folder / "images")
    environment = {"CROPMARK_ADMIN_PORT": "0"}
    with running(str(images), cache=folder / "cache", environment=environment) as started:
        yield started


def operators(server: Running) -> Running:
    """The same server at its port for operators."""
    found = re.search(r"operator paths at (http://\S+?)/\s", server.greeting)
    assert found is not None, server.greeting
    return replace(server, address=found[1])


def test_operator_paths_are_on_their_own_port_only(server: Running) -> None:
    for path in PATHS:
        method = "POST" if path.startswith("/admin") else "GET"
        assert server.get(path, method=method, headers=AUTHORIZED).status_code == 404, path
        assert operators(server).get(path, method=method, headers=AUTHORIZED).status_code in (200, 400), path
    assert operators(server).post("/admin/purge", json={"source": "a.jpg"}, headers=AUTHORIZED).json() == {"purged": 0}
    assert server.post("/admin/purge", json={"source": "a.jpg"}, headers=AUTHORIZED).status_code == 404


def test_there_is_no_playground_without_the_images_beside_it(server: Running) -> None:
    for path in ("/", "/_playground", "/_playground/data"):
        assert server.get(path).status_code == operators(server).get(path).status_code == 404


def test_images_are_on_the_public_port_only(server: Running) -> None:
    assert server.get("/fastly/wide.jpg?width=10").status_code == 200
    assert operators(server).get("/fastly/wide.jpg?width=10").status_code == 404


def test_a_health_check_is_answered_on_both(server: Running) -> None:
    assert server.get("/healthz").text == operators(server).get("/healthz").text == "ok\n"


def test_a_reload_changes_neither_port(server: Running) -> None:
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reloaded" in server.log.read_text())
    assert operators(server).get("/readyz").json()["ready"] is True
    assert server.get("/readyz").status_code == 404


def test_one_port_for_both_is_found(tmp_path: Path) -> None:
    config = tmp_path / "cropmark.toml"
    config.write_text("port = 8123\nadmin_port = 8123\n")
    found = [str(issue) for issue in find_issues(load_settings(config, {}))]
    assert len(found) == 1
    assert "cropmark.toml:2: admin_port: 8123 is also the value of port" in found[0]


def test_signing_in_leads_to_a_page_of_this_port(server: Running) -> None:
    admin = operators(server)
    reply = httpx.post(admin.address + "/_sign-in", data={"token": TOKEN}, trust_env=False)
    assert (reply.status_code, reply.headers["location"]) == (303, "/_explain")
    assert admin.get("/_explain").status_code == 400  # without a URL to explain
    assert 'value="/_explain"' in admin.get("/_sign-in").text


@pytest.mark.parametrize("hosts", [b"", b"Host: a\r\nHost: b\r\n", b"Host: a b\r\n"])
def test_check_60_a_request_of_operators_has_one_host(server: Running, hosts: bytes) -> None:
    at = httpx.URL(operators(server).address)
    with socket.create_connection((at.host, at.port or 80), timeout=10) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


async def test_requests_of_operators_are_in_progress_too() -> None:
    """A server that is stopped or replaced closes its renderers after they end."""
    app, finish = app_of(FakePipeline()), asyncio.Event()

    async def slow_page(*_: object) -> None:
        await finish.wait()

    server = SimpleNamespace(app=app, operator_pages=slow_page)
    front: Any = SimpleNamespace(generation=SimpleNamespace(server=server))
    unused: Any = None
    request = asyncio.ensure_future(OperatorApp(front)({"type": "http"}, unused, unused))
    await asyncio.sleep(0)
    assert app.requests_in_progress == 1
    assert await app.drain(0.01) is False
    finish.set()
    assert await app.drain(5) is True
    await request
