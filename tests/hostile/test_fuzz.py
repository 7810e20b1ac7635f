"""check_34: a bounded run of the fuzzer, and all its saved fixtures, through a real worker."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.hostile.fuzz import Crash, Fuzz
from tests.hostile.make import CRASHERS

SECONDS = float(os.environ.get("FUZZ_SECONDS", "4"))
WAIT_S = 60.0
"""Enough for a busy machine to render an image and to send one unchanged."""


async def test_check_34_changed_images_bring_no_renderer_down(tmp_path: Path) -> None:
    seed, end = random.SystemRandom().randrange(2**32), time.monotonic() + SECONDS
    fuzz = Fuzz(random.Random(seed))
    needed = ("rendered", "passthrough")

    def goes_on() -> bool:
        """On a busy machine, until both kinds occurred; a renderer that makes neither must fail the test."""
        now = time.monotonic()
        return now < end or (now < end + WAIT_S and not all(fuzz.counts[kind] for kind in needed))

    await fuzz.run(goes_on)
    saved = [(crash.save_below(tmp_path), crash.query, crash.details) for crash in fuzz.crashes]
    assert saved == [], f"with the seed {seed}"
    assert all(fuzz.counts[kind] for kind in needed)


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGKILL"])
async def test_a_crash_is_detected(how: str) -> None:
    """Otherwise a run without failures would prove nothing."""
    fuzz = Fuzz(random.Random(1))
    left = iter(range(30))

    def kill_once() -> bool:
        number = next(left, None)
        if number == 20 and fuzz.process is not None:
            os.kill(fuzz.process.pid, getattr(signal, how))
            os.waitid(os.P_PID, fuzz.process.pid, os.WEXITED | os.WNOWAIT)
        return number is not None

    await fuzz.run(kill_once)
    assert len(fuzz.crashes) == 1
    assert how in fuzz.crashes[0].details
    assert sum(fuzz.counts.values()) > 20


def test_a_failure_is_saved_with_its_query(tmp_path: Path) -> None:
    path = Crash(b"bytes", "fastly?width=1", "crashed: it ended").save_below(tmp_path)
    assert path.read_bytes() == b"bytes"
    assert path.with_suffix(".txt").read_text() == "fastly?width=1\ncrashed: it ended\n"


def test_crashers_are_small() -> None:
    assert [p.name for p in CRASHERS.glob("*") if p.stat().st_size > 100_000] == []


@pytest.mark.parametrize("name", [p.name for p in sorted(CRASHERS.glob("*.*")) if p.suffix != ".txt"])
async def test_check_34_fixed_failures_stay_fixed(name: str) -> None:
    fuzz = Fuzz(random.Random(1))
    await fuzz.these([(CRASHERS / name).read_bytes()] * 3)
    assert fuzz.crashes == []
    assert sum(fuzz.counts.values()) == 9
