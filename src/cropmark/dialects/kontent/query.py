"""Parses the query string into texts, then into typed values. An unusable value becomes a warning.

The vendor's stated aim is to ignore a parameter with an invalid value.
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
from cropmark.dialects.params import Parameter, ParsedParams, parse_params
from cropmark.model.problems import BadRequest
from cropmark.model.values import Color, Length
from cropmark.plan.plan import EncodingChoice, RequestWarning, TriState

MAX_DPR: Final = 5
MAX_QUALITY: Final = 100


@dataclass(frozen=True, slots=True)
class FocalPoint:
    """The values of fp-x, fp-y and fp-z. None for a parameter that is absent or unusable."""

    x: Fraction | None = None
    y: Fraction | None = None
    zoom: Fraction | None = None
    named: bool = False
    """True if the query has any of the three, usable or not."""


@dataclass(frozen=True, slots=True)
class KontentQuery:
    """The typed values of a query's parameters; None or empty for a parameter that is absent or unusable."""

    width: Length | None = None
    height: Length | None = None
    dpr: Fraction | None = None
    fit: FitWord | None = None
    rect: Rect | None = None
    crop: CropWord | None = None
    focal_point: FocalPoint = FocalPoint()
    background: Color | None = None
    encodings: tuple[EncodingChoice, ...] = ()
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
        """True for fit=crop&crop=focalpoint. Without fp-x and fp-y, the point is the middle of the image."""
        return self.crops and self.crop is CropWord.FOCAL_POINT

    @property
    def is_smart(self) -> bool:
        return self.crops and self.crop is CropWord.SMART


def parse_query(raw: str) -> tuple[Mapping[str, str], tuple[RequestWarning, ...]]:
    """The decoded texts of the known parameters by name, and warnings.

    If a parameter is repeated, its last text counts. An empty text counts as absent. A query that is too long gives no
    texts but a warning.
    """
    known = {parameter.name for parameter in params.PARAMETERS}
    try:
        # A plus stays a plus, because here it can only be a sign.
        texts = grammar.query_values(raw.replace("+", "%2B"))
    except BadRequest as problem:
        return {}, (RequestWarning("query", f"ignored: {problem.detail}"),)
    return {name: text for name, text in texts.items() if text and name in known}, ()


def read_query(raw: str) -> KontentQuery:
    """The typed values of a raw query, with warnings. Raises nothing."""
    texts, too_long = parse_query(raw)
    parsed = parse_params(params.PARAMETERS, texts, strict=False)
    dpr, clamped_dpr = _clamped(params.DPR, parsed, 0, MAX_DPR)
    x, clamped_x = _clamped(params.FOCAL_X, parsed, 0, 1)
    y, clamped_y = _clamped(params.FOCAL_Y, parsed, 0, 1)
    quality, clamped_quality = _clamped(params.QUALITY, parsed, 0, MAX_QUALITY)
    return KontentQuery(
        width=params.WIDTH.of(parsed),
        height=params.HEIGHT.of(parsed),
        dpr=dpr,
        fit=params.FIT.of(parsed),
        rect=params.RECT.of(parsed),
        crop=params.CROP.of(parsed),
        focal_point=FocalPoint(x, y, params.ZOOM.of(parsed), named=any(name.startswith("fp-") for name in texts)),
        background=params.BACKGROUND.of(parsed),
        encodings=params.ENCODING.of(parsed) or (),
        quality=_whole_quality(quality),
        lossless=params.LOSSLESSNESS.of(parsed),
        auto_format=params.AUTO.of(parsed) or False,
        warnings=(*too_long, *parsed.warnings, *clamped_dpr, *clamped_x, *clamped_y, *clamped_quality),
    )


def _clamped(
    parameter: Parameter[Fraction], parsed: ParsedParams, least: int, most: int
) -> tuple[Fraction | None, tuple[RequestWarning, ...]]:
    """The parameter's value, clamped to the range from `least` to `most`; and a warning if that changed the value."""
    value = parameter.of(parsed)
    if value is None:
        return None, ()
    clamped = min(max(value, Fraction(least)), Fraction(most))
    if clamped == value:
        return value, ()
    return clamped, (
        RequestWarning(parameter.name, f"{grammar.format_number(value)} counts as {grammar.format_number(clamped)}"),
    )


def _whole_quality(number: Fraction | None) -> int | None:
    # At least 1: the dialect allows quality 0, libvips does not.
    return None if number is None else max(1, int(number + Fraction(1, 2)))
