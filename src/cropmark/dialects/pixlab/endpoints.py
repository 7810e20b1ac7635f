"""PixLab's endpoints, with the methods and the kinds of body that each accepts. The path ends with the endpoint's name.

Source: https://pixlab.io/api
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.responses import one_line
from cropmark.model.problems import MethodNotAllowed, NotFound, UnsupportedMediaType


class EndpointName(Enum):
    """The endpoints, by their names in the path."""

    CROP = "crop"
    SMARTCROP = "smartcrop"
    """The old name of crop."""
    RESIZE = "resize"
    SMARTRESIZE = "smartresize"
    CROPGIF = "cropgif"
    RESIZEGIF = "resizegif"
    SCALE = "scale"
    MINIFY = "minify"
    MAGNIFY = "magnify"
    THUMBNAIL = "thumbnail"
    WEBFIT = "webfit"
    MERGE = "merge"
    FACEDETECT = "facedetect"
    STORE = "store"
    DELETE = "delete"

    @property
    def methods(self) -> tuple[str, ...]:
        return _METHODS.get(self, ("GET", "POST"))


_METHODS: Final = {EndpointName.STORE: ("POST",), EndpointName.DELETE: ("GET",), EndpointName.MERGE: ("POST",)}
_OFFERED: Final = ", ".join(endpoint.value for endpoint in EndpointName)


def endpoint_of(request: ImageRequest) -> EndpointName:
    """The endpoint that the path ends with. Raises NotFound."""
    name = request.path.rstrip("/").rpartition("/")[2]
    for endpoint in EndpointName:
        if endpoint.value == name:
            return endpoint
    raise NotFound(f"the endpoint {one_line(name, 40)!r} is not offered here", fix=f"use one of {_OFFERED}")


def check_endpoint(request: ImageRequest) -> EndpointName:
    """The endpoint of a request. Raises NotFound, and MethodNotAllowed if the endpoint does not accept the method."""
    endpoint = endpoint_of(request)
    if request.method not in endpoint.methods:
        expected = " or ".join(endpoint.methods)
        raise MethodNotAllowed(
            f"{endpoint.value}: expected {expected}, got {one_line(request.method, 20)}",
            fix=f"send a {expected} request",
        )
    return endpoint


class BodyKind(Enum):
    """The kinds of request body that endpoints accept, with their media types."""

    JSON = "application/json"
    MULTIPART = "multipart/form-data"
    FORM = "application/x-www-form-urlencoded"


def body_kind(content_type: str) -> BodyKind:
    """The kind of body that a Content-Type header names; parameters of the header are ignored.

    Raises UnsupportedMediaType.
    """
    named = content_type.partition(";")[0].strip().lower()
    for kind in BodyKind:
        if kind.value == named:
            return kind
    expected = " or ".join(kind.value for kind in BodyKind)
    raise UnsupportedMediaType(
        f"expected a body of {expected}, got {one_line(named, 80) or 'no Content-Type'}",
        fix=f"send Content-Type: {BodyKind.JSON.value}",
    )


def body_rejection(endpoint: EndpointName, kind: BodyKind) -> UnsupportedMediaType | None:
    """The Problem if the endpoint does not accept this kind of body, else None.

    The endpoint `store` accepts only multipart, and `merge` only JSON.
    """
    if endpoint is EndpointName.STORE and kind is not BodyKind.MULTIPART:
        return UnsupportedMediaType(
            f"store: expected a body of {BodyKind.MULTIPART.value}",
            fix="send the image as the part named file of a multipart body",
        )
    if endpoint is EndpointName.MERGE and kind is not BodyKind.JSON:
        return UnsupportedMediaType(
            f"merge: expected a body of {BodyKind.JSON.value}", fix="send src and cord in a JSON object"
        )
    return None
