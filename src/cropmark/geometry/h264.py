"""The levels of H.264. A level bounds the size of a frame, the pixels per second and the bits per second.

Source: https://www.itu.int/rec/T-REC-H.264, table A-1
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from cropmark.model.values import Size

DEFAULT_LEVEL: Final = 30
_BLOCK: Final = 16
"""The side of a macroblock in pixels."""


@dataclass(frozen=True, slots=True)
class Level:
    """The bounds of one level. A block is a macroblock of 16x16 pixels."""

    blocks_per_s: int
    frame_blocks: int
    kilobits_per_s: int
    buffered_kilobits: int

    def permits(self, size: Size, shortest_ms: int) -> bool:
        """True if the level permits frames of this size, when the shortest frame lasts `shortest_ms` milliseconds."""
        across, down = (-(-side // _BLOCK) for side in (size.width, size.height))
        is_small = across * down <= self.frame_blocks and max(across, down) ** 2 <= 8 * self.frame_blocks
        return is_small and across * down * 1000 <= self.blocks_per_s * shortest_ms


# fmt: off
LEVELS: Final = {
    10: Level(     1_485,      99,      64,     175),
    11: Level(     3_000,     396,     192,     500),
    12: Level(     6_000,     396,     384,   1_000),
    13: Level(    11_880,     396,     768,   2_000),
    20: Level(    11_880,     396,   2_000,   2_000),
    21: Level(    19_800,     792,   4_000,   4_000),
    22: Level(    20_250,   1_620,   4_000,   4_000),
    30: Level(    40_500,   1_620,  10_000,  10_000),
    31: Level(   108_000,   3_600,  14_000,  14_000),
    32: Level(   216_000,   5_120,  20_000,  20_000),
    40: Level(   245_760,   8_192,  20_000,  25_000),
    41: Level(   245_760,   8_192,  50_000,  62_500),
    42: Level(   522_240,   8_704,  50_000,  62_500),
    50: Level(   589_824,  22_080, 135_000, 135_000),
    51: Level(   983_040,  36_864, 240_000, 240_000),
    52: Level( 2_073_600,  36_864, 240_000, 240_000),
    60: Level( 4_177_920, 139_264, 240_000, 240_000),
    61: Level( 8_355_840, 139_264, 480_000, 480_000),
    62: Level(16_711_680, 139_264, 800_000, 800_000),
}
# fmt: on


def sufficient_level(size: Size, level: int | None, shortest_ms: int = 1_000) -> int:
    """The lowest level that permits the video and is at least `level`; 62 if no level permits it.

    A level is ten times its number: 720x576 has 30 (level 3.0) at 25 frames per second, and 31 at 30 frames per second.
    A `level` of None counts as 30. `shortest_ms` is the duration of the shortest frame in milliseconds.
    """
    lowest = DEFAULT_LEVEL if level is None else level
    permitting = (number for number, each in LEVELS.items() if number >= lowest and each.permits(size, shortest_ms))
    return next(permitting, max(LEVELS))


def even_size(size: Size) -> Size:
    """The size with even sides: 101x75 becomes 100x74. A side of 1 px becomes 2 px.

    The sides must be even because colors are stored at half the resolution.
    """
    return Size(*(max(2, side - side % 2) for side in (size.width, size.height)))
