from __future__ import annotations

import pytest

from cropmark.geometry.encoding import byte_limit, choose_encoding
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Format, Info
from cropmark.model.problems import OutputTooLarge
from cropmark.model.values import Size
from cropmark.plan.plan import EncodingChoice, KeepMetadata, Limits, Output, TriState
from cropmark.plan.source import SourceFilter
from tests.geometry.plans import HUNDRED, header

JPEG, PNG, WEBP, GIF, AVIF, TIFF, BMP = (
    Format.JPEG,
    Format.PNG,
    Format.WEBP,
    Format.GIF,
    Format.AVIF,
    Format.TIFF,
    Format.BMP,
)
ANIMATED = SourceFilter(frozenset({GIF}), animated=True)
STILL_WEBP, MOVING_WEBP, MOVING_GIF = header(kind=WEBP), header(kind=WEBP, frames=5), header(kind=GIF, frames=5)
BASELINE, PROGRESSIVE, LOSSLESS = header(kind=JPEG), header(kind=JPEG, progressive=True), header(lossless=True)
LARGE = Size(5000, 4000)

# fmt: off
CHOICES = [
    # source                        choices                                                            format, frames
    (header(),                      [EncodingChoice()],                                                (PNG, 1)),
    (header(),                      [EncodingChoice(JPEG)],                                            (JPEG, 1)),
    (header(),                      [EncodingChoice(BMP), EncodingChoice(AVIF), EncodingChoice()],     (AVIF, 1)),
    # animations
    (MOVING_GIF,                    [EncodingChoice()],                                                (GIF, 5)),
    (MOVING_GIF,                    [EncodingChoice(WEBP)],                                            (WEBP, 5)),
    (MOVING_GIF,                    [EncodingChoice(JPEG)],                                            (JPEG, 1)),
    (MOVING_GIF,                    [EncodingChoice(JPEG, keep_animation=True), EncodingChoice(WEBP)], (WEBP, 5)),
    (MOVING_GIF,                    [EncodingChoice(AVIF, keep_animation=True), EncodingChoice(WEBP)], (AVIF, 5)),
    (STILL_WEBP,                    [EncodingChoice(AVIF, keep_animation=True), EncodingChoice(WEBP)], (AVIF, 1)),
    (MOVING_GIF,                    [EncodingChoice(WEBP, skipped_for=(ANIMATED,)), EncodingChoice()], (GIF, 5)),
    (header(kind=GIF),              [EncodingChoice(WEBP, skipped_for=(ANIMATED,)), EncodingChoice()], (WEBP, 1)),
    # formats that cannot be written
    (header(kind=TIFF),             [EncodingChoice()],                                                (JPEG, 1)),
    (header(kind=TIFF, alpha=True), [EncodingChoice()],                                                (PNG, 1)),
    (header(kind=JPEG),             [EncodingChoice(BMP)],                                             (JPEG, 1)),
    (header(kind=JPEG),             [],                                                                (JPEG, 1)),
]

ENCODINGS = [
    # source            choice                                               written
    (BASELINE,          EncodingChoice(),                                    Encoding(JPEG, 85)),
    (BASELINE,          EncodingChoice(WEBP),                                Encoding(WEBP, 85)),
    (BASELINE,          EncodingChoice(AVIF),                                Encoding(AVIF, 64)),
    (BASELINE,          EncodingChoice(PNG, palette=True),                   Encoding(PNG, 85, palette=True)),
    (header(),          EncodingChoice(JPEG, palette=True),                  Encoding(JPEG, 85)),
    (BASELINE,          EncodingChoice(quality=1),                           Encoding(JPEG, 1)),
    (header(kind=TIFF), EncodingChoice(quality=30),                          Encoding(JPEG, 30)),
    (LOSSLESS,          EncodingChoice(WEBP, lossless=TriState.AS_SOURCE),   Encoding(WEBP, 85, lossless=True)),
    (BASELINE,          EncodingChoice(WEBP, lossless=TriState.AS_SOURCE),   Encoding(WEBP, 85)),
    (BASELINE,          EncodingChoice(AVIF, lossless=TriState.YES),         Encoding(AVIF, 64, lossless=True)),
    (LOSSLESS,          EncodingChoice(JPEG, lossless=TriState.YES),         Encoding(JPEG, 85)),
    (PROGRESSIVE,       EncodingChoice(progressive=TriState.AS_SOURCE),      Encoding(JPEG, 85, progressive=True)),
    (PROGRESSIVE,       EncodingChoice(progressive=TriState.NO),             Encoding(JPEG, 85)),
    (PROGRESSIVE,       EncodingChoice(PNG, progressive=TriState.AS_SOURCE), Encoding(PNG, 85)),
]

METADATA = [
    # source  output  stays
    (JPEG, JPEG, {KeepMetadata.COPYRIGHT, KeepMetadata.ICC}),
    (JPEG, PNG,  {KeepMetadata.ICC}),
    (PNG,  JPEG, {KeepMetadata.ICC}),
    (PNG,  PNG,  {KeepMetadata.ICC}),
    (JPEG, GIF,  set()),
    (GIF,  GIF,  set()),
]
# fmt: on


@pytest.mark.parametrize(("info", "choices", "expected"), CHOICES)
def test_the_first_choice_that_applies(info: Info, choices: list[EncodingChoice], expected: tuple[Format, int]) -> None:
    found = choose_encoding(Output(tuple(choices)), info, HUNDRED, Limits())
    assert (found.encoding.format, found.frames) == expected


@pytest.mark.parametrize(("info", "choice", "encoding"), ENCODINGS)
def test_an_encoding(info: Info, choice: EncodingChoice, encoding: Encoding) -> None:
    assert choose_encoding(Output((choice,)), info, HUNDRED, Limits()).encoding == encoding


@pytest.mark.parametrize(("source", "output", "stays"), METADATA)
def test_the_metadata_that_is_copied(source: Format, output: Format, stays: set[KeepMetadata]) -> None:
    keeps = frozenset({KeepMetadata.COPYRIGHT, KeepMetadata.ICC})
    found = choose_encoding(Output((EncodingChoice(output),), metadata=keeps), header(kind=source), HUNDRED, Limits())
    assert found.encoding.metadata == stays


def test_a_first_frame_is_one() -> None:
    assert choose_encoding(Output(first_frame=True), MOVING_GIF, HUNDRED, Limits()).frames == 1
    assert choose_encoding(Output((EncodingChoice(first_frame=True),)), MOVING_GIF, HUNDRED, Limits()).frames == 1


def test_a_first_frame_loses_no_animation() -> None:
    output = Output((EncodingChoice(AVIF, keep_animation=True), EncodingChoice(WEBP)), first_frame=True)
    assert choose_encoding(output, MOVING_WEBP, HUNDRED, Limits()).encoding.format is AVIF


def test_a_skipped_format_that_was_requested_by_name_is_a_warning() -> None:
    output = Output(
        (EncodingChoice(BMP, warning_if_skipped="bmp cannot be written here"), EncodingChoice(AVIF, quality=50))
    )
    found = choose_encoding(output, header(), HUNDRED, Limits())
    assert (found.encoding, found.warnings[0].text) == (Encoding(AVIF, 50), "bmp cannot be written here")


# An AVIF above its area falls back if it was negotiated, and is rejected if it was requested by name.
def test_a_large_avif_is_skipped() -> None:
    assert (
        choose_encoding(Output((EncodingChoice(AVIF), EncodingChoice(WEBP))), header(), LARGE, Limits()).encoding.format
        is WEBP
    )
    from_avif = choose_encoding(Output((EncodingChoice(),)), header(kind=AVIF), LARGE, Limits())
    assert from_avif.encoding.format is JPEG
    assert (
        "5000x4000 is too large" in from_avif.warnings[0].text
    )  # no request named the format: the warning names the change


def test_a_large_avif_by_name_is_rejected() -> None:
    named = Output((EncodingChoice(AVIF, refuse_over_limit=True),))
    with pytest.raises(OutputTooLarge, match="5000x4000 has 20000000 pixels, at most 16777216"):
        choose_encoding(named, header(), LARGE, Limits())
    assert choose_encoding(named, header(), Size(4096, 4096), Limits()).encoding.format is AVIF


# fmt: off
BYTE_LIMITS = [
    # source                                                               written              size            limit
    (Info(PNG, HUNDRED, 1000, palette=True),                               Encoding(PNG, 85),   HUNDRED,        3000),
    (Info(PNG, HUNDRED, 1000, palette=True),                               Encoding(GIF, 100),  HUNDRED,        3000),
    (Info(GIF, HUNDRED, 1000),                                             Encoding(PNG, 85),   Size(200, 160), 12_000),
    (Info(GIF, HUNDRED, 10_000),                                           Encoding(GIF, 100),  Size(50, 40),   7500),
    (Info(GIF, HUNDRED, 10_000, frames=5),                                 Encoding(GIF, 100),  HUNDRED,        6000),
    (Info(GIF, HUNDRED, 10_000),                                           Encoding(GIF, 100),  Size(10, 8),    1024),
    (Info(GIF, HUNDRED, 100),                                              Encoding(GIF, 100),  Size(10, 8),    300),
    (Info(PNG, HUNDRED, 1000),                                             Encoding(PNG, 85),   HUNDRED,        None),
    (Info(JPEG, HUNDRED, 1000),                                            Encoding(PNG, 85),   HUNDRED,        None),
    (Info(GIF, HUNDRED, 1000),                                             Encoding(WEBP, 85),  HUNDRED,        None),
    (Info(GIF, HUNDRED, 1000),                            Encoding(PNG, 85, palette=True),      HUNDRED,        None),
    (Info(GIF, HUNDRED, 1000),       Encoding(PNG, 85, metadata=frozenset({KeepMetadata.ICC})), HUNDRED,        3000),
]
# fmt: on


@pytest.mark.parametrize(("source", "written", "size", "limit"), BYTE_LIMITS)
def test_sources_with_a_palette_limit_the_bytes(source: Info, written: Encoding, size: Size, limit: int | None) -> None:
    assert byte_limit(written, source, size) == limit
