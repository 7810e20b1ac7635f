"""PixLab's arithmetic: from the fields through the Plan to whole pixels.

The tables follow https://pixlab.io/endpoints/crop.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.dialects.pixlab.settings import PixLabSettings
from cropmark.geometry.recipe import Encoding, Extract, Recipe
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.problems import Problem, SourceUnusable, Unprocessable
from cropmark.model.values import Box, Size
from cropmark.plan.plan import KeepMetadata, Order
from tests.dialects.pixlab_requests import image_request

IMG = "https://pics.example/a.png"
DIGEST = "ab" * 32
PIXLAB = PixLab()


def order(endpoint: str, /, **fields: object) -> Order:
    return PIXLAB.order(image_request(endpoint, img=IMG, **fields))


def made(endpoint: str, info: Info, /, **fields: object) -> Recipe:
    plan = order(endpoint, **fields).plan
    assert plan is not None
    found = resolve(plan, (info,))
    assert isinstance(found, Recipe)
    return found


def source_info(width: int, height: int, kind: Format = Format.PNG, *, frames: int = 1, lossless: bool = False) -> Info:
    return Info(kind, Size(width, height), 1000, frames=frames, lossless=lossless)


# fmt: off
CROPS = [
    # source       fields                                                result
    ((620, 388),   {"x": 164, "y": 95, "width": 145, "height": 145},     Box(164, 95, 145, 145)),
    ((620, 388),   {"x": 10, "y": 20, "width": 100},                     Box(10, 20, 100, 100)),
    ((400, 300),   {"x": 350, "y": 250, "width": 100, "height": 100},    Box(350, 250, 50, 50)),   # cut to the image
    ((400, 300),   {"x": -20, "y": 10, "width": 100, "height": 60},      Box(0, 10, 80, 60)),
    ((400, 300),   {"x": -5, "y": -5, "width": 10**30},                  Box(0, 0, 400, 300)),
]
# fmt: on


@pytest.mark.parametrize(("size", "fields", "box"), CROPS)
def test_crop_keeps(size: tuple[int, int], fields: Mapping[str, object], box: Box) -> None:
    recipe = made("crop", source_info(*size), **fields)
    assert recipe.ops == (() if box.size == Size(*size) else (Extract(box),))
    assert recipe.size == box.size


OUTSIDE = [{"x": 400, "y": 10, "width": 50}, {"x": -50, "y": 10, "width": 50}, {"x": 0, "y": 10**30, "width": 50}]


@pytest.mark.parametrize("fields", OUTSIDE)
def test_a_crop_of_nothing_is_refused(fields: Mapping[str, object]) -> None:
    with pytest.raises(Unprocessable) as caught:
        made("crop", source_info(400, 300), **fields)
    assert PIXLAB.error_response(caught.value, ImageRequest("crop")).status == 400


# fmt: off
SIZES = [
    # source       endpoint       fields                           result
    ((400, 300),   "resize",      {"width": 200},                  (200, 200)),
    ((400, 300),   "resize",      {"width": 800, "height": 100},   (800, 100)),    # enlarged, proportions ignored
    ((1000, 500),  "smartresize", {"width": 800, "height": 600},   (800, 400)),
    ((1000, 500),  "smartresize", {"width": 4000, "height": 0},    (4000, 2000)),
    ((1000, 500),  "smartresize", {"height": 100},                 (100, 50)),
    ((1000, 3),    "smartresize", {"width": 10},                   (10, 1)),
]
# fmt: on


@pytest.mark.parametrize(("size", "endpoint", "fields", "result"), SIZES)
def test_resize_gives(
    size: tuple[int, int], endpoint: str, fields: Mapping[str, object], result: tuple[int, int]
) -> None:
    assert made(endpoint, source_info(*size), **fields).size == Size(*result)


def still(kind: Format, quality: int, *, lossless: bool = False) -> Encoding:
    return Encoding(kind, quality, lossless, metadata=frozenset({KeepMetadata.ICC}))


# fmt: off
OUTPUTS = [
    # source                                          endpoint     written as                                  frames
    (source_info(40, 30, Format.JPEG),                    "resize",    still(Format.JPEG, 92),                    1),
    (source_info(40, 30, Format.PNG),                     "resize",    still(Format.PNG, 85),                     1),
    (source_info(40, 30, Format.WEBP, frames=3),          "resize",    still(Format.WEBP, 85),                    1),
    (source_info(40, 30, Format.WEBP, lossless=True),     "resize",    still(Format.WEBP, 85, lossless=True),     1),
    (source_info(40, 30, Format.AVIF),                    "resize",    still(Format.AVIF, 64),                    1),
    (source_info(40, 30, Format.TIFF),                    "resize",    still(Format.PNG, 85),                     1),
    (source_info(40, 30, Format.GIF, frames=3),           "resize",    Encoding(Format.GIF, 100, max_bytes=1000), 1),
    (source_info(40, 30, Format.GIF, frames=3),           "resizegif", Encoding(Format.GIF, 100),                   3),
    (source_info(40, 30, Format.WEBP, frames=3),          "resizegif", Encoding(Format.GIF, 100),                   3),
    (source_info(40, 30, Format.JPEG),                    "resizegif", Encoding(Format.GIF, 100),                   1),
]
# fmt: on


@pytest.mark.parametrize(("source", "endpoint", "encoding", "frames"), OUTPUTS)
def test_the_type_of_the_input_stays(source: Info, endpoint: str, encoding: Encoding, frames: int) -> None:
    recipe = made(endpoint, source, width=20)
    assert (recipe.encoding, recipe.frames) == (encoding, frames)


def test_an_image_is_encoded_again_even_if_its_pixels_do_not_change() -> None:
    # No metadata except the profile is sent.
    assert made("crop", source_info(40, 30, Format.JPEG), x=0, y=0, width=40, height=30).ops == ()


def test_an_animation_of_one_readable_frame_has_a_warning_where_all_are_requested() -> None:
    animated = replace(source_info(40, 30, Format.PNG), first_frame_only=True)
    assert made("crop", animated, x=0, y=0, width=40, height=30).warnings == ()
    assert [w.parameter for w in made("resizegif", animated, width=9).warnings] == ["animation"]


# fmt: off
TOO_LARGE = [
    # source                                                   endpoint       fields
    (source_info(16_385, 10),                                      "crop",        {"x": 0, "y": 0, "width": 5}),
    (source_info(10_001, 10_000),                                  "crop",        {"x": 0, "y": 0, "width": 5}),
    (Info(Format.PNG, Size(10, 10), 25 * 2**20 + 1),           "crop",        {"x": 0, "y": 0, "width": 5}),
    (source_info(10, 10),                                          "resize",      {"width": 10_001}),
    (source_info(10, 10),                                          "smartresize", {"width": 10_001}),
    (source_info(10, 10),                                          "resize",      {"width": 10**30}),
]
# fmt: on


@pytest.mark.parametrize(("info", "endpoint", "fields"), TOO_LARGE)
def test_too_large_is_400(info: Info, endpoint: str, fields: Mapping[str, object]) -> None:
    with pytest.raises(Problem) as caught:
        made(endpoint, info, **fields)
    assert PIXLAB.error_response(caught.value, ImageRequest(endpoint)).status == 400


def test_at_the_limits_it_still_works() -> None:
    assert made("crop", source_info(16_384, 6_000), x=0, y=0, width=16_384, height=3).size == Size(16_384, 3)
    assert made("resize", source_info(10, 10), width=10_000).size == Size(10_000, 10_000)


def test_an_operator_may_allow_less() -> None:
    plan = PixLab(PixLabSettings(max_side=100)).order(image_request("resize", img=IMG, width=3)).plan
    assert plan is not None
    assert (plan.limits.source_side, plan.limits.side) == (100, 100)


def test_of_an_animation_only_the_first_frame_counts_in_crop() -> None:
    moving = source_info(600, 400, Format.GIF, frames=200)
    assert made("crop", moving, x=1, y=2, width=3).frames == 1
    assert made("cropgif", moving, x=1, y=2, width=3).frames == 200


@pytest.mark.parametrize("kind", [Format.SVG, Format.HEIC, Format.JXL])
def test_a_type_that_is_not_read_is_415(kind: Format) -> None:
    with pytest.raises(SourceUnusable) as caught:
        made("resize", source_info(4, 3, kind), width=2)
    assert PIXLAB.error_response(caught.value, ImageRequest("resize")).status == 415


@given(x=st.integers(-900, 900), y=st.integers(-900, 900), width=st.integers(1, 900), height=st.integers(1, 900))
def test_a_crop_is_the_box_clipped_to_the_image(x: int, y: int, width: int, height: int) -> None:
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + width, 400), min(y + height, 300)
    if right <= left or bottom <= top:
        with pytest.raises(Unprocessable):
            made("crop", source_info(400, 300), x=x, y=y, width=width, height=height)
        return
    recipe = made("crop", source_info(400, 300), x=x, y=y, width=width, height=height)
    assert recipe.size == Size(right - left, bottom - top)
    assert recipe.ops in ((), (Extract(Box(left, top, right - left, bottom - top)),))
