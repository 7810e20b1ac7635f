"""check_34: a bounded passage of the endless one, and every fixture that it left, through a real renderer."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.hostile.fuzz import Fall, Fuzz
from tests.hostile.make import CRASHERS

SECONDS = float(os.environ.get("FUZZ_SECONDS", "20"))


async def test_check_34_changed_pictures_bring_no_renderer_down(tmp_path: Path) -> None:
    seed, end = random.SystemRandom().randrange(2**32), time.monotonic() + SECONDS
    fuzz = Fuzz(random.Random(seed))
    await fuzz.run(lambda: time.monotonic() < end)
    kept = [(fall.kept_below(tmp_path), fall.query, fall.how) for fall in fuzz.falls]
    assert kept == [], f"with the seed {seed}"
    assert fuzz.told["made"] > 0
    assert fuzz.told["as it is"] > 0


@pytest.mark.parametrize("how", ["SIGSEGV", "SIGKILL"])
async def test_a_renderer_that_falls_is_seen(how: str) -> None:
    """Else a quiet run would say nothing."""
    fuzz = Fuzz(random.Random(1))
    left = iter(range(30))

    def kill_once() -> bool:
        number = next(left, None)
        if number == 20 and fuzz.process is not None:
            os.kill(fuzz.process.pid, getattr(signal, how))
            time.sleep(0.2)
        return number is not None

    await fuzz.run(kill_once)
    assert len(fuzz.falls) == 1
    assert how in fuzz.falls[0].how
    assert sum(fuzz.told.values()) > 20


def test_what_fell_is_kept_with_its_query(tmp_path: Path) -> None:
    path = Fall(b"bytes", "fastly?width=1", "fell: it ended").kept_below(tmp_path)
    assert path.read_bytes() == b"bytes"
    assert path.with_suffix(".txt").read_text() == "fastly?width=1\nfell: it ended\n"


def test_crashers_are_small() -> None:
    assert [p.name for p in CRASHERS.glob("*") if p.stat().st_size > 100_000] == []


@pytest.mark.parametrize("name", [p.name for p in sorted(CRASHERS.glob("*.*")) if p.suffix != ".txt"])
async def test_check_34_what_fell_once_falls_no_more(name: str) -> None:
    fuzz = Fuzz(random.Random(1))
    await fuzz.these([(CRASHERS / name).read_bytes()] * 3)
    assert fuzz.falls == []
    assert sum(fuzz.told.values()) == 9
