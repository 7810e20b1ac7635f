"""Which format comes out, and how it is encoded: `format`, `auto`, Accept, `quality`, `optimize`, `metadata`, `frame`.

Source: https://www.fastly.com/documentation/reference/io/format, /auto, /quality, /optimize
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from cropmark.dialects.fastly import params
from cropmark.dialects.fastly.readers import Named
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.imageopto.encoding import (
    ANIMATED_GIFS,
    AVIF_QUALITY,
    GIF,
    OPAQUE,
    PNG,
    STILLS,
    only_from,
    own_format,
)
from cropmark.dialects.params import Asked
from cropmark.model.formats import READABLE, Format
from cropmark.plan.plan import Choice, Keep, Output, Tell, Warned

READS = READABLE & {Format.AVIF, Format.HEIC, Format.JPEG, Format.JXL, Format.PNG, Format.GIF, Format.WEBP}

_STAYS_GIF = "an animated GIF stays one"
_NOT_AVIF = "AVIF was passed over: the picture is animated or too large for it"
_NO_JXL = "JPEG XL cannot be written here and was ignored"
_NO_VIDEO = {
    False: "mp4 is not allowed here and was ignored",
    True: "mp4 cannot be written by this build and was ignored",
}
_LOSSLESS_BASES = frozenset({Named.PNG, Named.GIF, Named.LOSSLESS_WEBP})


# ------------------------------------------------------------------------------------------------ quality

# JPEG's quality and what looks alike elsewhere. 0 and 100 fix the ends of the lines; 100 itself is lossless.
_ALIKE = {
    Format.AVIF: ((0, 0), (50, 40), (75, 55), (85, 64), (95, 80), (100, 100)),
    Format.WEBP: ((0, 0), (50, 48), (75, 72), (85, 82), (95, 92), (100, 100)),
    Format.JXL: ((0, 0), (50, 50), (75, 74), (85, 84), (95, 94), (100, 100)),
}


def translated(quality: int, to: Format) -> int:
    """The quality in another format that looks like this one in JPEG, on straight lines between the known points.

    85 is 64 in AVIF, 82 in WebP, 84 in JPEG XL; formats without a line keep the number.
    """
    for (start, low), (end, high) in pairwise(_ALIKE.get(to, ())):
        if start <= quality <= end:
            exact = low + Fraction((high - low) * (quality - start), end - start)
            return max(1, int(exact + Fraction(1, 2)))
    return quality


@dataclass(frozen=True, slots=True)
class _Qualities:
    """The quality that each format would be written at, and whether the query named one."""

    jpeg: int
    webp: int
    auto_webp: int
    avif: int
    named: bool

    @property
    def webp_tell(self) -> Tell:
        """A quality makes WebP lossy; without one, what is lossless stays so."""
        return Tell.NO if self.named else Tell.AS_SOURCE


def _qualities(asked: Asked, settings: FastlySettings) -> _Qualities:
    quality = params.QUALITY.of(asked)
    if quality is not None:
        return _Qualities(quality.usual, quality.usual, quality.auto_webp, quality.usual, named=True)
    optimized = params.OPTIMIZE.of(asked)
    if optimized is not None:
        webp = translated(optimized, Format.WEBP)
        return _Qualities(optimized, webp, webp, translated(optimized, Format.AVIF), named=True)
    webp = settings.webp_quality
    return _Qualities(settings.jpeg_quality, webp, webp, AVIF_QUALITY, named=False)


# ------------------------------------------------------------------------------------------------ formats


@dataclass(frozen=True, slots=True)
class Encoded:
    """An Output, whether Accept could have changed it, and what was odd."""

    output: Output
    negotiated: bool
    warnings: tuple[Warned, ...] = ()


def encoded(asked: Asked, accepted: frozenset[Format], settings: FastlySettings, *, changed: bool) -> Encoded:
    """How the result is written. `changed`: Steps stand before it, so it is more than the source at another quality."""
    named = params.FORMAT.of(asked)
    scheme = _Scheme(_qualities(asked, settings), settings, first_frame=params.FRAME.of(asked) is not None)
    offered, warnings = _offered(asked, settings)
    if named is Named.AUTO:
        choices = _best(asked, accepted, scheme)
    else:
        choices = (*_by_auto(offered & accepted, named, scheme), *_by_name(named, scheme))
    keeps, odd = _keeps(asked)
    output = Output(
        choices=choices,
        keeps=keeps,
        first_frame=scheme.first_frame,
        larger_is_original=not (changed or named or keeps or scheme.first_frame),
    )
    return Encoded(output, bool(offered) or named is Named.AUTO, (*warnings, *_unwritable(named, settings), *odd))


@dataclass(frozen=True, slots=True)
class _Scheme:
    """What all choices of one answer share."""

    quality: _Qualities
    settings: FastlySettings
    first_frame: bool

    @property
    def jpeg(self) -> Choice:
        return Choice(Format.JPEG, self.quality.jpeg, progressive=self.settings.jpeg_type.progressive)

    @property
    def own(self) -> tuple[Choice, ...]:
        return own_format(
            jpeg=self.jpeg,
            webp=Choice(Format.WEBP, self.quality.webp, lossless=self.quality.webp_tell),
            avif=Choice(Format.AVIF, self.quality.avif, refuse_beyond=True),
        )

    @property
    def by_name(self) -> dict[Named, Choice]:
        """What each format word asks for; those without an entry are of no use to a raster."""
        quality = self.quality
        webp = Choice(Format.WEBP, quality.webp)
        avif = Choice(Format.AVIF, quality.avif, refuse_beyond=True)
        return {
            Named.AVIF: self.unless_animated_gif(avif),
            Named.BASELINE_JPEG: replace(self.jpeg, progressive=Tell.NO),
            Named.GIF: GIF,
            Named.JPEG: self.jpeg,
            Named.JXL: Choice(Format.JXL, quality.jpeg, missed=_NO_JXL),
            Named.PROGRESSIVE_JPEG: replace(self.jpeg, progressive=Tell.YES),
            Named.PNG: PNG,
            Named.PNG8: Choice(Format.PNG, quality.jpeg if quality.named else None, palette=True),
            Named.WEBP: self.unless_animated_gif(replace(webp, lossless=quality.webp_tell)),
            Named.LOSSLESS_WEBP: self.unless_animated_gif(replace(webp, lossless=Tell.YES)),
            Named.LOSSY_WEBP: self.unless_animated_gif(webp),
        }

    def unless_animated_gif(self, choice: Choice) -> Choice:
        """The choice, left to stills: WebP and AVIF do not cover animated GIFs."""
        allowed = self.first_frame or (self.settings.animated_webp and choice.format is Format.WEBP)
        return choice if allowed else replace(choice, skipped_for=(ANIMATED_GIFS,), missed=_STAYS_GIF)


def _offered(asked: Asked, settings: FastlySettings) -> tuple[frozenset[Format], tuple[Warned, ...]]:
    """The formats that `auto` and the service offer to clients that accept them."""
    auto = params.AUTO.of(asked)
    service = {Format.WEBP} if settings.webp else set()
    if auto is None:
        return frozenset(service), ()
    odd = tuple(Warned("auto", f"{word} is not known and was ignored") for word in auto.unknown)
    return frozenset({*auto.known, *service}), odd


def _by_auto(offered: frozenset[Format], base: Named | None, scheme: _Scheme) -> tuple[Choice, ...]:
    """AVIF, then WebP: lossless where the base format is."""
    choices = []
    if Format.AVIF in offered:
        choices.append(Choice(Format.AVIF, scheme.quality.avif, keeps_animation=True, missed=_NOT_AVIF))
    if Format.WEBP in offered:
        lossless = _lossless_by_auto(base, scheme.quality)
        choices.append(scheme.unless_animated_gif(Choice(Format.WEBP, scheme.quality.auto_webp, lossless=lossless)))
    return tuple(choices)


def _lossless_by_auto(base: Named | None, quality: _Qualities) -> Tell:
    if base is None or base in (Named.JXL, Named.MP4, Named.SVG):
        return Tell.AS_SOURCE
    if base is Named.WEBP:
        return quality.webp_tell
    return Tell.YES if base in _LOSSLESS_BASES else Tell.NO


@lru_cache(256)  # a site asks for few formats at few qualities
def _by_name(named: Named | None, scheme: _Scheme) -> tuple[Choice, ...]:
    """What `format` asks for; behind what cannot always be had, the source's own format."""
    choice = scheme.by_name.get(named) if named else None
    if choice is None:
        return scheme.own
    return (choice, *scheme.own) if choice.missed else (choice,)


def _best(asked: Asked, accepted: frozenset[Format], scheme: _Scheme) -> tuple[Choice, ...]:
    """``format=auto``: what the client names of JPEG XL, AVIF and WebP, else what every client can show.

    Lossy but for a quality of 100 and for black and white. Never a still of an animation.
    """
    quality, black_and_white = scheme.quality.jpeg, params.BW.of(asked) is not None
    lossless = Tell.YES if quality == 100 or black_and_white else Tell.NO
    modern = tuple(
        Choice(format_, translated(quality, format_), lossless=lossless, keeps_animation=True)
        for format_ in (Format.JXL, Format.AVIF, Format.WEBP)
        if format_ in accepted
    )
    animation = () if scheme.first_frame else (replace(GIF, skipped_for=(STILLS,)),)
    if black_and_white:
        return (*modern, *animation, only_from(GIF, Format.GIF), PNG)
    own = (only_from(scheme.jpeg, Format.JPEG), only_from(PNG, Format.PNG), only_from(GIF, Format.GIF))
    return (*modern, *animation, *own, replace(PNG, skipped_for=(OPAQUE,)), scheme.jpeg)


def _unwritable(named: Named | None, settings: FastlySettings) -> tuple[Warned, ...]:
    if named is Named.MP4:
        return (Warned("format", _NO_VIDEO[settings.allow_video]),)
    if named is Named.SVG:
        return (Warned("format", "a raster cannot become SVG; the format was ignored"),)
    return ()


def _keeps(asked: Asked) -> tuple[frozenset[Keep], tuple[Warned, ...]]:
    kept = params.METADATA.of(asked)
    if kept is None:
        return frozenset(), ()
    odd = [Warned("metadata", f"{word} is not known and was ignored") for word in kept.unknown]
    odd += [Warned("metadata", f"{word.value} was ignored") for word in kept.known if word.keep is None]
    return frozenset(word.keep for word in kept.known if word.keep is not None), tuple(odd)
