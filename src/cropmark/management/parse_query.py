"""What the queries of lists ask for. Everything raises Unacceptable."""

from __future__ import annotations

import json
from typing import Final

from cropmark.management.parse import ROOT, text_of, whole_of
from cropmark.management.request import ManagementRequest, Unprocessable
from cropmark.model.assets import MAX_NAME_CHARS, AssetFilter, Listing, SortField

MOST: Final = 100
"""Assets of a page."""
_EQUAL: Final = ("uid", "title", "filename", "content_type", "is_dir", "name", "tags")


def read_listing(call: ManagementRequest, shown: AssetFilter) -> Listing:
    query = call.query
    folder = query.get("folder")
    return Listing(
        shown=shown,
        folder="" if folder == ROOT else folder or None,
        environment=query.get("environment") or None,
        equal=_equal(query.get("query", "")),
        sort=_sort(query.get("asc") or query.get("desc") or SortField.UPDATED.value),
        descending=not query.get("asc"),
        skip=whole_of(query.get("skip") or 0, "skip", least=0),
        limit=min(MOST, whole_of(query.get("limit") or MOST, "limit", least=0)),
        counted=call.asks("include_count"),
    )


def _sort(name: str) -> SortField:
    try:
        return SortField(name)
    except ValueError as error:
        known = ", ".join(sort.value for sort in SortField)
        raise Unprocessable(f"expected one of {known} to sort by", parameter="asc") from error


def _equal(text: str) -> tuple[tuple[str, str | bool], ...]:
    """The fields that a query wants to be equal."""
    if not text:
        return ()
    try:
        wanted = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unprocessable("query: expected JSON", fix='write {"title": "…"}', parameter="query") from error
    if not isinstance(wanted, dict) or not all(name in _EQUAL for name in wanted):
        raise Unprocessable(f"query: expected an object with some of {', '.join(_EQUAL)}", parameter="query")
    for name, value in wanted.items():
        if not isinstance(value, bool if name == "is_dir" else str):
            raise Unprocessable(f"query: {name}: only equality is known", parameter="query")
        if isinstance(value, str):
            text_of(value, name, MAX_NAME_CHARS, least=0)
    return tuple(wanted.items())
