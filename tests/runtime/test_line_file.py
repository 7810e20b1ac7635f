"""Files of lines: the incomplete line of a killed process, and lines that are appended."""

from __future__ import annotations

from pathlib import Path

import pytest

from cropmark.runtime.line_file import open_lines, read_lines

LONG = b"x" * 200_000

# fmt: off
LEFT = [
    # content of the file      its lines
    (None,                     []),
    (b"",                      []),
    (b"a\nb\n",                ["a", "b"]),
    (b"a\nb\n\xc3",            ["a", "b"]),
    (b"a",                     []),
    (b"a\n" + LONG,            ["a"]),
    (LONG,                     []),
    (b"a\r\xff\x0c\n\nc",      ["a\r\ufffd\x0c", ""]),
]
# fmt: on


@pytest.mark.parametrize(("content", "lines"), LEFT)
def test_an_incomplete_line_is_removed(tmp_path: Path, content: bytes | None, lines: list[str]) -> None:
    path = tmp_path / "lines"
    if content is not None:
        path.write_bytes(content)
    assert list(read_lines(path)) == lines
    with open_lines(path) as file:
        file.write("ü\n")
    with open_lines(path) as file:
        file.write("z\n")
    assert list(read_lines(path)) == [*lines, "ü", "z"]
    assert path.read_bytes().startswith((content or b"")[: sum(map(len, lines))])
