"""The examples of the moving-from documents: requests are sent, commands run, configurations read.

    ```http     a request, optionally a body, and after a blank line the response: status, type, size in pixels,
                headers, and after `> ` parts of the body
    ```sh       commands after `$ `, and their output
    ```toml     a configuration

`…` stands for any text. The hosts of examples are loopback servers here: 127.0.0.1:8000 and service.example are
cropmark over examples/images, images.example is a plain web server of them. YOUR_KEY is PixLab's key.
"""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image
from typer.testing import CliRunner

from cropmark.cli.main import app
from cropmark.config.loader import load_settings
from tests.command import forked_renderers
from tests.web.server_process import running

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "examples" / "images"
DOCUMENTS = sorted((ROOT / "docs").glob("moving-from-*.md"))
KEY = "a-key-for-the-tests-0123456789abcdef"

_BLOCK = re.compile(r"^```(http|sh|toml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced example, with its document and line."""

    where: str
    text: str


def blocks(kind: str) -> list[Block]:
    found = []
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        for match in _BLOCK.finditer(text):
            if match[1] == kind:
                line = text.count("\n", 0, match.start()) + 1
                found.append(Block(f"{document.name}:{line}", match[2]))
    return found


def by_place(kind: str) -> pytest.MarkDecorator:
    found = blocks(kind)
    return pytest.mark.parametrize("block", found, ids=[block.where for block in found])


# ------------------------------------------------------------------------------------------------ the servers


@pytest.fixture(scope="module", autouse=True)
def _forked_renderers() -> Iterator[None]:
    with forked_renderers():
        yield


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own name
        pass


@pytest.fixture(scope="module")
def plain_server() -> Iterator[str]:
    """host:port of a plain web server of the sample images."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(IMAGES)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def hosts(plain_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The addresses of the documents, each with its replacement in this test."""
    work = tmp_path_factory.mktemp("documents")
    settings = {
        "CROPMARK_PIXLAB_KEY": KEY,
        "CROPMARK_ALLOW_PRIVATE_HOSTS": plain_server,
        "CROPMARK_DATA_DIR": str(work / "data"),
        "CROPMARK_CONTENTSTACK__RATE_LIMIT": "80",
    }
    with running(str(IMAGES), cache=work / "cache", environment=settings) as server:
        yield {
            "http://127.0.0.1:8000": server.address,
            "https://service.example": server.address,
            "https://images.example": f"http://{plain_server}",
            "YOUR_KEY": KEY,
        }


def here(text: str, hosts: dict[str, str]) -> str:
    for written, meant in hosts.items():
        text = text.replace(written, meant)
    return text


def fits(written: str, line: str) -> bool:
    """True if a line is as written; `…` stands for any text."""
    return re.fullmatch(".*".join(map(re.escape, written.split("…"))), line.rstrip()) is not None


# ------------------------------------------------------------------------------------------------ the examples


@by_place("http")
def test_requests(block: Block, hosts: dict[str, str]) -> None:
    head, *body, expected = here(block.text, hosts).strip().split("\n\n")
    (method, target), *headers = (line.split(" ", 1) for line in head.splitlines())
    with httpx.Client(trust_env=False, timeout=30) as client:
        request = client.build_request(
            method,
            hosts["http://127.0.0.1:8000"],
            headers={name.rstrip(":"): value for name, value in headers},
            content="\n\n".join(body) or None,
        )
        request.extensions["target"] = target.encode()
        response = client.send(request)
    first, *rest = expected.splitlines()
    status, media_type, *size = first.split()
    assert str(response.status_code) == status, response.text
    assert response.headers["content-type"].split(";")[0] == media_type
    if size:
        assert "{}x{}".format(*Image.open(BytesIO(response.content)).size) == size[0]
    for line in rest:
        if line.startswith("> "):
            assert line[2:] in response.text
        else:
            name, _, value = line.partition(": ")
            assert fits(value, response.headers.get(name, "(not there)")), response.headers.get(name)


@by_place("sh")
def test_commands(block: Block, hosts: dict[str, str]) -> None:
    command, *expected = block.text.strip().splitlines()
    assert command.startswith("$ cropmark "), "only commands of cropmark are run"
    words = shlex.split(here(command, hosts))[2:]
    result = CliRunner().invoke(app, words, env={"COLUMNS": "250", "no_proxy": "*"})
    output = "\n".join(line.rstrip() for line in result.stdout.splitlines())
    assert re.fullmatch(".*".join(map(re.escape, "\n".join(expected).split("…"))), output, re.DOTALL), output


@by_place("toml")
def test_configurations(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "cropmark.toml"
    file.write_text(block.text)
    assert load_settings(file, environ={}).settings is not None


def test_there_are_examples_of_every_kind_in_every_document() -> None:
    assert len(DOCUMENTS) == 4
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        assert {match[1] for match in _BLOCK.finditer(text)} == {"http", "sh", "toml"}, document.name
        assert text.count("```") == 2 * len(_BLOCK.findall(text)), f"{document.name}: a block that no test runs"


def test_links_have_targets() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\(([^)#]+)\)", document.read_text("utf-8")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


def test_each_command_is_documented() -> None:
    assert "No such command" not in (ROOT / "docs" / "cli.md").read_text("utf-8")
