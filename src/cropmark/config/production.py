"""What a production server is never started with: each mistake with its mend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pydantic import SecretStr

from cropmark.config.loader import ConfigIssue, Settings
from cropmark.security.signing import KEY_BYTES
from cropmark.sources.policy import HostRule

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")
SECRET_CHARS: Final = KEY_BYTES
"""The least that a key or token may have."""


SHORTEST_CHARS: Final = 15
"""The least that one set by hand may have anywhere: PixLab's own client refuses shorter keys."""


def errors(settings: Settings) -> Iterator[ConfigIssue]:
    """What must be mended before a server starts: short keys anywhere, and more with `production = true`.

    Each is at the name of its setting.
    """
    if not settings.production:
        for name, secret in _by_hand(settings):
            yield from _weak(name, secret, SHORTEST_CHARS)
        return
    if web_is_open(settings) and not settings.signing_keys:
        yield ConfigIssue(
            "web_hosts" if settings.web_hosts else "web_open",
            "pictures may be fetched from any public host, with neither signing nor an allow-list",
            "list hosts in web_hosts, set web_open = false, or set signing_keys",
        )
    if speaks_pixlab(settings):
        yield from _weak("pixlab_key", settings.pixlab_key, SECRET_CHARS)
    if settings.admin_token is not None:
        yield from _weak("admin_token", settings.admin_token, SECRET_CHARS)


def warnings(settings: Settings) -> Iterator[str]:
    """What a server starts with all the same, but says: keys set by hand that production would refuse."""
    for name, secret in _by_hand(settings):
        if len(secret.get_secret_value()) < SECRET_CHARS:
            yield f"{name} has fewer than {SECRET_CHARS} characters: production would refuse it"


def _by_hand(settings: Settings) -> Iterator[tuple[str, SecretStr]]:
    for name, secret in (("pixlab_key", settings.pixlab_key), ("admin_token", settings.admin_token)):
        if secret is not None:
            yield name, secret


@dataclass(frozen=True, slots=True)
class SecurityCheck:
    """One line of docs/security.md's list as a deployment keeps it: whether it does, and what to do about it."""

    passed: bool
    what: str
    fix: str = ""


def points(settings: Settings) -> Iterator[SecurityCheck]:
    """How a deployment stands against the list in docs/security.md, as far as settings tell."""
    on = settings.production
    yield SecurityCheck(on, f"production mode is {'on' if on else 'off'}", "set production = true")
    if web_is_open(settings):
        yield SecurityCheck(False, "PixLab's img may name any public host (checks 3, 16)", "list hosts in web_hosts")
    else:
        yield SecurityCheck(True, "pictures come from listed places alone (checks 3, 16)")
    for name, bound in _bounds(settings):
        mend = "set signing_keys, or presets and presets_only, or widths for it"
        yield SecurityCheck(bool(bound), f"{name}: {bound or 'anybody may ask for any variant'} (checks 1, 42)", mend)
    budget = on if settings.variants_per_minute is None else settings.variants_per_minute > 0
    yield SecurityCheck(
        budget, f"new variants have {'a' if budget else 'no'} budget (check 42)", "set variants_per_minute"
    )
    required = settings.sandbox == "require"
    told = "required" if required else f"set to {settings.sandbox!r}"
    yield SecurityCheck(required, f"the sandbox is {told} (check 26)", 'set sandbox = "require"')
    refused = settings.old_libraries == "refuse"
    yield SecurityCheck(
        refused, f"old libraries are {'refused' if refused else 'let in'} (check 29)", "leave old_libraries out"
    )
    behind = bool(settings.trusted_proxies) or settings.host in LOOPBACK
    what = "clients are told apart behind" if settings.trusted_proxies else "clients are who connects:"
    mend = "name them in trusted_proxies, where there are any"
    yield SecurityCheck(
        behind, f"{what} {', '.join(settings.trusted_proxies) or 'no proxy is trusted'} (check 47)", mend
    )


def _bounds(settings: Settings) -> Iterator[tuple[str, str]]:
    """Each place that serves pictures by URL, and what bounds the variants that may be asked for; empty: nothing."""
    if settings.folder is not None:
        yield "the folder", "signed" if settings.signing_keys else ""
    for site in settings.site:
        if site.dialect != "pixlab":
            signed = settings.signing_keys if site.signing_keys is None else site.signing_keys
            bound = "signed" if signed else "presets only" if site.presets_only else "few widths" if site.widths else ""
            yield site.name or ", ".join(site.hosts) or site.prefix, bound


def web_is_open(settings: Settings) -> bool:
    """Whether callers may name any public host."""
    is_open = any(map(_names_any, settings.web_hosts)) if settings.web_hosts else settings.web_open
    return is_open and speaks_pixlab(settings)


def _names_any(text: str) -> bool:
    try:
        return HostRule.read(text).any_host
    except ValueError:
        return False  # told where the server's policy is read


def speaks_pixlab(settings: Settings) -> bool:
    """Whether there are endpoints whose callers name their pictures."""
    return settings.folder is not None or any(site.dialect == "pixlab" for site in settings.site)


def _weak(name: str, secret: SecretStr | None, least: int) -> Iterator[ConfigIssue]:
    given = len(secret.get_secret_value()) if secret else 0
    if given < least:
        what = f"expected at least {least} characters, got {given}"
        yield ConfigIssue(name, what, "write the output of: openssl rand -hex 32")
