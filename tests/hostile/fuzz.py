"""Fuzzes a real, sandboxed worker with changed images and random queries, for a limited time: `make fuzz`.

    python -m tests.hostile.fuzz [--seconds 600] [--seed 7] [--save tests/hostile/crashers]

One worker processes all files. Unlike in the server, it is not replaced after a broken file: that is faster, and damage
accumulates. A file that crashes or hangs it, or causes an invalid reply or an internal error, is saved with its query.
`--seconds 0` runs until it is stopped.
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
from cropmark.plan.plan import Order
from cropmark.ports import Passthrough, Rendered
from cropmark.renderers.process import COMMAND, ENVIRONMENT, ProtocolError, WorkerExited, WorkerProcess
from cropmark.renderers.protocol import Failure
from cropmark.renderers.starters import NewProcess
from cropmark.renderers.tasks import Message, Render, Sandbox, Setup
from tests.hostile import seeds
from tests.hostile.make import CRASHERS, changed, gifs
from tests.hostile.targets import DIALECTS

CPU_S = 40.0
"""The CPU time that one file may take. Elapsed time depends on what else the machine does."""
TIMEOUT_S = 120.0
MEMORY = 2 * 2**30
PLAIN = {"fastly": "width=48", "contentstack": "width=48", "kontent": "w=48", "pixlab": ""}


@dataclass(frozen=True, slots=True)
class Crash:
    """A file that crashed a worker or caused an internal error."""

    data: bytes
    query: str
    details: str

    def save_below(self, folder: Path) -> Path:
        """Write the file as a fixture, with a text file of its query and failure."""
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / hashlib.sha256(self.data).hexdigest()[:16]
        path.write_bytes(self.data)
        path.with_suffix(".txt").write_text(f"{self.query}\n{self.details}\n")
        return path


@dataclass(slots=True)
class Fuzz:
    """A run: the number of results by kind, and the failures."""

    chance: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    crashes: list[Crash] = field(default_factory=list)
    process: WorkerProcess | None = None

    async def run(self, goes_on: Callable[[], bool]) -> None:
        sound = [*seeds.sound().values(), *gifs().values(), *seeds.drawings()]
        try:
            while goes_on():
                data = changed(self.chance.choice(sound), self.chance)
                dialect, query = self._random_query()
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

    def _random_query(self) -> tuple[Dialect, str]:
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
        if not isinstance(order, Order) or order.plan is None:
            return
        order = order.with_svg(is_read=True)
        assert order.plan is not None
        lengths = (len(data), *(None for _ in order.sources[1:]))  # overlays are missing
        outcome = await self._outcome(data, Message(Render(order.plan, None), lengths))
        self.counts[outcome if "\n" not in outcome else "fault"] += 1
        if outcome.startswith("crashed") or "\n" in outcome:
            self.crashes.append(Crash(data, f"{dialect.name}?{query}", outcome))
            await self._end()

    async def _outcome(self, data: bytes, message: Message) -> str:
        """The kind of result in a word; "crashed: …" without a reply, or the traceback of an internal error."""
        process = await self._ready()
        source = os.memfd_create("source")
        os.write(source, data)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = await process.receive_reply(message.task, process.send_task(message, [source], CPU_S))
        except TimeoutError:
            return f"crashed: longer than {TIMEOUT_S:g} s"
        except (WorkerExited, ProtocolError) as error:
            self.process = None
            return f"crashed: {error}, {await process.reap(1.0)}"
        finally:
            os.close(source)
        match reply.result:
            case Rendered():
                return "rendered"
            case Passthrough():
                return "passthrough"
            case Failure(log=log) if log:
                return f"\n{log}"
            case _:
                return "rejected"

    async def _ready(self) -> WorkerProcess:
        if self.process is None:
            self.process = await WorkerProcess.start(NewProcess(COMMAND, ENVIRONMENT), 256 * 2**20)
            await self.process.set_up(Setup(Sandbox.TRY, memory_bytes=MEMORY, reads_svg=True))
        return self.process

    async def _end(self) -> None:
        if self.process is not None:
            await self.process.reap()
            self.process = None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--save", type=Path, default=CRASHERS)
    options = parser.parse_args()
    print(f"seed {options.seed}; {'until Ctrl-C' if not options.seconds else f'{options.seconds:g} s'}")
    fuzz, end = Fuzz(random.Random(options.seed)), time.monotonic() + options.seconds
    try:
        asyncio.run(fuzz.run(lambda: not options.seconds or time.monotonic() < end))
    except KeyboardInterrupt:
        print()
    print(f"{sum(fuzz.counts.values())} files: {dict(fuzz.counts)}")
    for crash in fuzz.crashes:
        print(f"{crash.save_below(options.save)}  {crash.query}  {crash.details.strip().splitlines()[-1]}")
    return 1 if fuzz.crashes else 0


if __name__ == "__main__":
    sys.exit(main())
