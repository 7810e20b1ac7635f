"""The analysis of a source: its bytes made a small picture, the networks run on it.

Importing this brings numpy and onnxruntime (40 MB): a renderer does it before its sandbox closes, or never analyses.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cropmark.analysis.codec import VERSION
from cropmark.analysis.faces import faces
from cropmark.analysis.malloc import give_back, mapped_blocks
from cropmark.analysis.models import Models
from cropmark.analysis.saliency import residual, subject
from cropmark.analysis.sessions import opened
from cropmark.engine.load import small_rgb
from cropmark.geometry.findings import Analysis

LONG_SIDE = 640
"""Of the picture that is looked at; faces of less than 10 px there are not found."""


def analyzed(data: bytes, models: Models) -> Analysis:
    """What the first frame of an encoded picture is about.

    Raises SourceUnusable. Takes 0.15 s (0.3 where the subject is hard to see), the first time 0.1 s
    more for the networks; 80 MB stay taken, 230 more for a moment.
    """
    mapped_blocks()
    networks = opened(models)
    rgb = _pixels(data)
    found = Analysis(VERSION, faces(networks.face, rgb), subject(networks.subject, rgb), residual(rgb))
    give_back()
    return found


def _pixels(data: bytes) -> NDArray[np.uint8]:
    """Height x width x 3, upright, sRGB, alpha laid on white."""
    small, size, _ = small_rgb(data, LONG_SIDE)
    return np.frombuffer(small, np.uint8).reshape(size.height, size.width, 3)
