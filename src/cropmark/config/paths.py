"""Where the server keeps things: what can be made again, what must be kept, and what passes through."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path

import platformdirs

from cropmark.config.loader import ConfigIssue, InvalidConfiguration, Settings


def cache_folder(settings: Settings) -> Path:
    """Where renditions are kept on disk. Raises BadConfiguration."""
    return settings.cache_dir or _of_this_user(platformdirs.user_cache_dir)


def data_folder(settings: Settings) -> Path:
    """Where things are that must be kept. Raises BadConfiguration."""
    return settings.data_dir or _of_this_user(platformdirs.user_data_dir)


def have_temporary_files(data: Path) -> None:
    """Uploads pass through files: in the data folder where the system's places for them may not be written."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        with contextlib.suppress(OSError):  # whoever needs a file is told then
            data.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.tempdir = str(data)


def _of_this_user(find: Callable[..., str]) -> Path:
    try:
        return Path(find("cropmark", appauthor=False))
    except RuntimeError as error:
        mend = "set HOME, or name folders: cache_dir and data_dir"
        mistake = ConfigIssue("environment HOME", "this user has no home folder", mend)
        raise InvalidConfiguration((mistake,)) from error
