"""The fields of log lines that identify a request, and the ids that a trusted proxy gives."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from cropmark.web.client_ip import ClientIp
from cropmark.web.log_fields import MAX_FIELD, request_fields, request_ids
from tests.web.asgi_client import FakePipeline, app_of, respond

PROXY, OTHER = "10.0.0.7", "203.0.113.9"
WIDE = b"/fastly/a.jpg?width=9"


def scope(peer: str, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
    return {"client": (peer, 1234), "headers": list(headers)}


# fmt: off
IDS = [
    # trusted    peer   X-Request-Id                          taken
    ((PROXY,),   PROXY, [b"4f2a-99.B_c"],                     True),
    ((PROXY,),   PROXY, [b"Root=1-67891233-abcdef012345678"], True),   # Amazon's
    ((PROXY,),   PROXY, [b"a" * 128],                         True),
    ((PROXY,),   PROXY, [b"a" * 129],                         False),
    ((PROXY,),   PROXY, [b""],                                False),
    ((PROXY,),   PROXY, [b"a b"],                             False),
    ((PROXY,),   PROXY, [b"a\x1b[31m"],                       False),
    ((PROXY,),   PROXY, [b"a\n"],                             False),
    ((PROXY,),   PROXY, [b"a", b"b"],                         False),
    ((PROXY,),   OTHER, [b"4f2a"],                            False),
    ((),         PROXY, [b"4f2a"],                            False),
]
# fmt: on


@pytest.mark.parametrize(("trusted", "peer", "ids", "taken"), IDS)
def test_ids_of_trusted_proxies(trusted: tuple[str, ...], peer: str, ids: list[bytes], taken: bool) -> None:
    found = request_ids(ClientIp(trusted))(scope(peer, *((b"x-request-id", value) for value in ids)))
    assert (found == ids[0].decode("latin-1")) == taken
    assert found.isascii()
    assert found.isprintable()


def test_ids_of_the_server_differ() -> None:
    for id_of in (request_ids(ClientIp()), request_ids(ClientIp([PROXY]))):
        assert id_of(scope(PROXY)) != id_of(scope(PROXY))


def test_fields() -> None:
    headers = [(b"host", b"img.example"), (b"user-agent", b"Agent/1.0"), (b"x-forwarded-for", b"2001:db8::7")]
    fields = request_fields(scope(PROXY, *headers), ClientIp([PROXY]))
    assert fields == {"client": "2001:db8::7", "host": "img.example", "user_agent": "Agent/1.0"}
    assert request_fields(scope(OTHER, *headers), ClientIp([PROXY]))["client"] == OTHER


def test_fields_are_bounded_and_clean() -> None:
    """No line breaks and no control sequences for terminals."""
    headers = [(b"host", b"a\x1b]0;x\x07"), (b"user-agent", b"a\nlevel=info " + b"\xff" * 999)]
    fields = request_fields(scope("", *headers), ClientIp())
    assert fields["client"] == "unknown"
    assert fields["host"] == "a?]0;x?"
    assert fields["user_agent"] == ("a?level=info " + "?" * 999)[:MAX_FIELD]


# fmt: off
LINES = [
    # pipeline                        request
    (FakePipeline(),                  WIDE),                        # a miss
    (FakePipeline(always_hit=True),   WIDE),
    (FakePipeline(),                  b"/fastly/a.jpg?width=x"),    # an error of a site
    (FakePipeline(),                  b"/fastly/a b.jpg"),          # before a site is known
]
# fmt: on


@pytest.mark.parametrize(("pipeline", "target"), LINES)
def test_the_id_of_a_proxy_is_logged_and_returned(pipeline: FakePipeline, target: bytes) -> None:
    app = app_of(pipeline, access_log="all", client_ip=ClientIp(["192.0.2.1"]))
    headers = ((b"x-request-id", b"from-the-proxy"), (b"x-forwarded-for", OTHER.encode()), (b"user-agent", b"Agent/1"))
    for _ in range(2):  # the second one by the memo
        with structlog.testing.capture_logs() as logs:
            reply = respond(app, target, headers=headers)
        (line,) = (line for line in logs if line["event"] == "request")
        assert reply.header("x-request-id") == line["id"] == "from-the-proxy"
        assert (line["client"], line["user_agent"]) == (OTHER, "Agent/1")
        assert "host" in line
