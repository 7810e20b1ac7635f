"""Lists and tables as an environment variable writes them: `a,b` and `a=1,b=2`. What is no text is left as it is."""

from __future__ import annotations


def split_list(value: object) -> object:
    """A comma list is a list."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def split_map(value: object) -> object:
    """A comma list of name=value is a table."""
    if not isinstance(value, str):
        return value
    pairs = (part.partition("=") for part in value.split(",") if part.strip())
    return {name.strip(): inner.strip() for name, _, inner in pairs}
