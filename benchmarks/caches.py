"""Measures the caches in microseconds per call: `python benchmarks/caches.py [FOLDER]`.

A body of 40 kB; the best of five rounds. The folder should be on the kind of disk to measure.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from cropmark.caches import entry_store
from cropmark.caches.disk import DiskCache
from cropmark.caches.memory import MemoryCache
from cropmark.ports import Digest, Record, Rendition, SourceVersion

ROUNDS = 5
SCANNED = 20_000


def key_of(name: object) -> Digest:
    return Digest(hashlib.sha256(str(name).encode()).hexdigest())


def rendition(body: bytes) -> Rendition:
    tags = ("source:files:sky/blue.jpg\n", "url:/fastly/sky/blue.jpg?width=800&format=webp\n")
    record = Record(
        "image/webp", f'"{"0" * 32}"', len(body), versions=(SourceVersion("files:sky/blue.jpg", "1-2-3"),), tags=tags
    )
    return Rendition(body, record=record)


async def reported(what: str, call: Callable[[], object], times: int) -> None:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(times):
            result = call()
            if isinstance(result, Awaitable):
                await result
        best = min(best, (time.perf_counter() - started) / times)
    print(f"{what:44} {best * 1e6:8.1f} us")


async def measure(folder: Path) -> None:
    a, image, numbers = key_of("a"), rendition(os.urandom(40_000)), itertools.count()
    memory, disk = MemoryCache(), await DiskCache.open(folder)
    memory.store(a, image)
    await disk.put(a, image)
    await reported("memory: peek", lambda: memory.peek(a), 20_000)
    await reported("disk: peek, in the page cache", lambda: disk.peek(a), 2_000)
    await reported("disk: peek, nothing there", lambda: disk.peek(key_of("none")), 2_000)
    await reported("disk: get, on the event loop", lambda: disk.get(a), 2_000)
    limit, entry_store.INLINE_READ_BYTES = entry_store.INLINE_READ_BYTES, 0  # type: ignore[misc]  # Final, changed only for this comparison
    await reported("disk: get, by a thread", lambda: disk.get(a), 1_000)
    entry_store.INLINE_READ_BYTES = limit  # type: ignore[misc]  # as before
    await reported("disk: put", lambda: disk.put(key_of(next(numbers)), image), 200)
    small = rendition(bytes(3_000))
    for n in range(SCANNED):
        await disk.put(key_of(n), small)
    started = time.perf_counter()
    await disk.purge("source:files:none")
    print(f"disk: purge that meets none of {SCANNED:,}         {time.perf_counter() - started:8.2f} s")
    await disk.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        asyncio.run(measure(Path(place)))
