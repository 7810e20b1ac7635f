"""Faces: YuNet run at two sizes, its outputs read into boxes.

The network (https://github.com/opencv/opencv_zoo, models/face_detection_yunet) answers on three lattices of 8, 16 and
32 px: for each cell how sure it is that there is a face (cls) and that it lies here (obj), and a box around it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cropmark.analysis.codec import MOST_FACES
from cropmark.analysis.resample import resampled
from cropmark.analysis.sessions import ModelSession, Tensor
from cropmark.geometry.findings import Face

STRIDES = (8, 16, 32)
LEAST_SCORE = 0.6
"""Below it, half of what is found is no face."""

# The network knows faces of 10 to 300 px: of a picture of 640 px, those that fill it are seen in a copy of 192 px only.
SMALL_SIDE = 192
LARGE_SHARE = 0.35
LARGE_SCORE = 0.7
SAME_FACE = 0.4

SAME_BOX = 0.3

Boxes = NDArray[np.float32]
"""Rows of left, top, width, height in px, and score."""


def faces(network: ModelSession, rgb: NDArray[np.uint8]) -> tuple[Face, ...]:
    """The faces of an upright picture (height x width x 3) of at most 640 px, as shares of its sides.

    Largest first, at most MOST_FACES.
    """
    height, width = rgb.shape[:2]
    found = merged(detected(network, rgb), large_faces(network, rgb))
    order = np.argsort(-found[:, 2] * found[:, 3], kind="stable")[:MOST_FACES]
    return tuple(_face(row, width, height) for row in found[order].tolist())


def _face(row: list[float], width: int, height: int) -> Face:
    left, top, across, down, score = row
    return Face(
        left=round(left / width, 4),
        top=round(top / height, 4),
        width=round(across / width, 4),
        height=round(down / height, 4),
        score=round(min(score, 1.0), 3),
    )


def large_faces(network: ModelSession, rgb: NDArray[np.uint8]) -> Boxes:
    """The faces that fill more than a third of the long side, found in a small copy, in px of the picture given."""
    height, width = rgb.shape[:2]
    scale = SMALL_SIDE / max(height, width)
    if scale >= 1:
        return np.empty((0, 5), np.float32)
    small_height, small_width = max(round(height * scale), 1), max(round(width * scale), 1)
    found = detected(network, resampled(rgb, small_height, small_width))
    found[:, 0:4:2] *= width / small_width
    found[:, 1:4:2] *= height / small_height
    sides = np.maximum(found[:, 2], found[:, 3])
    is_large = (sides > LARGE_SHARE * max(height, width)) & (found[:, 4] > LARGE_SCORE)
    return np.asarray(found[is_large], np.float32)


def merged(boxes: Boxes, large: Boxes) -> Boxes:
    """Both lists, the large ones in the place of what they overlap."""
    kept = [row for row in boxes if not any(_overlap(row, other) >= SAME_FACE for other in large)]
    return np.array([*kept, *large], np.float32).reshape(-1, 5)


def _overlap(one: Boxes, other: Boxes) -> float:
    """The part of the smaller box that both share."""
    return float(_shared_area(one, other) / min(_area(one), _area(other)))


def _union_share(one: Boxes, other: Boxes) -> float:
    """The area both share, as a part of the area of either."""
    shared = _shared_area(one, other)
    return float(shared / (_area(one) + _area(other) - shared))


def _shared_area(one: Boxes, other: Boxes) -> float:
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return float(max(across, 0) * max(down, 0))


def _area(box: Boxes) -> float:
    return float(box[2] * box[3])


def detected(network: ModelSession, rgb: NDArray[np.uint8] | Tensor) -> Boxes:
    """What one run finds at the picture's own size, strongest first."""
    picture = _as_input(rgb)
    names = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox")]
    outputs = network.run(picture, *names)
    columns = picture.shape[3]
    lattices = [
        _StrideGrid(stride, columns // stride, *(output[0] for output in outputs[3 * i : 3 * i + 3]))
        for i, stride in enumerate(STRIDES)
    ]
    return _suppressed(np.concatenate([lattice.boxes() for lattice in lattices]))


def _as_input(rgb: NDArray[np.uint8] | Tensor) -> Tensor:
    """1 x 3 x height x width, blue first, 0 to 255, black added below and right up to multiples of 32."""
    height, width = rgb.shape[:2]
    planes = rgb[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    padded = np.pad(planes, ((0, 0), (0, -height % 32), (0, -width % 32)))
    return np.ascontiguousarray(padded[None])


@dataclass(frozen=True, slots=True)
class _StrideGrid:
    """What the network says for each cell of one stride."""

    stride: int
    columns: int
    sure: Tensor
    here: Tensor
    box: Tensor

    def boxes(self) -> Boxes:
        score = np.sqrt(np.clip(self.sure[:, 0], 0, 1) * np.clip(self.here[:, 0], 0, 1))
        cells = np.nonzero(score >= LEAST_SCORE)[0]
        corner = np.stack([cells % self.columns, cells // self.columns], axis=1)
        center = (corner + self.box[cells, :2]) * self.stride
        size = np.exp(self.box[cells, 2:]) * self.stride
        return np.concatenate([center - size / 2, size, score[cells, None]], axis=1).astype(np.float32)


def _suppressed(boxes: Boxes) -> Boxes:
    """Strongest first, without those that lie on a stronger one (non-maximum suppression)."""
    kept: list[Boxes] = []
    for row in boxes[np.argsort(-boxes[:, 4], kind="stable")]:
        if all(_union_share(row, other) <= SAME_BOX for other in kept):
            kept.append(row)
    return np.array(kept, np.float32).reshape(-1, 5)
