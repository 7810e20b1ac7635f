"""The error of an unusable library, and the name of its database file. Both can be imported without a database package.

A server without a library imports only this module: SQLAlchemy would take 20 MiB and 0.2 s.
"""

from __future__ import annotations

from typing import Final

FILE: Final = "library.sqlite3"


class LibraryUnavailable(Exception):
    """Raised if the library cannot be used. `what` is the cause. `fix` says how to correct it."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(f"{what} | {fix}")
        self.what = what
        self.fix = fix
