"""Compares renderers that are forks with those that are started one by one: `python benchmarks/renderer_starts.py`.

Prints the memory of pools without a task, and the CPU and elapsed time of the replacement of a killed renderer.
"""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import statistics
import time
from pathlib import Path

from cropmark.renderers.pool import Pool, PoolConfig

REPLACEMENTS = 20


def memory_mb() -> float:
    """The memory of all child processes, each shared page divided by the number of its processes."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    lines = "\n".join(Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in children).splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def cpu_s() -> float:
    """The CPU time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


async def main() -> None:
    for forks in (False, True):
        print("forks" if forks else "new processes")
        for workers in (1, 2, 4):
            pool = Pool(PoolConfig(workers, forks=forks))
            await pool.start()
            print(f"  {workers} renderers: {memory_mb():.0f} MB")
            await pool.close()
        before_s = cpu_s()
        pool = Pool(PoolConfig(1, forks=forks))
        await pool.start()
        elapsed = [await _replacement_s(pool) for _ in range(REPLACEMENTS)]
        await pool.close()
        each_ms = 1000 * (cpu_s() - before_s) / (REPLACEMENTS + 1)
        print(f"  replacement: {each_ms:.0f} ms of CPU, {1000 * statistics.median(elapsed):.0f} ms in the median")


async def _replacement_s(pool: Pool) -> float:
    killed, began_s = pool.pids()[0], time.perf_counter()
    os.kill(killed, signal.SIGKILL)
    while killed in pool.pids() or not pool.pids():
        await asyncio.sleep(0.001)
    return time.perf_counter() - began_s


asyncio.run(main())
