"""The Fastly dialect: the interface for the rest of the server."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cropmark.dialects.dialect import Headers, ImageRequest, ParameterDoc, Response, Result, Serialized, Unsupported
from cropmark.dialects.fastly import parse, responses
from cropmark.dialects.fastly.overlays import MONTAGE_HEADER, MONTAGE_PARAMETERS, OVERLAY_HEADER, OVERLAY_PARAMETERS
from cropmark.dialects.fastly.params import PARAMETERS
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.fastly.writer import serialize
from cropmark.model.problems import Problem
from cropmark.plan.plan import Order


@dataclass(frozen=True, slots=True)
class Fastly:
    """Fastly's Image Optimizer with one service's settings."""

    settings: FastlySettings = field(default_factory=FastlySettings)

    name: ClassVar[str] = "fastly"
    params: ClassVar[tuple[ParameterDoc, ...]] = tuple(parameter.doc for parameter in PARAMETERS)
    overlay_params: ClassVar[tuple[ParameterDoc, ...]] = tuple(parameter.doc for parameter in OVERLAY_PARAMETERS)
    """Parameters in the overlay header, and in the query if the operator allows them there."""
    montage_params: ClassVar[tuple[ParameterDoc, ...]] = tuple(parameter.doc for parameter in MONTAGE_PARAMETERS)
    """Parameters in the montage header."""
    request_headers: ClassVar[tuple[str, ...]] = (OVERLAY_HEADER, MONTAGE_HEADER, parse.API_HEADER)
    image_request_headers: ClassVar[tuple[str, ...]] = request_headers

    def order(self, request: ImageRequest) -> Order:
        return parse.order(request, self.settings)

    def image_headers(self, order: Order, result: Result) -> Headers:
        return responses.image_headers(order, result)

    def error_response(self, problem: Problem, request: ImageRequest) -> Response:
        return responses.error_response(problem, request)

    def serialize(self, order: Order) -> Serialized | Unsupported:
        return serialize(order, self.settings)
