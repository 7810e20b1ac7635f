"""The whole way of a request: query and headers → what was asked → Steps → Plan → Order."""

from __future__ import annotations

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly import overlays, params
from cropmark.dialects.fastly.output import READS, encoded
from cropmark.dialects.fastly.overlays import MONTAGE_HEADER, MONTAGE_ROWS, OVERLAY_HEADER, OVERLAY_ROWS
from cropmark.dialects.fastly.query import texts
from cropmark.dialects.fastly.readers import FormatWord
from cropmark.dialects.fastly.settings import FastlySettings, OnMalformed
from cropmark.dialects.fastly.steps import steps
from cropmark.dialects.imageopto.readers import below
from cropmark.dialects.imageopto.steps import idle_focus
from cropmark.dialects.params import ParsedParams, asked_of
from cropmark.model.formats import accepted
from cropmark.plan.plan import Delivery, Fallback, Order, Output, Plan, RequestWarning
from cropmark.plan.source import SitePath, SourceRequest
from cropmark.plan.steps import AnyStep

API_HEADER = "x-fastly-imageopto-api"


def order(ask: ImageRequest, settings: FastlySettings) -> Order:
    """What the request asks for. Raises BadValue, BadOrder, and OutputTooLarge for a montage."""
    mounted = texts(ask.headers.get(MONTAGE_HEADER, "")) if settings.read_montage_header else {}
    return _montage(mounted, ask, settings) if mounted else _picture(ask, settings)


def _picture(ask: ImageRequest, settings: FastlySettings) -> Order:
    query = texts(ask.query)
    refuses = settings.malformed is OnMalformed.REFUSE
    asked = asked_of(params.ROWS, query, refuses=refuses)
    laid = asked_of(OVERLAY_ROWS, _overlay_texts(query, ask, settings), refuses=refuses)
    path = overlays.overlay_path(laid)
    overlay = None if path is None else overlays.overlay_step(laid, source=1)
    done = steps(asked, overlay, settings)
    output = encoded(asked, accepted(ask.accept), settings, changed=bool(done))
    return Order(
        sources=(SourceRequest(SitePath(ask.path)), *_overlay_wanted(path, ask)),
        plan=_plan(done, output.output),
        delivery=Delivery(negotiated=output.negotiated, as_origin=True),
        warnings=(
            *asked.warnings,
            *laid.warnings,
            *idle_focus(params.PRECROP.of(asked), params.CROP.of(asked)),
            *output.warnings,
            *_unheard(query, ask, settings),
        ),
    )


def _montage(mounted: dict[str, str], ask: ImageRequest, settings: FastlySettings) -> Order:
    """A montage: its header is all that counts, the query and the other headers are ignored."""
    asked = asked_of(MONTAGE_ROWS, mounted, refuses=settings.malformed is OnMalformed.REFUSE)
    montage = overlays.montage(asked, ask.base)
    asked = ParsedParams({"format": FormatWord.JPEG, **asked.found, "frame": True}, asked.warnings)
    output = encoded(asked, accepted(ask.accept), settings, changed=True)
    return Order(
        sources=(SourceRequest(SitePath(ask.path)), *montage.images),
        plan=_plan((montage.step,), output.output),
        delivery=Delivery(negotiated=output.negotiated, as_origin=True),
        warnings=(*asked.warnings, *output.warnings),
    )


def _plan(done: tuple[AnyStep, ...], output: Output) -> Plan:
    return Plan(steps=done, output=output, reads=READS, on_unsupported=Fallback.ORIGINAL, on_unusable=Fallback.ORIGINAL)


def _overlay_texts(query: dict[str, str], ask: ImageRequest, settings: FastlySettings) -> dict[str, str]:
    """The overlay's parameters: the header's, and the query's where the operator switched those on."""
    header = texts(ask.headers.get(OVERLAY_HEADER, "")) if settings.read_overlay_header else {}
    return {**query, **header} if settings.overlay_parameters else header


def _overlay_wanted(path: str | None, ask: ImageRequest) -> tuple[SourceRequest, ...]:
    if path is None:
        return ()
    return (SourceRequest(SitePath(below(ask.base, path)), optional=True, parameter="overlay"),)


def _unheard(query: dict[str, str], ask: ImageRequest, settings: FastlySettings) -> tuple[RequestWarning, ...]:
    """What the client said that has no effect on this server."""
    odd = []
    if not settings.overlay_parameters:
        names = [row.name for row in OVERLAY_ROWS if row.name in query]
        odd = [RequestWarning(name, f"ignored in a query; send it in the header {OVERLAY_HEADER}") for name in names]
    # "fastly; qp=*": unknown parameters are to reach the origin. Ours has files, which take none.
    if "qp=*" in ask.headers.get(API_HEADER, "").replace(" ", ""):
        odd.append(RequestWarning(API_HEADER, "unknown parameters are not passed on"))
    return tuple(odd)
