"""What a query wishes: what can be used as values, what cannot as warnings. Nothing is refused.

The maker's notes state the aim: a parameter with an invalid value is ignored.
Source: https://github.com/kontent-ai/delivery-sdk-php/issues/63
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from cropmark.dialects import grammar
from cropmark.dialects.kontent import params
from cropmark.dialects.kontent.readers import CropWord, FitWord, Rect
from cropmark.dialects.params import Parameter, ParsedParams, asked_of
from cropmark.model.problems import BadRequest
from cropmark.model.values import Color, Length
from cropmark.plan.plan import Choice, RequestWarning, TriState

MAX_DPR: Final = 5
MAX_QUALITY: Final = 100


@dataclass(frozen=True, slots=True)
class FocalPoint:
    """The fp-* parameters; each None where it is absent or unusable."""

    x: Fraction | None = None
    y: Fraction | None = None
    zoom: Fraction | None = None
    named: bool = False
    """Whether the query holds any of the three, usable or not."""


@dataclass(frozen=True, slots=True)
class KontentQuery:
    """Every parameter that is present and usable; None or nothing for the others."""

    width: Length | None = None
    height: Length | None = None
    dpr: Fraction | None = None
    fit: FitWord | None = None
    rect: Rect | None = None
    crop: CropWord | None = None
    focal_point: FocalPoint = FocalPoint()
    background: Color | None = None
    encodings: tuple[Choice, ...] = ()
    quality: int | None = None
    lossless: TriState | None = None
    auto_format: bool = False
    warnings: tuple[RequestWarning, ...] = ()

    @property
    def crops(self) -> bool:
        return self.fit is FitWord.CROP

    @property
    def has_size(self) -> bool:
        return self.width is not None or self.height is not None

    @property
    def has_focal_point(self) -> bool:
        """Whether fit=crop looks at a point, told or not."""
        return self.crops and self.crop is CropWord.FOCAL_POINT

    @property
    def is_smart(self) -> bool:
        return self.crops and self.crop is CropWord.SMART


def read_query(raw: str) -> KontentQuery:
    """All that the raw query wishes; raises nothing."""
    texts, too_long = _texts(raw)
    asked = asked_of(params.ROWS, texts, refuses=False)
    dpr, clamped_dpr = _held(params.DPR, asked, 0, MAX_DPR)
    x, clamped_x = _held(params.FOCAL_X, asked, 0, 1)
    y, clamped_y = _held(params.FOCAL_Y, asked, 0, 1)
    quality, clamped_quality = _held(params.QUALITY, asked, 0, MAX_QUALITY)
    return KontentQuery(
        width=params.WIDTH.of(asked),
        height=params.HEIGHT.of(asked),
        dpr=dpr,
        fit=params.FIT.of(asked),
        rect=params.RECT.of(asked),
        crop=params.CROP.of(asked),
        focal_point=FocalPoint(x, y, params.ZOOM.of(asked), named=any(name.startswith("fp-") for name in texts)),
        background=params.BACKGROUND.of(asked),
        encodings=params.ENCODING.of(asked) or (),
        quality=_whole_quality(quality),
        lossless=params.LOSSLESSNESS.of(asked),
        auto_format=params.AUTO.of(asked) or False,
        warnings=(*too_long, *asked.warnings, *clamped_dpr, *clamped_x, *clamped_y, *clamped_quality),
    )


def _texts(raw: str) -> tuple[Mapping[str, str], tuple[RequestWarning, ...]]:
    """The known parameters by name: of a repeated one the last, and an empty one counts as absent."""
    known = {row.name for row in params.ROWS}
    try:
        # A plus stays a plus: here it can only be a sign.
        texts = grammar.values(raw.replace("+", "%2B"))
    except BadRequest as problem:
        return {}, (RequestWarning("query", f"ignored: {problem.detail}"),)
    return {name: text for name, text in texts.items() if text and name in known}, ()


def _held(
    row: Parameter[Fraction], asked: ParsedParams, least: int, most: int
) -> tuple[Fraction | None, tuple[RequestWarning, ...]]:
    """The row's value, or with a warning the bound that it is past."""
    value = row.of(asked)
    if value is None:
        return None, ()
    kept = min(max(value, Fraction(least)), Fraction(most))
    if kept == value:
        return value, ()
    return kept, (RequestWarning(row.name, f"{grammar.plain(value)} counts as {grammar.plain(kept)}"),)


def _whole_quality(number: Fraction | None) -> int | None:
    # At least 1: the dialect has a quality 0, libvips has none.
    return None if number is None else max(1, int(number + Fraction(1, 2)))
