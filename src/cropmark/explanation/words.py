"""Describes a resolved request in plain words: operations, encodings and reasons, without the names of our types."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

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
    Need,
    OriginalBytes,
    Reason,
    Recipe,
    Resolved,
    Rotate,
    Scale,
    SolidColor,
    UnsharpMask,
)
from cropmark.geometry.region import Region
from cropmark.model.formats import Info
from cropmark.model.values import Color, Size
from cropmark.plan.plan import EncodingChoice, Order
from cropmark.plan.steps import Dither, Orientation

_ORIENTATIONS: Final = {
    Orientation.NONE: "left as it is",
    Orientation.FLIP_HORIZONTAL: "mirrored left to right",
    Orientation.ROTATE_180: "turned by 180°",
    Orientation.FLIP_VERTICAL: "mirrored top to bottom",
    Orientation.TRANSPOSE: "mirrored and turned by 90° counterclockwise",
    Orientation.ROTATE_90: "turned by 90° clockwise",
    Orientation.TRANSVERSE: "mirrored and turned by 90° clockwise",
    Orientation.ROTATE_270: "turned by 90° counterclockwise",
}
_REASONS: Final = {
    Reason.DIMENSIONS: "it has more pixels than this service transforms",
    Reason.FRAMES: "it has more frames than this service transforms",
    Reason.BYTES: "the file is larger than this service transforms",
    Reason.UNREADABLE: "it cannot be decoded",
    Reason.UNSUPPORTED: "its format is not transformed here",
    Reason.NOTHING_TO_DO: "the request changes nothing",
    Reason.NO_GAIN: "another encoding would not be smaller",
    Reason.OUTSIDE: "the crop is completely outside the image",
    Reason.REQUESTED: "the request asks for the original",
}


@dataclass(frozen=True, slots=True)
class StepInWords:
    """An operation on the image, with the size of the image before and after it."""

    op: AnyOp
    before: Size
    after: Size

    def __str__(self) -> str:
        return describe_op(self.op, self.before)


def steps_in_words(resolved: Resolved | None, infos: tuple[Info | None, ...]) -> Iterator[StepInWords]:
    """Yield the operations on the first source in order, each with the size before and after it."""
    if not isinstance(resolved, Recipe | Need) or not infos or infos[0] is None:
        return
    frame = infos[0].size
    for op in resolved.ops:
        after = op.frame_after(frame)
        yield StepInWords(op, frame, after)
        frame = after


def describe_op(op: AnyOp, frame: Size) -> str:
    """The operation in words, for an image of this size: a sentence without a full stop."""
    match op:
        case Extract(box):
            right, bottom = frame.width - box.right, frame.height - box.bottom
            cut = (("left", box.left), ("top", box.top), ("right", right), ("bottom", bottom))
            edges = ", ".join(f"{count} px {edge}" for edge, count in cut if count) or "nothing"
            return f"crop to {box.size} px, which cuts off {edges}"
        case Scale(size):
            return f"{_scaling(op, frame)} to {size} px"
        case Rotate(orientation):
            return _ORIENTATIONS[orientation]
        case Embed(size, left, top, fill):
            return f"place at {left}, {top} on a canvas of {size} px, filled with {_color(fill)}"
        case Background(color):
            return f"put {_color(color)} under transparent pixels"
        case ColorAdjust(brightness, contrast, saturation):
            changes = (("brightness", brightness), ("contrast", contrast), ("saturation", saturation))
            return "change " + ", ".join(f"{name} by {_number(value)}" for name, value in changes if value)
        case GaussianBlur(sigma):
            return f"blur with a standard deviation of {_number(sigma)} px"
        case UnsharpMask(sigma, gain):
            return f"sharpen by {_number(gain)} at a radius of {_number(sigma * 2)} px"
        case Bilevel(method):
            return "reduce to black and white, " + ("dithered" if isinstance(method, Dither) else "by a threshold")
        case SolidColor(size, color):
            return f"start with an empty image of {size} px in {_color(color)}"
        case Compose(source, _, left, top):
            return f"draw image {source + 1} over it at {left}, {top}"
        case _:  # an operation without words of its own yet: the first sentence of its documentation
            return _first_sentence(type(op).__doc__ or "an operation")


def describe_encoding(encoding: Encoding) -> str:
    """The format and its options in words.

    Examples: `WebP, quality 85`, `progressive JPEG, quality 70`, `PNG with a palette`.
    """
    name = {"webp": "WebP", "tiff": "TIFF"}.get(encoding.format.value, encoding.format.value.upper())
    text = "progressive " * encoding.progressive + "lossless " * encoding.lossless + name
    text += " with a palette" * encoding.palette
    has_quality = not encoding.lossless and encoding.format.value in ("jpeg", "webp", "avif")
    return f"{text}, quality {encoding.quality}" if has_quality else text


def describe_choice(order: Order, resolved: Resolved | None) -> str:
    """The reason in words for the format of the result, or for sending the original."""
    match resolved:
        case OriginalBytes(reason):
            return f"the original is sent unchanged: {_REASONS[reason]}"
        case Recipe() if order.plan is not None:
            return _format_reason(order.plan.output.choices, resolved.encoding, negotiated=order.delivery.negotiated)
        case Need():
            return "the size depends on the pixels: the border is measured when the image is rendered"
        case _:
            return "the original is sent unchanged: the request asks for no change"


def describe_focus(focus: str) -> str:
    """The placement of a smart crop in words.

    `focus` is `faces`, `subject` or `residual`, or it is `center` or `position` with the cause.
    """
    known = {
        "faces": "placed around faces",
        "subject": "placed around the main subject",
        "residual": "placed around the most conspicuous area",
    }
    return known.get(focus, f"placed by {focus}")


def without_type_names(sentence: str) -> str:
    """The sentence of a translation with plain words in place of the name of a type at its start.

    `Crop.overflow: outside the image it is refused` becomes `crop, overflow: …`.
    """
    found = _TYPE_NAME.match(sentence)
    if found is None:
        return sentence
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", found[1]).lower()
    part = f", {found[2].replace('_', ' ')}" if found[2] else ""
    return f"{words}{part}:{sentence[found.end() :]}"


_TYPE_NAME: Final = re.compile(r"([A-Z][A-Za-z]+)(?:\.([a-z_]+))?:")


def _format_reason(choices: tuple[EncodingChoice, ...], encoding: Encoding, *, negotiated: bool) -> str:
    names = ["the source's format" if each.format is None else each.format.value.upper() for each in choices]
    chosen = next((at for at, each in enumerate(choices) if each.format is encoding.format), None)
    if chosen is None:
        return "the format of the source, since the request names no other that applies"
    cause = "the client's Accept header allows it" if negotiated else "the request names it"
    skipped = f"; before it, {', '.join(names[:chosen])} did not apply to this source" if chosen else ""
    return f"{cause}{skipped}"


def _scaling(op: Scale, frame: Size) -> str:
    window = op.window_of(frame)
    is_part = op.window is not None and window != Region.from_size(frame)
    width, height, left, top = (f"{float(n):g}" for n in (window.width, window.height, window.left, window.top))
    part = f" the {width} by {height} px at {left}, {top}"
    enlarged = op.size.width > window.width or op.size.height > window.height
    return ("enlarge" if enlarged else "scale") + part * is_part


def _color(color: Color) -> str:
    if color.alpha == 0:
        return "transparency"
    opacity = "" if color.opaque else f" at {color.alpha / 255:.0%}"
    return f"#{color.red:02x}{color.green:02x}{color.blue:02x}{opacity}"


def _number(value: Fraction) -> str:
    return f"{float(value):g}"


def _first_sentence(text: str) -> str:
    sentence = " ".join(text.split()).partition(". ")[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]
