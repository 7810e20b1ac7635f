"""Adds up the metrics of all fronts of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from cropmark.fleet.siblings import Handler, Message, Siblings
from cropmark.runtime.atomic_file import write_atomically
from cropmark.runtime.metric_sums import sum_of
from cropmark.runtime.metric_table import SPECS
from cropmark.runtime.metrics import Metrics

TIMEOUT_S: Final = 2.0
"""Longest time for which a scrape waits for a front. Prometheus itself gives up after ten seconds by default."""
_UP: Final = SPECS["cropmark_front_up"]


class HostMetrics:
    """Returns the metrics of all fronts of this host, from any one of them.

    Each front saves its metrics to a file when they are read. A front that replaces another process continues that
    process's counters. So the sum of a counter never decreases, even while a front does not answer
    (docs/decisions/0257).
    """

    def __init__(self, metrics: Metrics, siblings: Siblings) -> None:
        """`metrics` are the metrics of this front."""
        self._metrics = metrics
        self._siblings = siblings
        self._before = self._last(siblings.number)
        """The last metrics of the process that this one has replaced."""
        self.answers: Mapping[str, Handler] = {"metrics": self._answer}

    async def total(self) -> bytes:
        """The summed metrics of all fronts, in Prometheus' text format.

        If a front does not answer, the counters that it saved last are used.
        """
        answers = await self._siblings.ask_all("metrics", {}, timeout_s=TIMEOUT_S)
        running = {int(each["front"]): str(each["text"]) for each in answers if "text" in each}
        running[self._siblings.number] = await self._read()
        missing = [number for number in range(self._siblings.count) if number not in running]
        last = await asyncio.to_thread(lambda: [self._last(number) for number in missing])
        texts = [*running.values(), _up(self._siblings.count, running)]
        return await asyncio.to_thread(sum_of, texts, last)

    async def _answer(self, _: Message) -> Message:
        return {"text": await self._read(), "front": self._siblings.number}

    async def _read(self) -> str:
        """The metrics of this front. Also saves them to its file."""
        text = self._metrics.exposition()
        if self._before:
            text = await asyncio.to_thread(sum_of, [text.decode()], [self._before])
        await asyncio.to_thread(write_atomically, self._file(self._siblings.number), [text], prefix=".part-")
        return text.decode()

    def _last(self, number: int) -> str:
        """The metrics that front `number` saved last; empty if it has not saved any."""
        try:
            return self._file(number).read_text()
        except FileNotFoundError:
            return ""

    def _file(self, number: int) -> Path:
        return self._siblings.folder / f"{number}.metrics"


def _up(count: int, running: Collection[int]) -> str:
    lines = [f'{_UP.name}{{front="{number}"}} {int(number in running)}' for number in range(count)]
    return "\n".join([f"# HELP {_UP.name} {_UP.help}", f"# TYPE {_UP.name} gauge", *lines, ""])
