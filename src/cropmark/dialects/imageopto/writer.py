"""Steps in the words that Fastly's Image Optimizer and the services built on it share: readers.py backwards."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Final
from urllib.parse import quote

from cropmark.dialects.imageopto.readers import FILTERS, MAX_SIDE, REPEATS, TURNS, Repeat
from cropmark.dialects.writers import (
    UnsupportedValue,
    Words,
    color,
    decimal,
    edges,
    length,
    only,
    placement,
    qualities,
    shape,
    spellings,
    word_for,
    words_of,
)
from cropmark.model.values import Length, Pixels, Ratio
from cropmark.plan.plan import Order, Output
from cropmark.plan.source import SitePath
from cropmark.plan.steps import (
    Adjust,
    Align,
    Canvas,
    Crop,
    Edges,
    Filter,
    Fit,
    Flatten,
    Focus,
    Offset,
    Orient,
    Overflow,
    Overlay,
    Pad,
    Resize,
    Sharpen,
    TrimEdges,
)


def write_crop(name: str) -> Callable[[Crop], Words]:
    """The writer of a crop under this name. One that is clipped in any way is told as `safe`."""

    def write(step: Crop) -> Words:
        if step.focus is Focus.SMART and not isinstance(step.shape, Ratio):
            raise UnsupportedValue("Crop.focus", "smart works with a ratio only")
        parts = (
            shape("Crop.shape", step.shape),
            *placement("x", "Crop.x", step.x),
            *placement("y", "Crop.y", step.y),
            *(("safe",) if step.overflow is not Overflow.REFUSE else ()),
            *(("smart",) if step.focus is Focus.SMART else ()),
        )
        return {name: ",".join(parts)}

    return write


def write_trim(step: TrimEdges) -> Words:
    return {"trim": edges("TrimEdges.edges", step.edges)}


def write_orient(step: Orient) -> Words:
    return {"orient": word_for("Orient.turn", TURNS, step.turn)}


def write_size(step: Resize) -> dict[str, str]:
    """`width` and `height`. Raises Unsaid past 8192 px, or for a focus, which a resize has no words for here."""
    only(step, "width", "height", "fit", "enlarge", "dpr", "filter")
    told = {"width": step.width, "height": step.height}
    return {name: side(f"Resize.{name}", value) for name, value in told.items() if value is not None}


def side(field: str, value: Length) -> str:
    if isinstance(value, Pixels) and value.count > MAX_SIDE:
        raise UnsupportedValue(field, f"at most {MAX_SIDE} px can be asked for")
    if value.of(1) == 0:
        raise UnsupportedValue(field, "a side is above 0")
    return length(field, value)


def write_dpr(step: Resize, least: Fraction, most: Fraction) -> Words:
    """`dpr`. Raises Unsaid outside the bounds."""
    if step.dpr == 1:
        return {}
    if not least <= step.dpr <= most:
        raise UnsupportedValue("Resize.dpr", f"it is from {least} to {most} here")
    return {"dpr": decimal("Resize.dpr", step.dpr)}


def write_filter(step: Resize, usual: Filter) -> Words:
    if step.filter is usual:
        return {}
    return {"resize-filter": word_for("Resize.filter", FILTERS, step.filter)}


def write_fit(step: Resize, fits: dict[str, Fit]) -> Words:
    """`fit`, which means something beside both sides only."""
    if step.fit is Fit.STRETCH or step.width is None or step.height is None:
        return {}
    return {"fit": word_for("Resize.fit", fits, step.fit)}


def write_flatten(step: Flatten) -> Words:
    return {"bg-color": color(step.color)}


def write_pad(step: Pad) -> Words:
    return {"pad": edges("Pad.edges", step.edges), **_ground(step)}


def write_canvas(step: Canvas) -> Words:
    parts = (
        shape("Canvas.shape", step.shape),
        *placement("x", "Canvas.x", step.x),
        *placement("y", "Canvas.y", step.y),
    )
    return {"canvas": ",".join(parts), **_ground(step)}


def _ground(step: Pad | Canvas) -> Words:
    return {} if step.color is None else {"bg-color": color(step.color)}


def write_adjust(step: Adjust) -> Words:
    told = {"brightness": step.brightness, "contrast": step.contrast, "saturation": step.saturation}
    return {name: decimal(f"Adjust.{name}", value) for name, value in told.items() if value}


def write_sharpen(step: Sharpen, radius: str) -> Words:
    return {"sharpen": f"a{decimal('Sharpen.amount', step.amount)},r{radius},t{step.threshold}"}


def radius(field: str, value: Length, least: Fraction) -> str:
    """A radius in pixels, `least` to 1000. Raises Unsaid."""
    if not isinstance(value, Pixels):
        raise UnsupportedValue(field, "a radius is in pixels here")
    if not least <= value.count <= 1000:
        raise UnsupportedValue(field, f"a radius is from {decimal(field, least)} to 1000 px here")
    return decimal(field, value.count)


# ------------------------------------------------------------------------------------------------ encodings

AUTOS: Final = words_of("auto", ("webp", "avif", "avif,webp"))
_FEW: Final = 3


def quality_words(output: Output) -> tuple[Words, ...]:
    """Each quality that a choice names, and where they are few each pair: the second is for WebP chosen by `auto`."""
    found = qualities(output)
    pairs = (f"{usual},{webp}" for usual in found for webp in found if usual != webp)
    return words_of("quality", (*map(str, found), *(pairs if len(found) <= _FEW else ())))


# ------------------------------------------------------------------------------------------------ overlays

_ACROSS: Final = {"left": Align(Fraction(0)), "center": Align(Fraction(1, 2)), "right": Align(Fraction(1))}
_DOWN: Final = {"top": Align(Fraction(0)), "middle": Align(Fraction(1, 2)), "bottom": Align(Fraction(1))}


def overlay_words(step: Overlay, order: Order) -> Words:
    """The `overlay` parameters of the Step, its picture by its path. Raises Unsaid."""
    only(step, "source", "width", "height", "x", "y", "edges", "opaque_padding", "repeat_across", "repeat_down")
    words = {"overlay": _path(step, order)}
    sides = {"overlay-width": step.width, "overlay-height": step.height}
    words |= {name: side("Overlay.width", value) for name, value in sides.items() if value is not None}
    if (step.x, step.y) != (_ACROSS["center"], _DOWN["middle"]):
        words["overlay-align"] = f"{_align('y', _DOWN, step.y)},{_align('x', _ACROSS, step.x)}"
    if step.edges != Edges():
        words["overlay-pad"] = edges("Overlay.edges", step.edges)
    if step.repeat_across or step.repeat_down:
        words["overlay-repeat"] = spellings(REPEATS, Repeat(step.repeat_across, step.repeat_down))[0]
    return words


def _align(axis: str, words: dict[str, Align], place: Align | Offset) -> str:
    return word_for(f"Overlay.{axis}", words, place)


def _path(step: Overlay, order: Order) -> str:
    where = order.sources[step.source].ref if step.source < len(order.sources) else None
    if not isinstance(where, SitePath):
        raise UnsupportedValue("Overlay.source", "an overlay is named by its path on the site")
    # Decoded once with the query and once more as a URL.
    return "/" + quote(where.path.encode("utf-8", "surrogateescape"))
