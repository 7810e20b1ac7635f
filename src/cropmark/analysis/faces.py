"""Detects faces with the neural network YuNet, which runs at two sizes of the image.

The network (https://github.com/opencv/opencv_zoo, models/face_detection_yunet) has three grids of cells of 8, 16 and 32
px. For each cell it returns the confidence that a face is there (cls), the confidence in its position (obj), and its
box (bbox).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cropmark.analysis.codec import MAX_FACES
from cropmark.analysis.resample import resample
from cropmark.analysis.sessions import ModelSession, Tensor
from cropmark.geometry.findings import Face

STRIDES = (8, 16, 32)
MIN_SCORE = 0.6
"""The lowest score of a face. Half of the detections with a lower score are false."""

# The network detects faces of 10 to 300 px. Faces that fill an image of 640 px are detected only in a copy of 192 px.
SMALL_SIDE = 192
LARGE_SHARE = 0.35
LARGE_SCORE = 0.7
SAME_FACE = 0.4

SAME_BOX = 0.3

Boxes = NDArray[np.float32]
"""Rows of left, top, width, height in px, and score."""


def detect_faces(network: ModelSession, rgb: NDArray[np.uint8]) -> tuple[Face, ...]:
    """The faces in an upright image, largest first, at most MAX_FACES.

    The image is an array of height x width x 3 with sides of at most 640 px. Faces are in shares of its sides.
    """
    height, width = rgb.shape[:2]
    boxes = merge_boxes(run_detector(network, rgb), detect_large_faces(network, rgb))
    order = np.argsort(-boxes[:, 2] * boxes[:, 3], kind="stable")[:MAX_FACES]
    return tuple(_face(row, width, height) for row in boxes[order].tolist())


def _face(row: list[float], width: int, height: int) -> Face:
    left, top, across, down, score = row
    return Face(
        left=round(left / width, 4),
        top=round(top / height, 4),
        width=round(across / width, 4),
        height=round(down / height, 4),
        score=round(min(score, 1.0), 3),
    )


def detect_large_faces(network: ModelSession, rgb: NDArray[np.uint8]) -> Boxes:
    """The faces larger than LARGE_SHARE of the long side, in px of the image. They are detected in a smaller copy."""
    height, width = rgb.shape[:2]
    scale = SMALL_SIDE / max(height, width)
    if scale >= 1:
        return np.empty((0, 5), np.float32)
    small_height, small_width = max(round(height * scale), 1), max(round(width * scale), 1)
    boxes = run_detector(network, resample(rgb, small_height, small_width))
    boxes[:, 0:4:2] *= width / small_width
    boxes[:, 1:4:2] *= height / small_height
    sides = np.maximum(boxes[:, 2], boxes[:, 3])
    is_large = (sides > LARGE_SHARE * max(height, width)) & (boxes[:, 4] > LARGE_SCORE)
    return np.asarray(boxes[is_large], np.float32)


def merge_boxes(boxes: Boxes, large: Boxes) -> Boxes:
    """All large boxes, and those of the other `boxes` that do not show the same face as a large one."""
    separate = [row for row in boxes if not any(_overlap_of_smaller(row, other) >= SAME_FACE for other in large)]
    return np.array([*separate, *large], np.float32).reshape(-1, 5)


def _overlap_of_smaller(one: Boxes, other: Boxes) -> float:
    """The area that both boxes share, divided by the area of the smaller box."""
    return float(_shared_area(one, other) / min(_area(one), _area(other)))


def _intersection_over_union(one: Boxes, other: Boxes) -> float:
    """The area that both boxes share, divided by the area that they cover together."""
    shared = _shared_area(one, other)
    return float(shared / (_area(one) + _area(other) - shared))


def _shared_area(one: Boxes, other: Boxes) -> float:
    across = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    down = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return float(max(across, 0) * max(down, 0))


def _area(box: Boxes) -> float:
    return float(box[2] * box[3])


def run_detector(network: ModelSession, rgb: NDArray[np.uint8] | Tensor) -> Boxes:
    """The faces that one run of the network finds, highest score first. The image is not scaled."""
    pixels = _network_input(rgb)
    names = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox")]
    outputs = network.run(pixels, *names)
    columns = pixels.shape[3]
    grids = [
        _StrideGrid(stride, columns // stride, *(output[0] for output in outputs[3 * i : 3 * i + 3]))
        for i, stride in enumerate(STRIDES)
    ]
    return _suppress_overlaps(np.concatenate([grid.boxes() for grid in grids]))


def _network_input(rgb: NDArray[np.uint8] | Tensor) -> Tensor:
    """The image as an array for the network: 1 x 3 x height x width, BGR, from 0 to 255.

    It is padded with black, so that its sides are multiples of 32 px.
    """
    height, width = rgb.shape[:2]
    planes = rgb[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    padded = np.pad(planes, ((0, 0), (0, -height % 32), (0, -width % 32)))
    return np.ascontiguousarray(padded[None])


@dataclass(frozen=True, slots=True)
class _StrideGrid:
    """The network's outputs for one of its grids. `stride` is the side of a cell in px."""

    stride: int
    columns: int
    class_scores: Tensor
    object_scores: Tensor
    box_offsets: Tensor

    def boxes(self) -> Boxes:
        score = np.sqrt(np.clip(self.class_scores[:, 0], 0, 1) * np.clip(self.object_scores[:, 0], 0, 1))
        cells = np.nonzero(score >= MIN_SCORE)[0]
        corner = np.stack([cells % self.columns, cells // self.columns], axis=1)
        center = (corner + self.box_offsets[cells, :2]) * self.stride
        size = np.exp(self.box_offsets[cells, 2:]) * self.stride
        return np.concatenate([center - size / 2, size, score[cells, None]], axis=1).astype(np.float32)


def _suppress_overlaps(boxes: Boxes) -> Boxes:
    """The boxes, highest score first, without those that overlap a better box too much (non-maximum suppression)."""
    selected: list[Boxes] = []
    for row in boxes[np.argsort(-boxes[:, 4], kind="stable")]:
        if all(_intersection_over_union(row, other) <= SAME_BOX for other in selected):
            selected.append(row)
    return np.array(selected, np.float32).reshape(-1, 5)
