"""Estimates the time of a Recipe on one core: decoding, all Ops, and encoding.

The factors were measured with photographs on one core of a 2024 server, where a JPEG of 12 MP (4.5 MB) is decoded in
45 ms. A frame with alpha takes up to twice as long. The factors of an Op are in its class (recipe.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

from cropmark.geometry.memory import MAX_WHOLE_FEW_COLORS
from cropmark.geometry.recipe import AnyOp, Compose, Encoding, Recipe
from cropmark.geometry.shrink_on_load import decode_plan, decoded_size
from cropmark.model.formats import Format, Info
from cropmark.model.values import Size


@dataclass(frozen=True, slots=True)
class _DecodeCost:
    """The decoding time of a format, in ms per MB of the file and in ms per MP of all stored frames.

    The larger of both times counts.
    """

    ms_per_mb: float
    ms_per_mp: float


# fmt: off
_DECODE = {
    Format.JPEG: _DecodeCost( 10, 2), Format.PNG:  _DecodeCost( 20, 6), Format.WEBP: _DecodeCost( 80, 8),
    Format.GIF:  _DecodeCost( 15, 5), Format.AVIF: _DecodeCost(300, 10), Format.TIFF: _DecodeCost(5, 3),
    Format.HEIC: _DecodeCost(130, 25), Format.JXL: _DecodeCost(100, 20), Format.BMP: _DecodeCost(3, 12),
    Format.SVG: _DecodeCost(500, 30),
}
_OTHER = _DecodeCost(20, 5)
_ENCODE_MS_PER_MP = {
    Format.JPEG: 12.0, Format.PNG: 75.0, Format.WEBP: 45.0, Format.GIF: 250.0, Format.AVIF: 75.0, Format.JXL: 50.0,
    Format.MP4: 30.0,
}
# fmt: on
_LOSSLESS_MS_PER_MP = {Format.WEBP: 750.0, Format.AVIF: 220.0, Format.JXL: 45.0}
_PALETTE_MS_PER_MP = 90.0
_ANIMATED_GIF_MS_PER_MP = 65.0
_FEW_BYTES_MS_PER_MP = 250.0
_FEW_BYTES_LARGE_MS_PER_MP = 100.0
"""For a large frame: it is encoded once, and only a sample of it several times."""
_PROGRESSIVE_MS_PER_MP = 17.0


def recipe_ms(recipe: Recipe, infos: Sequence[Info | None]) -> float:
    """The estimated time of a Recipe in ms, for sources with these headers."""
    present = [info for info in infos if info is not None]
    first = infos[0] if infos else None
    ops, frame = recipe.ops, Size(1, 1)
    if first is not None:
        plan = decode_plan(recipe, first)
        ops, frame = plan.ops, decoded_size(first, plan.scale)
        if first.format is Format.SVG:  # drawn at this size
            present[0] = replace(first, stored_size=frame)
    decoding = sum(decode_ms(info, recipe.frames if info is first else 1) for info in present)
    encoding = encode_ms(recipe.encoding, recipe.size.area, recipe.frames)
    return decoding + recipe.frames * _ops_ms(ops, frame, infos) + encoding


def decode_ms(info: Info, frames: int = 1) -> float:
    """The estimated time in ms for decoding a source."""
    cost = _DECODE.get(info.format, _OTHER)
    return max(info.bytes / 1e6 * cost.ms_per_mb, info.stored_size.area * frames / 1e6 * cost.ms_per_mp)


def encode_ms(encoding: Encoding, pixels: int, frames: int = 1) -> float:
    """The estimated time in ms for encoding `frames` frames of `pixels` pixels each."""
    per_mp = _ENCODE_MS_PER_MP[encoding.format]
    if encoding.format is Format.GIF and frames > 1:
        per_mp = _ANIMATED_GIF_MS_PER_MP
    elif encoding.max_bytes is not None:
        per_mp = _FEW_BYTES_MS_PER_MP if pixels <= MAX_WHOLE_FEW_COLORS else _FEW_BYTES_LARGE_MS_PER_MP
    elif encoding.lossless:
        per_mp = _LOSSLESS_MS_PER_MP.get(encoding.format, per_mp)
    elif encoding.palette:
        per_mp = _PALETTE_MS_PER_MP
    elif encoding.progressive:
        per_mp = _PROGRESSIVE_MS_PER_MP
    return pixels * frames / 1e6 * per_mp


def _ops_ms(ops: Sequence[AnyOp], frame: Size, infos: Sequence[Info | None]) -> float:
    """The estimated time of the Ops in ms, for one frame.

    Consecutive Compose Ops are drawn together, so only the first of them counts as reading the whole frame.
    """
    total_ms, last = 0.0, None
    for op in ops:
        after = op.frame_after(frame)
        is_with_last = isinstance(op, Compose) and isinstance(last, Compose)
        read = min(frame, _layer_size(op, infos), key=lambda size: size.area) if is_with_last else frame
        total_ms += op_ms(op, read, after, infos)
        frame, last = after, op
    return total_ms


def op_ms(op: AnyOp, before: Size, after: Size, infos: Sequence[Info | None] = ()) -> float:
    """The estimated time in ms of an Op that changes a frame of size `before` to size `after`.

    The time of a Compose includes the Ops that it applies to the drawn source.
    """
    return op.estimated_ms(before.area / 1e6, after.area / 1e6) + _layer_ms(op, infos)


def _layer_size(op: AnyOp, infos: Sequence[Info | None]) -> Size:
    """The size of the layer that a Compose draws; 1x1 for any other Op."""
    if not isinstance(op, Compose) or op.source >= len(infos) or (drawn := infos[op.source]) is None:
        return Size(1, 1)
    return reduce(lambda size, each: each.frame_after(size), op.ops, drawn.size)


def _layer_ms(op: AnyOp, infos: Sequence[Info | None]) -> float:
    """The estimated time in ms of the Ops that a Compose applies to the drawn source; 0 for any other Op."""
    if isinstance(op, Compose) and op.source < len(infos) and (drawn := infos[op.source]) is not None:
        return _ops_ms(op.ops, drawn.size, infos)
    return 0.0
