"""Decides which site or endpoint serves a URL. Pure functions.

A mount without hosts serves every host. If several mounts match a URL, a mount with hosts takes precedence over one
without hosts; then a longer prefix over a shorter prefix; then a mount with a path pattern over one without.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


OPERATOR_PATHS = ("/healthz", "/readyz", "/metrics")
"""Paths of monitoring. They are served before any site with the same path."""
ADMIN_PREFIX = "/admin"
INFO_PREFIX = "/_info"
"""This prefix with the path of an image is the URL of the document about the image."""


PAGE_PATHS = ("/_explain", "/_explain.png", "/_sign-in", "/_playground")
"""Paths of pages for people. They are served before any site with the same path."""
_PREFIXES = (f"{ADMIN_PREFIX}/", "/_static/", "/_playground/")


def is_operator_path(raw_path: bytes) -> bool:
    """True for the paths of monitoring, administration and pages. On every host, they take precedence over sites."""
    path = raw_path.decode("latin-1")
    return path in OPERATOR_PATHS or path in PAGE_PATHS or path.startswith(_PREFIXES)


@dataclass(frozen=True, slots=True)
class Mount:
    """The URLs that a site or an endpoint serves: paths below a prefix, on all hosts or on some."""

    prefix: str = ""
    """Begins with a slash and does not end with one; empty: the whole host."""
    hosts: tuple[str, ...] = ()
    """Host names in lower case, without ports; empty: every host that is not in `excluded_hosts`."""
    excluded_hosts: tuple[str, ...] = ()
    paths: re.Pattern[str] | None = None
    """Matched at the start of the path below the prefix; None: every path."""

    @classmethod
    def configured(cls, prefix: str, hosts: Iterable[str] = ()) -> Mount:
        """The mount for a prefix that may end with a slash, and for hosts that may have capitals."""
        return cls(prefix.rstrip("/"), tuple(host.lower() for host in hosts))

    @property
    def precedence(self) -> tuple[bool, int, bool]:
        """The sort key of mounts. A URL is served by the matching mount with the smallest key."""
        return not self.hosts, -len(self.prefix), self.paths is None

    def rest(self, host: str, path: str) -> str | None:
        """The path below the prefix, without a leading slash; None if this mount does not serve the URL.

        `host` is a result of host_name(); `path` begins with a slash and is percent-encoded.
        """
        if self.hosts and host not in self.hosts:
            return None
        if host in self.excluded_hosts or not path.startswith(self.prefix + "/"):
            return None
        rest = path[len(self.prefix) + 1 :]
        return rest if self.paths is None or self.paths.match(rest) else None


class Router(Generic[T]):
    """Finds the site or endpoint that serves a URL. Mounts are tried in order of precedence."""

    def __init__(self, mounts: Iterable[tuple[Mount, T]]) -> None:
        self._mounts = sorted(mounts, key=lambda mounted: mounted[0].precedence)

    def __iter__(self) -> Iterator[T]:
        return (value for _, value in self._mounts)

    def find(self, host: str, path: str) -> tuple[T, str] | None:
        """The site or endpoint that serves the URL, and the path below its prefix; None if no mount matches."""
        for mount, value in self._mounts:
            rest = mount.rest(host, path)
            if rest is not None:
                return value, rest
        return None


def host_name(host: str) -> str:
    """The host of a Host header or of a URL's authority, without its port, in lower case."""
    name = host.rsplit(":", 1)[0] if not host.endswith("]") and host.rsplit(":", 1)[-1].isdigit() else host
    return name.lower().rstrip(".")
