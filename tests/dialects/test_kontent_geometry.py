"""Kontent.ai's worked examples, from the query through the Plan to whole pixels.

The expected numbers are worked out by hand from https://kontent.ai/learn/docs/apis/image-transformation-api.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.geometry.recipe import Encoding, Extract, OriginalBytes, Reason, Recipe, Scale
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import Format, Info
from cropmark.model.values import Size
from cropmark.plan.source import SitePath

CHROME = "image/avif,image/webp,image/apng,*/*;q=0.8"
CROPPED = "fit=crop&crop=focalpoint"
LOSSLESS = frozenset({Format.PNG, Format.GIF})


def source_info(
    width: int, height: int, kind: Format = Format.JPEG, *, frames: int = 1, progressive: bool = False, **flags: bool
) -> Info:
    lossless = flags.get("lossless", kind in LOSSLESS)
    alpha = flags.get("alpha", False)
    info = Info(kind, Size(width, height), 1000, frames=frames, alpha=alpha, lossless=lossless, progressive=progressive)
    return replace(info, palette=flags.get("palette", False))


def answer(query: str, info: Info, accept: str = "") -> Recipe | OriginalBytes:
    order = Kontent().order(ImageRequest("a", query, {"accept": accept}))
    assert [wanted.ref for wanted in order.sources] == [SitePath("a")]
    if order.plan is None:
        return OriginalBytes(Reason.REQUESTED)
    found = resolve(order.plan, (info,))
    assert isinstance(found, Recipe | OriginalBytes)
    return found


@dataclass(frozen=True, slots=True)
class Shown:
    """The part of the source that the result shows, as edges in its pixels."""

    left: Fraction
    top: Fraction
    right: Fraction
    bottom: Fraction


def shown(recipe: Recipe, source: Size) -> Shown:
    """The part of the source that is left after the crops and scalings of a recipe."""
    left, top, across, down = Fraction(0), Fraction(0), Fraction(1), Fraction(1)
    frame = source
    for op in recipe.ops:
        match op:
            case Extract(box):
                left, top = left + box.left * across, top + box.top * down
                frame = box.size
            case Scale(size):
                window = op.window_of(frame)
                left, top = left + window.left * across, top + window.top * down
                across, down = across * window.width / size.width, down * window.height / size.height
                frame = size
            case _:
                raise AssertionError(f"{op} does not depend on the size")
    assert frame == recipe.size
    return Shown(left, top, left + frame.width * across, top + frame.height * down)


# fmt: off
WORKED = [
    # source       query                                                   output        region shown
    ((1080, 720),  "w=300",                                                (300, 200),   (0, 0, 1080, 720)),
    ((1080, 720),  "w=0.1",                                                (108, 72),    (0, 0, 1080, 720)),
    ((1080, 720),  "h=300",                                                (450, 300),   (0, 0, 1080, 720)),
    ((1080, 720),  "h=0.1",                                                (108, 72),    (0, 0, 1080, 720)),
    ((300, 200),   "w=100&h=100",                                          (100, 67),    (0, 0, 300, 200)),
    ((5184, 3456), "w=1600",                                               (1600, 1067), (0, 0, 5184, 3456)),
    ((400, 1000),  "w=200&h=200",                                          (80, 200),    (0, 0, 400, 1000)),
    ((1080, 720),  "w=600&h=500&fit=clip",                                 (600, 400),   (0, 0, 1080, 720)),
    ((640, 400),   "w=2000&h=200",                                         (320, 200),   (0, 0, 640, 400)),
    ((1000, 500),  "w=400&h=0.5",                                          (400, 200),   (0, 0, 1000, 500)),
    ((1000, 800),  "w=0.5&h=0.25",                                         (250, 200),   (0, 0, 1000, 800)),
    ((1000, 500),  "w=97.55",                                              (98, 49),     (0, 0, 1000, 500)),
    ((1080, 720),  "w=100&dpr=9",                                          (500, 333),   (0, 0, 1080, 720)),
    ((1000, 500),  "w=0.25&dpr=2",                                         (500, 250),   (0, 0, 1000, 500)),
    ((1080, 720),  "w=1200&h=150&fit=scale",                               (1200, 150),  (0, 0, 1080, 720)),
    ((1000, 800),  "w=0.5&h=0.25&fit=scale",                               (500, 200),   (0, 0, 1000, 800)),
    ((640, 400),   "w=200&h=100&dpr=2&fit=scale",                          (400, 200),   (0, 0, 640, 400)),
    ((1000, 500),  "w=1&h=1",                                              (1, 1),       (0, 0, 1000, 500)),
    ((1080, 720),  "w=300&h=150&fit=crop",                                 (300, 150),   (0, 90, 1080, 540)),
    ((1080, 720),  "w=300&fit=crop",                                       (300, 200),   (0, 0, 1080, 720)),
    ((400, 300),   "w=500&h=500&fit=crop",                                 (300, 300),   (50, 0, 300, 300)),
    ((500, 400),   "w=300&h=300&dpr=2&fit=crop",                           (400, 400),   (50, 0, 400, 400)),
    ((1000, 500),  "w=200&h=100&dpr=1.5&fit=crop",                         (300, 150),   (0, 0, 1000, 500)),
    ((640, 400),   "fit=crop&fm=jpeg&w=300&h=200",                         (300, 200),   (20, 0, 600, 400)),
    ((1000, 500),  "rect=1,1,0.7,0.7",                                     (700, 350),   (1, 1, 700, 350)),
    ((800, 400),   "rect=0.25,0.25,0.5,0.5",                               (400, 200),   (200, 100, 400, 200)),
    ((640, 457),   "w=200&h=150&fit=clip&rect=7,23,300,200",               (200, 133),   (7, 23, 300, 200)),
    ((1000, 500),  "rect=800,400,500,300",                                 (200, 100),   (800, 400, 200, 100)),
    ((1000, 500),  "rect=0,0,200,100&w=400",                               (200, 100),   (0, 0, 200, 100)),
    ((1000, 500),  "rect=100,50,600,300&w=0.5",                            (300, 150),   (100, 50, 600, 300)),
    ((1000, 500),  "rect=0,0,500,500&w=100&h=200&fit=scale",               (100, 200),   (0, 0, 500, 500)),
    ((1000, 500),  f"w=200&h=200&{CROPPED}&fp-x=0.7",                      (200, 200),   (450, 0, 500, 500)),
    ((1000, 500),  f"w=200&h=200&{CROPPED}&fp-x=0.1",                      (200, 200),   (0, 0, 500, 500)),
    ((500, 1000),  f"w=200&h=200&{CROPPED}&fp-y=0.3",                      (200, 200),   (0, 50, 500, 500)),
    ((1000, 500),  f"w=200&h=200&{CROPPED}&fp-z=2",                        (200, 200),   (375, 125, 250, 250)),
    ((1000, 500),  f"w=100&h=100&{CROPPED}&fp-x=0.05&fp-y=0.9&fp-z=2",     (100, 100),   (0, 250, 250, 250)),
    ((1200, 900),  f"{CROPPED}&fp-z=3",                                    (400, 300),   (400, 300, 400, 300)),
    ((1000, 500),  f"w=300&h=300&{CROPPED}&fp-z=2",                        (250, 250),   (375, 125, 250, 250)),
    ((1200, 900),  f"w=200&{CROPPED}&fp-z=3",                              (200, 150),   (400, 300, 400, 300)),
    ((1000, 500),  f"w=9&h=9&{CROPPED}&fp-z=100000",                       (1, 1),       (500, 250, 1, 1)),
    ((9000, 90),   "fm=png",                                               (8192, 82),   (0, 0, 9000, 90)),
    ((100, 100),   "w=20000&h=100&fit=scale",                              (8192, 41),   (0, 0, 100, 100)),
    ((1000, 500),  "w=200&h=400&fit=crop&crop=smart",                      (200, 400),   (375, 0, 250, 500)),  # unseen
]
# fmt: on


@pytest.mark.parametrize(("source", "query", "output", "region"), WORKED)
def test_a_worked_example(
    source: tuple[int, int], query: str, output: tuple[int, int], region: tuple[int, int, int, int]
) -> None:
    recipe = answer(query, source_info(*source))
    assert isinstance(recipe, Recipe)
    assert recipe.size == Size(*output)
    left, top, width, height = region
    assert shown(recipe, Size(*source)) == Shown(
        Fraction(left), Fraction(top), Fraction(left + width), Fraction(top + height)
    )


WIDE = source_info(640, 400)
EXACTLY_50_MB = Info(Format.JPEG, Size(640, 400), 50 * 2**20)
GIF = source_info(320, 200, Format.GIF, frames=4)

# fmt: off
ORIGINALS = [
    # source                               query                            Accept   reason for sending the file
    (WIDE,                                "w=2000",                        "",      Reason.NOTHING_TO_DO),
    (WIDE,                                "w=300&dpr=3",                   "",      Reason.NOTHING_TO_DO),
    (WIDE,                                "fm=jpg",                        "",      Reason.NOTHING_TO_DO),
    (WIDE,                                "bg=00f",                        "",      Reason.NOTHING_TO_DO),
    (WIDE,                                "rect=0,0,9000,9000",            "",      Reason.NOTHING_TO_DO),
    (WIDE,                                "w=640&h=400&fit=crop",          "",      Reason.NOTHING_TO_DO),
    (WIDE,                                "lossless=1",                    CHROME,  Reason.NOTHING_TO_DO),
    (source_info(64, 40, progressive=True),    "w=2000",                        "",      Reason.NOTHING_TO_DO),
    (source_info(64, 40, progressive=True),    "fm=pjpg",                       "",      Reason.NOTHING_TO_DO),
    (source_info(64, 40, Format.PNG),          "q=30",                          "",      Reason.NOTHING_TO_DO),
    (source_info(64, 40, Format.WEBP),         "auto=format",                   CHROME,  Reason.NOTHING_TO_DO),
    (source_info(64, 40, Format.WEBP, lossless=True), "q=9",                    "",      Reason.NOTHING_TO_DO),
    (source_info(64, 40, Format.PNG, palette=True), "fm=png8&q=9",              "",      Reason.NOTHING_TO_DO),
    (source_info(64, 40, Format.WEBP),         "lossless=0",                    "",      Reason.NOTHING_TO_DO),
    (GIF,                                  "fm=webp",                       "",      Reason.NOTHING_TO_DO),
    (GIF,                                  "fm=webp&q=9",                   "",      Reason.NOTHING_TO_DO),
    (GIF,                                  "auto=format",                   CHROME,  Reason.NOTHING_TO_DO),
    (GIF,                                  "fm=gif",                        "",      Reason.NOTHING_TO_DO),
    (source_info(1000, 500),                   "w=0.5&h=0.5&fit=crop&fm=webp",  "",      Reason.REQUESTED),
    (source_info(1000, 500),                   "rect=1000,0,10,10&fm=png",      "",      Reason.OUTSIDE),
    (source_info(1000, 500),                   "rect=0,500,10,10&q=3",          "",      Reason.OUTSIDE),
    (source_info(12_100, 30, Format.PNG),      "w=100",                         "",      Reason.DIMENSIONS),
    (EXACTLY_50_MB,                        "w=100",                         "",      Reason.BYTES),
    (source_info(64, 40, Format.AVIF),         "w=10",                          CHROME,  Reason.UNSUPPORTED),
    (source_info(64, 40, Format.TIFF),         "w=10&fm=png",                   "",      Reason.UNSUPPORTED),
    (source_info(64, 40, Format.SVG),          "fm=png",                        "",      Reason.UNSUPPORTED),
]
# fmt: on


@pytest.mark.parametrize(("source", "query", "accept", "reason"), ORIGINALS)
def test_the_stored_file_is_sent(source: Info, query: str, accept: str, reason: Reason) -> None:
    found = answer(query, source, accept)
    assert isinstance(found, OriginalBytes), found
    assert found.reason is reason


def written(kind: Format, quality: int = 85, *, lossless: bool = False, **flags: bool) -> Encoding:
    return Encoding(kind, quality, lossless, flags.get("progressive", False), flags.get("palette", False))


# fmt: off
ENCODED = [
    # source                               query                  Accept    becomes
    (WIDE,                                "w=9",                 CHROME,   written(Format.JPEG)),
    (WIDE,                                "q=20",                "",       written(Format.JPEG, 20)),
    (WIDE,                                "q=85",                "",       written(Format.JPEG)),
    (WIDE,                                "fm=pjpg",             "",       written(Format.JPEG, progressive=True)),
    (source_info(64, 40, progressive=True),    "w=9",                 "",       written(Format.JPEG)),   # baseline
    (source_info(64, 40, progressive=True),    "fm=jpg",              "",       written(Format.JPEG)),
    (source_info(64, 40, Format.PNG),          "fm=jpg&q=30",         "",       written(Format.JPEG, 30)),
    (source_info(64, 40, Format.PNG),          "fm=png8",             "",       written(Format.PNG, palette=True)),
    (source_info(64, 40, Format.PNG),          "fm=png8&q=5",         "",       written(Format.PNG, palette=True)),
    (WIDE,                                "fm=webp",             "",       written(Format.WEBP)),
    (WIDE,                                "fm=webp&lossless=1",  "",       written(Format.WEBP, lossless=True)),
    (source_info(64, 40, Format.PNG),          "fm=webp",             "",       written(Format.WEBP, lossless=True)),
    (source_info(64, 40, Format.PNG),          "fm=webp&lossless=false&q=40", "", written(Format.WEBP, 40)),
    (source_info(64, 40, Format.WEBP),         "lossless=1",          "",       written(Format.WEBP, lossless=True)),
    (WIDE,                                "q=75&w=640&lossless=true&auto=format", CHROME,
                                                                            written(Format.WEBP, 75, lossless=True)),
    (WIDE,                                "q=75&w=640&lossless=true&auto=format", "image/*",
                                                                            written(Format.JPEG, 75)),
]
# fmt: on


@pytest.mark.parametrize(("source", "query", "accept", "encoding"), ENCODED)
def test_the_encoding(source: Info, query: str, accept: str, encoding: Encoding) -> None:
    recipe = answer(query, source, accept)
    assert isinstance(recipe, Recipe), recipe
    assert recipe.encoding == encoding


WEBP = source_info(320, 200, Format.WEBP, frames=4)

# fmt: off
FRAMES = [
    # source  query                               type         frames
    (GIF,     "w=160",                            Format.GIF,  4),
    (GIF,     "fm=webp&w=160",                    Format.GIF,  4),   # only the conversion is dropped
    (GIF,     "rect=0,0,9,9&fm=gif",              Format.GIF,  4),
    (GIF,     "w=9&h=9&fit=crop",                 Format.GIF,  4),
    (GIF,     "fm=png",                           Format.PNG,  1),
    (GIF,     "fm=jpg",                           Format.JPEG, 1),
    (WEBP,    "w=160",                            Format.WEBP, 4),
    (WEBP,    "fm=webp&w=160",                    Format.WEBP, 4),
    (WEBP,    "fm=png",                           Format.PNG,  1),
    (WEBP,    "fm=gif",                           Format.GIF,  1),   # it stays animated only as WebP
]
# fmt: on


@pytest.mark.parametrize(("source", "query", "kind", "frames"), FRAMES)
def test_an_animation_stays_animated_in_its_own_format(source: Info, query: str, kind: Format, frames: int) -> None:
    recipe = answer(query, source)
    assert isinstance(recipe, Recipe), recipe
    assert (recipe.encoding.format, recipe.frames) == (kind, frames)


SIDES = st.integers(1, 12_000)
NUMBERS = st.sampled_from(["0.001", "0.5", "1", "97.55", "300", "9000", "1" + "0" * 30])
SIZED = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["w", "h", "dpr", "fp-x", "fp-y", "fp-z"]), NUMBERS),
        st.tuples(st.just("fit"), st.sampled_from(["clip", "scale", "crop"])),
        st.tuples(st.just("crop"), st.sampled_from(["focalpoint", "smart"])),
        st.tuples(st.just("rect"), st.lists(NUMBERS, min_size=4, max_size=4).map(",".join)),
        st.tuples(st.just("fm"), st.sampled_from(["png8", "pjpg", "webp", "gif"])),
        st.tuples(st.just("bg"), st.sampled_from(["f00", "80000000"])),
    ),
    max_size=9,
).map(lambda pairs: "&".join(f"{name}={value}" for name, value in pairs))


@given(width=SIDES, height=SIDES, query=SIZED, kind=st.sampled_from([Format.JPEG, Format.GIF, Format.WEBP]))
def test_no_query_fails_on_any_image(width: int, height: int, query: str, kind: Format) -> None:
    found = answer(query, source_info(width, height, kind, frames=1 if kind is Format.JPEG else 3, alpha=True))
    if isinstance(found, Recipe):
        assert max(found.size.width, found.size.height) <= 8192


@given(width=SIDES, height=SIDES, query=SIZED)
def test_without_scale_nothing_is_enlarged(width: int, height: int, query: str) -> None:
    if "scale" in query:
        return
    found = answer(query, source_info(width, height))
    if isinstance(found, Recipe):
        assert found.size.width <= width
        assert found.size.height <= height
