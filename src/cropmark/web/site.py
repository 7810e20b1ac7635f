"""A site: a host name or a path prefix, bound to one dialect and one source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cropmark.dialects.dialect import Dialect
from cropmark.ports import Source
from cropmark.web.access import AccessPolicy
from cropmark.web.cors import CorsPolicy
from cropmark.web.routing import Mount, Router


@dataclass(frozen=True, slots=True)
class CacheLifetimes:
    """Cache-Control max-age for clients and shared caches, in seconds."""

    max_age_s: int = 3600
    versioned_s: int = 31_536_000
    """For a URL that contains a version."""


@dataclass(frozen=True, slots=True)
class MissRate:
    """Limit of cache misses per second, counted under `key`; 0: no limit."""

    key: str = ""
    per_s: int = 0


@dataclass(frozen=True, slots=True)
class Site:
    """A dialect, the source of its images, and the URLs that it serves."""

    name: str
    dialect: Dialect
    source: Source
    mount: Mount = field(default_factory=Mount)
    lifetimes: CacheLifetimes = CacheLifetimes()
    miss_rate: MissRate = MissRate()
    access: AccessPolicy = field(default_factory=AccessPolicy)
    cors: CorsPolicy = field(default_factory=CorsPolicy)

    @property
    def prefix(self) -> str:
        return self.mount.prefix

    @property
    def hosts(self) -> tuple[str, ...]:
        return self.mount.hosts


class Sites(Router[Site]):
    """All sites of a server, in order of precedence."""

    def __init__(self, sites: Iterable[Site]) -> None:
        super().__init__((site.mount, site) for site in sites)
