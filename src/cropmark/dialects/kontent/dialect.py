"""The Kontent.ai dialect: the interface for the rest of the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cropmark.dialects.dialect import Headers, ImageRequest, ParameterDoc, Response, Result, Serialized, Unsupported
from cropmark.dialects.kontent import parse, responses
from cropmark.dialects.kontent.params import PARAMETERS
from cropmark.dialects.kontent.settings import KontentSettings
from cropmark.dialects.kontent.writer import serialize
from cropmark.model.problems import Problem
from cropmark.plan.plan import Order


@dataclass(frozen=True, slots=True)
class Kontent:
    """Kontent.ai's Image Transformation API with one site's settings."""

    settings: KontentSettings = field(default_factory=KontentSettings)

    name: ClassVar[str] = "kontent"
    params: ClassVar[tuple[ParameterDoc, ...]] = tuple(parameter.doc for parameter in PARAMETERS)
    request_headers: ClassVar[tuple[str, ...]] = ()
    image_request_headers: ClassVar[tuple[str, ...]] = ()

    def order(self, request: ImageRequest) -> Order:
        return parse.order(request, self.settings)

    def image_headers(self, order: Order, result: Result) -> Headers:
        return responses.image_headers(result)

    def error_response(self, problem: Problem, request: ImageRequest) -> Response:
        return responses.error_response(problem)

    def serialize(self, order: Order) -> Serialized | Unsupported:
        return serialize(order)
