"""Matrices that convert between CIE XYZ and RGB with given primaries.

Source: http://www.brucelindbloom.com/index.html?Eqn_RGB_XYZ_Matrix.html and Eqn_ChromAdapt.html on the same site.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Chromaticity = tuple[float, float]
Vector = Sequence[float]
Matrix = tuple[Vector, Vector, Vector]
"""A matrix as three rows."""

D50: Final = (0.9642, 1.0, 0.8249)
"""The white of ICC profiles."""
_BRADFORD: Final[Matrix] = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))


@dataclass(frozen=True, slots=True)
class Primaries:
    """The CIE xy chromaticities of full red, green and blue, and of white."""

    red: Chromaticity
    green: Chromaticity
    blue: Chromaticity
    white: Chromaticity


def rgb_to_xyz(primaries: Primaries) -> Matrix:
    """The matrix that converts linear RGB with these primaries to XYZ. White has Y = 1.

    Raises ValueError if white is outside the triangle of the primaries.
    """
    unscaled = transposed((_xyz(primaries.red), _xyz(primaries.green), _xyz(primaries.blue)))
    lights = applied(inverse(unscaled), white_xyz(primaries))
    if min(lights) <= 0:
        raise ValueError("white is outside the triangle of the primaries")
    first, second, third = (_scaled(row, lights) for row in unscaled)
    return first, second, third


def white_xyz(primaries: Primaries) -> Vector:
    """The XYZ values of white, scaled to Y = 1. Raises ValueError if the chromaticity y of white is 0 or negative."""
    x, y = primaries.white
    if y <= 0:
        raise ValueError("white has no light")
    return x / y, 1.0, (1 - x - y) / y


def adaptation(white: Vector, target: Vector) -> Matrix:
    """The Bradford matrix, which adapts XYZ colors from the white point `white` to the white point `target`."""
    ratios = [to / of for of, to in zip(applied(_BRADFORD, white), applied(_BRADFORD, target), strict=True)]
    first, second, third = (_scaled(row, (ratio,) * 3) for row, ratio in zip(_BRADFORD, ratios, strict=True))
    return multiplied(inverse(_BRADFORD), (first, second, third))


def multiplied(left: Matrix, right: Matrix) -> Matrix:
    columns = transposed(right)
    first, second, third = (tuple(_dot(row, column) for column in columns) for row in left)
    return first, second, third


def applied(matrix: Matrix, vector: Vector) -> Vector:
    return tuple(_dot(row, vector) for row in matrix)


def transposed(matrix: Matrix) -> Matrix:
    first, second, third = zip(*matrix, strict=True)
    return first, second, third


def inverse(matrix: Matrix) -> Matrix:
    """The inverse of the matrix. Raises ValueError if it has none."""
    a, b, c = matrix
    cofactors = (_cross(b, c), _cross(c, a), _cross(a, b))
    determinant = _dot(a, cofactors[0])
    if abs(determinant) < 1e-9:
        raise ValueError("the matrix has no inverse")
    first, second, third = (_scaled(row, (1 / determinant,) * 3) for row in transposed(cofactors))
    return first, second, third


def _xyz(point: Chromaticity) -> Vector:
    x, y = point
    return x, y, 1 - x - y


def _scaled(row: Vector, factors: Vector) -> Vector:
    return tuple(part * factor for part, factor in zip(row, factors, strict=True))


def _dot(left: Vector, right: Vector) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def _cross(left: Vector, right: Vector) -> Vector:
    (a, b, c), (d, e, f) = left, right
    return b * f - c * e, c * d - a * f, a * e - b * d
