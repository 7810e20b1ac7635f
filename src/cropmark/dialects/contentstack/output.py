"""Which format comes out, and how it is encoded: `format`, `auto`, Accept, `quality`, `frame`.

Source: https://www.contentstack.com/docs/developers/apis/image-delivery-api, convert-formats, automate-optimization
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cropmark.dialects.contentstack import params
from cropmark.dialects.contentstack.readers import Named
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.imageopto.encoding import AVIF_QUALITY, GIF, GIFS, OPAQUE, PNG, STILLS, only_from, own_format
from cropmark.dialects.params import Asked
from cropmark.model.formats import READABLE, Format
from cropmark.plan.plan import Choice, Output, Tell

READS = READABLE & {Format.JPEG, Format.PNG, Format.WEBP, Format.GIF, Format.AVIF, Format.HEIC}

_USUAL_QUALITY = 85
_NOT_AVIF = "AVIF was passed over: the picture is animated or too large for it"
_LOSSLESS_BASES = frozenset({Named.PNG, Named.GIF, Named.LOSSLESS_WEBP})


def output(asked: Asked, accepted: frozenset[Format], settings: ContentstackSettings, *, changed: bool) -> Output:
    """How the result is written. `changed`: Steps stand before it, so it is more than the source at another quality."""
    named = params.FORMAT.of(asked)
    auto = params.AUTO.of(asked)
    scheme = _scheme(asked)
    if named is Named.AUTO:
        choices = _best(accepted, scheme)
    else:
        choices = (*_by_auto(accepted & set(auto.known if auto else ()), named, scheme), *_by_name(named, scheme))
    first_frame = params.FRAME.of(asked) is not None
    return Output(
        choices=_with_gif_rules(choices, settings, first_frame=first_frame),
        # A GIF is neither resized nor converted: what asks for no more leaves it as it is, palette and all.
        same_is_original=() if settings.gif_resize else (GIFS,),
        larger_is_original=not (changed or named or first_frame),
    )


@dataclass(frozen=True, slots=True)
class _Scheme:
    """The quality that each format would be written at, and whether the query named one."""

    usual: int = _USUAL_QUALITY
    auto_webp: int = _USUAL_QUALITY
    avif: int = AVIF_QUALITY
    named: bool = False

    @property
    def jpeg(self) -> Choice:
        return Choice(Format.JPEG, self.usual)

    @property
    def webp(self) -> Choice:
        """Lossy, but lossless from a lossless source where no quality was named."""
        return Choice(Format.WEBP, self.usual, lossless=Tell.NO if self.named else Tell.AS_SOURCE)

    @property
    def own(self) -> tuple[Choice, ...]:
        return own_format(
            jpeg=replace(self.jpeg, progressive=Tell.AS_SOURCE),
            webp=self.webp,
            avif=Choice(Format.AVIF, self.avif, refuse_beyond=True),
        )


def _scheme(asked: Asked) -> _Scheme:
    quality = params.QUALITY.of(asked)
    if quality is None:
        return _Scheme()
    return _Scheme(quality.usual, quality.auto_webp, quality.usual, named=True)


def _by_auto(offered: frozenset[Format], base: Named | None, scheme: _Scheme) -> tuple[Choice, ...]:
    """AVIF, then WebP: lossless where the base format is."""
    choices = []
    if Format.AVIF in offered:
        choices.append(Choice(Format.AVIF, scheme.avif, keeps_animation=True, missed=_NOT_AVIF))
    if Format.WEBP in offered:
        choices.append(Choice(Format.WEBP, scheme.auto_webp, lossless=_lossless_by_auto(base, scheme)))
    return tuple(choices)


def _lossless_by_auto(base: Named | None, scheme: _Scheme) -> Tell:
    if base is None:
        return Tell.AS_SOURCE
    if base is Named.WEBP:
        return scheme.webp.lossless
    return Tell.YES if base in _LOSSLESS_BASES else Tell.NO


def _by_name(named: Named | None, scheme: _Scheme) -> tuple[Choice, ...]:
    """What `format` asks for."""
    by_name = {
        Named.GIF: GIF,
        Named.PNG: PNG,
        Named.JPEG: scheme.jpeg,
        Named.PROGRESSIVE_JPEG: replace(scheme.jpeg, progressive=Tell.YES),
        Named.WEBP: scheme.webp,
        Named.LOSSLESS_WEBP: replace(scheme.webp, lossless=Tell.YES),
        Named.LOSSY_WEBP: replace(scheme.webp, lossless=Tell.NO),
        Named.AVIF: Choice(Format.AVIF, scheme.avif, refuse_beyond=True),
    }
    choice = by_name.get(named) if named else None
    return scheme.own if choice is None else (choice,)


def _best(accepted: frozenset[Format], scheme: _Scheme) -> tuple[Choice, ...]:
    """``format=auto``: AVIF or WebP where the client names it, else JPEG or PNG; never a still of an animation.

    Lossy but for a quality of 100, which is the engine's rule: https://www.fastly.com/documentation/reference/io/format
    """
    lossless = Tell.YES if scheme.usual == 100 else Tell.NO
    modern = (
        Choice(Format.AVIF, scheme.avif, lossless=lossless, keeps_animation=True),
        Choice(Format.WEBP, scheme.usual, lossless=lossless),
    )
    jpeg = replace(scheme.jpeg, progressive=Tell.AS_SOURCE)
    return (
        *(choice for choice in modern if choice.format in accepted),
        replace(GIF, skipped_for=(STILLS,)),
        only_from(jpeg, Format.JPEG),
        only_from(PNG, Format.PNG),
        replace(PNG, skipped_for=(OPAQUE,)),
        jpeg,
    )


def _with_gif_rules(
    choices: tuple[Choice, ...], settings: ContentstackSettings, *, first_frame: bool
) -> tuple[Choice, ...]:
    """The choices; before them GIF for GIFs, which are not converted, and `frame` for GIFs, the only ones it is for."""
    if not settings.gif_resize:
        return (only_from(replace(GIF, first_frame=first_frame), Format.GIF), *choices)
    if not first_frame:
        return choices
    of_gifs = (only_from(replace(choice, first_frame=True), Format.GIF) for choice in choices)
    return (*of_gifs, *(replace(choice, skipped_for=(*choice.skipped_for, GIFS)) for choice in choices))
