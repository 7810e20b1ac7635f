"""Checks the security of a configuration: errors that prevent a start, warnings, and the checks of doctor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from cropmark.config.addresses import socket_path
from cropmark.config.errors import ConfigIssue
from cropmark.config.settings import Settings
from cropmark.security.signing import KEY_BYTES
from cropmark.sources.policy import HostRule

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
PRODUCTION_SECRET_CHARS: Final = KEY_BYTES
"""Minimum length of a key or token in production."""
MIN_SECRET_CHARS: Final = 15
"""Minimum length of a configured key or token. PixLab's own client rejects shorter keys."""


def errors(settings: Settings) -> Iterator[ConfigIssue]:
    """The errors that prevent a start: short keys, and with `production = true` also missing keys and open hosts.

    The location of each error is the name of its setting.
    """
    if not settings.production:
        for name, secret in _configured_secrets(settings):
            yield from _short_secret(name, secret, MIN_SECRET_CHARS)
        return
    if allows_any_host(settings) and not settings.signing_keys:
        yield ConfigIssue(
            "pixlab_allowed_hosts" if settings.pixlab_allowed_hosts else "pixlab_allow_any_host",
            "images may be fetched from any public host, without signed URLs or an allow list",
            "list hosts in pixlab_allowed_hosts, set pixlab_allow_any_host = false, or set signing_keys",
        )
    if serves_pixlab(settings):
        yield from _short_secret("pixlab_key", settings.pixlab_key, PRODUCTION_SECRET_CHARS)
    if settings.admin_token is not None:
        yield from _short_secret("admin_token", settings.admin_token, PRODUCTION_SECRET_CHARS)
    if settings.metrics_token is not None:
        yield from _short_secret("metrics_token", settings.metrics_token, PRODUCTION_SECRET_CHARS)


def warnings(settings: Settings) -> Iterator[str]:
    """The warnings to log at the start: keys that are too short for production."""
    for name, secret in _configured_secrets(settings):
        if len(secret.get_secret_value()) < PRODUCTION_SECRET_CHARS:
            yield f"{name} has fewer than {PRODUCTION_SECRET_CHARS} characters: production would reject it"


def _configured_secrets(settings: Settings) -> Iterator[tuple[str, SecretStr]]:
    for name in ("pixlab_key", "admin_token", "metrics_token"):
        secret: SecretStr | None = getattr(settings, name)
        if secret is not None:
            yield name, secret


@dataclass(frozen=True, slots=True)
class SecurityCheck:
    """The result of one check of the list in docs/security.md, with the fix if it failed."""

    passed: bool
    message: str
    fix: str = ""


def security_checks(settings: Settings) -> Iterator[SecurityCheck]:
    """The results of those checks in docs/security.md that depend on settings."""
    on = settings.production
    yield SecurityCheck(on, f"production mode is {'on' if on else 'off'}", "set production = true")
    if allows_any_host(settings):
        message = "PixLab's img may name any public host (checks 3, 16)"
        yield SecurityCheck(False, message, "list hosts in pixlab_allowed_hosts")
    else:
        yield SecurityCheck(True, "images are fetched from listed hosts only (checks 3, 16)")
    for name, bound in _variant_bounds(settings):
        fix = "set signing_keys, or presets and presets_only, or allowed_widths for it"
        yield SecurityCheck(bool(bound), f"{name}: {bound or 'any variant may be requested'} (checks 1, 42)", fix)
    limited = on if settings.variants_per_minute is None else settings.variants_per_minute > 0
    message = f"new variants have {'a' if limited else 'no'} rate limit (check 42)"
    yield SecurityCheck(limited, message, "set variants_per_minute")
    required = settings.sandbox == "require"
    mode = "required" if required else f"set to {settings.sandbox!r}"
    yield SecurityCheck(required, f"the sandbox is {mode} (check 26)", 'set sandbox = "require"')
    allowed = settings.allow_vulnerable_libraries
    message = f"vulnerable libraries are {'allowed' if allowed else 'rejected'} (check 29)"
    yield SecurityCheck(not allowed, message, "set allow_vulnerable_libraries = false")
    yield _proxy_check(settings)


def _proxy_check(settings: Settings) -> SecurityCheck:
    trusted = settings.trusted_proxies
    passed = bool(trusted) or settings.host in LOOPBACK or socket_path(settings.host) is not None
    message = f"client addresses are read from {', '.join(trusted)}" if trusted else "no proxy is trusted"
    return SecurityCheck(passed, f"{message} (check 47)", "list your proxies, if any, in trusted_proxies")


def _variant_bounds(settings: Settings) -> Iterator[tuple[str, str]]:
    """Yields the name of each mount that serves images by URL, and the rule that limits its variants.

    A rule is a text such as `signed URLs`. It is empty if nothing limits the variants.
    """
    if settings.folder is not None:
        yield "the folder", "signed URLs" if settings.signing_keys else ""
    for site in settings.site:
        if site.is_endpoint:
            continue
        if settings.signing_keys if site.signing_keys is None else site.signing_keys:
            bound = "signed URLs"
        elif site.presets_only:
            bound = "presets only"
        else:
            bound = "allowed widths only" if site.allowed_widths else ""
        yield site.display_name, bound


def allows_any_host(settings: Settings) -> bool:
    """True if a client may name any public host as the source of an image."""
    hosts = settings.pixlab_allowed_hosts
    is_open = any(map(_matches_any_host, hosts)) if hosts else settings.pixlab_allow_any_host
    return is_open and serves_pixlab(settings)


def _matches_any_host(text: str) -> bool:
    try:
        return HostRule.read(text).any_host
    except ValueError:
        return False  # reported by server/policies.py, which reads the rules


def serves_pixlab(settings: Settings) -> bool:
    """True if the server has PixLab endpoints. Their clients send images or URLs of images."""
    return settings.folder is not None or any(site.dialect == "pixlab" for site in settings.site)


def _short_secret(name: str, secret: SecretStr | None, min_chars: int) -> Iterator[ConfigIssue]:
    chars = len(secret.get_secret_value()) if secret else 0
    if chars < min_chars:
        message = f"expected at least {min_chars} characters, got {chars}"
        yield ConfigIssue(name, message, "write the output of: openssl rand -hex 32")
