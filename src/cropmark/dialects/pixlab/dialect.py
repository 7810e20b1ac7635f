"""The PixLab dialect: the interface for the rest of the server.

Requests are checked in the service's order: endpoint and method, then the key, then the fields, and the image last.
The package `web` compares the key in a request with the configured keys, in constant time.
Source: https://pixlab.io/endpoints/crop
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cropmark.dialects.dialect import Headers, ImageRequest, ParameterDoc, Response, Result, Serialized, Unsupported
from cropmark.dialects.pixlab import parse, query, responses
from cropmark.dialects.pixlab.endpoints import EndpointName, check_endpoint
from cropmark.dialects.pixlab.params import PARAMETERS
from cropmark.dialects.pixlab.parse import PixLabRequest, RenderImage
from cropmark.dialects.pixlab.settings import PixLabSettings
from cropmark.dialects.pixlab.writer import serialize
from cropmark.model.problems import BadRequest, Problem, Unauthorized
from cropmark.plan.plan import Order


@dataclass(frozen=True, slots=True)
class PixLab:
    """PixLab's endpoints for cropping and resizing, face detection, and stored results."""

    settings: PixLabSettings = field(default_factory=PixLabSettings)

    name: ClassVar[str] = "pixlab"
    params: ClassVar[tuple[ParameterDoc, ...]] = tuple(parameter.doc for parameter in PARAMETERS)
    request_headers: ClassVar[tuple[str, ...]] = (query.KEY_HEADER,)
    image_request_headers: ClassVar[tuple[str, ...]] = ()

    def endpoint(self, request: ImageRequest) -> EndpointName:
        """The endpoint of a request. Raises NotFound for an unknown endpoint, MethodNotAllowed for a wrong method."""
        return check_endpoint(request)

    def key_of(self, request: ImageRequest) -> str | None:
        """The caller's key; None if the request has none. Raises BadRequest for a query that is too long."""
        return query.api_key(request)

    def unauthorized(self, key: str | None) -> Unauthorized:
        """The Problem for a key that is missing (None), unknown or blocked. Its text does not contain the key."""
        detail = "key: expected a key, got none" if key is None else "key: expected a valid key, got another"
        return Unauthorized(detail, fix="write key=… or send the header WWW-Authenticate", parameter="key")

    def parse_request(self, request: ImageRequest) -> PixLabRequest:
        """Parse a request into one of the PixLabRequest types.

        Raises NotFound, MethodNotAllowed, BadRequest and SourceForbidden.
        """
        return parse.parse_request(check_endpoint(request), request, self.settings.limits)

    def order(self, request: ImageRequest) -> Order:
        """Parse a request into an Order. The key in the request is not checked.

        Raises NotFound, MethodNotAllowed, SourceForbidden and BadRequest. An endpoint that renders no image also raises
        BadRequest.
        """
        parsed = self.parse_request(request)
        if isinstance(parsed, RenderImage):
            return parsed.order
        name = self.endpoint(request).value
        raise BadRequest(f"{name} returns JSON and renders no image", fix="use crop or resize")

    def image_headers(self, order: Order, result: Result) -> Headers:
        return responses.image_headers(result)

    def error_response(self, problem: Problem, request: ImageRequest) -> Response:
        return responses.error_response(problem, request)

    def serialize(self, order: Order) -> Serialized | Unsupported:
        return serialize(order)
