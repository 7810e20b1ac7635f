"""The parts of the library that need no database.

Importing SQLAlchemy takes 20 MiB and 0.2 s, which a server without a library saves.
"""

from __future__ import annotations

from typing import Final

FILE: Final = "library.sqlite3"


class LibraryUnavailable(Exception):
    """The library cannot be used: the cause and the fix."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what} | {fix}")
        self.what = what
        self.fix = fix
