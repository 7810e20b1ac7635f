"""Hints: warnings of probable mistakes that the vendor ignores silently, such as a misspelt parameter.

Requests have hints in development and in explanations, but not in production.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import cache
from itertools import islice
from typing import Final

from cropmark.dialects import grammar, registry
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.suggestions import nearest
from cropmark.model.problems import BadRequest
from cropmark.plan.plan import RequestWarning

MAX_NAMES: Final = 8
_HTML_AMPERSAND: Final = "amp;"
"""The start of a name if `&` was written as `&amp;` where HTML is not decoded."""


def hints(dialect: str, request: ImageRequest) -> tuple[RequestWarning, ...]:
    """A hint for each unknown name in the request that is similar to the name of a parameter.

    Names such as `v` and `utm_source` are not similar to any parameter and have no hint. Only the first MAX_NAMES names
    are compared.
    """
    known = _known_names(dialect)
    unknown = islice((name for name in dict.fromkeys(_names(dialect, request)) if name not in known), MAX_NAMES)
    return tuple(RequestWarning(name, text) for name in unknown if (text := _suggestion(name, known)))


@cache
def _known_names(dialect: str) -> frozenset[str]:
    return registry.entry(dialect).parameter_names


def _names(dialect: str, request: ImageRequest) -> Iterator[str]:
    """The parameter names in the query, in the headers that hold a query, and in the body."""
    headers = (request.headers.get(header, "") for header, _ in registry.entry(dialect).header_params)
    # A further question mark separates too: Contentstack's SDKs append `?width=200` to every URL.
    for query in (request.query.replace("?", "&"), *headers):
        try:
            yield from grammar.query_values(query)
        except BadRequest:  # too long, which is the dialect's to report
            continue
    yield from request.fields


def _suggestion(name: str, known: Collection[str]) -> str | None:
    plain = name.removeprefix(_HTML_AMPERSAND)
    parameter = nearest(plain, known)
    if parameter is None:
        return None
    cause = "" if plain == name else " Write & in place of &amp;"
    return f"ignored, did you mean {parameter}?{cause}"
