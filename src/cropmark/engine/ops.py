"""Executes the Ops of a Recipe frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import groupby
from typing import assert_never

from pyvips import Image

from cropmark.engine.adjust import adjust_color
from cropmark.engine.blur import gaussian_blur, unsharp_mask
from cropmark.engine.compose import compose, embed, flatten_onto, solid_color
from cropmark.engine.image import DecodedImage, in_memory
from cropmark.engine.monochrome import bilevel
from cropmark.engine.resize import scale
from cropmark.engine.rotate import orient
from cropmark.geometry.recipe import (
    AnyOp,
    Background,
    Bilevel,
    ColorAdjust,
    Compose,
    Embed,
    Extract,
    FrameOp,
    GaussianBlur,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)
from cropmark.model.values import Size

Layers = Mapping[Compose, Image]
"""The rendered layer of each Compose, in memory: every frame of an animation gets the same layer."""


def run(image: DecodedImage, ops: Sequence[AnyOp], layers: Layers) -> DecodedImage:
    """The image with all Ops applied to each of its frames, in order.

    Most Ops are lazy: a broken source raises pyvips.Error here, or only when encode() reads the pixels.
    """
    return replace(image, frames=tuple(apply_all(frame, ops, layers) for frame in image.frames))


def apply_all(frame: Image, ops: Sequence[AnyOp], layers: Layers) -> Image:
    """The frame after all Ops, in order. Successive layers are drawn together, which takes the time of one."""
    for _, group in groupby(ops, type):
        same = tuple(group)
        if drawn := [(op, layers[op]) for op in same if isinstance(op, Compose)]:
            frame = compose(frame, drawn)
        frame = reduce(_apply, (op for op in same if not isinstance(op, Compose)), frame)
    return frame


def _apply(frame: Image, op: FrameOp) -> Image:
    """The frame after one Op."""
    match op:
        case Extract(box):
            return frame.crop(box.left, box.top, box.width, box.height)
        case Scale(size, kernel):
            return scale(frame, size, kernel, op.window_of(Size(frame.width, frame.height)))
        case Rotate(orientation):
            return orient(frame, orientation)
        case Embed(size, left, top, fill):
            return embed(frame, size, left, top, fill)
        case Background(color):
            return flatten_onto(frame, color)
        case ColorAdjust():
            return adjust_color(frame, op)
        case GaussianBlur(sigma):
            return gaussian_blur(in_memory(frame), sigma)
        case UnsharpMask(sigma, gain, threshold):
            return unsharp_mask(in_memory(frame), sigma, gain, threshold)
        case Bilevel(method):
            return bilevel(in_memory(frame), method)
        case SolidColor(size, fill):
            return solid_color(size, fill)
        case _:
            assert_never(op)
