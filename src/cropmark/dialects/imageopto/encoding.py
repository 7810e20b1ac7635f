"""Encoding choices of the Image Optimizer, and the source filters that they depend on."""

from __future__ import annotations

from dataclasses import replace

from cropmark.model.formats import Format
from cropmark.plan.plan import EncodingChoice
from cropmark.plan.source import SourceFilter

AVIF_QUALITY = 64
"""The quality of an AVIF that looks like a JPEG of quality 85."""


def from_formats(*formats: Format) -> SourceFilter:
    """A filter that matches the sources in these formats."""
    return SourceFilter(formats=frozenset(formats))


GIFS = from_formats(Format.GIF)
ANIMATED_GIFS = replace(GIFS, animated=True)
ANIMATIONS_EXCEPT_AVIF = SourceFilter(formats=frozenset(Format) - {Format.AVIF}, animated=True)
STILLS = SourceFilter(animated=False)
OPAQUE = SourceFilter(alpha=False)


def only_from(choice: EncodingChoice, *formats: Format) -> EncodingChoice:
    """The choice, limited to sources in these formats. It is skipped for all other sources."""
    others = frozenset(Format) - set(formats)
    return replace(choice, skipped_for=(*choice.skipped_for, SourceFilter(formats=others)))


PNG = EncodingChoice(Format.PNG)
GIF = EncodingChoice(Format.GIF)


def source_format_choices(
    *, jpeg: EncodingChoice, webp: EncodingChoice, avif: EncodingChoice
) -> tuple[EncodingChoice, ...]:
    """The encoding choices that write each source in its own format.

    A source in a format that we do not write becomes a JPEG, or a PNG if it has alpha. So does an AVIF source above the
    area limit of AVIF output; only a request that names AVIF is rejected for this limit.
    """
    # Each format has its own choice, because the same visual quality is a different number in each format.
    return (
        only_from(jpeg, Format.JPEG),
        only_from(PNG, Format.PNG),
        only_from(webp, Format.WEBP),
        only_from(GIF, Format.GIF),
        only_from(avif, Format.AVIF),
        replace(PNG, skipped_for=(OPAQUE,)),
        jpeg,
    )
