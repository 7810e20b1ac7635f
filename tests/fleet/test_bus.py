"""Purges over a real redis-server: none is lost while a server, or Redis itself, is away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from redis.asyncio import Redis

from cropmark.fleet import bus as bus_module
from cropmark.fleet.bus import STREAM, PurgeBus
from cropmark.fleet.link import RedisAway, RedisLink
from cropmark.fleet.outbox import Outbox, message_name
from cropmark.model.problems import BadRequest, InternalError
from cropmark.ports import Purge, PurgeKind, PurgeResult
from cropmark.runtime.purge_log import START, Position, PurgeHistory
from tests.builders import until
from tests.fleet.sender import sender
from tests.library.redis_server import is_here, redis_server
from tests.ports import free_port
from tests.requirements import require

pytestmark = require("redis-server", is_here())


class FakePurger:
    """Notes the purges; fails `failures` times, and `failing_drops` times."""

    def __init__(self, history: PurgeHistory) -> None:
        self.history = history
        self.applied: list[str] = []
        self.shared: list[str] = []
        """The purges that also covered the entries that the servers share."""
        self.drops = 0
        self.failures = 0
        self.failing_drops = 0

    async def apply(self, purge: Purge, at: Position | None = None, *, own_only: bool = False) -> int:
        self.history.note(f"tag:{purge.value}\n", at)
        if self.failures:
            self.failures -= 1
            raise InternalError("the shared cache could not be purged")
        self.applied.append(purge.value or purge.kind.value)
        if not own_only:
            self.shared.append(self.applied[-1])
        return 7

    async def drop_own(self) -> None:
        self.drops += 1
        if self.failing_drops:
            self.failing_drops -= 1
            raise InternalError("the disk cache could not be purged completely")

    def tags(self, purge: Purge) -> list[str]:
        if purge.value == "invalid":
            raise BadRequest("invalid")
        return [f"tag:{purge.value}\n"]


class Server:
    """One server's bus. Its folder survives it."""

    def __init__(self, url: str, folder: Path, max_messages: int) -> None:
        self.link = RedisLink(url)
        self.history = PurgeHistory()
        self.purger = FakePurger(self.history)
        self.outbox = Outbox(folder / "outbox")
        position = folder / "position"
        self.bus = PurgeBus(self.link, self.purger, self.history, self.outbox, position, max_messages=max_messages)

    async def purge(self, tag: str, *, soft: bool = False) -> PurgeResult:
        return await self.bus.purge(Purge(PurgeKind.TAG, tag, soft))


@asynccontextmanager
async def server(url: str, folder: Path, max_messages: int = 1000) -> AsyncIterator[Server]:
    found = Server(url, folder, max_messages)
    await found.bus.start()
    try:
        yield found
    finally:
        await found.bus.close()
        await found.link.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[str]:
    with redis_server() as url:
        yield url


@pytest.fixture(autouse=True)
def _short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Failed purges are repeated after each read of the stream."""
    monkeypatch.setattr(bus_module, "READ_S", 0.05)


@pytest.fixture
async def redis(shared: str) -> str:
    client = Redis.from_url(shared)
    await client.flushall()
    await client.aclose()
    return shared


async def test_a_purge_reaches_all_servers_once(redis: str, tmp_path: Path) -> None:
    async with server(redis, tmp_path / "a") as one, server(redis, tmp_path / "b") as two:
        assert await one.purge("shoes") == PurgeResult(7, sent=True)
        await until(lambda: two.purger.applied == ["shoes"])
        assert one.purger.applied == one.purger.shared == ["shoes"]
        assert two.purger.shared == []
        assert one.outbox.names() == []
        assert one.history.position == two.history.position
        with pytest.raises(BadRequest):
            await one.purge("invalid")
        assert one.outbox.names() == []


async def test_calls_beyond_the_connections_wait(redis: str) -> None:
    link = RedisLink(redis)
    try:
        await asyncio.gather(*(link.call(lambda client: client.ping()) for _ in range(150)))
        assert link.errors == 0
    finally:
        await link.close()


async def test_calls_that_wait_fail_when_redis_does_not_respond() -> None:
    async def hang(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await until(lambda: link.errors, 30)
        writer.close()

    port = free_port()
    link = RedisLink(f"redis://127.0.0.1:{port}/0")
    async with await asyncio.start_server(hang, "127.0.0.1", port):
        calls = (link.call(lambda client: client.ping()) for _ in range(150))
        failed = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(each) for each in failed} == {RedisAway}
        assert link.errors < 32  # 16 calls at a time; later the breaker lets one through now and then
        await link.close()


async def test_a_server_that_was_away_purges_what_it_missed_before_it_serves(redis: str, tmp_path: Path) -> None:
    async with server(redis, tmp_path / "a") as one:
        async with server(redis, tmp_path / "b") as two:
            await one.purge("before")
            await until(lambda: two.bus.received == 1)  # and its position is saved
        await asyncio.gather(*(one.purge(f"missed-{n}") for n in range(210)))  # more than one batch
        async with server(redis, tmp_path / "b") as two:
            assert sorted(two.purger.applied) == sorted(f"missed-{n}" for n in range(210))
            assert (two.purger.drops, two.bus.gaps) == (0, 0)
            assert two.history.position == one.history.position
        async with server(redis, tmp_path / "b") as two:
            assert two.purger.applied == []


async def test_a_gap_drops_everything(redis: str, tmp_path: Path) -> None:
    async with server(redis, tmp_path / "b", 5):
        pass
    async with server(redis, tmp_path / "a", 5) as one:
        for n in range(20):
            await one.purge(f"missed-{n}")
        async with server(redis, tmp_path / "b", 5) as two:
            assert (two.purger.drops, two.bus.gaps) == (1, 1)
            await one.purge("later")
            await until(lambda: two.purger.applied == ["later"])


async def test_a_redis_that_lost_its_data_is_a_gap(tmp_path: Path) -> None:
    port = free_port()
    with redis_server(port) as url:
        async with server(url, tmp_path / "b"):
            pass
    with redis_server(port) as url:
        async with server(url, tmp_path / "b") as two:
            assert (two.purger.drops, two.bus.gaps) == (1, 1)


async def test_purges_wait_while_redis_is_away_also_over_a_restart(tmp_path: Path) -> None:
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with structlog.testing.capture_logs() as logs:
        async with server(url, tmp_path / "a") as one:
            for n in range(5):
                assert await one.purge(f"tag-{n}") == PurgeResult(7, sent=False)
            assert len(one.purger.applied) == 5
            assert ("cropmark_purges_waiting", (), 5) in list(one.bus.samples())
            assert one.link.errors >= 3
            assert not one.link.available
        assert [each["event"] for each in logs].count("Redis does not respond; continuing without it") == 1
    with redis_server(port):
        async with server(url, tmp_path / "b") as two, server(url, tmp_path / "a") as one:
            await until(lambda: len(two.purger.applied) == 5)
            assert two.purger.applied == [f"tag-{n}" for n in range(5)]
            await until(lambda: one.outbox.names() == [])


async def test_servers_continue_when_redis_comes_back(tmp_path: Path) -> None:
    """Redis restarts empty: both servers drop their entries, and the last purges are sent again."""
    port = free_port()
    async with server(f"redis://127.0.0.1:{port}/0", tmp_path / "a") as one:
        with redis_server(port) as url:
            async with server(url, tmp_path / "b") as two:
                await until(lambda: (one.history.position or START) > START)
                await one.purge("first")
                await until(lambda: two.purger.applied == ["first"])
        await until(lambda: not one.link.available)
        with redis_server(port) as url:
            await until(lambda: one.bus.gaps == 1)
            async with server(url, tmp_path / "c") as three:
                await one.purge("second")
                await until(lambda: "second" in three.purger.applied)
            client = Redis.from_url(url, decode_responses=True)
            kept = [(fields or {}).get("value") for _, fields in (await client.xrange(STREAM) or [])]
            await client.aclose()
            assert "first" in kept


async def test_a_purge_that_failed_is_repeated_and_the_position_waits(redis: str, tmp_path: Path) -> None:
    async with server(redis, tmp_path / "a") as one, server(redis, tmp_path / "b") as two:
        before = (tmp_path / "b" / "position").read_text()
        two.purger.failures = 2
        await one.purge("shoes")
        while two.purger.failures:
            assert (tmp_path / "b" / "position").read_text() == before
            await asyncio.sleep(0)
        await until(lambda: two.purger.applied == ["shoes"])
        await until(lambda: (tmp_path / "b" / "position").read_text() != before)
        one.purger.failures = 2
        with pytest.raises(InternalError):
            await one.purge("hats")
        await until(lambda: one.purger.applied == ["shoes", "hats"])


async def test_a_purge_that_was_sent_again_while_it_failed_is_repeated_once(redis: str, tmp_path: Path) -> None:
    async with server(redis, tmp_path / "a") as one:
        one.purger.failures = 1_000
        for _ in range(10):
            with pytest.raises(InternalError):
                await one.purge("shoes")
        one.purger.failures = 0
        await until(lambda: one.purger.applied)
        await one.purge("last")
        assert one.purger.applied == ["shoes", "last"]


async def test_the_sender_purges_the_shared_entries_also_after_a_restart(redis: str, tmp_path: Path) -> None:
    async with server(redis, tmp_path / "b") as two:
        async with server(redis, tmp_path / "a") as one:
            one.purger.failures = 1_000
            for tag in ("shoes", "shoes", "hats"):
                with pytest.raises(InternalError):
                    await one.purge(tag)
            await until(lambda: two.purger.applied == ["shoes", "shoes", "hats"])
            assert one.purger.shared == two.purger.shared == []
        async with server(redis, tmp_path / "a") as one:
            await until(lambda: sorted(one.purger.shared) == ["hats", "shoes"])
            assert one.outbox.names() == []


async def test_the_number_of_unfinished_purges_is_bounded(
    redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "MAX_UNFINISHED", 3)
    async with server(redis, tmp_path / "b") as two:
        async with server(redis, tmp_path / "a") as one:
            one.purger.failures = two.purger.failures = 10_000
            for n in range(10):
                with pytest.raises(InternalError):
                    await one.purge(f"{n}")
                assert len(one.bus._unfinished) <= 3
                assert len(one.outbox.names()) <= 3
            two.purger.failures = 0
            await until(lambda: "all" in two.purger.applied)
            assert two.purger.shared == []
        async with server(redis, tmp_path / "a") as one:
            await until(lambda: "all" in one.purger.shared)
            assert one.outbox.names() == []


async def test_entries_that_cannot_be_dropped_are_dropped_later(redis: str, tmp_path: Path) -> None:
    found = Server(redis, tmp_path / "a", 1000)
    found.purger.failing_drops = 5
    await found.bus.start()
    try:
        await found.purge("shoes")
        assert not (tmp_path / "a" / "position").exists()
        await until(lambda: found.purger.drops == 6)
        await until((tmp_path / "a" / "position").exists)
        assert found.purger.applied == ["shoes"]
        client = Redis.from_url(redis, decode_responses=True)
        kinds = [(fields or {}).get("kind") for _, fields in (await client.xrange(STREAM) or [])]
        await client.aclose()
        assert kinds == ["join", "tag"]
    finally:
        await found.bus.close()
        await found.link.close()


async def test_waiting_messages_are_counted_without_reading_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(tmp_path)
    for n in range(3):
        outbox.add(message_name(), {"n": n})
    assert [outbox.read(name) for name in outbox.names()] == [{"n": n} for n in range(3)]
    monkeypatch.setattr(json, "loads", None)
    assert len(outbox) == 3


async def test_a_message_of_another_process_is_sent_after_its_end(redis: str, tmp_path: Path) -> None:
    with sender(tmp_path / "a" / "outbox", {"kind": "tag", "value": "shoes", "name": ""}) as other:
        async with server(redis, tmp_path / "a") as one:
            await one.purge("hats")
            await one.bus._send_waiting()
            assert len(one.outbox.names()) == 1
            other.kill()
            await until(lambda: one.purger.applied == ["hats", "shoes"])
            await until(lambda: one.outbox.names() == [])


async def test_a_purge_that_could_not_be_added_again_is_not_forgotten(
    redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object, **__: object) -> None:
        raise RedisAway

    async with server(redis, tmp_path / "a") as one:
        await one.purge("shoes")
        await one.bus.close()
        monkeypatch.setattr(one.link, "call", away)
        with pytest.raises(RedisAway):
            await one.bus._send_again(set())
        assert [fields["value"] for _, _, fields in one.bus._sent] == ["shoes"]


async def test_a_purge_whose_client_went_away_is_sent(
    redis: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with server(redis, tmp_path / "a") as one:
        asked = asyncio.Event()

        async def hangs(*_: object, **__: object) -> None:
            asked.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patch:
            patch.setattr(one.bus, "_add", hangs)
            request = asyncio.create_task(one.purge("shoes"))
            await asked.wait()
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
        await until(lambda: one.purger.applied == ["shoes"])
        assert one.outbox.names() == []


async def test_purges_at_the_same_time(redis: str, tmp_path: Path) -> None:
    async with server(redis, tmp_path / "a") as one, server(redis, tmp_path / "b") as two:
        await asyncio.gather(*(each.purge(f"{n}") for n in range(30) for each in (one, two)))
        everything = {f"{n}" for n in range(30)}
        await until(lambda: set(one.purger.applied) == set(two.purger.applied) == everything)
