"""Analyzes the content of a source: decodes it to a small image, in which neural networks find faces and salient areas.

Importing this module loads numpy and onnxruntime (40 MB). A renderer must import it before it enters the sandbox.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cropmark.analysis.codec import VERSION
from cropmark.analysis.faces import detect_faces
from cropmark.analysis.malloc import map_large_blocks, trim_heap
from cropmark.analysis.models import Models
from cropmark.analysis.saliency import residual_map, subject_map
from cropmark.analysis.sessions import open_sessions
from cropmark.engine.load import Header
from cropmark.engine.thumbnail import thumbnail_rgb
from cropmark.geometry.findings import Analysis
from cropmark.runtime.reads import Data

LONG_SIDE = 640
"""Longer side of the analyzed image in pixels. Faces smaller than 10 px in it are not found."""


def analyze(data: Data, models: Models, header: Header | None = None) -> Analysis:
    """The faces and the saliency of the first frame of an encoded image.

    `header` is the header of the image if it was read already. Raises SourceUnusable.

    An analysis takes 0.15 s, or 0.3 to 0.7 s if the subject is hard to find. The first call takes 0.1 s more to load
    the networks. They take 40 MB of memory permanently, and the analysis up to 200 MB more at its peak.
    """
    map_large_blocks()
    networks = open_sessions(models)
    rgb = _rgb_array(data, header)
    found = Analysis(VERSION, detect_faces(networks.face, rgb), subject_map(networks.subject, rgb), residual_map(rgb))
    trim_heap()
    return found


def _rgb_array(data: Data, header: Header | None) -> NDArray[np.uint8]:
    """The upright first frame as an array of height x width x 3, sRGB, on a white background."""
    small, size, _ = thumbnail_rgb(data, LONG_SIDE, header)
    return np.frombuffer(small, np.uint8).reshape(size.height, size.width, 3)
