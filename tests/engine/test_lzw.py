"""LZW of GIF frames: Pillow decodes the indices that were compressed, across all lengths of codes."""

from __future__ import annotations

from struct import pack
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cropmark.engine import lzw
from tests.engine.images import rng, seen


def gif(indices: NDArray[Any], depth: int, strip_rows: int | None = None) -> bytes:
    """A GIF with the indices as gray levels."""
    height, width = indices.shape
    table = bytes(level for level in range(1 << depth) for _ in range(3))
    screen = b"GIF89a" + pack("<HHBBB", width, height, 0x80 | depth - 1, 0, 0) + table
    strips = [indices] if strip_rows is None else [indices[at : at + strip_rows] for at in range(0, height, strip_rows)]
    return screen + b"," + pack("<HHHHB", 0, 0, width, height, 0) + lzw.compressed(strips, depth) + b";"


def drawn(content: str, size: tuple[int, int], depth: int) -> NDArray[Any]:
    height, width = size
    match content:
        case "noise":
            return rng().integers(0, 1 << depth, size).astype(np.uint8)
        case "stripes":
            return (np.add.outer(np.arange(height), np.arange(width)) // 7 % (1 << depth)).astype(np.uint8)
        case _:
            return np.full(size, (1 << depth) - 1, np.uint8)


@pytest.mark.parametrize("depth", range(1, 9))
@pytest.mark.parametrize("content", ["noise", "stripes", "one color"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (37, 53), (150, 200)])  # the last needs clear codes
def test_indices_are_decoded_as_they_were(content: str, size: tuple[int, int], depth: int) -> None:
    indices = drawn(content, size, depth)
    assert np.array_equal(seen(gif(indices, depth), "L"), indices)


@pytest.mark.parametrize("depth", [1, 4, 8])
@pytest.mark.parametrize("content", ["noise", "stripes", "one color"])
@pytest.mark.parametrize("rows", [1, 2, 149])
def test_strips_are_joined(content: str, depth: int, rows: int) -> None:
    """The last bits of a strip and the first of the next one share a byte."""
    indices = drawn(content, (150, 200), depth)
    assert np.array_equal(seen(gif(indices, depth, rows), "L"), indices)


def test_every_number_of_codes_ends_well() -> None:
    """The last code has each length, and is just before and after each change of the length."""
    noise = rng().integers(0, 256, (1, 5000)).astype(np.uint8)
    for width in (*range(250, 262), *range(760, 774), *range(1785, 1797), *range(3830, 3850)):
        row = noise[:, :width]
        assert np.array_equal(seen(gif(row, 8), "L"), row), width


def test_few_colors_have_short_codes() -> None:
    body = lzw.compressed([np.zeros((4, 4), np.uint8)], 1)
    assert (body[0], len(body)) == (2, 7)
