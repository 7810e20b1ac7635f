from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cropmark.geometry.h264 import LEVELS, even_size, sufficient_level
from cropmark.geometry.recipe import Background, Extract, Recipe, Scale
from cropmark.geometry.resolve import resolve
from cropmark.model.extras import VIDEO
from cropmark.model.formats import TRAITS, Colors, Format, Info
from cropmark.model.values import Box, Size
from cropmark.plan.plan import EncodingChoice, H264Profile, KeepMetadata, Output, Plan, Video
from cropmark.plan.steps import AnyStep, Resize
from tests.builders import px
from tests.requirements import require

# fmt: off
SUFFICIENT = [
    # size, level, ms            level
    (Size(320, 240),   None, 40, 30),  # the default, also if less would do
    (Size(720, 576),   None, 40, 30),  # table A-1: 1620 blocks, 25 times a second
    (Size(720, 576),   None, 33, 31),
    (Size(720, 592),   None, 40, 31),
    (Size(1280, 720),  None, 34, 31),
    (Size(1920, 1080), None, 34, 40),
    (Size(1920, 1080), 42,   34, 42),
    (Size(176, 144),   10,   67, 10),
    (Size(176, 144),   10,   66, 11),
    (Size(192, 144),   10,   67, 11),
    (Size(16, 2000),   10,  900, 31),  # 125 blocks in a column: up to level 3.0, at most 113 are permitted
    (Size(4096, 2304), 30,   38, 51),
    (Size(8192, 8192), 30,   20, 62),  # more than H.264 permits
]

EVEN = [
    (Size(100, 74), Size(100, 74)),
    (Size(101, 75), Size(100, 74)),
    (Size(1, 75),   Size(2, 74)),
    (Size(2, 1),    Size(2, 2)),
]
# fmt: on


@pytest.mark.parametrize(("size", "level", "shortest_ms", "expected"), SUFFICIENT)
def test_the_level_of_a_video(size: Size, level: int | None, shortest_ms: int, expected: int) -> None:
    assert sufficient_level(size, level, shortest_ms) == expected


def test_each_level_is_sufficient_for_a_small_slow_video() -> None:
    assert [sufficient_level(Size(16, 16), level, 1000) for level in LEVELS] == list(LEVELS)


@pytest.mark.parametrize(("size", "expected"), EVEN)
def test_even_sides(size: Size, expected: Size) -> None:
    assert even_size(size) == expected


# ------------------------------------------------------------------------------------------ resolve()

MP4 = EncodingChoice(Format.MP4, warning_if_skipped="mp4 was skipped")
needs_extra = require("the extra `video`", VIDEO.package is not None)


def film(width: int, height: int, *, frames: int = 5, alpha: bool = False) -> Info:
    return Info(Format.GIF, Size(width, height), 9999, frames=frames, alpha=alpha, lossless=True)


def recipe_of(info: Info, *steps: AnyStep, choice: EncodingChoice = MP4, **options: Any) -> Recipe:
    resolved = resolve(Plan(steps, Output((choice,), **options)), [info])
    assert isinstance(resolved, Recipe)
    return resolved


def warned(recipe: Recipe) -> list[str]:
    return [warning.parameter for warning in recipe.warnings]


# fmt: off
SIZES = [
    # source, width               ops                                                        size
    (film(100, 76), None,         [],                                                        Size(100, 76)),
    (film(101, 75), None,         [Extract(Box(0, 0, 100, 74))],                             Size(100, 74)),
    (film(101, 75), 51,           [Scale(Size(51, 38)), Extract(Box(0, 0, 50, 38))],         Size(50, 38)),
    (film(1, 75),   None,         [Scale(Size(2, 74))],                                      Size(2, 74)),
    (film(101, 75), 1,            [Scale(Size(2, 2))],                                       Size(2, 2)),
]
# fmt: on


@needs_extra
@pytest.mark.parametrize(("info", "width", "ops", "size"), SIZES)
def test_the_frames_of_a_video_have_even_sides(info: Info, width: int | None, ops: list[object], size: Size) -> None:
    recipe = recipe_of(info, *(() if width is None else (Resize(px(width), None),)))
    assert (list(recipe.ops), recipe.size, recipe.frames) == (ops, size, 5)
    assert warned(recipe) == (["format"] if Extract in map(type, ops) or 2 in (size.width, size.height) else [])


@needs_extra
def test_transparency_becomes_white() -> None:
    (op,) = recipe_of(film(64, 64, alpha=True)).ops
    assert isinstance(op, Background)
    assert op.color.opaque


@needs_extra
def test_a_still_is_no_video() -> None:
    for info, first_frame in ((film(64, 64, frames=1), False), (film(64, 64), True)):
        recipe = recipe_of(info, Resize(px(32), None), first_frame=first_frame)
        assert (recipe.encoding.format, recipe.encoding.video, warned(recipe)) == (Format.GIF, None, ["format"])


@needs_extra
def test_a_video_has_no_profile_of_colors() -> None:
    encoding = recipe_of(film(64, 64), metadata=frozenset({KeepMetadata.ICC}), colors=Colors.KEEP).encoding
    assert (encoding.metadata, encoding.colors) == (frozenset(), Colors.SRGB)


@needs_extra
def test_a_level_that_is_too_low_for_the_size_is_a_warning() -> None:
    for video, expected in ((Video(), []), (Video(H264Profile.HIGH, 30), ["level"]), (Video(level=31), [])):
        recipe = recipe_of(film(1280, 720), choice=EncodingChoice(Format.MP4, video=video))
        assert recipe.encoding.video == video
        assert warned(recipe) == expected


def test_without_the_extra_the_choice_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRAITS, Format.MP4, replace(TRAITS[Format.MP4], writable=False))
    recipe = recipe_of(film(64, 64), Resize(px(32), None))
    assert (recipe.encoding.format, warned(recipe)) == (Format.GIF, ["format"])
