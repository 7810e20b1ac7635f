"""Renders a Plan: inspects the sources, resolves the Recipe, executes its Ops and encodes the result."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import perf_counter

import pyvips
from pyvips import Image

from cropmark.engine import color, load
from cropmark.engine.compose import solid_color
from cropmark.engine.image import DecodedImage, in_memory
from cropmark.engine.metadata import rights_of
from cropmark.engine.ops import Layers, run
from cropmark.engine.repair import completed
from cropmark.engine.save import encode
from cropmark.engine.trim import content_box
from cropmark.geometry.findings import Findings
from cropmark.geometry.recipe import (
    AnyOp,
    Compose,
    Extract,
    Need,
    OriginalBytes,
    Reason,
    Recipe,
    Rotate,
    Scale,
    SolidColor,
)
from cropmark.geometry.resolve import resolve
from cropmark.geometry.shrink_on_load import DecodePlan, decode_plan, decoded_size
from cropmark.model.formats import SNIFF_BYTES, Info, sniff_format
from cropmark.model.problems import InternalError, SourceUnusable
from cropmark.model.values import Box, Size, bounding_box
from cropmark.plan.plan import Fallback, KeepMetadata, Plan, RequestWarning
from cropmark.plan.steps import Overlay
from cropmark.ports import AnalysisResult, Facts, Passthrough, Rendered, Timing
from cropmark.runtime.reads import Data


@dataclass(slots=True)
class _StageTimer:
    """Measures the time of each stage in milliseconds."""

    spent: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        began_s = perf_counter()
        try:
            yield
        finally:
            self.spent[name] = self.spent.get(name, 0.0) + (perf_counter() - began_s) * 1000

    @property
    def timing(self) -> Timing:
        return Timing(tuple(self.spent.items()))


@dataclass(frozen=True, slots=True)
class _LoadedSources:
    """The sources and their headers, None for each that is missing or broken, with a warning for each broken one."""

    sources: tuple[Data | None, ...]
    infos: tuple[Info | None, ...]
    warnings: tuple[RequestWarning, ...] = ()

    def source(self, at: int) -> tuple[Data, Info]:
        data, info = self.sources[at], self.infos[at]
        assert data is not None and info is not None, "a Recipe names only sources that resolve() saw"
        return data, info

    def replaced(self, repaired: Mapping[int, bytes]) -> _LoadedSources:
        """The same with other bytes for some sources. Their headers stay those of the files as they were sent."""
        return replace(self, sources=tuple(repaired.get(at, data) for at, data in enumerate(self.sources)))

    def without(self, broken: Collection[int], plan: Plan) -> _LoadedSources:
        """The same without the broken sources, with a warning for each."""
        return _LoadedSources(
            tuple(None if at in broken else data for at, data in enumerate(self.sources)),
            tuple(None if at in broken else info for at, info in enumerate(self.infos)),
            (*self.warnings, *(_left_out_warning(at, plan) for at in sorted(broken))),
        )


def render(
    sources: Sequence[Data | None], plan: Plan, analyzed: AnalysisResult | None = None, *, low_effort: bool = False
) -> Rendered | Passthrough:
    """The rendition of the sources by the plan, or a Passthrough if the first source is delivered unchanged.

    sources[0] is the image, the others are overlays and montage cells. A missing one (None) is left out; so
    is a broken one, with a warning. `low_effort` encodes at the lowest effort.
    Raises the Problems of resolve(), SourceUnusable, InternalError if an encoder fails, and MemoryError.
    """
    timer = _StageTimer()
    try:
        with timer.stage("inspect"):
            loaded = _inspect(sources, plan)
    except SourceUnusable as problem:
        return _fallback(plan, sources, None, timer, problem)
    while True:
        try:
            return _render_loaded(loaded, plan, analyzed, timer, low_effort=low_effort)
        except pyvips.Error as error:
            if "out of memory" in str(error):
                raise MemoryError from error
            broken = _broken_sources(loaded)
            if not broken:
                raise InternalError("the image was decoded, but could not be rendered or encoded") from error
            if repaired := _repaired(loaded, broken):
                loaded = loaded.replaced(repaired)
                continue
            if 0 in broken:
                return _fallback(plan, sources, loaded.infos[0], timer, load.broken_source())
            loaded = loaded.without(broken, plan)


def _inspect(sources: Sequence[Data | None], plan: Plan) -> _LoadedSources:
    """The sources with their headers. Raises SourceUnusable for the first source; other broken ones are left out.

    A source beyond the limit in bytes is not read: resolve() rejects it by its length.
    """
    first, *others = sources
    limit = plan.limits.source_bytes
    header = None if first is None else load.info_of(first, limit_bytes=limit)
    infos = [header, *(_info(other, limit) for other in others)]
    broken = {at for at, info in enumerate(infos) if info is None and sources[at] is not None}
    return _LoadedSources(tuple(sources), tuple(infos)).without(broken, plan)


def _info(data: Data | None, limit_bytes: int) -> Info | None:
    try:
        return None if data is None else load.info_of(data, limit_bytes=limit_bytes)
    except SourceUnusable:
        return None


def _broken_sources(loaded: _LoadedSources) -> set[int]:
    """The indices of the sources that do not decode.

    Called only after a failure: libvips' errors do not name the source.
    """
    return {at for at, data in enumerate(loaded.sources) if data is not None and not load.decodes_fully(data)}


def _repaired(loaded: _LoadedSources, broken: Collection[int]) -> Mapping[int, bytes]:
    """The broken sources that lack only their end or a right checksum, completed."""
    sources = ((at, *loaded.source(at)) for at in broken)
    found = {at: completed(data, info.format) for at, data, info in sources}
    return {at: whole for at, whole in found.items() if whole is not None}


def _left_out_warning(at: int, plan: Plan) -> RequestWarning:
    for step in plan.steps:
        if isinstance(step, Overlay) and step.source == at:
            return RequestWarning(step.parameter, "left out: broken or not an image")
    return RequestWarning("montage", f"image {at} left out: broken or not an image")


def _fallback(
    plan: Plan, sources: Sequence[Data | None], info: Info | None, timer: _StageTimer, problem: SourceUnusable
) -> Passthrough:
    """The Passthrough for a first source that is unsupported or broken; raises `problem` if the plan forbids that."""
    head = (sources[0] or b"")[:SNIFF_BYTES]
    unknown = sniff_format(head) is None
    if (plan.on_unsupported if unknown else plan.on_unusable) is Fallback.PROBLEM:
        raise problem
    return Passthrough(
        Reason.UNSUPPORTED if unknown else Reason.UNREADABLE,
        Facts(source=info, format=sniff_format(head)),
        timing=timer.timing,
    )


def _render_loaded(
    loaded: _LoadedSources, plan: Plan, analyzed: AnalysisResult | None, timer: _StageTimer, *, low_effort: bool
) -> Rendered | Passthrough:
    recipe = _resolve(loaded, plan, analyzed, timer)
    warnings = (*loaded.warnings, *recipe.warnings)
    data, info = loaded.source(0)
    as_is = Facts(source=info, size=info.size, frames=info.frames, format=info.format)
    if isinstance(recipe, OriginalBytes):
        return Passthrough(recipe.reason, as_is, warnings, timer.timing)
    with timer.stage("render"):
        body = _body(loaded, recipe, low_effort=low_effort)
    if recipe.larger_is_original and len(body) > len(data):
        return Passthrough(Reason.NO_GAIN, as_is, warnings, timer.timing)
    facts = Facts(info, recipe.size, recipe.frames, recipe.focus, recipe.encoding.format)
    return Rendered(body, recipe.encoding.format, facts, warnings, timer.timing, low_effort=low_effort)


def _resolve(
    loaded: _LoadedSources, plan: Plan, analyzed: AnalysisResult | None, timer: _StageTimer
) -> Recipe | OriginalBytes:
    """The Recipe. Measures the borders that resolve() needs and resolves again, at most once per Step."""
    findings = _findings(analyzed)
    while True:
        resolved = resolve(plan, loaded.infos, findings)
        if not isinstance(resolved, Need):
            return resolved
        with timer.stage("measure"):
            findings = replace(findings, borders=(*findings.borders, _border(loaded, resolved, plan)))


def _findings(analyzed: AnalysisResult | None) -> Findings:
    if analyzed is None:
        return Findings()
    return Findings(analysis=analyzed.analysis, no_analysis_reason=analyzed.reason or "no analysis")


def _border(loaded: _LoadedSources, need: Need, plan: Plan) -> Box | None:
    """The smallest box that holds the content of all frames; frames that are all border are ignored."""
    data, info = loaded.source(0)
    layers = {op: _layer(loaded, op, op.ops) for op in _compose_ops(need.ops)}
    frame_count = 1 if plan.output.first_frame else info.frames
    frames = _apply_ops(load.decode(data, info, frames=frame_count), need.ops, layers).frames
    return bounding_box(box for frame in frames if (box := content_box(frame, need.search)) is not None)


def _body(loaded: _LoadedSources, recipe: Recipe, *, low_effort: bool) -> bytes:
    start, ops = _start(loaded, recipe)
    layers = {op: _shrunk_layer(loaded, op, recipe) for op in _compose_ops(ops)}
    metadata = recipe.encoding.metadata
    image = _apply_ops(start, ops, layers, keep_profile=KeepMetadata.ICC in metadata)
    rights = rights_of(start.frames[0]) if KeepMetadata.COPYRIGHT in metadata else None
    return encode(image, recipe.encoding, low_effort=low_effort, rights=rights)


def _start(loaded: _LoadedSources, recipe: Recipe) -> tuple[DecodedImage, tuple[AnyOp, ...]]:
    """The frames before the first Op, and the remaining Ops. A montage starts with a solid color, not with a source."""
    match recipe.ops:
        case (SolidColor(size, fill), *rest):
            return DecodedImage((solid_color(size, fill),)), tuple(rest)
        case _:
            data, info = loaded.source(0)
            decode = decode_plan(recipe, info)
            return _decode(data, info, decode, recipe.frames), decode.ops


def _decode(data: Data, info: Info, decode: DecodePlan, frames: int) -> DecodedImage:
    match decode.ops:
        case (Extract(box), *_):
            reach = Fraction(box.bottom, decoded_size(info, decode.scale).height)
        case _:
            reach = Fraction(1)
    return load.decode(data, info, frames=frames, scale=decode.scale, reach=reach)


def _apply_ops(
    start: DecodedImage, ops: tuple[AnyOp, ...], layers: Layers, *, keep_profile: bool = False
) -> DecodedImage:
    """The image after every Op. Colors are converted to sRGB at the point with the fewest pixels to convert."""
    prefix = _geometry_prefix(ops, Size(start.frames[0].width, start.frames[0].height))
    shaped = run(start, ops[:prefix], layers)
    converted = tuple(
        color.with_own_profile(frame) if keep_profile else color.to_srgb(frame) for frame in shaped.frames
    )
    return run(replace(shaped, frames=converted), ops[prefix:], layers)


def _geometry_prefix(ops: tuple[AnyOp, ...], size: Size) -> int:
    """The number of leading Ops that only crop, rotate or shrink; these work in any color space."""
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


def _compose_ops(ops: tuple[AnyOp, ...]) -> tuple[Compose, ...]:
    return tuple(op for op in ops if isinstance(op, Compose))


def _shrunk_layer(loaded: _LoadedSources, op: Compose, recipe: Recipe) -> Image:
    """The layer of a Compose, its source decoded at the smallest sufficient size."""
    _, info = loaded.source(op.source)
    decode = decode_plan(replace(recipe, ops=op.ops), info)
    return _layer(loaded, op, decode.ops, decode.scale)


def _layer(loaded: _LoadedSources, op: Compose, ops: tuple[AnyOp, ...], scale: Fraction = Fraction(1)) -> Image:
    """The layer of a Compose: the first frame of its source after the Compose's own Ops, in memory."""
    data, info = loaded.source(op.source)
    return in_memory(_apply_ops(load.decode(data, info, scale=scale), ops, {}).frames[0])
