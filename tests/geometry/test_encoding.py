from __future__ import annotations

import pytest

from cropmark.geometry.encoding import chosen
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Format, Info
from cropmark.model.problems import OutputTooLarge
from cropmark.model.values import Size
from cropmark.plan.plan import Choice, KeepMetadata, Limits, Output, TriState
from cropmark.plan.source import SourceFilter
from tests.geometry.plans import HUNDRED, header

JPEG, PNG, WEBP, GIF, AVIF, TIFF, JXL = (
    Format.JPEG,
    Format.PNG,
    Format.WEBP,
    Format.GIF,
    Format.AVIF,
    Format.TIFF,
    Format.JXL,
)
ANIMATED = SourceFilter(frozenset({GIF}), animated=True)
STILL_WEBP, MOVING_WEBP, MOVING_GIF = header(kind=WEBP), header(kind=WEBP, frames=5), header(kind=GIF, frames=5)
BASELINE, PROGRESSIVE, LOSSLESS = header(kind=JPEG), header(kind=JPEG, progressive=True), header(lossless=True)
LARGE = Size(5000, 4000)

# fmt: off
CHOICES = [
    # source                         choices                                                     format, frames
    (header(),                       [Choice()],                                                 (PNG, 1)),
    (header(),                       [Choice(JPEG)],                                             (JPEG, 1)),
    (header(),                       [Choice(JXL), Choice(AVIF), Choice()],                      (AVIF, 1)),   # F5
    # animations
    (MOVING_GIF,                     [Choice()],                                                 (GIF, 5)),
    (MOVING_GIF,                     [Choice(WEBP)],                                             (WEBP, 5)),
    (MOVING_GIF,                     [Choice(JPEG)],                                             (JPEG, 1)),   # F8
    (MOVING_GIF,                     [Choice(AVIF, keeps_animation=True), Choice(WEBP)],         (WEBP, 5)),   # F6
    (STILL_WEBP,                     [Choice(AVIF, keeps_animation=True), Choice(WEBP)],         (AVIF, 1)),
    (MOVING_GIF,                     [Choice(WEBP, skipped_for=(ANIMATED,)), Choice()],          (GIF, 5)),
    (header(kind=GIF),               [Choice(WEBP, skipped_for=(ANIMATED,)), Choice()],          (WEBP, 1)),
    # what cannot be written
    (header(kind=TIFF),              [Choice()],                                                 (JPEG, 1)),
    (header(kind=TIFF, alpha=True),  [Choice()],                                                 (PNG, 1)),
    (header(kind=JPEG),              [Choice(JXL)],                                              (JPEG, 1)),
    (header(kind=JPEG),              [],                                                         (JPEG, 1)),
]

ENCODINGS = [
    # source         choice                                    written
    (BASELINE,       Choice(),                                 Encoding(JPEG, 85)),
    (BASELINE,       Choice(WEBP),                             Encoding(WEBP, 85)),
    (BASELINE,       Choice(AVIF),                             Encoding(AVIF, 64)),
    (BASELINE,       Choice(PNG, palette=True),                Encoding(PNG, 85, palette=True)),
    (header(),       Choice(JPEG, palette=True),               Encoding(JPEG, 85)),
    (BASELINE,       Choice(quality=1),                        Encoding(JPEG, 1)),
    (header(kind=TIFF), Choice(quality=30),                    Encoding(JPEG, 30)),
    (LOSSLESS,       Choice(WEBP, lossless=TriState.AS_SOURCE),    Encoding(WEBP, 85, lossless=True)),
    (BASELINE,       Choice(WEBP, lossless=TriState.AS_SOURCE),    Encoding(WEBP, 85)),
    (BASELINE,       Choice(AVIF, lossless=TriState.YES),          Encoding(AVIF, 64, lossless=True)),
    (LOSSLESS,       Choice(JPEG, lossless=TriState.YES),          Encoding(JPEG, 85)),
    (PROGRESSIVE,    Choice(progressive=TriState.AS_SOURCE),       Encoding(JPEG, 85, progressive=True)),
    (PROGRESSIVE,    Choice(progressive=TriState.NO),              Encoding(JPEG, 85)),
    (PROGRESSIVE,    Choice(PNG, progressive=TriState.AS_SOURCE),  Encoding(PNG, 85)),
]

METADATA = [
    # source   output  stays
    (JPEG,     JPEG,   {KeepMetadata.COPYRIGHT, KeepMetadata.ICC}),
    (JPEG,     PNG,    {KeepMetadata.ICC}),
    (PNG,      JPEG,   {KeepMetadata.ICC}),
    (PNG,      PNG,    {KeepMetadata.ICC}),
]
# fmt: on


@pytest.mark.parametrize(("info", "choices", "expected"), CHOICES)
def test_the_first_choice_that_holds(info: Info, choices: list[Choice], expected: tuple[Format, int]) -> None:
    found = chosen(Output(tuple(choices)), info, HUNDRED, Limits())
    assert (found.encoding.format, found.frames) == expected


@pytest.mark.parametrize(("info", "choice", "encoding"), ENCODINGS)
def test_an_encoding(info: Info, choice: Choice, encoding: Encoding) -> None:
    assert chosen(Output((choice,)), info, HUNDRED, Limits()).encoding == encoding


@pytest.mark.parametrize(("source", "output", "stays"), METADATA)
def test_what_stays_of_the_metadata(source: Format, output: Format, stays: set[KeepMetadata]) -> None:
    keeps = frozenset({KeepMetadata.COPYRIGHT, KeepMetadata.ICC})
    found = chosen(Output((Choice(output),), keeps=keeps), header(kind=source), HUNDRED, Limits())
    assert found.encoding.keeps == stays


def test_a_first_frame_is_one() -> None:
    assert chosen(Output(first_frame=True), MOVING_GIF, HUNDRED, Limits()).frames == 1
    assert chosen(Output((Choice(first_frame=True),)), MOVING_GIF, HUNDRED, Limits()).frames == 1


def test_of_a_first_frame_no_animation_is_lost() -> None:
    output = Output((Choice(AVIF, keeps_animation=True), Choice(WEBP)), first_frame=True)
    assert chosen(output, MOVING_WEBP, HUNDRED, Limits()).encoding.format is AVIF


def test_whoever_asked_by_name_hears_of_the_next() -> None:
    output = Output((Choice(JXL, warning_if_skipped="jxl cannot be written here"), Choice(AVIF, quality=50)))
    found = chosen(output, header(), HUNDRED, Limits())
    assert (found.encoding, found.warnings[0].text) == (Encoding(AVIF, 50), "jxl cannot be written here")


# L1: an AVIF past its area falls back where it was negotiated, and is refused where it was named.
def test_a_large_avif_is_passed_over() -> None:
    assert chosen(Output((Choice(AVIF), Choice(WEBP))), header(), LARGE, Limits()).encoding.format is WEBP
    assert chosen(Output((Choice(),)), header(kind=AVIF), LARGE, Limits()).encoding.format is JPEG


def test_a_large_avif_by_name_is_refused() -> None:
    named = Output((Choice(AVIF, refuse_beyond=True),))
    with pytest.raises(OutputTooLarge, match="5000x4000 has 20000000 pixels, at most 16777216"):
        chosen(named, header(), LARGE, Limits())
    assert chosen(named, header(), Size(4096, 4096), Limits()).encoding.format is AVIF
