"""Files to which a command appends lines, so that a second run continues the first, even if that one was killed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Final

_BLOCK_BYTES: Final = 64 * 1024


def read_lines(path: Path) -> Iterator[str]:
    """The complete lines of a file, without their line breaks; none if it does not exist. Raises OSError.

    Bytes that are not UTF-8 become U+FFFD.
    """
    if not path.exists():
        return
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for line in file:
            if line.endswith("\n"):
                yield line[:-1]


def open_lines(path: Path) -> IO[str]:
    """Opens a file, so that lines can be appended; a missing file is created. Raises OSError.

    An incomplete last line, which a killed process left, is removed.
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
