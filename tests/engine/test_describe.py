"""The description of an image by its pixels, and its placeholders against other implementations of the algorithms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from cropmark.engine.describe import describe
from cropmark.engine.placeholders import Rgba, blurhash, thumbhash
from cropmark.engine.profile_name import profile_name
from cropmark.engine.thumbnail import thumbnail_rgb
from cropmark.model.problems import SourceUnusable
from cropmark.model.values import Color, Size
from tests.engine.images import Array, file_of, noise, saved, slopes

ALPHA: dict[str, Callable[[int, int], int]] = {
    "opaque": lambda x, y: 255,
    "uneven": lambda x, y: (x * x * 7 + y * 13) % 256,
    "clear": lambda x, y: 0,
}


def rgba(array: Array, alpha: str) -> list[Rgba]:
    height, width = array.shape[:2]
    red, green, blue = (array[:, :, band].flatten().tolist() for band in range(3))
    opacity = [ALPHA[alpha](x, y) for y in range(height) for x in range(width)]
    return list(zip(red, green, blue, opacity, strict=True))


# Computed by the packages blurhash 1.1.5 and thumbhash-python 1.0.1, from the same pixels.
VECTORS = [
    # width, height, alpha, BlurHash, ThumbHash in hex
    (32, 20, "opaque", "LbGS7N2*xES|qJWFjGjIbXj[ahbG", "1f080a0490818787808777878777fc700df887"),
    (18, 32, "opaque", "TbGIlw2*o0l?e?a}bqbHjZsCX7kC", "df070a041070067877888788777789500ef778"),
    (24, 24, "opaque", "LaGIlv2*sCXRqJWFjraibqfkj]bF", "df070a0710817787708888877878878778777718f3807f07"),
    (30, 20, "uneven", "LaGIo%2koef*qJWFahayXMofa{f8", "20f88503881880888088885c621ff7788787701667a5b7"),
    (16, 30, "uneven", "TaGS4H2*s9l?a$jYkSWCkCsqWCn+", "e007860308078080887879fe5806e887543468751202a5"),
    (12, 12, "clear", "LcGSDZ33s+xty_RljKV[nik9ayjX", "00088205000000000000000000000000000000000000000000"),
    (5, 1, "opaque", "L~G=n}FFj=#?}cFFj=#?}cFFj=#?", "97972e19a88677888888087968875f8908"),
]


@pytest.mark.parametrize(("width", "height", "alpha", "blur", "thumb"), VECTORS)
def test_placeholders_are_those_of_other_implementations(
    width: int, height: int, alpha: str, blur: str, thumb: str
) -> None:
    # Noise: a coefficient of a plain slope is exactly between two levels, and those packages round halves to even.
    array = (slopes(width, height) * 0.6 + noise(width, height) * 0.4).astype(np.uint8)
    pixels = rgba(array, alpha)
    assert blurhash(pixels, width) == blur
    assert thumbhash(pixels, width).hex() == thumb


def test_a_plain_image_has_one_color() -> None:
    look = describe(file_of(np.full((50, 80, 3), (200, 40, 10), np.uint8)))
    assert look.palette == (Color(200, 40, 10),)
    assert (look.icc, look.info.size) == (None, Size(80, 50))
    placeholder = Pillow.open(BytesIO(look.placeholder))
    assert (placeholder.format, placeholder.size) == ("WEBP", (16, 10))
    assert len(look.placeholder) < 200


def test_the_color_of_the_largest_area_is_first() -> None:
    array = np.zeros((40, 100, 3), np.uint8)
    array[:, :60] = (0, 0, 250)
    array[:, 60:90] = (250, 250, 0)
    assert describe(file_of(array)).palette[:2] == (Color(0, 0, 250), Color(250, 250, 0))


def test_transparent_pixels_have_no_color() -> None:
    look = describe(saved(Pillow.new("RGBA", (20, 20), (255, 0, 0, 0)), "PNG"))
    assert look.palette == ()
    assert look.info.alpha


def striped(hidden: tuple[int, int, int], side: int) -> bytes:
    """Opaque red and transparent stripes, with this color under the transparent pixels."""
    array = np.full((side, side, 4), (250, 10, 10, 255), np.uint8)
    array[:, 1::3] = (*hidden, 0)
    return file_of(array, "PNG")


@pytest.mark.parametrize("side", [30, 200])  # the placeholder is scaled down again
def test_colors_under_transparent_pixels_are_not_seen(side: int) -> None:
    look, other = (describe(striped(hidden, side)) for hidden in ((0, 255, 0), (0, 0, 90)))
    assert look.palette == (Color(250, 10, 10),)
    assert replace(look, info=other.info) == other
    assert thumbnail_rgb(striped((0, 255, 0), side), 16) == thumbnail_rgb(striped((0, 0, 90), side), 16)


def test_the_image_is_upright() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    turned = saved(Pillow.fromarray(slopes(60, 40)), "JPEG", exif=exif)
    placeholder = Pillow.open(BytesIO(describe(turned).placeholder))
    assert placeholder.height > placeholder.width


def test_the_name_of_a_profile() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert describe(saved(Pillow.new("RGB", (9, 9)), "JPEG", icc_profile=profile)).icc == "sRGB built-in"


@pytest.mark.parametrize("profile", [b"", b"x" * 131, bytes(128) + b"\0\0\0\1desc", bytes(128) + b"\xff" * 400])
def test_a_malformed_profile_has_no_name(profile: bytes) -> None:
    assert profile_name(profile) == ""


def test_what_is_no_image_is_a_problem() -> None:
    with pytest.raises(SourceUnusable):
        describe(b"not an image")
