"""A site: a host name or a path prefix, bound to one dialect and one source."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from cropmark.dialects.dialect import Dialect
from cropmark.ports import Source
from cropmark.web.access import AccessPolicy
from cropmark.web.cors import CorsPolicy


@dataclass(frozen=True, slots=True)
class CacheLifetimes:
    """What clients and shared caches are told, in seconds."""

    max_age_s: int = 3600
    versioned_s: int = 31_536_000
    """Where the URL names a version."""


@dataclass(frozen=True, slots=True)
class MissRate:
    """How many requests a second may miss the cache, counted under `key`; 0 switches it off."""

    key: str = ""
    per_s: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """Where a dialect is spoken and over what.

    `hosts` empty: any host. `prefix` begins with a slash and has none at its end; empty: the whole host.
    """

    name: str
    dialect: Dialect
    source: Source
    prefix: str = ""
    hosts: tuple[str, ...] = ()
    lifetimes: CacheLifetimes = CacheLifetimes()
    miss_rate: MissRate = MissRate()
    access: AccessPolicy = field(default_factory=AccessPolicy)
    cors: CorsPolicy = field(default_factory=CorsPolicy)
    paths: re.Pattern[str] | None = None
    """What a path below the prefix must begin like; None: anything."""

    def rest_of(self, host: str, path: str) -> str | None:
        """What the path names below the site, without a leading slash; None: the request is not for this site."""
        if self.hosts and host not in self.hosts:
            return None
        if not path.startswith(self.prefix + "/"):
            return None
        rest = path[len(self.prefix) + 1 :]
        return rest if self.paths is None or self.paths.match(rest) else None


class Sites:
    """All sites of a server; a host's own come before those of any host, longer prefixes before shorter ones.

    Of those with one prefix, sites that are particular about paths come first.
    """

    def __init__(self, sites: Iterable[Site]) -> None:
        self._sites = sorted(sites, key=lambda s: (not s.hosts, -len(s.prefix), s.paths is None))

    def __iter__(self) -> Iterator[Site]:
        return iter(self._sites)

    def find(self, host: str, path: str) -> tuple[Site, str] | None:
        """The site a request is for and what its path names there. `host` without a port, in lower case."""
        for site in self._sites:
            rest = site.rest_of(host, path)
            if rest is not None:
                return site, rest
        return None
