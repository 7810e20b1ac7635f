"""The error that stops the start of a server."""

from __future__ import annotations


class StartupError(Exception):
    """The server cannot start. The text is one line with the reason and the fix."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(f"{message} | {fix}")
        self.message = message
        self.fix = fix
