"""Fastly's query strings, in the URL or in a header: names and texts, decoded, without what counts as absent."""

from __future__ import annotations

from cropmark.dialects import grammar

# What templates write where they have no value: the first is Magento's, the others stand for JavaScript's and PHP's.
_ABSENT = frozenset({"none", "false", "null", "undefined", "nan"})

_CASED = frozenset({"overlay", "overlay-base64", "images"})


def parse_query(raw: str) -> dict[str, str]:
    """The parameters by name, their texts in lower case, for words and hex digits take either case.

    Of a repeated one the last counts. Paths and base64 keep their case. Absent are those that are empty, made of
    separators, or say `none` or the like.
    Raises BadOrder for a query that is too long.
    """
    found = ((name, text.strip(" \t")) for name, text in grammar.query_values(raw).items())
    return {
        name: text if name in _CASED else text.lower()
        for name, text in found
        if not grammar.is_blank(text) and text.lower() not in _ABSENT
    }
