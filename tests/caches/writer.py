"""A process that fills a disk cache until it is killed: `python -m tests.caches.writer FOLDER LIMIT FIRST COUNT`.

Prints the number of each rendition as soon as its put has returned, and one line `done` at the end.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from cropmark.caches.disk import DiskCache
from cropmark.ports import Rendition
from tests.adapters.renditions import key_of, rendition


def numbered(number: int) -> Rendition:
    """The rendition with this number: 0 to 60 kB, the same in every process."""
    body = f"{number};".encode() * (number * 7919 % 12_000)
    return rendition(f"{number}.jpg", body)


async def fill(folder: Path, limit_bytes: int, numbers: range) -> None:
    cache = await DiskCache.open(folder, limit_bytes)
    for number in numbers:
        await cache.put(key_of(str(number)), numbered(number))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()
    await cache.close()
    sys.stdout.write("done\n")


if __name__ == "__main__":
    folder, limit, first, count = sys.argv[1:]
    asyncio.run(fill(Path(folder), int(limit), range(int(first), int(first) + int(count))))
