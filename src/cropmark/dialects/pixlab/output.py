"""The outputs of endpoints: stills in the source's format; the gif endpoints write all frames as GIF.

Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

from typing import Final

from cropmark.dialects.pixlab.endpoints import EndpointName
from cropmark.model.formats import READABLE, Format
from cropmark.plan.plan import EncodingChoice, KeepMetadata, Output, TriState
from cropmark.plan.source import SourceFilter


def output(endpoint: EndpointName) -> Output:
    """The output of an endpoint that renders an image."""
    return ANIMATION if endpoint in _ALL_FRAMES else STILL


def _only(*formats: Format) -> tuple[SourceFilter, ...]:
    """The filter that skips a choice for sources of all other formats."""
    return (SourceFilter(READABLE - frozenset(formats)),)


STILL: Final = Output(
    choices=(
        EncodingChoice(quality=92, skipped_for=_only(Format.JPEG)),  # ImageMagick's default
        EncodingChoice(quality=85, lossless=TriState.AS_SOURCE, skipped_for=_only(Format.WEBP)),
        EncodingChoice(lossless=TriState.AS_SOURCE),
        EncodingChoice(Format.PNG),  # of formats that we read but do not write
    ),
    metadata=frozenset({KeepMetadata.ICC}),
    first_frame=True,
)
ANIMATION: Final = Output(choices=(EncodingChoice(Format.GIF),))

_ALL_FRAMES: Final = (EndpointName.CROPGIF, EndpointName.RESIZEGIF)
