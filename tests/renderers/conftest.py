"""Fixtures: sources with a text as content, and pools of rogue workers that act on the text."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from cropmark.ports import OpenSource, SourceVersion
from cropmark.renderers.pool import Pool, PoolConfig
from cropmark.renderers.tasks import Sandbox
from tests.builders import open_file, until
from tests.processes import exists

ROGUE = (sys.executable, "-I", str(Path(__file__).with_name("rogue.py")))


class Says(Protocol):
    def __call__(self, text: str, *, name: str | None = None, version: str = "1") -> OpenSource: ...


@pytest.fixture
def says(tmp_path: Path) -> Says:
    """Returns a function that opens a new source with the text as its content."""

    def says(text: str, *, name: str | None = None, version: str = "1") -> OpenSource:
        file = tmp_path / str(len(list(tmp_path.iterdir())))
        file.write_bytes(text.encode("latin-1"))
        return open_file(file, SourceVersion(f"files:{text if name is None else name}", version))

    return says


Started = Callable[..., Awaitable[Pool]]


@pytest.fixture
async def started() -> AsyncIterator[Started]:
    """Returns a function that starts a pool of rogues. Afterwards each is closed, and no process may be left."""
    async with AsyncExitStack() as stack:

        async def start(workers: int = 1, *, models: Any = None, clock: Any = None, **config: Any) -> Pool:
            defaults = {"command": ROGUE, "sandbox": Sandbox.OFF, "timeout_s": 5.0}
            options = {"clock": clock} if clock else {}
            pool = Pool(PoolConfig(workers, **{**defaults, **config}), models=models, **options)
            stack.push_async_callback(_close, pool)
            await pool.start()
            return pool

        yield start


async def _close(pool: Pool) -> None:
    pids = pool.pids()
    await pool.close()
    assert [pid for pid in pids if exists(pid)] == []


async def kill_and_wait(pool: Pool) -> float:
    """Kill the only worker of the pool and wait until another is ready; returns the seconds it took."""
    before = pool.pids()
    os.kill(before[0], signal.SIGKILL)
    return await until(lambda: pool.pids() not in (before, ()))
