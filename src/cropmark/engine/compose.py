"""Compositing: canvases, background colors, overlays and tiled overlays."""

from __future__ import annotations

from collections.abc import Sequence

from pyvips import Image

from cropmark.geometry.recipe import Compose
from cropmark.model.values import Box, Color, Size


def solid_color(size: Size, fill: Color) -> Image:
    """A frame of one color, with alpha only if the color is not opaque."""
    bands = _bands(fill, alpha=not fill.opaque)
    return (Image.black(size.width, size.height, bands=len(bands)) + bands).cast("uchar").copy(interpretation="srgb")


def embed(frame: Image, size: Size, left: int, top: int, fill: Color) -> Image:
    """A canvas of `size` in the color `fill`, with the frame at (left, top). Parts outside the canvas are cut off."""
    opaque = fill.opaque and not frame.hasalpha()
    layer = frame if opaque or frame.hasalpha() else frame.bandjoin(255)
    seen = Box(left, top, frame.width, frame.height).clipped_to(size)
    if seen is None:
        bare = solid_color(size, fill)
        return bare if opaque or bare.hasalpha() else bare.bandjoin(255)
    return _crop_to(layer, seen, left, top).embed(
        seen.left,
        seen.top,
        size.width,
        size.height,
        extend="background",
        background=_bands(fill, alpha=not opaque),
    )


def flatten_onto(frame: Image, background: Color) -> Image:
    """The frame drawn over a background color. If the color is opaque, the result has no alpha band."""
    # Checked first: flatten() of an opaque image drops a color band (libvips 8.18.7).
    if not frame.hasalpha():
        return frame
    if background.opaque:
        return _to_levels(frame.cast("float").flatten(background=_bands(background, alpha=False)))
    whole = Box(0, 0, frame.width, frame.height)
    return _over(solid_color(whole.size, background), [(frame, whole)])


def compose(frame: Image, layers: Sequence[tuple[Compose, Image]]) -> Image:
    """The frame with the layers drawn over it, in their order. Its size and its bands do not change.

    The Op of a layer has its position, and decides if the layer is repeated as tiles.
    """
    size = Size(frame.width, frame.height)
    seen = [found for op, layer in layers if (found := _seen_layer(size, layer, op)) is not None]
    if not seen:
        return frame
    joined = _over(frame, seen)
    return joined if frame.hasalpha() else joined.extract_band(0, n=3)


def _seen_layer(frame: Size, layer: Image, op: Compose) -> tuple[Image, Box] | None:
    """The part of the layer that is inside the frame, and its box in the frame; None if no part is inside.

    The layer is repeated as tiles if the Op demands it.
    """
    left, across = _tile_span(op.left, layer.width, frame.width, op.across)
    top, down = _tile_span(op.top, layer.height, frame.height, op.down)
    tiled = layer.replicate(across, down) if (across, down) != (1, 1) else layer
    seen = Box(left, top, tiled.width, tiled.height).clipped_to(frame)
    return None if seen is None else (_crop_to(tiled, seen, left, top), seen)


def _over(frame: Image, layers: Sequence[tuple[Image, Box]]) -> Image:
    # In one call: the frame is converted to float and back once, not for each layer.
    images = [layer.cast("float") for layer, _ in layers]
    places = {"x": [box.left for _, box in layers], "y": [box.top for _, box in layers]}
    return _to_levels(frame.cast("float").composite(images, ["over"] * len(images), **places))


def _to_levels(mixed: Image) -> Image:
    # On bytes, flatten() and composite2() drop the fraction: nine in ten mixed pixels would be darker by a level.
    return mixed.rint().cast("uchar").copy(interpretation="srgb")


def _tile_span(start: int, tile: int, side: int, tiled: bool) -> tuple[int, int]:
    """The offset of the first tile along one side of the frame, and the number of tiles that cover the side.

    A layer that is not `tiled` counts as one tile, at `start`.
    """
    if not tiled:
        return start, 1
    first = start % tile - tile if start % tile else 0
    return first, -(-(side - first) // tile)


def _crop_to(frame: Image, seen: Box, left: int, top: int) -> Image:
    """The part of `frame` that is inside the box `seen`, if the frame is placed at (left, top)."""
    return frame.crop(seen.left - left, seen.top - top, seen.width, seen.height)


def _bands(color: Color, *, alpha: bool) -> list[int]:
    return [color.red, color.green, color.blue, *([color.alpha] if alpha else [])]
