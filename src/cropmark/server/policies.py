"""The configuration's guards become values: what requests must pass, who counts as one client, what may be fetched.

Raises BadConfiguration for what cannot be read.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeVar

from limits.errors import ConfigurationError

from cropmark.config.loader import ConfigIssue, InvalidConfiguration, Settings, SiteSettings
from cropmark.config.signing_keys import keyring
from cropmark.security.rate_limit import MemoryLimiter, limiter
from cropmark.sources.policy import AllowedHost, HostRule, Policy
from cropmark.web.access import AccessPolicy
from cropmark.web.client_ip import ClientIp
from cropmark.web.cors import CorsPolicy
from cropmark.web.variant_quota import VariantQuota

T = TypeVar("T")

VARIANTS_IN_PRODUCTION: Final = 600
"""A page that shows one picture in eight widths and three formats may be opened 25 times a minute from one office."""

LISTENING: Final = "write 127.0.0.1, ::1 or 0.0.0.0"
"""The mend of a host that cannot be listened on."""


def addresses_of(settings: Settings) -> tuple[tuple[socket.AddressFamily, str], ...]:
    """The addresses that the server's host stands for, the preferred one first."""
    return _read("host", lambda: _addresses(settings.host), LISTENING)


def _addresses(host: str) -> tuple[tuple[socket.AddressFamily, str], ...]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ValueError(f"{host} is no address of this machine") from error
    return tuple((family, str(at[0])) for family, _, _, _, at in found)


def entrance_of(settings: Settings, one: SiteSettings | None = None) -> AccessPolicy:
    """What a site's requests must pass; those for the folder (None) only the server's keys."""
    entrance = AccessPolicy(keyring(settings, one), most_pixels=settings.max_source_pixels)
    if one is None:
        return entrance
    return replace(entrance, presets=one.presets, presets_only=one.presets_only, widths=tuple(sorted(one.widths)))


def sharing_of(settings: Settings, one: SiteSettings | None = None) -> CorsPolicy:
    """Who else may use a site's answers: the server's settings, and those that differ for it."""
    origins, policy = settings.cors_origins, settings.resource_policy
    if one is not None:
        origins = origins if one.cors_origins is None else one.cors_origins
        policy = one.resource_policy or policy
    return CorsPolicy(origins, "" if policy == "off" else policy)


def clients_of(settings: Settings) -> ClientIp:
    """Who counts as one client."""
    return _read("trusted_proxies", lambda: ClientIp(settings.trusted_proxies), "write 10.0.0.7 or 10.1.0.0/16")


def budget_of(settings: Settings) -> VariantQuota:
    """How many new renditions of one picture a client may ask for."""
    variants = settings.variants_per_minute
    if variants is None:
        variants = VARIANTS_IN_PRODUCTION if settings.production else 0
    return VariantQuota(limiter_of(settings, window_s=60), variants)


def limiter_of(settings: Settings, *, window_s: int = 1) -> MemoryLimiter:
    """What counts requests: for this server alone, or for all that share a Redis."""
    url = settings.redis_url.get_secret_value() if settings.redis_url else ""
    try:
        return limiter(url, window_s=window_s)
    except ImportError as error:
        mistake = ConfigIssue("redis_url", "Redis's client is not installed", "install cropmark[redis]")
        raise InvalidConfiguration((mistake,)) from error
    except (ConfigurationError, ValueError) as error:
        raise InvalidConfiguration(
            (ConfigIssue("redis_url", "this is no URL of a Redis", "write redis://host:6379/0"),)
        ) from error


def allowed(settings: Settings) -> tuple[AllowedHost, ...]:
    """The private places that the web source may reach."""
    return _read(
        "web_allow", lambda: _each(AllowedHost.read, settings.web_allow), "write host:port, such as 10.0.0.7:8080"
    )


def foreign_policy(settings: Settings) -> Policy:
    """What may be fetched for callers who name pictures themselves."""
    hosts = _read("web_hosts", lambda: _each(HostRule.read, settings.web_hosts), "write hosts such as *.example.com")
    return Policy(
        allow=allowed(settings),
        hosts=hosts,
        open=settings.web_open and not hosts,
        limit_bytes=settings.pixlab.source_bytes,
        connect_s=3.0,
        total_s=8.0,
    )


def _each(read: Callable[[str], T], texts: Iterable[str]) -> tuple[T, ...]:
    return tuple(read(text) for text in texts)


def _read(name: str, reading: Callable[[], T], mend: str) -> T:
    try:
        return reading()
    except ValueError as error:
        raise InvalidConfiguration((ConfigIssue(name, str(error), mend),)) from error
