"""Explains a request without rendering it: its Order, and with its sources also its Recipe, cache key and cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import MISSING, dataclass, fields, is_dataclass, replace
from enum import Enum
from fractions import Fraction
from itertools import takewhile
from typing import Any, Final, assert_never

from cropmark.dialects.dialect import Dialect, ImageRequest, Response
from cropmark.dialects.hints import hints
from cropmark.geometry.findings import Findings, SaliencyMap
from cropmark.geometry.recipe import AnyOp, Extract, OriginalBytes, Reason, Recipe, Resolved
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.problems import NotFound, Problem, SourceProblem, Unprocessable
from cropmark.model.values import Box, Color, Pixels, Ratio, Share, Size
from cropmark.pipeline import Pipeline, cache_key, fingerprint_of
from cropmark.pipeline.records import other_media_type
from cropmark.plan.plan import EncodingChoice, Fallback, Order, Output, Plan
from cropmark.plan.source import SourceRef
from cropmark.plan.steps import Align, Fit, Offset, Resize
from cropmark.ports import OpenSource, Renderers, Source
from cropmark.renderers.cost import resolved_cost
from cropmark.runtime.reads import source_format

PICTURE: Final = Size(264, 176)
"""The box that the picture of a frame fits into."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """The explanation of a request: its Order, Recipe, cache key and cost.

    The fields from `infos` on are set only if the headers of the sources are known.
    """

    dialect: str
    query: str
    order: Order | None
    """The Order; None if the dialect rejects the request with `problem`, or returns `response`."""
    fingerprint: str | None
    problem: Problem | None = None
    response: Response | None = None
    """The dialect's own response, such as a redirect."""
    media_type: str | None = None
    """The media type of a source that is not an image. It is sent unchanged."""
    infos: tuple[Info | None, ...] = ()
    resolved: Resolved | None = None
    key: str | None = None
    cost_ms: float | None = None
    """Estimated milliseconds of one core."""
    findings: Findings = Findings()
    """The findings that `resolved` is based on."""

    def to_json(self) -> dict[str, Any]:
        """The explanation as a JSON object."""
        members: dict[str, Any] = {"dialect": self.dialect, "query": self.query}
        if self.problem is not None:
            p = self.problem
            members["problem"] = {"code": p.code, "status": p.status, "detail": p.detail, "fix": p.fix}
            if p.parameter:
                members["problem"]["parameter"] = p.parameter
        if self.response is not None:
            members["response"] = {"status": self.response.status, "headers": dict(self.response.headers)}
        if self.order is not None:
            members["order"] = to_json(self.order)
            members["fingerprint"] = self.fingerprint
            members["warnings"] = [str(warning) for warning in (*self.order.warnings, *self.order.hints)]
        if self.media_type is not None:
            members["media_type"] = self.media_type
        if self.infos:
            members["infos"] = [to_json(info) for info in self.infos]
        if self.resolved is not None:
            members[type(self.resolved).__name__.lower()] = to_json(self.resolved)
        if self.key is not None:
            members |= {"key": self.key, "cost_ms": self.cost_ms}
        return members


def explain_request(
    dialect: Dialect, request: ImageRequest, adapted: Callable[[Order], Order] | None = None
) -> Explanation:
    """The explanation of a request from its text alone, without its sources.

    `adapted` applies the settings of the site to an Order.
    """
    try:
        order = dialect.order(request)
    except Problem as problem:
        return Explanation(dialect.name, request.query, None, None, problem)
    if isinstance(order, Response):
        return Explanation(dialect.name, request.query, None, None, response=order)
    order = replace(order if adapted is None else adapted(order), hints=hints(dialect.name, request))
    return Explanation(dialect.name, request.query, order, fingerprint_of(order))


async def with_sources(first: Explanation, source: Source, renderers: Renderers, pipeline: Pipeline) -> Explanation:
    """The explanation `first`, completed with facts from the headers of the sources.

    If the Recipe depends on pixels, `resolved` is a Need.
    """
    if first.order is None:
        return first
    order, untrusted = first.order, first.order.delivery.untrusted
    try:
        with ExitStack() as stack:
            opened = [await _open_source(source, each.ref, each.optional, stack) for each in order.sources]
            key = cache_key([each.version if each else None for each in opened], pipeline.fingerprint_of(order))
            media_type = _other_media_type(opened[0], order)
            if media_type is not None:
                reason = Reason.UNSUPPORTED if order.plan else Reason.REQUESTED
                return replace(first, media_type=media_type, resolved=OriginalBytes(reason), key=key)
            infos = tuple(
                [None if each is None else await renderers.inspect(each, untrusted=untrusted) for each in opened]
            )
            resolved, findings = None, Findings()
            if order.plan is not None:
                if order.plan.needs_analysis and opened[0] is not None:
                    analyzed = await pipeline.analysis(opened[0], order.plan, untrusted=untrusted)
                    findings = Findings((), analyzed.analysis, analyzed.reason or "no analysis")
                resolved = resolve(order.plan, infos, findings)
    except Problem as problem:
        return replace(first, problem=problem)
    cost_ms = round(resolved_cost(infos, resolved)[0], 1)
    return replace(first, infos=infos, resolved=resolved, key=key, cost_ms=cost_ms, findings=findings)


def step_counts(explanation: Explanation) -> tuple[int | None, ...]:
    """For each Op of the Recipe, the number of Steps after which the frame is the same as after this Op.

    None for an Op that is not the last Op of its Step. Without a Recipe, the tuple is empty.
    """
    resolved, plan = explanation.resolved, explanation.order.plan if explanation.order else None
    if plan is None or not isinstance(resolved, Recipe):
        return ()
    counts: dict[tuple[AnyOp, ...], int] = {}
    for count in range(1, len(plan.steps) + 1):  # the first Steps give the first Ops, unless a later Step changes them
        try:
            first = resolve(replace(plan, steps=plan.steps[:count]), explanation.infos, explanation.findings)
        except Problem:
            continue
        if isinstance(first, Recipe):
            counts[first.ops] = count
    return tuple(counts.get(resolved.ops[: at + 1]) for at in range(len(resolved.ops)))


def frame_order(order: Order, count: int) -> Order:
    """An Order for a small picture of the frame after the first `count` Steps of the Plan; with 0, of the source.

    Raises NotFound if the Plan has fewer Steps.
    """
    plan = order.plan
    if plan is None or not 0 <= count <= len(plan.steps):
        raise NotFound(f"the request has no step {count}", fix="write step=1")
    width, height = (Pixels(Fraction(side)) for side in (PICTURE.width, PICTURE.height))
    steps = (*plan.steps[:count], Resize(width, height, Fit.INSIDE))
    output = Output((EncodingChoice(Format.WEBP, quality=80),), first_frame=True, colors=plan.output.colors)
    drawn = replace(plan, steps=steps, output=output, on_unsupported=Fallback.PROBLEM, on_unusable=Fallback.PROBLEM)
    return replace(order, plan=drawn)


async def draw_analysis(first: Explanation, source: Source, renderers: Renderers, pipeline: Pipeline) -> bytes:
    """A PNG of the source on which its faces, its saliency map and the window of the request's crop are drawn.

    `first` is the explanation of the request's text. Raises the Problem of the request if it has one, and Unprocessable
    if the source was not analyzed.
    """
    explanation = await with_sources(first, source, renderers, pipeline)
    if explanation.problem is not None:
        raise explanation.problem
    if explanation.order is None:
        raise Unprocessable("this request returns no image")
    order, untrusted = explanation.order, explanation.order.delivery.untrusted
    with ExitStack() as stack:
        opened = await _open_source(source, order.sources[0].ref, False, stack)
        assert opened is not None
        analyzed = await pipeline.analysis(opened, order.plan or Plan(), untrusted=untrusted)
        if analyzed.analysis is None:
            raise Unprocessable(f"the image was not analyzed: {analyzed.reason}", fix="see cropmark doctor")
        window = _crop_window(explanation.resolved)
        return (await renderers.draw(opened, analyzed.analysis, window, untrusted=untrusted)).body


def _other_media_type(opened: OpenSource | None, order: Order) -> str | None:
    """The media type of a source that is not an image and is sent unchanged; None for any other source."""
    sends_original = order.plan is None or order.plan.on_unsupported is Fallback.ORIGINAL
    if opened is None or not sends_original or source_format(opened) is not None:
        return None
    return other_media_type(opened, order)


def _crop_window(resolved: Resolved | None) -> Box | None:
    """The window of the upright source that remains after the crops at the start of the Recipe.

    None if the first Op is not a crop.
    """
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
    """A frozen value as JSON. A dataclass becomes an object, with the name of its class as `type`."""
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
    """A frozen value as one line of text, without fields that have their default value."""
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
    """Yield `name=value` for each field that differs from its default; only `value` if the class has one field."""
    is_only_field = len(fields(value)) == 1
    for field in fields(value):
        content = getattr(value, field.name)
        if content is not None and content != _default(field):
            yield summarize(content) if is_only_field else f"{field.name}={summarize(content)}"


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
