"""Two real servers with a Redis and a shared store: purges reach both, also the one that was away."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from cropmark.model.problems import BadRequest
from cropmark.web.purges import read_purge
from tests.builders import make_images, wait_until
from tests.library.redis_server import is_here, redis_server
from tests.ports import free_port
from tests.requirements import require
from tests.server.test_shared_cache import cache_status, metric
from tests.web.server_process import Running, running

pytestmark = require("redis-server", is_here())

PATHS = tuple(f"/fastly/{name}?width={width}" for name in ("wide.jpg", "tall.png") for width in (20, 30))


class Fleet:
    """Servers that share a Redis and a store, by name; each has a cache of its own that survives it."""

    def __init__(self, root: Path, redis: str) -> None:
        (root / "pictures").mkdir()
        self.images = make_images(root / "pictures")
        self.root = root
        self.environment = {
            "CROPMARK_REDIS_URL": redis,
            "CROPMARK_SHARED_CACHE": (root / "shared").as_uri(),
            "CROPMARK_SHARED_CACHE_TIMEOUT_S": "3",
            "CROPMARK_KEY_HEADER": "surrogate-key",
            "CROPMARK_S_MAXAGE_S": "86400",
        }

    @contextmanager
    def server(self, name: str) -> Iterator[Running]:
        data = ("--data", str(self.root / f"{name}-data"))
        with running(str(self.images), *data, cache=self.root / name, environment=self.environment) as found:
            yield found


def statuses(server: Running) -> list[str]:
    return [cache_status(server.get(path)) for path in PATHS]


def test_no_purge_is_lost(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as redis_running:
        fleet = Fleet(tmp_path, redis_running.enter_context(redis_server(port)))
        with fleet.server("one") as one:
            with fleet.server("two") as two:
                assert statuses(one) == ["miss"] * 4
                wait_until(lambda: metric(one, 'cropmark_cache_entries{tier="shared"}') == 0)
                assert statuses(two) == ["hit-shared"] * 4
                purge(one, source="wide.jpg")
                wait_until(lambda: metric(two, "cropmark_purges_received_total") == 1)
                assert statuses(two) == ["miss", "miss", "hit-memory", "hit-memory"]
                purge(two, url=PATHS[2], soft=True)
                wait_until(lambda: metric(one, "cropmark_purges_received_total") == 2)
                assert cache_status(one.get(PATHS[2])) == "hit-stale"
                hit = one.get(PATHS[3])
                assert hit.headers["cache-control"] == "public, max-age=3600, s-maxage=86400"
                assert hit.headers["surrogate-key"].startswith("fastly s-")
                with ThreadPoolExecutor(4) as pool:  # one of them renders, the other waits for it
                    widths = range(50, 56)
                    urls = [f"/fastly/wide.jpg?width={width}" for width in widths]
                    found = list(pool.map(lambda n: cache_status((one, two)[n % 2].get(urls[n // 2])), range(12)))
                    assert sorted(found) == ["hit-shared"] * 6 + ["miss"] * 6
            purge(one, tag="fastly")  # the name of the site, while the second server is away
            with fleet.server("two") as two:
                assert metric(two, "cropmark_purge_gaps_total") == 0
                assert statuses(two) == ["miss"] * 4
                assert purge(two, all=True).json() == {"purged": 4}
                assert statuses(two) == ["miss"] * 4
                redis_running.close()  # with its data
                assert purge(two, prefix="wide").json() == {"purged": 2, "other_servers": "waiting"}
                assert statuses(two) == ["miss", "miss", "hit-memory", "hit-memory"]
                assert metric(two, "cropmark_purges_waiting") == 1
                wait_until(lambda: metric(two, "cropmark_purge_stream_available") == 0)
                with redis_server(port):
                    wait_until(lambda: metric(two, "cropmark_purges_waiting") == 0)
                    wait_until(lambda: metric(one, "cropmark_purge_gaps_total") == 1)
                    assert two.log.read_text().count("Redis does not respond") == 1


def purge(server: Running, **what: object) -> httpx.Response:
    response = server.purge(**what)
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize(
    "body", [{"tag": ""}, {"all": False}, {"all": True, "tag": "x"}, {"url": "/a", "soft": 1}, {"tag": "x", "y": 1}]
)
def test_invalid_purges_are_rejected(body: dict[str, object]) -> None:
    with pytest.raises(BadRequest):
        read_purge(body)
