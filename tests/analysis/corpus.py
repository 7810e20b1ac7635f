"""The annotated test photographs as arrays."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

FOLDER = Path(__file__).parents[1] / "data" / "corpus"


@cache
def annotated() -> dict[str, Any]:
    """The annotations by file name."""
    return {report["file"]: report for report in json.loads((FOLDER / "annotations.json").read_text())}


def pixels(name: str, *, long_side: int = 640) -> NDArray[np.uint8]:
    """The photograph as an array of height x width x 3."""
    with Image.open(FOLDER / "photos" / name) as image:
        image.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
        return np.asarray(image.convert("RGB"), np.uint8)
