"""Finds the addresses to listen on, checks that they are free, and opens sockets for them."""

from __future__ import annotations

import errno
import os
import socket
import stat
from dataclasses import replace
from pathlib import Path
from typing import Final

from cropmark.config.addresses import socket_path
from cropmark.config.errors import ConfigIssue, InvalidConfiguration
from cropmark.config.loader import LoadedSettings
from cropmark.config.settings import Settings
from cropmark.server.errors import StartupError

BACKLOG: Final = 1024
"""Number of connections that wait to be accepted."""
_HOST_FIX: Final = "write 127.0.0.1, ::1, 0.0.0.0 or unix:/run/cropmark/http.sock"
_SOCKET_PATH_BYTES: Final = 107
"""Longest path of a socket. Source: unix(7)"""
_SETTINGS: Final = ("host", "port", "admin_host", "admin_port")


def with_addresses_of(started: Settings, loaded: LoadedSettings) -> LoadedSettings:
    """The settings `loaded` by a reload, with the hosts and ports of `started`, which a reload cannot change.

    With the new values, the public port could serve the pages of the admin port.
    """
    kept = {name: getattr(started, name) for name in _SETTINGS}
    return replace(loaded, settings=loaded.settings.model_copy(update=kept))


def listening_addresses(settings: Settings) -> tuple[tuple[str, int], tuple[str, int] | None]:
    """The address of the public port, and that of the admin port, or None without one. Raises StartupError."""
    public = find_port(settings)
    admin = None if settings.admin_port is None else find_port(_at_admin_port(settings))
    if settings.admin_port and settings.admin_port == public[1]:
        raise StartupError(f"port and admin_port are both {public[1]}", "choose another admin_port")
    return public, admin


def _at_admin_port(settings: Settings) -> Settings:
    return settings.model_copy(update={"host": settings.admin_host, "port": settings.admin_port})


def find_port(settings: Settings) -> tuple[str, int]:
    """The address and port to listen on. If the configured port is 0, a free port is chosen.

    Raises StartupError if the address or port is not available, and InvalidConfiguration for an invalid host.
    """
    host, port = settings.host, settings.port
    if path := socket_path(host):
        check_listen_host(settings)
        _free_socket(path)
        return host, 0
    failures: list[OSError] = []
    for family, address in _configured_addresses(settings):
        try:
            return address, _bindable_port(family, address, port)
        except PermissionError as error:
            raise StartupError(f"no permission to listen on port {port}", "use a port above 1023: --port") from error
        except OSError as error:
            failures.append(error)
    first = failures[0]
    if first.errno == errno.EADDRNOTAVAIL:
        raise StartupError(f"host: {host} is not an address of this machine", _HOST_FIX) from first
    reason = first.strerror or str(first)
    raise StartupError(f"port {port} of {host} is not free: {reason}", f"try --port {port + 1}") from first


def check_listen_host(settings: Settings) -> None:
    """Raise InvalidConfiguration if the configured host is not an address or socket path to listen on."""
    if (path := socket_path(settings.host)) is None:
        _configured_addresses(settings)
    elif issue := _socket_path_issue(path):
        fix = "write an absolute path in a folder that exists"
        raise InvalidConfiguration((ConfigIssue("host", issue, fix),))


def _socket_path_issue(path: Path) -> str:
    if not path.is_absolute() or len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        return f"{path} is not an absolute path of at most {_SOCKET_PATH_BYTES} bytes"
    return "" if path.parent.is_dir() else f"{path.parent} is not a folder"


def _configured_addresses(settings: Settings) -> tuple[tuple[socket.AddressFamily, str], ...]:
    """The family and text of each address of the configured host, preferred first. Raises InvalidConfiguration."""
    try:
        found = socket.getaddrinfo(settings.host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        issue = ConfigIssue("host", f"{settings.host} is not an address of this machine", _HOST_FIX)
        raise InvalidConfiguration((issue,)) from error
    return tuple((family, str(at[0])) for family, _, _, _, at in found)


def _free_socket(path: Path) -> None:
    """Remove the socket file that a killed server left. Raises StartupError if the path is not free."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise StartupError(f"{path} is a file, not a socket", "give another path in host")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.connect(str(path))
    except FileNotFoundError:
        return
    except ConnectionRefusedError:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise StartupError(f"host: {path}: {error.strerror or error}", "give another path in host") from error
    else:
        raise StartupError(f"another server listens on {path}", "stop it, or give another path in host")


def _bindable_port(family: socket.AddressFamily, host: str, port: int) -> int:
    """`port` itself, or a free port if `port` is 0. Raises OSError if another process uses the port."""
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host, port))
        bound: int = probe.getsockname()[1]
        return bound


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, from which all fronts can accept connections. Raises StartupError."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:  # taken since find_port() has seen it
        listener.close()
        raise StartupError(f"port {port} of {host} is not free: {error.strerror}", "try another --port") from error
    return listener
