"""Reads the query strings of requests that list assets. All functions raise InvalidField."""

from __future__ import annotations

from typing import Final

from cropmark.management.parse import ROOT, read_int, read_text
from cropmark.management.request import InvalidField, ManagementRequest
from cropmark.model.assets import MAX_NAME_CHARS, AssetFilter, Listing, SortField
from cropmark.model.text import parse_json

MAX_PAGE_ASSETS: Final = 100
"""Default and maximum number of assets on a page."""
_FILTER_FIELDS: Final = ("uid", "title", "filename", "content_type", "is_dir", "name", "tags")


def read_listing(request: ManagementRequest, shown: AssetFilter) -> Listing:
    query = request.query
    folder = query.get("folder")
    return Listing(
        filter=shown,
        folder="" if folder == ROOT else folder or None,
        environment=query.get("environment") or None,
        equal=_read_filter(query.get("query", "")),
        sort=_read_sort(query.get("asc") or query.get("desc") or SortField.UPDATED.value),
        descending=not query.get("asc"),
        skip=read_int(query.get("skip") or 0, "skip", least=0),
        limit=min(MAX_PAGE_ASSETS, read_int(query.get("limit") or MAX_PAGE_ASSETS, "limit", least=0)),
        with_count=request.flag("include_count"),
    )


def _read_sort(name: str) -> SortField:
    try:
        return SortField(name)
    except ValueError as error:
        known = ", ".join(sort.value for sort in SortField)
        raise InvalidField(f"expected one of {known} to sort by", parameter="asc") from error


def _read_filter(text: str) -> tuple[tuple[str, str | bool], ...]:
    """The filter of the parameter `query`: names and values of the fields that listed assets must have."""
    if not text:
        return ()
    try:
        wanted = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise InvalidField("query: expected JSON", fix='write {"title": "…"}', parameter="query") from error
    if not isinstance(wanted, dict) or not all(name in _FILTER_FIELDS for name in wanted):
        raise InvalidField(f"query: expected an object with some of {', '.join(_FILTER_FIELDS)}", parameter="query")
    for name, value in wanted.items():
        if not isinstance(value, bool if name == "is_dir" else str):
            raise InvalidField(f"query: {name}: only equality is supported", parameter="query")
        if isinstance(value, str):
            read_text(value, name, MAX_NAME_CHARS, least=0)
    return tuple(wanted.items())
