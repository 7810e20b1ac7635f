"""Parses the `source` of a site: a folder, an origin on the web, a bucket, or the library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cropmark.sources.policy import HostRule

LIBRARY: Final = "library"
"""The text that selects the library. A folder with this name is written `./library`."""


@dataclass(frozen=True, slots=True)
class FolderSpec:
    """A folder as the source of images. Parsing does not check that the folder exists."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class OriginSpec:
    """A web server as the source of images. The path of a request is appended to `url`."""

    url: str
    """Scheme in lower case, host, optional port and path; never a user name, a password or a query."""
    rule: HostRule
    """The rule that allows the URLs below `url` only."""

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class BucketSpec:
    """A bucket as the source of images. The path of a request is appended to `prefix`."""

    scheme: str
    """s3, gs, or az."""
    bucket: str
    """The name of the bucket; for Azure, the name of the container."""
    prefix: str = ""
    """The common beginning of all object names, without slashes at its ends; empty for the whole bucket."""

    @property
    def store_url(self) -> str:
        """The URL of the whole bucket."""
        return f"{self.scheme}://{self.bucket}"

    def __str__(self) -> str:
        return f"{self.store_url}/{self.prefix}".rstrip("/")


@dataclass(frozen=True, slots=True)
class LibrarySpec:
    """The server's own library as the source of images."""

    def __str__(self) -> str:
        return LIBRARY


SourceSpec = FolderSpec | OriginSpec | BucketSpec | LibrarySpec

_BUCKET: Final = re.compile(r"(s3|gs|az)://([A-Za-z0-9][A-Za-z0-9._-]*)(?:/([^?#\\\x00-\x1f\x7f]*))?", re.IGNORECASE)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def parse_source(text: str) -> SourceSpec:
    """Parse the source of a site. Raises ValueError, with a text that does not contain the URL."""
    if text == LIBRARY:
        return LibrarySpec()
    url = re.sub(r"^https?://", lambda scheme: scheme[0].lower(), text, flags=re.IGNORECASE)
    if not url.startswith(("http://", "https://")):
        return _bucket(text) if _SCHEME.match(text) else FolderSpec(Path(text).expanduser())
    try:
        rule = HostRule.read(url)
    except ValueError:
        # "from None": the text of the cause quotes the URL, which may hold a password.
        raise ValueError(
            "expected the URL of an origin: a scheme, a host, optionally a port and a path, and nothing else"
        ) from None
    if "*" in url:
        raise ValueError("expected the URL of one origin, without *")
    return OriginSpec(url, rule)


def _bucket(text: str) -> BucketSpec:
    """Parse the URL of a bucket. Raises ValueError, with a text that does not contain the URL."""
    found = _BUCKET.fullmatch(text)
    prefix = (found[3] or "").strip("/") if found is not None else ""
    if found is None or (prefix and any(segment in ("", ".", "..") for segment in prefix.split("/"))):
        raise ValueError(
            "expected a folder, the https:// URL of an origin, or a bucket: s3://bucket/prefix, gs://… or az://…"
        )
    return BucketSpec(found[1].lower(), found[2], prefix)
