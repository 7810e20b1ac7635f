"""The purges of an object store that several servers share. Each purge is a mark: an empty object with this name:

    purges/<Unix time in ms>-<random>-<position>-<prefix in base64url, with a slash after every 180 characters>

The slashes are for stores in a file system, where a name has at most 255 characters. An entry is purged if one of its
tags begins with the mark's prefix, and if the store received the entry no later than the mark. Both times are set by
the store, so the servers' clocks do not matter. When the cache is used, a server lists the marks of the last minutes.

A server may read purges from a stream that all servers share. The mark of such a purge has the purge's position in the
stream. It covers the results of renders that began without knowledge of this purge, whenever the store received them: a
server that reads the stream late may store old results after the mark. For a result without a position, from a server
that reads no stream, the times decide.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final

import obstore

from cropmark.runtime.purge_log import START, LatestPurges, Position, read_position, write_position

FOLDER: Final = "purges"
REFRESH_S: Final = 5.0
"""A lookup starts to read the marks again, in the background, if the last reading is older than this."""
STALE_S: Final = 15.0
"""A lookup waits until the marks have been read again if the last reading is older than this."""

MAX_MARKS: Final = 16_384
"""Largest number of purged prefixes in memory."""

_OVERLAP_MS: Final = 600_000
"""Each reading lists the marks of this last period again, because another server may have a slow clock."""
_MAX_PREFIX_BYTES: Final = 450
_PART: Final = 180
"""Length of the parts of an encoded prefix."""


class PurgeMarks:
    """The marks of one store, in memory."""

    def __init__(self, store: Any, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._purges: LatestPurges[float] = LatestPurges(float("-inf"), MAX_MARKS)
        """Times of the marks without a position."""
        self._times: LatestPurges[float] = LatestPurges(float("-inf"), MAX_MARKS)
        """Times of the marks with a position."""
        self._positions: LatestPurges[Position] = LatestPurges(START, MAX_MARKS)
        self._read_s = float("-inf")
        self._read_all = False
        self._refresh: asyncio.Task[None] | None = None

    @property
    def age_s(self) -> float:
        """Seconds since the marks were last read; infinite if they were never read."""
        return self._clock() - self._read_s

    def covers(self, tags: Sequence[str], stored_s: float, seen: Position | None = None) -> bool:
        """True if a mark covers an entry that the store received at the Unix time `stored_s`.

        `seen` is the position of the last purge that was known when the entry's render began; None if its server read
        no stream.
        """
        if stored_s <= self._purges.latest_or_forgotten(tags):
            return True
        if seen is None:
            return stored_s <= self._times.latest_or_forgotten(tags)
        return seen < self._positions.latest_or_forgotten(tags)

    async def current(self) -> None:
        """Start to read the marks again if the last reading is older than REFRESH_S.

        If the last reading is older than STALE_S, wait until the marks are read. Raises STORE_ERRORS.
        """
        if self.age_s < REFRESH_S:
            return
        if self._refresh is None or self._refresh.done():
            self._refresh = asyncio.create_task(self._read())
            self._refresh.add_done_callback(lambda task: task.cancelled() or task.exception())
        if self.age_s >= STALE_S:
            await asyncio.shield(self._refresh)

    async def add(self, prefix: str, at: Position | None = None) -> None:
        """Write a mark that covers all entries that the store has now.

        With `at`, the position of the purge, the mark covers only results of renders that began without knowledge of
        the purge. If the store fails, raises STORE_ERRORS, and the purge applies on this server only.
        """
        prefix = _shortened(prefix)
        name = f"{int(time.time() * 1000):013d}-{secrets.token_hex(4)}-{write_position(at, '.')}-{_encoded(prefix)}"
        path = f"{FOLDER}/{name}"
        stored_s = time.time()
        try:
            await obstore.put_async(self._store, path, b"")
            stored_s = (await obstore.head_async(self._store, path))["last_modified"].timestamp()
        finally:
            self._note(prefix, at, stored_s)

    async def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.gather(self._refresh, return_exceptions=True)

    async def _read(self) -> None:
        began_s = self._clock()
        since = f"{FOLDER}/{int(time.time() * 1000) - _OVERLAP_MS:013d}" if self._read_all else None
        async for page in obstore.list(self._store, FOLDER, offset=since):
            for entry in page:
                mark = _decoded(str(entry["path"]).removeprefix(f"{FOLDER}/"))
                if mark is not None:
                    self._note(*mark, entry["last_modified"].timestamp())
        self._read_s, self._read_all = began_s, True

    def _note(self, prefix: str, at: Position | None, stored_s: float) -> None:
        if at is None:
            self._purges.note(prefix, stored_s)
        else:
            self._times.note(prefix, stored_s)
            self._positions.note(prefix, at)


def _shortened(prefix: str) -> str:
    """The prefix, shortened to fit an object's name and to be valid UTF-8. A shorter prefix covers more entries."""
    encoded = prefix.encode("utf-8", "surrogateescape")[:_MAX_PREFIX_BYTES]
    try:
        return encoded.decode()
    except UnicodeDecodeError as error:
        return encoded[: error.start].decode()


def _encoded(prefix: str) -> str:
    text = urlsafe_b64encode(prefix.encode()).decode().rstrip("=") or "-"
    return "/".join(text[start : start + _PART] for start in range(0, len(text), _PART))


def _decoded(name: str) -> tuple[str, Position | None] | None:
    """The prefix and the position in the name of a mark; None if the name is not a mark's."""
    try:
        position, text = name.replace("/", "").split("-", 3)[2:]
        prefix = urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode() if text != "-" else ""
        return prefix, read_position(position, ".")
    except ValueError:
        return None
