"""Reading GIF blocks: an optimized animation with a transparent color for unchanged pixels counts as opaque."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image as Pillow

from cropmark.engine import gif, load
from tests.engine.images import opened, slopes

WIDTH, HEIGHT = 40, 30
GREEN = (0, 160, 0)


def frame(left: int, *, clear: bool = False) -> Pillow.Image:
    """A bar at `left` on green, or on nothing."""
    image = Pillow.new("RGBA", (WIDTH, HEIGHT), (*GREEN, 0 if clear else 255))
    image.paste((200, 0, 0, 255), (left, 5, left + 6, 25))
    return image


def animated(frames: list[Pillow.Image], disposal: int = 1) -> bytes:
    body = io.BytesIO()
    frames[0].save(
        body, "GIF", save_all=True, append_images=frames[1:], duration=50, disposal=disposal, optimize=True, loop=0
    )
    return body.getvalue()


def moved(body: bytes) -> bytes:
    """The file with its first frame one pixel to the right of where it was, and one narrower."""
    at = body.index(b"\x2c\0\0\0\0")
    width = int.from_bytes(body[at + 5 : at + 7], "little") - 1
    return body[: at + 1] + b"\1\0" + body[at + 3 : at + 5] + width.to_bytes(2, "little") + body[at + 7 :]


def thrown_away(body: bytes) -> bytes:
    """The file with its first frame removed before the second is shown."""
    at = body.index(b"\x21\xf9\x04") + 3
    return body[:at] + bytes([body[at] & 0b11100011 | 2 << 2]) + body[at + 1 :]


OPAQUE = [frame(left) for left in (0, 10, 20)]
# fmt: off
ALPHA = {
    "only changed pixels are stored":       (animated(OPAQUE),                                        False),
    "each is whole and thrown away":     (animated(OPAQUE, disposal=2),                            False),
    "a part is shown on nothing":        (thrown_away(animated(OPAQUE)),                           True),
    "the frame before comes back":       (animated(OPAQUE, disposal=3),                            False),
    "clear from the first frame on":     (animated([frame(n, clear=True) for n in (0, 10)], 2),    True),
    "the first frame leaves a margin":   (moved(animated(OPAQUE)),                                 True),
    "a still":                           (animated(OPAQUE[:1]),                                    False),
}
# fmt: on


@pytest.mark.parametrize(("body", "alpha"), ALPHA.values(), ids=ALPHA)
def test_alpha_is_reported_for_transparent_pixels(body: bytes, alpha: bool) -> None:
    assert load.info_of(body).alpha == alpha


def test_the_file_of_this_test_does_name_a_clear_color() -> None:
    body = animated(OPAQUE)
    control = body.index(b"\x21\xf9\x04", body.index(b"\x21\xf9\x04") + 3)
    assert body[control + 3] & 1, "the second frame has no clear color"
    assert gif.is_opaque(body)


def test_its_frames_have_no_alpha_and_show_what_they_showed() -> None:
    body = animated(OPAQUE)
    info = load.info_of(body)
    image = load.decode(body, info, frames=3)
    for shown, drawn in zip(image.frames, OPAQUE, strict=True):
        assert shown.bands == 3
        off = np.asarray(opened(shown.pngsave_buffer())).astype(int) - np.asarray(drawn)[..., :3]
        assert np.abs(off).max() <= 8


@pytest.mark.parametrize("stored", [7, 13, 30, 200, 400])
def test_a_torn_file_is_torn(stored: int) -> None:
    body = io.BytesIO()
    Pillow.fromarray(slopes(WIDTH, HEIGHT)).save(body, "GIF")
    whole = body.getvalue()
    assert gif.is_torn(whole[:stored])
    assert not gif.is_torn(whole)
    assert not gif.is_torn(whole[:-1])  # without its end mark
