"""Single flight: concurrent callers with the same key share one execution."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cropmark.model.problems import InternalError

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class _Flight(Generic[V]):
    task: asyncio.Task[V]
    waiting: int = 0
    """Callers that wait for the task."""


class SingleFlight(Generic[K, V]):
    """Runs one task per key at a time. Callers with the key of a running task get the result of this task.

    Results and failures are not stored after the task has ended.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    def __len__(self) -> int:
        """The number of tasks in progress."""
        return len(self._flights)

    def __contains__(self, key: object) -> bool:
        """True if a task with this key is in progress."""
        return key in self._flights

    async def run(self, key: K, make: Callable[[], Awaitable[V]]) -> tuple[V, bool]:
        """The result of the task for `key`, and True if another caller started the task.

        If no task with the key is running, one is started that calls `make`. An exception of the task is raised to all
        of its callers. The task is cancelled only if all of its callers are cancelled.
        """
        existing = self._flights.get(key)
        flight = existing or self._start(key, make)
        flight.waiting += 1
        try:
            # shield(): cancelling a caller must not cancel the task.
            return await asyncio.shield(flight.task), existing is not None
        except asyncio.CancelledError as error:
            if flight.task.cancelled() and not _is_cancelled():
                raise InternalError("the request was cancelled before it was finished", fix="send it again") from error
            raise
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._remove(key, flight)  # before cancel(): a new caller must not join a task that is ending
                flight.task.cancel()

    async def close(self) -> None:
        """Cancel all tasks and wait until they have ended."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, key: K, make: Callable[[], Awaitable[V]]) -> _Flight[V]:
        async def run() -> V:
            return await make()

        flight = _Flight(asyncio.create_task(run()))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._finish(key, flight, task))
        return flight

    def _finish(self, key: K, flight: _Flight[V], task: asyncio.Task[V]) -> None:
        self._remove(key, flight)
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log a failure when no caller is left

    def _remove(self, key: K, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _is_cancelled() -> bool:
    """True if the current task itself was cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
