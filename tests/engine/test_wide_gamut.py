"""Results with colors outside sRGB, checked with Pillow and LittleCMS."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageCms

from cropmark.engine import load, render, wide_gamut
from cropmark.model.extras import INSTALLED
from cropmark.model.formats import Colors, Format
from cropmark.model.values import Color
from cropmark.plan.plan import EncodingChoice, KeepMetadata, Output, Plan
from cropmark.plan.steps import AnyStep, Edges, Flatten, Overlay, Pad, Resize
from cropmark.ports import Rendered
from tests.browser import CHROMIUM, chromium
from tests.builders import px
from tests.engine.avif_files import avif_of, flat_stream, nclx, ramp_stream
from tests.engine.images import (
    Array,
    file_of,
    gray_profile,
    grb_profile,
    noise,
    off_by,
    p3_profile,
    saved,
    seen,
    slopes,
    srgb_profile,
)
from tests.engine.test_color_tags import cicp
from tests.hostile.raw import idat, ihdr, png
from tests.requirements import require

RED = np.full((16, 16, 3), (255, 0, 0), np.uint8)
SRGB_RED_IN_P3 = (234, 51, 35)
"""Source: https://www.w3.org/TR/css-color-4/#predefined-display-p3, red of sRGB in display-p3: 0.917 0.200 0.139"""
FORMATS = [Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, *([Format.JXL] if "jxl" in INSTALLED else [])]
P3_RED = file_of(RED, icc_profile=p3_profile())
HDR = avif_of(ramp_stream(), nclx(9, 16))


def rendered(*sources: bytes, colors: Colors = Colors.P3, steps: tuple[AnyStep, ...] = (), **choice: Any) -> bytes:
    """The result of the steps in PNG, unless the choice has another format."""
    metadata = choice.pop("metadata", frozenset())
    output = Output((EncodingChoice(**{"format": Format.PNG, "quality": 100, **choice}),), metadata, colors)
    outcome = render.render(sources, Plan(steps, output))
    assert isinstance(outcome, Rendered), outcome
    return outcome.body


def profile_in(body: bytes) -> bytes | None:
    frame = load.decode(body, load.info_of(body)).frames[0]
    return bytes(frame.get("icc-profile-data")) if frame.get_typeof("icc-profile-data") else None


def in_p3(body: bytes) -> Array:
    """The colors of a file in Display P3, by its profile or sRGB, converted by LittleCMS."""
    image = Pillow.open(BytesIO(body)).convert("RGB")
    own = ImageCms.ImageCmsProfile(BytesIO(image.info.get("icc_profile") or srgb_profile()))
    target = ImageCms.ImageCmsProfile(BytesIO(p3_profile()))
    return np.asarray(ImageCms.profileToProfile(image, own, target, ImageCms.Intent.RELATIVE_COLORIMETRIC))


@pytest.mark.parametrize("kind", FORMATS)
def test_p3_stays_p3_in_every_format_with_profiles(kind: Format) -> None:
    body = rendered(P3_RED, format=kind)
    profile = profile_in(body)
    assert profile is not None
    assert len(profile) == 480
    described: Any = ImageCms.ImageCmsProfile(BytesIO(profile)).profile
    assert np.allclose(described.red_colorant[0], (0.51512, 0.24120, -0.00105), atol=0.0012)
    assert np.allclose(described.green_colorant[0], (0.29198, 0.69225, 0.04189), atol=0.0012)
    if kind is not Format.JXL:  # Pillow does not read it
        assert off_by(in_p3(body), RED) <= 4


def test_by_default_and_as_gif_it_becomes_srgb() -> None:
    srgb, gif = rendered(P3_RED, colors=Colors.SRGB), rendered(P3_RED, format=Format.GIF)
    assert profile_in(srgb) is profile_in(gif) is None
    assert seen(srgb)[8, 8].tolist() == [255, 0, 0]
    assert seen(gif, "RGB")[8, 8].tolist() == [255, 0, 0]
    assert off_by(in_p3(srgb), np.full_like(RED, SRGB_RED_IN_P3)) <= 2


DEEP_P3 = png(ihdr(1, 1, 16), cicp(12, 13), idat(b"\0" + b"".join(bytes((v, v)) for v in (255, 0, 0))))
# fmt: off
KEPT = {
    # the file, and its color in both
    "P3":                (P3_RED,                                           (255, 0, 0),     (255, 0, 0)),
    "P3 of 16 bits":     (DEEP_P3,                                          (255, 0, 4),     (255, 0, 0)),
    "P3 by nclx":        (avif_of(flat_stream(200, 100, 50), nclx(12, 13)), (200, 100, 50),  (200, 100, 50)),
    "BT.2020 by nclx":   (avif_of(flat_stream(200, 100, 50), nclx(9, 13)),  (223, 89, 50),   (200, 100, 50)),
    "sRGB":              (file_of(RED, icc_profile=srgb_profile()),         None,            None),
    "sRGB, swapped":     (file_of(RED, icc_profile=grb_profile()),          None,            None),
    "untagged":          (file_of(RED),                                     None,            None),
    "gray":              (file_of(RED[:, :, :1], icc_profile=gray_profile(1.8)), None,       None),
    "ink":               (saved(Pillow.new("CMYK", (8, 8)), "JPEG"),        None,            None),
    "broken":            (file_of(RED, icc_profile=b"not a profile" * 40),  None,            None),
}
# fmt: on


@pytest.mark.parametrize("name", KEPT)
def test_a_source_with_colors_outside_srgb_keeps_them(name: str) -> None:
    source, p3, keep = KEPT[name]
    for colors, expected in ((Colors.P3, p3), (Colors.KEEP, keep)):
        body = rendered(source, colors=colors)
        if expected is None:
            assert body == rendered(source, colors=Colors.SRGB)
        else:
            found = seen(body)[0, 0, :3].astype(int)
            assert np.abs(found - expected).max() <= 1, found
            assert profile_in(body) is not None


def test_keep_writes_the_profile_of_the_source() -> None:
    assert profile_in(rendered(P3_RED, colors=Colors.KEEP)) == p3_profile()


def test_a_kept_profile_of_more_than_a_mebibyte_becomes_p3() -> None:
    profile = p3_profile() + bytes(2**20)
    long = len(profile).to_bytes(4, "big") + profile[4:]
    assert profile_in(rendered(file_of(RED, icc_profile=long), colors=Colors.KEEP)) == wide_gamut.p3_profile()


def test_an_upload_that_keeps_its_profile_is_not_converted() -> None:
    body = rendered(P3_RED, colors=Colors.SRGB, metadata=frozenset({KeepMetadata.ICC}))
    assert (
        profile_in(body)
        == profile_in(rendered(P3_RED, colors=Colors.P3, metadata=frozenset({KeepMetadata.ICC})))
        == p3_profile()
    )


@pytest.mark.parametrize("colors", [Colors.P3, Colors.KEEP])
def test_hdr_becomes_p3(colors: Colors) -> None:
    """Grays look the same in both."""
    body, plain = rendered(HDR, colors=colors), rendered(HDR, colors=Colors.SRGB)
    assert profile_in(body) == wide_gamut.p3_profile()
    assert off_by(seen(body)[:, :, :3], seen(plain)[:, :, :3]) <= 1


@pytest.mark.parametrize("colors", [Colors.P3, Colors.KEEP])
def test_drawn_colors_and_overlays_are_converted(colors: Colors) -> None:
    """Red of sRGB around, under and over the image looks like red of sRGB."""
    four = (px(4),) * 4
    red = Color(255, 0, 0)
    steps = (Overlay(1), Pad(Edges(*four), red), Flatten(red))
    clear = np.zeros((16, 16, 4), np.uint8)
    found = seen(rendered(file_of(clear, icc_profile=p3_profile()), file_of(RED[:4, :4]), colors=colors, steps=steps))
    for place in ((0, 0), (6, 6), (12, 12)):
        assert np.abs(found[place][:3].astype(int) - SRGB_RED_IN_P3).max() <= 1, place


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_the_colors_of_a_photograph_agree_with_littlecms(mode: str) -> None:
    photo = slopes(64, 48) if mode == "RGB" else np.dstack([slopes(64, 48), noise(64, 48, 1)])
    source = file_of(photo, icc_profile=p3_profile())
    steps = (Resize(px(32), px(24)),)
    wide, own = (rendered(source, colors=colors, steps=steps) for colors in (Colors.P3, Colors.KEEP))
    assert off_by(in_p3(wide), in_p3(own)) <= 2
    assert Pillow.open(BytesIO(wide)).mode == mode


def test_a_small_palette_keeps_its_profile() -> None:
    small = Pillow.fromarray(noise(12, 12)).quantize(8)
    body = rendered(saved(small, "PNG", icc_profile=p3_profile()))
    assert profile_in(body) == wide_gamut.p3_profile()


@require("chromium", CHROMIUM is not None)
def test_a_browser_shows_the_difference() -> None:
    """CSS pixels in Display P3: full red with the setting, the red of sRGB without it."""
    kinds = [kind for kind in FORMATS if kind is not Format.JXL]
    images = {
        f"{kind.value} {colors.value}": (kind, rendered(P3_RED, colors=colors, format=kind))
        for kind in kinds
        for colors in Colors
    }
    urls = {name: f"data:image/{kind.value};base64,{b64encode(body).decode()}" for name, (kind, body) in images.items()}
    with chromium() as browser:
        shown = browser.new_page().evaluate(_SHOWN_IN_P3, urls)
    for name, pixel in shown.items():
        expected = SRGB_RED_IN_P3 if name.endswith(" srgb") else (255, 0, 0)
        assert np.abs(np.array(pixel) - expected).max() <= 5, (name, pixel)


_SHOWN_IN_P3 = """async (urls) => {
  const shown = {};
  for (const [name, url] of Object.entries(urls)) {
    const image = new Image();
    image.src = url;
    await image.decode();
    const context = new OffscreenCanvas(16, 16).getContext('2d', {colorSpace: 'display-p3'});
    context.drawImage(image, 0, 0);
    shown[name] = [...context.getImageData(8, 8, 1, 1, {colorSpace: 'display-p3'}).data].slice(0, 3);
  }
  return shown;
}"""
