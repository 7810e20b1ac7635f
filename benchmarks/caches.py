"""Measures the caches in microseconds per call, and purges in seconds: `python benchmarks/caches.py [FOLDER]`.

A body of 40 kB; the best of five rounds. The folder should be on the kind of disk to measure. Purges are those of
docs/decisions/0253: ENTRIES entries of 1.5 kB in folders of 500 images, of which half have the tag of a site.
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
SCANNED = int(os.environ.get("ENTRIES", "20000"))
"""Entries for the purges."""


def key_of(name: object) -> Digest:
    return Digest(hashlib.sha256(str(name).encode()).hexdigest())


def rendition(body: bytes, path: str = "sky/blue.jpg", *more: str) -> Rendition:
    tags = (f"source:files:{path}\n", f"url:/fastly/{path}?width=800&format=webp\n", *more)
    record = Record(
        "image/webp", f'"{"0" * 32}"', len(body), versions=(SourceVersion(f"files:{path}", "1-2-3"),), tags=tags
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
    await disk.close()


async def measure_purges(folder: Path) -> None:
    """One purge after the other, until its answer; then the time until the last file is removed."""
    disk, body = await DiskCache.open(folder, max_entries=2 * SCANNED), bytes(1_500)
    for n in range(SCANNED):
        await disk.put(key_of(n), rendition(body, f"folder-{n // 500}/{n}.jpg", *(("shop\n",) if n % 2 else ())))
    purges = {
        "no image": "source:files:none",
        "one image": "source:files:folder-1/501.jpg\n",
        "a folder of 500": "source:files:folder-2/",
        "half of all, by tag": "shop\n",
        "all others": "source:files:",
    }
    started = time.perf_counter()
    for what, tag in purges.items():
        started = time.perf_counter()
        count = await disk.purge(tag)
        print(f"disk: purge of {what:21} {count:7,} {time.perf_counter() - started:8.3f} s")
    while disk.stats().entries:
        await asyncio.sleep(0.05)
    print(f"disk: removal of the files {time.perf_counter() - started:26.1f} s")
    await disk.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as place:
        asyncio.run(measure(Path(place, "calls")))
        asyncio.run(measure_purges(Path(place, "purges")))
