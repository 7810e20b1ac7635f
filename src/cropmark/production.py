"""What a production server is never started with: each mistake with its mend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic import SecretStr

from cropmark.config import Mistake, Settings
from cropmark.signing import KEY_BYTES

SECRET_CHARS: Final = KEY_BYTES
"""The least that a key or token may have."""


def refusals(settings: Settings) -> Iterator[Mistake]:
    """What must be mended before `production = true` starts; nothing where production is off."""
    if not settings.production:
        return
    if web_is_open(settings) and not settings.signing_keys:
        yield Mistake(
            "production",
            "web_open: pictures may be fetched from any public host, with neither signing nor an allow-list",
            "list hosts in web_hosts, set web_open = false, or set signing_keys",
        )
    if speaks_pixlab(settings):
        yield from _weak("pixlab_key", settings.pixlab_key, "PixLab's endpoints need one that was set")
    if settings.admin_token is not None:
        yield from _weak("admin_token", settings.admin_token, "")


def web_is_open(settings: Settings) -> bool:
    """Whether callers may name any public host."""
    return settings.web_open and not settings.web_hosts and speaks_pixlab(settings)


def speaks_pixlab(settings: Settings) -> bool:
    """Whether there are endpoints whose callers name their pictures."""
    return settings.folder is not None or any(site.dialect == "pixlab" for site in settings.site)


def _weak(name: str, secret: SecretStr | None, missing: str) -> Iterator[Mistake]:
    given = len(secret.get_secret_value()) if secret else 0
    if given < SECRET_CHARS:
        what = f"{name}: expected at least {SECRET_CHARS} characters, got {given}" + (
            f" ({missing})" if missing else ""
        )
        yield Mistake("production", what, "write the output of: openssl rand -hex 32")
