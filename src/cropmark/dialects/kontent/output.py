"""The Output of a query, from `fm`, `auto`, Accept, `q` and `lossless`.

Source: https://kontent.ai/learn/docs/apis/image-transformation-api
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cropmark.dialects.kontent.query import KontentQuery
from cropmark.dialects.kontent.readers import WEBP
from cropmark.model.formats import Format, accepted_formats
from cropmark.plan.plan import EncodingChoice, Output, TriState
from cropmark.plan.source import SourceFilter

READS: Final = frozenset({Format.JPEG, Format.PNG, Format.GIF, Format.WEBP})

SOURCE_FORMAT: Final = (EncodingChoice(lossless=TriState.AS_SOURCE),)
"""The encoding choices of a query that requests no encoding: the source's own format."""


def output(query: KontentQuery, accept: str) -> Output:
    """The Output of a query, for a client with this Accept header."""
    return Output(_choices(query, accept), same_is_original=(SourceFilter(),))


def _choices(query: KontentQuery, accept: str) -> tuple[EncodingChoice, ...]:
    """The encoding choices in order: WebP for auto=format, the format of `fm`, the source's format.

    WebP for auto=format is left out if the client does not accept it. It does not apply to a GIF (see WEBP).
    """
    negotiated = (
        (replace(WEBP, keep_animation=True),) if query.auto_format and Format.WEBP in accepted_formats(accept) else ()
    )
    candidates = dict.fromkeys((*negotiated, *query.encodings, EncodingChoice()))
    lossless = query.lossless or TriState.AS_SOURCE
    return tuple(replace(choice, quality=_quality(choice, query), lossless=lossless) for choice in candidates)


def _quality(choice: EncodingChoice, query: KontentQuery) -> int | None:
    # The engine's palette has a quality too, but the dialect's `q` is for JPEG and lossy WebP only.
    return None if choice.palette else query.quality
