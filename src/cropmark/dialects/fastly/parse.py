"""Parses a request into an Order: query and headers → typed values → Steps and Output → Order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly import overlays, params
from cropmark.dialects.fastly.output import READS, parsed_output
from cropmark.dialects.fastly.overlays import MONTAGE_HEADER, MONTAGE_PARAMETERS, OVERLAY_HEADER, OVERLAY_PARAMETERS
from cropmark.dialects.fastly.query import parse_query, unknown_parameters
from cropmark.dialects.fastly.readers import FormatWord
from cropmark.dialects.fastly.settings import FastlySettings, OnMalformed
from cropmark.dialects.fastly.steps import steps
from cropmark.dialects.imageopto.readers import strip_mount
from cropmark.dialects.imageopto.steps import ignored_smart_warnings
from cropmark.dialects.params import ParsedParams, parse_params
from cropmark.model.formats import accepted_formats
from cropmark.plan.plan import Delivery, Fallback, Limits, Order, Output, OverLimit, Plan, RequestWarning
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.plan.steps import AnyStep

LIMITS = Limits(over_limit=OverLimit.SHRINK_LARGE_SOURCE)
API_HEADER = "x-fastly-imageopto-api"
"""The request header in which `fastly; qp=*` passes unknown parameters on to the origin.

Source: https://www.fastly.com/documentation/reference/http/http-headers/X-Fastly-Imageopto-API
"""
_KNOWN = frozenset(parameter.name for parameter in (*params.PARAMETERS, *OVERLAY_PARAMETERS))


def order(request: ImageRequest, settings: FastlySettings) -> Order:
    """Parse a request into an Order: of a montage if the request has the montage header, else of the image in the URL.

    Raises BadValue, BadRequest, and OutputTooLarge for a montage that is too large.
    """
    montage = parse_query(request.headers.get(MONTAGE_HEADER, "")) if settings.read_montage_header else {}
    return _montage_order(montage, request, settings) if montage else _image_order(request, settings)


def _image_order(request: ImageRequest, settings: FastlySettings) -> Order:
    planned = _planned(request.query, request.headers.get(OVERLAY_HEADER, ""), request.accept, settings)
    return Order(
        sources=(_image_source(request, settings), *_overlay_sources(planned.overlay_path, request)),
        plan=planned.plan,
        delivery=Delivery(negotiated=planned.negotiated, use_origin_cache_control=True),
        warnings=planned.warnings,
    )


@dataclass(frozen=True, slots=True)
class _Planned:
    """The parts of an Order that do not depend on the path of the image."""

    plan: Plan
    overlay_path: str | None
    negotiated: bool
    warnings: tuple[RequestWarning, ...]


@lru_cache(256)  # the images of a site share few queries, and reading one takes a tenth of the front's time of a miss
def _planned(raw_query: str, overlay_header: str, accept: str, settings: FastlySettings) -> _Planned:
    query = parse_query(raw_query)
    strict = settings.on_malformed is OnMalformed.REFUSE
    parsed = parse_params(params.PARAMETERS, query, strict=strict)
    overlay_params = parse_params(OVERLAY_PARAMETERS, _overlay_texts(query, overlay_header, settings), strict=strict)
    path = overlays.overlay_path(overlay_params)
    overlay = None if path is None else overlays.overlay_step(overlay_params, source=1)
    planned = steps(parsed, overlay, settings)
    output = parsed_output(parsed, accepted_formats(accept), settings, changed=bool(planned))
    return _Planned(
        plan=_plan(planned, output.output),
        overlay_path=path,
        negotiated=output.negotiated,
        warnings=(
            *parsed.warnings,
            *overlay_params.warnings,
            *ignored_smart_warnings(params.PRECROP.of(parsed), params.CROP.of(parsed)),
            *output.warnings,
            *_ignored_inputs(query, settings),
        ),
    )


def _montage_order(texts: dict[str, str], request: ImageRequest, settings: FastlySettings) -> Order:
    """The Order of a montage, from the montage header and Accept. The query is ignored."""
    parsed = parse_params(MONTAGE_PARAMETERS, texts, strict=settings.on_malformed is OnMalformed.REFUSE)
    montage = overlays.montage_plan(parsed, request.base)
    parsed = ParsedParams({"format": FormatWord.JPEG, **parsed.values, "frame": True}, parsed.warnings)
    output = parsed_output(parsed, accepted_formats(request.accept), settings, changed=True)
    return Order(
        sources=(SourceRequest(SitePath(request.path)), *montage.images),
        plan=_plan((montage.step,), output.output),
        delivery=Delivery(negotiated=output.negotiated, use_origin_cache_control=True),
        warnings=(*parsed.warnings, *output.warnings),
    )


def _plan(planned: tuple[AnyStep, ...], output: Output) -> Plan:
    return Plan(
        steps=planned,
        output=output,
        reads=READS,
        limits=LIMITS,
        on_unsupported=Fallback.ORIGINAL,
        on_unusable=Fallback.ORIGINAL,
    )


def _image_source(request: ImageRequest, settings: FastlySettings) -> SourceRequest:
    """The source of the image in the URL.

    It includes the unknown parameters of the query if the settings or a request header pass them on to the origin.
    """
    options = {word.strip().lower() for word in request.headers.get(API_HEADER, "").split(";")}
    passes = settings.origin_query or "qp=*" in options
    return SourceRequest(SitePath(request.path, query=unknown_parameters(request.query, _KNOWN) if passes else ""))


def _overlay_texts(query: dict[str, str], raw_header: str, settings: FastlySettings) -> dict[str, str]:
    """The texts of the overlay's parameters: those of the header, and of the query if the settings allow it.

    A parameter in the header has priority.
    """
    header = parse_query(raw_header) if settings.read_overlay_header else {}
    return {**query, **header} if settings.overlay_parameters else header


def _overlay_sources(path: str | None, request: ImageRequest) -> tuple[SourceRequest, ...]:
    if path is None:
        return ()
    return (SourceRequest(SitePath(strip_mount(request.base, path)), optional=True, parameter="overlay"),)


def _ignored_inputs(query: dict[str, str], settings: FastlySettings) -> tuple[RequestWarning, ...]:
    """A warning for each overlay parameter in the query, if the site reads such parameters in the header only."""
    if settings.overlay_parameters:
        return ()
    text = f"ignored in a query; send it in the header {OVERLAY_HEADER}"
    return tuple(RequestWarning(each.name, text) for each in OVERLAY_PARAMETERS if each.name in query)
