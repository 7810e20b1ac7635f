"""How the result is written: the first of the plan's choices whose conditions hold."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cropmark.geometry.limits import too_large
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import TRAITS, Format, Info
from cropmark.model.values import Size
from cropmark.plan.plan import Choice, KeepMetadata, Limits, Output, RequestWarning, TriState
from cropmark.plan.source import matches_any

# fmt: off
QUALITIES: dict[Format, int] = {
    Format.JPEG: 85,
    Format.WEBP: 85,
    Format.AVIF: 64,   # looks like a JPEG of 85
    Format.PNG:  85,   # of the palette
}
# fmt: on
_OF_NO_ACCOUNT = 100
_MAY_BE_LOSSLESS = frozenset({Format.WEBP, Format.AVIF})


@dataclass(frozen=True, slots=True)
class ChosenEncoding:
    """An encoding, the choice it came from, how many frames are written, and what the caller asked for in vain."""

    encoding: Encoding
    choice: Choice
    frames: int
    warnings: tuple[RequestWarning, ...] = ()


def chosen(output: Output, info: Info, size: Size, limits: Limits) -> ChosenEncoding:
    """How a picture of these headers is written at `size`.

    Where no choice holds: as its source, else as PNG where the source has alpha, else as JPEG, by the last choice's
    quality. Raises OutputTooLarge for an area that a choice refuses.
    """
    missed: list[RequestWarning] = []
    for choice in (*output.choices, *_last_resorts(output, info)):
        named = choice.format or info.format
        if _holds(choice, named, output, info) and _area_holds(choice, named, size, limits):
            frames = _frames(choice, named, output, info)
            return ChosenEncoding(_encoding(choice, named, output, info), choice, frames, tuple(missed))
        if choice.warning_if_skipped is not None:
            missed.append(RequestWarning("format", choice.warning_if_skipped))
    raise AssertionError("JPEG and PNG can always be written")


def is_as_source(chosen: ChosenEncoding, info: Info) -> bool:
    """Whether writing so would only write the source's own encoding once more.

    A quality that counts changes it, and so does a frame less. A progressive JPEG is changed by who names JPEG, a PNG
    with a palette by who names PNG; neither by who names no format. Source: https://kontent.ai/learn/docs/apis/image-transformation-api
    """
    encoding, choice = chosen.encoding, chosen.choice
    if encoding.format is not info.format or chosen.frames != info.frames:
        return False
    if choice.format is Format.PNG and encoding.palette != info.palette:
        return False
    if encoding.format in _MAY_BE_LOSSLESS and encoding.lossless != info.lossless:
        return False
    if choice.format is Format.JPEG and encoding.progressive != info.progressive:
        return False
    return choice.quality is None or not _quality_counts(encoding)


def _last_resorts(output: Output, info: Info) -> Iterator[Choice]:
    last = output.choices[-1] if output.choices else Choice()
    free = replace(last, keeps_animation=False, skipped_for=(), refuse_beyond=False, warning_if_skipped=None)
    yield replace(free, format=None)
    yield replace(free, format=Format.PNG if info.alpha else Format.JPEG)


def _holds(choice: Choice, named: Format, output: Output, info: Info) -> bool:
    loses_animation = info.animated and not output.first_frame and not TRAITS[named].animated
    return (
        TRAITS[named].writable
        and not matches_any(choice.skipped_for, info)
        and not (choice.keeps_animation and loses_animation)
    )


def _area_holds(choice: Choice, named: Format, size: Size, limits: Limits) -> bool:
    if named is not Format.AVIF or limits.avif_area is None or size.area <= limits.avif_area:
        return True
    if choice.refuse_beyond:
        raise too_large(f"an AVIF of {size} has {size.area} pixels, at most {limits.avif_area} are made", "format")
    return False


def _frames(choice: Choice, named: Format, output: Output, info: Info) -> int:
    still = output.first_frame or choice.first_frame or not TRAITS[named].animated
    return 1 if still else info.frames


def _encoding(choice: Choice, named: Format, output: Output, info: Info) -> Encoding:
    return Encoding(
        format=named,
        quality=choice.quality or QUALITIES.get(named, _OF_NO_ACCOUNT),
        lossless=named in _MAY_BE_LOSSLESS and _told(choice.lossless, as_source=info.lossless),
        progressive=named is Format.JPEG and _told(choice.progressive, as_source=info.progressive),
        palette=named is Format.PNG and choice.palette,
        keeps=_kept(output, named, info),
    )


def _kept(output: Output, named: Format, info: Info) -> frozenset[KeepMetadata]:
    """What stays of the metadata: a profile in any format, the rest only from JPEG to JPEG."""
    if named is info.format is Format.JPEG:
        return output.keeps
    return output.keeps & {KeepMetadata.ICC}


def _told(tell: TriState, *, as_source: bool) -> bool:
    match tell:
        case TriState.YES:
            return True
        case TriState.NO:
            return False
        case TriState.AS_SOURCE:
            return as_source


def _quality_counts(encoding: Encoding) -> bool:
    match encoding.format:
        case Format.JPEG:
            return True
        case Format.WEBP | Format.AVIF:
            return not encoding.lossless
        case _:
            return encoding.palette
