"""The estimated time of a Recipe on one core: decoding, every Op on the pixels that it reads or writes, encoding.

The factors were measured on one core of a 2024 server with photographs: 12 MP of JPEG (4.5 MB) decode in 45 ms. A frame
with alpha takes up to twice as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from cropmark.geometry.recipe import (
    AnyOp,
    Background,
    Bilevel,
    ColorAdjust,
    Compose,
    Embed,
    Encoding,
    Extract,
    GaussianBlur,
    Recipe,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)
from cropmark.geometry.shrink_on_load import decode_plan, decoded_size
from cropmark.model.formats import Format, Info
from cropmark.model.values import Size
from cropmark.plan.steps import Dither, Filter


@dataclass(frozen=True, slots=True)
class _DecodeCost:
    """Time per MB of the file, and per MP of the decoded frame; the larger of both counts."""

    ms_per_mb: float
    ms_per_mp: float


# fmt: off
_DECODE = {
    Format.JPEG: _DecodeCost( 10, 2), Format.PNG:  _DecodeCost( 20, 6), Format.WEBP: _DecodeCost( 80, 8),
    Format.GIF:  _DecodeCost(100, 5), Format.AVIF: _DecodeCost(300, 10), Format.TIFF: _DecodeCost(5, 3),
}
_OTHER = _DecodeCost(20, 5)
_ENCODE_MS_PER_MP = {
    Format.JPEG: 12.0, Format.PNG: 75.0, Format.WEBP: 45.0, Format.GIF: 450.0, Format.AVIF: 75.0,
}
# fmt: on
_LOSSLESS_MS_PER_MP = {Format.WEBP: 750.0, Format.AVIF: 220.0}
_PALETTE_MS_PER_MP = 90.0
_PROGRESSIVE_MS_PER_MP = 17.0


def recipe_ms(recipe: Recipe, infos: Sequence[Info | None]) -> float:
    """The time in ms of a Recipe for sources with these headers."""
    present = [info for info in infos if info is not None]
    first = infos[0] if infos else None
    ops, frame = recipe.ops, Size(1, 1)
    if first is not None:
        plan = decode_plan(recipe, first)
        ops, frame = plan.ops, decoded_size(first, plan.scale)
    decoding = sum(decode_ms(info, recipe.frames if info is first else 1) for info in present)
    return decoding + recipe.frames * (_ops_ms(ops, frame, infos) + encode_ms(recipe.encoding, recipe.size.area))


def decode_ms(info: Info, frames: int = 1) -> float:
    """The time in ms that reading the pixels of a source takes."""
    cost = _DECODE.get(info.format, _OTHER)
    return max(info.bytes / 1e6 * cost.ms_per_mb, info.stored_size.area * frames / 1e6 * cost.ms_per_mp)


def encode_ms(encoding: Encoding, pixels: int) -> float:
    """The time in ms that encoding one frame takes."""
    per_mp = _ENCODE_MS_PER_MP[encoding.format]
    if encoding.lossless:
        per_mp = _LOSSLESS_MS_PER_MP.get(encoding.format, per_mp)
    elif encoding.palette:
        per_mp = _PALETTE_MS_PER_MP
    elif encoding.progressive:
        per_mp = _PROGRESSIVE_MS_PER_MP
    return pixels / 1e6 * per_mp


def _ops_ms(ops: Sequence[AnyOp], frame: Size, infos: Sequence[Info | None]) -> float:
    """The time in ms of the Ops on one frame."""
    total_ms = 0.0
    for op in ops:
        after = op.frame_after(frame)
        total_ms += op_ms(op, frame, after, infos)
        frame = after
    return total_ms


def op_ms(op: AnyOp, before: Size, after: Size, infos: Sequence[Info | None] = ()) -> float:
    """The time in ms of an Op that turns a frame of size `before` into one of size `after`."""
    read_mp, written_mp = before.area / 1e6, after.area / 1e6
    match op:
        case Extract():
            return 0.0
        case SolidColor() | Embed():
            return 1.0 * written_mp
        case Rotate():
            return 3.5 * read_mp
        case Background():
            return 10.0 * read_mp
        case Scale(filter=kernel):
            enlarging = {Filter.NEAREST: 1.0, Filter.LINEAR: 18.0}.get(kernel, 32.0)
            return 3.5 * read_mp + (enlarging * written_mp if written_mp > read_mp else 0.0)
        case ColorAdjust(saturation=saturation):
            return (15.0 if saturation else 3.0) * read_mp
        case GaussianBlur(sigma):
            return _blur_ms_per_mp(float(sigma)) * read_mp
        case UnsharpMask(sigma=sigma):
            return (10.0 + _blur_ms_per_mp(float(sigma))) * read_mp
        case Bilevel(method):
            return (45.0 if isinstance(method, Dither) else 8.0) * read_mp
        case Compose(source=source, ops=ops):
            info = infos[source] if source < len(infos) else None
            return 10.0 * read_mp + (0.0 if info is None else _ops_ms(ops, info.size, infos))
        case _:
            assert_never(op)


def _blur_ms_per_mp(sigma: float) -> float:
    """From a sigma of 8 px on, the blur is computed on a copy that is shrunk by sigma/4 (engine/blur.py)."""
    return 20 + 27 * sigma if sigma < 8 else 22 + 160 / int(sigma / 4) ** 2
