"""Chooses the encoding of the result: the first choice of the plan that can be used for the source and the size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from cropmark.geometry.limits import too_large
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import TRAITS, Colors, Format, Info
from cropmark.model.values import Size
from cropmark.plan.plan import EncodingChoice, KeepMetadata, Limits, Output, RequestWarning, TriState, Video
from cropmark.plan.source import matches_any

# fmt: off
QUALITIES: dict[Format, int] = {
    Format.JPEG: 85,
    Format.WEBP: 85,
    Format.AVIF: 64,   # looks like a JPEG of quality 85
    Format.JXL:  84,   # looks like a JPEG of quality 85
    Format.PNG:  85,   # used with a palette only
}
# fmt: on
_UNUSED_QUALITY = 100
_WITH_PALETTE = frozenset({Format.PNG, Format.GIF})
_SMALL_BYTES = 1024
_WITHOUT_PROFILES = frozenset({Format.GIF, Format.MP4})
_MAY_BE_LOSSLESS = frozenset({Format.WEBP, Format.AVIF, Format.JXL})


@dataclass(frozen=True, slots=True)
class ChosenEncoding:
    """The encoding of a result, and the choice of the plan from which it was made.

    `frames` is the number of frames to write. `warnings` are those of the choices that were skipped.
    """

    encoding: Encoding
    choice: EncodingChoice
    frames: int
    warnings: tuple[RequestWarning, ...] = ()


def choose_encoding(
    output: Output, info: Info, size: Size, limits: Limits, *, unchanged: bool = False
) -> ChosenEncoding:
    """The encoding of a result of this size, for a source with this header.

    If no choice of the output applies, the result has the source's format and the quality of the last choice. If that
    format cannot be written, it is PNG for a source with alpha, else JPEG.

    `unchanged` is True if no Op changes the source, so that its bytes can be sent. Then, if only the first frame of an
    animation can be decoded, choices of another format with `keep_animation` are skipped: only the source's bytes have
    all frames.

    Raises OutputTooLarge for an AVIF above its area limit, if the choice has `refuse_over_limit`.
    """
    skipped: list[RequestWarning] = []
    for choice in (*output.choices, *_fallback_choices(output, info)):
        format_ = choice.format or info.format
        if unchanged and _loses_unread_frames(choice, format_, output, info):
            skipped.append(RequestWarning("format", f"{format_.value} was skipped: it would end the animation"))
            continue
        text = choice.warning_if_skipped
        if _applies(choice, format_, output, info):
            if _area_fits(choice, format_, size, limits):
                frames = _frames(choice, format_, output, info)
                return ChosenEncoding(_encoding(choice, format_, output, info), choice, frames, tuple(skipped))
            if format_ is info.format:
                text = text or f"AVIF was skipped: {size} is too large for it"
        if text is not None:
            skipped.append(RequestWarning("format", text))
    raise AssertionError("JPEG and PNG can always be written")


def byte_limit(encoding: Encoding, info: Info, size: Size) -> int | None:
    """The most bytes that a still PNG or GIF may have if its source has few colors; None for any number of bytes.

    The limit is three times the bytes of the source, in proportion to the pixels. A small result may have a kilobyte,
    but not more than three times the source: a kilobyte fits into one packet, and a loss of colors would be visible
    (docs/decisions/0163). The limit does not apply to a PNG with a color profile, which only the engine finds.
    """
    has_few_colors = info.format is Format.GIF or info.palette or info.few_bits
    if not has_few_colors or encoding.format not in _WITH_PALETTE or encoding.palette:
        return None
    most = 3 * info.bytes // info.frames
    return max(most * size.area // info.stored_size.area, min(most, _SMALL_BYTES))


def lost_frames_warnings(chosen: ChosenEncoding, output: Output, info: Info) -> tuple[RequestWarning, ...]:
    """A warning if only the first frame is written because the other frames of the animation cannot be decoded.

    No warning if the request asks for the first frame.
    """
    if not info.first_frame_only or _is_first_frame(chosen.choice, output):
        return ()
    return (RequestWarning("animation", f"only the first frame of an animated {info.format.value} can be read"),)


def unused_quality_warnings(chosen: ChosenEncoding, info: Info) -> tuple[RequestWarning, ...]:
    """A warning that the requested quality has no effect, for an animation that is sent unchanged.

    The animation is sent unchanged because it cannot be encoded.
    """
    if not info.first_frame_only or not _quality_counts(chosen.encoding):
        return ()
    if chosen.encoding.quality == QUALITIES[info.format]:
        return ()
    return (RequestWarning("quality", f"ignored: an animated {info.format.value} cannot be encoded"),)


def is_source_encoding(chosen: ChosenEncoding, output: Output, info: Info) -> bool:
    """True if the chosen encoding is the source's own, so that the original can be sent instead of a result.

    False if the number of frames changes, or a quality that the encoder uses. False if the request names JPEG for a
    progressive JPEG, or PNG for a PNG with a palette. A request without a format leaves both as they are.
    If only the first frame of an animation can be decoded, the source's bytes are the only encoding of all frames.
    Source: https://kontent.ai/learn/docs/apis/image-transformation-api
    """
    encoding, choice = chosen.encoding, chosen.choice
    if info.first_frame_only:
        return encoding.format is info.format and not (encoding.palette or _is_first_frame(choice, output))
    if encoding.format is not info.format or chosen.frames != info.frames:
        return False
    if choice.format is Format.PNG and encoding.palette != info.palette:
        return False
    if encoding.format in _MAY_BE_LOSSLESS and encoding.lossless != info.lossless:
        return False
    if choice.format is Format.JPEG and encoding.progressive != info.progressive:
        return False
    return choice.quality is None or not _quality_counts(encoding)


def can_be_recompressed(chosen: ChosenEncoding, info: Info) -> bool:
    """True if a source without Ops can become a JPEG XL without loss.

    The source must be an upright JPEG, and the request must not have a quality.
    """
    is_jpeg_to_jxl = info.format is Format.JPEG and chosen.encoding.format is Format.JXL
    return is_jpeg_to_jxl and info.orientation == 1 and chosen.choice.quality is None


def _fallback_choices(output: Output, info: Info) -> Iterator[EncodingChoice]:
    """Yield the output's last choice without its conditions: in the source's format, then as PNG or JPEG."""
    last = output.choices[-1] if output.choices else EncodingChoice()
    free = replace(last, keep_animation=False, skipped_for=(), refuse_over_limit=False, warning_if_skipped=None)
    yield replace(free, format=None)
    yield replace(free, format=Format.PNG if info.alpha else Format.JPEG)


def _loses_unread_frames(choice: EncodingChoice, format_: Format, output: Output, info: Info) -> bool:
    is_lost = info.first_frame_only and not _is_first_frame(choice, output) and format_ is not info.format
    return choice.keep_animation and is_lost and not matches_any(choice.skipped_for, info)


def _applies(choice: EncodingChoice, format_: Format, output: Output, info: Info) -> bool:
    loses_animation = info.animated and not output.first_frame and not TRAITS[format_].animated
    return (
        TRAITS[format_].writable
        and not matches_any(choice.skipped_for, info)
        and not (choice.keep_animation and loses_animation)
        and not (format_ is Format.MP4 and _frames(choice, format_, output, info) == 1)
    )


def _area_fits(choice: EncodingChoice, format_: Format, size: Size, limits: Limits) -> bool:
    if format_ is not Format.AVIF or limits.avif_area is None or size.area <= limits.avif_area:
        return True
    if choice.refuse_over_limit:
        raise too_large(f"an AVIF of {size} has {size.area} pixels, at most {limits.avif_area} are allowed", "format")
    return False


def _frames(choice: EncodingChoice, format_: Format, output: Output, info: Info) -> int:
    still = _is_first_frame(choice, output) or not TRAITS[format_].animated
    return 1 if still else info.frames


def _is_first_frame(choice: EncodingChoice, output: Output) -> bool:
    return output.first_frame or choice.first_frame


def _encoding(choice: EncodingChoice, format_: Format, output: Output, info: Info) -> Encoding:
    return Encoding(
        format=format_,
        quality=choice.quality or QUALITIES.get(format_, _UNUSED_QUALITY),
        lossless=format_ in _MAY_BE_LOSSLESS and _is_set(choice.lossless, as_source=info.lossless),
        progressive=format_ is Format.JPEG and _is_set(choice.progressive, as_source=info.progressive),
        palette=format_ is Format.PNG and choice.palette,
        compact=format_ is Format.JPEG and choice.compact,
        metadata=_kept_metadata(output, format_, info),
        colors=output.colors if format_ not in _WITHOUT_PROFILES else Colors.SRGB,
        gain_map=output.gain_map and info.gain_map and format_ is Format.JPEG,
        video=(choice.video or Video()) if format_ is Format.MP4 else None,
    )


def _kept_metadata(output: Output, format_: Format, info: Info) -> frozenset[KeepMetadata]:
    """The metadata to copy: a color profile to every format that can have one, all others only from JPEG to JPEG."""
    if format_ in _WITHOUT_PROFILES:
        return frozenset()
    if format_ is info.format is Format.JPEG:
        return output.metadata
    return output.metadata & {KeepMetadata.ICC}


def _is_set(value: TriState, *, as_source: bool) -> bool:
    match value:
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
        case Format.WEBP | Format.AVIF | Format.JXL:
            return not encoding.lossless
        case _:
            return encoding.palette
