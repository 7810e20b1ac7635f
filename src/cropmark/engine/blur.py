"""Gaussian blur and the unsharp mask made with it; pixels beyond an edge are those of the edge."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, exp, sqrt

from pyvips import GValue, Image, Interpolate

from cropmark.engine.premultiply import beside_alpha

# 256 steps a level: in 8 bits libvips' integer kernels are off by up to 5 levels, and by 2 on average.
_STEPS = 256
_REACH = 3.2  # sigmas after which the kernel ends: what lies beyond weighs 0.14 %
_ENOUGH = 4  # sigma in pixels at which a shrunk copy still shows all that the blur leaves


def blurred(frame: Image, sigma: Fraction) -> Image:
    """The 8-bit frame after a Gaussian of `sigma` px, within 1.5 levels of the exact one."""
    return _soft(frame, float(sigma)).rint().cast("uchar").copy(interpretation="srgb")


def sharpened(frame: Image, sigma: Fraction, gain: Fraction, threshold: int) -> Image:
    """The 8-bit frame with `gain` times its difference from its blur added where that is `threshold` levels or more.

    Each band by itself. Alpha weighs in the blur and stays as it was.
    """
    if gain == 0:
        return frame
    soft = _soft(frame, float(sigma))
    return beside_alpha(frame, lambda colors: _sharp(colors, soft.extract_band(0, n=3), float(gain), threshold))


def _sharp(colors: Image, soft: Image, gain: float, threshold: int) -> Image:
    mask = colors - soft
    return (mask.abs() >= threshold).ifthenelse(colors + mask * gain, colors).rint().cast("uchar")


def _soft(frame: Image, sigma: float) -> Image:
    """The blurred frame in fractions of a level, its colors weighed by alpha."""
    if not frame.hasalpha():
        return _gauss(frame.cast("ushort") << 8, sigma) / _STEPS
    return (_gauss((frame.premultiply() * _STEPS).rint().cast("ushort"), sigma) / _STEPS).unpremultiply()


def _gauss(fine: Image, sigma: float) -> Image:
    """The blur of 16-bit samples, 256ths of a level."""
    factor = int(sigma / _ENOUGH)
    return fine.convsep(_kernel(sigma), precision="integer") if factor < 2 else _by_shrinking(fine, sigma, factor)


def _by_shrinking(frame: Image, sigma: float, factor: int) -> Image:
    """The same from a copy shrunk by `factor`: a blur so wide leaves nothing finer, and costs 10 to 100 times less.

    The margin, of edge pixels, is made before shrinking: shrunk ones would be mixed with what lies behind the edge.
    Averaging and interpolating blur a little too, which is taken off the sigma that remains.
    """
    margin = ceil(_REACH * sigma / factor) * factor
    width, height = (-(-(side + 2 * margin) // factor) * factor for side in (frame.width, frame.height))
    small = frame.embed(margin, margin, width, height, extend="copy").shrink(factor, factor).copy_memory()
    rest = sqrt(sigma**2 - (factor**2 - 1) / 12 - factor**2 / 6) / factor
    center = 0.5 - 0.5 / factor
    return small.convsep(_kernel(rest), precision="integer").affine(
        [factor, 0, 0, factor],
        interpolate=Interpolate.new("bilinear"),
        idx=center,
        idy=center,
        oarea=[margin, margin, frame.width, frame.height],
        extend="copy",
        premultiplied=True,
    )


def _kernel(sigma: float) -> Image:
    """The Gaussian as one row of whole numbers. Not libvips' own, which is cut short and counts only to 20."""
    reach = max(1, ceil(_REACH * sigma))
    row = [round(1000 * exp(-(x**2) / (2 * sigma**2))) for x in range(-reach, reach + 1)]
    kernel = Image.new_from_array([row]).copy()
    kernel.set_type(GValue.gdouble_type, "scale", float(sum(row)))
    return kernel
