"""Estimates the memory of a Recipe: for files, decoders, encoders, and frames that are in memory as a whole.

libvips streams rows, so a frame costs memory only where a decoder, an encoder or an Op needs it as a whole. The
factors come from measured peaks (docs/decisions/0183). The estimates are up to twice as high as the peaks, and hardly
ever lower.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cropmark.geometry.recipe import (
    AnyOp,
    Bilevel,
    Compose,
    Encoding,
    GaussianBlur,
    Need,
    Recipe,
    Rotate,
    SolidColor,
    UnsharpMask,
)
from cropmark.geometry.shrink_on_load import decode_plan, decoded_size
from cropmark.model.formats import TRAITS, Format, Info
from cropmark.model.values import Size
from cropmark.plan.steps import Orientation

_BASE_BYTES = 20_000_000
"""For every task: tables of color conversion, and fragments of the heap."""
_ROWS_BYTES = 4_000
"""For the rows that a pipeline holds: bytes for each pixel of the longest side of any frame."""
MAX_WHOLE_JPEG = 16_000_000
"""The most pixels of a JPEG that the engine decodes into memory; larger JPEGs are decoded row by row."""
_COEFFICIENT_BYTES = 3.5
"""Bytes for each stored pixel of a progressive JPEG with subsampled colors."""
_ANALYSIS_BYTES = 200_000_000
"""For the tensors of the neural networks of a content analysis. Measured: 40 to 200 MB in addition to the decoder."""
_GAIN_MAP_BYTES = 4
"""Bytes for each stored pixel of a JPEG with a gain map, which may be as large as the image and have three bands."""


@dataclass(frozen=True, slots=True)
class _PerPixel:
    """Bytes for each pixel of a frame: without alpha (`opaque`) and with alpha."""

    opaque: float
    alpha: float

    def times(self, pixels: int, *, alpha: bool) -> int:
        return int((self.alpha if alpha else self.opaque) * pixels)


# fmt: off
_DECODE = {  # JPEG: decode_bytes()
    Format.PNG:  _PerPixel(4.5, 10), Format.WEBP: _PerPixel(7, 7), Format.GIF: _PerPixel(9, 9),
    Format.AVIF: _PerPixel(17, 20),  Format.TIFF: _PerPixel(2, 3),    Format.HEIC: _PerPixel(14.5, 16.5),
    Format.JXL:  _PerPixel(12, 16),  Format.BMP:  _PerPixel(5, 6),    Format.SVG: _PerPixel(30, 30),
}
_ENCODE = {
    Format.JPEG: _PerPixel(1, 1),    Format.PNG:  _PerPixel(4.5, 6), Format.WEBP: _PerPixel(5.2, 32),
    Format.GIF:  _PerPixel(16, 16),  Format.AVIF: _PerPixel(23, 38),  Format.JXL:  _PerPixel(40, 50),
    Format.MP4:  _PerPixel(100, 100),
}
_LOSSLESS = {Format.WEBP: _PerPixel(25, 26), Format.AVIF: _PerPixel(41, 51), Format.JXL: _PerPixel(8, 10)}
# fmt: on
_PALETTE = _PerPixel(8, 10)
_PROGRESSIVE = _PerPixel(7, 7)
_SAMPLED_PNG = _PerPixel(3, 4)
"""Added for writing a PNG of up to MAX_SAMPLED_PNG pixels, because its frame is held in memory."""
MAX_SAMPLED_PNG = 16_000_000
"""The most pixels of a frame that the engine samples to choose the settings of a PNG. A larger frame is encoded as a
photograph, row by row."""
_FEW_COLORS = _PerPixel(11, 12)
"""Added for a PNG or GIF with a limit of bytes, if the colors of its frame are counted and mapped to a palette as a
whole."""
_FEW_COLORS_GIF = _PerPixel(7, 8)
"""For a larger GIF with a limit of bytes: its frame, and copies of the file."""
MAX_WHOLE_FEW_COLORS = 4_000_000
"""The most pixels of a frame that the engine maps to a palette as a whole; larger frames in strips."""
_ANIMATION_BYTES = 4.5
"""Bytes for each pixel of all frames of an animation that is read. An animation that is written needs 2/3 of this."""
_WEBP_ALPHA_BYTES = 3.5
"""Bytes for each stored pixel of a WebP with alpha, even if it is decoded to a smaller frame."""
_COPY = _PerPixel(3.3, 4.3)
"""Bytes for a whole frame in memory."""
_RANDOM_ACCESS = _PerPixel(4.5, 5.5)
"""Bytes for a whole frame in memory, and for the blocks that are computed from it."""
_WHOLE_ACCESS = _PerPixel(2, 2.5)
"""Bytes for the computed blocks only, because the decoder has already left the frame in memory."""


_IN_ROWS = (Orientation.NONE, Orientation.FLIP_HORIZONTAL)
"""The orientations that are applied row by row, so that they need no frame in memory."""


class OverGrant(Exception):
    """Raised if a task needs more memory than it was granted. `bytes` is the memory that it needs."""

    def __init__(self, needed: int) -> None:
        super().__init__(needed)
        self.bytes = needed


def check(needed: int, grant_bytes: int | None) -> None:
    """Raise OverGrant if `needed` bytes exceed the grant of a task. A grant of None means no limit."""
    if grant_bytes is not None and needed > grant_bytes:
        raise OverGrant(needed)


def recipe_bytes(recipe: Recipe, infos: Sequence[Info | None]) -> int:
    """The estimated memory of a Recipe in bytes, in addition to that of an idle renderer."""
    first = infos[0] if infos else None
    ops, frame, alpha, decoding = recipe.ops, Size(1, 1), False, 0
    if first is not None and not (ops and isinstance(ops[0], SolidColor)):
        plan = decode_plan(recipe, first)
        ops, frame, alpha = plan.ops, decoded_size(first, plan.scale), first.alpha
        decoding = decode_bytes(first, frame.area, recipe.frames)
    working = _ops_bytes(ops, frame, infos, recipe.frames, access=_access(first, frame), alpha=alpha)
    alpha = alpha and TRAITS[recipe.encoding.format].alpha
    encoding = encode_bytes(recipe.encoding, recipe.size.area, recipe.frames, alpha=alpha)
    if first is not None and recipe.encoding.gain_map:
        encoding += _GAIN_MAP_BYTES * first.stored_size.area
    return _BASE_BYTES + sum(map(file_bytes, _present(infos))) + decoding + working + encoding


def search_bytes(need: Need, infos: Sequence[Info | None], frames: int = 1) -> int:
    """The estimated memory in bytes for finding a border in the first source. `frames` frames are searched."""
    first = infos[0] if infos else None
    if first is None:
        return _BASE_BYTES
    files = sum(map(file_bytes, _present(infos)))
    access = _access(first, first.size)
    working = _ops_bytes(need.ops, first.size, infos, frames, access=access, alpha=first.alpha)
    searched = access.times(first.size.area * frames, alpha=first.alpha)
    return _BASE_BYTES + files + decode_bytes(first, first.size.area, frames) + working + searched


def analysis_bytes(info: Info) -> int:
    """The estimated memory of a content analysis in bytes. It decodes the whole first frame."""
    return _ANALYSIS_BYTES + _thumbnail_bytes(info, 4)


def description_bytes(info: Info) -> int:
    """The estimated memory in bytes for describing a source by its colors and placeholders."""
    return _thumbnail_bytes(info, 4)


def drawing_bytes(info: Info) -> int:
    """The estimated memory in bytes for drawing on a source and encoding the picture as PNG."""
    encoding = encode_bytes(Encoding(Format.PNG, 100), info.size.area, alpha=info.alpha)
    return _thumbnail_bytes(info, 1) + encoding + _RANDOM_ACCESS.times(info.size.area, alpha=info.alpha)


def _thumbnail_bytes(info: Info, shrink: int) -> int:
    pixels = info.size.area // (shrink * shrink) if info.format is Format.JPEG else info.size.area
    return _BASE_BYTES + file_bytes(info) + decode_bytes(info, pixels)


def comparison_bytes(infos: Sequence[Info]) -> int:
    """The estimated memory in bytes for comparing two sources: both frames and their differences."""
    return _BASE_BYTES + sum(
        file_bytes(info) + decode_bytes(info, info.size.area) + 16 * info.size.area for info in infos
    )


def file_bytes(info: Info) -> int:
    """The memory in bytes for the file of a source: 0 for a TIFF, which is read in place, else the whole file."""
    return 0 if info.format is Format.TIFF else info.bytes


def decode_bytes(info: Info, decoded_pixels: int, frames: int = 1) -> int:
    """The estimated memory in bytes for decoding `frames` frames, each to `decoded_pixels` pixels."""
    stored = info.stored_size.area
    upright = 0 if Orientation(info.orientation) in _IN_ROWS else 3
    if info.format is Format.JPEG:
        coefficients = int(_COEFFICIENT_BYTES * stored) if info.progressive else 0
        whole = 3 if decoded_pixels <= MAX_WHOLE_JPEG else upright
        return coefficients + whole * decoded_pixels
    per_pixel = _DECODE.get(info.format)
    if per_pixel is None:
        return 0
    is_scaled = info.format is Format.SVG or (info.format is Format.WEBP and not info.lossless)
    pixels = decoded_pixels if is_scaled else stored
    extra = _ANIMATION_BYTES * frames if info.animated else 0.0
    if info.format is Format.WEBP and info.alpha:
        extra += _WEBP_ALPHA_BYTES
    return per_pixel.times(pixels, alpha=info.alpha) + int((upright + extra) * stored)


def encode_bytes(encoding: Encoding, pixels: int, frames: int = 1, *, alpha: bool = False) -> int:
    """The estimated memory in bytes for encoding `frames` frames of `pixels` pixels each, and for the result."""
    per_pixel = _ENCODE[encoding.format]
    if encoding.lossless:
        per_pixel = _LOSSLESS.get(encoding.format, per_pixel)
    elif encoding.palette:
        per_pixel = _PALETTE
    elif encoding.progressive:
        per_pixel = _PROGRESSIVE
    elif encoding.format is Format.GIF and encoding.max_bytes is not None and pixels > MAX_WHOLE_FEW_COLORS:
        per_pixel = _FEW_COLORS_GIF
    needed = per_pixel.times(pixels, alpha=alpha)
    if encoding.format is Format.PNG and not encoding.palette and pixels <= MAX_SAMPLED_PNG:
        needed += _SAMPLED_PNG.times(pixels, alpha=alpha)
    if encoding.max_bytes is not None and pixels <= MAX_WHOLE_FEW_COLORS:
        needed += _FEW_COLORS.times(pixels, alpha=alpha)
    return needed + (int(_ANIMATION_BYTES * 2 / 3 * pixels * frames) if frames > 1 else 0)


def _access(info: Info | None, decoded: Size) -> _PerPixel:
    """The bytes per pixel for random access to a decoded frame.

    They are fewer for a JPEG of up to MAX_WHOLE_JPEG pixels, because its decoder leaves the frame in memory.
    """
    is_whole = info is not None and info.format is Format.JPEG and decoded.area <= MAX_WHOLE_JPEG
    return _WHOLE_ACCESS if is_whole else _RANDOM_ACCESS


def _ops_bytes(
    ops: Sequence[AnyOp], frame: Size, infos: Sequence[Info | None], frames: int, *, access: _PerPixel, alpha: bool
) -> int:
    """The estimated memory of Ops in bytes: for the rows that they compute, and for whole frames and layers."""
    longest, held = max(frame.width, frame.height), 0
    at_once = frames if frames == 1 else 2 * frames  # the frames of an animation are computed together
    for op, before, after in _steps(ops, frame):
        longest = max(longest, after.width, after.height)
        match op:
            case Rotate(orientation) if orientation not in _IN_ROWS:
                held = max(held, _COPY.times(before.area * at_once, alpha=alpha))
            case GaussianBlur() | UnsharpMask() | Bilevel():
                held = max(held, access.times(before.area * at_once, alpha=alpha))
            case Compose():
                held += _layer_bytes(op, infos)
            case _:
                pass
    return (2 if alpha else 1) * _ROWS_BYTES * longest + held


def _steps(ops: Sequence[AnyOp], frame: Size) -> Iterator[tuple[AnyOp, Size, Size]]:
    """Yield each Op with the size of the frame before and after it."""
    for op in ops:
        after = op.frame_after(frame)
        yield op, frame, after
        frame = after


def _layer_bytes(op: Compose, infos: Sequence[Info | None]) -> int:
    """The estimated memory of a drawn layer in bytes: for decoding its source, and for its frame."""
    info = infos[op.source] if op.source < len(infos) else None
    if info is None:
        return 0
    sizes = [info.size, *(after for _, _, after in _steps(op.ops, info.size))]
    return decode_bytes(info, info.size.area) + _RANDOM_ACCESS.times(sizes[-1].area, alpha=True)


def _present(infos: Sequence[Info | None]) -> list[Info]:
    return [info for info in infos if info is not None]
