"""The command line from outside: its output, its exit code, and one line with the fix for every failure."""

from __future__ import annotations

import io
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import make_images
from tests.web.server_process import running


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("pictures"))


def cropmark(
    *arguments: str, cwd: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    given = {k: v for k, v in os.environ.items() if not k.startswith("CROPMARK_")}
    return subprocess.run(
        [sys.executable, "-m", "cropmark.cli.main", *arguments],
        cwd=cwd,
        env={**given, "COLUMNS": "100", "NO_COLOR": "1", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_render_writes_a_picture(folder: Path) -> None:
    told = cropmark("render", "wide.jpg", "crop=1:1&width=64&format=webp", "-o", "out.webp", cwd=folder)
    assert told.returncode == 0
    assert told.stdout.startswith("out.webp: 64x64, image/webp, ")
    assert Image.open(folder / "out.webp").size == (64, 64)


def test_render_prints_warnings(folder: Path) -> None:
    told = cropmark("render", "wide.jpg", "crop=10,10,smart", "-o", "out.jpg", cwd=folder)
    assert told.returncode == 0
    assert "warning: crop: " in told.stderr


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
    told = cropmark(*arguments, cwd=folder)
    assert told.returncode == code, told.stderr
    for word in words:
        assert word in " ".join(told.stderr.split()), told.stderr
    assert "Traceback" not in told.stderr


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
            asked = b""
            while b"}" not in asked:
                asked += connection.recv(65536)
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(30)
        thread = threading.Thread(target=answered)
        thread.start()
        told = cropmark(*PURGE, f"http://127.0.0.1:{listening.getsockname()[1]}", cwd=folder)
        thread.join()
    assert told.returncode == 1
    assert words in told.stderr
    assert "Traceback" not in told.stderr


def test_names_are_printed_verbatim(folder: Path) -> None:
    """Brackets in names are not markup."""
    told = cropmark("render", "wide.jpg", "width=9", "-o", "o[draft].jpg", cwd=folder)
    assert told.stdout.startswith("o[draft].jpg: ")
    assert r"crop=\[/b] in fastly" in cropmark("explain", r"crop=\[/b]", cwd=folder).stdout


def test_an_image_in_a_pipe_is_followed_by_nothing(folder: Path) -> None:
    """It may be standard output. A pipe and a link to it are not replaced by a file."""
    pipe, link = folder / "pipe", folder / "link"
    os.mkfifo(pipe)
    link.symlink_to("pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        told = cropmark("render", "wide.jpg", "width=10", "-o", "link", cwd=folder)
        assert Image.open(io.BytesIO(os.read(reader, 65536))).size == (10, 5)
    finally:
        os.close(reader)
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr.startswith("link: 10x5, image/jpeg")
    assert (link.is_symlink(), pipe.is_fifo()) == (True, True)
    link.unlink()
    pipe.unlink()


def test_a_port_that_is_taken(folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        told = cropmark("serve", ".", "--port", str(port), "--cache", "cache", cwd=folder)
    assert told.returncode == 1
    assert f"port {port} of 127.0.0.1 is not free" in told.stderr
    assert f"--port {port + 1}" in told.stderr


@pytest.mark.parametrize(("host", "address"), [("::1", r"\[::1\]"), ("localhost", r"(127\.0\.0\.1|\[::1\])")])
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
    told = subprocess.run(
        [sys.executable, "-c", HOMELESS, *command],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.returncode == 1
    assert "this user has no home folder" in told.stderr
    assert "set HOME, or cache_dir and data_dir" in told.stderr
    assert "Traceback" not in told.stderr


def test_explain_prints_a_tree(folder: Path) -> None:
    told = cropmark("explain", "crop=1:1&width=50&pad=2", "--source", "wide.jpg", cwd=folder)
    for words in ("Crop(shape=1:1)", "Resize(width=50 px)", "recipe, 54x54", "Extract(200x200 at 100,0)", "key "):
        assert words in told.stdout
    assert max(map(len, told.stdout.splitlines())) <= 100


def test_explain_prints_warnings_with_their_parameter(folder: Path) -> None:
    told = cropmark("explain", "w=300&dpr=9&q=200", "-d", "kontent", cwd=folder).stdout
    assert "dpr: 9 counts as 5" in told
    assert "q: 200 counts as 100" in told


def test_explain_as_json(folder: Path) -> None:
    told = json.loads(cropmark("explain", "w=50&h=50&fit=crop", "-d", "kontent", "--json", cwd=folder).stdout)
    assert told["dialect"] == "kontent"
    assert told["order"]["plan"]["steps"][0]["fit"] == "cover"


def test_explain_prints_a_problem(folder: Path) -> None:
    told = cropmark("explain", "width=abc", cwd=folder)
    assert told.returncode == 1
    assert "400 width: expected" in told.stdout


def test_config_show_prints_origins_and_masks_secrets(folder: Path) -> None:
    (folder / "some.toml").write_text("# mine\nport = 9000\n[fastly]\nwebp = true\n")
    environment = {"CROPMARK_ADMIN_TOKEN": "very-secret-token-of-mine-0123456789", "CROPMARK_MAX_AGE_S": "5"}
    told = cropmark("config", "show", "--config", "some.toml", cwd=folder, environment=environment).stdout
    rows = {line.split()[0]: line.split()[1:] for line in told.splitlines() if line.strip()}
    assert rows["port"] == ["9000", "some.toml:2"]
    assert rows["fastly.webp"] == ["true", "some.toml:4"]
    assert rows["max_age_s"] == ["5", "CROPMARK_MAX_AGE_S"]
    assert "very-secret" not in told
    assert rows["admin_token"] == ["********", "CROPMARK_ADMIN_TOKEN"]


def test_doctor_passes(folder: Path) -> None:
    told = cropmark("doctor", cwd=folder, environment={"CROPMARK_CACHE_DIR": str(folder / "cache")})
    assert told.returncode == 0, told.stdout
    assert "PixLab's img may name any public host" in told.stdout  # as serve FOLDER lets it
    for words in (
        "OK    libvips 8.",
        "OK    AVIF is decoded and encoded",
        "renderers start",
        "cache folder",
        "data folder",
    ):
        assert words in told.stdout
