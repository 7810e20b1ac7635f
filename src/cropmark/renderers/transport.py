"""The framing of messages on the socket between the front and a worker, and the worker's side of it.

Front to worker: a length, a pickle, and file descriptors, attached to the first byte of the message. Worker to front:
a mark, a kind, two lengths, JSON, raw bytes. A worker never sends a pickle: an attacker who controls a decoder controls
its replies.
"""

from __future__ import annotations

import pickle
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from cropmark.analysis import codec
from cropmark.renderers.tasks import MAX_SOURCES
from cropmark.runtime.reads import FileBytes

MARK = b"crop"
REQUEST_PREFIX = struct.Struct("!I")
REPLY_PREFIX = struct.Struct("!4sBIQ")
MAX_HEADER_BYTES = 256 * 1024
CHUNK_BYTES = 256 * 1024


UNSERIALIZABLE = (pickle.PicklingError, AttributeError, TypeError, RecursionError)
"""The exceptions of pickle for a message that it cannot serialize."""


class MessageKind(IntEnum):
    """The kinds of replies."""

    READY = 1
    RENDERED = 2
    PASSTHROUGH = 3
    INFO = 4
    ANALYSIS = 5
    PROBLEM = 6
    DIFFERENCE = 7


@dataclass(frozen=True, slots=True)
class RawReply:
    """One reply of a worker. Its lengths and kind are checked, its content is not."""

    kind: MessageKind
    header: bytes
    body: bytes = b""


class ProtocolError(Exception):
    """A worker sent an invalid reply."""


def serialize_request(message: object) -> bytes:
    """The message with its length, as the front sends it. Raises UNSERIALIZABLE."""
    data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
    return REQUEST_PREFIX.pack(len(data)) + data


def parse_prefix(prefix: bytes, max_body_bytes: int) -> tuple[MessageKind, int, int]:
    """Kind, header length and body length in the prefix of a reply. Raises ProtocolError."""
    mark, kind, header, body = REPLY_PREFIX.unpack(prefix)
    if mark != MARK:
        raise ProtocolError("the reply does not begin with the mark")
    if kind not in MessageKind.__members__.values():
        raise ProtocolError(f"unknown reply kind {kind}")
    if header > MAX_HEADER_BYTES:
        raise ProtocolError(f"a header of {header} bytes")
    if body > {MessageKind.RENDERED: max_body_bytes, MessageKind.ANALYSIS: codec.MAX_BYTES}.get(MessageKind(kind), 0):
        raise ProtocolError(f"a body of {body} bytes")
    return MessageKind(kind), header, body


# -------------------------------------------------------------------------------------- the worker's side, blocking


def receive(end: socket.socket) -> tuple[bytes, list[int]] | None:
    """The front's next message, serialized, and its descriptors; None if the front has closed the socket."""
    first, descriptors, flags, _ = socket.recv_fds(end, CHUNK_BYTES, MAX_SOURCES)
    if not first:
        return None
    if flags & socket.MSG_CTRUNC:
        raise OSError("descriptors were lost on the way")
    data = bytearray(first)
    while len(data) < REQUEST_PREFIX.size or len(data) < REQUEST_PREFIX.size + REQUEST_PREFIX.unpack_from(data)[0]:
        more = end.recv(CHUNK_BYTES)
        if not more:
            return None
        data += more
    return bytes(memoryview(data)[REQUEST_PREFIX.size :]), descriptors


def parse_request(data: bytes) -> object:
    """The message that serialize_request() got. May raise any exception: a pickle can run any code that we have."""
    return pickle.loads(data)  # noqa: S301 - only the front has the other end of the socket, and it is trusted


def send_reply(end: socket.socket, reply: RawReply) -> None:
    """Send the complete reply."""
    end.sendall(REPLY_PREFIX.pack(MARK, reply.kind, len(reply.header), len(reply.body)) + reply.header)
    if reply.body:
        end.sendall(reply.body)


def open_sources(descriptors: Sequence[int], lengths: Sequence[int | None]) -> list[FileBytes | None]:
    """The sources behind the descriptors, unread; None for each missing source. The caller closes them."""
    rest = iter(descriptors)
    return [None if length is None else FileBytes(next(rest), length) for length in lengths]
