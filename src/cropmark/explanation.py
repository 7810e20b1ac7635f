"""Explains a request without rendering it: its Order, and with the source at hand its Recipe, cache key and cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import Enum
from fractions import Fraction
from itertools import takewhile
from typing import Any, assert_never

from cropmark.dialects.dialect import Dialect, ImageRequest, Response
from cropmark.dialects.hints import hints
from cropmark.geometry.findings import Findings, SaliencyMap
from cropmark.geometry.recipe import Extract, Recipe, Resolved
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.problems import Problem, SourceProblem, Unprocessable
from cropmark.model.values import Box, Color, Pixels, Ratio, Share
from cropmark.pipeline import Pipeline, cache_key, fingerprint_of
from cropmark.plan.plan import Order, Plan
from cropmark.plan.source import SourceRef
from cropmark.plan.steps import Align, Offset
from cropmark.ports import OpenSource, Renderers, Source
from cropmark.renderers.cost import resolved_ms


@dataclass(frozen=True, slots=True)
class Explanation:
    """The interpretation of a request; the fields from `infos` on need the headers of its sources."""

    dialect: str
    query: str
    order: Order | None
    """None if the dialect rejects the request with `problem`, or returns `response`."""
    fingerprint: str | None
    problem: Problem | None = None
    response: Response | None = None
    """The dialect's own response, such as a redirect."""
    infos: tuple[Info | None, ...] = ()
    resolved: Resolved | None = None
    key: str | None = None
    cost_ms: float | None = None
    """Estimated milliseconds of one core."""

    def to_json(self) -> dict[str, Any]:
        """The explanation as a JSON object."""
        members: dict[str, Any] = {"dialect": self.dialect, "query": self.query}
        if self.problem is not None:
            p = self.problem
            members["problem"] = {"code": p.code, "status": p.status, "detail": p.detail, "fix": p.fix}
        if self.response is not None:
            members["response"] = {"status": self.response.status, "headers": dict(self.response.headers)}
        if self.order is not None:
            members["order"] = to_json(self.order)
            members["fingerprint"] = self.fingerprint
            members["warnings"] = [str(warning) for warning in (*self.order.warnings, *self.order.hints)]
        if self.infos:
            members["infos"] = [to_json(info) for info in self.infos]
        if self.resolved is not None:
            members[type(self.resolved).__name__.lower()] = to_json(self.resolved)
        if self.key is not None:
            members |= {"key": self.key, "cost_ms": self.cost_ms}
        return members


def explain_request(dialect: Dialect, request: ImageRequest) -> Explanation:
    """The explanation of a request from its text alone."""
    try:
        order = dialect.order(request)
    except Problem as problem:
        return Explanation(dialect.name, request.query, None, None, problem)
    if isinstance(order, Response):
        return Explanation(dialect.name, request.query, None, None, response=order)
    order = replace(order, hints=hints(dialect.name, request))
    return Explanation(dialect.name, request.query, order, fingerprint_of(order))


async def explain_with_source(
    dialect: Dialect, request: ImageRequest, source: Source, renderers: Renderers, pipeline: Pipeline
) -> Explanation:
    """The explanation of a request with the headers of its sources. If it depends on pixels, `resolved` is a Need."""
    first = explain_request(dialect, request)
    if first.order is None:
        return first
    order = first.order
    try:
        with ExitStack() as stack:
            opened = [await _open_source(source, each.ref, each.optional, stack) for each in order.sources]
            infos = tuple([None if each is None else await renderers.inspect(each) for each in opened])
            key = cache_key([each.version if each else None for each in opened], pipeline.fingerprint_of(order))
            resolved = None
            if order.plan is not None:
                findings = Findings()
                if order.plan.needs_analysis and opened[0] is not None:
                    analyzed = await pipeline.analysis(opened[0], order.plan)
                    findings = Findings((), analyzed.analysis, analyzed.reason or "no analysis")
                resolved = resolve(order.plan, infos, findings)
    except Problem as problem:
        return replace(first, problem=problem)
    return replace(first, infos=infos, resolved=resolved, key=key, cost_ms=round(resolved_ms(infos, resolved), 1))


async def draw_analysis(
    dialect: Dialect, request: ImageRequest, source: Source, renderers: Renderers, pipeline: Pipeline
) -> bytes:
    """A PNG of the source with its faces and saliency map, and the window of the request's crop.

    Raises the request's own Problem, and Unprocessable if the source was not analyzed.
    """
    explanation = await explain_with_source(dialect, request, source, renderers, pipeline)
    if explanation.problem is not None:
        raise explanation.problem
    if explanation.order is None:
        raise Unprocessable("this request returns no image")
    with ExitStack() as stack:
        opened = await _open_source(source, explanation.order.sources[0].ref, False, stack)
        assert opened is not None
        analyzed = await pipeline.analysis(opened, explanation.order.plan or Plan())
        if analyzed.analysis is None:
            raise Unprocessable(f"the image was not analyzed: {analyzed.reason}", fix="see cropmark doctor")
        return (await renderers.draw(opened, analyzed.analysis, _crop_window(explanation.resolved))).body


def _crop_window(resolved: Resolved | None) -> Box | None:
    """The window of the upright source after the first crops of the Recipe; None if it begins with another Op."""
    ops = resolved.ops if isinstance(resolved, Recipe) else ()
    window: Box | None = None
    for op in takewhile(lambda op: isinstance(op, Extract), ops):
        assert isinstance(op, Extract)
        left, top = (window.left, window.top) if window else (0, 0)
        window = Box(left + op.box.left, top + op.box.top, op.box.width, op.box.height)
    return window


async def _open_source(source: Source, ref: SourceRef, optional: bool, stack: ExitStack) -> OpenSource | None:
    try:
        opened = await source.open(ref)
    except SourceProblem:
        if not optional:
            raise
        return None
    stack.callback(opened.close)
    return opened


def to_json(value: Any) -> Any:
    """A frozen value as JSON: a dataclass becomes an object with its class name as `type`."""
    match value:
        case None | bool() | int() | str() | float():
            return value
        case Fraction():
            return int(value) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"
        case Enum():
            return value.value
        case SaliencyMap():
            return f"a map of {value.columns} by {value.rows} cells"
        case tuple() | list():
            return [to_json(v) for v in value]
        case frozenset():
            return sorted(str(to_json(v)) for v in value)
        case _ if is_dataclass(value):
            return {"type": type(value).__name__, **{f.name: to_json(getattr(value, f.name)) for f in fields(value)}}
        case _:
            return str(value)


def summarize(value: Any) -> str:
    """A frozen value as one line of text; fields with their default value are left out."""
    match value:
        case Pixels() | Share() | Ratio() | Color() | Offset() | Align():
            return _measure(value)
        case Fraction():
            return f"{float(value):g}"
        case Enum():
            return str(value.value)
        case tuple() | list():
            return ", ".join(summarize(v) for v in value)
        case frozenset():
            others = ALL_FORMATS - value
            prefix, few = ("all but ", others) if len(others) < len(value) <= len(ALL_FORMATS) else ("", value)
            return prefix + " ".join(sorted(summarize(v) for v in few))
        case _ if is_dataclass(value) and type(value).__str__ is object.__str__:
            return f"{type(value).__name__}({', '.join(_changed_fields(value))})"
        case _:
            return str(value)


ALL_FORMATS = frozenset(Format)


def _measure(value: Pixels | Share | Ratio | Color | Offset | Align) -> str:
    match value:
        case Pixels(count):
            return f"{summarize(count)} px"
        case Share(part):
            return f"{summarize(part * 100)} %"
        case Ratio(width, height):
            return f"{summarize(width)}:{summarize(height)}"
        case Color(red, green, blue, alpha):
            return f"#{red:02x}{green:02x}{blue:02x}" + ("" if alpha == 255 else f"{alpha:02x}")
        case Offset(distance):
            return f"at {summarize(distance)}"
        case Align(part):
            return "centered" if part == Fraction(1, 2) else f"{summarize(part * 100)} % of the free space before it"
        case _:
            assert_never(value)


def _changed_fields(value: Any) -> Iterator[str]:
    """`name=value` for each field without its default value; only the value if the class has one field."""
    is_only_field = len(fields(value)) == 1
    for field in fields(value):
        content = getattr(value, field.name)
        if content is not None and content != _default(field):
            yield summarize(content) if is_only_field else f"{field.name}={summarize(content)}"


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
