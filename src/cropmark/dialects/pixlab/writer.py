"""Writes an Order as a request to one of PixLab's endpoints: the reverse of steps.py.

Each endpoint performs one Step.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from cropmark.dialects.dialect import DialectQuery, Serialized, Unsupported
from cropmark.dialects.pixlab.endpoints import EndpointName
from cropmark.dialects.writers import QueryParams, UnsupportedValue, encode_query, reject_other_fields, whole_pixels
from cropmark.plan.plan import Order
from cropmark.plan.source import SitePath, WebUrl
from cropmark.plan.steps import AnyStep, Crop, Dimensions, Fit, Offset, Resize

HOST: Final = "https://host.example/"
"""A placeholder for the host from which the service would fetch a site's image."""


def serialize(order: Order) -> Serialized | Unsupported:
    """The requests that may express an Order with one Step, or the reasons why no request expresses it.

    They have no key. The service fetches images by URL, so an image of a site is named by a URL below HOST.
    """
    steps = order.plan.steps if order.plan else ()
    if len(steps) != 1:
        return Unsupported((f"Plan.steps: a request has one step, not {len(steps)}",))
    try:
        image_url = _image_url(order)
        request = _endpoints_and_fields(steps[0])
    except UnsupportedValue as error:
        return Unsupported((str(error),))
    if request is None:
        return Unsupported((f"{type(steps[0]).__name__}: this dialect has no such step",))
    endpoints, fields = request
    text = encode_query({"img": image_url, **fields, "blob": "true"})
    return Serialized(tuple(DialectQuery(text, endpoint.value) for endpoint in endpoints))


def _image_url(order: Order) -> str:
    match order.sources[0].ref:
        case WebUrl(url):
            return url
        case SitePath(path):
            return HOST + quote(path.encode("utf-8", "surrogateescape"))
        case _:
            raise UnsupportedValue("Order.sources", "an upload is in a body, not in a query")


def _endpoints_and_fields(step: AnyStep) -> tuple[tuple[EndpointName, ...], QueryParams] | None:
    """The endpoints that perform the Step, and the fields that describe it; None if no endpoint performs it."""
    match step:
        case Crop():
            return (EndpointName.CROP, EndpointName.CROPGIF), _box(step)
        case Resize(fit=Fit.STRETCH) if step.width is not None and step.height is not None:
            return (EndpointName.RESIZE, EndpointName.RESIZEGIF), _size(step)
        case Resize(fit=Fit.STRETCH | Fit.INSIDE):
            return (EndpointName.SMARTRESIZE,), _size(step)
        case _:
            return None


def _box(step: Crop) -> QueryParams:
    reject_other_fields(step, "shape", "x", "y", "overflow", "rounding")
    if not (isinstance(step.shape, Dimensions) and isinstance(step.x, Offset) and isinstance(step.y, Offset)):
        raise UnsupportedValue("Crop.shape", "a box has a corner, a width and a height")
    values = {"x": step.x.distance, "y": step.y.distance, "width": step.shape.width, "height": step.shape.height}
    return {name: str(whole_pixels(f"Crop.{name}", value)) for name, value in values.items()}


def _size(step: Resize) -> QueryParams:
    reject_other_fields(step, "width", "height", "fit", "enlarge", "dpr")
    if not step.enlarge:
        raise UnsupportedValue("Resize.enlarge", "a resize always enlarges here")
    sides = {"width": step.width, "height": step.height}
    return {name: str(whole_pixels(f"Resize.{name}", side and side.times(step.dpr))) for name, side in sides.items()}
