"""Single flight: those who want the same thing at the same moment share the work of making it."""

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


class SingleFlight(Generic[K, V]):
    """Work in the air, by key. Nothing is kept once it has landed: neither results nor failures."""

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[V]] = {}

    def __len__(self) -> int:
        """How many are in the air."""
        return len(self._flights)

    def __contains__(self, key: object) -> bool:
        """Whether somebody makes it now."""
        return key in self._flights

    async def run(self, key: K, make: Callable[[], Awaitable[V]]) -> tuple[V, bool]:
        """What `make` returns, and whether somebody else's make was shared for it.

        A failure of the make is raised to all who wait for it now, and to nobody later. Whoever is cancelled hurts
        no other; with the last of them the make is cancelled too.
        """
        found = self._flights.get(key)
        flight = found or self._started(key, make)
        flight.waiting += 1
        try:
            # shield(): a cancelled waiter must not take the task along.
            return await asyncio.shield(flight.task), found is not None
        except asyncio.CancelledError as error:
            if flight.task.cancelled() and not _is_cancelled():
                raise InternalError("the work was cut off before it was done", fix="ask again") from error
            raise
        finally:
            flight.waiting -= 1
            if not flight.waiting and not flight.task.done():
                self._ended(key, flight)  # at once: who comes now must not join a task that is dying
                flight.task.cancel()

    async def close(self) -> None:
        """Cancel all that is in the air, and wait until it has stopped."""
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _started(self, key: K, make: Callable[[], Awaitable[V]]) -> _Flight[V]:
        async def made() -> V:
            return await make()

        flight = _Flight(asyncio.create_task(made()))
        self._flights[key] = flight
        flight.task.add_done_callback(lambda task: self._landed(key, flight, task))
        return flight

    def _landed(self, key: K, flight: _Flight[V], task: asyncio.Task[V]) -> None:
        self._ended(key, flight)
        if not task.cancelled():
            task.exception()  # seen, so that asyncio does not log a failure that nobody waited for

    def _ended(self, key: K, flight: _Flight[V]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]


def _is_cancelled() -> bool:
    """Whether it is the running task itself that somebody cancelled."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
