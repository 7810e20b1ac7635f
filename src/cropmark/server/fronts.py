"""The front processes of one server: their number, their settings, and their files."""

from __future__ import annotations

import re
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cropmark.config.addresses import socket_path
from cropmark.config.loader import LoadedSettings
from cropmark.config.paths import cache_folder
from cropmark.config.settings import Settings
from cropmark.runtime import cgroups
from cropmark.runtime.atomic_file import write_atomically
from cropmark.server.errors import StartupError

_CORES_PER_FRONT: Final = 4
"""A front serves the hits and prepares the misses of about four renderers."""
_SHARED_LIMITS: Final = (
    "queue_limit",
    "max_connections",
    "memory_cache_bytes",
    "originals_cache_bytes",
    "max_sending_bytes",
)


@dataclass(frozen=True, slots=True)
class Front:
    """One of `count` front processes, numbered from 0, with the folder and sockets that all fronts share."""

    number: int
    count: int
    folder: Path
    """The folder of the fronts' Unix sockets, and of the last counters of fronts that have ended."""
    listeners: tuple[socket.socket, ...]
    """The sockets of the public port, and of the operators' port if there is one."""
    lifeline: int
    """A pipe for reading. It reaches its end when the process that started the fronts has ended."""

    @property
    def addresses(self) -> tuple[tuple[str, int], tuple[str, int] | None]:
        """The address of the public port and that of the admin port, or None without an admin port."""
        public, *admin = (listener.getsockname()[:2] for listener in self.listeners)
        return public, admin[0] if admin else None


def number_of(settings: Settings) -> int:
    """The number of front processes: the configured number, else one for every four CPUs. Raises StartupError."""
    renderers = settings.renderers or cgroups.cores()
    if socket_path(settings.host) is not None:
        if (settings.fronts or 1) > 1:
            raise StartupError(
                "several fronts cannot listen on a Unix socket", "set fronts to 1, or host to an address"
            )
        return 1
    if settings.fronts is None:
        return max(1, min(cgroups.cores() // _CORES_PER_FRONT, renderers))
    if settings.fronts > renderers:
        what = f"{settings.fronts} fronts need as many renderers, but there are {renderers}"
        raise StartupError(what, f"set renderers to {settings.fronts} or more, or fronts to {renderers}")
    return settings.fronts


def loaded_by(loaded: LoadedSettings, front: Front) -> LoadedSettings:
    """The settings of one front: those of the server, with renderers, memory and limits divided among the fronts."""
    settings, count = loaded.settings, front.count
    renderers = settings.renderers or cgroups.cores()
    memory = settings.memory_limit_bytes or cgroups.memory_limit()
    shares: dict[str, Any] = {
        "renderers": max(1, renderers // count + (front.number < renderers % count)),
        "memory_limit_bytes": None if memory is None else memory // count,
    }
    for name in _SHARED_LIMITS:
        shares[name] = -(-getattr(settings, name) // count)
    return replace(loaded, settings=settings.model_copy(update=shares))


def originals_folder(settings: Settings, number: int) -> Path:
    """The folder of a front's cached originals. Fronts cannot share one, because each has its index in memory."""
    folder = cache_folder(settings) / "originals"
    return folder / f"front-{number}" if number else folder


def position_file(settings: Settings, number: int) -> Path:
    """The file with a front's position in the stream of all servers' purges.

    The front has carried out all purges up to this position. The file is in the cache folder, because two servers may
    share a data folder, but not a position. A front without a file is new: its only entries are those of the shared
    disk cache. So its file is created with the position of the first front.
    """
    first = cache_folder(settings) / "purges" / "position"
    if not number:
        return first
    file = first.with_name(f"position-{number}")
    if not file.exists():
        with suppress(OSError):  # the first front has no position either
            write_atomically(file, [first.read_bytes()], prefix=".part-")
    return file


def drop_originals(settings: Settings, number: int) -> None:
    """Remove the cached originals of a front that has ended, because it may have missed purges. Raises OSError."""
    folder = originals_folder(settings, number)
    if folder.is_dir():
        for file in folder.iterdir():
            if not file.is_dir():
                file.unlink(missing_ok=True)


def remove_files_beyond(settings: Settings, count: int) -> None:
    """Remove the files of fronts with a number of `count` or more. Raises OSError.

    They are from an earlier start with more fronts, and purges would no longer reach them.
    """
    for file in [*_files(settings, "originals", "front-*"), *_files(settings, "purges", "position-*")]:
        number = re.fullmatch(r"\w+-([0-9]+)", file.name)
        if number is not None and int(number[1]) >= count:
            shutil.rmtree(file) if file.is_dir() else file.unlink(missing_ok=True)


def _files(settings: Settings, folder: str, pattern: str) -> list[Path]:
    return list((cache_folder(settings) / folder).glob(pattern))
