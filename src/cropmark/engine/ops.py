"""The Ops of a Recipe, carried out frame by frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce
from typing import assert_never

from pyvips import Image

from cropmark.engine.adjust import toned
from cropmark.engine.blur import blurred, sharpened
from cropmark.engine.compose import blank, composed, embedded, laid_on
from cropmark.engine.image import DecodedImage, gathered
from cropmark.engine.monochrome import black_and_white
from cropmark.engine.resize import scaled
from cropmark.engine.rotate import turned
from cropmark.geometry.recipe import (
    Background,
    Bilevel,
    ColorAdjust,
    Compose,
    Embed,
    Extract,
    GaussianBlur,
    Op,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)

Layers = Mapping[Compose, Image]
"""What each Compose lays over, done already, in memory: every frame of an animation gets the same."""


def run(picture: DecodedImage, ops: Sequence[Op], layers: Layers) -> DecodedImage:
    """The picture after every Op, done to each frame in order.

    Most Ops are lazy: a broken source fails as pyvips.Error here, or not before save pulls the pixels.
    """
    return replace(picture, frames=tuple(operated(frame, ops, layers) for frame in picture.frames))


def operated(frame: Image, ops: Sequence[Op], layers: Layers) -> Image:
    """One frame after every Op."""
    return reduce(lambda before, op: applied(before, op, layers), ops, frame)


def applied(frame: Image, op: Op, layers: Layers) -> Image:
    """The frame after one Op."""
    match op:
        case Extract(box):
            return frame.crop(box.left, box.top, box.width, box.height)
        case Scale(size, kernel):
            return scaled(frame, size, kernel)
        case Rotate(turn):
            return turned(frame, turn)
        case Embed(size, left, top, fill):
            return embedded(frame, size, left, top, fill)
        case Background(under):
            return laid_on(frame, under)
        case ColorAdjust():
            return toned(frame, op)
        case GaussianBlur(sigma):
            return blurred(gathered(frame), sigma)
        case UnsharpMask(sigma, gain, threshold):
            return sharpened(gathered(frame), sigma, gain, threshold)
        case Bilevel(method):
            return black_and_white(gathered(frame), method)
        case SolidColor(size, fill):
            return blank(size, fill)
        case Compose():
            return composed(frame, layers[op], op)
        case _:
            assert_never(op)
