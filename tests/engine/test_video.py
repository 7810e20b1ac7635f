"""mp4: written frame by frame, and decoded by ffmpeg and Chromium."""

from __future__ import annotations

import json
import shutil
import subprocess
from base64 import b64encode
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from playwright.sync_api import Browser

from cropmark.engine import load, render, video
from cropmark.engine.image import DecodedImage
from cropmark.engine.isobmff import children, whole
from cropmark.geometry.h264 import LEVELS, sufficient_level
from cropmark.model.extras import VIDEO
from cropmark.model.formats import Format, begins_as, sniff_format
from cropmark.model.problems import OutputTooLarge, SourceUnusable
from cropmark.model.values import Color, Size
from cropmark.plan.plan import EncodingChoice, H264Profile, Limits, Output, Plan, Video
from cropmark.plan.steps import AnyStep, Dither, Flatten, Monochrome, Resize
from cropmark.ports import Rendered
from tests.browser import CHROMIUM, chromium
from tests.builders import px
from tests.engine.images import Array, frame_of, noise, saved, slopes
from tests.hostile.seeds import moving
from tests.requirements import require

pytestmark = require("the extra `video`", VIDEO.package is not None)
needs_ffmpeg = require("ffmpeg", shutil.which("ffmpeg") is not None and shutil.which("ffprobe") is not None)

DURATIONS = [30, 40, 500]
FRAMES = [np.roll(slopes(48, 32), 5 * number, axis=1) for number in range(3)]


@pytest.fixture(scope="module", autouse=True)
def _codec() -> None:
    load.prepare()


def film(frames: list[Array], durations: list[int] | None = None) -> DecodedImage:
    return DecodedImage(tuple(map(frame_of, frames)), tuple(durations or [100] * len(frames)))


def gif(frames: list[Array], durations: list[int] | int = 100, **options: Any) -> bytes:
    first, *others = map(Pillow.fromarray, frames)
    return saved(first, "GIF", save_all=True, append_images=others, duration=durations, loop=0, **options)


def rendered(body: bytes, *steps: AnyStep, **choice: Any) -> Rendered:
    outcome = render.render([body], Plan(steps, Output((EncodingChoice(Format.MP4, **choice),))))
    assert isinstance(outcome, Rendered), outcome
    return outcome


def probed(body: bytes) -> dict[str, Any]:
    """The stream as ffprobe reads it, with its frames."""
    command = ["ffprobe", "-v", "error", "-show_streams", "-show_frames", "-of", "json", "-"]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    assert done.stderr == b""
    found: dict[str, Any] = json.loads(done.stdout)
    (stream,) = found["streams"]
    return {**stream, "frames": found["frames"]}


def decoded(body: bytes) -> Array:
    """All frames in RGB as ffmpeg decodes them: frame, row, column, band."""
    stream = probed(body)
    command = ["ffmpeg", "-v", "error", "-i", "-", "-vsync", "0", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    done = subprocess.run(command, input=body, capture_output=True, check=True)
    assert done.stderr == b""
    frames: Array = np.frombuffer(done.stdout, np.uint8).reshape(-1, stream["height"], stream["width"], 3)
    return frames


def starts_ms(stream: dict[str, Any]) -> list[int]:
    return [round(1000 * float(frame["pts_time"])) for frame in stream["frames"]]


@needs_ffmpeg
def test_ffmpeg_reads_frames_times_and_colors() -> None:
    body = video.encoded(film(FRAMES, DURATIONS), Video())
    stream = probed(body)
    assert (stream["codec_name"], stream["pix_fmt"], stream["width"], stream["height"]) == ("h264", "yuv420p", 48, 32)
    assert (stream["color_space"], stream["color_range"], stream["color_transfer"]) == ("bt709", "tv", "iec61966-2-1")
    assert starts_ms(stream) == [0, 30, 70]
    assert float(stream["duration"]) == pytest.approx(0.57)
    assert np.abs(decoded(body).astype(int) - np.stack(FRAMES)).mean() < 6


@needs_ffmpeg
@pytest.mark.parametrize("color", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (0, 0, 0), (255, 255, 255)])
def test_colors_are_preserved(color: tuple[int, int, int]) -> None:
    frame = np.full((32, 48, 3), color, np.uint8)
    found = decoded(video.encoded(film([frame, frame]), Video()))
    assert np.abs(found.astype(int) - color).max() <= 4


# fmt: off
PROFILES = [
    # video                             profile                level
    (Video(),                           "Constrained Baseline", 30),
    (Video(H264Profile.BASELINE, 40),   "Constrained Baseline", 40),
    (Video(H264Profile.MAIN, 10),       "Main",                 10),
    (Video(H264Profile.HIGH, 13),       "High",                 13),
    (Video(H264Profile.HIGH, 62),       "High",                 62),
]
# fmt: on


@needs_ffmpeg
@pytest.mark.parametrize(("asked", "profile", "level"), PROFILES)
def test_profile_and_level(asked: Video, profile: str, level: int) -> None:
    stream = probed(video.encoded(film([noise(96, 64, seed=n) for n in range(12)], [70] * 12), asked))
    assert (stream["profile"], stream["level"]) == (profile, level)
    assert starts_ms(stream) == [70 * number for number in range(12)]  # also where frames are stored in another order
    assert float(stream["duration"]) == pytest.approx(0.84)


@needs_ffmpeg
def test_a_fast_video_gets_a_higher_level() -> None:
    frames = [noise(720, 576, seed=n) for n in range(2)]
    assert [probed(video.encoded(film(frames, [each] * 2), Video()))["level"] for each in (40, 20)] == [30, 31]


def test_the_bits_per_second_stay_inside_the_level() -> None:
    """Ten seconds of noise: the bits of the level, and once its buffer."""
    level = LEVELS[10]
    body = video.encoded(film([noise(176, 144, seed=n) for n in range(100)]), Video(level=10))
    assert sufficient_level(Size(176, 144), 10, 100) == 10
    assert len(body) * 8 < (10 * level.kilobits_per_s + level.buffered_kilobits) * 1100


def test_the_index_comes_first() -> None:
    body = video.encoded(film(FRAMES), Video())
    assert [box.kind for box in children(body, whole(body))][:2] == [b"ftyp", b"moov"]
    assert begins_as(body, Format.MP4)
    assert sniff_format(body) is None  # as a source it is another kind of file


def test_the_same_frames_are_the_same_bytes() -> None:
    assert video.encoded(film(FRAMES), Video()) == video.encoded(film(FRAMES), Video())


def test_low_effort_is_another_encoding() -> None:
    frames = [noise(96, 64, seed=n) for n in range(3)]
    assert video.encoded(film(frames), Video(), low_effort=True) != video.encoded(film(frames), Video())


@needs_ffmpeg
def test_frames_without_a_duration_are_shown_as_in_browsers() -> None:
    stream = probed(video.encoded(film(FRAMES, [0, 10, 20]), Video()))
    assert starts_ms(stream) == [0, 100, 200]
    assert float(stream["duration"]) == pytest.approx(0.22)


@needs_ffmpeg
def test_the_longest_durations() -> None:
    stream = probed(video.encoded(film(FRAMES, [655_350] * 3), Video()))
    assert float(stream["duration"]) == pytest.approx(1966.05)


@needs_ffmpeg
@settings(max_examples=12, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.lists(st.integers(0, 3000), min_size=2, max_size=9), st.booleans())
def test_any_animation(width: int, height: int, durations: list[int], alpha: bool) -> None:
    frames = [noise(width, height, 4 if alpha else 3, seed=n) for n in range(len(durations))]
    webp, *others = map(Pillow.fromarray, frames)
    body = saved(webp, "WEBP", save_all=True, append_images=others, duration=durations, lossless=True)
    info = load.info_of(body)
    outcome = rendered(body)
    assert outcome.format is (Format.MP4 if info.animated else Format.WEBP)
    if info.animated:
        stream = probed(outcome.body)
        assert Size(stream["width"], stream["height"]) == outcome.facts.size
        assert len(stream["frames"]) == info.frames


@needs_ffmpeg
def test_a_thousand_frames() -> None:
    frames = [np.full((16, 16, 3), number % 256, np.uint8) for number in range(1000)]
    assert len(probed(rendered(gif(frames, 20)).body)["frames"]) == 1000


@needs_ffmpeg
def test_a_gif_is_resized_and_flattened() -> None:
    frames = [np.dstack([frame, np.full((32, 48), 255 * (n % 2), np.uint8)]) for n, frame in enumerate(FRAMES)]
    body = gif(frames, DURATIONS, disposal=2)
    assert load.info_of(body).alpha
    outcome = rendered(body, Resize(px(25), px(17)), Flatten(Color(0, 200, 0)))
    assert outcome.facts.size == Size(24, 16)
    first = decoded(outcome.body)[0]
    assert np.abs(first.astype(int) - (0, 200, 0)).max() <= 6


@needs_ffmpeg
def test_black_and_white() -> None:
    found = decoded(rendered(gif(FRAMES), Monochrome(Dither.ATKINSON)).body)
    assert found.shape == (3, 32, 48, 3)
    assert np.ptp(found.astype(int), axis=3).max() <= 12


@pytest.mark.parametrize("tenth", range(1, 10))
@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_a_torn_animation_is_rejected(kind: str, tenth: int) -> None:
    body = moving(kind, 6)
    with pytest.raises(SourceUnusable):
        rendered(body[: len(body) * tenth // 10], Resize(px(31), px(17)))
    assert begins_as(rendered(body, Resize(px(31), px(17))).body, Format.MP4)


def test_it_is_smaller_than_the_gif() -> None:
    """A photograph that moves: the sizes of docs/formats.md are of this kind."""
    photo = Pillow.open(Path(__file__).parents[2] / "examples" / "images" / "astronaut.jpg").resize((400, 400))
    frames = [np.asarray(photo.crop((4 * n, 2 * n, 240 + 4 * n, 180 + 2 * n))) for n in range(20)]
    source = gif(frames, 50)
    assert len(rendered(source).body) < len(source) / 8


def test_check_67_a_side_that_no_level_has_is_refused_before() -> None:
    wide = Resize(px(16_386), px(16), enlarge=True)
    plan = Plan((wide,), Output((EncodingChoice(Format.MP4),)), limits=Limits(side=2**17))
    with pytest.raises(OutputTooLarge, match="16386x16, a side of a mp4 image may have at most 16384 px"):
        render.render([gif(FRAMES)], plan)


def test_odd_sides_are_an_error_of_the_encoder() -> None:
    """resolve() never asks for them."""
    with pytest.raises(pyvips.Error, match="mp4"):
        video.encoded(film([noise(47, 31), noise(47, 31)]), Video())


def test_too_little_memory_is_no_fault_of_the_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> bytes:
        raise import_module("av.error").MemoryError(12, "Cannot allocate memory")

    monkeypatch.setattr(video, "_film", full)
    with pytest.raises(MemoryError):
        video.encoded(film(FRAMES), Video())


def test_without_the_extra_nothing_is_encoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_codec", None)
    with pytest.raises(pyvips.Error, match="the extra `video` is not installed"):
        video.encoded(film(FRAMES), Video())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@require("chromium", CHROMIUM is not None)
@pytest.mark.parametrize("profile", H264Profile)
def test_a_browser_plays_it(profile: H264Profile, browser: Browser) -> None:
    """Its size, its duration, and the color in its middle at the end."""
    frames = [np.full((64, 96, 3), color, np.uint8) for color in ((255, 0, 0), (0, 0, 255), (30, 160, 90))]
    body = video.encoded(film(frames, [300, 200, 500]), Video(profile, 30))
    found = browser.new_page().evaluate(_PLAYED, b64encode(body).decode())
    assert found["size"] == [96, 64]
    assert found["duration"] == pytest.approx(1.0, abs=0.01)
    assert found["color"] == pytest.approx([30, 160, 90], abs=6)


_PLAYED = """async (text) => {
  const player = document.createElement('video');
  player.muted = true;
  player.src = 'data:video/mp4;base64,' + text;
  await new Promise((done, failed) => {
    player.onloadeddata = done;
    player.onerror = () => failed(new Error(player.error.message));
  });
  await player.play();
  await new Promise((done) => { if (player.ended) done(); else player.onended = done; });
  const canvas = new OffscreenCanvas(player.videoWidth, player.videoHeight);
  const context = canvas.getContext('2d');
  context.drawImage(player, 0, 0);
  const color = [...context.getImageData(48, 32, 1, 1).data].slice(0, 3);
  return {size: [player.videoWidth, player.videoHeight], duration: player.duration, color};
}"""
