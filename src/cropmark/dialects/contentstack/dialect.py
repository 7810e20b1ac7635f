"""The Contentstack dialect: the sheet that the rest of the server sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cropmark.dialects.contentstack import parse, responses
from cropmark.dialects.contentstack.params import ROWS
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.contentstack.writer import written
from cropmark.dialects.dialect import Headers, ImageRequest, ParameterDoc, Response, Result, Serialized, Unsupported
from cropmark.model.problems import Problem
from cropmark.plan.plan import Order


@dataclass(frozen=True, slots=True)
class Contentstack:
    """Contentstack's Image Delivery API with one site's settings."""

    settings: ContentstackSettings = field(default_factory=ContentstackSettings)

    name: ClassVar[str] = "contentstack"
    params: ClassVar[tuple[ParameterDoc, ...]] = tuple(row.param for row in ROWS)
    headers: ClassVar[tuple[str, ...]] = parse.MANAGERS

    def order(self, ask: ImageRequest) -> Order:
        return parse.order(ask, self.settings)

    def headers_of(self, order: Order, result: Result) -> Headers:
        return responses.picture_headers(result)

    def error_response(self, problem: Problem, ask: ImageRequest) -> Response:
        return responses.refusal(problem)

    def serialize(self, order: Order) -> Serialized | Unsupported:
        return written(order, self.settings)
