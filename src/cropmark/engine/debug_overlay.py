"""Draws the result of a content analysis on its source: the saliency map, the faces and the chosen crop window."""

from __future__ import annotations

from pyvips import Image

from cropmark.engine.load import Header
from cropmark.engine.thumbnail import thumbnail_rgb
from cropmark.geometry.findings import Analysis, Face, SaliencyMap
from cropmark.model.values import Box, Size
from cropmark.runtime.reads import Data

LONG_SIDE = 800

SALIENCY_COLOR = (255, 0, 90)
SALIENCY_OPACITY = 0.45
FACE_COLOR = (90, 255, 60)
UNCERTAIN_FACE_COLOR = (255, 220, 0)
WINDOW_COLOR = (255, 255, 255)
OUTSIDE_BRIGHTNESS = 0.35
"""The factor by which pixels outside the window are darkened."""

CONFIDENT_SCORE = 0.8
"""Faces with a lower score are drawn in UNCERTAIN_FACE_COLOR: they influence the window, but are not reported."""


def draw_overlay(data: Data, analysis: Analysis, window: Box | None = None, header: Header | None = None) -> bytes:
    """A PNG of the upright source with the analysis drawn on it. Its longer side has at most LONG_SIDE px.

    The saliency map is a tint, faces are boxes, and pixels outside the window are dark. `window` is in pixels of the
    upright source. `header` is the header of the source if it was read already. Raises SourceUnusable.
    """
    rgb, size, full = thumbnail_rgb(data, LONG_SIDE, header)
    image = Image.new_from_memory(rgb, size.width, size.height, 3, "uchar").copy(interpretation="srgb")
    image = _draw_saliency(image, analysis.subject)
    if window is not None:
        image = _draw_window(image, _scale_box(window, full, size))
    for face in analysis.faces:
        color = FACE_COLOR if face.score >= CONFIDENT_SCORE else UNCERTAIN_FACE_COLOR
        image = _draw_outline(image, _face_box(face, size), color)
    png: bytes = image.pngsave_buffer(compression=6)
    return png


def _draw_saliency(image: Image, grid: SaliencyMap) -> Image:
    cells = Image.new_from_memory(grid.cells, grid.columns, grid.rows, 1, "uchar")
    across, down = image.width / grid.columns, image.height / grid.rows
    strength = cells.resize(across, vscale=down, kernel="linear").linear(SALIENCY_OPACITY / 255, 0)
    return (image * (1 - strength) + strength * list(SALIENCY_COLOR)).rint().cast("uchar").copy(interpretation="srgb")


def _draw_window(image: Image, window: Box) -> Image:
    dark = (image * OUTSIDE_BRIGHTNESS).cast("uchar")
    bright = image.crop(window.left, window.top, window.width, window.height)
    return _draw_outline(dark.insert(bright, window.left, window.top), window, WINDOW_COLOR)


def _draw_outline(image: Image, box: Box, color: tuple[int, int, int]) -> Image:
    """The image with the outline of the box drawn on it. The outline is inside the box and two pixels wide."""
    image = image.draw_rect(list(color), box.left, box.top, box.width, box.height)
    if min(box.width, box.height) > 2:
        image = image.draw_rect(list(color), box.left + 1, box.top + 1, box.width - 2, box.height - 2)
    return image


def _scale_box(window: Box, full: Size, size: Size) -> Box:
    across, down = size.width / full.width, size.height / full.height
    left, top = min(int(window.left * across), size.width - 1), min(int(window.top * down), size.height - 1)
    right, bottom = round(window.right * across), round(window.bottom * down)
    box = Box(left, top, max(1, right - left), max(1, bottom - top)).clipped_to(size)
    assert box is not None
    return box


def _face_box(face: Face, size: Size) -> Box:
    left, top = round(face.left * size.width), round(face.top * size.height)
    return Box(left, top, max(1, round(face.width * size.width)), max(1, round(face.height * size.height)))
