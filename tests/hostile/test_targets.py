"""check_07, check_08, check_34, check_44: readers, the signature, headers, sniffing and Accept take any bytes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cropmark.dialects.dialect import ImageRequest
from cropmark.model.problems import Problem
from tests.hostile import targets
from tests.hostile.slowness import slowness
from tests.hostile.targets import DIALECTS, SIGNED
from tests.requirements import require

ROOT = Path(__file__).parents[2]
SECONDS = int(os.environ.get("FUZZ_SECONDS", "3"))
NAMES = sorted({param.name for dialect in DIALECTS for param in dialect.params})
EXAMPLES = sorted({param.example.partition("=")[2] or param.example for d in DIALECTS for param in d.params})
ODD = ["nan", "inf", "-0", "1e400", "1_000", "٣", "１２", "9" * 400, "0x10", "1/0", "1:0", "%00", "\r\nX: y", "..", ""]
MARKS = ["\xff\xd8\xff", "\x89PNG\r\n\x1a\n", "GIF89a", "RIFF....WEBP", "....ftypavif", "II*\0", "<svg", "BM", "\xff\n"]


def queries() -> st.SearchStrategy[str]:
    """Names that are known with values that are not, and the other way about."""
    words = st.sampled_from([*EXAMPLES, *ODD]) | st.text(max_size=30)
    values = st.lists(words, min_size=1, max_size=4).map(",".join) | words
    pair = st.tuples(st.sampled_from(NAMES) | st.text(max_size=12), values).map(
        lambda p: f"{quote(p[0])}={quote(p[1])}"
    )
    return st.lists(pair, max_size=6).map("&".join)


@settings(max_examples=400, deadline=None)
@given(st.binary(max_size=1), queries(), st.text(max_size=60))
def test_check_34_readers_take_any_query(path: bytes, query: str, accept: str) -> None:
    targets.reads(b"\n".join((path, query.encode(), accept.encode("utf-8"))))


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=300))
@pytest.mark.parametrize("name", targets.TARGETS)
def test_check_34_any_bytes(name: str, data: bytes) -> None:
    targets.TARGETS[name](data)


def test_check_34_what_the_fuzzer_begins_with_and_what_fell_once() -> None:
    fallen = [path.read_bytes() for path in sorted(targets.INPUTS.glob("*"))]
    known = targets.seeds()
    assert len(known) > 80
    for data in (*known.values(), *fallen):
        targets.every(data)


@require("atheris", find_spec("atheris") is not None)
def test_check_34_any_bytes_by_coverage(tmp_path: Path) -> None:
    """A bounded passage: FUZZ_SECONDS has it go on for longer."""
    command = [sys.executable, "-m", "tests.hostile.coverage_guided", str(SECONDS), "--keep", str(tmp_path)]
    reported = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False, timeout=SECONDS + 300
    )
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [], reported.stderr[-4000:]
    assert reported.returncode == 0, reported.stderr[-4000:]
    units = re.search(r"number_of_executed_units: *(\d+)", reported.stderr)
    assert units is not None
    assert int(units[1]) > len(targets.seeds())


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(MARKS), st.binary(max_size=5000))
def test_check_34_sniffing_takes_any_bytes_behind_a_mark(mark: str, data: bytes) -> None:
    targets.sniffs(mark.encode("latin-1") + data)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_check_44_no_text_ends_a_header(text: str) -> None:
    targets.sends(text.encode("utf-8", "surrogatepass"))
    targets.reports(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, len(SIGNED) - 1), byte=st.integers(0, 255))
def test_check_01_no_byte_of_a_signed_address_can_be_another(at: int, byte: int) -> None:
    changed = SIGNED[:at] + bytes([byte]) + SIGNED[at + 1 :]
    if changed != SIGNED:
        targets.signs(changed)


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, len(SIGNED)), more=st.binary(min_size=1, max_size=8))
def test_check_01_nothing_can_be_put_into_a_signed_address(at: int, more: bytes) -> None:
    targets.signs(SIGNED[:at] + more + SIGNED[at:])


HOSTILE_TEXTS = {
    "commas": "width=" + "," * 7000,
    "digits": "width=" + "9" * 7000,
    "points": "width=" + "1." * 3500,
    "pairs": "&".join(f"w{n}=1" for n in range(1000)),
    "one name": "&".join(["width=1"] * 900),
    "escapes": "crop=" + "%2c" * 2300,
    "nested": "overlay=" + "%25" * 2300,
    "blanks": "crop=" + "+" * 7000 + "x",
    "signs": "crop=" + "-" * 7000,
    "colons": "crop=" + "1:" * 3500,
    "a hundred kilobytes": "crop=" + "1," * 50_000,
}


@pytest.mark.parametrize("name", HOSTILE_TEXTS)
def test_check_08_hostile_texts_are_read_in_ten_milliseconds(name: str) -> None:
    for dialect in DIALECTS:
        took = []
        for _ in range(3):
            began = time.perf_counter()
            with suppress(Problem):
                dialect.order(ImageRequest("a.jpg", HOSTILE_TEXTS[name]))
            took.append(time.perf_counter() - began)
        assert min(took) < 0.010 * slowness(), dialect.name
