"""The socket between the front and a renderer: how messages are framed, and a renderer's end of it.

Front to renderer: a length, a pickle, descriptors beside its first byte. Renderer to front: a mark, a kind, two
lengths, JSON, raw bytes; never a pickle, for whoever breaks into a decoder writes what it likes there.
"""

from __future__ import annotations

import os
import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from cropmark.analysis import codec
from cropmark.renderers.tasks import MOST_SOURCES

MARK = b"crop"
ASKED = struct.Struct("!I")
TOLD = struct.Struct("!4sBIQ")
MOST_HEADER_BYTES = 256 * 1024
CHUNK_BYTES = 256 * 1024


class MessageKind(IntEnum):
    """What a renderer says."""

    READY = 1
    MADE = 2
    AS_IT_IS = 3
    INFO = 4
    ANALYZED = 5
    PROBLEM = 6
    COMPARED = 7


@dataclass(frozen=True, slots=True)
class RawReply:
    """One message of a renderer, its lengths and kind checked, nothing else."""

    kind: MessageKind
    header: bytes
    body: bytes = b""


class ProtocolError(Exception):
    """A renderer said what no renderer of ours says."""


def asked(message: object) -> bytes:
    """The message as the front sends it."""
    told = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return ASKED.pack(len(told)) + told


def read_lengths(prefix: bytes, most_body_bytes: int) -> tuple[MessageKind, int, int]:
    """Kind, header length and body length of the reply that begins so. Raises OutOfForm."""
    mark, kind, header, body = TOLD.unpack(prefix)
    if mark != MARK:
        raise ProtocolError("the reply does not begin with the mark")
    if kind not in MessageKind.__members__.values():
        raise ProtocolError(f"there is no reply of kind {kind}")
    if header > MOST_HEADER_BYTES:
        raise ProtocolError(f"a header of {header} bytes")
    if body > {MessageKind.MADE: most_body_bytes, MessageKind.ANALYZED: codec.MOST_BYTES}.get(MessageKind(kind), 0):
        raise ProtocolError(f"a body of {body} bytes")
    return MessageKind(kind), header, body


# -------------------------------------------------------------------------------------- the renderer's end, blocking


def receive(end: socket.socket) -> tuple[object, list[int]] | None:
    """The front's next message and the descriptors that came with it; None when the front is gone."""
    first, descriptors, flags, _ = socket.recv_fds(end, CHUNK_BYTES, MOST_SOURCES)
    if not first:
        return None
    if flags & socket.MSG_CTRUNC:
        raise OSError("descriptors were lost on the way")
    told = bytearray(first)
    while len(told) < ASKED.size or len(told) < ASKED.size + ASKED.unpack_from(told)[0]:
        more = end.recv(CHUNK_BYTES)
        if not more:
            return None
        told += more
    return pickle.loads(memoryview(told)[ASKED.size :]), descriptors  # noqa: S301 - the front is trusted, and nobody else holds the other end


def tell(end: socket.socket, reply: RawReply) -> None:
    """Send the reply whole."""
    end.sendall(TOLD.pack(MARK, reply.kind, len(reply.header), len(reply.body)) + reply.header)
    if reply.body:
        end.sendall(reply.body)


def contents(descriptors: Sequence[int], lengths: Sequence[int | None]) -> list[bytes | None]:
    """The bytes of each source, read from its descriptor, which is closed; None where there is none.

    Shorter than its length where a file shrank after it was opened.
    """
    rest = iter(descriptors)
    return [None if length is None else _content(next(rest), length) for length in lengths]


def _content(descriptor: int, length: int) -> bytes:
    try:
        parts: list[bytes] = []
        have = 0
        # pread() and not read(): several renderers may hold one open file, and its position is shared.
        while have < length and (part := os.pread(descriptor, length - have, have)):
            parts.append(part)
            have += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)
    finally:
        os.close(descriptor)
