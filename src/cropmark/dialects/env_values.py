"""Parses the lists and maps that environment variables hold: `a,b` and `a=1,b=2`."""

from __future__ import annotations


def split_list(value: object) -> object:
    """The items of a comma-separated list. A value that is not text is returned unchanged."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def split_map(value: object) -> object:
    """The map that a text such as `a=1,b=2` describes. A value that is not text is returned unchanged."""
    if not isinstance(value, str):
        return value
    pairs = (part.partition("=") for part in value.split(",") if part.strip())
    return {name.strip(): inner.strip() for name, _, inner in pairs}
