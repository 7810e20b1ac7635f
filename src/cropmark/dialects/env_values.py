"""Lists and maps in environment variables: `a,b` and `a=1,b=2`. A value that is not text is returned unchanged."""

from __future__ import annotations


def split_list(value: object) -> object:
    """The items of a comma-separated list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def split_map(value: object) -> object:
    """The map of a comma-separated list of name=value."""
    if not isinstance(value, str):
        return value
    pairs = (part.partition("=") for part in value.split(",") if part.strip())
    return {name.strip(): inner.strip() for name, _, inner in pairs}
