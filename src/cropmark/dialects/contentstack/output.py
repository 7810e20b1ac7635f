"""The output of a request, from `format`, `auto`, Accept, `quality` and `frame`.

Source: https://www.contentstack.com/docs/developers/apis/image-delivery-api and its pages convert-formats and
automate-optimization
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cropmark.dialects.contentstack import params
from cropmark.dialects.contentstack.readers import FormatWord
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.imageopto.encoding import (
    ANIMATIONS_EXCEPT_AVIF,
    AVIF_QUALITY,
    GIF,
    GIFS,
    OPAQUE,
    PNG,
    STILLS,
    only_from,
    source_format_choices,
)
from cropmark.dialects.params import ParsedParams
from cropmark.model.formats import READABLE, Format
from cropmark.plan.plan import EncodingChoice, Output, TriState

READS = READABLE & {Format.JPEG, Format.PNG, Format.WEBP, Format.GIF, Format.AVIF, Format.HEIC}

_USUAL_QUALITY = 85
_NOT_AVIF = "AVIF was skipped: the image is animated or too large for it"
_AUTO_AVIF = EncodingChoice(Format.AVIF, keep_animation=True, skipped_for=(ANIMATIONS_EXCEPT_AVIF,))
_LOSSLESS_BASES = frozenset({FormatWord.PNG, FormatWord.GIF, FormatWord.LOSSLESS_WEBP})


def output(
    parsed: ParsedParams, accepted: frozenset[Format], settings: ContentstackSettings, *, changed: bool
) -> Output:
    """The Output of a request: the possible encodings of its result.

    `changed` is True if the request has Steps. If it is False, and the result has more bytes than the original, the
    original may be sent.
    """
    named = params.FORMAT.of(parsed)
    auto = params.AUTO.of(parsed)
    rules = _output_rules(parsed)
    if named is FormatWord.AUTO:
        choices = _best_choices(accepted, rules)
    else:
        choices = (
            *_auto_choices(accepted & set(auto.known if auto else ()), named, rules),
            *_named_choices(named, rules),
        )
    first_frame = params.FRAME.of(parsed) is not None
    return Output(
        choices=_with_gif_rules(choices, settings, first_frame=first_frame),
        # A GIF is neither resized nor converted: without another change its stored bytes are sent.
        same_is_original=() if settings.gif_resize else (GIFS,),
        larger_is_original=not (changed or named or first_frame),
    )


@dataclass(frozen=True, slots=True)
class _OutputRules:
    """The qualities of a request: `auto_webp` for a WebP that `auto` chose, `avif` for AVIF, `usual` for all others.

    `named` is True if the query has the parameter `quality`.
    """

    usual: int = _USUAL_QUALITY
    auto_webp: int = _USUAL_QUALITY
    avif: int = AVIF_QUALITY
    named: bool = False

    @property
    def jpeg(self) -> EncodingChoice:
        return EncodingChoice(Format.JPEG, self.usual)

    @property
    def webp(self) -> EncodingChoice:
        """The choice of WebP: lossy if the query has `quality`; otherwise lossless if the source is lossless."""
        return EncodingChoice(Format.WEBP, self.usual, lossless=TriState.NO if self.named else TriState.AS_SOURCE)

    @property
    def source_choices(self) -> tuple[EncodingChoice, ...]:
        return source_format_choices(
            jpeg=replace(self.jpeg, progressive=TriState.AS_SOURCE),
            webp=self.webp,
            avif=EncodingChoice(Format.AVIF, self.avif),
        )


def _output_rules(parsed: ParsedParams) -> _OutputRules:
    quality = params.QUALITY.of(parsed)
    if quality is None:
        return _OutputRules()
    return _OutputRules(quality.usual, quality.auto_webp, quality.usual, named=True)


def _auto_choices(
    offered: frozenset[Format], base: FormatWord | None, rules: _OutputRules
) -> tuple[EncodingChoice, ...]:
    """The encoding choices for the parameter `auto`: AVIF, then WebP, if they are in `offered`.

    `base` is the format that the query names. It decides if the WebP is lossless.
    """
    choices = []
    if Format.AVIF in offered:
        choices.append(replace(_AUTO_AVIF, quality=rules.avif, warning_if_skipped=_NOT_AVIF))
    if Format.WEBP in offered:
        choices.append(
            EncodingChoice(Format.WEBP, rules.auto_webp, lossless=_lossless_by_auto(base, rules), keep_animation=True)
        )
    return tuple(choices)


def _lossless_by_auto(base: FormatWord | None, rules: _OutputRules) -> TriState:
    if base is None:
        return TriState.AS_SOURCE
    if base is FormatWord.WEBP:
        return rules.webp.lossless
    return TriState.YES if base in _LOSSLESS_BASES else TriState.NO


def _named_choices(named: FormatWord | None, rules: _OutputRules) -> tuple[EncodingChoice, ...]:
    """The encoding choice for the format that the query names; if it names none, a choice for each source format."""
    by_name = {
        FormatWord.GIF: GIF,
        FormatWord.PNG: PNG,
        FormatWord.JPEG: rules.jpeg,
        FormatWord.PROGRESSIVE_JPEG: replace(rules.jpeg, progressive=TriState.YES),
        FormatWord.WEBP: rules.webp,
        FormatWord.LOSSLESS_WEBP: replace(rules.webp, lossless=TriState.YES),
        FormatWord.LOSSY_WEBP: replace(rules.webp, lossless=TriState.NO),
        FormatWord.AVIF: EncodingChoice(Format.AVIF, rules.avif, refuse_over_limit=True),
    }
    choice = by_name.get(named) if named else None
    return rules.source_choices if choice is None else (choice,)


def _best_choices(accepted: frozenset[Format], rules: _OutputRules) -> tuple[EncodingChoice, ...]:
    """The encoding choices for ``format=auto``: AVIF or WebP if the client accepts it, else GIF, PNG or JPEG.

    An animation never becomes a still. AVIF and WebP are lossy, except with a quality of 100. That exception is a rule
    of the Image Optimizer: https://www.fastly.com/documentation/reference/io/format
    """
    lossless = TriState.YES if rules.usual == 100 else TriState.NO
    modern = (
        replace(_AUTO_AVIF, quality=rules.avif, lossless=lossless),
        EncodingChoice(Format.WEBP, rules.usual, lossless=lossless, keep_animation=True),
    )
    jpeg = replace(rules.jpeg, progressive=TriState.AS_SOURCE)
    return (
        *(choice for choice in modern if choice.format in accepted),
        replace(GIF, skipped_for=(STILLS,)),
        only_from(jpeg, Format.JPEG),
        only_from(PNG, Format.PNG),
        replace(PNG, skipped_for=(OPAQUE,)),
        jpeg,
    )


def _with_gif_rules(
    choices: tuple[EncodingChoice, ...], settings: ContentstackSettings, *, first_frame: bool
) -> tuple[EncodingChoice, ...]:
    """The encoding choices, changed for sources that are GIFs.

    Without the setting `gif_resize`, a GIF stays a GIF. With `first_frame`, only the first frame of a GIF is written.
    `first_frame` has no effect on other sources.
    """
    if not settings.gif_resize:
        return (only_from(replace(GIF, first_frame=first_frame), Format.GIF), *choices)
    if not first_frame:
        return choices
    of_gifs = (only_from(replace(choice, first_frame=True), Format.GIF) for choice in choices)
    return (*of_gifs, *(replace(choice, skipped_for=(*choice.skipped_for, GIFS)) for choice in choices))
