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
    "ftplib", "smtplib", "poplib", "imaplib", "xmlrpc", "websockets", "pycurl",
}
CALLS = {"open_connection", "create_connection", "sock_connect", "open_unix_connection", "create_datagram_endpoint"}

MAY = {
    # module              why it may
    "sources/connection.py":  "the guard itself",
    "sources/fetcher.py":    "the one fetcher, behind the guard",
    "renderers/":             "socketpairs to its own child processes",
    "server/run.py":             "listens, and requests its own health",
    "server/policies.py":              "looks up the addresses to listen on; opens no connection",
    "cli/main.py":                 "an operator's commands to the operator's own server",
    "replay/compare.py":           "an operator's command, for the URLs on its command line",
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
