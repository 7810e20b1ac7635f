"""The folders of the server: the cache, which can be rebuilt; the data, which cannot; and temporary files."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from cropmark.config.errors import ConfigIssue, InvalidConfiguration
from cropmark.config.settings import Settings


def cache_folder(settings: Settings) -> Path:
    """The folder of the disk caches.

    Raises InvalidConfiguration if the folder is not set and the user has no home folder.
    """
    return settings.cache_dir or _user_folder(platformdirs.user_cache_dir)


def data_folder(settings: Settings) -> Path:
    """The folder of the library and of stored results.

    Raises InvalidConfiguration if the folder is not set and the user has no home folder.
    """
    return settings.data_dir or _user_folder(platformdirs.user_data_dir)


def ensure_temporary_folder(data: Path) -> None:
    """Use the data folder for temporary files, but only if none of the system's temporary folders is writable."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        with contextlib.suppress(OSError):  # the first upload then fails with the same error
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.tempdir = str(data)


def _user_folder(find: Callable[..., str]) -> Path:
    try:
        return Path(find("cropmark", appauthor=False))
    except RuntimeError as error:
        fix = "set HOME, or cache_dir and data_dir"
        issue = ConfigIssue("environment HOME", "this user has no home folder", fix)
        raise InvalidConfiguration((issue,)) from error
