"""Builds policies from settings: access, CORS, client addresses, rate limits and allowed hosts.

All functions raise InvalidConfiguration for a setting that they cannot parse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, TypeVar

from limits.errors import ConfigurationError

from cropmark.config.addresses import socket_path
from cropmark.config.errors import ConfigIssue, InvalidConfiguration
from cropmark.config.settings import Settings
from cropmark.config.signing_keys import site_keyring
from cropmark.config.site import SiteSettings
from cropmark.dialects import registry
from cropmark.dialects.pixlab.settings import PixLabSettings
from cropmark.ports import Limiter
from cropmark.security.rate_limit import MemoryLimiter, new_limiter
from cropmark.sources.policy import AllowedHost, HostRule, Policy
from cropmark.web.access import AccessPolicy
from cropmark.web.client_ip import ClientIp
from cropmark.web.cors import CorsPolicy
from cropmark.web.sending import BodySender, CutConnection, SendLimits
from cropmark.web.variant_quota import VariantQuota

UNTRUSTED_FETCH_S: Final = 8.0
"""Timeout of the whole fetch of an image that a client names."""

T = TypeVar("T")

PRODUCTION_VARIANTS_PER_MINUTE: Final = 600
"""Default limit in production: one office can open a page 25 times a minute that shows an image in eight widths and
three formats."""


def access_policy(settings: Settings, site: SiteSettings | None = None) -> AccessPolicy:
    """The access policy of a site. `site` None: a default site, which has no presets and no allowed widths."""
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
    """The CORS policy of a site: the server's settings, overridden by those of the site."""
    origins, policy = settings.cors_origins, settings.cross_origin_resource_policy
    if site is not None:
        origins = origins if site.cors_origins is None else site.cors_origins
        policy = site.cross_origin_resource_policy or policy
    return CorsPolicy(origins, "" if policy == "off" else policy)


def client_ip(settings: Settings) -> ClientIp:
    """The object that determines the client address of a request. It trusts the configured proxies."""
    return _read("trusted_proxies", lambda: _client_ip(settings), "write 10.0.0.7 or 10.1.0.0/16")


def _client_ip(settings: Settings) -> ClientIp:
    return ClientIp(settings.trusted_proxies, trusts_socket=socket_path(settings.host) is not None)


def body_sender(settings: Settings, cut: CutConnection) -> BodySender:
    """The object that sends response bodies within the configured limits."""
    limits = SendLimits(settings.write_timeout_s, settings.max_sending_bytes, settings.max_connections_per_client)
    return BodySender(limits, client_ip(settings), cut)


def variant_quota(settings: Settings, limiter: Limiter) -> VariantQuota:
    """The limit on new variants of one image that a client can request in a minute."""
    variants = settings.variants_per_minute
    if variants is None:
        variants = PRODUCTION_VARIANTS_PER_MINUTE if settings.production else 0
    return VariantQuota(limiter, variants)


def rate_limiter(settings: Settings) -> MemoryLimiter:
    """The object that counts requests for rate limits: in Redis if configured, else in memory."""
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
    """The hosts with private addresses or unusual ports from which images may be fetched."""
    fix = "write host:port, such as 10.0.0.7:8080"
    return _read("allow_private_hosts", lambda: _each(AllowedHost.read, settings.allow_private_hosts), fix)


def untrusted_policy(settings: Settings) -> Policy:
    """The policy for fetching images from URLs that clients send."""
    fix = "write hosts such as *.example.com"
    hosts = _read("pixlab_allowed_hosts", lambda: _each(HostRule.read, settings.pixlab_allowed_hosts), fix)
    return Policy(
        allow=private_hosts(settings),
        hosts=hosts,
        open=settings.pixlab_allow_any_host and not hosts,
        limit_bytes=settings.section(PixLabSettings).max_source_bytes,
        connect_s=3.0,
        total_s=UNTRUSTED_FETCH_S,
    )


def _each(read: Callable[[str], T], texts: Iterable[str]) -> tuple[T, ...]:
    return tuple(read(text) for text in texts)


def _read(name: str, parse: Callable[[], T], fix: str) -> T:
    try:
        return parse()
    except ValueError as error:
        raise InvalidConfiguration((ConfigIssue(name, str(error), fix),)) from error
