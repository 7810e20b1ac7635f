"""Reads the fields of a request from its query and its body, as texts by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cropmark.dialects import grammar
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.pixlab import params
from cropmark.model.text import clean_text

KEY_HEADER: Final = "www-authenticate"
MAX_FIELDS: Final = 256
"""The maximum number of fields in a body."""


def api_key(request: ImageRequest) -> str | None:
    """The caller's key: the field `key`, else the header WWW-Authenticate. None if both are missing or empty.

    Raises BadRequest for a query that is too long.
    """
    return parse_fields(request).get(params.KEY.name) or request.headers.get(KEY_HEADER, "").strip() or None


def parse_fields(request: ImageRequest) -> Mapping[str, str]:
    """The texts of the fields by name. A field in the body overrides the same field in the query.

    A field of only blanks is absent. `left` is ignored if there is an `x`, and `top` if there is a `y`.
    """
    fields = {**_without_blanks(grammar.query_values(request.query)), **_without_blanks(request.fields)}
    for name, alias in ((params.X.name, params.LEFT.name), (params.Y.name, params.TOP.name)):
        if name in fields:
            fields.pop(alias, None)
    return fields


def _without_blanks(texts: Mapping[str, str]) -> dict[str, str]:
    return {name: clean_text(text) for name, text in texts.items() if text.strip()}
