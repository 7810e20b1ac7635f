"""What a request means, step by step, without making the picture: for `explain`, and for whoever asks why."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from fractions import Fraction
from itertools import takewhile
from typing import Any, assert_never

from cropmark.dialects.dialect import Dialect, ImageRequest
from cropmark.geometry.findings import Findings, SaliencyMap
from cropmark.geometry.recipe import Extract, OriginalBytes, Recipe, Resolved
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.problems import Problem, SourceProblem, Unprocessable
from cropmark.model.values import Box, Color, Pixels, Ratio, Share
from cropmark.pipeline import Pipeline, fingerprint_of, key_of
from cropmark.plan.plan import Order
from cropmark.plan.steps import Align, Offset
from cropmark.ports import OpenSource, Renderers, Source

# Rough nanoseconds a pixel: what a look-up in spec and benchmarks gives for one core, good to a factor of two.
DECODE_NS = {Format.JPEG: 4, Format.PNG: 15, Format.WEBP: 12, Format.GIF: 10, Format.AVIF: 30, Format.TIFF: 4}
ENCODE_NS = {Format.JPEG: 12, Format.PNG: 80, Format.WEBP: 45, Format.GIF: 150, Format.AVIF: 75, Format.TIFF: 5}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a request means. With the source at hand also what its header makes of it."""

    dialect: str
    query: str
    order: Order | None
    fingerprint: str | None
    problem: Problem | None = None
    infos: tuple[Info | None, ...] = ()
    resolved: Resolved | None = None
    key: str | None = None
    cost_ms: float | None = None

    def plain(self) -> dict[str, Any]:
        """The whole as JSON would have it."""
        told: dict[str, Any] = {"dialect": self.dialect, "query": self.query}
        if self.problem is not None:
            p = self.problem
            told["problem"] = {"code": p.code, "status": p.status, "detail": p.detail, "fix": p.fix}
        if self.order is not None:
            told["order"] = plain(self.order)
            told["fingerprint"] = self.fingerprint
            told["warnings"] = [str(warned) for warned in self.order.warnings]
        if self.infos:
            told["infos"] = [plain(info) for info in self.infos]
        if self.resolved is not None:
            told[type(self.resolved).__name__.lower()] = plain(self.resolved)
        if self.key is not None:
            told |= {"key": self.key, "cost_ms": self.cost_ms}
        return told


def explained(dialect: Dialect, ask: ImageRequest) -> Explanation:
    """The Order that a request is read as, or the Problem that it is refused with."""
    try:
        order = dialect.order(ask)
    except Problem as problem:
        return Explanation(dialect.name, ask.query, None, None, problem)
    return Explanation(dialect.name, ask.query, order, fingerprint_of(order))


async def explained_with(
    dialect: Dialect, ask: ImageRequest, source: Source, renderers: Renderers, pipeline: Pipeline
) -> Explanation:
    """The same, with what the pictures' headers make of it. What only pixels can tell stays a Need."""
    first = explained(dialect, ask)
    if first.order is None:
        return first
    order = first.order
    try:
        with ExitStack() as held:
            opened = [await _opened(source, wanted.ref, wanted.optional, held) for wanted in order.sources]
            infos = tuple([None if each is None else await renderers.inspect(each) for each in opened])
            key = key_of([each.stamp if each else None for each in opened], pipeline.fingerprint_of(order))
            resolved = None
            if order.plan is not None:
                findings = Findings()
                if order.plan.wants_analysis and opened[0] is not None:
                    analyzed = await pipeline.analysis(opened[0])
                    findings = Findings((), analyzed.analysis, analyzed.reason or "no analysis")
                resolved = resolve(order.plan, infos, findings)
    except Problem as problem:
        return Explanation(first.dialect, first.query, order, first.fingerprint, problem)
    cost = _cost_ms(infos, resolved)
    return Explanation(first.dialect, first.query, order, first.fingerprint, None, infos, resolved, key, cost)


async def drawn(dialect: Dialect, ask: ImageRequest, source: Source, renderers: Renderers, pipeline: Pipeline) -> bytes:
    """A PNG of the picture with what content-aware cropping sees in it, and the window that the request keeps.

    Raises Problems: the request's own, and Impossible where the picture was not analyzed.
    """
    told = await explained_with(dialect, ask, source, renderers, pipeline)
    if told.problem is not None:
        raise told.problem
    assert told.order is not None
    with ExitStack() as held:
        opened = await _opened(source, told.order.sources[0].ref, False, held)
        assert opened is not None
        analyzed = await pipeline.analysis(opened)
        if analyzed.analysis is None:
            raise Unprocessable(f"there is no analysis to draw: {analyzed.reason}", fix="see cropmark doctor")
        return (await renderers.draw(opened, analyzed.analysis, _kept(told.resolved))).body


def _kept(resolved: Resolved | None) -> Box | None:
    """The window of the upright source that the Recipe's first cuts keep; None where it cuts nothing."""
    ops = resolved.ops if isinstance(resolved, Recipe) else ()
    window: Box | None = None
    for op in takewhile(lambda op: isinstance(op, Extract), ops):
        assert isinstance(op, Extract)
        left, top = (window.left, window.top) if window else (0, 0)
        window = Box(left + op.box.left, top + op.box.top, op.box.width, op.box.height)
    return window


async def _opened(source: Source, where: Any, optional: bool, held: ExitStack) -> OpenSource | None:
    try:
        opened = await source.open(where)
    except SourceProblem:
        if not optional:
            raise
        return None
    held.callback(opened.close)
    return opened


def _cost_ms(infos: tuple[Info | None, ...], resolved: Resolved | None) -> float:
    decode = sum(i.stored.area * i.frames * DECODE_NS.get(i.format, 10) for i in infos if i is not None)
    encode = 0
    if isinstance(resolved, Recipe):
        encode = resolved.size.area * resolved.frames * ENCODE_NS[resolved.encoding.format]
    return 0.0 if isinstance(resolved, OriginalBytes) else round((decode + encode) / 1e6, 1)


def plain(value: Any) -> Any:
    """A frozen value as JSON would have it: a dataclass is an object with its class under `is`, a fraction a number."""
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
            return [plain(v) for v in value]
        case frozenset():
            return sorted(str(plain(v)) for v in value)
        case _ if is_dataclass(value):
            return {"is": type(value).__name__, **{f.name: plain(getattr(value, f.name)) for f in fields(value)}}
        case _:
            return str(value)


def short(value: Any) -> str:
    """A frozen value in one line for people: what has its default is left out, lengths and places are written out."""
    match value:
        case Pixels() | Share() | Ratio() | Color() | Offset() | Align():
            return _measure(value)
        case Fraction():
            return f"{float(value):g}"
        case Enum():
            return str(value.value)
        case tuple() | list():
            return ", ".join(short(v) for v in value)
        case frozenset():
            others = ALL_FORMATS - value
            told, few = ("all but ", others) if len(others) < len(value) <= len(ALL_FORMATS) else ("", value)
            return told + " ".join(sorted(short(v) for v in few))
        case _ if is_dataclass(value) and type(value).__str__ is object.__str__:
            return f"{type(value).__name__}({', '.join(_telling(value))})"
        case _:
            return str(value)


ALL_FORMATS = frozenset(Format)


def _measure(value: Pixels | Share | Ratio | Color | Offset | Align) -> str:
    match value:
        case Pixels(count):
            return f"{short(count)} px"
        case Share(part):
            return f"{short(part * 100)} %"
        case Ratio(width, height):
            return f"{short(width)}:{short(height)}"
        case Color(red, green, blue, alpha):
            return f"#{red:02x}{green:02x}{blue:02x}" + ("" if alpha == 255 else f"{alpha:02x}")
        case Offset(distance):
            return f"at {short(distance)}"
        case Align(part):
            return "centered" if part == Fraction(1, 2) else f"{short(part * 100)} % of the spare room before it"
        case _:
            assert_never(value)


def _telling(value: Any) -> Iterator[str]:
    """`name=value` of the fields that say something; the only one of a value goes without its name."""
    alone = len(fields(value)) == 1
    for field in fields(value):
        content = getattr(value, field.name)
        if content is not None and content != _default(field):
            yield short(content) if alone else f"{field.name}={short(content)}"


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default
