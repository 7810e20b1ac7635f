"""Renders a Plan: inspects the sources, resolves the Recipe, executes its Ops and encodes the result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from time import perf_counter

import pyvips
from pyvips import Image

from cropmark.engine import color, gain_map, jxl, load, wide_gamut
from cropmark.engine.compose import solid_color
from cropmark.engine.frames import CachedFrames
from cropmark.engine.image import DecodedImage, in_memory
from cropmark.engine.loaded import LoadedSources, inspected
from cropmark.engine.metadata import rights_of
from cropmark.engine.ops import Layers, run
from cropmark.engine.save import encode
from cropmark.engine.trim import content_box
from cropmark.geometry import memory
from cropmark.geometry.findings import Findings
from cropmark.geometry.limits import check_encoded, too_large
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
from cropmark.model.problems import InternalError, Problem, SourceUnusable
from cropmark.model.values import Box, Size, bounding_box
from cropmark.plan.plan import Fallback, KeepMetadata, Plan
from cropmark.ports import AnalysisResult, Facts, Passthrough, Rendered, Timing
from cropmark.runtime.reads import Data, all_bytes

_ENCODABLE_PIXELS = 16_000_000
"""Every encoder has enough memory for this number of pixels, in all frames together."""

_COMPUTED_PIXELS = 2_000_000
"""A still image up to this number of pixels is computed before it is encoded, so that both stages can be measured.

A larger result is computed while the encoder runs, which needs less memory. The stage `encode` is then the time of
both.
"""


class _EncoderFailed(Exception):
    """Raised if an encoder fails, or if a source cannot be decoded while the encoder reads its pixels."""

    def __init__(self, text: str, recipe: Recipe) -> None:
        super().__init__(text)
        self.recipe = recipe


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


def render(
    sources: Sequence[Data | None],
    plan: Plan,
    analyzed: AnalysisResult | None = None,
    *,
    low_effort: bool = False,
    cached: CachedFrames | None = None,
    grant_bytes: int | None = None,
) -> Rendered | Passthrough:
    """The rendition that the plan makes of the sources, or a Passthrough if the first source is delivered unchanged.

    sources[0] is the image; the others are overlays and montage cells. A missing overlay or cell (None) is left out. A
    broken one is left out with a warning.

    - `low_effort` selects the encoder's lowest effort.
    - `cached` has decoded frames of the first source from earlier calls. This call adds its frame.
    - `grant_bytes` is the memory that the render may take. If it needs more, OverGrant is raised before a pixel is
      decoded.

    Raises the Problems of resolve(), SourceUnusable, and MemoryError. Raises OutputTooLarge if the result has too many
    bytes, or if an encoder has too little memory for it, and InternalError if an encoder fails for another reason.
    """
    timer = _StageTimer()
    try:
        with timer.stage("inspect"):
            loaded = replace(inspected(sources, plan, cached), grant_bytes=grant_bytes)
    except SourceUnusable as problem:
        return _fallback(plan, sources, None, timer, problem)
    while True:
        try:
            return _render_loaded(loaded, plan, analyzed, timer, low_effort=low_effort)
        except (pyvips.Error, _EncoderFailed) as error:
            if "out of memory" in str(error):
                raise MemoryError from error
            broken = loaded.broken()
            if not broken:
                raise _encoder_problem(error) from error
            if repaired := loaded.repaired(broken):
                loaded = repaired
                continue
            if 0 in broken:
                return _fallback(plan, sources, loaded.infos[0], timer, load.broken_source())
            loaded = loaded.without(broken, plan)


def _encoder_problem(error: Exception) -> Problem:
    """The Problem for a render that failed although all sources can be decoded.

    AVIF's encoder gives no reason for a failure. So if the result is large, too little memory counts as the reason.
    """
    recipe = error.recipe if isinstance(error, _EncoderFailed) else None
    if recipe is None or recipe.size.area * recipe.frames <= _ENCODABLE_PIXELS:
        return InternalError("the image was decoded, but could not be rendered or encoded")
    result = f"{recipe.frames} frame(s) of {recipe.size} as {recipe.encoding.format.value}"
    return too_large(f"encoding {result} takes more memory than the limit")


def _fallback(
    plan: Plan, sources: Sequence[Data | None], info: Info | None, timer: _StageTimer, problem: SourceUnusable
) -> Passthrough:
    """The Passthrough that delivers an unsupported or broken first source unchanged.

    Raises `problem` if the plan demands an error instead.
    """
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
    loaded: LoadedSources, plan: Plan, analyzed: AnalysisResult | None, timer: _StageTimer, *, low_effort: bool
) -> Rendered | Passthrough:
    recipe = _resolve(loaded, plan, analyzed, timer)
    warnings = (*loaded.warnings, *recipe.warnings)
    data, info = loaded.source(0)
    as_is = Facts(source=info, size=info.size, frames=info.frames, format=info.format)
    if isinstance(recipe, OriginalBytes):
        return Passthrough(recipe.reason, as_is, warnings, timer.timing)
    memory.check(memory.recipe_bytes(recipe, loaded.infos), loaded.grant_bytes)
    body = _body(loaded, recipe, timer, low_effort=low_effort)
    check_encoded(len(body), recipe.size, recipe.frames)
    if recipe.larger_is_original and len(body) > len(data):
        return Passthrough(Reason.NO_GAIN, as_is, warnings, timer.timing)
    facts = Facts(info, recipe.size, recipe.frames, recipe.focus, recipe.encoding.format)
    return Rendered(body, recipe.encoding.format, facts, warnings, timer.timing, low_effort=low_effort)


def _resolve(
    loaded: LoadedSources, plan: Plan, analyzed: AnalysisResult | None, timer: _StageTimer
) -> Recipe | OriginalBytes:
    """The Recipe of the plan, or OriginalBytes.

    While resolve() needs the border of an image, this measures the border and calls resolve() again.
    """
    findings = _findings(analyzed)
    while True:
        resolved = resolve(plan, loaded.infos, findings)
        if not isinstance(resolved, Need):
            return resolved
        memory.check(memory.search_bytes(resolved, loaded.infos, _frames_searched(loaded, plan)), loaded.grant_bytes)
        with timer.stage("measure"):
            findings = replace(findings, borders=(*findings.borders, _border(loaded, resolved, plan)))


def _findings(analyzed: AnalysisResult | None) -> Findings:
    if analyzed is None:
        return Findings()
    return Findings(analysis=analyzed.analysis, no_analysis_reason=analyzed.reason or "no analysis")


def _border(loaded: LoadedSources, need: Need, plan: Plan) -> Box | None:
    """The smallest box that contains the content of all frames; None if all frames are only border."""
    layers = {op: _layer(loaded, op, op.ops) for op in _compose_ops(need.ops)}
    frames = _apply_ops(loaded.decoded(0, frames=_frames_searched(loaded, plan)), need.ops, layers).frames
    return bounding_box(box for frame in frames if (box := content_box(frame, need.search)) is not None)


def _frames_searched(loaded: LoadedSources, plan: Plan) -> int:
    return 1 if plan.output.first_frame else loaded.source(0)[1].frames


def _body(loaded: LoadedSources, recipe: Recipe, timer: _StageTimer, *, low_effort: bool) -> bytes:
    encoding = recipe.encoding
    with timer.stage("render"):
        if encoding.recompressed and (body := jxl.recompressed(all_bytes(loaded.source(0)[0]))) is not None:
            return body
        start, ops = _start(loaded, recipe)
        keeps_own = KeepMetadata.ICC in encoding.metadata
        profile = None if keeps_own else wide_gamut.result_profile(start.frames[0], encoding.colors)
        layers = {op: _shrunk_layer(loaded, op, recipe, profile) for op in _compose_ops(ops)}
        image = _apply_ops(start, ops, layers, keep_profile=keeps_own, profile=profile)
        rights = rights_of(start.frames[0]) if KeepMetadata.COPYRIGHT in encoding.metadata else None
        if len(image.frames) == 1 and recipe.size.area <= _COMPUTED_PIXELS:
            image = replace(image, frames=(image.frames[0].copy_memory(),))
    try:
        with timer.stage("encode"):
            body = encode(image, encoding, low_effort=low_effort, rights=rights, profile=profile)
            return _with_gain_map(body, loaded, ops, start.frames[0]) if encoding.gain_map else body
    except pyvips.Error as error:
        raise _EncoderFailed(str(error), recipe) from error


def _with_gain_map(body: bytes, loaded: LoadedSources, ops: tuple[AnyOp, ...], frame: Image) -> bytes:
    """The JPEG `body` with the gain map of its source, changed like the image by the Ops.

    `frame` is the decoded frame before the Ops. The JPEG does not change if the source has no usable gain map.
    """
    data, info = loaded.source(0)
    found = gain_map.gain_map_of(all_bytes(data))
    gains = None if found is None else load.gains(found.jpeg, info)
    if found is None or gains is None:
        return body
    changed = gain_map.followed(gains, ops, Size(frame.width, frame.height), info.size)
    return gain_map.with_gain_map(body, changed, found.metadata)


def _start(loaded: LoadedSources, recipe: Recipe) -> tuple[DecodedImage, tuple[AnyOp, ...]]:
    """The frames before the first Op, and the Ops to apply to them.

    A montage starts with a solid color, not with a source.
    """
    match recipe.ops:
        case (SolidColor(size, fill), *rest):
            return DecodedImage((solid_color(size, fill),)), tuple(rest)
        case _:
            _, info = loaded.source(0)
            decode = decode_plan(recipe, info)
            return _decode(loaded, info, decode, recipe.frames), decode.ops


def _decode(loaded: LoadedSources, info: Info, decode: DecodePlan, frames: int) -> DecodedImage:
    match decode.ops:
        case (Extract(box), *_):
            reach = Fraction(box.bottom, decoded_size(info, decode.scale).height)
        case _:
            reach = Fraction(1)
    return loaded.decoded(0, frames=frames, scale=decode.scale, reach=reach)


def _apply_ops(
    start: DecodedImage,
    ops: tuple[AnyOp, ...],
    layers: Layers,
    *,
    keep_profile: bool = False,
    profile: bytes | None = None,
) -> DecodedImage:
    """The image after all Ops, in sRGB, or in the colors of `profile`.

    The colors are converted after the leading Ops that change only the geometry (see _geometry_prefix). With
    `keep_profile`, the image retains its own profile if possible.
    """
    prefix = _geometry_prefix(ops, Size(start.frames[0].width, start.frames[0].height))
    shaped = run(start, ops[:prefix], layers)
    if profile is not None:
        converted = tuple(wide_gamut.to_profile(frame, profile) for frame in shaped.frames)
        return run(replace(shaped, frames=converted), wide_gamut.in_profile(ops[prefix:], profile), layers)
    converted = tuple(
        color.with_own_profile(frame) if keep_profile else color.to_srgb(frame) for frame in shaped.frames
    )
    return run(replace(shaped, frames=converted), ops[prefix:], layers)


def _geometry_prefix(ops: tuple[AnyOp, ...], size: Size) -> int:
    """The number of leading Ops that only crop, rotate or shrink.

    They work in any color space. Applied first, they leave fewer pixels to convert.
    """
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


def _shrunk_layer(loaded: LoadedSources, op: Compose, recipe: Recipe, profile: bytes | None) -> Image:
    """The image that a Compose draws. Its source is decoded at the smallest sufficient size."""
    _, info = loaded.source(op.source)
    decode = decode_plan(replace(recipe, ops=op.ops), info)
    return _layer(loaded, op, decode.ops, decode.scale, profile)


def _layer(
    loaded: LoadedSources,
    op: Compose,
    ops: tuple[AnyOp, ...],
    scale: Fraction = Fraction(1),
    profile: bytes | None = None,
) -> Image:
    """The image that a Compose draws, in memory: the first frame of its source after the `ops`."""
    return in_memory(_apply_ops(loaded.decoded(op.source, scale=scale), ops, {}, profile=profile).frames[0])
