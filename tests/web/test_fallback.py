"""A site's fallback image: sent for a missing or broken source, with the requested query, a header and a short life."""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from PIL import Image

from cropmark.model.problems import SourceNotFound
from cropmark.pipeline import Delivered, RequestContext
from cropmark.plan.plan import Order
from cropmark.plan.source import SitePath
from cropmark.ports import Record, Source
from cropmark.web.client_ip import ClientIp
from cropmark.web.request import Message
from cropmark.web.sending import WHOLE_BYTES, BodySender, SendLimits
from cropmark.web.site import Fallback
from tests.web.asgi_client import FakePipeline, app_of, fastly, respond
from tests.web.server_process import Running, running

CONFIG = """
[[site]]
name = "shop"
prefix = "/shop"
dialect = "fastly"
source = "{images}"
fallback = "none/placeholder.png"

[[site]]
name = "stack"
prefix = "/stack"
dialect = "contentstack"
source = "{images}"
fallback = "none/placeholder.png"

[[site]]
name = "strict"
prefix = "/strict"
dialect = "kontent"
source = "{images}"
fallback = "none/placeholder.png"
fallback_status = 404

[[site]]
name = "wrong"
prefix = "/wrong"
dialect = "fastly"
source = "{images}"
fallback = "absent.png"

[[site]]
name = "without"
prefix = "/without"
dialect = "fastly"
source = "{images}"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("fallback")
    images = folder / "images"
    (images / "none").mkdir(parents=True)
    Image.new("RGB", (80, 80), (255, 0, 0)).save(images / "none" / "placeholder.png")
    Image.new("RGB", (80, 40), (0, 0, 255)).save(images / "blue.jpg")
    (images / "broken.jpg").write_bytes((images / "blue.jpg").read_bytes()[:200])
    config = folder / "cropmark.toml"
    config.write_text(CONFIG.format(images=images))
    log = {"CROPMARK_ACCESS_LOG": "all"}
    with running("--config", str(config), cache=folder / "cache", environment=log) as started:
        yield started


def _is_red(body: bytes) -> bool:
    with Image.open(io.BytesIO(body)) as image:
        red, green, blue = image.convert("RGB").resize((1, 1)).getpixel((0, 0))  # type: ignore[misc] # of an RGB image
    return bool(red > 200 and green < 50 and blue < 50)


# fmt: off
REQUESTS = [
    # path                              status  fallback for              width
    ("/shop/blue.jpg?width=20",          200,   None,                     20),
    ("/shop/gone.jpg?width=20",          200,   "source_not_found",       20),
    ("/shop/gone.jpg?width=20&format=webp", 200, "source_not_found",      20),
    ("/stack/broken.jpg?width=20",       200,   "source_unusable",        20),
    ("/strict/gone.jpg?w=20",            404,   "source_not_found",       20),
    ("/strict/blue.jpg?w=20",            200,   None,                     20),
]
# fmt: on


@pytest.mark.parametrize(("path", "status", "code", "width"), REQUESTS)
def test_the_image_or_its_fallback(server: Running, path: str, status: int, code: str | None, width: int) -> None:
    for _ in range(2):  # the second time from the cache
        response = server.get(path)
        assert response.status_code == status
        assert response.headers.get("x-cropmark-fallback") == code
        with Image.open(io.BytesIO(response.content)) as image:
            assert image.width == width
        assert _is_red(response.content) is (code is not None)
        if code is not None:
            assert response.headers["cache-control"] == "public, max-age=60"


# fmt: off
ERRORS = [
    # path                           status
    ("/shop/broken.jpg?width=20",     200),  # Fastly sends a broken source unchanged
    ("/shop/blue.jpg?width=0",        400),  # the request is wrong, not the image
    ("/wrong/gone.jpg?width=20",      404),  # the fallback is missing too
    ("/without/gone.jpg?width=20",    404),
]
# fmt: on


@pytest.mark.parametrize(("path", "status"), ERRORS)
def test_other_errors_stay(server: Running, path: str, status: int) -> None:
    response = server.get(path)
    assert response.status_code == status
    assert "x-cropmark-fallback" not in response.headers


def test_the_requested_image_is_sent_as_soon_as_it_is_there(server: Running, tmp_path: Path) -> None:
    images = Path(server.log.parent) / "images"
    assert _is_red(server.get("/shop/later.png?width=20").content)
    Image.new("RGB", (80, 80), (0, 255, 0)).save(images / "later.png")
    response = server.get("/shop/later.png?width=20")
    assert "x-cropmark-fallback" not in response.headers
    assert not _is_red(response.content)


def test_the_log_names_the_problem(server: Running) -> None:
    server.get("/strict/lost.jpg?w=30")
    deadline = time.monotonic() + 10  # the line is written after the response
    while not (lines := _log_lines(server, "lost.jpg")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert [(line["status"], line["fallback"]) for line in lines] == [(404, "source_not_found")]


def _log_lines(server: Running, word: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in server.log.read_text().splitlines() if word in line]


@pytest.mark.parametrize("asked", ["bytes=0-9", "bytes=99999-"])
def test_a_fallback_that_is_an_original_is_sent_complete(server: Running, asked: str) -> None:
    """The client asked for a range of another file."""
    response = server.get(f"/strict/ranged{asked[-2]}.png", headers={"Range": asked})
    whole = (Path(server.log.parent) / "images" / "none" / "placeholder.png").read_bytes()
    assert (response.status_code, response.content) == (404, whole)
    assert response.headers["x-cropmark-fallback"] == "source_not_found"
    assert "content-range" not in response.headers


@dataclass
class BrokenPipeline(FakePipeline):
    """Finds no requested image; its fallback image is large, or fails by an error that is not expected."""

    broken_fallback: bool = False

    async def deliver(self, source: Source, order: Order, context: RequestContext) -> Delivered:
        if order.sources[0].ref != SitePath("none.png"):
            raise SourceNotFound("the image does not exist")
        if self.broken_fallback:
            raise RuntimeError("the pool is broken")
        return Delivered(Record("image/png", '"large"', 2 * WHOLE_BYTES), bytes(2 * WHOLE_BYTES), "miss")


def test_a_fallback_that_fails_unexpectedly_is_logged() -> None:
    app = app_of(BrokenPipeline(broken_fallback=True), site=fastly(fallback=Fallback("none.png")))
    with structlog.testing.capture_logs() as logs:
        reply = respond(app, b"/fastly/a.jpg?width=9")
    assert (reply.status, reply.header("x-cropmark-fallback")) == (404, None)
    assert [line["log_level"] for line in logs if "fallback" in line["event"]] == ["error"]


def test_an_error_while_the_fallback_is_sent_is_not_marked() -> None:
    sender = BodySender(SendLimits(bytes=WHOLE_BYTES), ClientIp(), lambda _: None)
    app = app_of(BrokenPipeline(), site=fastly(fallback=Fallback("none.png", 404)), sender=sender)
    reply = respond(app, b"/fastly/a.jpg?width=9")
    assert (reply.status, reply.header("x-cropmark-fallback")) == (503, None)
    assert respond(app, b"/fastly/a.jpg?width=9", method="HEAD").status == 404


async def test_a_fallback_is_not_made_for_a_client_that_has_left() -> None:
    @dataclass
    class Endless(BrokenPipeline):
        async def deliver(self, source: Source, order: Order, context: RequestContext) -> Delivered:
            if order.sources[0].ref == SitePath("none.png"):
                await asyncio.Event().wait()
            return await super().deliver(source, order, context)

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    app = app_of(Endless(), site=fastly(fallback=Fallback("none.png")))
    scope = {"type": "http", "method": "GET", "path": "/fastly/a.jpg", "raw_path": b"/fastly/a.jpg"}
    headers = [(b"host", b"img.example")]
    async with asyncio.timeout(5):
        await app({**scope, "query_string": b"width=9", "headers": headers, "client": ("192.0.2.1", 1)}, receive, send)
    assert sent == []
