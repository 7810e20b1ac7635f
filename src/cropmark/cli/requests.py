"""Sends HTTP requests to a running server, at its URL or on its Unix domain socket."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.request import HTTPHandler, OpenerDirector, ProxyHandler, Request, build_opener

from cropmark.config.addresses import socket_path


def open_path(
    server: str, path: str, *, timeout_s: float, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Any:
    """Request `path` from a server and return the open response. `server` is a URL, or `unix:/path` for a socket.

    With a `body`, the request is a POST. Raises HTTPError for an error response, OSError or HTTPException if the server
    does not respond, and ValueError for an invalid URL.
    """
    socket_file = socket_path(server)
    url = f"{'http://localhost' if socket_file else server.rstrip('/')}{path}"
    opener = _socket_opener(str(socket_file)) if socket_file else build_opener()
    request = Request(url, body, dict(headers or {}))  # noqa: S310 - the operator's own server
    return opener.open(request, timeout=timeout_s)


def _socket_opener(path: str) -> OpenerDirector:
    class Connection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(path)

    class Handler(HTTPHandler):
        def http_open(self, req: Request) -> HTTPResponse:
            return self.do_open(Connection, req)

    return build_opener(ProxyHandler({}), Handler())
