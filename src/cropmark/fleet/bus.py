"""Sends purges to all servers, over a stream in Redis that each server reads from its last position.

- The sender stores a purge in its outbox and adds it to the stream. Each server, including the sender, carries out the
  purge when it reads it from the stream. While Redis does not respond, the sender carries it out immediately, and the
  purge stays in the outbox.
- Each server purges the entries of its own caches. The sender also purges the entries of the shared cache, and then
  removes the purge from the outbox. If the sender is restarted before that, it sends the purge again.
- A server saves its position in the stream next to its cache. After a restart, it first carries out the purges after
  this position.
- If the stream does not contain the position any more (the stream was trimmed, or Redis lost its data), the server may
  have missed purges. It then drops all entries of its own caches and continues at the end of the stream.
- After a lost connection, a server checks if the stream still has its purges of the last minute, and adds missing ones
  again.
- A purge or a drop that could not be carried out completely is repeated. Until it succeeds, the position is not saved.
  Above MAX_UNFINISHED unfinished purges, one purge of everything replaces them.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import structlog
from cachetools import LRUCache

from cropmark.fleet.link import READ_S, RedisAway, RedisLink
from cropmark.fleet.outbox import Outbox, message_name
from cropmark.model.problems import Problem
from cropmark.ports import Purge, PurgeKind, PurgeResult
from cropmark.runtime.atomic_file import write_atomically
from cropmark.runtime.metrics import Sample
from cropmark.runtime.purge_log import START, Position, PurgeHistory, read_position, write_position

log = structlog.get_logger("cropmark.fleet")

STREAM: Final = "cropmark:purges"
MAX_MESSAGES: Final = 16_384
"""Length of the stream. A server that has missed more purges drops all entries of its own caches."""
MAX_UNFINISHED: Final = 200
"""Largest number of different purges that are repeated."""
_BATCH: Final = 200
_OWN_WAIT_S: Final = 5.0
"""Longest time for which the sender of a purge waits until it has read the purge from the stream."""
_RETRY_S: Final = 0.5
_RESENT_S: Final = 60.0
_JOIN: Final = {"kind": "join"}

Message = tuple[Position, dict[str, str]]


class Purger(Protocol):
    """Carries out purges on this server."""

    async def apply(self, purge: Purge, at: Position | None = None, *, own_only: bool = False) -> int: ...

    async def drop_own(self) -> None: ...

    def tags(self, purge: Purge) -> Sequence[str]:
        """The tag prefixes of the cache entries that `purge` covers. Raises Problems for an invalid purge."""
        ...


@dataclass(frozen=True, slots=True)
class _Received:
    """A purge read from the stream: its position, and the name of its message.

    By the name, a server recognizes its own messages.
    """

    at: Position
    name: str


class PurgeBus:
    """Sends the purges of this server to all servers, and carries out the purges of all servers."""

    def __init__(
        self,
        link: RedisLink,
        purger: Purger,
        history: PurgeHistory,
        outbox: Outbox,
        position_file: Path,
        *,
        max_messages: int = MAX_MESSAGES,
        on_sent_later: Callable[[Purge], Awaitable[None]] | None = None,
    ) -> None:
        """`on_sent_later` is called with each purge that was sent late, because it had to wait in the outbox."""
        self._link = link
        self._purger = purger
        self._history = history
        self._outbox = outbox
        self._file = position_file
        self._max_messages = max_messages
        self._on_sent_later = on_sent_later
        self._position = _saved_position(position_file)
        self._saved = self._position
        history.position = max(self._position or START, history.position or START)
        self._is_joined = False
        self._is_closing = False
        self._must_drop = False
        """True while entries of this server have to be dropped, after an attempt that failed."""
        self._unfinished: dict[Purge, _Received] = {}
        self._results: LRUCache[Position, int | Problem] = LRUCache(4096)
        self._changed = asyncio.Event()
        self._sent: deque[tuple[float, Position, dict[str, str]]] = deque(maxlen=4096)
        self._own: set[str] = set()
        """Names of this server's messages that are being sent, or were sent and are not carried out completely."""
        self._task: asyncio.Task[None] | None = None
        self.received = 0
        self.gaps = 0

    async def start(self) -> None:
        """Carry out the missed purges, then read the stream in the background. Also starts without a working Redis."""
        with suppress(RedisAway):
            await self._join()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        self._is_closing = True
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.1)  # the Redis client may swallow a cancellation

    async def purge(self, purge: Purge) -> PurgeResult:
        """Send a purge to all servers, and wait until this server has carried it out. Raises Problems.

        The result has the number of entries that were purged on this server.
        """
        self._purger.tags(purge)  # an invalid purge is not sent
        name, at = message_name(), None
        fields = {**_fields(purge), "name": name}
        self._own.add(name)  # before the message is in the outbox, from where _send_waiting() would send it, too
        try:
            await asyncio.to_thread(self._outbox.add, name, dict(fields))
            with suppress(RedisAway):
                at = await self._send(name, fields)
        finally:
            if at is None:
                self._own.discard(name)
        result = None if at is None else await self._own_result(at)
        if isinstance(result, Problem):
            raise result
        return PurgeResult(await self._purger.apply(purge) if result is None else result, sent=at is not None)

    def samples(self) -> Iterable[Sample]:
        """The samples for the metrics of the purge stream."""
        yield "cropmark_purge_stream_available", (), self._link.available
        yield "cropmark_purge_stream_errors_total", (), self._link.errors
        yield "cropmark_purges_received_total", (), self.received
        yield "cropmark_purges_waiting", (), len(self._outbox)
        yield "cropmark_purge_gaps_total", (), self.gaps

    # ---------------------------------------------------------------------------------------------- sending

    async def _send(self, name: str, fields: dict[str, str]) -> Position:
        """Add a message of the outbox to the stream. Raises RedisAway."""
        self._own.add(name)
        try:
            at = await self._add(fields)
        except BaseException:
            self._own.discard(name)
            raise
        self._sent.append((time.monotonic(), at, fields))
        return at

    async def _add(self, fields: dict[str, str]) -> Position:
        text = await self._link.call(
            lambda redis: redis.xadd(STREAM, fields, maxlen=self._max_messages, approximate=False)
        )
        return read_position(text) or START

    async def _own_result(self, at: Position) -> int | Problem | None:
        """Wait until this server has carried out its own purge at the position `at`, and return the result.

        The result is the number of purged entries, or the Problem. Returns None after _OWN_WAIT_S.
        """
        end_s = time.monotonic() + _OWN_WAIT_S
        while at not in self._results:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, end_s - time.monotonic()))
            except TimeoutError:
                return None
        return self._results[at]

    async def _send_waiting(self) -> None:
        for name in self._outbox.names():
            if name in self._own or self._outbox.is_of_another_process(name):
                continue
            if (fields := self._outbox.read(name)) is None:
                continue
            purge = _purge(fields)
            if purge is None:
                self._outbox.remove(name)
                continue
            await self._send(name, fields)
            if self._on_sent_later is not None:
                await self._on_sent_later(purge)

    # ---------------------------------------------------------------------------------------------- receiving

    async def _run(self) -> None:
        while not self._is_closing:
            try:
                if not self._is_joined:
                    await self._join()
                await self._send_waiting()
                await self._repeat_unfinished()
                await self._apply(await self._read())
            except RedisAway:
                self._is_joined = False
                await asyncio.sleep(_RETRY_S)
            except Exception:
                log.exception("reading purges failed")
                self._is_joined = False
                await asyncio.sleep(_RETRY_S)

    async def _join(self) -> None:
        """Read the whole stream, and carry out the purges after the saved position. Raises RedisAway.

        If the stream does not contain the position, drop all entries of this server's own caches.
        """
        messages = await self._all_messages()
        positions = {at for at, _ in messages}
        if self._position not in positions:
            joined_at = await self._add(_JOIN)  # before dropping: later purges are read from the stream
            if self._position is not None:
                self.gaps += 1
                log.warning("purges may have been missed; all cached images of this server are dropped")
            await self._drop_own()
            self._move(joined_at)
            messages = await self._all_messages()
        assert self._position is not None
        if messages:
            self._history.forget_until(messages[0][0])
        for at, fields in messages:
            if at <= self._position:
                self._note_earlier(at, fields)
        self._move(self._position)
        await self._send_again({at for at, _ in messages})
        await self._apply([message for message in messages if message[0] > self._position])
        self._is_joined = True

    async def _send_again(self, present: set[Position]) -> None:
        """Add this server's purges of the last minute to the stream again, unless their positions are in `present`."""
        since_s = time.monotonic() - _RESENT_S
        lost = [each for each in self._sent if each[0] >= since_s and each[1] not in present]
        for each in lost:
            self._own.add(each[2]["name"])
            self._sent.append((time.monotonic(), await self._add(each[2]), each[2]))
            with suppress(ValueError):  # the oldest entry of a full deque is dropped
                self._sent.remove(each)

    async def _all_messages(self) -> list[Message]:
        found: list[Message] = []
        start = "-"
        while True:
            page = await self._link.call(lambda redis, start=start: redis.xrange(STREAM, start, "+", 1000))  # type: ignore[misc]
            found += _messages(page)
            if len(page) < 1000:
                return found
            start = f"({page[-1][0]}"

    async def _read(self) -> list[Message]:
        """Wait up to READ_S for new messages, and return them."""
        position = {STREAM: write_position(self._position)}
        block_ms = int(READ_S * 1000)
        reply = await self._link.call(lambda redis: redis.xread(position, _BATCH, block_ms), waits=True)
        return [message for _, page in reply for message in _messages(page)]

    async def _apply(self, messages: Sequence[Message]) -> None:
        """Carry out the purges in the messages.

        All purges of a batch run at the same time, so that they share one scan of the disk cache.
        """
        for start in range(0, len(messages), _BATCH):
            batch = messages[start : start + _BATCH]
            purges = [
                (purge, _Received(at, fields.get("name", "")))
                for at, fields in batch
                if (purge := _purge(fields)) is not None
            ]
            await asyncio.gather(*(self._carry_out(*each) for each in purges))
            self.received += len(purges)
            self._move(batch[-1][0])

    async def _carry_out(self, purge: Purge, received: _Received) -> None:
        is_own = received.name in self._own
        result: int | Problem
        try:
            result = await self._purger.apply(purge, received.at, own_only=not is_own)
        except Problem as problem:
            log.warning("a purge was not carried out completely and is repeated", reason=problem.detail)
            self._note_unfinished(purge, received)
            result = problem
        else:
            waiting = self._unfinished.get(purge)
            is_covered = is_own or (waiting is not None and waiting.name not in self._own)
            if waiting is not None and is_covered and waiting.at <= received.at:
                del self._unfinished[purge]
                self._forget(waiting.name)
            self._forget(received.name)
        self._results[received.at] = result
        self._changed.set()

    def _note_unfinished(self, purge: Purge, received: _Received) -> None:
        replaced = [received, *filter(None, [self._unfinished.pop(purge, None)])]
        is_full = len(self._unfinished) >= MAX_UNFINISHED
        if is_full:
            log.warning("too many purges have to be repeated; everything is purged instead")
            replaced += self._unfinished.values()
            self._unfinished.clear()
            purge = Purge(PurgeKind.ALL)
        own = {each.name for each in replaced} & self._own
        name = max(own, default="")
        if is_full and own:
            self._outbox.add(name, {**_fields(purge), "name": name})
        self._unfinished[purge] = _Received(max(each.at for each in replaced), name)
        for each in own - {name}:
            self._forget(each)

    def _forget(self, name: str) -> None:
        """Remove a finished message from the outbox, if this server sent it."""
        if name in self._own:
            self._outbox.remove(name)
            self._own.discard(name)

    async def _drop_own(self) -> None:
        try:
            await self._purger.drop_own()
        except Problem as problem:
            log.warning("the images of this server were not dropped completely; repeated", reason=problem.detail)
            self._must_drop = True
        else:
            self._must_drop = False

    async def _repeat_unfinished(self) -> None:
        if not (self._unfinished or self._must_drop):
            return
        if self._must_drop:
            await self._drop_own()
        await asyncio.gather(*(self._carry_out(*each) for each in self._unfinished.items()))
        if self._position is not None:
            self._move(self._position)

    def _note_earlier(self, at: Position, fields: dict[str, str]) -> None:
        purge = _purge(fields)
        if purge is not None:
            with suppress(Problem):
                for tag in self._purger.tags(purge):
                    self._history.note_earlier(tag, at)

    def _move(self, position: Position) -> None:
        """Set the position after which the next read begins. Also save it, unless a purge or a drop is unfinished."""
        self._position = position
        self._history.position = max(position, self._history.position or START)
        if self._unfinished or self._must_drop or position == self._saved:
            return
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._file, [write_position(position).encode()], prefix=".part-")
            self._saved = position
        except OSError as error:
            log.warning("the position among the purges cannot be saved", error=error.strerror)


def _saved_position(file: Path) -> Position | None:
    try:
        return read_position(file.read_text("ascii").strip())
    except (OSError, ValueError):
        return None


def _messages(page: Iterable[Any]) -> list[Message]:
    return [(read_position(at) or START, fields) for at, fields in page if fields is not None]


def _fields(purge: Purge) -> dict[str, str]:
    return {"kind": purge.kind.value, "value": purge.value, "soft": "1" if purge.soft else ""}


def _purge(fields: dict[str, Any]) -> Purge | None:
    """The purge in a message; None if the message does not contain a purge."""
    try:
        return Purge(PurgeKind(fields["kind"]), str(fields["value"]), bool(fields.get("soft")))
    except (KeyError, ValueError):
        return None
