"""The command line from outside: its output, its exit code, and one line with the fix for every failure."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import pytest
from PIL import Image

from cropmark.cli import doctor
from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings
from tests.builders import make_images, wait_until
from tests.command import run, start
from tests.ports import free_port
from tests.requirements import require
from tests.web.server_process import PATIENCE, TOKEN, running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("pictures"))


def cropmark(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    given = {k: v for k, v in os.environ.items() if not k.startswith("CROPMARK_")}
    whole = {**given, "COLUMNS": "100", "NO_COLOR": "1", **(environment or {})}
    return run(arguments, cwd=cwd, environment=whole)


def test_render_writes_a_picture(folder: Path) -> None:
    completed = cropmark("render", "wide.jpg", "crop=1:1&width=64&format=webp", "-o", "out.webp", cwd=folder)
    assert completed.returncode == 0
    assert completed.stdout.startswith("out.webp: 64x64, image/webp, ")
    assert Image.open(folder / "out.webp").size == (64, 64)


def test_render_prints_warnings(folder: Path) -> None:
    completed = cropmark("render", "wide.jpg", "crop=10,10,smart", "-o", "out.jpg", cwd=folder)
    assert completed.returncode == 0
    assert "warning: crop: " in completed.stderr


PURGE = ("purge", "--source", "a", "--token", "t", "--server")

# fmt: off
FAILURES = [
    # code, arguments                                         words on the standard error
    (1, ("render", "none.jpg", "width=1", "-o", "x"),              ("file not found: none.jpg", "check the path")),
    (1, ("render", "wide.jpg", "width=0", "-o", "x"),              ("width: expected a length above 0", "50p")),
    (1, ("render", "wide.jpg", "crop=999,999", "-o", "x"),         ("the crop is 999x999", "use a smaller crop")),
    (1, ("render", "notes.txt", "width=9", "-o", "x"),             ("the file at this path is not an image",)),
    (1, ("render", "wide.jpg", "width=9", "-o", "no/such/x"),      ("cannot be written", "name another file")),
    (1, ("render", "wide.jpg", "width=9", "-o", "."),              (". cannot be written: Is a directory",)),
    (1, ("render", "[/b].jpg", "width=9", "-o", "x"),              ("file not found: [/b].jpg",)),
    (1, ("render", "a" * 300, "width=9", "-o", "x"),               ("aaa cannot be read: File name too long",)),
    (2, ("render", "wide.jpg", "w=9", "-o", "x", "-d", "imgix"),   ("unknown dialect 'imgix'", "contentstack")),
    (1, ("serve", "none"),                                         ("none is not a folder", "give a folder")),
    (2, ("serve",),                                                ("nothing to serve", "cropmark serve FOLDER")),
    (1, ("serve", ".", "--cache", "wide.jpg"),                     ("the cache folder", "is not writable", "--cache")),
    (1, ("serve", ".", "--config", "none.toml"),                   ("none.toml", "the file does not exist")),
    (1, ("serve", ".", "--host", "http://x"),                      ("host: http://x is not an address", "127.0.0.1")),
    (1, ("serve", ".", "--host", "999.1.1.1"),                     ("host: 999.1.1.1 is not an address", "127.0.0.1")),
    (1, ("serve", ".", "--host", "192.0.2.1"),                     ("host: 192.0.2.1 is not an address", "127.0.0.1")),
    (1, ("health", "--url", "http://127.0.0.1:9"),                 ("no response from http://127.0.0.1:9", "--url")),
    (1, ("health", "--url", "http://127.0.0.1:abc"),               ("no response from", "--url")),
    (2, ("config", "explain", "max_age"),                          ("unknown setting 'max_age'", "mean max_age_s?")),
    (2, ("purge",),                                                ("expected one of --source",)),
    (2, ("purge", "--source", "a"),                                ("admin token", "CROPMARK_ADMIN_TOKEN")),
    (1, (*PURGE, "http://127.0.0.1:9"),                            ("no response from", "--server")),
    (1, (*PURGE, "http://127.0.0.1:abc"),                          ("no response from", "--server")),
    (1, (*PURGE, "http://a b"),                                    ("no response from http://a b", "--server")),
    (1, (*PURGE, "http://[::1"),                                   ("no response from http://[::1", "--server")),
    (1, ("explain", "width=1", "--source", "none.jpg"),            ("file not found",)),
    (1, ("explain", "width=9", "--source", "wide.jpg", "--draw", "no/x"), ("no/x cannot be written", "--draw")),
    (1, ("assets", "add", "a" * 300),                              ("aaa: File name too long",)),
]
# fmt: on


@pytest.mark.parametrize(("code", "arguments", "words"), FAILURES)
def test_failures(folder: Path, code: int, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    completed = cropmark(*arguments, cwd=folder, environment=PATIENCE)
    assert completed.returncode == code, completed.stderr
    for word in words:
        assert word in " ".join(completed.stderr.split()), completed.stderr
    assert "Traceback" not in completed.stderr


# fmt: off
NO_SERVERS = [
    # its response                                 words on the standard error
    (b'HTTP/1.0 200 OK\r\n\r\n{"ok": 1}',          "responds but is not a cropmark server"),
    (b"HTTP/1.0 200 OK\r\n\r\n[]",                 "responds but is not a cropmark server"),
    (b"HTTP/1.0 200 OK\r\n\r\n<html>",             "no response from"),
    (b"HTTP/1.0 403 Forbidden\r\n\r\n[]",          "the server rejected the request: HTTP Error 403: Forbidden"),
    (b"SSH-2.0-OpenSSH_9.6\r\n",                   "no response from"),
]
# fmt: on


@pytest.mark.parametrize(("answer", "words"), NO_SERVERS)
def test_purging_a_server_that_is_not_cropmark(folder: Path, answer: bytes, words: str) -> None:
    def answered() -> None:
        connection, _ = listening.accept()
        with connection:
            request = b""
            while b"}" not in request:
                request += connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        thread = threading.Thread(target=answered)
        thread.start()
        completed = cropmark(*PURGE, f"http://127.0.0.1:{listening.getsockname()[1]}", cwd=folder)
        thread.join()
    assert completed.returncode == 1
    assert words in completed.stderr
    assert "Traceback" not in completed.stderr


def test_names_are_printed_verbatim(folder: Path) -> None:
    """Brackets in names are not markup."""
    completed = cropmark("render", "wide.jpg", "width=9", "-o", "o[draft].jpg", cwd=folder)
    assert completed.stdout.startswith("o[draft].jpg: ")
    assert r"crop=\[/b] in fastly" in cropmark("explain", r"crop=\[/b]", cwd=folder).stdout


def test_an_image_in_a_pipe_is_followed_by_nothing(folder: Path) -> None:
    """It may be standard output. A pipe and a link to it are not replaced by a file."""
    pipe, link = folder / "pipe", folder / "link"
    os.mkfifo(pipe)
    link.symlink_to("pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        completed = cropmark("render", "wide.jpg", "width=10", "-o", "link", cwd=folder)
        assert Image.open(io.BytesIO(os.read(reader, 65536))).size == (10, 5)
    finally:
        os.close(reader)
    assert (completed.returncode, completed.stdout) == (0, "")
    assert completed.stderr.startswith("link: 10x5, image/jpeg")
    assert (link.is_symlink(), pipe.is_fifo()) == (True, True)
    link.unlink()
    pipe.unlink()


def test_a_port_that_is_taken(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        completed = cropmark("serve", ".", "--port", str(port), "--cache", "cache", cwd=folder)
    assert completed.returncode == 1
    assert f"port {port} of 127.0.0.1 is not free" in completed.stderr
    assert f"--port {port + 1}" in completed.stderr


def resolves(name: str) -> bool:
    """True if the system knows an address of the name; a minimal Debian has no /etc/hosts."""
    try:
        return bool(socket.getaddrinfo(name, 80))
    except socket.gaierror:
        return False


BY_NAME = require("an /etc/hosts with localhost", resolves("localhost"))


@pytest.mark.parametrize(
    ("host", "address"),
    [("::1", r"\[::1\]"), pytest.param("localhost", r"(127\.0\.0\.1|\[::1\])", marks=BY_NAME)],
)
def test_a_host_by_ipv6_and_by_name_and_a_folder_with_brackets(tmp_path: Path, host: str, address: str) -> None:
    folder = tmp_path / "pics [old]"
    folder.mkdir()
    make_images(folder)
    with running(str(folder), "--host", host, cache=tmp_path / "cache") as server:
        assert re.fullmatch(rf"http://{address}:\d+", server.address)
        assert f"images in {folder}," in server.greeting
        assert f"  {server.address}/fastly/" in server.greeting
        assert server.get("/healthz").status_code == 200


HOMELESS = "import os.path; os.path.expanduser = str; from cropmark.cli.main import main; main()"
"""As in a container that runs as a user id without a name."""


@pytest.mark.parametrize("command", [("serve", "."), ("doctor",), ("assets", "list")])
def test_a_user_without_a_home(command: tuple[str, ...], tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "HOME" and not k.startswith(("CROPMARK_", "XDG_"))}
    completed = run(command, cwd=tmp_path, environment=environment, program=HOMELESS)
    assert completed.returncode == 1
    assert "this user has no home folder" in completed.stderr
    assert "set HOME, or cache_dir and data_dir" in completed.stderr
    assert "Traceback" not in completed.stderr


def test_explain_prints_a_tree(folder: Path) -> None:
    completed = cropmark("explain", "crop=1:1&width=50&pad=2", "--source", "wide.jpg", cwd=folder)
    for words in ("crop=1:1: understood", "200x200 to 50x50: scale to 50x50 px", "54x54 px, JPEG", "key "):
        assert words in completed.stdout
    assert max(map(len, completed.stdout.splitlines())) <= 100


def test_explain_prints_warnings_with_their_parameter(folder: Path) -> None:
    report = cropmark("explain", "w=300&dpr=9&q=200", "-d", "kontent", cwd=folder).stdout
    assert "dpr: 9 counts as 5" in report
    assert "q: 200 counts as 100" in report


def test_explain_as_json(folder: Path) -> None:
    report = json.loads(cropmark("explain", "w=50&h=50&fit=crop", "-d", "kontent", "--json", cwd=folder).stdout)
    assert report["dialect"] == "kontent"
    assert report["order"]["plan"]["steps"][0]["fit"] == "cover"


def test_explain_prints_a_problem(folder: Path) -> None:
    completed = cropmark("explain", "width=abc", cwd=folder)
    assert completed.returncode == 1
    assert "400 width: expected" in completed.stdout


def test_config_show_prints_origins_and_masks_secrets(folder: Path) -> None:
    (folder / "some.toml").write_text("# mine\nport = 9000\n[fastly]\nwebp = true\n")
    environment = {"CROPMARK_ADMIN_TOKEN": "very-secret-token-of-mine-0123456789", "CROPMARK_MAX_AGE_S": "5"}
    report = cropmark("config", "show", "--config", "some.toml", cwd=folder, environment=environment).stdout
    rows = {line.split()[0]: line.split()[1:] for line in report.splitlines() if line.strip()}
    assert rows["port"] == ["9000", "some.toml:2"]
    assert rows["fastly.webp"] == ["true", "some.toml:4"]
    assert rows["max_age_s"] == ["5", "CROPMARK_MAX_AGE_S"]
    assert "very-secret" not in report
    assert rows["admin_token"] == ["********", "CROPMARK_ADMIN_TOKEN"]


def test_doctor_passes(folder: Path) -> None:
    completed = cropmark("doctor", cwd=folder, environment={"CROPMARK_CACHE_DIR": str(folder / "cache")})
    assert completed.returncode == 0, completed.stdout
    assert "PixLab's img may name any public host" in completed.stdout  # as serve FOLDER lets it
    for words in (
        "OK    libvips 8.",
        "OK    AVIF is decoded and encoded",
        "OK    not read: svg, ",
        "OK    svg is read and drawn, without text, if the setting svg is",
        "extra heif",
        "can start",
        "cache folder",
        "data folder",
    ):
        assert words in completed.stdout


def test_doctor_fetches_from_origins_as_the_server_does(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = closed.getsockname()[1]
    server = ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    sites = [
        SiteSettings(prefix=f"/{name}", dialect="fastly", source=f"http://127.0.0.1:{port}")
        for name, port in (("up", server.server_port), ("down", free))
    ]
    try:
        found = list(doctor._origins(Settings(site=tuple(sites))))
    finally:
        server.shutdown()
        server.server_close()
    assert [each.status for each in found] == [doctor.Status.OK, doctor.Status.WARN]
    assert "down: the origin" in found[1].what
    assert "could not be reached" in found[1].what


LOGS_WHILE_IT_RENDERS = """
import sys
import structlog
from cropmark import api
from cropmark.cli import main

info = api.info
api.info = lambda *a, **k: structlog.get_logger("cropmark").warning("a renderer was replaced") or info(*a, **k)
sys.argv = ["cropmark", "info", "wide.jpg"]
main.main()
"""
LOGS_AFTERWARDS = """
import json, structlog
from cropmark.api import info

facts = info("wide.jpg")
structlog.get_logger("cropmark").warning("a renderer was replaced")
print(json.dumps(facts))
"""


@pytest.mark.parametrize("program", [LOGS_WHILE_IT_RENDERS, LOGS_AFTERWARDS])
def test_a_log_line_is_not_part_of_the_output(folder: Path, program: str) -> None:
    environment = {**os.environ, "CROPMARK_SMART_CROP": "false"}  # without the networks it takes a third of the time
    ended = run([], cwd=folder, environment=environment, program=program)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["width"] == 400
    assert "a renderer was replaced" in ended.stderr


def test_version(folder: Path) -> None:
    """Started as users start it."""
    command = [sys.executable, "-m", "cropmark.cli.main", "--version"]
    completed = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert completed.stdout == f"cropmark {metadata.version('cropmark')}\n"


def test_config_explain_prints_the_effective_value(folder: Path) -> None:
    completed = cropmark("config", "explain", "max_age_s", cwd=folder, environment={"CROPMARK_MAX_AGE_S": "60"})
    assert completed.returncode == 0
    assert completed.stdout.startswith("max_age_s: Seconds that clients may cache an image")
    assert "value:    60 (from CROPMARK_MAX_AGE_S)" in completed.stdout


def test_config_show_as_json_masks_secrets(folder: Path) -> None:
    token = {"CROPMARK_ADMIN_TOKEN": "secret" * 8}
    shown = json.loads(cropmark("config", "show", "--json", cwd=folder, environment=token).stdout)
    assert shown["admin_token"] == {"value": "********", "origin": "CROPMARK_ADMIN_TOKEN"}
    assert shown["port"] == {"value": "8000", "origin": "default"}


def test_doctor_as_json(folder: Path) -> None:
    cache = {"CROPMARK_CACHE_DIR": str(folder / "cache")}
    checks = json.loads(cropmark("doctor", "--json", cwd=folder, environment=cache).stdout)
    assert {"OK"} <= {check["status"] for check in checks} <= {"OK", "WARN"}
    assert all(check["fix"] for check in checks if check["status"] == "WARN" and "checks of" not in check["what"])


def test_health_of_a_running_server_until_it_has_stopped(folder: Path, tmp_path: Path) -> None:
    """With drain_delay_s the server is not ready after SIGTERM, but still serves; a second signal ends the delay."""
    with running(str(folder), cache=tmp_path / "cache", environment={"CROPMARK_DRAIN_DELAY_S": "60"}) as server:
        ready = cropmark("health", "--url", server.address, cwd=folder)
        assert (ready.returncode, ready.stdout) == (0, f"{server.address} is ready\n")
        server.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        while server.get("/readyz").status_code == 200 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert server.get("/readyz").json()["stopping"] is True
        assert server.get("/fastly/wide.jpg?width=33").status_code == 200
        stopping = cropmark("health", "--url", server.address, cwd=folder)
        assert stopping.returncode == 1
        assert "is not ready: it is stopping" in stopping.stderr
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0


def test_commands_find_the_configured_server(folder: Path, tmp_path: Path) -> None:
    """`health` and `purge` use the admin port if there is one, where /readyz and /admin are; `warm` the public port."""
    port, admin_port = free_port(), free_port()
    config = tmp_path / "cropmark.toml"
    config.write_text(f"port = {port}\nadmin_port = {admin_port}\n")
    (tmp_path / "urls").write_text("/fastly/wide.jpg?width=31\n")
    admin = f"http://127.0.0.1:{admin_port}"
    options = ("--config", str(config))
    with running(str(folder), *options, cache=tmp_path / "cache", port=port):
        healthy = cropmark("health", *options, cwd=folder)
        assert (healthy.returncode, healthy.stdout) == (0, f"{admin} is ready\n"), healthy.stderr
        warmed = cropmark("warm", str(tmp_path / "urls"), *options, cwd=folder)
        assert warmed.returncode == 0, warmed.stderr
        purged = cropmark("purge", "--source", "wide.jpg", "--token", TOKEN, *options, cwd=folder)
        assert (purged.returncode, purged.stdout) == (0, "1 variant purged\n"), purged.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((".", "--host", "256.1.1.1"), "host"),
        (("missing",), "missing is not a folder"),
        ((".", "--config", "broken.toml"), "prot"),
    ],
)
def test_a_failed_start_is_json(folder: Path, tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    (folder / "broken.toml").write_text("prot = 1\n")
    environment = {"CROPMARK_LOG_FORMAT": "json", "CROPMARK_CACHE_DIR": str(tmp_path), "CROPMARK_PORT": "0"}
    told = cropmark("serve", *arguments, cwd=folder, environment=environment)
    assert (told.returncode != 0, told.stdout) == (True, "")
    lines = [json.loads(line) for line in told.stderr.splitlines()]
    assert any(line["event"] == "start failed" and reason in line["reason"] for line in lines)


def test_every_line_of_a_server_is_json(folder: Path, tmp_path: Path) -> None:
    """On both streams."""
    command = ["serve", str(folder), "--port", "0", "--renderers", "1"]
    environment = {**os.environ, "CROPMARK_LOG_FORMAT": "json", "CROPMARK_CACHE_DIR": str(tmp_path)}
    with (tmp_path / "errors").open("w") as errors:
        server = start(command, errors, environment=environment)
    assert server.stdout is not None
    try:
        wait_until(lambda: '"started"' in (tmp_path / "errors").read_text() or server.poll() is not None, 60)
    finally:
        server.terminate()
        server.wait(60)
    with server.stdout:
        text = server.stdout.read().decode() + (tmp_path / "errors").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    events = {line["event"]: line for line in lines}
    assert events["serving"]["sites"]["fastly"] == [f"{events['started']['address']}/fastly/"]
    assert events["stopped"]


def test_a_folder_is_not_a_missing_file(folder: Path) -> None:
    told = cropmark("render", ".", "width=10", "-o", "x.png", cwd=folder)
    assert (told.returncode, ". is a folder" in told.stderr, "not found" in told.stderr) == (1, True, False)
