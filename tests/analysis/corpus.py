"""The annotated photographs as arrays."""

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
    """By file name."""
    return {told["file"]: told for told in json.loads((FOLDER / "annotations.json").read_text())}


def pixels(name: str, *, long_side: int = 640) -> NDArray[np.uint8]:
    """Height x width x 3."""
    with Image.open(FOLDER / "photos" / name) as picture:
        picture.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
        return np.asarray(picture.convert("RGB"), np.uint8)
