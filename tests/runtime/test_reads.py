"""Files are read to their end, although one call may return fewer bytes than it was asked for."""

from __future__ import annotations

import ast
import hashlib
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cropmark.model.formats import Format
from cropmark.model.problems import SourceFailed
from cropmark.runtime import reads
from tests.builders import open_file

SOURCE = Path(reads.__file__).parent.parent
CONTENT = random.Random(7).randbytes(300_000)

ONE_CALL_IS_ENOUGH = {
    "runtime/reads.py",  # these loops
    "web/sending.py",    # sends each piece as it is read, and counts
}  # fmt: skip
"""The modules that call pread() themselves."""


@pytest.fixture(params=["fixed", "random"])
def short_reads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each pread() returns few bytes, as the kernel does above 2 GiB, and some file systems do at any length."""
    real: Callable[[int, int, int], bytes] = os.pread
    fixed = request.param == "fixed"
    monkeypatch.setattr(
        os, "pread", lambda file, count, at: real(file, min(count, 4096 if fixed else random.randint(1, 9000)), at)
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"\xff\xd8\xff" + CONTENT)
    return path


@pytest.mark.usefixtures("short_reads")
def test_a_source_is_read_completely(file: Path) -> None:
    source = open_file(file)
    assert reads.read_source(source) == b"\xff\xd8\xff" + CONTENT
    assert b"".join(reads.source_pieces(source)) == b"\xff\xd8\xff" + CONTENT
    assert reads.read_up_to(source.descriptor, 200_000) == (b"\xff\xd8\xff" + CONTENT)[:200_000]
    assert reads.source_format(source) is Format.JPEG
    source.close()


@pytest.mark.usefixtures("short_reads")
def test_the_digest_of_a_file(file: Path) -> None:
    source = open_file(file)
    assert reads.sha256_of(source.descriptor, source.bytes) == hashlib.sha256(file.read_bytes()).hexdigest()
    os.truncate(file, 1000)
    assert reads.sha256_of(source.descriptor, source.bytes) == hashlib.sha256(file.read_bytes()).hexdigest()
    source.close()


def test_a_source_that_became_shorter_is_not_called_whole(file: Path) -> None:
    source = open_file(file)
    os.truncate(file, 1000)
    with pytest.raises(SourceFailed, match="ended after 1000 of 300003 bytes"):
        reads.read_source(source)
    source.close()


def test_a_descriptor_that_cannot_be_read_is_a_problem(file: Path) -> None:
    source = open_file(file)
    source.close()
    with pytest.raises(SourceFailed, match="cannot be read now"):
        reads.read_source(source)


def test_no_other_module_calls_pread_once() -> None:
    calls = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in ("pread", "preadv") and isinstance(node.value, ast.Name)
    }
    assert calls == ONE_CALL_IS_ENOUGH
