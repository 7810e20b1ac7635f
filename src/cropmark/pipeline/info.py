"""Builds the JSON document with all facts about an image: its header, colors, faces, focal point and placeholders."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any, Final

from cropmark.geometry.findings import Analysis, Face
from cropmark.geometry.focal_point import focal_point
from cropmark.model.appearance import Appearance
from cropmark.model.values import Color
from cropmark.plan.plan import InfoDocument, Order

FACE_SCORE: Final = 0.8
"""Lowest score of the faces in the document. Faces with a lower score of the detector are omitted."""
_DIGITS: Final = 4
"""Decimal places of positions."""


def info_order(order: Order) -> Order:
    """An order for the document about the first image of `order`, with the same limits.

    The document has only one format, so its format is not negotiated. The request's warnings are dropped.
    """
    plan = order.plan
    document = InfoDocument() if plan is None else InfoDocument(plan.reads, plan.limits)
    return Order(order.sources[:1], None, order.delivery.for_document(), facts=document)


def info_body(appearance: Appearance, analysis: Analysis | None) -> bytes:
    """The document as JSON. Positions and lengths are shares of the image's sides.

    Without an analysis, `faces` and `focal_point` are null.
    """
    return json.dumps(info_fields(appearance, analysis), separators=(",", ":")).encode("ascii")


def info_fields(appearance: Appearance, analysis: Analysis | None) -> dict[str, Any]:
    """The members of the document by name."""
    info, palette = appearance.info, [_hex(color) for color in appearance.palette]
    point = None if analysis is None else focal_point(analysis, info.size)
    return {
        "width": info.size.width,
        "height": info.size.height,
        "format": info.format.value,
        "frames": info.frames,
        "orientation": info.orientation,
        "icc": appearance.icc,
        "has_alpha": info.alpha,
        "dominant": palette[0] if palette else None,
        "palette": palette,
        "faces": None if analysis is None else [_box(face) for face in analysis.faces if face.score >= FACE_SCORE],
        "focal_point": point and {"x": round(point[0], _DIGITS), "y": round(point[1], _DIGITS)},
        "blurhash": appearance.blurhash,
        "thumbhash": b64encode(appearance.thumbhash).decode("ascii"),
        "lqip": f"data:image/webp;base64,{b64encode(appearance.placeholder).decode('ascii')}",
    }


def _hex(color: Color) -> str:
    return f"#{color.red:02x}{color.green:02x}{color.blue:02x}"


def _box(face: Face) -> dict[str, float]:
    names = ("left", "top", "width", "height", "score")
    return {name: round(getattr(face, name), _DIGITS) for name in names}
