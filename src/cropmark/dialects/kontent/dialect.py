"""The dialect: contradictions give the original, missing partners do nothing, the rest becomes Steps and an Output.

Source: https://kontent.ai/learn/docs/apis/image-transformation-api
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import ClassVar, Final, assert_never

from cropmark.dialects.dialect import Headers, ImageRequest, ParameterDoc, Response, Result, Serialized, Unsupported
from cropmark.dialects.kontent.params import PARAMS
from cropmark.dialects.kontent.query import KontentQuery, read_query
from cropmark.dialects.kontent.readers import WEBP, CropWord, FitWord
from cropmark.dialects.kontent.writer import written
from cropmark.dialects.responses import EVERY_ORIGIN, json_answer, one_line, warning_headers
from cropmark.model.formats import Format, accepted
from cropmark.model.problems import MethodNotAllowed, Problem
from cropmark.model.values import WHOLE, Point, Share
from cropmark.plan.plan import (
    Choice,
    Delivery,
    Fallback,
    Limits,
    Order,
    Output,
    OverLimit,
    Plan,
    RequestWarning,
    TriState,
)
from cropmark.plan.source import SitePath, SourceFilter, SourceRequest
from cropmark.plan.steps import AnyStep, Crop, Fit, Flatten, Focus, Overflow, Resize

METHODS: Final = ("GET", "HEAD")

READS: Final = frozenset({Format.JPEG, Format.PNG, Format.GIF, Format.WEBP})

LIMITS: Final = Limits(
    source_bytes=50 * 2**20 - 1,  # "under 50 MB": a file of exactly that is too large
    source_side=12_000,
    side=8_192,
    beyond=OverLimit.SHRINK,
    # As much as may come in: an animation that is not enlarged is never sized down for its number of frames.
    animation_area=Limits().source_pixels,
)


_UNWORKED: Final = RequestWarning("source", "it could not be worked on: the original was sent")


@dataclass(frozen=True, slots=True)
class KontentSettings:
    """What a site may choose."""

    versioned: bool = True
    """An asset that is replaced gets a new URL, so what one URL gives never changes; not so over a plain folder."""


class Kontent:
    """Kontent.ai's dialect. No query is an error: what cannot be is left out, a contradiction gives the original."""

    name: ClassVar[str] = "kontent"
    params: ClassVar[tuple[ParameterDoc, ...]] = PARAMS
    headers: ClassVar[tuple[str, ...]] = ()

    def __init__(self, settings: KontentSettings = KontentSettings()) -> None:
        self._settings = settings

    def order(self, ask: ImageRequest) -> Order:
        """What the request asks for. Raises NotAllowed for a method other than GET and HEAD, and nothing else."""
        if ask.method not in METHODS:
            raise MethodNotAllowed(f"expected {' or '.join(METHODS)}, got {one_line(ask.method, 20)}", fix="send a GET")
        wishes = read_query(ask.query)
        contradictory = contradictions(wishes)
        return Order(
            sources=(SourceRequest(SitePath(ask.path)),),
            plan=None if contradictory else plan_of(wishes, ask.accept),
            delivery=Delivery(negotiated=wishes.auto_format, versioned=self._settings.versioned),
            warnings=(*wishes.warnings, *(contradictory or missing_partners(wishes))),
        )

    def headers_of(self, order: Order, result: Result) -> Headers:
        """CORS, and what was odd. The service's own header set is not documented and not imitated."""
        trouble = (_UNWORKED,) if result.trouble else ()
        return (*EVERY_ORIGIN, *warning_headers((*result.warnings, *trouble)))

    def error_response(self, problem: Problem, ask: ImageRequest) -> Response:
        """`{"message": …}`; the bodies of the service's errors are not documented."""
        headers = [*EVERY_ORIGIN, ("Cache-Control", "no-store")]
        if isinstance(problem, MethodNotAllowed):
            headers.append(("Allow", ", ".join((*METHODS, "OPTIONS"))))
        if problem.retry_after_s is not None:
            headers.append(("Retry-After", str(problem.retry_after_s)))
        return json_answer(problem.status, {"message": one_line(str(problem), 500)}, tuple(headers))

    def serialize(self, order: Order) -> Serialized | Unsupported:
        return written(order)


# --------------------------------------------------------------------------------- what does not go together

_Holds = Callable[[KontentQuery], bool]


# fmt: off
CONTRADICTIONS: Final[tuple[tuple[_Holds, str, str], ...]] = (
    (lambda w: w.rect is not None and w.crops,
     "rect", "it cannot stand beside fit=crop"),
    (lambda w: w.rect is not None and w.crop is CropWord.FOCAL_POINT,
     "rect", "it cannot stand beside crop=focalpoint"),
    (lambda w: w.rect is not None and w.crop is CropWord.SMART,
     "rect", "it cannot stand beside crop=smart"),
    (lambda w: w.crops and any(isinstance(side, Share) for side in (w.width, w.height)),
     "fit", "crop takes w and h in whole pixels only, not below 1"),
    (lambda w: w.is_smart and w.focal_point.named,
     "crop", "smart cannot stand beside fp-x, fp-y or fp-z"),
    (lambda w: w.is_smart and (w.width is None or w.height is None),
     "crop", "smart needs both w and h"),
)
"""The combinations that give the original, byte for byte; nothing else of the query applies then."""

NEEDS: Final[tuple[tuple[_Holds, str, str], ...]] = (
    (lambda w: w.dpr is not None and not w.has_size,
     "dpr", "no effect without w or h"),
    (lambda w: w.fit is not None and not w.has_size and not w.has_focal_point,
     "fit", "no effect without w or h"),
    (lambda w: w.crop is not None and not w.crops,
     "crop", "no effect without fit=crop"),
    (lambda w: w.focal_point.named and not w.has_focal_point,
     "fp-x, fp-y, fp-z", "no effect without fit=crop&crop=focalpoint"),
)
"""Parameters whose partner is missing: without effect, the rest applies."""
# fmt: on


def contradictions(wishes: KontentQuery) -> tuple[RequestWarning, ...]:
    """What the query contradicts itself in; empty where it does not."""
    return tuple(
        RequestWarning(name, f"{why}: the original was sent") for holds, name, why in CONTRADICTIONS if holds(wishes)
    )


def missing_partners(wishes: KontentQuery) -> tuple[RequestWarning, ...]:
    """The parameters that do nothing because one that they need is missing."""
    return tuple(RequestWarning(name, why) for holds, name, why in NEEDS if holds(wishes))


# --------------------------------------------------------------------------------- the plan


def plan_of(wishes: KontentQuery, accept: str) -> Plan | None:
    """What is to be done; None where the query asks for nothing at all: then the original goes out."""
    steps, choices = steps_of(wishes), choices_of(wishes, accept)
    if not steps and choices == (Choice(lossless=TriState.AS_SOURCE),):
        return None
    return Plan(
        steps=steps,
        output=Output(choices, same_is_original=(SourceFilter(),)),
        reads=READS,
        limits=LIMITS,
        on_unsupported=Fallback.ORIGINAL,
        on_unusable=Fallback.ORIGINAL,
    )


def steps_of(wishes: KontentQuery) -> tuple[AnyStep, ...]:
    """The region, then the resize of it, then the color under it."""
    return (*_region(wishes), *_resize(wishes), *_background(wishes))


def _region(wishes: KontentQuery) -> tuple[AnyStep, ...]:
    rect = wishes.rect
    if rect is None:
        return ()
    return (Crop(rect.area, rect.x, rect.y, overflow=Overflow.CLIP_OR_ORIGINAL, parameter="rect"),)


def _resize(wishes: KontentQuery) -> tuple[AnyStep, ...]:
    if not wishes.has_size:
        return _zoomed(wishes)
    dpr = wishes.dpr or Fraction(1)
    match wishes.fit:
        case FitWord.CROP:
            covered = Resize(wishes.width, wishes.height, Fit.COVER, dpr=dpr, parameter="w")
            return (_focused(covered, wishes),)
        case FitWord.SCALE if wishes.width is not None and wishes.height is not None:
            return (Resize(wishes.width, wishes.height, Fit.STRETCH, enlarge=True, dpr=dpr, parameter="w"),)
        # Judgement: scale with one side alone distorts nothing, so it is clip, and does not enlarge either.
        case FitWord.CLIP | FitWord.SCALE | None:
            return (Resize(wishes.width, wishes.height, Fit.INSIDE, dpr=dpr, parameter="w"),)
        case _:
            assert_never(wishes.fit)


def _zoomed(wishes: KontentQuery) -> tuple[AnyStep, ...]:
    """A focal point without a size zooms into the whole picture; any other fit without one does nothing."""
    if not wishes.has_focal_point:
        return ()
    return (_focused(Resize(WHOLE, WHOLE, Fit.COVER, parameter="fp-z"), wishes),)


def _focused(covered: Resize, wishes: KontentQuery) -> Resize:
    match wishes.crop:
        case CropWord.FOCAL_POINT:
            middle, point = Fraction(1, 2), wishes.focal_point
            focus = Point(middle if point.x is None else point.x, middle if point.y is None else point.y)
            return replace(covered, focus=focus, zoom=point.zoom or Fraction(1))
        case CropWord.SMART:
            return replace(covered, focus=Focus.SMART)
        case None:
            return covered
        case _:
            assert_never(wishes.crop)


def _background(wishes: KontentQuery) -> tuple[AnyStep, ...]:
    color = wishes.background
    if color is None or color.alpha == 0:
        return ()
    return (Flatten(color, skipped_for=(SourceFilter(alpha=False),)),)


def choices_of(wishes: KontentQuery, accept: str) -> tuple[Choice, ...]:
    """WebP where auto=format meets a client that names it, then fm, then the source's type."""
    negotiated = (WEBP,) if wishes.auto_format and Format.WEBP in accepted(accept) else ()
    wanted = dict.fromkeys((*negotiated, *wishes.encodings, Choice()))
    lossless = wishes.lossless or TriState.AS_SOURCE
    return tuple(replace(choice, quality=_quality(choice, wishes), lossless=lossless) for choice in wanted)


def _quality(choice: Choice, wishes: KontentQuery) -> int | None:
    # The engine's palette has a quality; the dialect's `q` counts for JPEG and lossy WebP alone.
    return None if choice.palette else wishes.quality
