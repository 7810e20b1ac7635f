"""The whole way of a request: query and headers → what was asked → Steps → Plan → Order."""

from __future__ import annotations

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly import overlays, params
from cropmark.dialects.fastly.output import READS, parsed_output
from cropmark.dialects.fastly.overlays import MONTAGE_HEADER, MONTAGE_PARAMETERS, OVERLAY_HEADER, OVERLAY_PARAMETERS
from cropmark.dialects.fastly.query import parse_query
from cropmark.dialects.fastly.readers import FormatWord
from cropmark.dialects.fastly.settings import FastlySettings, OnMalformed
from cropmark.dialects.fastly.steps import steps
from cropmark.dialects.imageopto.readers import strip_mount
from cropmark.dialects.imageopto.steps import ignored_smart_warnings
from cropmark.dialects.params import ParsedParams, parse_params
from cropmark.model.formats import accepted_formats
from cropmark.plan.plan import Delivery, Fallback, Order, Output, Plan, RequestWarning
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.plan.steps import AnyStep

API_HEADER = "x-fastly-imageopto-api"


def order(request: ImageRequest, settings: FastlySettings) -> Order:
    """What the request asks for. Raises BadValue, BadOrder, and OutputTooLarge for a montage."""
    mounted = parse_query(request.headers.get(MONTAGE_HEADER, "")) if settings.read_montage_header else {}
    return _montage_order(mounted, request, settings) if mounted else _image_order(request, settings)


def _image_order(request: ImageRequest, settings: FastlySettings) -> Order:
    query = parse_query(request.query)
    refuses = settings.malformed is OnMalformed.REFUSE
    asked = parse_params(params.PARAMETERS, query, strict=refuses)
    laid = parse_params(OVERLAY_PARAMETERS, _overlay_texts(query, request, settings), strict=refuses)
    path = overlays.overlay_path(laid)
    overlay = None if path is None else overlays.overlay_step(laid, source=1)
    done = steps(asked, overlay, settings)
    output = parsed_output(asked, accepted_formats(request.accept), settings, changed=bool(done))
    return Order(
        sources=(SourceRequest(SitePath(request.path)), *_overlay_sources(path, request)),
        plan=_plan(done, output.output),
        delivery=Delivery(negotiated=output.negotiated, use_origin_cache_control=True),
        warnings=(
            *asked.warnings,
            *laid.warnings,
            *ignored_smart_warnings(params.PRECROP.of(asked), params.CROP.of(asked)),
            *output.warnings,
            *_ignored_inputs(query, request, settings),
        ),
    )


def _montage_order(texts: dict[str, str], request: ImageRequest, settings: FastlySettings) -> Order:
    """A montage: its header is all that counts, the query and the other headers are ignored."""
    asked = parse_params(MONTAGE_PARAMETERS, texts, strict=settings.malformed is OnMalformed.REFUSE)
    montage = overlays.montage_plan(asked, request.base)
    asked = ParsedParams({"format": FormatWord.JPEG, **asked.values, "frame": True}, asked.warnings)
    output = parsed_output(asked, accepted_formats(request.accept), settings, changed=True)
    return Order(
        sources=(SourceRequest(SitePath(request.path)), *montage.images),
        plan=_plan((montage.step,), output.output),
        delivery=Delivery(negotiated=output.negotiated, use_origin_cache_control=True),
        warnings=(*asked.warnings, *output.warnings),
    )


def _plan(done: tuple[AnyStep, ...], output: Output) -> Plan:
    return Plan(steps=done, output=output, reads=READS, on_unsupported=Fallback.ORIGINAL, on_unusable=Fallback.ORIGINAL)


def _overlay_texts(query: dict[str, str], request: ImageRequest, settings: FastlySettings) -> dict[str, str]:
    """The overlay's parameters: the header's, and the query's where the operator switched those on."""
    header = parse_query(request.headers.get(OVERLAY_HEADER, "")) if settings.read_overlay_header else {}
    return {**query, **header} if settings.overlay_parameters else header


def _overlay_sources(path: str | None, request: ImageRequest) -> tuple[SourceRequest, ...]:
    if path is None:
        return ()
    return (SourceRequest(SitePath(strip_mount(request.base, path)), optional=True, parameter="overlay"),)


def _ignored_inputs(
    query: dict[str, str], request: ImageRequest, settings: FastlySettings
) -> tuple[RequestWarning, ...]:
    """What the client said that has no effect on this server."""
    odd = []
    if not settings.overlay_parameters:
        names = [row.name for row in OVERLAY_PARAMETERS if row.name in query]
        odd = [RequestWarning(name, f"ignored in a query; send it in the header {OVERLAY_HEADER}") for name in names]
    # "fastly; qp=*": unknown parameters are to reach the origin. Ours has files, which take none.
    if "qp=*" in request.headers.get(API_HEADER, "").replace(" ", ""):
        odd.append(RequestWarning(API_HEADER, "unknown parameters are not passed on"))
    return tuple(odd)
