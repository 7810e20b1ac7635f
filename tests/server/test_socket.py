"""A server that listens on a Unix domain socket, for a proxy on the same machine."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cropmark.cli.main import app
from cropmark.config.errors import InvalidConfiguration
from cropmark.config.loader import LoadedSettings, load_settings
from cropmark.runtime.logging import configure_logging
from cropmark.server.errors import StartupError
from cropmark.server.listening import find_port
from cropmark.server.run import RunningServer, serve
from tests.builders import make_images
from tests.deploy.nginx import running_nginx
from tests.requirements import require

TOKEN = "an-admin-token-of-a-test"
CLIENT = {"X-Forwarded-For": "203.0.113.7"}


def settings(root: Path, host: str, **more: object) -> LoadedSettings:
    (root / "images").mkdir(exist_ok=True)
    folders = {"folder": make_images(root / "images"), "cache_dir": root / "cache", "data_dir": root / "data"}
    return load_settings(None, {**folders, "renderers": 1, "host": host, "admin_token": TOKEN, **more}, {})


@asynccontextmanager
async def listening(root: Path) -> AsyncIterator[Path]:
    """A server on a socket in `root`; yields the path of the socket."""
    path = root / "http.sock"
    started, running = asyncio.Event(), list[RunningServer]()

    def on_started(server: RunningServer) -> None:
        running.append(server)
        started.set()

    loaded = settings(root, f"unix:{path}", access_log="all", log_format="json")
    task = asyncio.ensure_future(serve(loaded, reload_settings=lambda: loaded, on_started=on_started))
    starting = asyncio.ensure_future(started.wait())
    await asyncio.wait({task, starting}, return_when=asyncio.FIRST_COMPLETED)
    if task.done():
        starting.cancel()
        await task
    assert running[0].address == f"unix:{path}"
    try:
        yield path
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await task
        assert not path.exists()


async def cli(*arguments: str) -> tuple[int, str]:
    result = await asyncio.to_thread(CliRunner().invoke, app, list(arguments))
    return result.exit_code, " ".join(result.output.split())


async def test_a_proxy_gets_images_and_names_the_client(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    configure_logging("json")
    async with listening(tmp_path) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        transport = httpx.AsyncHTTPTransport(uds=str(path))
        async with httpx.AsyncClient(transport=transport, base_url="http://images.example") as client:
            reply = await client.get("/fastly/wide.jpg?width=40", headers=CLIENT)
            assert (reply.status_code, reply.headers["content-type"]) == (200, "image/jpeg")
            assert (await client.get("/readyz")).status_code == 200
        assert await cli("health", "--url", f"unix:{path}") == (0, f"unix:{path} is ready")
        code, text = await cli("purge", "--all", "--server", f"unix:{path}", "--token", TOKEN)
        assert (code, text) == (0, "1 variant purged")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines() if line.startswith("{")]
    assert [line["client"] for line in lines if line.get("path") == "/fastly/wide.jpg"] == ["203.0.113.7"]
    assert (await cli("health", "--url", f"unix:{path}"))[0] == 1


@require("nginx", shutil.which("nginx") is not None)
async def test_nginx_passes_requests_on_to_the_socket(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    async with listening(tmp_path) as path, httpx.AsyncClient(trust_env=False) as client:
        nginx = running_nginx(tmp_path, [f"unix:{path}"])
        address = await asyncio.to_thread(nginx.__enter__)  # the server of this test answers it
        try:
            replies = [await client.get(f"{address}/fastly/wide.jpg?width=41") for _ in range(2)]
        finally:
            await asyncio.to_thread(nginx.__exit__, None, None, None)
        assert [(reply.status_code, reply.headers["x-cache"]) for reply in replies] == [(200, "MISS"), (200, "HIT")]


def test_the_socket_of_a_killed_server_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(path))
    assert find_port(settings(tmp_path, f"unix:{path}").settings) == (f"unix:{path}", 0)
    assert not path.exists()


def test_the_socket_of_a_running_server_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with socket.socket(socket.AF_UNIX) as running:
        running.bind(str(path))
        running.listen()
        with pytest.raises(StartupError, match="another server listens"):
            find_port(settings(tmp_path, f"unix:{path}").settings)
    assert path.exists()


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "http.sock").write_text("notes")
    with pytest.raises(StartupError, match="a file, not a socket"):
        find_port(settings(tmp_path, f"unix:{tmp_path}/http.sock").settings)
    assert (tmp_path / "http.sock").read_text() == "notes"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("http.sock", "not an absolute path"),
        ("/" + "a" * 107, "at most 107 bytes"),
        ("/none/http.sock", "/none is not a folder"),
    ],
)
def test_a_path_that_cannot_be_a_socket_is_rejected(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(InvalidConfiguration, match=message):
        find_port(settings(tmp_path, f"unix:{path}").settings)
