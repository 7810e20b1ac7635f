"""Animated GIFs: which pixels and palettes each frame stores, and that a viewer sees the frames that were encoded."""

from __future__ import annotations

from io import BytesIO
from time import process_time

import numpy as np
import pytest
from PIL import Image as Pillow
from pyvips import GValue, Image

from cropmark.engine import gif, load
from cropmark.engine.animated_gif import encode_animation
from cropmark.engine.image import DecodedImage
from tests.engine.images import Array, frame_of, noise, pixels, rng, seen, slopes

WIDTH, HEIGHT = 60, 40
RED, BLUE, NOTHING = (255, 0, 0, 255), (0, 0, 255, 255), (0, 0, 0, 0)


def encoded(frames: list[Array], loop: int = 0) -> bytes:
    return encode_animation(DecodedImage(tuple(map(frame_of, frames)), (50,) * len(frames), loop))


def canvas(*painted: tuple[tuple[int, int, int, int], tuple[int, ...]], ground: tuple[int, ...]) -> Array:
    """A frame of one color with boxes (left, top, right, bottom) of others."""
    frame = np.full((HEIGHT, WIDTH, len(ground)), ground, np.uint8)
    for (left, top, right, bottom), color in painted:
        frame[top:bottom, left:right] = color
    return frame


def boxes(body: bytes) -> list[tuple[int, int, int, int]]:
    blocks = gif.read_blocks(body)
    assert blocks is not None
    return [(frame.left, frame.top, frame.width, frame.height) for frame in blocks.frames]


def as_shown(body: bytes) -> list[Array]:
    """The frames as Pillow shows them; libvips has to agree."""
    info = load.info_of(body)
    mode = "RGBA" if info.alpha else "RGB"
    shown = [seen(body, mode, at) for at in range(info.frames)]
    for frame, ours in zip(shown, load.decode(body, info, frames=info.frames).frames, strict=True):
        assert np.array_equal(frame, pixels(ours)) or info.alpha
        if info.alpha:
            assert np.array_equal(frame[..., 3], pixels(ours)[..., 3])
    return shown


def test_a_frame_stores_the_box_of_what_changed() -> None:
    ground = (10, 200, 30)
    frames = [canvas(ground=ground), canvas(((5, 6, 15, 26), (200, 0, 0)), ground=ground), canvas(ground=ground)]
    body = encoded(frames)
    assert boxes(body) == [(0, 0, WIDTH, HEIGHT), (5, 6, 10, 20), (5, 6, 10, 20)]
    assert all(np.array_equal(*pair) for pair in zip(as_shown(body), frames, strict=True))


def test_an_unchanged_frame_stores_one_pixel_and_still_counts() -> None:
    body = encoded([canvas(ground=(1, 2, 3))] * 3)
    assert boxes(body)[1:] == [(0, 0, 1, 1)] * 2
    assert load.info_of(body).frames == 3
    assert not load.info_of(body).alpha


# fmt: off
CLEAR = {
    "nothing is cleared": [
        canvas(((0, 0, 20, 20), RED), ground=NOTHING),
        canvas(((0, 0, 20, 20), RED), ((30, 10, 40, 20), BLUE), ground=NOTHING),
    ],
    "a part is cleared": [
        canvas(((0, 0, 20, 20), RED), ground=NOTHING),
        canvas(((10, 10, 30, 30), BLUE), ground=NOTHING),
        canvas(((20, 20, 40, 40), RED), ground=NOTHING),
    ],
    "cleared after frames that only add": [
        canvas(((0, 0, 20, 20), RED), ground=NOTHING),
        canvas(((0, 0, 20, 20), RED), ((30, 10, 40, 20), BLUE), ground=NOTHING),
        canvas(((0, 0, 20, 20), RED), ((30, 10, 40, 30), BLUE), ground=NOTHING),
        canvas(((50, 30, 60, 40), BLUE), ground=NOTHING),
    ],
    "an opaque frame is cleared": [canvas(ground=RED), canvas(((5, 5, 9, 9), BLUE), ground=NOTHING)],
    "a frame with nothing":       [canvas(ground=NOTHING), canvas(ground=BLUE), canvas(ground=NOTHING)],
    "only frames with nothing":   [canvas(ground=NOTHING)] * 2,
    "alpha, but all is opaque":   [canvas(ground=RED), canvas(ground=BLUE)],
}
# fmt: on


@pytest.mark.parametrize("frames", CLEAR.values(), ids=CLEAR)
def test_transparent_pixels_are_those_of_each_frame(frames: list[Array]) -> None:
    for shown, frame in zip(as_shown(encoded(frames)), frames, strict=True):
        alpha = frame[..., 3]
        assert np.array_equal(shown[..., 3] if shown.shape[2] == 4 else np.full_like(alpha, 255), alpha)
        assert np.array_equal(shown[alpha > 0][:, :3], frame[alpha > 0][:, :3])


def test_half_transparent_is_opaque_and_less_is_transparent() -> None:
    frame = canvas(((0, 0, 10, 10), (9, 9, 9, 128)), ((10, 0, 20, 10), (9, 9, 9, 127)), ground=RED)
    alpha = as_shown(encoded([frame, frame]))[1][..., 3]
    assert (alpha[5, 5], alpha[5, 15], alpha[20, 20]) == (255, 0, 255)


def test_frames_of_other_colors_get_a_palette_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cropmark.engine.animated_gif._GROUP_PIXELS", 2 * WIDTH * HEIGHT)
    ramp = slopes(WIDTH, HEIGHT)
    scenes = [ramp, ramp, ramp[..., ::-1], ramp[..., ::-1], ramp[..., [1, 2, 0]] // 2, ramp[..., [1, 2, 0]] // 2]
    body = encoded(scenes)
    tables = [_own_table(body, frame) for frame in _frames(body)]
    assert tables[:2] == [b"", b""]
    assert (tables[2], tables[4]) == (tables[3], tables[5])
    assert len(set(tables)) == 3
    for shown, scene in zip(as_shown(body), scenes, strict=True):
        assert np.abs(shown.astype(int) - scene).mean() < 4


def _frames(body: bytes) -> tuple[gif.GifFrame, ...]:
    blocks = gif.read_blocks(body)
    assert blocks is not None
    return blocks.frames


def _own_table(body: bytes, frame: gif.GifFrame) -> bytes:
    at = frame.control_at + 14  # of the byte with the size of the color table
    return body[at + 1 : at + 1 + 768] if body[at] & 0x80 else b""


def test_up_to_255_distinct_colors_are_exact() -> None:
    colors = np.stack([np.arange(255) * 7 % 256, np.arange(255), np.arange(255) * 3 % 256], axis=1).astype(np.uint8)
    frames = [colors[rng(seed).integers(0, 255, (HEIGHT, WIDTH))] for seed in (1, 2)]
    assert all(np.array_equal(*pair) for pair in zip(as_shown(encoded(frames)), frames, strict=True))


@pytest.mark.parametrize(("loop", "stored"), [(0, 0), (1, None), (2, 1), (65536, 65535), (70000, 65535)])
def test_the_number_of_loops(loop: int, stored: int | None) -> None:
    body = encoded([canvas(ground=RED[:3]), canvas(ground=BLUE[:3])], loop)
    assert Pillow.open(BytesIO(body)).info.get("loop") == stored


def test_durations_are_rounded_to_hundredths() -> None:
    frames = tuple(frame_of(canvas(ground=(level, 0, 0))) for level in range(4))
    body = encode_animation(DecodedImage(frames, (0, 14, 26, 10**7), 0))
    starts = [at for at in range(len(body)) if body[at : at + 3] == b"\x21\xf9\x04"]
    assert [int.from_bytes(body[at + 4 : at + 6], "little") for at in starts] == [0, 1, 3, 65535]


def test_colors_are_near_those_of_a_photograph() -> None:
    """Dithering by libvips has a mean error of 9 levels here, and 40 % more bytes."""
    scenes = [np.roll(slopes(300, 200), shift, axis=1) for shift in (0, 3, 6)]
    body = encoded(scenes)
    for shown, scene in zip(as_shown(body), scenes, strict=True):
        assert np.abs(shown.astype(int) - scene).mean() < 4.5


def test_noise_of_all_colors_is_encoded() -> None:
    frames = [noise(WIDTH, HEIGHT, seed=seed) for seed in (1, 2)]
    assert len(boxes(encoded(frames))) == 2


def test_a_moving_scene_takes_less_time_than_with_libvips() -> None:
    """In frames of real size; about a third of the time on an idle core."""
    scene = np.clip(slopes(540, 353).astype(int) + rng().integers(-4, 5, (353, 540, 3)), 0, 255).astype(np.uint8)
    frames = tuple(frame_of(scene[:, at * 4 : at * 4 + 480]) for at in range(16))
    strip = Image.arrayjoin(list(frames), across=1).copy()
    strip.set_type(GValue.gint_type, "page-height", 353)
    began_s = process_time()
    encode_animation(DecodedImage(frames, (50,) * 16, 0))
    encoded_s = process_time()
    strip.gifsave_buffer(effort=1, keep_duplicate_frames=True)
    assert encoded_s - began_s < process_time() - encoded_s
