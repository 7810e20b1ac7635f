"""ICC profiles for declared colors, read by another library."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import ImageCms

from cropmark.engine.color_profile import rgb_profile
from cropmark.engine.color_tags import PRIMARIES, SRGB, Curve, SdrColors
from cropmark.engine.colorimetry import Primaries

# fmt: off
COLORANTS = {
    # code point   red                       green                     blue, each as XYZ under D50
    1:           ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)),  # the ICC's sRGB
    9:           ((0.6734, 0.2790, -0.002), (0.1657, 0.6753, 0.0300), (0.1251, 0.0456, 0.7968)),
    12:          ((0.5151, 0.2412, -0.001), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841)),  # Apple's Display P3
}
# fmt: on


@pytest.mark.parametrize("code", COLORANTS)
def test_the_colorants_are_those_of_published_profiles(code: int) -> None:
    profile = ImageCms.getOpenProfile(BytesIO(rgb_profile(SdrColors(PRIMARIES[code], Curve(2.2))))).profile
    found = (profile.red_colorant, profile.green_colorant, profile.blue_colorant)
    for colorant, expected in zip(found, COLORANTS[code], strict=True):
        assert colorant is not None
        assert colorant[0] == pytest.approx(expected, abs=0.0006)


@pytest.mark.parametrize("code", PRIMARIES)
def test_the_colorants_add_up_to_white(code: int) -> None:
    profile = ImageCms.getOpenProfile(BytesIO(rgb_profile(SdrColors(PRIMARIES[code], SRGB.curve)))).profile
    assert profile.xcolor_space == "RGB "
    colorants = [each for each in (profile.red_colorant, profile.green_colorant, profile.blue_colorant) if each]
    white = [sum(part) for part in zip(*(xyz for xyz, _ in colorants), strict=True)]
    assert white == pytest.approx((0.9642, 1.0, 0.8249), abs=0.0005)


def test_primaries_that_enclose_no_white_are_rejected() -> None:
    line = Primaries((0.6, 0.3), (0.3, 0.6), (0.45, 0.45), (0.3127, 0.3290))
    with pytest.raises(ValueError, match="no inverse"):
        rgb_profile(SdrColors(line, Curve(2.2)))
