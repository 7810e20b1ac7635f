"""A site: a host name or a path prefix, bound to one dialect and one source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from cropmark.dialects.dialect import Dialect
from cropmark.model.formats import Colors
from cropmark.plan.plan import Order
from cropmark.ports import Source
from cropmark.web.access import AccessPolicy
from cropmark.web.cors import CorsPolicy
from cropmark.web.routing import Mount, Router


@dataclass(frozen=True, slots=True)
class CacheLifetimes:
    """Cache-Control max-age for clients and shared caches, in seconds."""

    max_age_s: int = 3600
    versioned_s: int = 31_536_000
    """max-age for a URL that contains a version."""
    shared_s: int | None = None
    """s-maxage, for shared caches; None: not sent."""
    stale_while_revalidate_s: int | None = None
    """stale-while-revalidate, for all caches; None: not sent."""


@dataclass(frozen=True, slots=True)
class MissRate:
    """A limit on cache misses per second; 0: no limit. Misses are counted together if they have the same `key`."""

    key: str = ""
    per_s: int = 0


@dataclass(frozen=True, slots=True)
class Fallback:
    """The image that replaces a missing or broken image: its path in the site's source, and the status to send."""

    path: str
    status: int = 200


@dataclass(frozen=True, slots=True)
class Site:
    """A site: the URLs that it serves, the dialect that reads them, and the source of its images."""

    name: str
    dialect: Dialect
    source: Source
    mount: Mount = field(default_factory=Mount)
    lifetimes: CacheLifetimes = CacheLifetimes()
    miss_rate: MissRate = MissRate()
    access: AccessPolicy = field(default_factory=AccessPolicy)
    cors: CorsPolicy = field(default_factory=CorsPolicy)
    key_header: str = ""
    """The header with the keys by which a CDN purges: `surrogate-key` or `cache-tag`; empty: not sent."""
    fallback: Fallback | None = None
    """Sent in place of an image that is missing or broken."""
    colors: Colors = Colors.SRGB
    gain_maps: bool = False
    """True: gain maps of JPEGs are preserved."""
    reads_svg: bool = False
    """True: SVGs are drawn."""

    def adapted(self, order: Order) -> Order:
        """The order with the site's limits and settings applied, and a warning for each changed width."""
        order = self.access.constrain(order).with_colors(self.colors, gain_map=self.gain_maps)
        return order.with_svg(is_read=self.reads_svg)

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
