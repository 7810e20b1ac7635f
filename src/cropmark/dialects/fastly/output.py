"""The output of a request, from `format`, `auto`, Accept, `quality`, `optimize`, `metadata` and `frame`.

Source: the pages format, auto, quality and optimize of https://www.fastly.com/documentation/reference/io/
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from cropmark.dialects.fastly import params
from cropmark.dialects.fastly.readers import FormatWord
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.imageopto.encoding import (
    ANIMATED_GIFS,
    ANIMATIONS_EXCEPT_AVIF,
    AVIF_QUALITY,
    GIF,
    OPAQUE,
    PNG,
    STILLS,
    only_from,
    source_format_choices,
)
from cropmark.dialects.params import ParsedParams
from cropmark.model.formats import READABLE, WRITABLE, Format
from cropmark.plan.plan import EncodingChoice, KeepMetadata, Output, RequestWarning, TriState, Video

READS = READABLE & {Format.AVIF, Format.HEIC, Format.JPEG, Format.JXL, Format.PNG, Format.GIF, Format.WEBP}

_STAYS_GIF = "an animated GIF stays a GIF"
_NOT_AVIF = "AVIF was skipped: the image is animated or too large for it"
_USUAL_JPEG_QUALITY = 85
_NO_JXL = "JPEG XL cannot be written here and was ignored"
_NO_VIDEO = {
    False: "mp4 is not allowed here and was ignored",
    True: "mp4 cannot be written by this build and was ignored",
}
_NOT_A_VIDEO = "mp4 is made of animated GIFs only and was ignored"
_LOSSLESS_BASES = frozenset({FormatWord.PNG, FormatWord.GIF, FormatWord.LOSSLESS_WEBP})


# ------------------------------------------------------------------------------------------------ quality

# JPEG qualities with the visually equal quality in other formats. 0 and 100 are the ends; 100 itself is lossless.
_EQUIVALENT = {
    Format.AVIF: ((0, 0), (50, 40), (75, 55), (85, 64), (95, 80), (100, 100)),
    Format.WEBP: ((0, 0), (50, 48), (75, 72), (85, 82), (95, 92), (100, 100)),
    Format.JXL: ((0, 0), (50, 50), (75, 74), (85, 84), (95, 94), (100, 100)),
}


def equivalent_quality(quality: int, to: Format) -> int:
    """The quality in the format `to` that looks the same as this quality of a JPEG.

    It is interpolated in a table: 85 becomes 64 in AVIF, 82 in WebP, 84 in JPEG XL. For other formats, the number is
    unchanged.
    """
    for (start, low), (end, high) in pairwise(_EQUIVALENT.get(to, ())):
        if start <= quality <= end:
            exact = low + Fraction((high - low) * (quality - start), end - start)
            return max(1, int(exact + Fraction(1, 2)))
    return quality


@dataclass(frozen=True, slots=True)
class _Qualities:
    """The quality of each output format; `auto_webp` is for a WebP that `auto` chose.

    `named` is True if the query has `quality` or `optimize`. `compact` is True if it has `optimize`.
    """

    jpeg: int
    webp: int
    auto_webp: int
    avif: int
    jxl: int
    named: bool
    compact: bool = False

    @property
    def webp_lossless(self) -> TriState:
        """The losslessness of WebP: lossy if the query sets a quality, otherwise the same as the source."""
        return TriState.NO if self.named else TriState.AS_SOURCE


def _qualities(parsed: ParsedParams, settings: FastlySettings) -> _Qualities:
    quality, optimized = params.QUALITY.of(parsed), params.OPTIMIZE.of(parsed)
    if quality is not None:
        compact = optimized is not None
        usual = quality.usual
        return _Qualities(usual, usual, quality.auto_webp, usual, usual, named=True, compact=compact)
    if optimized is not None:
        webp = equivalent_quality(optimized, Format.WEBP)
        avif, jxl = (equivalent_quality(optimized, to) for to in (Format.AVIF, Format.JXL))
        return _Qualities(optimized, webp, webp, avif, jxl, named=True, compact=True)
    webp, jxl = settings.webp_quality, equivalent_quality(settings.jpeg_quality, Format.JXL)
    return _Qualities(settings.jpeg_quality, webp, webp, AVIF_QUALITY, jxl, named=False)


# ------------------------------------------------------------------------------------------------ formats


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """An Output and the warnings about it. `negotiated` is True if the Output depends on the Accept header."""

    output: Output
    negotiated: bool
    warnings: tuple[RequestWarning, ...] = ()


def parsed_output(
    parsed: ParsedParams, accepted: frozenset[Format], settings: FastlySettings, *, changed: bool
) -> ParsedOutput:
    """The Output of a request with its warnings.

    `changed` is True if the request has Steps. If it is False, and the result has more bytes than the original, the
    original may be sent.
    """
    named = params.FORMAT.of(parsed)
    rules = _OutputRules(
        _qualities(parsed, settings), settings, first_frame=params.FRAME.of(parsed) is not None, video=_video(parsed)
    )
    offered, warnings = _auto_formats(parsed, settings)
    if named is FormatWord.AUTO:
        choices = _best_choices(parsed, accepted, rules)
    else:
        choices = (*_auto_choices(offered & accepted, named, rules), *_named_choices(named, rules))
    metadata, ignored = _kept_metadata(parsed)
    output = Output(
        choices=choices,
        metadata=metadata,
        first_frame=rules.first_frame,
        larger_is_original=not (changed or named or metadata or rules.first_frame),
    )
    return ParsedOutput(
        output, bool(offered) or named is FormatWord.AUTO, (*warnings, *_unwritable_warnings(named, settings), *ignored)
    )


@dataclass(frozen=True, slots=True)
class _OutputRules:
    """The values that all encoding choices of a request have in common."""

    quality: _Qualities
    settings: FastlySettings
    first_frame: bool
    video: Video

    @property
    def jpeg(self) -> EncodingChoice:
        progressive = self.settings.jpeg_type.progressive
        return EncodingChoice(Format.JPEG, self.quality.jpeg, progressive=progressive, compact=self.quality.compact)

    @property
    def jxl_quality(self) -> int | None:
        """The quality of JPEG XL; None if the query has no quality and the setting `jpeg_quality` has its default.

        With None, a JPEG that no Step changes becomes a JPEG XL without loss.
        """
        usual = self.settings.jpeg_quality == _USUAL_JPEG_QUALITY
        return None if usual and not self.quality.named else self.quality.jxl

    @property
    def source_choices(self) -> tuple[EncodingChoice, ...]:
        return source_format_choices(
            jpeg=self.jpeg,
            webp=EncodingChoice(Format.WEBP, self.quality.webp, lossless=self.quality.webp_lossless),
            avif=EncodingChoice(Format.AVIF, self.quality.avif),
        )

    @property
    def by_name(self) -> dict[FormatWord, EncodingChoice]:
        """The encoding choice for each word of `format`. A word that is missing here has no effect on the image."""
        quality = self.quality
        webp = EncodingChoice(Format.WEBP, quality.webp)
        avif = EncodingChoice(Format.AVIF, quality.avif, refuse_over_limit=True)
        return {
            FormatWord.AVIF: self.unless_animated_gif(avif),
            FormatWord.BASELINE_JPEG: replace(self.jpeg, progressive=TriState.NO),
            FormatWord.GIF: GIF,
            FormatWord.JPEG: self.jpeg,
            FormatWord.JXL: EncodingChoice(Format.JXL, self.jxl_quality, warning_if_skipped=_NO_JXL),
            **({FormatWord.MP4: self.mp4} if _writes_video(self.settings) else {}),
            FormatWord.PROGRESSIVE_JPEG: replace(self.jpeg, progressive=TriState.YES),
            FormatWord.PNG: PNG,
            FormatWord.PNG8: EncodingChoice(Format.PNG, quality.jpeg if quality.named else None, palette=True),
            FormatWord.WEBP: self.unless_animated_gif(replace(webp, lossless=quality.webp_lossless)),
            FormatWord.LOSSLESS_WEBP: self.unless_animated_gif(replace(webp, lossless=TriState.YES)),
            FormatWord.LOSSY_WEBP: self.unless_animated_gif(webp),
        }

    @property
    def mp4(self) -> EncodingChoice:
        choice = EncodingChoice(Format.MP4, video=self.video, skipped_for=(STILLS,), warning_if_skipped=_NOT_A_VIDEO)
        return only_from(choice, Format.GIF)

    def unless_animated_gif(self, choice: EncodingChoice) -> EncodingChoice:
        """The choice, skipped for animated GIFs, because the service does not convert them to WebP or AVIF.

        Returned unchanged if only the first frame is written, or if the setting `animated_webp` allows the WebP.
        """
        allowed = self.first_frame or (self.settings.animated_webp and choice.format is Format.WEBP)
        return choice if allowed else replace(choice, skipped_for=(ANIMATED_GIFS,), warning_if_skipped=_STAYS_GIF)

    def by_auto(self, choice: EncodingChoice) -> EncodingChoice:
        """The choice of AVIF or WebP, with the rules of `auto` for animations.

        An animation stays in its format, unless the setting `animated_auto` is on. An animated AVIF may become a WebP,
        because the client does not accept AVIF.
        """
        if self.settings.animated_auto:
            return choice
        if choice.format is Format.WEBP:
            return self.unless_animated_gif(choice)
        return choice if self.first_frame else replace(choice, skipped_for=(ANIMATIONS_EXCEPT_AVIF,))


def _video(parsed: ParsedParams) -> Video:
    """The profile and level of an mp4. The defaults apply unless the query has both parameters."""
    profile, level = params.PROFILE.of(parsed), params.LEVEL.of(parsed)
    return Video() if profile is None or level is None else Video(profile, level)


def _writes_video(settings: FastlySettings) -> bool:
    return settings.allow_video and Format.MP4 in WRITABLE


def _auto_formats(
    parsed: ParsedParams, settings: FastlySettings
) -> tuple[frozenset[Format], tuple[RequestWarning, ...]]:
    """The formats that `auto` and the settings offer to clients that accept them, and warnings.

    Each unknown word of `auto` has a warning.
    """
    auto = params.AUTO.of(parsed)
    service = {Format.WEBP} if settings.webp else set()
    if auto is None:
        return frozenset(service), ()
    warnings = tuple(RequestWarning("auto", f"{word} is not known and was ignored") for word in auto.unknown)
    return frozenset({*auto.known, *service}), warnings


def _auto_choices(
    offered: frozenset[Format], base: FormatWord | None, rules: _OutputRules
) -> tuple[EncodingChoice, ...]:
    """The encoding choices for the parameter `auto`: AVIF, then WebP, if they are in `offered`.

    `base` is the format that the query names. It decides if the WebP is lossless.
    """
    choices = []
    if Format.AVIF in offered:
        avif = EncodingChoice(Format.AVIF, rules.quality.avif, keep_animation=True, warning_if_skipped=_NOT_AVIF)
        choices.append(rules.by_auto(avif))
    if Format.WEBP in offered:
        lossless = _lossless_by_auto(base, rules.quality)
        webp = EncodingChoice(Format.WEBP, rules.quality.auto_webp, lossless=lossless, keep_animation=True)
        choices.append(rules.by_auto(webp))
    return tuple(choices)


def _lossless_by_auto(base: FormatWord | None, quality: _Qualities) -> TriState:
    if base is None or base in (FormatWord.JXL, FormatWord.MP4, FormatWord.SVG):
        return TriState.AS_SOURCE
    if base is FormatWord.WEBP:
        return quality.webp_lossless
    return TriState.YES if base in _LOSSLESS_BASES else TriState.NO


@lru_cache(256)  # a site uses few formats and qualities
def _named_choices(named: FormatWord | None, rules: _OutputRules) -> tuple[EncodingChoice, ...]:
    """The encoding choice for the format that the query names, then choices for the source's own format.

    The source's format applies if the query names no format, or if the named one is skipped with a warning.
    """
    choice = rules.by_name.get(named) if named else None
    if choice is None:
        return rules.source_choices
    return (choice, *rules.source_choices) if choice.warning_if_skipped else (choice,)


def _best_choices(parsed: ParsedParams, accepted: frozenset[Format], rules: _OutputRules) -> tuple[EncodingChoice, ...]:
    """The encoding choices for ``format=auto``: JPEG XL, AVIF or WebP if the client accepts it, else GIF, PNG or JPEG.

    Those first three are lossy, except with a quality of 100 or with `bw`. An animation never becomes a still.
    """
    quality, black_and_white = rules.quality.jpeg, params.BW.of(parsed) is not None
    lossless = TriState.YES if quality == 100 or black_and_white else TriState.NO
    modern = tuple(
        EncodingChoice(
            format_,
            None if format_ is Format.JXL and rules.jxl_quality is None else equivalent_quality(quality, format_),
            lossless=lossless,
            keep_animation=True,
        )
        for format_ in (Format.JXL, Format.AVIF, Format.WEBP)
        if format_ in accepted
    )
    modern = tuple(rules.by_auto(choice) if choice.format is Format.AVIF else choice for choice in modern)
    if rules.settings.animated_auto and _writes_video(rules.settings) and Format.MP4 in accepted:
        modern = (*modern, replace(rules.mp4, warning_if_skipped=None))
    animation = () if rules.first_frame else (replace(GIF, skipped_for=(STILLS,)),)
    if black_and_white:
        return (*modern, *animation, only_from(GIF, Format.GIF), PNG)
    own = (only_from(rules.jpeg, Format.JPEG), only_from(PNG, Format.PNG), only_from(GIF, Format.GIF))
    return (*modern, *animation, *own, replace(PNG, skipped_for=(OPAQUE,)), rules.jpeg)


def _unwritable_warnings(named: FormatWord | None, settings: FastlySettings) -> tuple[RequestWarning, ...]:
    if named is FormatWord.MP4 and not _writes_video(settings):
        return (RequestWarning("format", _NO_VIDEO[settings.allow_video]),)
    if named is FormatWord.SVG:
        return (RequestWarning("format", "a raster cannot become SVG; the format was ignored"),)
    return ()


def _kept_metadata(parsed: ParsedParams) -> tuple[frozenset[KeepMetadata], tuple[RequestWarning, ...]]:
    words = params.METADATA.of(parsed)
    if words is None:
        return frozenset(), ()
    warnings = [RequestWarning("metadata", f"{word} is not known and was ignored") for word in words.unknown]
    warnings += [RequestWarning("metadata", f"{word.value} was ignored") for word in words.known if word.keep is None]
    return frozenset(word.keep for word in words.known if word.keep is not None), tuple(warnings)
