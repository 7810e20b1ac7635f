"""The fields of a log line that identify a request: its client, host, user agent, id and trace."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from cropmark.runtime import tracing
from cropmark.web.client_ip import ClientIp
from cropmark.web.request import Scope, request_id

MAX_FIELD: Final = 256
"""Largest number of characters of a header that are logged."""
_GOOD_ID: Final = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:+/=-]{0,127}", re.ASCII)

RequestId = Callable[[Scope], str]
"""Returns the id of a request."""


def request_ids(client_ip: ClientIp) -> RequestId:
    """A function that returns the id of a request.

    The id is the X-Request-Id of a trusted proxy if that is well-formed, else a new one.
    """
    if not client_ip.trusts_proxies:
        return _new_id

    def id_of(scope: Scope) -> str:
        given: list[bytes] = [value for name, value in scope["headers"] if name == b"x-request-id"]
        if len(given) == 1 and _GOOD_ID.fullmatch(given[0]) and client_ip.is_trusted_proxy(scope):
            return given[0].decode("ascii")
        return request_id()

    return id_of


def _new_id(_: Scope) -> str:
    return request_id()


def request_fields(scope: Scope, client_ip: ClientIp) -> dict[str, str]:
    """The log fields of a request: client address, host, user agent, and the trace id if there is one."""
    headers = dict(scope["headers"])
    trace = tracing.trace_id()
    return {
        "client": client_ip.address(scope),
        "host": _clean(headers.get(b"host", b"")),
        "user_agent": _clean(headers.get(b"user-agent", b"")),
        **({"trace_id": trace} if trace else {}),
    }


def _clean(value: bytes) -> str:
    """A header value for the log: at most MAX_FIELD characters, with `?` for each control or non-ASCII byte."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in value[:MAX_FIELD])
