"""The Fastly dialect: the sheet that the rest of the server sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cropmark.dialects.dialect import Headers, ImageRequest, ParameterDoc, Response, Result, Serialized, Unsupported
from cropmark.dialects.fastly import parse, responses
from cropmark.dialects.fastly.overlays import MONTAGE_HEADER, MONTAGE_ROWS, OVERLAY_HEADER, OVERLAY_ROWS
from cropmark.dialects.fastly.params import ROWS
from cropmark.dialects.fastly.settings import FastlySettings
from cropmark.dialects.fastly.writer import written
from cropmark.model.problems import Problem
from cropmark.plan.plan import Order


@dataclass(frozen=True, slots=True)
class Fastly:
    """Fastly's Image Optimizer with one service's settings."""

    settings: FastlySettings = field(default_factory=FastlySettings)

    name: ClassVar[str] = "fastly"
    params: ClassVar[tuple[ParameterDoc, ...]] = tuple(row.param for row in ROWS)
    overlay_params: ClassVar[tuple[ParameterDoc, ...]] = tuple(row.param for row in OVERLAY_ROWS)
    """Of the overlay header, and of the query where the operator switched them on."""
    montage_params: ClassVar[tuple[ParameterDoc, ...]] = tuple(row.param for row in MONTAGE_ROWS)
    """Of the montage header."""
    headers: ClassVar[tuple[str, ...]] = (OVERLAY_HEADER, MONTAGE_HEADER, parse.API_HEADER)

    def order(self, ask: ImageRequest) -> Order:
        return parse.order(ask, self.settings)

    def headers_of(self, order: Order, result: Result) -> Headers:
        return responses.picture_headers(order, result)

    def error_response(self, problem: Problem, ask: ImageRequest) -> Response:
        return responses.refusal(problem, ask)

    def serialize(self, order: Order) -> Serialized | Unsupported:
        return written(order, self.settings)
