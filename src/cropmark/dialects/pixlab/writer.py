"""An Order as a request to one of PixLab's endpoints, each of which does one thing: requests.py backwards."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from cropmark.dialects.dialect import Query, Said, Unsayable
from cropmark.dialects.pixlab.endpoints import Endpoint
from cropmark.dialects.writers import Unsaid, Words, joined, only, whole_pixels
from cropmark.plan.plan import Order
from cropmark.plan.source import SitePath, WebUrl
from cropmark.plan.steps import AnyStep, Area, At, Crop, Fit, Resize

HOST: Final = "https://host.example/"
"""Stands for the host that the service would fetch a site's picture from."""


def written(order: Order) -> Said | Unsayable:
    """Requests for the Order's one Step, without a key; or why there are none.

    A picture of a site is named below HOST, for the service fetches it by a URL.
    """
    steps = order.plan.steps if order.plan else ()
    if len(steps) != 1:
        return Unsayable((f"Plan.steps: a request does one thing to a picture, not {len(steps)}",))
    try:
        picture = _picture(order)
        told = _told(steps[0])
    except Unsaid as unsaid:
        return Unsayable((str(unsaid),))
    if told is None:
        return Unsayable((f"{type(steps[0]).__name__}: this dialect has no such step",))
    endpoints, words = told
    text = joined({"img": picture, **words, "blob": "true"})
    return Said(tuple(Query(text, endpoint.value) for endpoint in endpoints))


def _picture(order: Order) -> str:
    match order.sources[0].where:
        case WebUrl(url):
            return url
        case SitePath(path):
            return HOST + quote(path.encode("utf-8", "surrogateescape"))
        case _:
            raise Unsaid("Order.sources", "an upload comes in a body, not in a query")


def _told(step: AnyStep) -> tuple[tuple[Endpoint, ...], Words] | None:
    """The endpoints that do the step, and its fields; None for a step that none does."""
    match step:
        case Crop():
            return (Endpoint.CROP, Endpoint.CROPGIF), _box(step)
        case Resize(fit=Fit.STRETCH) if step.width is not None and step.height is not None:
            return (Endpoint.RESIZE, Endpoint.RESIZEGIF), _size(step)
        case Resize(fit=Fit.STRETCH | Fit.INSIDE):
            return (Endpoint.SMARTRESIZE,), _size(step)
        case _:
            return None


def _box(step: Crop) -> Words:
    only(step, "shape", "x", "y", "overflow")
    if not (isinstance(step.shape, Area) and isinstance(step.x, At) and isinstance(step.y, At)):
        raise Unsaid("Crop.shape", "a box is told by its corner, its width and its height")
    told = {"x": step.x.distance, "y": step.y.distance, "width": step.shape.width, "height": step.shape.height}
    return {name: str(whole_pixels(f"Crop.{name}", value)) for name, value in told.items()}


def _size(step: Resize) -> Words:
    only(step, "width", "height", "fit", "enlarge", "dpr")
    if not step.enlarge:
        raise Unsaid("Resize.enlarge", "a resize enlarges here, it cannot be told not to")
    sides = {"width": step.width, "height": step.height}
    return {name: str(whole_pixels(f"Resize.{name}", side and side.times(step.dpr))) for name, side in sides.items()}
