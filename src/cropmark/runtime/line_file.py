"""Files to which a command appends lines. A second run of the command can continue the file of a killed run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Final

_BLOCK_BYTES: Final = 64 * 1024


def read_lines(path: Path) -> Iterator[str]:
    """The complete lines of a file, without line breaks; empty if the file does not exist. Raises OSError.

    Bytes that are not UTF-8 become U+FFFD.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            if line.endswith("\n"):
                yield line[:-1]


def open_lines(path: Path) -> IO[str]:
    """Open a file for appending lines, or create it. Raises OSError.

    Removes an incomplete last line, which a killed process left.
    """
    file = path.open("a+b")
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        if (line_break := file.read(end - start).rfind(b"\n")) >= 0:
            end = start + line_break + 1
            break
        end = start
    file.truncate(end)
    return TextIOWrapper(file, "utf-8", newline="\n")
