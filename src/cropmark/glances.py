"""One look at a source a turn of the event loop, however many requests ask for it in that turn.

A system call lets go of the interpreter's lock, and beside a busy server thread that costs ten times the call.
"""

from __future__ import annotations

import asyncio

from cropmark.plan.source import Where
from cropmark.ports import Source, Stamp

_Looked = dict[tuple[int, Where], Stamp | None]
"""By the source's id(): not every source can be a key, and none ends within a turn."""


class Glances:
    """What sources' glance() told in this turn. For one event loop.

    Nobody is told of an older picture than the one there was when the request came: a request that comes after the
    look is put behind the forgetting in the loop's queue, and is answered by a look of its own (docs/decisions/0131).
    """

    def __init__(self) -> None:
        self._looked: _Looked = {}

    def stamp(self, source: Source, where: Where) -> Stamp | None:
        """As source.glance(where). Raises SourceProblem, every time anew."""
        place = (id(source), where)
        if place in self._looked:
            return self._looked[place]
        stamp = source.glance(where)
        if not self._looked:
            asyncio.get_running_loop().call_soon(self._looked.clear)
        self._looked[place] = stamp
        return stamp

    def forget(self) -> None:
        """Look again at all: something was purged in this turn."""
        self._looked.clear()
