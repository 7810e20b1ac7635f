"""A picture of an analysis for people: the source, the map of the subject, the faces, and the window chosen."""

from __future__ import annotations

from pyvips import Image

from cropmark.engine.load import small_rgb
from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.model.values import Box, Size

LONG_SIDE = 800

MAP = (255, 0, 90)
MAP_STRENGTH = 0.45
FACE = (90, 255, 60)
FAINT_FACE = (255, 220, 0)
WINDOW = (255, 255, 255)
OUTSIDE = 0.35
"""How bright what the window leaves out remains."""

SHOWN_SCORE = 0.8
"""Faces below it count for windows, but are not told as faces."""


def drawing(data: bytes, analysis: Analysis, window: Box | None = None) -> bytes:
    """A PNG of the upright source, at most LONG_SIDE px: the map as a tint, faces as boxes, outside the window dark.

    `window` is in pixels of the upright source. Raises SourceUnusable.
    """
    rgb, size, full = small_rgb(data, LONG_SIDE)
    picture = Image.new_from_memory(rgb, size.width, size.height, 3, "uchar").copy(interpretation="srgb")
    picture = _tinted(picture, analysis.subject)
    if window is not None:
        picture = _windowed(picture, _shrunk(window, full, size))
    for face in analysis.faces:
        color = FACE if face.score >= SHOWN_SCORE else FAINT_FACE
        picture = _outlined(picture, _box_of(face, size), color)
    png: bytes = picture.pngsave_buffer(compression=6)
    return png


def _tinted(picture: Image, grid: SaliencyMap) -> Image:
    cells = Image.new_from_memory(grid.cells, grid.columns, grid.rows, 1, "uchar")
    across, down = picture.width / grid.columns, picture.height / grid.rows
    strength = cells.resize(across, vscale=down, kernel="linear").linear(MAP_STRENGTH / 255, 0)
    return (picture * (1 - strength) + strength * list(MAP)).rint().cast("uchar").copy(interpretation="srgb")


def _windowed(picture: Image, window: Box) -> Image:
    dark = (picture * OUTSIDE).cast("uchar")
    bright = picture.crop(window.left, window.top, window.width, window.height)
    return _outlined(dark.insert(bright, window.left, window.top), window, WINDOW)


def _outlined(picture: Image, box: Box, color: tuple[int, int, int]) -> Image:
    """With the box's edge drawn on it, two pixels wide to the inside; what lies outside is not drawn."""
    picture = picture.draw_rect(list(color), box.left, box.top, box.width, box.height)
    if min(box.width, box.height) > 2:
        picture = picture.draw_rect(list(color), box.left + 1, box.top + 1, box.width - 2, box.height - 2)
    return picture


def _shrunk(window: Box, full: Size, size: Size) -> Box:
    across, down = size.width / full.width, size.height / full.height
    left, top = min(int(window.left * across), size.width - 1), min(int(window.top * down), size.height - 1)
    right, bottom = round(window.right * across), round(window.bottom * down)
    box = Box(left, top, max(1, right - left), max(1, bottom - top)).clipped_to(size)
    assert box is not None
    return box


def _box_of(face: Face, size: Size) -> Box:
    left, top = round(face.left * size.width), round(face.top * size.height)
    return Box(left, top, max(1, round(face.width * size.width)), max(1, round(face.height * size.height)))
