"""Measures a cache hit in the app itself, in microseconds: `python benchmarks/hit_path.py [--profile]`.

No socket and no HTTP server: the app is called as the server calls it, with a folder, a memory and a disk cache as
`cropmark serve` wires them. The best of five rounds.
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from pydantic import ByteSize

from cropmark.config.loader import Settings
from cropmark.server.wiring import open_server
from cropmark.web.app import App

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 5
PATH, QUERY = b"/fastly/kangaroo.jpg", b"width=600&quality=70"
BROWSER = [
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0"),
    (b"accept", b"image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
    (b"accept-encoding", b"gzip, deflate, br, zstd"),
    (b"accept-language", b"en-US,en;q=0.9"),
    (b"sec-fetch-dest", b"image"),
]

Ask = Callable[..., Awaitable[int]]


def scope(headers: list[tuple[bytes, bytes]], query: bytes = QUERY, path: bytes = PATH) -> MutableMapping[str, Any]:
    """A request as granian passes it to the app."""
    return {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path.decode(),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 40000),
        "extensions": {},
        "state": {},
    }


async def requested(app: App, headers: list[tuple[bytes, bytes]], query: bytes = QUERY, path: bytes = PATH) -> int:
    """Ask once; the status."""
    reported: list[int] = []

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        if "status" in message:
            reported.append(message["status"])

    await app(scope(headers, query, path), receive, send)
    return reported[0]


async def measured(what: str, app: App, headers: list[tuple[bytes, bytes]], times: int) -> None:
    """Print the cost of a hit, without that of making the request."""
    status = await requested(app, headers)
    best = empty = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(times):
            await requested(app, headers)
        best = min(best, (time.perf_counter() - started) / times)
        started = time.perf_counter()
        for _ in range(times):
            await requested(_nothing, headers)  # type: ignore[arg-type]  # stands for an app that costs nothing
        empty = min(empty, (time.perf_counter() - started) / times)
    print(f"{what:36} {status}  {(best - empty) * 1e6:6.1f} us")


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": b""})


def settings(cache: Path, *, memory: bool) -> Settings:
    """The sample images, served without configuration."""
    return Settings(
        folder=ROOT / "examples" / "images",
        renderers=1,
        cache_dir=cache / "cache",
        data_dir=cache / "data",
        memory_cache_bytes=ByteSize(64 * 2**20 if memory else 0),
        access_log="off",
        smart_crop=False,
    )


async def main(profile: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with open_server(settings(Path(folder), memory=True)) as server:
            plain = [(b"host", b"127.0.0.1:8000")]
            await measured("memory, a bare request", server.app, plain, 5_000)
            await measured("memory, a browser's headers", server.app, BROWSER, 5_000)
            if profile:
                profiler = cProfile.Profile()
                profiler.enable()
                for _ in range(5_000):
                    await requested(server.app, BROWSER)
                profiler.disable()
                pstats.Stats(profiler).sort_stats("tottime").print_stats(20)
        async with open_server(settings(Path(folder), memory=False)) as server:
            await measured("disk, in the page cache", server.app, BROWSER, 1_000)


if __name__ == "__main__":
    asyncio.run(main("--profile" in sys.argv[1:]))
