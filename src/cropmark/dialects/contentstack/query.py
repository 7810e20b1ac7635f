"""Parses Contentstack's query strings, also in the forms that its SDKs write."""

from __future__ import annotations

from cropmark.dialects import grammar

_OVERLAY = "overlay="


def parse_query(raw: str) -> dict[str, str]:
    """The decoded texts of the parameters by name, without surrounding blanks.

    If a parameter is repeated, its last text counts. A text of only blanks and separators counts as absent.
    Raises BadRequest for a query that is too long.
    """
    texts = grammar.query_values(normalize_query(grammar.check_bounds(raw)))
    return {name: text.strip(" \t") for name, text in texts.items() if not grammar.is_blank(text)}


def normalize_query(raw: str) -> str:
    """The raw query with & in place of each question mark, except inside an overlay's URL.

    Two SDKs append `?width=200` to every URL, even to a URL that already has a query.
    """
    return "&".join("&".join(_split_pair(pair)) for pair in raw.split("&"))


def _split_pair(pair: str) -> list[str]:
    parts = pair.split("?")
    overlays = [at for at, part in enumerate(parts) if part.startswith(_OVERLAY)]
    return [*parts[: overlays[0]], "?".join(parts[overlays[0] :])] if overlays else parts
