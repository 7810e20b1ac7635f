"""Two real servers that share one store: hits, purges, and a store that does not respond."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import obstore
import pytest

from cropmark.caches.shared import TIMES
from cropmark.config.settings import Settings
from cropmark.ports import RENDER_VERSION
from cropmark.runtime.object_store import open_store
from cropmark.server.shared_cache import find_issue
from tests.builders import make_images, wait_until
from tests.s3_server import BUCKET, S3Server
from tests.web.server_process import TOKEN, Running, running


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    return make_images(folder)


@contextmanager
def server(images: Path, cache: Path, store: str, environment: Mapping[str, str] | None = None) -> Iterator[Running]:
    settings = {"CROPMARK_SHARED_CACHE": store, "CROPMARK_SHARED_CACHE_TIMEOUT_S": "3", **(environment or {})}
    with running(str(images), cache=cache, environment=settings) as found:
        yield found


def cache_status(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    found = re.search(r"cache;desc=([\w-]+)", response.headers["server-timing"])
    return found[1] if found else "miss"


def metric(server: Running, name: str) -> float:
    text = server.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    assert found is not None, text
    return float(found[1])


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_the_second_server_answers_from_the_store(
    kind: str, images: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url, environment, store = (tmp_path / "shared").as_uri(), {}, None
    if kind == "s3":
        s3: S3Server = request.getfixturevalue("s3")
        url, environment = f"s3://{BUCKET}/{tmp_path.name}", dict(s3.environment)
        store = open_store(url, "test", TIMES, options=s3.options)
    store = store or open_store(url, "test", TIMES)
    path, purged = "/fastly/wide.jpg?width=40", "/fastly/tall.png?width=20"
    with server(images, tmp_path / "one", url, environment) as one:
        bodies = {one_path: one.get(one_path) for one_path in (path, purged)}
        assert [cache_status(response) for response in bodies.values()] == ["miss", "miss"]
        wait_until(lambda: len(_entries(store)) == 2)
        assert one.purge(source="tall.png").status_code == 200
        with server(images, tmp_path / "two", url, environment) as two:
            found = two.get(path)
            assert cache_status(found) == "hit-shared"
            assert found.content == bodies[path].content
            assert found.headers["etag"] == bodies[path].headers["etag"]
            assert cache_status(two.get(path)) == "hit-memory"
            assert cache_status(two.get(purged)) == "miss"
            assert metric(two, 'cropmark_cache_hits_total{tier="shared"}') == 1
            assert metric(two, 'cropmark_cache_available{tier="shared"}') == 1
            assert '"hit-shared"' in two.log.read_text() or "cache=hit-shared" in two.log.read_text()


def _entries(store: object) -> list[str]:
    pages = obstore.list(store, f"r{RENDER_VERSION}")  # type: ignore[call-overload]  # a type for each kind of store
    return [str(entry["path"]) for page in pages for entry in page]


def test_servers_go_on_without_the_store(images: Path, tmp_path: Path, s3: S3Server) -> None:
    timeout_s = 1.5  # longer than a miss takes on a slow machine
    timeout = {"CROPMARK_SHARED_CACHE_TIMEOUT_S": str(timeout_s)}
    url = f"s3://{BUCKET}/{tmp_path.name}"
    with server(images, tmp_path / "one", url, {**s3.environment, **timeout}) as one:
        assert cache_status(one.get("/fastly/wide.jpg?width=10")) == "miss"
        s3.process.send_signal(signal.SIGSTOP)
        try:
            times_s = [_seconds(one, f"/fastly/wide.jpg?width={width}") for width in range(11, 41)]
            assert metric(one, 'cropmark_cache_available{tier="shared"}') == 0
            assert metric(one, 'cropmark_cache_errors_total{tier="shared"}') >= 3
            assert sum(seconds > timeout_s for seconds in times_s) <= 8, times_s  # three, then one try after each pause
        finally:
            s3.process.send_signal(signal.SIGCONT)
        widths = iter(range(41, 400))
        wait_until(lambda: _responds_again(one, next(widths)), 40)
        log = one.log.read_text()
        assert log.count("the store does not respond") == 1
        assert log.count("the store responds again") == 1
        assert metric(one, 'cropmark_cache_available{tier="shared"}') == 1


def _responds_again(server: Running, width: int) -> bool:
    """True if the log says that the store responds again, after one more miss."""
    assert server.get(f"/fastly/wide.jpg?width={width}").status_code == 200
    return "responds again" in server.log.read_text()


def _seconds(server: Running, path: str) -> float:
    began_s = time.perf_counter()
    assert server.get(path).status_code == 200
    return time.perf_counter() - began_s


@pytest.mark.parametrize(
    ("bucket", "words"), [(BUCKET, ""), ("no-such-bucket", "shared_cache cannot be used: NoSuchBucket")]
)
async def test_the_check_writes_reads_lists_and_deletes(
    bucket: str, words: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in s3.environment.items():
        monkeypatch.setenv(name, text)
    issue = await find_issue(Settings(shared_cache=f"s3://{bucket}/checked"))
    assert (issue.message if issue else "") == words
