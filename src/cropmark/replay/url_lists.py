"""Reads lists of URLs for warming: lines of text, a sitemap, or a manifest, from a file, standard input or a URL."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from http.client import HTTPException
from io import BytesIO
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from urllib.request import Request, urlopen
from xml.etree import ElementTree

from cropmark.manifest import is_manifest, parse_manifest
from cropmark.model.problems import BadRequest

MAX_SITEMAP_BYTES: Final = 50 * 2**20
"""Size of the largest sitemap that is read, uncompressed. Source: https://www.sitemaps.org/protocol.html"""
MAX_SITEMAPS: Final = 1000
MAX_URLS: Final = 1_000_000
"""Largest number of URLs in a list, or in all sitemaps of an index together."""
MAX_LIST_BYTES: Final = 256 * 2**20
"""Size of the largest file, and of standard input."""
_TIMEOUT_S: Final = 30.0
_GZIP: Final = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Sitemap:
    """The content of a sitemap: `urls` of images or pages, or for a sitemap index the URLs of its `sitemaps`."""

    urls: tuple[str, ...]
    sitemaps: tuple[str, ...]


def read_urls(name: str) -> list[str]:
    """The distinct URLs and paths in a list, in its order. Raises BadRequest, and OSError if a file cannot be read.

    `name` is a file, `-` for standard input, or the URL of a list. The list's content decides its format.
    """
    found: dict[str, None] = {}
    for url in _urls(_text(_read(name), name), name):
        found[url] = None
        if len(found) > MAX_URLS:
            raise BadRequest(f"{name} has more than {MAX_URLS:,} URLs", fix="split the list")
    if not found:
        raise BadRequest(f"{name} has no URLs", fix="write one URL per line, or name a sitemap or a manifest")
    return list(found)


def parse_sitemap(text: str) -> Sitemap:
    """The URLs of the images in a sitemap; of its pages if it has no images; of the sitemaps in a sitemap index.

    Raises ValueError if the text is not a sitemap.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:  # entities may expand without bound; a sitemap has none
        raise ValueError("a sitemap has no DOCTYPE")
    found: dict[str, list[str]] = {"url": [], "image": [], "sitemap": []}
    try:
        for _, parent in ElementTree.iterparse(BytesIO(text.encode())):  # noqa: S314 - entities need a DOCTYPE
            if (kind := _local(parent.tag)) in found:
                found[kind] += [child.text.strip() for child in parent if _local(child.tag) == "loc" and child.text]
                parent.clear()  # the tree of a large sitemap takes ten times the memory of its text
    except (ElementTree.ParseError, LookupError) as error:  # LookupError: an unknown encoding
        raise ValueError(str(error)) from error
    return Sitemap(tuple(found["image"] or found["url"]), tuple(found["sitemap"]))


def _urls(text: str, name: str) -> Iterator[str]:
    first = text.lstrip("\ufeff \t\r\n").partition("\n")[0]
    if first.startswith("<"):
        yield from _sitemap_urls(text, name)
    elif is_manifest(first):
        yield from (entry.url for entry in parse_manifest(text.splitlines()))
    else:
        for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
            if (url := line.strip()) and not url.startswith("#"):
                yield _checked(url, f"line {number}")


def _sitemap_urls(text: str, name: str) -> Iterator[str]:
    """The URLs in a sitemap, and those in all sitemaps that it names. Fetches these sitemaps. Raises BadRequest."""
    waiting, seen = [name], {name}
    while waiting:
        where = waiting.pop(0)
        if where != name:
            text = _text(_fetch(where), where)
        try:
            sitemap = parse_sitemap(text.lstrip("\ufeff \t\r\n"))
        except ValueError as error:
            raise BadRequest(f"{where} is not a sitemap: {error}", fix="check the file") from error
        yield from (_checked(url, where) for url in sitemap.urls)
        for other in sitemap.sitemaps:
            if other not in seen:
                if len(seen) > MAX_SITEMAPS:
                    raise BadRequest(f"expected at most {MAX_SITEMAPS} sitemaps", fix="name them one by one")
                seen.add(other)
                waiting.append(_checked(other, where))


def _checked(url: str, where: str) -> str:
    """`url`, unchanged. Raises BadRequest unless it is an http or https URL or a path.

    `where` describes the location of the URL for the error message.
    """
    try:
        parts = urlsplit(url)
        is_valid = (parts.scheme in ("http", "https") and bool(parts.hostname)) or url.startswith("/")
    except ValueError:
        is_valid = False
    if not is_valid or not url.isprintable() or " " in url:
        raise BadRequest(f"{where}: expected a URL or a path, got {url[:80]!r}", fix="write https://host/path?query")
    return url


def _read(name: str) -> bytes:
    if name.startswith(("http://", "https://")):
        return _fetch(name)
    with nullcontext(sys.stdin.buffer) if name == "-" else Path(name).open("rb") as file:
        body = file.read(MAX_LIST_BYTES + 1)
    if len(body) > MAX_LIST_BYTES:
        raise BadRequest(f"{name} has more than {MAX_LIST_BYTES} bytes", fix="split the list")
    return body


def _fetch(url: str) -> bytes:
    try:
        request = Request(url, headers={"User-Agent": "cropmark-warm"})  # noqa: S310 - checked: http or https
        with urlopen(request, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the operator's own list
            body: bytes = response.read(MAX_SITEMAP_BYTES + 1)
    except (OSError, HTTPException, ValueError) as error:
        raise BadRequest(f"{url} cannot be fetched: {error}", fix="check the URL") from error
    if len(body) > MAX_SITEMAP_BYTES:
        raise BadRequest(f"{url} has more than {MAX_SITEMAP_BYTES} bytes", fix="split the sitemap")
    return body


def _text(body: bytes, name: str) -> str:
    try:
        if body.startswith(_GZIP):
            with gzip.open(BytesIO(body)) as file:
                body = file.read(MAX_SITEMAP_BYTES + 1)
            if len(body) > MAX_SITEMAP_BYTES:
                raise BadRequest(f"{name} has more than {MAX_SITEMAP_BYTES} bytes", fix="split the sitemap")
        return body.decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadRequest(f"{name} is not text: {error}", fix="write UTF-8") from error


def _local(tag: object) -> str:
    """The name of an XML element without its namespace; empty for comments."""
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""
