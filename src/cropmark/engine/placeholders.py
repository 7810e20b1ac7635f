"""Computes BlurHash and ThumbHash, from which a web page draws a blurred preview.

A BlurHash is a short text, and a ThumbHash has up to 25 bytes.

Sources: https://github.com/woltapp/blurhash/blob/master/Algorithm.md and https://evanw.github.io/thumbhash/
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from math import copysign, cos, floor, pi
from typing import Final

Rgba = tuple[int, int, int, int]

_BASE83: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
_OPAQUE_COMPONENTS, _ALPHA_COMPONENTS = 7, 5


# ---------------------------------------------------------------------------------------------- BlurHash


def blurhash(pixels: Sequence[Rgba], width: int) -> str:
    """The BlurHash of an image, which is given as its pixels row by row. Alpha is ignored.

    The BlurHash has 4 components along the longer side of the image, and 3 along the shorter side.
    """
    height = len(pixels) // width
    across, down = (4, 3) if width >= height else (3, 4)
    linear = [(_linear(red), _linear(green), _linear(blue)) for red, green, blue, _ in pixels]
    average, *others = (_component(linear, width, height, i, j) for j in range(down) for i in range(across))
    largest = max(abs(part) for part in chain.from_iterable(others))
    quantized = max(0, min(82, floor(largest * 166 - 0.5)))
    red, green, blue = (_srgb(part) for part in average)
    numbers = [((across - 1) + (down - 1) * 9, 1), (quantized, 1), ((red << 16) + (green << 8) + blue, 4)]
    numbers += [(_quantized(component, (quantized + 1) / 166), 2) for component in others]
    return "".join(_base83(value, length) for value, length in numbers)


def _component(linear: list[tuple[float, float, float]], width: int, height: int, i: int, j: int) -> list[float]:
    """One component of the BlurHash: the mean color, weighted by a cosine.

    The cosine has i half waves across and j half waves down.
    """
    weights = [cos(pi * j * y / height) * cos(pi * i * x / width) for y in range(height) for x in range(width)]
    scale = (1 if i == j == 0 else 2) / (width * height)
    return [scale * sum(w * color[n] for w, color in zip(weights, linear, strict=True)) for n in range(3)]


def _quantized(component: Sequence[float], largest: float) -> int:
    red, green, blue = (
        max(0, min(18, floor(copysign(abs(part / largest) ** 0.5, part) * 9 + 9.5))) for part in component
    )
    return (red * 19 + green) * 19 + blue


@lru_cache(256)
def _linear(level: int) -> float:
    share = level / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def _srgb(linear: float) -> int:
    share = max(0.0, min(1.0, linear))
    encoded = share * 12.92 if share <= 0.0031308 else 1.055 * share ** (1 / 2.4) - 0.055
    return int(encoded * 255 + 0.5)


def _base83(value: int, length: int) -> str:
    return "".join(_BASE83[value // 83**place % 83] for place in reversed(range(length)))


# ---------------------------------------------------------------------------------------------- ThumbHash


@dataclass(frozen=True, slots=True)
class _Channel:
    """A channel of a ThumbHash: its average, and its waves.

    `scale` is the largest amplitude of a wave. `waves` has the amplitudes, mapped so that -scale becomes 0, and scale
    becomes 1.
    """

    average: float
    scale: float
    waves: tuple[float, ...]


def thumbhash(pixels: Sequence[Rgba], width: int) -> bytes:
    """The ThumbHash of an image of at most 100 x 100 px, given as its pixels row by row."""
    height, longer = len(pixels) // width, max(width, len(pixels) // width)
    opacity = sum(alpha for *_, alpha in pixels) / 255
    has_alpha = opacity < len(pixels)
    limit = _ALPHA_COMPONENTS if has_alpha else _OPAQUE_COMPONENTS
    across, down = (max(1, _rounded(limit * side / longer)) for side in (width, height))
    light, yellow, red, alpha = zip(*_lpqa(pixels, opacity), strict=True)
    l_channel = _channel(light, width, height, max(3, across), max(3, down))
    p_channel, q_channel = (_channel(values, width, height, 3, 3) for values in (yellow, red))
    is_landscape = width > height
    head = _rounded(63 * l_channel.average) | _rounded(31.5 + 31.5 * p_channel.average) << 6
    head |= _rounded(31.5 + 31.5 * q_channel.average) << 12 | _rounded(31 * l_channel.scale) << 18 | has_alpha << 23
    more = (down if is_landscape else across) | _rounded(63 * p_channel.scale) << 3
    more |= _rounded(63 * q_channel.scale) << 9 | is_landscape << 15
    parts = head.to_bytes(3, "little") + more.to_bytes(2, "little")
    waves = [*l_channel.waves, *p_channel.waves, *q_channel.waves]
    if has_alpha:
        a_channel = _channel(alpha, width, height, 5, 5)
        parts += bytes([_rounded(15 * a_channel.average) | _rounded(15 * a_channel.scale) << 4])
        waves += a_channel.waves
    return parts + _nibbles(waves)


def _lpqa(pixels: Sequence[Rgba], opacity: float) -> Iterator[tuple[float, float, float, float]]:
    """Yields the four channels of each pixel: lightness, yellow minus blue, red minus green, and alpha.

    Transparent pixels are drawn over the average color.
    """
    average = [sum(pixel[n] * pixel[3] for pixel in pixels) / 255 / 255 / (opacity or 1) for n in range(3)]
    for pixel in pixels:
        alpha = pixel[3] / 255
        red, green, blue = (average[n] * (1 - alpha) + alpha / 255 * pixel[n] for n in range(3))
        yield (red + green + blue) / 3, (red + green) / 2 - blue, red - green, alpha


def _channel(values: Sequence[float], width: int, height: int, across: int, down: int) -> _Channel:
    """The average and the waves of a channel, by a cosine transform.

    `across` and `down` limit the frequencies. Waves with high frequencies along both axes are left out.
    """
    columns = [[cos(pi / width * cx * (x + 0.5)) for x in range(width)] for cx in range(across)]
    rows = [[cos(pi / height * cy * (y + 0.5)) for y in range(height)] for cy in range(down)]
    waves = [
        sum(
            fy * sum(value * fx for value, fx in zip(values[y * width : (y + 1) * width], columns[cx], strict=True))
            for y, fy in enumerate(rows[cy])
        )
        / (width * height)
        for cy in range(down)
        for cx in range(across)
        if cx * down < across * (down - cy)
    ]
    average, *others = waves
    scale = max(map(abs, others))
    return _Channel(average, scale, tuple(0.5 + 0.5 / scale * wave if scale else wave for wave in others))


def _nibbles(waves: Sequence[float]) -> bytes:
    """The waves packed into four bits each. Of two waves in a byte, the first is in the lower half."""
    levels = [_rounded(15 * wave) for wave in waves]
    levels += [0] * (len(levels) % 2)
    return bytes(low | high << 4 for low, high in zip(levels[::2], levels[1::2], strict=True))


def _rounded(number: float) -> int:
    # Not round(), which rounds halves to even numbers: the reference is JavaScript's Math.round.
    return floor(number + 0.5)
