"""Builds policies from the configuration: access, CORS, client addresses, rate limits and allowed hosts.

Every function raises InvalidConfiguration for a setting that it cannot parse.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeVar

from limits.errors import ConfigurationError

from cropmark.config.errors import ConfigIssue, InvalidConfiguration
from cropmark.config.settings import Settings
from cropmark.config.signing_keys import site_keyring
from cropmark.config.site import SiteSettings
from cropmark.dialects import registry
from cropmark.dialects.pixlab.settings import PixLabSettings
from cropmark.security.rate_limit import MemoryLimiter, new_limiter
from cropmark.sources.policy import AllowedHost, HostRule, Policy
from cropmark.web.access import AccessPolicy
from cropmark.web.client_ip import ClientIp
from cropmark.web.cors import CorsPolicy
from cropmark.web.variant_quota import VariantQuota

T = TypeVar("T")

PRODUCTION_VARIANTS_PER_MINUTE: Final = 600
"""Enough for one office to open a page 25 times a minute that shows an image in eight widths and three formats."""

HOST_FIX: Final = "write 127.0.0.1, ::1 or 0.0.0.0"
"""The fix for a host that the server cannot listen on."""


def listen_addresses(settings: Settings) -> tuple[tuple[socket.AddressFamily, str], ...]:
    """The addresses of the configured host, the preferred one first."""
    return _read("host", lambda: _addresses(settings.host), HOST_FIX)


def _addresses(host: str) -> tuple[tuple[socket.AddressFamily, str], ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{host} is not an address of this machine") from error
    return tuple((family, str(at[0])) for family, _, _, _, at in found)


def access_policy(settings: Settings, site: SiteSettings | None = None) -> AccessPolicy:
    """The signatures, presets and widths of a site; None: of the folder, which has signatures only."""
    from_anyone = settings.image_headers_from_anyone
    policy = AccessPolicy(
        site_keyring(settings, site),
        max_source_pixels=settings.max_source_pixels,
        image_headers_from_anyone=not settings.production if from_anyone is None else from_anyone,
    )
    if site is None:
        return policy
    return replace(
        policy,
        presets=site.presets,
        presets_only=site.presets_only,
        parameters=registry.entry(site.dialect).parameter_names,
        allowed_widths=tuple(sorted(site.allowed_widths)),
    )


def cors_policy(settings: Settings, site: SiteSettings | None = None) -> CorsPolicy:
    """The CORS policy of a site, from the server's settings and the site's overrides."""
    origins, policy = settings.cors_origins, settings.cross_origin_resource_policy
    if site is not None:
        origins = origins if site.cors_origins is None else site.cors_origins
        policy = site.cross_origin_resource_policy or policy
    return CorsPolicy(origins, "" if policy == "off" else policy)


def client_ip(settings: Settings) -> ClientIp:
    """Resolves the client address of a request, with the configured proxies trusted."""
    return _read("trusted_proxies", lambda: ClientIp(settings.trusted_proxies), "write 10.0.0.7 or 10.1.0.0/16")


def variant_quota(settings: Settings) -> VariantQuota:
    """The limit on new variants of one image per client."""
    variants = settings.variants_per_minute
    if variants is None:
        variants = PRODUCTION_VARIANTS_PER_MINUTE if settings.production else 0
    return VariantQuota(rate_limiter(settings), variants)


def rate_limiter(settings: Settings) -> MemoryLimiter:
    """The counter of requests: in memory, or in Redis for all servers that share it."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    try:
        return new_limiter(url)
    except ImportError as error:
        issue = ConfigIssue("redis_url", "the Redis client is not installed", "install cropmark[redis]")
        raise InvalidConfiguration((issue,)) from error
    except (ConfigurationError, ValueError) as error:
        issue = ConfigIssue("redis_url", "expected the URL of a Redis server", "write redis://host:6379/0")
        raise InvalidConfiguration((issue,)) from error


def private_hosts(settings: Settings) -> tuple[AllowedHost, ...]:
    """The private addresses and unusual ports that may be fetched from."""
    fix = "write host:port, such as 10.0.0.7:8080"
    return _read("allow_private_hosts", lambda: _each(AllowedHost.read, settings.allow_private_hosts), fix)


def untrusted_policy(settings: Settings) -> Policy:
    """The URLs that may be fetched for clients that name the image themselves."""
    fix = "write hosts such as *.example.com"
    hosts = _read("pixlab_allowed_hosts", lambda: _each(HostRule.read, settings.pixlab_allowed_hosts), fix)
    return Policy(
        allow=private_hosts(settings),
        hosts=hosts,
        open=settings.pixlab_allow_any_host and not hosts,
        limit_bytes=settings.section(PixLabSettings).max_source_bytes,
        connect_s=3.0,
        total_s=8.0,
    )


def _each(read: Callable[[str], T], texts: Iterable[str]) -> tuple[T, ...]:
    return tuple(read(text) for text in texts)


def _read(name: str, parse: Callable[[], T], fix: str) -> T:
    try:
        return parse()
    except ValueError as error:
        raise InvalidConfiguration((ConfigIssue(name, str(error), fix),)) from error
