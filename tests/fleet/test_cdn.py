"""Purges of a CDN, against a local server with the shape of the vendors' APIs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from cropmark.fleet.cdn import CdnMessage, CdnPurger, Cloudflare, Fastly
from cropmark.fleet.outbox import Outbox
from tests.builders import make_images, until
from tests.fleet.sender import sender
from tests.web.server_process import running


@dataclass
class Api:
    """Notes requests; answers with `statuses`, then with 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    received: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        text = await request.text()
        self.received.append((request.path, dict(request.headers), json.loads(text) if text else None))
        return web.json_response({"success": True}, status=self.statuses.pop(0) if self.statuses else 200)


@asynccontextmanager
async def api() -> AsyncIterator[Api]:
    found, app = Api(), web.Application()
    app.router.add_post("/{path:.*}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield found
    finally:
        await runner.cleanup()


MESSAGES = (
    CdnMessage(("a", "b"), soft=True),
    CdnMessage(url="https://img.example/fastly/a.jpg?width=1"),
    CdnMessage(everything=True),
)


async def send(purger: CdnPurger, *messages: CdnMessage) -> None:
    purger.start()
    for message in messages:
        await purger.add(message)


async def test_fastly(tmp_path: Path) -> None:
    async with api() as found:
        purger = CdnPurger(Fastly("SU1", "secret", found.url), Outbox(tmp_path))
        await send(purger, *MESSAGES)
        await until(lambda: len(found.received) == 3)
        await until(lambda: not Outbox(tmp_path).names())
        await purger.close()
    assert [(path, body) for path, _, body in found.received] == [
        ("/service/SU1/purge", {"surrogate_keys": ["a", "b"]}),
        ("/purge/img.example/fastly/a.jpg", None),
        ("/service/SU1/purge_all", None),
    ]
    assert {headers["Fastly-Key"] for _, headers, _ in found.received} == {"secret"}
    assert [headers.get("Fastly-Soft-Purge") for _, headers, _ in found.received] == ["1", None, None]


async def test_cloudflare(tmp_path: Path) -> None:
    async with api() as found:
        purger = CdnPurger(Cloudflare("zone", "secret", found.url), Outbox(tmp_path))
        await send(purger, *MESSAGES, CdnMessage(tuple(f"{n}" for n in range(31))))
        await until(lambda: len(found.received) == 5)
        await purger.close()
    assert [body for _, _, body in found.received] == [
        {"tags": ["a", "b"]},
        {"files": ["https://img.example/fastly/a.jpg?width=1"]},
        {"purge_everything": True},
        {"tags": [f"{n}" for n in range(30)]},
        {"tags": ["30"]},
    ]
    assert {(path, headers["Authorization"]) for path, headers, _ in found.received} == {
        ("/zones/zone/purge_cache", "Bearer secret")
    }


async def test_failures_are_repeated_and_a_rejected_purge_is_dropped(tmp_path: Path) -> None:
    async with api() as found:
        found.statuses = [503, 429, 200, 400]
        purger = CdnPurger(Fastly("SU1", "secret", found.url), Outbox(tmp_path), first_pause_s=0.01)
        with structlog.testing.capture_logs() as logs:
            await send(purger, CdnMessage(("a",)), CdnMessage(("b",)), CdnMessage(("c",)))
            await until(lambda: len(found.received) == 5)
            await until(lambda: not Outbox(tmp_path).names())
        await purger.close()
        keys = [body["surrogate_keys"][0] for _, _, body in found.received]
        assert keys == ["a", "a", "a", "b", "c"]
        assert purger.errors == 3
        assert not [entry for entry in logs if "secret" in str(entry)]


async def test_a_restart_loses_no_purge(tmp_path: Path) -> None:
    async with api() as found:
        away = CdnPurger(Fastly("SU1", "secret", "http://127.0.0.1:9"), Outbox(tmp_path), first_pause_s=0.01)
        await send(away, CdnMessage(("a",)))
        await until(lambda: away.errors >= 2)
        await away.close()
        assert ("cropmark_cdn_purges_waiting", (), 1) in list(away.samples())
        purger = CdnPurger(Fastly("SU1", "secret", found.url), Outbox(tmp_path))
        purger.start()
        await until(lambda: len(found.received) == 1)
        await asyncio.sleep(0)
        await purger.close()


async def test_a_purge_of_another_process_is_sent_after_its_end(tmp_path: Path) -> None:
    async with api() as found:
        with sender(tmp_path, asdict(CdnMessage(("a",)))) as other:
            purger = CdnPurger(Fastly("SU1", "secret", found.url), Outbox(tmp_path))
            await send(purger, CdnMessage(("b",)))
            await until(lambda: len(Outbox(tmp_path)) == 1)
            other.kill()
            other.wait()
            await purger.add(CdnMessage(("c",)))
            await until(lambda: len(found.received) == 3)
            await purger.close()
    assert [body["surrogate_keys"] for _, _, body in found.received] == [["b"], ["a"], ["c"]]


async def test_a_purge_of_a_server_reaches_the_cdn_by_the_keys_of_the_response(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    images = make_images(tmp_path / "pictures")
    async with api() as found:
        environment = {
            "CROPMARK_KEY_HEADER": "cache-tag",
            "CROPMARK_CDN": "cloudflare",
            "CROPMARK_CDN_ID": "zone",
            "CROPMARK_CDN_TOKEN": "secret",
            "CROPMARK_CDN_API_URL": found.url,
            "CROPMARK_PUBLIC_URL": "https://img.example",
        }
        arguments = (str(images), "--data", str(tmp_path / "data"))
        with ExitStack() as stack:
            entered = running(*arguments, cache=tmp_path / "cache", environment=environment)
            server = await asyncio.to_thread(stack.enter_context, entered)
            image = await asyncio.to_thread(server.get, "/fastly/wide.jpg?width=20")
            for what in ({"source": "wide.jpg"}, {"url": "/fastly/wide.jpg?width=20"}, {"all": True}):
                reply = await asyncio.to_thread(partial(server.purge, **what))
                assert reply.status_code == 200, reply.text
            await until(lambda: len(found.received) == 3)
            await asyncio.to_thread(stack.close)
    by_source, by_url, everything = (body for _, _, body in found.received)
    assert set(by_source["tags"]) & set(image.headers["cache-tag"].split(","))
    assert by_url == {"files": ["https://img.example/fastly/wide.jpg?width=20"]}
    assert everything == {"purge_everything": True}
