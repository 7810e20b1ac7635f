"""The Contentstack dialect: the sheet that the rest of the server sees."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from cropmark.dialects.contentstack import parse, responses
from cropmark.dialects.contentstack.params import ROWS
from cropmark.dialects.contentstack.settings import ContentstackSettings
from cropmark.dialects.contentstack.writer import written
from cropmark.dialects.dialect import Answer, Ask, Headers, Param, Result, Said, Unsayable
from cropmark.model.problems import Problem
from cropmark.plan.plan import Order


@dataclass(frozen=True, slots=True)
class Contentstack:
    """Contentstack's Image Delivery API with one site's settings."""

    settings: ContentstackSettings = field(default_factory=ContentstackSettings)

    name: ClassVar[str] = "contentstack"
    params: ClassVar[tuple[Param, ...]] = tuple(row.param for row in ROWS)
    headers: ClassVar[tuple[str, ...]] = parse.MANAGERS

    def order(self, ask: Ask) -> Order:
        return parse.order(ask, self.settings)

    def headers_of(self, order: Order, result: Result) -> Headers:
        return responses.picture_headers(result)

    def refusal(self, problem: Problem, ask: Ask) -> Answer:
        return responses.refusal(problem)

    def says(self, order: Order) -> Said | Unsayable:
        return written(order, self.settings)
