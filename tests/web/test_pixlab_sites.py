"""PixLab's mounts: with a folder, on a host of its own, below a prefix; its key, its limits, and stopping."""

from __future__ import annotations

import base64
import io
import re
import signal
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from structlog.testing import capture_logs

from cropmark.config.loader import InvalidConfiguration, Settings, load_settings
from cropmark.server.wiring import open_server
from cropmark.web.request import Message
from tests.builders import wait_until
from tests.web.local_server import LocalServer, local_server
from tests.web.server_process import Running, running

KEY = "a-key-of-more-than-fifteen-characters"


def small() -> str:
    found = io.BytesIO()
    Image.new("RGB", (30, 20), (1, 2, 3)).save(found, "PNG")
    return base64.b64encode(found.getvalue()).decode()


CROP: dict[str, Any] = {"img": small(), "x": 0, "y": 0, "width": 9}


def crop(server: Running | LocalServer, path: str, key: str, host: str | None = None) -> httpx.Response:
    return server.post(path, json={**CROP, "key": key}, headers={"Host": host} if host else {})


def test_sites_by_host_and_by_prefix(tmp_path: Path, pictures: Path) -> None:
    (tmp_path / "cropmark.toml").write_text(
        f"""
        public_url = "https://media.example"
        [[site]]
        dialect = "pixlab"
        hosts = ["api.pixlab.example"]
        settings = {{ max_source_bytes = 50 }}
        [[site]]
        name = "doors"
        dialect = "pixlab"
        prefix = "/faces/"
        [[site]]
        name = "shop"
        dialect = "fastly"
        hosts = ["shop.example"]
        source = "{pictures}"
        """
    )
    environment = {"CROPMARK_PIXLAB_KEY": KEY, "CROPMARK_DATA_DIR": str(tmp_path / "data")}
    config = tmp_path / "cropmark.toml"
    with (
        local_server(None, cache=tmp_path / "cache", config=config, environment=environment) as found,
        capture_logs() as logs,
    ):
        reply = crop(found, "/faces/crop", KEY).json()
        assert reply["link"] == reply["ssl_link"] == f"https://media.example/media/{reply['id']}.png"
        media = found.get(f"/media/{reply['id']}.png")
        assert (media.status_code, media.headers["content-type"]) == (200, "image/png")
        # A site's own settings: at most 50 bytes for an image.
        on_host = crop(found, "/crop", KEY, "api.pixlab.example")
        assert (on_host.status_code, "50 bytes" in on_host.json()["error"]) == (400, True)
        assert crop(found, "/anything", KEY, "api.pixlab.example").status_code == 404
        assert crop(found, "/crop", KEY).status_code == 404  # other hosts have no site at that path
        assert crop(found, "/pixlab/crop", KEY).status_code == 404  # the prefix needs a folder
        assert {entry.get("site") for entry in logs} >= {"doors", "api.pixlab.example"}
        # On another site's host, that site's paths take precedence.
        theirs = found.get(f"/media/{reply['id']}.png", headers={"Host": "shop.example"})
        assert theirs.status_code == 404
        assert "fastly-io-error" in theirs.headers or theirs.headers["content-type"] != "application/json"
        assert found.get("/wide.jpg?width=9", headers={"Host": "shop.example"}).status_code == 200


def test_without_a_configured_key_one_is_shown_at_the_start(tmp_path: Path, pictures: Path) -> None:
    environment = {"CROPMARK_DATA_DIR": str(tmp_path / "data"), "CROPMARK_PIXLAB_REQUESTS_PER_MINUTE": "3"}
    with running(str(pictures), cache=tmp_path / "cache", environment=environment) as found:
        key = re.search(r"PixLab key until the server stops: (\S{40,})", found.greeting)
        assert key is not None
        assert crop(found, "/pixlab/crop", key[1]).status_code == 200
        assert crop(found, "/pixlab/crop", "").status_code == 401
        # A reload does not change the key.
        found.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "reloaded" in found.log.read_text())
        for _ in range(3):
            assert crop(found, "/pixlab/crop", key[1]).status_code == 200
        # And three a minute are three a minute.
        beyond = crop(found, "/pixlab/crop", key[1])
        assert (beyond.status_code, beyond.json()["status"]) == (429, 429)
        assert 1 <= int(beyond.headers["retry-after"]) <= 60
        claimed = {"X-Forwarded-For": "203.0.113.9"}  # this client is not a trusted proxy
        url = f"{found.address}/pixlab/crop"
        assert httpx.post(url, json={**CROP, "key": key[1]}, headers=claimed, trust_env=False).status_code == 429
        assert key[1] not in found.log.read_text()


async def test_new_requests_are_rejected_while_the_server_stops(tmp_path: Path, pictures: Path) -> None:
    settings = Settings(
        folder=pictures, cache_dir=tmp_path / "cache", data_dir=tmp_path / "data", renderers=1, sandbox="off"
    )
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read any more")

    async with open_server(settings, "http://127.0.0.1:1") as server:
        server.app.shutdown.stopping = True
        scope = {
            "type": "http",
            "method": "POST",
            "raw_path": b"/pixlab/crop",
            "path": "/pixlab/crop",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
        }
        await server.app(scope, receive, send)
    headers = dict(sent[0]["headers"])
    assert (sent[0]["status"], headers[b"retry-after"], headers[b"content-type"]) == (429, b"1", b"application/json")


def test_a_request_in_progress_is_finished_before_the_server_stops(tmp_path: Path, pictures: Path) -> None:
    environment = {"CROPMARK_PIXLAB_KEY": KEY, "CROPMARK_DATA_DIR": str(tmp_path / "data")}
    with running(str(pictures), cache=tmp_path / "cache", environment=environment) as found:
        host, port = found.address.removeprefix("http://").split(":")
        body = f'{{"key": "{KEY}", "blob": true, "x": 0, "y": 0, "width": 9, "img": "{small()}"}}'.encode()
        head = f"POST /pixlab/crop HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body[:20])
            # This request and the one for the metrics.
            wait_until(lambda: "cropmark_requests_in_progress 2.0" in found.get("/metrics").text)
            found.process.send_signal(signal.SIGTERM)
            wait_until(lambda: found.get("/fastly/wide.jpg?width=9").status_code == 503)
            connection.sendall(body[20:])
            reply = b"".join(iter(lambda: connection.recv(65_536), b""))
        assert reply.startswith(b"HTTP/1.1 200")
        assert b"\x89PNG" in reply


MISTAKES = [
    # a [[site]] with                                   message
    ('dialect = "pixlab"', "hosts or prefix"),
    ('dialect = "pixlab"\nprefix = "/"', "hosts or prefix"),
    ('dialect = "pixlab"\nprefix = "/p"\nsource = "."', "not a setting of pixlab"),
    ('dialect = "fastly"\nprefix = "/p"', "expected a folder, the URL of an origin or a bucket, or library"),
]


@pytest.mark.parametrize(("lines", "words"), MISTAKES)
def test_invalid_sites(tmp_path: Path, lines: str, words: str) -> None:
    file = tmp_path / "cropmark.toml"
    file.write_text(f"[[site]]\n{lines}\n")
    with pytest.raises(InvalidConfiguration, match=words):
        load_settings(file, environ={})
