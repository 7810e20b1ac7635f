"""A contact sheet of smart crops, for people to judge; for eval_smart.py. Pillow, as the benchmarks' own tool."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw, ImageEnhance
from smart_corpus import ASPECTS, Photo

from cropmark.geometry.findings import Analysis
from cropmark.model.values import Box

CELL = 160
GAP = 4
TEXT = 12

FACE, MINOR, HEAD, SUBJECT, DETECTED = "#20ff20", "#ffe000", "#40a0ff", "#ff3030", "#ffffff"
OURS = "#20ff20"
LINES = {"center": "#ffffff", "libvips attention": "#ff9000", "smartcrop.py": "#40a0ff"}

Windows = Mapping[tuple[str, str], Box]


def sheet(corpus: Sequence[Photo], windows: Mapping[str, Windows], analyses: Mapping[str, Analysis]) -> bytes:
    """A JPEG, a row a photograph: its boxes, then its windows by aspect."""
    rows = [_row(photo, windows, analyses[photo.name]) for photo in corpus]
    whole = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "#202020")
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height
    out = io.BytesIO()
    whole.save(out, "JPEG", quality=68, optimize=True)
    return out.getvalue()


def _row(photo: Photo, windows: Mapping[str, Windows], analysis: Analysis) -> Image.Image:
    with Image.open(photo.path) as opened:
        small = opened.convert("RGB")
        small.thumbnail((CELL, CELL), Image.Resampling.LANCZOS)
    cells = [_annotated(small, photo, analysis), *(_windowed(small, photo, aspect, windows) for aspect in ASPECTS)]
    row = Image.new("RGB", (len(cells) * (CELL + GAP), small.height + TEXT + GAP), "#202020")
    for i, (title, cell) in enumerate(zip((photo.name, *ASPECTS), cells, strict=True)):
        row.paste(cell, (i * (CELL + GAP), TEXT))
        ImageDraw.Draw(row).text((i * (CELL + GAP), 0), title, fill="#c0c0c0")
    return row


def _annotated(small: Image.Image, photo: Photo, analysis: Analysis) -> Image.Image:
    cell = small.copy()
    scale = small.width / photo.size.width
    groups = ((photo.subject,), photo.faces, photo.minor_faces, photo.heads)
    for boxes, color in zip(groups, (SUBJECT, FACE, MINOR, HEAD), strict=True):
        for box in boxes:
            _outline(cell, box, scale, color)
    draw = ImageDraw.Draw(cell)
    for face in analysis.faces:
        x, y = (face.left + face.width / 2) * small.width, (face.top + face.height / 2) * small.height
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), outline=DETECTED)
    return cell


def _windowed(small: Image.Image, photo: Photo, aspect: str, windows: Mapping[str, Windows]) -> Image.Image:
    scale = small.width / photo.size.width
    ours = windows["cropmark"][photo.name, aspect]
    left, top, right, bottom = (round(side * scale) for side in (ours.left, ours.top, ours.right, ours.bottom))
    cell = ImageEnhance.Brightness(small).enhance(0.4)
    cell.paste(small.crop((left, top, right, bottom)), (left, top))
    for name, color in LINES.items():
        if name in windows:
            _outline(cell, windows[name][photo.name, aspect], scale, color)
    _outline(cell, ours, scale, OURS)
    return cell


def _outline(cell: Image.Image, box: Box, scale: float, color: str) -> None:
    left, top, right, bottom = (round(side * scale) for side in (box.left, box.top, box.right, box.bottom))
    ImageDraw.Draw(cell).rectangle((left, top, max(left, right - 1), max(top, bottom - 1)), outline=color)
