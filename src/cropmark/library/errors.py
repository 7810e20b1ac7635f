"""What is known of a library without its database: loading SQLAlchemy takes 20 MiB and 0.2 s, which a server without a
library saves.
"""

from __future__ import annotations

from typing import Final

FILE: Final = "library.sqlite3"


class LibraryUnavailable(Exception):
    """Why there is no library, and the mend."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what} | {mend}")
        self.what = what
        self.fix = mend
