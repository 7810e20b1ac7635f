"""The endpoints, by the last segment of the path, and the methods and bodies that each takes.

Source: https://pixlab.io/api
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from cropmark.dialects.dialect import Ask
from cropmark.dialects.pixlab.query import Body
from cropmark.dialects.responses import one_line
from cropmark.model.problems import NotAllowed, NotFound, UnknownBody


class Endpoint(Enum):
    """What is offered, by the name in the path."""

    CROP = "crop"
    SMARTCROP = "smartcrop"
    """The old name of crop."""
    RESIZE = "resize"
    SMARTRESIZE = "smartresize"
    CROPGIF = "cropgif"
    RESIZEGIF = "resizegif"
    FACEDETECT = "facedetect"
    STORE = "store"
    DELETE = "delete"

    @property
    def methods(self) -> tuple[str, ...]:
        return _METHODS.get(self, ("GET", "POST"))


_METHODS: Final = {Endpoint.STORE: ("POST",), Endpoint.DELETE: ("GET",)}
_OFFERED: Final = ", ".join(endpoint.value for endpoint in Endpoint)


def endpoint_of(ask: Ask) -> Endpoint:
    """The endpoint that the path ends in. Raises NotFound for one that is not offered here."""
    name = ask.path.rstrip("/").rpartition("/")[2]
    for endpoint in Endpoint:
        if endpoint.value == name:
            return endpoint
    raise NotFound(f"the endpoint {one_line(name, 40)!r} is not offered here", fix=f"use one of {_OFFERED}")


def admitted(ask: Ask) -> Endpoint:
    """The endpoint asked for, by a method that it takes. Raises NotFound, NotAllowed."""
    endpoint = endpoint_of(ask)
    if ask.method not in endpoint.methods:
        expected = " or ".join(endpoint.methods)
        raise NotAllowed(
            f"{endpoint.value}: expected {expected}, got {one_line(ask.method, 20)}", fix="see the reference"
        )
    return endpoint


def unfit_body(endpoint: Endpoint, kind: Body) -> UnknownBody | None:
    """What speaks against a kind of body that can be read: store takes nothing but multipart."""
    if endpoint is Endpoint.STORE and kind is not Body.MULTIPART:
        return UnknownBody(f"store: expected a body of {Body.MULTIPART.value}", fix="send the picture as the part file")
    return None
