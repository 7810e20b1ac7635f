"""The format of messages on the socket between the front and a worker, and the worker's side of the socket.

- Front to worker: a length, a pickle, and file descriptors, which are attached to the first byte of the message.
- Worker to front: a mark (fixed bytes), a kind, two lengths, JSON, raw bytes.

A worker never sends a pickle, because an attacker who controls its decoder controls its replies.
"""

from __future__ import annotations

import copyreg
import io
import pickle
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from cropmark.analysis import codec
from cropmark.plan.plan import Plan
from cropmark.renderers.tasks import MAX_SOURCES
from cropmark.runtime.reads import FileBytes

MARK = b"crop"
REQUEST_PREFIX = struct.Struct("!I")
REPLY_PREFIX = struct.Struct("!4sBIQ")
MAX_HEADER_BYTES = 256 * 1024
CHUNK_BYTES = 256 * 1024
MAX_PLACEHOLDER_BYTES = 4096


UNSERIALIZABLE = (pickle.PicklingError, AttributeError, TypeError, RecursionError)
"""The exceptions that pickle raises for a message that it cannot serialize."""


class MessageKind(IntEnum):
    """The kinds of replies."""

    READY = 1
    RENDERED = 2
    PASSTHROUGH = 3
    INFO = 4
    ANALYSIS = 5
    PROBLEM = 6
    DIFFERENCE = 7
    NEEDS_MEMORY = 8
    APPEARANCE = 9


_MAX_BODY_BYTES = {MessageKind.ANALYSIS: codec.MAX_BYTES, MessageKind.APPEARANCE: MAX_PLACEHOLDER_BYTES}
"""Limits of the bodies of these kinds. RENDERED has a configured limit; all other kinds have no body."""


@dataclass(frozen=True, slots=True)
class RawReply:
    """A worker's reply with a checked kind and checked lengths. Its content is not checked yet."""

    kind: MessageKind
    header: bytes
    body: bytes = b""


class ProtocolError(Exception):
    """A worker sent an invalid reply."""


def serialize_request(message: object) -> bytes:
    """The message as the front sends it: its length, then the pickle. Raises the exceptions in UNSERIALIZABLE."""
    with io.BytesIO() as data:
        pickler = pickle.Pickler(data, pickle.HIGHEST_PROTOCOL)
        pickler.dispatch_table = _REDUCERS
        pickler.dump(message)
        return REQUEST_PREFIX.pack(data.tell()) + data.getvalue()


@lru_cache(256)  # tasks share few Plans; pickling one takes longer than all else that the front does to send a task
def _serialize_plan(plan: Plan) -> bytes:
    return pickle.dumps(plan, pickle.HIGHEST_PROTOCOL)


@lru_cache(256)
def parse_plan(data: bytes) -> Plan:
    """The Plan from the bytes of _serialize_plan(). pickle calls this function while it loads a message."""
    plan: Plan = pickle.loads(data)  # noqa: S301 - part of a message of the front, see parse_request()
    return plan


_REDUCERS = copyreg.dispatch_table | {Plan: lambda plan: (parse_plan, (_serialize_plan(plan),))}
"""The functions that pickle the objects in a message.

The bytes of a Plan are made once for all tasks with this Plan.
"""


def parse_prefix(prefix: bytes, max_body_bytes: int) -> tuple[MessageKind, int, int]:
    """The kind, the header length and the body length in the prefix of a reply. Raises ProtocolError."""
    mark, kind, header, body = REPLY_PREFIX.unpack(prefix)
    if mark != MARK:
        raise ProtocolError("the reply does not begin with the mark")
    if kind not in MessageKind.__members__.values():
        raise ProtocolError(f"unknown reply kind {kind}")
    if header > MAX_HEADER_BYTES:
        raise ProtocolError(f"a header of {header} bytes, at most {MAX_HEADER_BYTES} are allowed")
    allowed = max_body_bytes if kind == MessageKind.RENDERED else _MAX_BODY_BYTES.get(MessageKind(kind), 0)
    if body > allowed:
        raise ProtocolError(f"a body of {body} bytes, at most {allowed} are allowed")
    return MessageKind(kind), header, body


# -------------------------------------------------------------------------------------- the worker's side, blocking


def set_idle_time(end: socket.socket, idle_s: float) -> None:
    """Make receive() call its `on_idle` after each `idle_s` seconds without a message."""
    # Not settimeout(): it would make the socket non-blocking, so that each reply would need a loop around poll().
    end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", *divmod(round(idle_s * 1e6), 1_000_000)))


def receive(end: socket.socket, on_idle: Callable[[], None] = lambda: None) -> tuple[bytes, list[int]] | None:
    """The next message from the front, still serialized, and its descriptors; None if the front has closed the socket.

    `on_idle` is called after each interval of set_idle_time() in which no message has begun.
    """
    while True:
        try:
            first, descriptors, flags, _ = socket.recv_fds(end, CHUNK_BYTES, MAX_SOURCES)
            break
        except BlockingIOError:
            on_idle()
    if not first:
        return None
    if flags & socket.MSG_CTRUNC:
        raise OSError("descriptors were lost on the way")
    data = bytearray(first)
    while len(data) < REQUEST_PREFIX.size or len(data) < REQUEST_PREFIX.size + REQUEST_PREFIX.unpack_from(data)[0]:
        try:
            more = end.recv(CHUNK_BYTES)
        except BlockingIOError:
            continue
        if not more:
            return None
        data += more
    return bytes(memoryview(data)[REQUEST_PREFIX.size :]), descriptors


def parse_request(data: bytes) -> object:
    """The message from the bytes of serialize_request(). May raise any exception, because a pickle can run any code."""
    return pickle.loads(data)  # noqa: S301 - only the front has the other end of the socket, and it is trusted


def send_reply(end: socket.socket, reply: RawReply) -> None:
    """Send the complete reply to the front."""
    head = REPLY_PREFIX.pack(MARK, reply.kind, len(reply.header), len(reply.body)) + reply.header
    if len(reply.body) <= CHUNK_BYTES:  # in one piece, which wakes the front once
        end.sendall(head + reply.body)
    else:
        end.sendall(head)
        end.sendall(reply.body)


def open_sources(descriptors: Sequence[int], lengths: Sequence[int | None]) -> list[FileBytes | None]:
    """The sources that the descriptors refer to, unread; None for each missing source. The caller closes them."""
    rest = iter(descriptors)
    return [None if length is None else FileBytes(next(rest), length) for length in lengths]
