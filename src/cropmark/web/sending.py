"""Sends large bodies in pieces, so that a slow client costs the server little memory.

The HTTP server copies each piece, and accepts the next piece only after the client has received earlier ones. So a slow
client costs the memory of a few pieces, and a client that receives nothing is disconnected. All responses with one ETag
share one copy of the body. Files are read piece by piece.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from cropmark.model.problems import Overloaded
from cropmark.ports import OpenSource, StoredRendition
from cropmark.runtime.connections import MIN_BYTES_PER_S
from cropmark.runtime.reads import read_pieces
from cropmark.web.client_ip import THIS_MACHINE, ClientIp
from cropmark.web.cors import RawHeaders
from cropmark.web.ranges import ByteRange
from cropmark.web.request import ClientDisconnected, Message, Scope, Send
from cropmark.web.response import problem_response, send_response

WHOLE_BYTES: Final = 256 * 1024
"""Size of the largest body that is sent in one piece, in bytes."""
PIECE_BYTES: Final = 64 * 1024
"""Bytes of a piece. The HTTP server holds about seven of them for a client that takes nothing."""
READ_BYTES: Final = 128 * 1024
"""Bytes of a file that are read at a time."""
CutConnection = Callable[[tuple[str, int]], None]
"""Ends the connection with this client address and port."""


@dataclass(frozen=True, slots=True)
class SendLimits:
    """Limits on the large bodies that are sent at the same time."""

    stall_s: float = 30.0
    """Longest time in which a client may take one piece."""
    bytes: int = 256 * 2**20
    """Largest number of bytes of all different bodies together; a file counts with the bytes of one read only."""
    per_client: int = 256
    """Largest number of large responses to one client at a time; 0: no limit."""


class BodySender:
    """Sends the bodies of responses. Large bodies are sent in pieces, within SendLimits."""

    def __init__(self, limits: SendLimits, client_ip: ClientIp, cut: CutConnection) -> None:
        self._limits = limits
        self._client_ip = client_ip
        self._cut = cut
        self._clients: Counter[str] = Counter()
        self._bodies: dict[str, tuple[bytes, int]] = {}
        """For each ETag, the body and the number of responses that are sending it."""
        self.bytes = 0
        """Bytes of the different bodies, and of the pieces of files, that are being sent."""

    @property
    def responses(self) -> int:
        """Number of large responses that are being sent."""
        return self._clients.total()

    async def send(
        self,
        scope: Scope,
        send: Send,
        headers: RawHeaders,
        etag: str,
        body: bytes,
        part: ByteRange | None = None,
        *,
        status: int = 200,
    ) -> None:
        """Send a body, or the range `part` of it.

        Raises Overloaded before the response begins, and ClientDisconnected if the client reads too slowly.
        Responses with the same strong ETag `etag` share one copy of the body, even if they send different ranges.
        """
        at, end = (0, len(body)) if part is None else (part.start, part.end)
        if end - at <= WHOLE_BYTES:
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body[at:end]})
            return
        with self._counted_client(scope), self._held(etag, body) as held:
            await self._send_pieces(scope, send, status, headers, end - at, _slices(held, at, end))

    def shared(self, etag: str, body: bytes) -> bytes:
        """The copy of the body that another response with this ETag is sending, or else `body`.

        The caller can then free its own copy.
        """
        return self._bodies.get(etag, (body, 0))[0]

    async def send_file(
        self,
        scope: Scope,
        send: Send,
        headers: RawHeaders,
        opened: OpenSource,
        part: ByteRange | None = None,
        *,
        status: int = 200,
    ) -> None:
        """Send a file, or the range `part` of it. Reads in threads. Raises like send().

        If the file is shorter than `opened.bytes`, the response ends early.
        """
        at, end = (0, opened.bytes) if part is None else (part.start, part.end)
        await self._send_part(scope, send, status, headers, opened.descriptor, at, end)

    async def send_stored(
        self,
        scope: Scope,
        send: Send,
        headers: RawHeaders,
        stored: StoredRendition,
        part: ByteRange | None = None,
        *,
        status: int = 200,
    ) -> None:
        """Send a rendition, or the range `part` of it, from its open file. Raises like send()."""
        at, end = (0, stored.record.length) if part is None else (part.start, part.end)
        await self._send_part(scope, send, status, headers, stored.descriptor, stored.offset + at, stored.offset + end)

    async def _send_part(
        self, scope: Scope, send: Send, status: int, headers: RawHeaders, descriptor: int, at: int, end: int
    ) -> None:
        """Send the bytes of a file from offset `at` to offset `end`, exclusive."""
        if end - at <= WHOLE_BYTES:
            body = b"".join(await asyncio.to_thread(list, read_pieces(descriptor, end - at, start=at)))
            await send_response(send, status, headers, body)
            return
        with self._counted_client(scope), self._counted_bytes(min(READ_BYTES, end - at)):
            await self._send_pieces(scope, send, status, headers, end - at, _reads(descriptor, at, end))

    def bounded(self, scope: Scope, send: Send) -> Send:
        """A function that replaces `send` for pages and endpoints, and applies SendLimits to their responses.

        It sends a large body in pieces. Above a limit it sends a 503 response instead. A client that reads too slowly
        is disconnected. Bodies that arrive in several messages are passed on unchanged.
        """
        start: Message = {}

        async def bounded_send(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message
                return
            headers, status, body = list(start.get("headers", ())), start.get("status", 200), message.get("body", b"")
            if not start or message.get("more_body") or len(body) <= WHOLE_BYTES:
                if start:
                    await send(start)
                    start = {}
                await send(message)
                return
            start = {}
            try:
                with self._counted_client(scope), self._counted_bytes(len(body)):
                    await self._send_pieces(scope, send, status, headers, len(body), _slices(body, 0, len(body)))
            except Overloaded as problem:
                body, headers = problem_response(problem)
                await send_response(send, problem.status, headers, body)
            except ClientDisconnected:
                pass

        return bounded_send

    async def _send_pieces(
        self, scope: Scope, send: Send, status: int, headers: RawHeaders, length: int, pieces: AsyncIterator[bytes]
    ) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        deadline = time.monotonic() + self._limits.stall_s + length / MIN_BYTES_PER_S
        sent = 0
        try:
            async for piece in pieces:
                sent += len(piece)
                message = {"type": "http.response.body", "body": piece, "more_body": sent < length}
                async with asyncio.timeout(min(self._limits.stall_s, max(0.0, deadline - time.monotonic()))):
                    await send(message)
        except TimeoutError as error:
            # The server waits for this client although the response has ended, so its socket is closed.
            host, port = scope["client"]
            self._cut((host, int(port)))
            raise ClientDisconnected from error
        if sent < length:
            await send({"type": "http.response.body", "body": b""})

    @contextmanager
    def _counted_client(self, scope: Scope) -> Iterator[None]:
        client = self._client_ip.resolve(scope)
        if client not in THIS_MACHINE and 0 < self._limits.per_client <= self._clients[client]:
            raise _overloaded("too many large responses are being sent to this client")
        self._clients[client] += 1
        try:
            yield
        finally:
            self._clients[client] -= 1
            if not self._clients[client]:
                del self._clients[client]

    @contextmanager
    def _counted_bytes(self, length: int) -> Iterator[None]:
        if self.bytes + length > self._limits.bytes:
            raise _overloaded("too many large responses are being sent")
        self.bytes += length
        try:
            yield
        finally:
            self.bytes -= length

    @contextmanager
    def _held(self, etag: str, body: bytes) -> Iterator[bytes]:
        """The copy of the body that all responses with this ETag share: `body` of the first response.

        Its bytes count once toward the limit. Raises Overloaded above the limit.
        """
        held, responses = self._bodies.get(etag, (body, 0))
        if not responses:
            if self.bytes + len(body) > self._limits.bytes:
                raise _overloaded("too many large responses are being sent")
            self.bytes += len(body)
        self._bodies[etag] = held, responses + 1
        try:
            yield held
        finally:
            held, responses = self._bodies.pop(etag)
            if responses > 1:
                self._bodies[etag] = held, responses - 1
            else:
                self.bytes -= len(held)


async def _slices(body: bytes, at: int, end: int) -> AsyncIterator[bytes]:
    for start in range(at, end, PIECE_BYTES):
        yield body[start : min(start + PIECE_BYTES, end)]


async def _reads(descriptor: int, at: int, end: int) -> AsyncIterator[bytes]:
    while at < end:
        block = await asyncio.to_thread(os.pread, descriptor, min(READ_BYTES, end - at), at)
        if not block:
            return
        at += len(block)
        for start in range(0, len(block), PIECE_BYTES):
            yield block[start : start + PIECE_BYTES]


def _overloaded(what: str) -> Overloaded:
    return Overloaded(what, fix="try again later", retry_after_s=5)
