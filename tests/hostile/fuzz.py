"""Changed pictures and chance queries through a real, locked-in renderer, until it falls or time is up: `make fuzz`.

    python -m tests.hostile.fuzz [--seconds 600] [--seed 7] [--keep tests/hostile/crashers]

One renderer takes one file after the other; unlike in the server it is not replaced after a broken one: that is
quicker, and damage adds up. What brings it down, hangs it, makes it answer out of form or is told as a fault of ours
is kept, with the query beside it; `--seconds 0` goes on until stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cropmark.dialects.dialect import Dialect, ImageRequest
from cropmark.model.problems import Problem
from cropmark.ports import Passthrough, Rendered
from cropmark.renderers.process import COMMAND, ENVIRONMENT, ProtocolError, WorkerExited, WorkerProcess
from cropmark.renderers.protocol import Failure
from cropmark.renderers.tasks import Message, Render, Sandbox, Setup
from tests.hostile import seeds
from tests.hostile.make import CRASHERS, changed
from tests.hostile.targets import DIALECTS

DEADLINE_S = 8.0
MEMORY = 2 * 2**30
PLAIN = {"fastly": "width=48", "contentstack": "width=48", "kontent": "w=48", "pixlab": ""}


@dataclass(frozen=True, slots=True)
class Fall:
    """What brought a renderer down, or was told as our fault."""

    data: bytes
    query: str
    how: str

    def kept_below(self, folder: Path) -> Path:
        """Written as a fixture; the query and what happened stand beside it."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / hashlib.sha256(self.data).hexdigest()[:16]
        path.write_bytes(self.data)
        path.with_suffix(".txt").write_text(f"{self.query}\n{self.how}\n")
        return path


@dataclass(slots=True)
class Fuzz:
    """A run: what came back, by kind, and what fell."""

    chance: random.Random
    told: Counter[str] = field(default_factory=Counter)
    falls: list[Fall] = field(default_factory=list)
    process: WorkerProcess | None = None

    async def run(self, goes_on: Callable[[], bool]) -> None:
        sound = list(seeds.sound().values())
        try:
            while goes_on():
                data = changed(self.chance.choice(sound), self.chance)
                dialect, query = self._wish()
                await self._one(data, dialect, query)
        finally:
            await self._end()

    async def these(self, files: list[bytes]) -> None:
        """Files that are known, each by every dialect's plain query."""
        try:
            for data in files:
                for dialect in DIALECTS[:3]:
                    await self._one(data, dialect, PLAIN[dialect.name])
        finally:
            await self._end()

    def _wish(self) -> tuple[Dialect, str]:
        """A dialect and a few of its parameters, with the values of their examples."""
        dialect = self.chance.choice(DIALECTS[:3])
        some = self.chance.sample(dialect.params, self.chance.choice((0, 0, 1, 2, 3)))
        words = [p.example if p.example.startswith(f"{p.name}=") else f"{p.name}={p.example}" for p in some]
        return dialect, "&".join((PLAIN[dialect.name], *words))

    async def _one(self, data: bytes, dialect: Dialect, query: str) -> None:
        try:
            order = dialect.order(ImageRequest("a.jpg", query, base="/here"))
        except Problem:
            return
        if order.plan is None:
            return
        lengths = (len(data), *(None for _ in order.sources[1:]))  # what is laid over is missing
        found = await self._rendered(data, Message(Render(order.plan, None), lengths))
        self.told[found if "\n" not in found else "fault"] += 1
        if found.startswith("fell") or "\n" in found:
            self.falls.append(Fall(data, f"{dialect.name}?{query}", found))
            await self._end()

    async def _rendered(self, data: bytes, message: Message) -> str:
        """In a word what came back; "fell: …" where none did, the trace where it was a fault of ours."""
        process = await self._ready()
        source = os.memfd_create("source")
        os.write(source, data)
        try:
            async with asyncio.timeout(DEADLINE_S):
                told = await process.told(message.task, process.ask(message, [source], DEADLINE_S))
        except TimeoutError:
            return f"fell: longer than {DEADLINE_S:g} s"
        except (WorkerExited, ProtocolError) as error:
            self.process = None
            return f"fell: {error}, {await process.reap(1.0)}"
        finally:
            os.close(source)
        match told.answer:
            case Rendered():
                return "made"
            case Passthrough():
                return "as it is"
            case Failure(log=log) if log:
                return f"\n{log}"
            case _:
                return "refused"

    async def _ready(self) -> WorkerProcess:
        if self.process is None:
            self.process = WorkerProcess(COMMAND, ENVIRONMENT, 256 * 2**20)
            await self.process.set_up(Setup(Sandbox.TRY, memory_bytes=MEMORY))
        return self.process

    async def _end(self) -> None:
        if self.process is not None:
            await self.process.reap()
            self.process = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--keep", type=Path, default=CRASHERS)
    asked = parser.parse_args()
    print(f"seed {asked.seed}; {'until Ctrl-C' if not asked.seconds else f'{asked.seconds:g} s'}")
    fuzz, end = Fuzz(random.Random(asked.seed)), time.monotonic() + asked.seconds
    try:
        asyncio.run(fuzz.run(lambda: not asked.seconds or time.monotonic() < end))
    except KeyboardInterrupt:
        print()
    print(f"{sum(fuzz.told.values())} files: {dict(fuzz.told)}")
    for fall in fuzz.falls:
        print(f"{fall.kept_below(asked.keep)}  {fall.query}  {fall.how.strip().splitlines()[-1]}")
    return 1 if fuzz.falls else 0


if __name__ == "__main__":
    sys.exit(main())
