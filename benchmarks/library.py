"""Measures the library with ten thousand assets: list, get, delivery lookups, and a hit without a query.

python benchmarks/library.py [--assets 10000] [--url postgresql://…]
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

from sqlalchemy import insert

from cropmark.library.changes import ChangeFeed
from cropmark.library.lookup import read_address
from cropmark.library.publishing import new_uid
from cropmark.library.source import LibrarySource
from cropmark.library.store import LibraryStore
from cropmark.library.tables import assets, publications, published, tags, versions
from cropmark.model.assets import Asset, AssetChanges, BranchRef, Listing, PublishRequest, SortField, UploadInfo
from cropmark.model.formats import Format
from cropmark.model.values import Size
from cropmark.plan.source import PublishScope, SitePath
from cropmark.ports import OpenSource, SourceVersion

RUNS = 200
PUBLISHED = PublishScope("production")


def filled(store: LibraryStore, count: int) -> BranchRef:
    """A stack with `count` assets, half of them published: one through the store, the others by inserting rows."""
    place = BranchRef(store.new_stack("benchmark").api_key)
    with tempfile.TemporaryFile() as file:
        file.write(b"one body for all")
        file.flush()
        source = OpenSource(file.fileno(), 16, SourceVersion("benchmark:", ""), lambda: None)
        first = store.add(
            place,
            UploadInfo("first.jpg", Format.JPEG, Size(4, 3)),
            source,
            AssetChanges(tags=("tag 0",)),
            "benchmark",
            published=PublishRequest(("production",)),
        )
    environment = first.publications[0].environment
    with store.database.write_transaction() as writing:
        rows = [_rows(place, first, environment, number, writing.n) for number in range(1, count)]
        for table in (assets, versions, tags, publications, published):
            writing.connection.execute(insert(table), [row[table.name] for row in rows if table.name in row])
    return place


def _rows(place: BranchRef, first: Asset, environment: str, number: int, n: int) -> dict[str, dict[str, object]]:
    """The rows of one asset, by the names of their tables."""
    uid, name, now_ms = new_uid(), f"{number}.jpg", first.entry.created_ms + number
    who = {"created_ms": now_ms, "created_by": "benchmark"}
    rows: dict[str, dict[str, object]] = {
        "assets": who
        | {"uid": uid, "stack": place.stack, "branch": place.branch, "is_dir": False, "title": name, "description": ""}
        | {"version": 1, "updated_ms": now_ms, "updated_by": "benchmark"},
        "versions": who
        | {"asset": uid, "number": 1, "file_uid": uid[3:] + "0" * 8, "file_id": str(uuid4()), "filename": name}
        | {"digest": first.version.file.digest, "format": "jpeg", "bytes": 16, "width": 4, "height": 3},
        "tags": {"asset": uid, "place": 0, "tag": f"tag {number % 100}"},
    }
    if number % 2:
        where = {"asset": uid, "environment": environment, "version": 1}
        rows["published"] = where
        rows["publications"] = where | {"locale": "en-us", "at_ms": now_ms, "n": n, "by": "benchmark"}
    return rows


def reported(name: str, act: Callable[[], object], runs: int = RUNS) -> None:
    """The median and the 99th of a hundred, in milliseconds."""
    act()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        act()
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    print(f"{name:44} {statistics.median(times):8.3f} ms   {times[int(len(times) * 0.99)]:8.3f} ms")


def glances(store: LibraryStore, paths: list[SitePath]) -> None:
    """The cost of a hit: lookups of known URLs in the source."""
    with ThreadPoolExecutor(1) as threads:
        source = LibrarySource(store, threads)
        source.apply(store.changes_since(None, 0))

        async def known() -> None:
            for path in paths:
                (await source.open(path)).close()

        asyncio.run(known())
        source.apply(ChangeFeed(0, (), reset=False, due=False))
        count = 20_000
        began = time.perf_counter()
        for number in range(count):
            source.stat(paths[number % len(paths)])
        print(f"{'a hit: the source glances':44} {(time.perf_counter() - began) / count * 1e6:8.2f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--assets", type=int, default=10_000)
    parser.add_argument("--url", default="")
    requested = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = LibraryStore.open(Path(folder), requested.url)
        place = filled(store, requested.assets)
        page = store.list_entries(place, Listing(environment="production", limit=100))
        found = [item for item in page.items if isinstance(item, Asset)]
        paths = [
            f"v3/assets/{place.stack}/{one.uid}/{one.version.file_uid}/{one.version.file.filename}" for one in found
        ]
        addresses = [address for path in paths if (address := read_address(path))]
        newest = [address for one in found if (address := read_address(f"v3/assets/{place.stack}/{one.uid}"))]
        print(f"{requested.assets:,} assets in {store.database.engine.dialect.name}: median, 99th of a hundred")
        reported("list, 100 of them", lambda: store.list_entries(place, Listing()))
        reported("list, 10 of them", lambda: store.list_entries(place, Listing(limit=10)))
        reported("list, 10 of them, counted", lambda: store.list_entries(place, Listing(limit=10, with_count=True)))
        reported(
            "list, 10 of one tag", lambda: store.list_entries(place, Listing(limit=10, equal=(("tags", "tag 7"),)))
        )
        reported(
            "list, 10 by title, the 5,000th on",
            lambda: store.list_entries(place, Listing(sort=SortField.TITLE, skip=5000, limit=10)),
        )
        reported(
            "list, 10 of an environment", lambda: store.list_entries(place, Listing(environment="production", limit=10))
        )
        reported("get", lambda: store.asset(place, random.choice(found).uid))
        reported("delivery: a file in an environment", lambda: store.find(random.choice(addresses), PUBLISHED))
        reported("delivery: the newest in an environment", lambda: store.find(random.choice(newest), PUBLISHED))
        reported("delivery: a file, wherever", lambda: store.find(random.choice(addresses), None))
        glances(store, [SitePath(path, PUBLISHED) for path in paths])
        store.close()


if __name__ == "__main__":
    main()
