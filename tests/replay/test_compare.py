"""Comparison of two URLs, against a server on the loopback address and with a renderer."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from cropmark.cli.main import app
from cropmark.config.loader import Settings
from cropmark.model.problems import BadRequest, SourceFailed, SourceTooLarge
from cropmark.model.values import Size
from cropmark.ports import ImageDifference
from cropmark.renderers import protocol, reply_parser
from cropmark.renderers.pool import Pool
from cropmark.renderers.protocol import Reply
from cropmark.renderers.tasks import Compare, Inspect
from cropmark.renderers.transport import MessageKind, ProtocolError, RawReply
from cropmark.replay import compare, fetch
from cropmark.replay.compare import Comparison, compare_urls
from cropmark.server.components import build_pool
from tests.engine.images import file_of, slopes

PICTURE = slopes(120, 80)
DARKER = (PICTURE * 0.8).astype(np.uint8)

# fmt: off
ANSWERS: dict[str, tuple[int, str, bytes]] = {
    "/a.png":      (200, "image/png",  file_of(PICTURE)),
    "/b.jpg":      (200, "image/jpeg", file_of(PICTURE, "JPEG", quality=95)),
    "/c.jpg":      (200, "image/jpeg; charset=x", file_of(PICTURE, "JPEG", quality=92)),
    "/dark.png":   (200, "image/png",  file_of(DARKER)),
    "/small.png":  (200, "image/png",  file_of(slopes(60, 40))),
    "/broken.png": (200, "image/png",  file_of(PICTURE)[:200]),
    "/lost":       (404, "text/plain", b"not here"),
    "/gone":       (410, "text/plain", b""),
    "/a.svg":      (200, "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
}
# fmt: on


ACCEPTED: list[str] = []
"""The Accept header of every request."""


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        ACCEPTED.append(self.headers.get("Accept", ""))
        status, kind, body = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's own name
        pass


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


# fmt: off
PAIRS = [
    # one          two            unlike
    ("/a.png",     "/a.png",      ()),
    ("/b.jpg",     "/c.jpg",      ()),                                 # bytes differ, as encoders do
    ("/a.png",     "/b.jpg",      ("type",)),
    ("/a.png",     "/dark.png",   ("image",)),
    ("/a.png",     "/small.png",  ("size",)),
    ("/a.png",     "/lost",       ("status", "type", "size", "frames")),
    ("/lost",      "/lost",       ()),                                 # neither has it: they agree
    ("/lost",      "/gone",       ("status",)),
    ("/a.png",     "/broken.png", ("image",)),                       # its header is whole
    ("/a.svg",     "/a.svg",      ()),
]
# fmt: on


class SharedPool:
    """A pool that several comparisons use, each of which starts and closes it."""

    def __init__(self, pool: Pool) -> None:
        self.inspect = pool.inspect
        self.compare = pool.compare

    async def start(self) -> None:
        """It runs already."""

    async def close(self) -> None:
        """It is still needed."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[Pool]:
    found = build_pool(Settings(renderers=1))
    await found.start()
    yield found
    await found.close()


@pytest.fixture
def _one_pool(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "build_pool", lambda _: SharedPool(pool))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("_one_pool")
@pytest.mark.parametrize(("one", "two", "unlike"), PAIRS)
async def test_differences(origin: str, one: str, two: str, unlike: tuple[str, ...]) -> None:
    found = await compare_urls(origin + one, origin + two, settings=Settings())
    assert found.differences(3.0) == unlike


async def test_the_comparison_as_json(origin: str) -> None:
    found = await compare_urls(f"{origin}/a.png", f"{origin}/small.png", settings=Settings())
    report = found.to_json(3.0)
    assert report["one"] == {
        "url": f"{origin}/a.png",
        "status": 200,
        "type": "image/png",
        "bytes": len(ANSWERS["/a.png"][2]),
        "sha256": report["one"]["sha256"],
        "size": [120, 80],
        "frames": 1,
    }
    assert report["difference"]["size"] == [60, 40]
    assert report["different"] == ["size"]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("_one_pool")
async def test_the_reasons_why_a_body_is_not_an_image(origin: str) -> None:
    async def trouble(path: str) -> str | None:
        return (await compare_urls(origin + path, f"{origin}/gone", settings=Settings())).one.error

    assert await trouble("/lost") == "the bytes are not in a supported image format"
    assert await trouble("/gone") == "the body is empty"
    assert await trouble("/a.svg") == "svg is not decoded here"


async def test_urls_that_cannot_be_fetched(origin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("file:///etc/passwd", "http://[::1/x"):
        with pytest.raises(BadRequest, match=re.escape(f"expected an http or https URL, got '{url}'")):
            await compare_urls(url, f"{origin}/a.png", settings=Settings())
    with pytest.raises(SourceFailed, match="did not respond"):
        await compare_urls("http://127.0.0.1:1/", f"{origin}/a.png", settings=Settings())
    monkeypatch.setattr(fetch, "MAX_BYTES", 100)
    with pytest.raises(SourceTooLarge, match="more than 100 bytes"):
        await compare_urls(f"{origin}/a.png", f"{origin}/a.png", settings=Settings())


def test_the_tolerance_is_the_operators() -> None:
    seen = fetch.FetchedUrl("http://a.example", 200, "image/png", 5, "00")
    found = Comparison(seen, seen, ImageDifference(Size(4, 4), 2.5, 9, 30.0))
    assert found.differences(2.5) == ()
    assert found.differences(2.4) == ("image",)


# ------------------------------------------------------------------------------------------------ the command


def test_the_command(origin: str) -> None:
    alike = CliRunner().invoke(app, ["compare", f"{origin}/b.jpg", f"{origin}/c.jpg"], env={"COLUMNS": "200"})
    assert alike.exit_code == 0
    assert alike.output.splitlines()[-1] == "identical"
    for words in ("120x80", "image/jpeg", "PSNR", "mean"):
        assert words in alike.output

    unlike = CliRunner().invoke(app, ["compare", f"{origin}/a.png", f"{origin}/dark.png"], env={"COLUMNS": "200"})
    assert unlike.exit_code == 1
    assert unlike.output.splitlines()[-1] == "different: image"

    forgiving = CliRunner().invoke(app, ["compare", f"{origin}/a.png", f"{origin}/dark.png", "--tolerance", "60"])
    assert forgiving.exit_code == 0


def test_the_command_as_json(origin: str) -> None:
    found = CliRunner().invoke(
        app, ["compare", f"{origin}/a.png", f"{origin}/lost", "--json", "--accept", "image/webp"]
    )
    assert found.exit_code == 1
    report = json.loads(found.output)
    assert report["two"]["status"] == 404
    assert ACCEPTED[-2:] == ["image/webp", "image/webp"]
    assert "difference" not in report


# ------------------------------------------------------------------------------------------------ the renderer's reply


@pytest.mark.parametrize("psnr_db", [None, 31.25])
def test_a_comparison_crosses_unchanged(psnr_db: float | None) -> None:
    report = Reply(ImageDifference(Size(3, 4), 1.5, 200, psnr_db), recycle=True)
    assert reply_parser.parse_reply(protocol.serialize_reply(report), Compare()) == report


# fmt: off
OUT_OF_FORM = [
    {"size": [0, 4], "mean": 1.0, "maximum": 2, "psnr_db": None, "recycle": False},
    {"size": [3, 4], "mean": 256.0, "maximum": 2, "psnr_db": None, "recycle": False},
    {"size": [3, 4], "mean": 1.0, "maximum": 256, "psnr_db": None, "recycle": False},
    {"size": [3, 4], "mean": 1.0, "maximum": 2, "psnr_db": "loud", "recycle": False},
    {"size": [3, 4], "mean": 1.0, "maximum": 2, "recycle": False},
]
# fmt: on


@pytest.mark.parametrize("header", OUT_OF_FORM)
def test_a_malformed_comparison_is_rejected(header: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        reply_parser.parse_reply(RawReply(MessageKind.DIFFERENCE, json.dumps(header).encode()), Compare())


def test_a_comparison_is_not_a_reply_to_another_task() -> None:
    report = protocol.serialize_reply(Reply(ImageDifference(Size(3, 4), 1.5, 200, None)))
    with pytest.raises(ProtocolError, match="DIFFERENCE is not a reply to Inspect"):
        reply_parser.parse_reply(report, Inspect())
