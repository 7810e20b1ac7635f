"""A database that hangs or is away: every call ends in time, and known assets are served for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from structlog.testing import capture_logs

from cropmark.library.database import Database, parse_url
from cropmark.library.errors import LibraryUnavailable
from cropmark.library.service import LibraryService
from cropmark.library.store import LibraryStore
from cropmark.model.assets import BranchRef, KeyKind
from cropmark.model.problems import DatabaseUnavailable
from cropmark.plan.source import PublishScope, SitePath
from tests.builders import until, wait_until
from tests.library import postgres
from tests.library.builders import PRODUCTION, Shop, add_asset, create_shop, png
from tests.library.stalling_proxy import StallingProxy, stalling_proxy
from tests.web.server_process import Running, running

TIMEOUT_S = 1.0
WAIT_S = 30.0
"""Enough for a busy machine."""
UNKNOWN = f"v3/assets/blt{'0' * 16}/blt{'1' * 14}"
Act = Callable[[StallingProxy], None]
OUTAGES: dict[str, Act] = {"hangs": StallingProxy.stall, "is away": StallingProxy.refuse}


@pytest.fixture
def proxy(postgres_server: str) -> Iterator[StallingProxy]:
    with stalling_proxy(int(postgres_server.rpartition(":")[2])) as found:
        yield found


@pytest.fixture
def url(postgres_server: str, proxy: StallingProxy, tmp_path: Path) -> str:
    """A new database, reached through the proxy."""
    created = postgres.new_database(postgres_server, tmp_path.name)
    return created.replace(postgres_server, f"{postgres_server.rpartition(':')[0]}:{proxy.port}")


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[LibraryStore]:
    found = LibraryStore.open(tmp_path / "library", url, timeout_s=TIMEOUT_S)
    yield found
    found.close()


def file_of(place: BranchRef, uid: str) -> SitePath:
    return SitePath(f"v3/assets/{place.stack}/{uid}", PublishScope("production"))


# ------------------------------------------------------------------------------------------ calls


@pytest.mark.parametrize("outage", OUTAGES)
def test_check_62_a_call_ends_although_the_database_does_not_answer(
    store: LibraryStore, proxy: StallingProxy, outage: str
) -> None:
    store.stacks()
    OUTAGES[outage](proxy)
    started_s = time.monotonic()
    with pytest.raises(DatabaseUnavailable):
        store.stacks()
    assert time.monotonic() - started_s < 8  # a ping, then a new connection, for which libpq takes 2 s at least
    proxy.resume()
    assert store.stacks() == ()


def test_check_62_a_statement_that_waits_for_a_lock_ends(store: LibraryStore, url: str) -> None:
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE stacks")
        started_s = time.monotonic()
        with pytest.raises(DatabaseUnavailable) as raised:
            store.stacks()
        assert 0.9 * TIMEOUT_S < time.monotonic() - started_s < TIMEOUT_S + 3
        assert "statement timeout" in str(raised.value.__cause__)  # the server has ended it too
    assert store.stacks() == ()


def test_check_62_a_change_may_wait_longer_than_a_query(store: LibraryStore, url: str) -> None:
    with psycopg.connect(url) as other:
        other.execute("UPDATE clock SET n = n")
        started_s = time.monotonic()
        with pytest.raises(DatabaseUnavailable):
            store.new_stack("shop")
        assert time.monotonic() - started_s + 0.1 > 3 * TIMEOUT_S
    assert store.new_stack("shop").name == "shop"


def test_check_62_a_start_ends_although_the_database_hangs(url: str, proxy: StallingProxy) -> None:
    proxy.stall()
    started_s = time.monotonic()
    with pytest.raises(LibraryUnavailable, match="cannot be used"):
        Database.open(url, timeout_s=TIMEOUT_S)
    assert time.monotonic() - started_s < 8


def test_a_url_may_have_its_own_connection_timeout(url: str, proxy: StallingProxy) -> None:
    database = Database(parse_url(f"{url}?connect_timeout=2"), timeout_s=60)
    proxy.stall()
    started_s = time.monotonic()
    with pytest.raises(DatabaseUnavailable), database.read_transaction():
        pass
    assert time.monotonic() - started_s < 8


async def test_check_62_many_requests_end_at_the_same_time(store: LibraryStore, proxy: StallingProxy) -> None:
    """More requests than threads: those that wait for a thread end too."""
    service = LibraryService(store, timeout_s=TIMEOUT_S)
    await service.start(_no_drop)
    with capture_logs() as logs:
        proxy.stall()
        started_s = time.monotonic()
        outcomes = await asyncio.gather(
            *(service.source.open(SitePath(f"{UNKNOWN}{n:02}")) for n in range(40)),
            *(service.read(lambda library: library.stack("blt")) for _ in range(40)),
            return_exceptions=True,
        )
        assert time.monotonic() - started_s < TIMEOUT_S + 2
        assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}
        await until(lambda: not service.health().reachable, WAIT_S)
        started_s = time.monotonic()
        for act in (service.read, service.write):
            with pytest.raises(DatabaseUnavailable):
                await act(lambda library: library.stack("blt"))
        assert await service.key(KeyKind.ADMIN, "unknown") is None
        assert time.monotonic() - started_s < 0.5  # immediately: nothing is tried
        proxy.resume()
        await until(lambda: service.health().reachable, WAIT_S)
    report = [line["event"] for line in logs]
    assert report == ["the library's database does not respond", "the library's database responds again"]
    await service.close()


async def test_a_commit_without_an_answer_invalidates_what_it_changed(
    store: LibraryStore, proxy: StallingProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unpublishing may have been committed: the asset must not be served, others may."""
    place = BranchRef(store.new_stack("shop").api_key)
    kept, withdrawn = (add_asset(store, place, body, publishing=PRODUCTION) for body in (b"one", b"two"))
    service = LibraryService(store, timeout_s=TIMEOUT_S)
    await service.start(_no_drop)
    for asset in (kept, withdrawn):
        (await service.source.open(file_of(place, asset.uid))).close()
    noted = store.database.before_commit

    def stall_before_commit(changes: object) -> None:
        noted(changes)  # type: ignore[arg-type]  # as it was called
        proxy.stall()

    monkeypatch.setattr(store.database, "before_commit", stall_before_commit)
    with pytest.raises(DatabaseUnavailable):
        await service.write(lambda library: library.unpublish(place, withdrawn.uid, PRODUCTION, "tester"))
    assert not service.health().reachable
    (await service.source.open(file_of(place, kept.uid))).close()
    with pytest.raises(DatabaseUnavailable):
        await service.source.open(file_of(place, withdrawn.uid))
    proxy.resume()
    await service.close()


async def _no_drop(named: str) -> None:
    """Nothing is cached."""


# ------------------------------------------------------------------------------------------ a server


class Site:
    """A server over the library, and requests to it."""

    def __init__(self, server: Running, shop: Shop) -> None:
        self._server = server
        self.client = httpx.Client(
            trust_env=False, headers=shop.headers, timeout=30, base_url=server.address + "/contentstack"
        )

    def published(self, name: str) -> str:
        """The uid of a new asset."""
        asset = self.client.post("/v3/assets", files={"asset": (name, png())}).json()["asset"]
        self.publish(asset["uid"], "publish")
        return str(asset["uid"])

    def publish(self, uid: str, call: str) -> None:
        body = {"asset": {"locales": ["en-us"], "environments": ["production"]}}
        assert self.client.post(f"/v3/assets/{uid}/{call}", json=body).status_code == 200

    def status(self, shop: Shop, uid: str, width: int = 20) -> int:
        path = f"/v3/assets/{shop.stack.api_key}/{uid}?environment=production&width={width}"
        return self.client.get(path).status_code

    def state(self) -> tuple[int, object]:
        """The status of /readyz, and its member about the library."""
        report = self._server.get("/readyz")
        return report.status_code, report.json()["library"]

    def metric(self, name: str) -> float:
        lines = self._server.get("/metrics").text.splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


def test_known_assets_are_served_while_the_database_hangs(proxy: StallingProxy, url: str, tmp_path: Path) -> None:
    shop = create_shop(tmp_path / "data", url)
    environment = {
        "CROPMARK_DATABASE_URL": url,
        "CROPMARK_DATABASE_TIMEOUT_S": str(TIMEOUT_S),
        "CROPMARK_MANAGEMENT_REQUESTS_PER_S": "0",
    }
    with running("--data", str(shop.data), cache=tmp_path / "cache", environment=environment) as server:
        site = Site(server, shop)
        known, unknown, withdrawn, deleted = (site.published(f"{n}.png") for n in range(4))
        assert [site.status(shop, uid) for uid in (known, withdrawn, deleted)] == [200] * 3
        site.publish(withdrawn, "unpublish")
        site.client.delete(f"/v3/assets/{deleted}")
        proxy.stall()
        wait_until(lambda: site.status(shop, known) == 200 and not site.metric("cropmark_library_reachable"), WAIT_S)
        assert site.status(shop, known) == 200
        assert site.status(shop, known, width=30) == 200  # rendered now
        assert site.status(shop, unknown) == 503
        assert site.status(shop, withdrawn) in (404, 503)
        assert site.status(shop, deleted) == 404
        assert site.client.post("/v3/assets", files={"asset": ("new.png", png())}).status_code == 503
        assert site.state() == (200, {"reachable": False, "ready": True})
        assert site.metric("cropmark_library_stale_lookups_total") >= 2
        proxy.resume()
        wait_until(lambda: site.metric("cropmark_library_reachable"), WAIT_S)
        assert [site.status(shop, uid) for uid in (known, unknown, withdrawn)] == [200, 200, 404]


def test_after_the_stale_time_nothing_is_served(proxy: StallingProxy, url: str, tmp_path: Path) -> None:
    shop = create_shop(tmp_path / "data", url)
    environment = {"CROPMARK_DATABASE_URL": url, "CROPMARK_LIBRARY_STALE_S": "0"}
    with running("--data", str(shop.data), cache=tmp_path / "cache", environment=environment) as server:
        site = Site(server, shop)
        known = site.published("0.png")
        assert site.status(shop, known) == 200
        assert site.state() == (200, {"reachable": True, "ready": True})
        proxy.refuse()
        wait_until(lambda: site.status(shop, known) == 503 and not site.metric("cropmark_library_reachable"), WAIT_S)
        assert site.status(shop, known) == 503
        assert site.state() == (503, {"reachable": False, "ready": False})
        assert site.metric("cropmark_library_rejected_lookups_total") >= 1
        assert site.metric("cropmark_library_feed_age_seconds") > 0
        assert '"database_unavailable"' in server.log.read_text()
        proxy.resume()
        wait_until(lambda: site.state() == (200, {"reachable": True, "ready": True}), WAIT_S)
        assert site.status(shop, known) == 200
