"""check_18: sources, overlays, originals and their renewal all go through one fetcher, since nothing else can fetch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import cropmark

ROOT = Path(cropmark.__file__).parent

# fmt: off
OPENS_CONNECTIONS = {
    "socket", "ssl", "socketserver", "aiohttp", "httpx", "requests", "urllib3", "urllib.request", "http.client",
    "ftplib", "smtplib", "poplib", "imaplib", "xmlrpc", "websockets", "pycurl", "obstore",
}
CALLS = {"open_connection", "create_connection", "sock_connect", "open_unix_connection", "create_datagram_endpoint"}

MAY = {
    # module              why it may
    "sources/connection.py":  "the guard itself",
    "sources/fetcher.py":    "the one fetcher, behind the guard",
    "renderers/":             "socketpairs to its own child processes",
    "server/http_server.py":      "connects to itself, to see that it accepts connections",
    "server/run.py":              "names the type of the sockets that all fronts share; opens none",
    "server/listening.py":         "looks up and listens on the configured addresses; connects to its own socket only",
    "cli/main.py":                 "an operator's commands to the operator's own server",
    "cli/operate.py":              "an operator's commands to the operator's own server",
    "cli/requests.py":             "an operator's commands to the operator's own server",
    "server/fronts.py":            "names the type of the sockets that all fronts share; opens none",
    "server/supervisor.py":        "a socketpair to itself, for signals",
    "replay/":                     "an operator's commands, for the URLs on their command lines and in their lists",
    "runtime/connections.py":      "limits connections that clients opened",
    # Buckets: only the configuration names them, and a client's path is a key below a prefix.
    "runtime/object_store.py":     "opens the stores that the configuration names",
    "library/bucket.py":           "the library's store",
    "sources/objects.py":          "the bucket of a site",
    "caches/":                     "the shared cache's store",
    "fleet/":                      "Redis and the API of the CDN, which the configuration names",
    "batch/":                       "an operator's command: stores results, and connects to the operator's cluster",
    "server/shared_cache.py":      "the check of the shared cache",
}
# fmt: on


def connecting_names(text: str) -> list[str]:
    """The imports and calls in a module that open connections."""
    return sorted({found for node in ast.walk(ast.parse(text)) for found in _found(node)})


def _found(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Import(names):
            named = [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), names=names, level=0):
            named = [module, *(f"{module}.{alias.name}" for alias in names)]
        case ast.Attribute(attr=word) if word in CALLS:
            yield word
            return
        case _:
            return
    for name in named:
        yield from (each for each in OPENS_CONNECTIONS if name == each or name.startswith(f"{each}."))


MODULES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


@pytest.mark.parametrize("module", [m for m in MODULES if not m.startswith(tuple(MAY))])
def test_no_other_module_opens_connections(module: str) -> None:
    """check_18"""
    assert connecting_names((ROOT / module).read_text("utf-8")) == []


def test_the_fetcher_does() -> None:
    assert connecting_names((ROOT / "sources/fetcher.py").read_text("utf-8")) == ["aiohttp"]
    assert {"aiohttp", "socket"} <= set(connecting_names((ROOT / "sources/connection.py").read_text("utf-8")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("import socket", ["socket"]),
        ("def f():\n    from urllib import request", ["urllib.request"]),
        ("import urllib.request as r", ["urllib.request"]),
        ("from http.client import HTTPConnection", ["http.client"]),
        ("import asyncio\nasync def f(): await asyncio.open_connection('a', 1)", ["open_connection"]),
        ("from urllib.parse import quote\nfrom http import HTTPStatus\nimport socketlike", []),
        ("from . import socket", []),
    ],
)
def test_what_counts(text: str, expected: list[str]) -> None:
    assert connecting_names(text) == expected
