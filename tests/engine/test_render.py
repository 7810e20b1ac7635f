"""Rendering a Plan from its sources, and the handling of broken sources."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageOps, ImageSequence

from cropmark.engine import render
from cropmark.geometry import limits
from cropmark.geometry.findings import Analysis, SaliencyMap
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import TRAITS, WRITABLE, Format
from cropmark.model.problems import (
    CropOutOfBounds,
    EmptyResult,
    InternalError,
    OutputTooLarge,
    Problem,
    SourceNotFound,
    SourceUnusable,
)
from cropmark.model.values import WHITE, Color, Pixels, Ratio, Size
from cropmark.plan.plan import EncodingChoice, Fallback, KeepMetadata, Limits, Output, Plan, TriState
from cropmark.plan.source import SourceFilter
from cropmark.plan.steps import (
    Adjust,
    Align,
    AnyStep,
    AutoColor,
    Blur,
    Cell,
    Crop,
    Dimensions,
    Dither,
    Edges,
    Fit,
    Flatten,
    Focus,
    Monochrome,
    Montage,
    Offset,
    Orient,
    Orientation,
    Overlay,
    Pad,
    Resize,
    Sharpen,
    Threshold,
    TrimBorder,
)
from cropmark.ports import AnalysisResult, Passthrough, Rendered
from tests.builders import px
from tests.engine.images import Array, file_of, frame_of, grb_profile, noise, off_by, opened, saved, seen, slopes

F = Fraction
PHOTO = slopes(160, 120)
RED = Color(255, 0, 0)


AS_PNG = EncodingChoice(Format.PNG)


def plan(*steps: AnyStep, choice: EncodingChoice = AS_PNG, **more: Any) -> Plan:
    output = Output((choice,), **{k: more.pop(k) for k in list(more) if k in Output.__slots__})
    return Plan(steps, output, **more)


def rendered(sources: bytes | list[bytes | None], how: Plan, **more: Any) -> Rendered:
    outcome = render.render([sources] if isinstance(sources, bytes) else sources, how, **more)
    assert isinstance(outcome, Rendered), outcome
    return outcome


def kept(sources: bytes | list[bytes | None], how: Plan, **more: Any) -> Passthrough:
    outcome = render.render([sources] if isinstance(sources, bytes) else sources, how, **more)
    assert isinstance(outcome, Passthrough), outcome
    return outcome


def to_width(width: int) -> Resize:
    return Resize(px(width), None)


def cut(left: int, top: int, width: int, height: int) -> Crop:
    return Crop(Dimensions(px(width), px(height)), Offset(px(left)), Offset(px(top)))


# ---------------------------------------------------------------------------------------------- the line


def test_facts_tell_of_the_source_and_of_the_result() -> None:
    outcome = rendered(file_of(PHOTO, "JPEG"), plan(to_width(40), choice=EncodingChoice(Format.WEBP, 80)))
    assert outcome.format is Format.WEBP
    assert outcome.facts.source is not None
    assert (outcome.facts.source.format, outcome.facts.source.stored_size) == (Format.JPEG, Size(160, 120))
    assert (outcome.facts.size, outcome.facts.frames, outcome.facts.format) == (Size(40, 30), 1, Format.WEBP)
    assert opened(outcome.body).size == (40, 30)
    assert [name for name, _ in outcome.timing.stages] == ["inspect", "render", "encode"]
    assert all(ms > 0 for _, ms in outcome.timing.stages)
    assert not outcome.low_effort


def test_low_effort_is_reported() -> None:
    outcome = rendered(file_of(PHOTO), plan(choice=EncodingChoice(Format.WEBP, 80)), low_effort=True)
    assert outcome.low_effort


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_exif_orientation_is_undone(orientation: int, kind: str) -> None:
    upright = slopes(96, 64)
    stored = Pillow.fromarray(upright).transpose(UNDONE[orientation]) if orientation > 1 else Pillow.fromarray(upright)
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    body = rendered(saved(stored, kind, exif=exif, **({"tiffinfo": exif} if kind == "TIFF" else {})), plan()).body
    assert off_by(seen(body, "RGB"), upright) <= 12


# The transformation that the Exif orientation reverses.
T = Pillow.Transpose
UNDONE = {
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}


@pytest.mark.parametrize("width", [160, 100, 80, 40, 20, 10, 3, 1])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_a_shrunk_reading_shows_the_same(width: int, kind: str, orientation: int) -> None:
    """JPEG and WebP are decoded smaller where the result is: against a scaling of the whole image by Pillow."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    photo = Pillow.fromarray(slopes(333, 227))
    source = saved(photo, kind, quality=95, exif=exif)
    upright = photo if orientation == 1 else photo.transpose(T.ROTATE_270)
    body = rendered(source, plan(to_width(width))).body
    expected = upright.resize(opened(body).size, Pillow.Resampling.LANCZOS)
    assert off_by(seen(body, "RGB"), np.asarray(expected)) <= 12


def test_a_crop_before_a_scale_is_exact_on_a_shrunk_reading_too() -> None:
    photo = Pillow.fromarray(slopes(1000, 700))
    body = rendered(saved(photo, "JPEG", quality=95), plan(cut(333, 111, 401, 303), to_width(50))).body
    size = opened(body).size
    expected = photo.resize(size, Pillow.Resampling.LANCZOS, box=(333, 111, 734, 414))
    assert off_by(seen(body, "RGB"), np.asarray(expected)) <= 4


def waves(size: Size, *, gray: bool) -> Pillow.Image:
    """A wave across in red, and one down in green; if gray, their sum in all planes."""
    across, down = (np.cos(2 * np.pi * (np.arange(n) + 0.5) / 64) for n in (size.width, size.height))
    red, green = np.tile(across, (size.height, 1)), np.tile(down[:, None], (1, size.width))
    planes = [(red + green) / 2] * 3 if gray else [red, green, np.zeros_like(red)]
    return Pillow.fromarray((127.5 + 100 * np.stack(planes, axis=2)).round().astype(np.uint8))


def shift(found: NDArray[np.float64], expected: NDArray[np.float64], at: float) -> float:
    """The distance in pixels by which one row must be moved to match the other, around a share of its length."""
    near = slice(int(len(found) * (at - 0.12)), int(len(found) * (at + 0.12)))
    x = np.arange(len(found))
    moved = np.arange(-1, 1, 0.01)
    errors = [np.abs(np.interp(x[near] + by, x, expected) - found[near]).mean() for by in moved]
    return float(abs(moved[int(np.argmin(errors))]))


# fmt: off
PLACES = [
    # of                steps                                                 orientation  box shown
    (Size(1601, 904),  [to_width(400)],                                      1, None),
    (Size(1605, 1000), [to_width(200)],                                      1, None),
    (Size(1613, 1005), [to_width(700)],                                      1, None),
    (Size(1600, 1008), [to_width(333)],                                      1, None),
    (Size(1597, 1005), [to_width(160)],                                      1, None),
    (Size(1601, 1009), [to_width(161)],                                      3, None),
    (Size(1601, 1009), [to_width(403)],                                      6, None),
    (Size(1601, 1009), [cut(333, 111, 805, 401), to_width(301)],             1, (333, 111, 1138, 512)),
    (Size(1600, 900),  [Resize(px(150), px(401), fit=Fit.COVER)],            1, (631.6708, 0, 968.3292, 900)),
    (Size(1601, 900),  [Resize(px(1500), px(300), fit=Fit.COVER)],           1, (0, 289.9, 1601, 610.1)),
]
# fmt: on


# The decoder scales the halved chroma of a WebP with odd sides by another factor than its luma (docs/decisions/0150).
@pytest.mark.parametrize(("kind", "gray"), [("JPEG", False), ("PNG", False), ("WEBP", True)])
@pytest.mark.parametrize(("size", "steps", "orientation", "box"), PLACES)
def test_nothing_moves_by_a_twentieth_of_a_pixel(
    size: Size,
    steps: list[AnyStep],
    orientation: int,
    box: tuple[float, float, float, float] | None,
    kind: str,
    gray: bool,
) -> None:
    """For every side and format of the source, against an exact resize of the window by Pillow."""
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    photo = waves(size, gray=gray)
    options = {"compress_level": 1} if kind == "PNG" else {"quality": 97}
    out = seen(rendered(saved(photo, kind, exif=exif, **options), plan(*steps)).body)
    photo.getexif()[0x0112] = orientation
    exact = ImageOps.exif_transpose(photo).resize(out.shape[1::-1], Pillow.Resampling.LANCZOS, box=box)
    red, green = (0, 1) if orientation < 5 else (1, 0)
    for at in (0.14, 0.5, 0.86):
        assert shift(out[..., red].mean(0), np.asarray(exact)[..., red].mean(0), at) <= 0.05
        assert shift(out[..., green].mean(1), np.asarray(exact)[..., green].mean(1), at) <= 0.05


def test_one_pixel_in_one_pixel_out() -> None:
    image = noise(40, 30)
    assert np.array_equal(seen(rendered(file_of(image), plan(cut(7, 5, 20, 10))).body), image[5:15, 7:27])


# fmt: off
CHAINS: dict[str, tuple[AnyStep, ...]] = {
    "turned":           (Orient(Orientation.ROTATE_90), to_width(30)),
    "turned, then cut": (Orient(Orientation.ROTATE_270), cut(3, 5, 40, 60), to_width(20)),
    "cut, then turned": (cut(3, 5, 60, 40), Orient(Orientation.TRANSVERSE)),
    "padded":           (to_width(50), Pad(Edges(px(3), px(4), px(5), px(6)), RED)),
    "tones":            (Adjust(F(10), F(10), F(-30)), Blur(px(4)), Sharpen(F(2), px(2), 3)),
    "enlarged":         (Resize(px(300), None, enlarge=True),),
    "dithered":         (to_width(70), Monochrome(Dither.ATKINSON)),
    "split":            (Monochrome(Threshold()), Orient(Orientation.ROTATE_180)),
    "flat":             (Flatten(RED), to_width(33)),
    "trimmed":          (TrimBorder(AutoColor.TOP_LEFT, F(1, 20)), to_width(50)),
}
# fmt: on
SOURCES = {
    "jpeg": file_of(PHOTO, "JPEG"),
    "interlaced png": bytes(frame_of(PHOTO).pngsave_buffer(interlace=True)),
    "alpha": file_of(noise(160, 120, 4)),
    "alpha webp": file_of(noise(160, 120, 4), "WEBP"),
    "gray": file_of(PHOTO[:, :, :1]),
    "ink": saved(Pillow.fromarray(PHOTO).convert("CMYK"), "JPEG"),
    "film": saved(
        Pillow.fromarray(PHOTO),
        "GIF",
        save_all=True,
        append_images=[Pillow.fromarray(PHOTO[::-1]), Pillow.fromarray(PHOTO[:, ::-1])],
        duration=[20, 50, 70],
        loop=3,
    ),
}


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("kind", [Format.JPEG, Format.PNG, Format.GIF])
def test_every_chain_gives_the_resolved_size(chain: str, source: str, kind: Format) -> None:
    """From top to bottom or about the image: no order of ops runs into a stream that has gone by."""
    outcome = rendered(SOURCES[source], plan(*CHAINS[chain], choice=EncodingChoice(kind)))
    image = opened(outcome.body)
    assert outcome.facts.size == Size(*image.size)
    assert getattr(image, "n_frames", 1) == (3 if (source, kind) == ("film", Format.GIF) else 1)


def test_a_border_is_measured_and_removed() -> None:
    image = np.full((60, 80, 3), 200, np.uint8)
    image[10:30, 20:60] = noise(40, 20) // 4
    outcome = rendered(file_of(image), plan(TrimBorder(AutoColor.TOP_LEFT)))
    assert np.array_equal(seen(outcome.body), image[10:30, 20:60])
    assert [name for name, _ in outcome.timing.stages] == ["inspect", "measure", "render", "encode"]


def test_a_border_is_seen_in_the_colors_of_srgb() -> None:
    """The profile swaps red and green; a green border is green in the displayed image."""
    image = np.full((20, 20, 3), (255, 0, 0), np.uint8)
    image[5:9, 4:12] = 90
    body = file_of(image, icc_profile=grb_profile())
    assert opened(rendered(body, plan(TrimBorder(Color(0, 255, 0), F(1, 50)))).body).size == (8, 4)


def test_nothing_left_is_a_problem() -> None:
    with pytest.raises(EmptyResult):
        render.render([file_of(np.zeros((5, 5, 3), np.uint8))], plan(TrimBorder(AutoColor.TOP_LEFT)))


def test_problems_of_resolve_are_raised() -> None:
    with pytest.raises(CropOutOfBounds):
        render.render([file_of(PHOTO)], plan(cut(0, 0, 161, 10)))


def test_the_analysis_places_a_smart_crop() -> None:
    """The subject is at the right: so is the window."""
    right = SaliencyMap(8, 6, bytes([0, 0, 0, 0, 0, 0, 255, 255] * 6))
    found = AnalysisResult(Analysis(1, (), right, right))
    outcome = rendered(file_of(PHOTO), plan(Crop(Ratio(F(1), F(1)), focus=Focus.SMART)), analyzed=found)
    assert outcome.facts.focus is not None
    assert seen(outcome.body)[0, -1, 0] > 240


# ---------------------------------------------------------------------------------------------- originals


def test_a_result_that_gains_nothing_is_not_sent() -> None:
    source = file_of(PHOTO, "JPEG", quality=20)
    how = plan(choice=EncodingChoice(None, 95), larger_is_original=True)
    outcome = kept(source, how)
    assert outcome.reason is Reason.NO_GAIN
    assert (outcome.facts.format, outcome.facts.size) == (Format.JPEG, Size(160, 120))
    assert len(rendered(source, plan(choice=EncodingChoice(None, 5), larger_is_original=True)).body) < len(source)


def test_a_request_for_nothing_gets_the_original() -> None:
    how = plan(
        choice=EncodingChoice(None, None, TriState.AS_SOURCE, TriState.AS_SOURCE), same_is_original=(SourceFilter(),)
    )
    assert kept(file_of(PHOTO, "JPEG"), how).reason is Reason.NOTHING_TO_DO


# fmt: off
NOT_READ = [
    # bytes                          the plan's answer, by name       reason
    (b"",                            {"on_unsupported": Fallback.ORIGINAL},   Reason.UNSUPPORTED),
    (b"<html>",                      {"on_unsupported": Fallback.ORIGINAL},   Reason.UNSUPPORTED),
    (b"<svg/>",                      {"on_unsupported": Fallback.ORIGINAL},   Reason.UNSUPPORTED),
    (file_of(PHOTO, "JPEG")[:300],   {"on_unusable": Fallback.ORIGINAL}, Reason.UNREADABLE),
    (file_of(PHOTO, "JPEG")[:1500],  {"on_unusable": Fallback.ORIGINAL}, Reason.UNREADABLE),
    (file_of(PHOTO, "PNG")[:500],    {"on_unusable": Fallback.ORIGINAL}, Reason.UNREADABLE),
]
# fmt: on


@pytest.mark.parametrize(("source", "response", "reason"), NOT_READ)
def test_unusable_sources_follow_the_plan(source: bytes, response: dict[str, Any], reason: Reason) -> None:
    assert kept(source, plan(to_width(20), **response)).reason is reason
    with pytest.raises(SourceUnusable):
        render.render([source], plan(to_width(20)))


def test_no_source_at_all() -> None:
    with pytest.raises(SourceNotFound):
        render.render([None], plan(to_width(20)))


KINDS: dict[str, bytes] = {
    "jpeg": file_of(noise(90, 70), "JPEG"),
    "progressive": file_of(noise(90, 70), "JPEG", progressive=True),
    "png": file_of(noise(90, 70)),
    "alpha": file_of(noise(90, 70, 4)),
    "gif": saved(Pillow.fromarray(noise(90, 70)).quantize(64), "GIF"),
    "film": SOURCES["film"],
    "webp": file_of(noise(90, 70), "WEBP"),
    "lossless webp": file_of(noise(90, 70, 4), "WEBP", lossless=True),
    "avif": file_of(noise(90, 70), "AVIF"),
    "tiff": file_of(noise(90, 70), "TIFF", compression="tiff_adobe_deflate"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("tenths", range(1, 10))
def test_check_31_a_truncated_source_never_makes_half_an_image(name: str, tenths: int) -> None:
    torn = KINDS[name][: len(KINDS[name]) * tenths // 10]
    for how in (plan(to_width(45)), plan(choice=EncodingChoice(Format.GIF)), plan(Orient(Orientation.ROTATE_90))):
        with pytest.raises(SourceUnusable):
            render.render([torn], how)


@pytest.mark.parametrize("name", KINDS)
def test_check_31_a_damaged_source_gives_twenty_equal_results(name: str) -> None:
    damaged = bytearray(KINDS[name])
    for at in range(len(damaged) // 2, len(damaged), max(1, len(damaged) // 40)):
        damaged[at] ^= 0x5A
    assert len({_outcome(bytes(damaged)) for _ in range(20)}) == 1


def _outcome(source: bytes) -> bytes | str:
    try:
        return rendered(source, plan(to_width(45))).body
    except Problem as problem:
        return str(problem)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(KINDS)), st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=12))
def test_damage_is_a_problem_or_an_image_and_nothing_else(name: str, damage: list[tuple[float, int]]) -> None:
    body = bytearray(KINDS[name])
    for place, value in damage:
        body[min(len(body) - 1, int(place * len(body)))] = value
    outcome = _outcome(bytes(body))
    assert isinstance(outcome, str) or opened(outcome).size


def test_a_failing_encoder_is_an_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> bytes:
        raise pyvips.Error("webp: no memory")

    monkeypatch.setattr(render, "encode", fails)
    with pytest.raises(InternalError, match="could not be rendered or encoded") as caught:
        render.render([file_of(PHOTO)], plan(to_width(20), on_unusable=Fallback.ORIGINAL))
    assert "no memory" not in str(caught.value)


STILLS = [kind for kind in Format if kind in WRITABLE and kind is not Format.MP4]  # mp4: test_video.py


@pytest.mark.parametrize("kind", [kind for kind in STILLS if TRAITS[kind].max_side < 2**17])
def test_check_67_a_side_that_no_encoder_writes_is_refused_before(kind: Format) -> None:
    longest, thin = TRAITS[kind].max_side, file_of(slopes(64, 64))
    for excess in (0, 1):
        line = plan(
            Resize(Pixels(F(longest + excess)), Pixels(F(16)), enlarge=True),
            choice=EncodingChoice(kind),
            limits=Limits(side=2**17, avif_area=None),
        )
        if not excess:
            assert rendered(thin, line).facts.size == Size(longest, 16)
        else:
            with pytest.raises(OutputTooLarge, match=rf"{longest + 1}x16, a side of a {kind.value} .* {longest} px"):
                render.render([thin], line)


def test_check_67_a_result_of_too_many_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_RENDITION_BYTES", 100)
    with pytest.raises(OutputTooLarge, match="may have at most 100"):
        render.render([file_of(PHOTO)], plan(to_width(20)))


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("side", [1, 7, 300])
@pytest.mark.parametrize("kind", [each for each in Format if each in WRITABLE and each is not Format.JXL])
def test_check_67_noise_has_fewer_bytes_than_its_pixels_allow(kind: Format, side: int, channels: int) -> None:
    """The bound rejects no image: it is for files that their pixels do not explain."""
    noise = np.random.default_rng(1).integers(0, 256, (side, side, channels), np.uint8)
    best = EncodingChoice(kind, quality=100, lossless=TriState.YES)
    body = rendered(file_of(noise), plan(choice=best)).body
    assert len(body) < 4096 + 6 * side * side < limits.most_encoded_bytes(Size(side, side), 1)


def test_check_67_a_result_of_few_pixels_and_many_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "_body", lambda *_, **__: bytes(5 * 2**20))
    with pytest.raises(OutputTooLarge, match=r"1 frame\(s\) of 20x15 may have at most 42"):
        render.render([file_of(PHOTO)], plan(to_width(20)))


# ---------------------------------------------------------------------------------------------- several sources

MARK = np.full((10, 20, 3), (0, 0, 255), np.uint8)
STAMP = Overlay(1, x=Align(F(1)), y=Align(F(1)))


def test_an_overlay_is_aligned() -> None:
    out = seen(rendered([file_of(PHOTO), file_of(MARK)], plan(STAMP)).body)
    assert np.array_equal(out[110:, 140:], MARK)
    assert np.array_equal(out[:110], PHOTO[:110])
    assert np.array_equal(out[:, :140], PHOTO[:, :140])


def test_an_overlay_is_read_smaller_where_it_is_shown_smaller() -> None:
    large = saved(Pillow.fromarray(slopes(800, 600)), "JPEG", quality=95)
    out = seen(rendered([file_of(PHOTO), large], plan(Overlay(1, width=px(40), x=Align(F(0)), y=Align(F(0))))).body)
    assert off_by(out[:30, :40], np.asarray(Pillow.fromarray(slopes(800, 600)).resize((40, 30)))) <= 8


@pytest.mark.parametrize("broken", [b"", b"<svg/>", KINDS["png"][:300], KINDS["jpeg"][:700], KINDS["png"][:-200]])
def test_an_overlay_that_is_broken_is_left_out_with_a_warning(broken: bytes) -> None:
    outcome = rendered([file_of(PHOTO), broken], plan(STAMP))
    assert np.array_equal(seen(outcome.body), PHOTO)
    assert [(w.parameter, w.text[:8]) for w in outcome.warnings] == [("overlay", "left out")]


def test_overlays_are_drawn_in_their_order_as_if_each_were_drawn_alone() -> None:
    """Images that follow each other are drawn in one pass; an Op between two of them divides the pass."""
    veil = np.full((30, 40, 4), (250, 20, 90, 100), np.uint8)
    steps = (Overlay(1, x=Offset(px(20)), y=Offset(px(10))), Overlay(2, x=Offset(px(-5)), y=Offset(px(0))))
    files: list[bytes | None] = [file_of(PHOTO), file_of(MARK), file_of(veil)]
    for order in (steps, steps[::-1]):
        together = seen(rendered(files, plan(*order)).body)
        first = rendered(files, plan(order[0])).body
        assert off_by(together, seen(rendered([first, *files[1:]], plan(order[1])).body)) <= 1
    divided = (steps[0], Blur(px(9)), steps[1])
    blurred = rendered(files, plan(*divided[:2])).body
    apart = seen(rendered([blurred, *files[1:]], plan(steps[1])).body)
    assert off_by(seen(rendered(files, plan(*divided)).body), apart) <= 1


@pytest.mark.parametrize("broken", [b"", KINDS["png"][:300]])
def test_a_required_overlay_that_is_broken_is_an_error(broken: bytes) -> None:
    with pytest.raises(SourceUnusable, match=r"^logo: the image is broken"):
        render.render([file_of(PHOTO), broken], plan(replace(STAMP, required=True, parameter="logo")))


def test_a_missing_overlay_adds_no_second_warning() -> None:
    outcome = rendered([file_of(PHOTO), None], plan(STAMP))
    assert np.array_equal(seen(outcome.body), PHOTO)
    assert outcome.warnings == ()


def test_a_broken_image_under_a_sound_overlay_is_still_broken() -> None:
    torn = file_of(noise(90, 70), "JPEG")[:1500]
    with pytest.raises(SourceUnusable):
        render.render([torn, file_of(MARK)], plan(STAMP))


def test_a_broken_cell_of_a_montage_stays_empty() -> None:
    cells = (Cell(1, F(0), F(0), F(1, 2), F(1)), Cell(2, F(1, 2), F(0), F(1), F(1)))
    outcome = rendered(
        [file_of(PHOTO), file_of(MARK), KINDS["jpeg"][:900]], plan(Montage(Size(40, 20), cells, color=RED))
    )
    assert (seen(outcome.body)[:, 20:] == (255, 0, 0)).all()
    reported = [(w.parameter, w.text) for w in outcome.warnings]
    assert reported == [("montage", "image 2 left out: broken or not an image")]


def test_a_montage_fills_its_cells() -> None:
    colors = [(200, 0, 0), (0, 200, 0), (0, 0, 200)]
    sources: list[bytes | None] = [file_of(np.full((30 + at, 40, 3), c, np.uint8)) for at, c in enumerate(colors)]
    cells = tuple(Cell(at, F(at, 3), F(0), F(at + 1, 3), F(1)) for at in range(3))
    outcome = rendered(sources, plan(Montage(Size(90, 60), cells, padding=2, color=WHITE)))
    out = seen(outcome.body)
    assert out.shape == (60, 90, 3)
    for at, color in enumerate(colors):
        assert (out[2:58, 30 * at + 2 : 30 * at + 28] == color).all()
    assert (out[:2] == 255).all()
    assert (out[:, 28:32] == 255).all()


# ---------------------------------------------------------------------------------------------- animations


def film_of(frames: list[Array], kind: str, **options: Any) -> bytes:
    images = [Pillow.fromarray(frame) for frame in frames]
    return saved(images[0], kind, save_all=True, append_images=images[1:], **options)


def shown(body: bytes) -> list[Array]:
    """Every frame as a viewer shows it, by Pillow."""
    return [np.asarray(frame.convert("RGBA")) for frame in ImageSequence.Iterator(opened(body))]


@pytest.mark.parametrize("disposal", [0, 1, 2, 3])
def test_frames_are_seen_as_a_viewer_shows_them(disposal: int) -> None:
    """Frames that cover a part: over the previous frame, the background, or the frame before that."""
    base = Pillow.new("RGBA", (40, 30), (0, 0, 0, 0))
    frames = []
    for at, color in enumerate([(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255)]):
        frame = base.copy()
        frame.paste(color, (5 * at, 3 * at, 5 * at + 12, 3 * at + 9))
        frames.append(frame)
    source = saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50, disposal=disposal)
    body = rendered(source, plan(choice=EncodingChoice(Format.WEBP, lossless=TriState.YES))).body
    for ours, theirs in zip(shown(body), shown(source), strict=True):
        visible = theirs[:, :, 3] > 0
        assert np.array_equal(ours[:, :, 3] > 0, visible)
        assert np.array_equal(ours[visible], theirs[visible])


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
@pytest.mark.parametrize("chain", sorted(CHAINS.keys() - {"trimmed"}))  # which is one box for all of them
def test_each_frame_is_worked_on_alone(kind: str, chain: str) -> None:
    """A frame of the film comes out as the same image does by itself: nothing crosses from frame to frame."""
    frames = [np.full((40, 60, 3), color, np.uint8) for color in ((250, 250, 250), (5, 5, 5), (250, 250, 250))]
    for frame in frames:
        frame[12:30, 20:40] = (130, 130, 130)
    steps = tuple(step for step in CHAINS[chain] if not isinstance(step, Crop))
    how = plan(*steps, choice=EncodingChoice(Format.WEBP, lossless=TriState.YES))
    whole = shown(rendered(film_of(frames, kind, duration=50, lossless=True), how).body)
    alone = [shown(rendered(file_of(frame), how).body)[0] for frame in frames]
    assert len(whole) == 3
    assert max(off_by(a, b) for a, b in zip(whole, alone, strict=True)) <= 1


def _walk(*lefts: int) -> list[Array]:
    """A mark of 4 by 6 px at another position in each frame, on changing colors."""
    frames = [np.full((40, 60, 3), 250 - at, np.uint8) for at in range(len(lefts))]
    for frame, left in zip(frames, lefts, strict=True):
        frame[10:16, left : left + 4] = 0
    return frames


# fmt: off
WALKS = [
    # position of the mark  frames considered          remains
    ((10, 30, 50),         {},                        (44, 6)),   # all that any frame shows
    ((50, 30, 10),         {},                        (44, 6)),
    ((10, 30, 50),         {"first_frame": True},     (4, 6)),
]
# fmt: on


@pytest.mark.parametrize(("lefts", "frames", "size"), WALKS)
@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_a_border_is_what_no_frame_paints(
    kind: str, lefts: tuple[int, ...], frames: dict[str, bool], size: tuple[int, int]
) -> None:
    source = film_of(_walk(*lefts), kind, duration=50, lossless=True)
    how = plan(TrimBorder(AutoColor.TOP_LEFT), choice=EncodingChoice(Format.WEBP, lossless=TriState.YES), **frames)
    assert opened(rendered(source, how).body).size == size


def test_a_frame_that_is_all_border_hides_no_other() -> None:
    frames = [np.full((40, 60, 3), 9, np.uint8), *_walk(20)]
    how = plan(TrimBorder(AutoColor.TOP_LEFT), choice=EncodingChoice(Format.WEBP, lossless=TriState.YES))
    assert opened(rendered(film_of(frames, "WEBP", duration=50, lossless=True), how).body).size == (4, 6)


def test_an_overlay_is_on_every_frame() -> None:
    source = film_of([np.full((40, 60, 3), level, np.uint8) for level in (0, 100, 200)], "GIF", duration=50)
    body = rendered(
        [source, file_of(MARK)], plan(STAMP, choice=EncodingChoice(Format.WEBP, lossless=TriState.YES))
    ).body
    for frame in shown(body):
        assert (frame[30:, 40:, :3] == MARK).all()


def test_the_first_frame_alone() -> None:
    outcome = rendered(SOURCES["film"], plan(choice=EncodingChoice(Format.GIF), first_frame=True))
    assert outcome.facts.frames == 1
    assert getattr(opened(outcome.body), "n_frames", 1) == 1


def test_delays_and_loops_go_from_gif_to_gif_and_webp() -> None:
    for kind in (Format.GIF, Format.WEBP):
        image = opened(rendered(SOURCES["film"], plan(to_width(50), choice=EncodingChoice(kind, 80))).body)
        delays = []
        for at in range(3):
            image.seek(at)
            image.load()
            delays.append(image.info["duration"])
        assert delays == [20, 50, 70]
        # GIF counts repeats, WebP how often it is shown
        assert image.info["loop"] == (3 if kind is Format.GIF else 4)


# ---------------------------------------------------------------------------------------------- metadata


def test_copyright_and_profile_follow_the_plan() -> None:
    exif = Pillow.Exif()
    exif[0x8298] = "Ann Example"
    source = file_of(PHOTO, "JPEG", exif=exif, icc_profile=grb_profile(), quality=95)
    neither = rendered(source, plan(to_width(80), choice=EncodingChoice(Format.JPEG, 90))).body
    both = rendered(
        source, plan(to_width(80), choice=EncodingChoice(Format.JPEG, 90), metadata=frozenset(KeepMetadata))
    ).body
    assert not opened(neither).getexif()
    assert opened(both).getexif()[0x8298] == "Ann Example"
    assert opened(both).info["icc_profile"] == grb_profile()
    assert off_by(seen(neither), seen(both)[:, :, [1, 0, 2]]) <= 12


@pytest.mark.parametrize(("width", "to"), [(1000, 250), (1001, 250), (1003, 120)])
def test_the_colors_of_a_webp_are_in_their_place(width: int, to: int) -> None:
    """Within 0.05 pixels of the result. Blue and yellow alternate every 20 pixels of it, in equal brightness."""
    period = 40
    waves = np.cos(2 * np.pi * (np.arange(width) + 0.5) * to / width / period)
    rows = np.tile(np.stack([128 + 0 * waves, 128 + 70 * waves, 128 + 0 * waves], axis=1).astype(np.uint8), (160, 1, 1))
    photo = Pillow.frombytes("YCbCr", (width, 160), rows.tobytes()).convert("RGB")
    shown, exact = (
        seen(rendered(saved(photo, kind, **options), plan(Resize(px(to), None))).body, "RGB")[4:-4, :, 2].mean(axis=0)
        for kind, options in (("WEBP", {"quality": 98}), ("PNG", {}))
    )
    slope = 124 * 2 * np.pi / period  # levels in a pixel, at most
    assert np.abs(shown - exact)[-period:].max() < 0.05 * slope + 1.5  # and the encoder's error
