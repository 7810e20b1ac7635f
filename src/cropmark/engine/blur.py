"""Gaussian blur and unsharp mask. Both repeat the edge pixels of the frame beyond its edges."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, exp, sqrt

from pyvips import GValue, Image, Interpolate

from cropmark.engine.premultiply import on_colors

# 256 sublevels per level: in 8 bits libvips' integer kernels are off by up to 5 levels, 2 on average.
_SUBLEVELS = 256
_RADIUS_SIGMAS = 3.2  # kernel radius in sigmas; the weights beyond it sum to 0.14 %
_SHRUNK_SIGMA = 4  # sigma in pixels of a shrunk copy that still holds all detail that the blur leaves


def gaussian_blur(frame: Image, sigma: Fraction) -> Image:
    """The 8-bit frame after a Gaussian blur of `sigma` px, within 1.5 levels of the exact result."""
    return _blurred_levels(frame, float(sigma)).rint().cast("uchar").copy(interpretation="srgb")


def unsharp_mask(frame: Image, sigma: Fraction, gain: Fraction, threshold: int) -> Image:
    """The sharpened frame: the 8-bit frame plus `gain` times its difference from a blurred copy.

    A sample does not change if it differs from the blurred sample by less than `threshold` levels. Each band is
    sharpened independently. The blur is weighted by alpha. Alpha does not change.
    """
    if gain == 0:
        return frame
    soft = _blurred_levels(frame, float(sigma))
    return on_colors(frame, lambda colors: _add_mask(colors, soft.extract_band(0, n=3), float(gain), threshold))


def _add_mask(colors: Image, soft: Image, gain: float, threshold: int) -> Image:
    mask = colors - soft
    return (mask.abs() >= threshold).ifthenelse(colors + mask * gain, colors).rint().cast("uchar")


def _blurred_levels(frame: Image, sigma: float) -> Image:
    """The blurred frame with levels that are not rounded. Colors are weighted by alpha."""
    if not frame.hasalpha():
        return _convolve(frame.cast("ushort") << 8, sigma) / _SUBLEVELS
    return (_convolve((frame.premultiply() * _SUBLEVELS).rint().cast("ushort"), sigma) / _SUBLEVELS).unpremultiply()


def _convolve(fine: Image, sigma: float) -> Image:
    """The blurred frame. Samples before and after are 16-bit integers in units of 1/256 level."""
    factor = int(sigma / _SHRUNK_SIGMA)
    return fine.convsep(_kernel(sigma), precision="integer") if factor < 2 else _blur_shrunk(fine, sigma, factor)


def _blur_shrunk(frame: Image, sigma: float, factor: int) -> Image:
    """The blurred frame, computed on a copy that is shrunk by `factor`. This takes 10 to 100 times less time.

    A wide blur leaves no fine detail that the copy lacks. Edge pixels are repeated before the frame is shrunk, because
    pixels of the copy would average across the edge. Shrinking and enlarging blur a little too, so the sigma is
    reduced.
    """
    margin = ceil(_RADIUS_SIGMAS * sigma / factor) * factor
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
    """The Gaussian kernel as one row of integers, with 1000 as the largest.

    libvips' own kernel is less exact: it is truncated earlier, and its largest weight is 20.
    """
    reach = max(1, ceil(_RADIUS_SIGMAS * sigma))
    row = [round(1000 * exp(-(x**2) / (2 * sigma**2))) for x in range(-reach, reach + 1)]
    kernel = Image.new_from_array([row]).copy()
    kernel.set_type(GValue.gdouble_type, "scale", float(sum(row)))
    return kernel
