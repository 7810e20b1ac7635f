"""Writes renditions in batches on another thread. A rendition that is not written yet can be found in memory."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Final, Generic, TypeVar

from cropmark.ports import Digest, Rendition

DELAY_S: Final = 0.05
"""Longest time for which a rendition waits for more renditions in its batch.

Batches save time: waking a thread for each rendition would take a tenth of the time of a small cache miss.
"""

Entry = tuple[Digest, Rendition]
R = TypeVar("R")


class WriteBehind(Generic[R]):
    """Collects renditions and calls `write` with batches of them, on the executor's thread. For one event loop only.

    Batches have the order of the calls of add(). `on_written` receives the result of each `write`, on the event loop.
    flush() starts the current batch immediately; a shutdown of the executor after flush() waits for it.
    """

    def __init__(
        self, executor: Executor, write: Callable[[Sequence[Entry]], R], on_written: Callable[[R], None]
    ) -> None:
        self._executor = executor
        self._write = write
        self._report = on_written
        self._waiting: list[Entry] = []
        self._unwritten: dict[Digest, Rendition] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.bytes = 0
        """Bytes of the bodies that are not written yet."""

    def add(self, key: Digest, rendition: Rendition) -> None:
        """Write the rendition soon. get() finds it until it is written."""
        self._waiting.append((key, rendition))
        self._unwritten[key] = rendition
        self.bytes += len(rendition.body)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(DELAY_S, self.flush)

    def get(self, key: Digest) -> Rendition | None:
        """The rendition that waits to be written under this key, or None."""
        return self._unwritten.get(key)

    def forget(self, tag_prefix: str) -> None:
        """Hide the renditions with a tag that begins with `tag_prefix` from get().

        They are still written, so the caller must then remove their files.
        """
        for key, rendition in tuple(self._unwritten.items()):
            if rendition.record.has_tag(tag_prefix):
                del self._unwritten[key]

    def flush(self) -> None:
        """Submit the waiting renditions to the executor now, as one batch."""
        if self._timer is None:
            return
        self._timer.cancel()
        batch, self._waiting, self._timer = self._waiting, [], None
        self._executor.submit(self._write_batch, batch, asyncio.get_running_loop())

    def _write_batch(self, batch: Sequence[Entry], loop: asyncio.AbstractEventLoop) -> None:
        """Write a batch, on the executor's thread."""
        result = self._write(batch)
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._on_written, batch, result)

    def _on_written(self, batch: Sequence[Entry], result: R) -> None:
        self._report(result)
        for key, rendition in batch:
            self.bytes -= len(rendition.body)
            if self._unwritten.get(key) is rendition:
                del self._unwritten[key]
