"""Formats settings as text, with secrets masked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from pydantic import ByteSize, SecretStr

from cropmark.config.names import field_types
from cropmark.config.settings import Settings
from cropmark.config.site import SiteSettings

MASK: Final = "********"


def iter_settings(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yields each setting's path and value. A section is not yielded itself, only the settings in it."""
    for name, value in settings:
        section = field_types(type(value))
        if section is None:
            yield (name,), value
        else:
            yield from (((name, key), getattr(value, key)) for key in section)


def format_value(value: Any) -> str:
    """The value as `cropmark config show` and the documents print it; `-` for None and empty lists."""
    return next((write(value) for kind, write in _WRITERS if isinstance(value, kind)), str(value))


def _site_text(site: SiteSettings) -> str:
    return f"{site.display_name}: {site.dialect}" + (f" over {site.source}" if site.source else "")


_WRITERS: Final[tuple[tuple[type, Callable[[Any], str]], ...]] = (
    (SecretStr, lambda _: MASK),
    (type(None), lambda _: "-"),
    (bool, lambda value: str(value).lower()),
    (Enum, lambda value: str(value.value)),
    (ByteSize, lambda value: str(value.human_readable())),
    (tuple, lambda value: ", ".join(map(format_value, value)) or "-"),
    (Mapping, lambda value: ", ".join(f"{name}={format_value(inner)}" for name, inner in value.items()) or "-"),
    (SiteSettings, _site_text),
)
"""The functions that write values, by the type of the value. The first matching type is used."""
