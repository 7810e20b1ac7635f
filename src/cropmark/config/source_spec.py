"""The `source` of a site: a folder, an origin on the web, or the library; parsed here and nowhere else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cropmark.sources.policy import HostRule

LIBRARY: Final = "library"
"""The source that names the library; a folder of that name is written `./library`."""


@dataclass(frozen=True, slots=True)
class FolderSpec:
    """Images are files below a folder. Parsing does not check that it exists."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)


@dataclass(frozen=True, slots=True)
class OriginSpec:
    """Images are fetched from a web server; the path of a request is appended to `url`."""

    url: str
    """Scheme in lower case, host, optional port and path; never a user name, a password or a query."""
    rule: HostRule
    """Admits the URLs below `url`."""

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class LibrarySpec:
    """Images are assets of the server's own library."""

    def __str__(self) -> str:
        return LIBRARY


SourceSpec = FolderSpec | OriginSpec | LibrarySpec


def parse_source(text: str) -> SourceSpec:
    """The source that a configuration names. Raises ValueError, without the URL in its text."""
    if text == LIBRARY:
        return LibrarySpec()
    url = re.sub(r"^https?://", lambda scheme: scheme[0].lower(), text, flags=re.IGNORECASE)
    if not url.startswith(("http://", "https://")):
        return FolderSpec(Path(text).expanduser())
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
