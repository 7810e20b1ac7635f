"""Pools of rogue renderers, and sources that say what is to happen."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from cropmark.ports import OpenSource, SourceVersion
from cropmark.renderers.pool import Pool
from cropmark.renderers.tasks import Sandbox

ROGUE = (sys.executable, "-I", str(Path(__file__).with_name("rogue.py")))


class Says(Protocol):
    def __call__(self, text: str, *, name: str | None = None, version: str = "1") -> OpenSource: ...


@pytest.fixture
def says(tmp_path: Path) -> Says:
    """A source of that text, one file each."""
    made: list[OpenSource] = []

    def opened(text: str, *, name: str | None = None, version: str = "1") -> OpenSource:
        file = tmp_path / str(len(made))
        file.write_bytes(text.encode("latin-1"))
        descriptor = os.open(file, os.O_RDONLY)
        stamp = SourceVersion(f"files:{text if name is None else name}", version)
        made.append(OpenSource(descriptor, len(text), stamp, lambda: os.close(descriptor)))
        return made[-1]

    return opened


Started = Callable[..., Awaitable[Pool]]


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    """A pool of rogues, ready; closed after the test, which checks that nothing of it is left."""
    async with AsyncExitStack() as stack:

        async def pool(count: int = 1, **settings: Any) -> Pool:
            made = Pool(count, **{"command": ROGUE, "sandbox": Sandbox.OFF, "deadline_s": 5.0, **settings})
            stack.push_async_callback(_closed, made)
            await made.start()
            return made

        yield pool


async def _closed(pool: Pool) -> None:
    pids = pool.pids()
    await pool.close()
    assert [pid for pid in pids if alive(pid)] == []


def alive(pid: int) -> bool:
    """Whether there is such a process, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def killed_and_replaced(pool: Pool) -> float:
    """Kill the one renderer of the pool, wait until another is ready; how many seconds that took."""
    before = pool.pids()
    os.kill(before[0], signal.SIGKILL)
    began_s = time.perf_counter()
    while pool.pids() in (before, ()):
        assert time.perf_counter() - began_s < 5
        await asyncio.sleep(0.001)
    return time.perf_counter() - began_s
