"""Sends messages between the front processes of one host. Each front listens on a Unix socket.

The sockets are in a folder that only this user can open. A message and its answer are one line of JSON each. A front
listens before it serves requests. So a front that does not listen has no images in memory: it has ended or is starting.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import structlog

from cropmark.model.problems import Problem

log = structlog.get_logger("cropmark.fleet")

TIMEOUT_S: Final = 15.0
"""Longest time for which a front waits for an answer: another one may have to write to an object store."""
_MAX_LINE_BYTES: Final = 64 * 2**20

Message = Mapping[str, Any]
Handler = Callable[[Message], Awaitable[Message]]


class Siblings:
    """Sends messages to the other fronts of this host, and answers theirs."""

    def __init__(self, folder: Path, number: int, count: int) -> None:
        """`number` is the number of this front, from 0 to `count` - 1. `folder` has the sockets."""
        self.folder = folder
        self.number = number
        self.count = count
        self.answers: Mapping[str, Handler] = {}
        """For each kind of message, the function that answers it."""
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Answer messages from now on. Raises OSError."""
        path = self._path(self.number)
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, path, limit=_MAX_LINE_BYTES)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._path(self.number).unlink(missing_ok=True)

    async def ask_all(self, kind: str, message: Message, *, timeout_s: float | None = None) -> list[Message]:
        """Send a message of a kind to all other fronts, and return their answers.

        If a front fails or does not answer within `timeout_s`, its answer has the member `error`. If a front does not
        run, its answer has the member `absent` with the number of the front. `timeout_s` None: TIMEOUT_S.
        """
        asked = {**message, "message": kind}
        others = [number for number in range(self.count) if number != self.number]
        return await asyncio.gather(*(self._ask(number, asked, timeout_s or TIMEOUT_S) for number in others))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number}.sock"

    async def _ask(self, number: int, message: Message, timeout_s: float) -> Message:
        """The answer of front `number`; `{"absent": number}` if the front does not run, or ends before it answers."""
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_unix_connection(self._path(number), limit=_MAX_LINE_BYTES)
                try:
                    writer.write(_line(message))
                    line = await reader.readline()
                finally:
                    writer.close()
        except TimeoutError:
            log.warning("a front does not answer", front=number)
            return {"error": f"front {number} does not answer"}
        except (FileNotFoundError, ConnectionError):
            return {"absent": number}
        except OSError as error:
            log.warning("a front cannot be reached", front=number, error=error.strerror)
            return {"error": f"front {number} cannot be reached: {error.strerror}"}
        return dict(json.loads(line)) if line.endswith(b"\n") else {"absent": number}

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            message = json.loads(await reader.readline())
            try:
                answer = await self.answers[message["message"]](message)
            except Problem as problem:
                answer = {"error": problem.detail}
            except Exception as error:
                log.exception("a message of another front could not be answered")
                answer = {"error": repr(error)}
            writer.write(_line(answer))
            with suppress(OSError):
                await writer.drain()
        finally:
            writer.close()


def _line(message: Message) -> bytes:
    return json.dumps(message).encode() + b"\n"
