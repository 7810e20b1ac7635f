"""Which format comes out, and how it is encoded: `format`, `auto`, Accept, `quality`, `frame`.

Source: https://www.contentstack.com/docs/developers/apis/image-delivery-api, convert-formats, automate-optimization
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cropmark.dialects.contentstack import params
from cropmark.dialects.contentstack.readers import FormatWord
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.imageopto.encoding import (
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
_NOT_AVIF = "AVIF was passed over: the picture is animated or too large for it"
_LOSSLESS_BASES = frozenset({FormatWord.PNG, FormatWord.GIF, FormatWord.LOSSLESS_WEBP})


def output(
    asked: ParsedParams, accepted: frozenset[Format], settings: ContentstackSettings, *, changed: bool
) -> Output:
    """How the result is written. `changed`: Steps stand before it, so it is more than the source at another quality."""
    named = params.FORMAT.of(asked)
    auto = params.AUTO.of(asked)
    scheme = _output_rules(asked)
    if named is FormatWord.AUTO:
        choices = _best_choices(accepted, scheme)
    else:
        choices = (
            *_auto_choices(accepted & set(auto.known if auto else ()), named, scheme),
            *_named_choices(named, scheme),
        )
    first_frame = params.FRAME.of(asked) is not None
    return Output(
        choices=_with_gif_rules(choices, settings, first_frame=first_frame),
        # A GIF is neither resized nor converted: what asks for no more leaves it as it is, palette and all.
        same_is_original=() if settings.gif_resize else (GIFS,),
        larger_is_original=not (changed or named or first_frame),
    )


@dataclass(frozen=True, slots=True)
class _OutputRules:
    """The quality that each format would be written at, and whether the query named one."""

    usual: int = _USUAL_QUALITY
    auto_webp: int = _USUAL_QUALITY
    avif: int = AVIF_QUALITY
    named: bool = False

    @property
    def jpeg(self) -> EncodingChoice:
        return EncodingChoice(Format.JPEG, self.usual)

    @property
    def webp(self) -> EncodingChoice:
        """Lossy, but lossless from a lossless source where no quality was named."""
        return EncodingChoice(Format.WEBP, self.usual, lossless=TriState.NO if self.named else TriState.AS_SOURCE)

    @property
    def source_choices(self) -> tuple[EncodingChoice, ...]:
        return source_format_choices(
            jpeg=replace(self.jpeg, progressive=TriState.AS_SOURCE),
            webp=self.webp,
            avif=EncodingChoice(Format.AVIF, self.avif, refuse_over_limit=True),
        )


def _output_rules(asked: ParsedParams) -> _OutputRules:
    quality = params.QUALITY.of(asked)
    if quality is None:
        return _OutputRules()
    return _OutputRules(quality.usual, quality.auto_webp, quality.usual, named=True)


def _auto_choices(
    offered: frozenset[Format], base: FormatWord | None, scheme: _OutputRules
) -> tuple[EncodingChoice, ...]:
    """AVIF, then WebP: lossless where the base format is."""
    choices = []
    if Format.AVIF in offered:
        choices.append(EncodingChoice(Format.AVIF, scheme.avif, keep_animation=True, warning_if_skipped=_NOT_AVIF))
    if Format.WEBP in offered:
        choices.append(EncodingChoice(Format.WEBP, scheme.auto_webp, lossless=_lossless_by_auto(base, scheme)))
    return tuple(choices)


def _lossless_by_auto(base: FormatWord | None, scheme: _OutputRules) -> TriState:
    if base is None:
        return TriState.AS_SOURCE
    if base is FormatWord.WEBP:
        return scheme.webp.lossless
    return TriState.YES if base in _LOSSLESS_BASES else TriState.NO


def _named_choices(named: FormatWord | None, scheme: _OutputRules) -> tuple[EncodingChoice, ...]:
    """What `format` asks for."""
    by_name = {
        FormatWord.GIF: GIF,
        FormatWord.PNG: PNG,
        FormatWord.JPEG: scheme.jpeg,
        FormatWord.PROGRESSIVE_JPEG: replace(scheme.jpeg, progressive=TriState.YES),
        FormatWord.WEBP: scheme.webp,
        FormatWord.LOSSLESS_WEBP: replace(scheme.webp, lossless=TriState.YES),
        FormatWord.LOSSY_WEBP: replace(scheme.webp, lossless=TriState.NO),
        FormatWord.AVIF: EncodingChoice(Format.AVIF, scheme.avif, refuse_over_limit=True),
    }
    choice = by_name.get(named) if named else None
    return scheme.source_choices if choice is None else (choice,)


def _best_choices(accepted: frozenset[Format], scheme: _OutputRules) -> tuple[EncodingChoice, ...]:
    """``format=auto``: AVIF or WebP where the client names it, else JPEG or PNG; never a still of an animation.

    Lossy but for a quality of 100, which is the engine's rule: https://www.fastly.com/documentation/reference/io/format
    """
    lossless = TriState.YES if scheme.usual == 100 else TriState.NO
    modern = (
        EncodingChoice(Format.AVIF, scheme.avif, lossless=lossless, keep_animation=True),
        EncodingChoice(Format.WEBP, scheme.usual, lossless=lossless),
    )
    jpeg = replace(scheme.jpeg, progressive=TriState.AS_SOURCE)
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
    """The choices; before them GIF for GIFs, which are not converted, and `frame` for GIFs, the only ones it is for."""
    if not settings.gif_resize:
        return (only_from(replace(GIF, first_frame=first_frame), Format.GIF), *choices)
    if not first_frame:
        return choices
    of_gifs = (only_from(replace(choice, first_frame=True), Format.GIF) for choice in choices)
    return (*of_gifs, *(replace(choice, skipped_for=(*choice.skipped_for, GIFS)) for choice in choices))
