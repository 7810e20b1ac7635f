"""Sources and a Plan in, the encoded picture out: the renderer's whole line, once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import perf_counter

import pyvips
from pyvips import Image

from cropmark.engine import color, load
from cropmark.engine.compose import blank
from cropmark.engine.image import DecodedImage, gathered
from cropmark.engine.metadata import rights_of
from cropmark.engine.ops import Layers, run
from cropmark.engine.save import encoded
from cropmark.engine.trim import border_box
from cropmark.geometry.findings import Findings
from cropmark.geometry.recipe import (
    Compose,
    Extract,
    Need,
    Op,
    OriginalBytes,
    Reason,
    Recipe,
    Rotate,
    Scale,
    SolidColor,
)
from cropmark.geometry.resolve import resolve
from cropmark.geometry.shrink_on_load import DecodePlan, decoded_size, decoding
from cropmark.model.formats import SNIFFED_BYTES, Info, sniffed
from cropmark.model.problems import InternalError, SourceUnusable
from cropmark.model.values import Box, Size, enclosing
from cropmark.plan.plan import Fallback, KeepMetadata, Plan, RequestWarning
from cropmark.plan.steps import Overlay
from cropmark.ports import AnalysisResult, Facts, Passthrough, Rendered, Timing


@dataclass(slots=True)
class _StageClock:
    """Milliseconds by stage."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        begun = perf_counter()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + (perf_counter() - begun) * 1000

    @property
    def timing(self) -> Timing:
        return Timing(tuple(self.spent.items()))


@dataclass(frozen=True, slots=True)
class _LoadedSources:
    """The sources with their headers, None for one that could not be had or used; what to tell of the latter."""

    sources: tuple[bytes | None, ...]
    infos: tuple[Info | None, ...]
    warnings: tuple[RequestWarning, ...] = ()

    def source(self, at: int) -> tuple[bytes, Info]:
        data, info = self.sources[at], self.infos[at]
        assert data is not None and info is not None, "a Recipe names only sources that resolve() saw"
        return data, info

    def without(self, broken: Collection[int], plan: Plan) -> _LoadedSources:
        """The job with these sources left out."""
        return _LoadedSources(
            tuple(None if at in broken else data for at, data in enumerate(self.sources)),
            tuple(None if at in broken else info for at, info in enumerate(self.infos)),
            (*self.warnings, *(_left_out(at, plan) for at in sorted(broken))),
        )


def rendered(
    sources: Sequence[bytes | None], plan: Plan, analyzed: AnalysisResult | None = None, *, low_effort: bool = False
) -> Rendered | Passthrough:
    """The picture that the plan makes of these sources, or why the first goes out as it is.

    sources[0] is the picture's, the others those of overlays and montage cells; one of those that is None is left out,
    one that is broken with a warning. `low_effort` encodes at the lowest effort.
    Raises what resolve() raises, SourceUnusable, Breakdown where an encoder fails, and MemoryError.
    """
    clock = _StageClock()
    try:
        with clock.stage("inspect"):
            job = _inspected(sources, plan)
    except SourceUnusable as problem:
        return _unusable(plan, sources, None, clock, problem)
    while True:
        try:
            return _made(job, plan, analyzed, clock, low_effort=low_effort)
        except pyvips.Error as error:
            if "out of memory" in str(error):
                raise MemoryError from error
            broken = _broken(job)
            if not broken:
                raise InternalError("the picture was read, but could not be made or encoded") from error
            if 0 in broken:
                return _unusable(plan, sources, job.infos[0], clock, load.broken())
            job = job.without(broken, plan)


def _inspected(sources: Sequence[bytes | None], plan: Plan) -> _LoadedSources:
    """Raises SourceUnusable for the first source; others that are broken are left out."""
    first, *others = sources
    found = [None if first is None else load.info_of(first), *map(_info, others)]
    broken = {at for at, info in enumerate(found) if info is None and sources[at] is not None}
    return _LoadedSources(tuple(sources), tuple(found)).without(broken, plan)


def _info(data: bytes | None) -> Info | None:
    try:
        return None if data is None else load.info_of(data)
    except SourceUnusable:
        return None


def _broken(job: _LoadedSources) -> set[int]:
    """The sources that do not decode; asked only once something failed, for libvips' errors do not tell whose it is."""
    return {at for at, data in enumerate(job.sources) if data is not None and not load.is_sound(data)}


def _left_out(at: int, plan: Plan) -> RequestWarning:
    for step in plan.steps:
        if isinstance(step, Overlay) and step.source == at:
            return RequestWarning(step.parameter, "left out, it is broken or no picture")
    return RequestWarning("montage", f"picture {at} left out, it is broken or no picture")


def _unusable(
    plan: Plan, sources: Sequence[bytes | None], info: Info | None, clock: _StageClock, problem: SourceUnusable
) -> Passthrough:
    """What the plan says of a first source that is no picture we know, or a broken one. Raises the problem."""
    head = (sources[0] or b"")[:SNIFFED_BYTES]
    unknown = sniffed(head) is None
    if (plan.on_unsupported if unknown else plan.on_unusable) is Fallback.PROBLEM:
        raise problem
    return Passthrough(
        Reason.UNSUPPORTED if unknown else Reason.UNREADABLE,
        Facts(source=info, format=sniffed(head)),
        timing=clock.timing,
    )


def _made(
    job: _LoadedSources, plan: Plan, analyzed: AnalysisResult | None, clock: _StageClock, *, low_effort: bool
) -> Rendered | Passthrough:
    recipe = _resolved(job, plan, analyzed, clock)
    warnings = (*job.warnings, *recipe.warnings)
    data, info = job.source(0)
    as_is = Facts(source=info, size=info.size, frames=info.frames, format=info.format)
    if isinstance(recipe, OriginalBytes):
        return Passthrough(recipe.reason, as_is, warnings, clock.timing)
    with clock.stage("render"):
        body = _body(job, recipe, low_effort=low_effort)
    if recipe.larger_is_original and len(body) > len(data):
        return Passthrough(Reason.NO_GAIN, as_is, warnings, clock.timing)
    facts = Facts(info, recipe.size, recipe.frames, recipe.focus, recipe.encoding.format)
    return Rendered(body, recipe.encoding.format, facts, warnings, clock.timing, low_effort=low_effort)


def _resolved(
    job: _LoadedSources, plan: Plan, analyzed: AnalysisResult | None, clock: _StageClock
) -> Recipe | OriginalBytes:
    """Ask resolve(), look at what it needs, ask again: at most once a Step."""
    findings = _findings(analyzed)
    while True:
        answer = resolve(plan, job.infos, findings)
        if not isinstance(answer, Need):
            return answer
        with clock.stage("measure"):
            findings = replace(findings, borders=(*findings.borders, _border(job, answer, plan)))


def _findings(analyzed: AnalysisResult | None) -> Findings:
    if analyzed is None:
        return Findings()
    return Findings(analysis=analyzed.analysis, no_analysis=analyzed.reason or "no analysis")


def _border(job: _LoadedSources, need: Need, plan: Plan) -> Box | None:
    """The smallest box that holds what any frame shows besides a border; a frame of nothing else has no say."""
    data, info = job.source(0)
    layers = {op: _layer(job, op, op.ops) for op in _composed(need.ops)}
    looked_at = 1 if plan.output.first_frame else info.frames
    frames = _operated(load.loaded(data, info, frames=looked_at), need.ops, layers).frames
    return enclosing(box for frame in frames if (box := border_box(frame, need.look)) is not None)


def _body(job: _LoadedSources, recipe: Recipe, *, low_effort: bool) -> bytes:
    start, ops = _start(job, recipe)
    layers = {op: _shrunk_layer(job, op, recipe) for op in _composed(ops)}
    keeps = recipe.encoding.keeps
    picture = _operated(start, ops, layers, keep_profile=KeepMetadata.ICC in keeps)
    rights = rights_of(start.frames[0]) if KeepMetadata.COPYRIGHT in keeps else None
    return encoded(picture, recipe.encoding, low_effort=low_effort, rights=rights)


def _start(job: _LoadedSources, recipe: Recipe) -> tuple[DecodedImage, tuple[Op, ...]]:
    """The frames that the recipe begins with, and the ops that remain; the source is not read for a montage."""
    match recipe.ops:
        case (SolidColor(size, fill), *rest):
            return DecodedImage((blank(size, fill),)), tuple(rest)
        case _:
            data, info = job.source(0)
            read = decoding(recipe, info)
            return _loaded(data, info, read, recipe.frames), read.ops


def _loaded(data: bytes, info: Info, read: DecodePlan, frames: int) -> DecodedImage:
    match read.ops:
        case (Extract(box), *_):
            reach = Fraction(box.bottom, decoded_size(info, read.scale).height)
        case _:
            reach = Fraction(1)
    return load.loaded(data, info, frames=frames, scale=read.scale, reach=reach)


def _operated(start: DecodedImage, ops: tuple[Op, ...], layers: Layers, *, keep_profile: bool = False) -> DecodedImage:
    """The picture after every op, its colors made sRGB where the fewest pixels are left to convert."""
    ahead = _cutting(ops, Size(start.frames[0].width, start.frames[0].height))
    cut = run(start, ops[:ahead], layers)
    converted = tuple(color.kept(frame) if keep_profile else color.srgb(frame) for frame in cut.frames)
    return run(replace(cut, frames=converted), ops[ahead:], layers)


def _cutting(ops: tuple[Op, ...], size: Size) -> int:
    """How many of the first ops only cut, turn and shrink, which any colors can take."""
    area = size.area
    for at, op in enumerate(ops):
        match op:
            case Extract(box):
                area = box.size.area
            case Scale(to) if to.area <= area:
                area = to.area
            case Rotate():
                pass
            case _:
                return at
    return len(ops)


def _composed(ops: tuple[Op, ...]) -> tuple[Compose, ...]:
    return tuple(op for op in ops if isinstance(op, Compose))


def _shrunk_layer(job: _LoadedSources, op: Compose, recipe: Recipe) -> Image:
    """The layer from the cheapest reading of its source."""
    _, info = job.source(op.source)
    read = decoding(replace(recipe, ops=op.ops), info)
    return _layer(job, op, read.ops, read.scale)


def _layer(job: _LoadedSources, op: Compose, ops: tuple[Op, ...], scale: Fraction = Fraction(1)) -> Image:
    """What a Compose lays over: the first frame of its source after its own ops, in memory."""
    data, info = job.source(op.source)
    return gathered(_operated(load.loaded(data, info, scale=scale), ops, {}).frames[0])
