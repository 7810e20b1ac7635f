"""What is wrong with settings that are well written: names that cannot be read, and places that are not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cropmark.config.loader import ConfigIssue, InvalidConfiguration, LoadedSettings
from cropmark.config.production import errors
from cropmark.server import library
from cropmark.server.policies import addresses_of, clients_of, foreign_policy, limiter_of
from cropmark.sources.policy import HostRule

WEB = ("http://", "https://")


def mistakes(found: LoadedSettings) -> Iterator[ConfigIssue]:
    """Every mistake with its line and its mend, of what a server would not start with, or not serve as was meant."""
    yield from _unreadable(found)
    yield from _places(found)
    for name, error in library.unusable(found.settings):
        yield ConfigIssue(found.place((name,)), f"{name}: {error.what.removeprefix(f'{name}: ')}", error.fix)
    for one in errors(found.settings):
        yield _placed(found, one)


def _placed(found: LoadedSettings, one: ConfigIssue) -> ConfigIssue:
    """The mistake at its setting's place; where that is said nowhere, at that of `production`, which asks for it."""
    places = [found.place((name,)) for name in (one.where, "production")]
    where = next((place for place in places if place != "default"), "default")
    return ConfigIssue(where, f"{one.where}: {one.what}", one.fix)


def _unreadable(found: LoadedSettings) -> Iterator[ConfigIssue]:
    """Hosts, addresses, networks and a Redis that are none."""
    for reading in (addresses_of, clients_of, foreign_policy, limiter_of):
        try:
            reading(found.settings)
        except InvalidConfiguration as bad:
            for one in bad.mistakes:
                yield _placed(found, one)


def _places(found: LoadedSettings) -> Iterator[ConfigIssue]:
    settings = found.settings
    if settings.folder is not None and not settings.folder.is_dir():
        yield ConfigIssue(
            found.place(("folder",)), f"folder: {settings.folder} is not a folder", "name a folder of pictures"
        )
    for number, site in enumerate(settings.site):
        what = _wrong_source(site.source)
        if what is not None:
            mend = "name a folder, the origin's https:// URL, or library"
            yield ConfigIssue(found.place(("site", number, "source")), f"site.{number}.source: {what}", mend)


def _wrong_source(text: str) -> str | None:
    if not text or text == library.LIBRARY_SOURCE:
        return None
    if text.startswith(WEB):
        return _wrong_origin(text)
    return None if Path(text).expanduser().is_dir() else f"{text} is not a folder"


def _wrong_origin(text: str) -> str | None:
    try:
        HostRule.read(text)
    except ValueError:
        # Not its own words, which speak of stars and quote the URL: it may hold a password.
        return "the origin's URL cannot be read; it holds a scheme, a host, perhaps a port and a path, and nothing else"
    return "an origin is one host, without *" if "*" in text else None
