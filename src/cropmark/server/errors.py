"""The error that stops the start of a server."""

from __future__ import annotations


class StartupError(Exception):
    """A reason why the server cannot start, in one line, with the fix."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(f"{message} | {fix}")
        self.message = message
        self.fix = fix
