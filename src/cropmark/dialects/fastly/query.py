"""Parses Fastly's query strings, in the URL or in a header, into names and decoded texts."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote_plus

from cropmark.dialects import grammar

# Texts that templates write for a missing value: the first is Magento's, the others come from JavaScript and PHP.
_ABSENT = frozenset({"none", "false", "null", "undefined", "nan"})

_CASED = frozenset({"overlay", "overlay-base64", "images"})


def unknown_parameters(raw: str, known: Collection[str]) -> str:
    """The raw query without the parameters in `known`. The other parameters are unchanged."""
    pairs = (pair for pair in raw.lstrip("?").split("&") if pair)
    return "&".join(pair for pair in pairs if unquote_plus(pair.partition("=")[0]) not in known)


def parse_query(raw: str) -> dict[str, str]:
    """The decoded texts of the parameters by name, in lower case, because words and hex digits are case-insensitive.

    Paths and base64 are not lowercased. If a parameter is repeated, its last text counts. These texts count as absent:
    empty, only separators, and words such as `none` and `null`.
    Raises BadRequest for a query that is too long.
    """
    pairs = ((name, text.strip(" \t")) for name, text in grammar.query_values(raw).items())
    return {
        name: text if name in _CASED else text.lower()
        for name, text in pairs
        if not grammar.is_blank(text) and text.lower() not in _ABSENT
    }
