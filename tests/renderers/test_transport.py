"""The framing of messages on the socket between the front and a worker."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.model.values import Pixels
from cropmark.plan.plan import Plan
from cropmark.plan.steps import Resize
from cropmark.renderers import transport
from cropmark.renderers.tasks import Message, Render
from cropmark.renderers.transport import REPLY_PREFIX, REQUEST_PREFIX, MessageKind, ProtocolError, RawReply

# fmt: off
LENGTHS = [
    # mark     kind  header  body
    (b"crop",  2,    10,     500),
    (b"crop",  6,    10,     0),
    (b"crop",  1,    262144, 0),
]
REFUSALS = [
    (b"corp",  2,    10,     10,       "does not begin with the mark"),
    (b"crop",  0,    10,     10,       "unknown reply kind 0"),
    (b"crop",  99,   10,     10,       "unknown reply kind 99"),
    (b"crop",  2,    262145, 10,       "a header of 262145"),
    (b"crop",  2,    10,     1001,     "a body of 1001"),
    (b"crop",  2,    10,     2**64 - 1, "a body of"),
    (b"crop",  4,    10,     1,        "a body of 1"),        # only RENDERED and ANALYSIS have a body
]
# fmt: on


@pytest.mark.parametrize(("mark", "kind", "header", "body"), LENGTHS)
def test_prefixes(mark: bytes, kind: int, header: int, body: int) -> None:
    assert transport.parse_prefix(REPLY_PREFIX.pack(mark, kind, header, body), 1000) == (kind, header, body)


@pytest.mark.parametrize(("mark", "kind", "header", "body", "words"), REFUSALS)
def test_invalid_prefixes(mark: bytes, kind: int, header: int, body: int, words: str) -> None:
    with pytest.raises(ProtocolError, match=words):
        transport.parse_prefix(REPLY_PREFIX.pack(mark, kind, header, body), 1000)


@given(st.binary(min_size=REPLY_PREFIX.size, max_size=REPLY_PREFIX.size))
def test_any_prefix_is_parsed_or_rejected(prefix: bytes) -> None:
    try:
        _, header, body = transport.parse_prefix(prefix, 1000)
    except ProtocolError:
        return
    assert header <= transport.MAX_HEADER_BYTES
    assert body <= 1000


def test_tasks_with_one_plan_share_it() -> None:
    """A Plan is serialized and parsed once for all of its tasks."""
    task = Render(Plan((Resize(Pixels(Fraction(300)), None),)))
    messages = [Message(replace(task, cached_name=name), (100,), 2**24) for name in ("one", "two")]
    received = [transport.parse_request(transport.serialize_request(each)[REQUEST_PREFIX.size :]) for each in messages]
    assert received == messages
    one, two = (each.task for each in received if isinstance(each, Message))
    assert isinstance(one, Render)
    assert isinstance(two, Render)
    assert one.plan is two.plan


def test_a_message_arrives_with_its_descriptors(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    (tmp_path / "a").write_bytes(b"content")
    descriptor = os.open(tmp_path / "a", os.O_RDONLY)
    with ours, theirs:
        socket.send_fds(ours, [transport.serialize_request(("a task", 1))], [descriptor, descriptor])
        received = transport.receive(theirs)
        assert received is not None
        message, descriptors = received
        assert transport.parse_request(message) == ("a task", 1)
        one, none, two = transport.open_sources(descriptors, (7, None, 7))
        assert one is not None
        assert none is None
        assert two is not None
        assert (one.read(), two.read()) == (b"content", b"content")
        one.close()
        two.close()
        for closed in descriptors:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(closed)
        ours.close()
        assert transport.receive(theirs) is None
    os.close(descriptor)


@pytest.mark.parametrize(("length", "expected"), [(7, b"content"), (3, b"con"), (99, b"content"), (0, b"")])
def test_sources_are_read_up_to_their_length(tmp_path: Path, length: int, expected: bytes) -> None:
    """A file may shrink or grow after it was opened."""
    (tmp_path / "a").write_bytes(b"content")
    (source,) = transport.open_sources([os.open(tmp_path / "a", os.O_RDONLY)], [length])
    assert source is not None
    assert source.read() == expected
    source.close()


def test_a_reply_is_sent_completely() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        transport.send_reply(theirs, RawReply(MessageKind.RENDERED, b"{}", b"body"))
        assert ours.recv(100) == REPLY_PREFIX.pack(b"crop", 2, 2, 4) + b"{}body"
