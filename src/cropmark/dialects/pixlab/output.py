"""The Output of each endpoint. cropgif and resizegif write all frames as GIF; the others write a still.

A still has the format of the source.
Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from cropmark.dialects.pixlab.endpoints import EndpointName
from cropmark.model.formats import READABLE, Format
from cropmark.plan.plan import EncodingChoice, KeepMetadata, Output, TriState
from cropmark.plan.source import SourceFilter

READS: Final = READABLE & {Format.JPEG, Format.PNG, Format.WEBP, Format.GIF, Format.AVIF, Format.TIFF, Format.BMP}
"""The formats that are read; others are 415. Judgement: the page of crop names none, that of facedetect some of
them."""


def output(endpoint: EndpointName) -> Output:
    """The Output of an endpoint that renders an image."""
    if endpoint in _WITHOUT_PROFILES:
        return replace(STILL, metadata=frozenset())
    return ANIMATION if endpoint in _ALL_FRAMES else STILL


def _only(*formats: Format) -> tuple[SourceFilter, ...]:
    """The value of `skipped_for` that limits an encoding choice to sources in these formats."""
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

_WITHOUT_PROFILES: Final = (EndpointName.THUMBNAIL, EndpointName.WEBFIT, EndpointName.MERGE)
"""thumbnail "removes any associated profiles"; the images of merge, which may have different profiles, are in sRGB.
Source: https://pixlab.io/endpoints/thumbnail"""
_ALL_FRAMES: Final = (EndpointName.CROPGIF, EndpointName.RESIZEGIF)
