"""Contentstack's query strings, as its SDKs write them: names and texts, decoded, without what counts as absent."""

from __future__ import annotations

from cropmark.dialects import grammar

_OVERLAY = "overlay="


def parse_query(raw: str) -> dict[str, str]:
    """The parameters by name, in their own case; of a repeated one the last, without those that are empty.

    Raises BadOrder for a query that is too long.
    """
    found = grammar.query_values(normalize_query(grammar.check_bounds(raw)))
    return {name: text.strip(" \t") for name, text in found.items() if not grammar.is_blank(text)}


def normalize_query(raw: str) -> str:
    """The raw query with each further question mark read as the & it stands for, but inside an overlay's URL.

    Two SDKs append `?width=200` to whatever URL they get, one that has a query too.
    """
    return "&".join("&".join(_split_pair(pair)) for pair in raw.split("&"))


def _split_pair(pair: str) -> list[str]:
    parts = pair.split("?")
    overlays = [at for at, part in enumerate(parts) if part.startswith(_OVERLAY)]
    return [*parts[: overlays[0]], "?".join(parts[overlays[0] :])] if overlays else parts
