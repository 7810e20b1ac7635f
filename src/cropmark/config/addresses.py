"""URLs of this server for clients on the same machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cropmark.config.settings import Settings

UNIX: Final = "unix:"
"""Prefix of a host that is the path of a Unix domain socket."""


def socket_path(host: str) -> Path | None:
    """The path of the Unix domain socket if `host` is `unix:/path`; None for any other host."""
    return Path(host.removeprefix(UNIX)) if host.startswith(UNIX) else None


def base_url(host: str, port: int) -> str:
    """The base URL of a server that listens on this address. For a Unix domain socket: `unix:/path`."""
    if socket_path(host):
        return host
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
    return f"http://{name}:{port}"


def public_url(settings: Settings) -> str:
    """The base URL at which the configured server serves images."""
    return base_url(settings.host, settings.port)


def admin_url(settings: Settings) -> str:
    """The base URL at which the configured server serves monitoring and administration."""
    if settings.admin_port is None:
        return public_url(settings)
    return base_url(settings.admin_host, settings.admin_port)
