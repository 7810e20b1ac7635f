"""The Contentstack dialect: the interface for the rest of the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cropmark.dialects.contentstack import parse, responses
from cropmark.dialects.contentstack.params import PARAMETERS
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.contentstack.writer import serialize
from cropmark.dialects.dialect import Headers, ImageRequest, ParameterDoc, Response, Result, Serialized, Unsupported
from cropmark.model.problems import Problem
from cropmark.plan.plan import Order


@dataclass(frozen=True, slots=True)
class Contentstack:
    """Contentstack's Image Delivery API with one site's settings."""

    settings: ContentstackSettings = field(default_factory=ContentstackSettings)

    name: ClassVar[str] = "contentstack"
    params: ClassVar[tuple[ParameterDoc, ...]] = tuple(parameter.doc for parameter in PARAMETERS)
    request_headers: ClassVar[tuple[str, ...]] = parse.MANAGEMENT_HEADERS
    image_request_headers: ClassVar[tuple[str, ...]] = ()

    def order(self, request: ImageRequest) -> Order:
        return parse.order(request, self.settings)

    def image_headers(self, order: Order, result: Result) -> Headers:
        return responses.image_headers(result)

    def error_response(self, problem: Problem, request: ImageRequest) -> Response:
        return responses.error_response(problem)

    def serialize(self, order: Order) -> Serialized | Unsupported:
        return serialize(order, self.settings)
