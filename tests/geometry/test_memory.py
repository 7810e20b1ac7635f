"""The estimated memory of renders, compared with measured peaks (docs/decisions/0183)."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from cropmark.geometry import memory
from cropmark.geometry.memory import OverGrant
from cropmark.geometry.recipe import Encoding, Need, Recipe
from cropmark.geometry.resolve import resolve
from cropmark.model.formats import TRAITS, Format, Info
from cropmark.model.values import WHITE, Size
from cropmark.plan.plan import EncodingChoice, Limits, Output, Plan, TriState
from cropmark.plan.steps import (
    Adjust,
    AnyStep,
    AutoColor,
    Blur,
    Cell,
    Dither,
    Edges,
    Flatten,
    Monochrome,
    Montage,
    Orient,
    Orientation,
    Overlay,
    Pad,
    Resize,
    Sharpen,
    Threshold,
    TrimBorder,
)
from tests.builders import px

JPEG, PNG, WEBP, GIF, AVIF, JXL = Format.JPEG, Format.PNG, Format.WEBP, Format.GIF, Format.AVIF, Format.JXL
MP12, MP30 = Size(4000, 3000), Size(6704, 4472)
SMALL = Size(800, 600)

# fmt: off
SOURCES = {
    "jpg12":   Info(JPEG, MP12,  2_008_378),
    "jpg12p":  Info(JPEG, MP12,  1_815_129, progressive=True),
    "jpg12r":  Info(JPEG, MP12,  2_008_378, orientation=6),
    "jpg30":   Info(JPEG, MP30,  7_351_419),
    "jpg30p":  Info(JPEG, MP30,  4_543_731, progressive=True),
    "jpg30r":  Info(JPEG, MP30,  5_027_678, orientation=6),
    "cmyk12":  Info(JPEG, MP12,  6_156_585),
    "png12":   Info(PNG,  MP12, 24_607_960, lossless=True),
    "png12a":  Info(PNG,  MP12, 45_584_183, alpha=True, lossless=True),
    "png12i":  Info(PNG,  MP12, 25_451_569, lossless=True),                    # interlaced
    "png16":   Info(PNG,  MP12, 31_910_232, lossless=True),                    # 16 bits
    "webp12":  Info(WEBP, MP12,  1_260_660),
    "webp12a": Info(WEBP, MP12,  5_137_282, alpha=True),
    "webp12l": Info(WEBP, MP12, 14_603_034, lossless=True),
    "avif12":  Info(AVIF, MP12,    424_242),
    "avif12a": Info(AVIF, MP12,    858_213, alpha=True),
    "noisy12": Info(PNG,  MP12, 19_469_202, lossless=True),
    "noisy12a": Info(PNG, MP12, 21_746_013, alpha=True, lossless=True),
    "few4":    Info(PNG,  Size(2400, 1660), 55_990, lossless=True, palette=True, few_bits=True),
    "few24":   Info(PNG,  Size(6000, 4000), 11_727_263, lossless=True, palette=True),
    "few64":   Info(PNG,  Size(8192, 7812), 29_267_102, lossless=True, palette=True),
    "few64a":  Info(PNG,  Size(8192, 7812), 29_267_122, alpha=True, lossless=True, palette=True),
    "few4a":   Info(PNG,  Size(2400, 1660), 195_951, alpha=True, lossless=True, palette=True, few_bits=True),
    "heic12":  Info(Format.HEIC, MP12, 7_629_482),
    "heic12h": Info(Format.HEIC, MP12, 4_029_306),                             # HDR, decoded in 16 bits
    "heic12a": Info(Format.HEIC, MP12,   359_933, alpha=True),
    "jxl12":   Info(Format.JXL,  MP12,   687_412),
    "jxl12a":  Info(Format.JXL,  MP12,   704_102, alpha=True),
    "tiff12":  Info(Format.TIFF, MP12, 17_622_494),
    "tiff12t": Info(Format.TIFF, MP12,  1_409_690),                            # tiles
    "gif1":    Info(GIF, Size(2000, 1500), 2_776_774, alpha=True, lossless=True),
    "gif16":   Info(GIF, Size(4618, 3464), 11_492_948, lossless=True),
    "gif64":   Info(GIF, Size(8192, 7812), 43_246_232, lossless=True),
    "gif64a":  Info(GIF, Size(8192, 7812), 43_246_240, alpha=True, lossless=True),
    "gif20":   Info(GIF,  SMALL, 10_843_359, frames=20, lossless=True),
    "webp20":  Info(WEBP, SMALL,    653_050, frames=20),
}
# fmt: on


def to(
    kind: Format,
    *steps: AnyStep,
    lossless: bool = False,
    progressive: bool = False,
    palette: bool = False,
    film: bool = False,
) -> Plan:
    choice = EncodingChoice(
        kind,
        lossless=TriState.YES if lossless else TriState.NO,
        progressive=TriState.YES if progressive else TriState.NO,
        palette=palette,
        keep_animation=film,
    )
    return Plan(steps, Output((choice,)), limits=Limits(avif_area=None))


def wide(width: int) -> Resize:
    return Resize(px(width), None, enlarge=True)


THUMBNAIL = to(JPEG, wide(400))
SOFT, SHARP = Blur(px(3)), Sharpen(Fraction(2), px(2), 0)
TURNED = Orient(Orientation.ROTATE_90)

# fmt: off
PEAKS = [
    # source   plan                                      measured MB above an idle renderer
    ("jpg12",   THUMBNAIL,                                 8.4),
    ("jpg12p",  THUMBNAIL,                                42.0),
    ("jpg12r",  THUMBNAIL,                                13.0),
    ("jpg30",   THUMBNAIL,                                20.1),
    ("jpg30p",  THUMBNAIL,                               102.5),
    ("jpg30r",  THUMBNAIL,                                17.4),
    ("cmyk12",  THUMBNAIL,                                28.8),
    ("png12",   THUMBNAIL,                                76.0),
    ("png12a",  THUMBNAIL,                               196.6),
    ("png12i",  THUMBNAIL,                               106.8),
    ("png16",   THUMBNAIL,                               114.2),
    ("webp12",  THUMBNAIL,                                14.0),
    ("webp12a", THUMBNAIL,                                44.9),
    ("webp12l", THUMBNAIL,                                83.5),
    ("avif12",  THUMBNAIL,                               201.5),
    ("avif12a", THUMBNAIL,                               244.9),
    ("heic12",  THUMBNAIL,                                88.4),
    ("heic12h", THUMBNAIL,                               196.0),
    ("heic12a", THUMBNAIL,                                98.0),
    ("jxl12",   THUMBNAIL,                                76.1),
    ("jxl12a",  THUMBNAIL,                                96.6),
    ("tiff12",  THUMBNAIL,                                28.2),
    ("tiff12t", THUMBNAIL,                                23.7),
    ("gif1",    THUMBNAIL,                                48.7),
    ("png12",   to(JPEG),                                 64.9),
    ("png12a",  to(JPEG),                                115.3),
    ("png12",   to(JPEG, progressive=True),              134.9),
    ("png12",   to(PNG),                                 132.0),
    ("png12a",  to(PNG),                                 205.8),
    ("png12",   to(PNG, palette=True),                   120.0),
    ("png12a",  to(PNG, palette=True),                   165.5),
    ("png12",   to(WEBP),                                127.4),
    ("png12a",  to(WEBP),                                471.3),
    ("png12",   to(WEBP, lossless=True),                 355.6),
    ("png12a",  to(WEBP, lossless=True),                 416.9),
    ("noisy12", to(JXL),                                 334.0),
    ("noisy12a", to(JXL),                                 378.7),
    ("noisy12", to(JXL, lossless=True),                  107.1),
    ("noisy12a", to(JXL, lossless=True),                  125.6),
    ("png12",   to(GIF),                                 228.5),
    ("png12a",  to(GIF),                                 254.4),
    ("png12",   to(AVIF),                                321.8),
    ("png12a",  to(AVIF),                                560.1),
    ("png12",   to(AVIF, lossless=True),                 575.0),
    ("png12a",  to(AVIF, lossless=True),                 759.5),
    ("jpg12",   to(PNG, wide(4000)),                     116.6),
    ("jpg12",   to(WEBP, wide(4000)),                    103.2),
    ("jpg12r",  to(JPEG, wide(2900)),                     48.3),
    ("jpg30",   to(JPEG, wide(6700)),                     60.8),
    ("jpg30",   to(PNG,  wide(6700)),                    156.3),
    ("jpg30",   to(WEBP, wide(6700)),                    203.9),
    ("jpg30",   to(AVIF, wide(6700)),                    689.5),
    ("jpg30r",  to(PNG,  wide(4400)),                    199.9),
    ("jpg30r",  to(WEBP, wide(4400)),                    254.1),
    ("webp12",  to(JPEG, wide(3990)),                    111.5),
    ("webp12a", to(JPEG, wide(3990)),                    179.3),
    ("webp12l", to(JPEG, wide(3990)),                    138.0),
    ("png12",   to(JPEG, SOFT),                          101.8),
    ("png12a",  to(PNG, SOFT),                           247.4),
    ("png12",   to(JPEG, Blur(px(80))),                   94.8),
    ("png12",   to(JPEG, SHARP),                         109.0),
    ("png12a",  to(PNG, SHARP),                          266.8),
    ("png12",   to(JPEG, Adjust(Fraction(5), Fraction(5), Fraction(10))), 81.8),
    ("png12",   to(JPEG, Monochrome(Threshold())),       106.7),
    ("png12",   to(JPEG, Monochrome(Dither.ATKINSON)),   131.4),
    ("png12",   to(JPEG, TURNED),                         99.5),
    ("png12a",  to(PNG, TURNED),                         251.7),
    ("png12",   to(JPEG, Pad(Edges(px(9), px(9), px(9), px(9)))), 65.7),
    ("png12a",  to(PNG, Flatten(WHITE)),                 185.9),
    ("jpg12",   to(JPEG, wide(8000)),                     57.1),
    ("jpg12",   to(WEBP, wide(8000)),                    278.1),
    ("jpg12",   to(JPEG, SOFT, SHARP),                    57.1),
    ("jpg12",   to(JPEG, TrimBorder(AutoColor.TOP_LEFT), wide(400)), 43.7),
    ("few4",    to(PNG, wide(2391)),                     103.2),
    ("few4a",   to(PNG, wide(2391)),                     136.0),
    ("few24",   to(PNG, wide(5999)),                     202.4),
    ("few64",   to(PNG, wide(8191)),                     421.0),
    ("few64a",  to(PNG, wide(8191)),                     598.0),
    ("gif16",   to(GIF, wide(4617)),                     230.0),
    ("gif64",   to(GIF, wide(8191)),                     846.0),
    ("gif64a",  to(GIF, wide(8191)),                    1003.0),
    ("gif20",   to(GIF, film=True),                       69.9),
    ("gif20",   to(GIF, wide(400), film=True),            60.8),
    ("gif20",   to(WEBP, film=True),                      50.2),
    ("gif20",   to(WEBP, wide(400), film=True),           55.2),
    ("gif20",   THUMBNAIL,                                29.2),
    ("gif20",   to(GIF, SOFT, film=True),                150.6),
    ("webp20",  to(GIF, film=True),                       84.9),
    ("webp20",  to(GIF, wide(400), film=True),            72.8),
    ("webp20",  to(WEBP, wide(400), film=True),           66.8),
    ("webp20",  THUMBNAIL,                                12.7),
    ("webp20",  to(GIF, SOFT, film=True),                163.4),
]
# fmt: on


def needed_mb(plan: Plan, *infos: Info) -> float:
    resolved = resolve(plan, infos)
    if isinstance(resolved, Need):
        return memory.search_bytes(resolved, infos, infos[0].frames) / 1e6
    assert isinstance(resolved, Recipe)
    return memory.recipe_bytes(resolved, infos) / 1e6


@pytest.mark.parametrize(("source", "plan", "measured_mb"), PEAKS)
def test_the_estimate_covers_the_measured_peak(source: str, plan: Plan, measured_mb: float) -> None:
    """And is at most two and a half times as high, plus the base of every render."""
    if not all(choice.format is None or TRAITS[choice.format].writable for choice in plan.output.choices):
        pytest.skip("an extra is not installed")
    assert measured_mb <= needed_mb(plan, SOURCES[source]) <= 2.5 * measured_mb + 10


def test_layers_count() -> None:
    photo, logo = SOURCES["jpg12"], SOURCES["png12a"]
    alone = needed_mb(to(JPEG, wide(400)), photo)
    over = needed_mb(to(JPEG, wide(400), Overlay(1, px(100), parameter="overlay")), photo, logo)
    assert over > alone + 45 + 48  # its file and its frame
    cells = (Cell(0, Fraction(0), Fraction(0), Fraction(1, 2), Fraction(1)),)
    montage = to(JPEG, Montage(Size(400, 400), cells, color=WHITE))
    assert needed_mb(montage, logo) > 45 + 48


PADDED = Pad(Edges(px(9), px(9), px(9), px(9)))


@pytest.mark.parametrize(
    ("has_map", "step", "counts"), [(True, SOFT, True), (False, SOFT, False), (True, PADDED, False)]
)
def test_a_gain_map_counts_if_it_is_written(has_map: bool, step: AnyStep, counts: bool) -> None:
    """If the source has one, and it can follow the Ops."""
    photo = replace(SOURCES["jpg12"], gain_map=has_map)
    plan = to(JPEG, step)
    kept = replace(plan, output=replace(plan.output, gain_map=True))
    assert needed_mb(kept, photo) - needed_mb(plan, photo) == pytest.approx(48 if counts else 0)


def test_a_tiff_is_not_read_whole() -> None:
    info = SOURCES["tiff12"]
    assert memory.file_bytes(info) == 0
    assert memory.file_bytes(SOURCES["png12"]) == SOURCES["png12"].bytes


def test_an_analysis_of_a_jpeg_decodes_it_smaller() -> None:
    assert memory.analysis_bytes(SOURCES["jpg12"]) < memory.analysis_bytes(SOURCES["avif12"]) - 100_000_000
    assert memory.drawing_bytes(SOURCES["jpg12"]) > memory.encode_bytes(Encoding(PNG, 100), MP12.area)
    assert memory.comparison_bytes([SOURCES["jpg12"], SOURCES["png12"]]) > 2 * 3 * MP12.area


@pytest.mark.parametrize(("needed", "grant", "fits"), [(10, None, True), (10, 10, True), (11, 10, False)])
def test_check(needed: int, grant: int | None, fits: bool) -> None:
    if fits:
        memory.check(needed, grant)
        return
    with pytest.raises(OverGrant) as problem:
        memory.check(needed, grant)
    assert problem.value.bytes == needed
