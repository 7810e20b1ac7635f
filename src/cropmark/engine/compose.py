"""One picture on another: canvases, colors laid under, overlays and their tiles."""

from __future__ import annotations

from pyvips import Image

from cropmark.geometry.recipe import Compose
from cropmark.model.values import Box, Color, Size


def blank(size: Size, fill: Color) -> Image:
    """A frame of one color; with alpha only where the color is not opaque."""
    bands = _bands(fill, alpha=not fill.opaque)
    return (Image.black(size.width, size.height, bands=len(bands)) + bands).cast("uchar").copy(interpretation="srgb")


def embedded(frame: Image, size: Size, left: int, top: int, fill: Color) -> Image:
    """The frame at left, top of a frame of `size`, the rest filled; what reaches outside is cut."""
    opaque = fill.opaque and not frame.hasalpha()
    layer = frame if opaque or frame.hasalpha() else frame.bandjoin(255)
    seen = Box(left, top, frame.width, frame.height).clipped_to(size)
    if seen is None:
        bare = blank(size, fill)
        return bare if opaque or bare.hasalpha() else bare.bandjoin(255)
    return _window(layer, seen, left, top).embed(
        seen.left,
        seen.top,
        size.width,
        size.height,
        extend="background",
        background=_bands(fill, alpha=not opaque),
    )


def laid_on(frame: Image, under: Color) -> Image:
    """The frame over a color; an opaque one takes alpha away."""
    # Asked first: flatten() of an opaque picture drops a color band (libvips 8.18.7).
    if not frame.hasalpha():
        return frame
    if under.opaque:
        return _to_levels(frame.cast("float").flatten(background=_bands(under, alpha=False)))
    return _over(blank(Size(frame.width, frame.height), under), frame)


def composed(frame: Image, layer: Image, op: Compose) -> Image:
    """The layer over the frame at the Op's place, tiled where it says so; the frame's size, and alpha or none, stay."""
    left, across = _span(op.left, layer.width, frame.width, op.across)
    top, down = _span(op.top, layer.height, frame.height, op.down)
    tiled = layer.replicate(across, down) if (across, down) != (1, 1) else layer
    seen = Box(left, top, tiled.width, tiled.height).clipped_to(Size(frame.width, frame.height))
    if seen is None:
        return frame
    joined = _over(frame, _window(tiled, seen, left, top), seen.left, seen.top)
    return joined if frame.hasalpha() else joined.extract_band(0, n=3)


def _over(frame: Image, layer: Image, left: int = 0, top: int = 0) -> Image:
    """The layer over the frame."""
    return _to_levels(frame.cast("float").composite2(layer.cast("float"), "over", x=left, y=top))


def _to_levels(mixed: Image) -> Image:
    # Mixed as bytes, flatten() and composite2() would drop the fraction: nine in ten mixed pixels darker by a level.
    return mixed.rint().cast("uchar").copy(interpretation="srgb")


def _span(start: int, tile: int, side: int, tiled: bool) -> tuple[int, int]:
    """Where the first tile that is seen along a side begins, and how many there are."""
    if not tiled:
        return start, 1
    first = start % tile - tile if start % tile else 0
    return first, -(-(side - first) // tile)


def _window(frame: Image, seen: Box, left: int, top: int) -> Image:
    """The part of a frame at left, top that `seen` shows."""
    return frame.crop(seen.left - left, seen.top - top, seen.width, seen.height)


def _bands(color: Color, *, alpha: bool) -> list[int]:
    return [color.red, color.green, color.blue, *([color.alpha] if alpha else [])]
