"""Reading GIF blocks: which pixels are transparent, which files are torn, and frames as browsers show them."""

from __future__ import annotations

import io
from struct import pack

import numpy as np
import pytest
from PIL import Image as Pillow

from cropmark.engine import gif, load
from cropmark.engine.save import encode
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Format
from cropmark.model.problems import SourceUnusable
from cropmark.model.values import Size
from tests.engine.images import Array, opened, pixels, seen, slopes

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
    "the empty canvas comes back":       (animated(OPAQUE, disposal=3),                            True),
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
    blocks = gif.read_blocks(body)
    assert blocks is not None
    assert blocks.is_opaque


def test_its_frames_have_no_alpha_and_show_what_they_showed() -> None:
    body = animated(OPAQUE)
    info = load.info_of(body)
    image = load.decode(body, info, frames=3)
    for shown, drawn in zip(image.frames, OPAQUE, strict=True):
        assert shown.bands == 3
        off = np.asarray(opened(shown.pngsave_buffer())).astype(int) - np.asarray(drawn)[..., :3]
        assert np.abs(off).max() <= 8


@pytest.mark.parametrize("stored", [7, 13, 30, 200, 400])
def test_a_torn_file_has_no_blocks(stored: int) -> None:
    body = io.BytesIO()
    Pillow.fromarray(slopes(WIDTH, HEIGHT)).save(body, "GIF")
    whole = body.getvalue()
    assert gif.read_blocks(whole[:stored]) is None
    assert gif.read_blocks(whole) is not None
    assert gif.read_blocks(whole[:-1]) is not None  # without its end mark


# ------------------------------------------------------------------------------------ unpainted pixels

PALETTE = b"\xff\0\0\0\xff\0\0\0\xff\xff\xff\xff"
RED, GRASS, BLUE, WHITE = range(4)
KEEP, CLEAR, RESTORE = 1, 2, 3


def block(left: int, top: int, side: int, color: int, disposal: int, transparent: int | None = None) -> bytes:
    """The blocks of a square frame of one color. Each code of three bits is one pixel, or clears the code table."""
    codes = [code for _ in range(side * side) for code in (4, color)] + [5]
    bits = "".join(f"{code:03b}" for code in reversed(codes))
    packed = int(bits, 2).to_bytes((len(bits) + 7) // 8, "little")
    stored = b"".join(
        bytes([len(part)]) + part for part in (packed[at : at + 255] for at in range(0, len(packed), 255))
    )
    control = bytes([disposal << 2 | (transparent is not None)]) + b"\x0a\0" + bytes([transparent or 0])
    return b"!\xf9\x04" + control + b"\0," + pack("<4H", left, top, side, side) + b"\0\x02" + stored + b"\0"


def film(*frames: bytes, screen: tuple[int, int] = (20, 20)) -> bytes:
    """A file with these frames; its background color is red."""
    head = b"GIF89a" + pack("<HH", *screen) + b"\x81\0\0" + PALETTE
    return head + b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0" + b"".join(frames) + b";"


# The color of the pixels at 1,1, 7,7 and 15,15 of each frame, "." is transparent. All rows are what Chromium shows.
# fmt: off
SHOWN = {
    "the first frame is smaller than the screen":
        (film(block(5, 5, 10, RED, KEEP), block(0, 0, 10, GRASS, KEEP)),                     (".R.", "GG.")),
    "a still is smaller than the screen":
        (film(block(5, 5, 10, RED, KEEP)),                                                   (".R.",)),
    "the first frame is removed, and is not replaced by the background color":
        (film(block(0, 0, 20, BLUE, CLEAR), block(5, 5, 10, GRASS, KEEP)),                   ("BBB", ".G.")),
    "a frame is removed from the first one":
        (film(block(0, 0, 20, BLUE, KEEP), block(5, 5, 10, GRASS, CLEAR), block(0, 0, 4, WHITE, KEEP)),
                                                                                              ("BBB", "BGB", "W.B")),
    "each frame is removed":
        (film(*(block(5 * at, 5 * at, 6, RED, CLEAR) for at in range(3))),                   ("R..", ".R.", "..R")),
    "removed, in a file with a transparent color elsewhere":
        (film(block(0, 0, 20, BLUE, CLEAR), block(0, 0, 20, GRASS, KEEP, transparent=GRASS)), ("BBB", "...")),
    "the empty canvas is restored":
        (film(block(0, 0, 20, BLUE, RESTORE), block(5, 5, 10, GRASS, KEEP)),                 ("BBB", ".G.")),
    "the frame before is restored":
        (film(block(0, 0, 20, BLUE, KEEP), block(5, 5, 10, GRASS, RESTORE), block(0, 0, 4, RED, KEEP)),
                                                                                              ("BBB", "BGB", "RBB")),
    "nothing is missing":
        (film(block(0, 0, 20, BLUE, KEEP), block(5, 5, 10, GRASS, KEEP)),                    ("BBB", "BGB")),
}
SCREENS = [
    # screen       size
    ((640, 480),   Size(640, 480)),     # libnsgif takes the first frame's size for these
    ((2100, 16),   Size(2100, 16)),
    ((8, 20),      Size(15, 20)),       # the first frame enlarges the screen
    ((0, 0),       Size(15, 15)),
]
# fmt: on


COLORS = {(255, 0, 0): "R", (0, 255, 0): "G", (0, 0, 255): "B", (255, 255, 255): "W"}


def color_at(frame: Array, at: int) -> str:
    red, green, blue, *alpha = (int(value) for value in frame[at, at])
    return "." if alpha == [0] else COLORS[red, green, blue]


def shown(frame: Array) -> str:
    return "".join(color_at(frame, at) for at in (1, 7, 15))


@pytest.mark.parametrize(("body", "expected"), SHOWN.values(), ids=SHOWN)
def test_frames_are_decoded_as_browsers_show_them(body: bytes, expected: tuple[str, ...]) -> None:
    info = load.info_of(body)
    assert (info.frames, info.alpha) == (len(expected), any("." in row for row in expected))
    image = load.decode(body, info, frames=info.frames)
    assert tuple(shown(pixels(frame)) for frame in image.frames) == expected
    assert shown(pixels(load.decode(body, info).frames[0])) == expected[0]
    assert set(image.delays_ms) <= {100}


@pytest.mark.parametrize(("body", "expected"), SHOWN.values(), ids=SHOWN)
@pytest.mark.parametrize("kind", [Format.GIF, Format.WEBP])
def test_transparent_pixels_stay_transparent_in_a_new_file(
    body: bytes, expected: tuple[str, ...], kind: Format
) -> None:
    info = load.info_of(body)
    written = encode(load.decode(body, info, frames=info.frames), Encoding(kind, 85, lossless=True))
    assert tuple(shown(seen(written, "RGBA", at)) for at in range(info.frames)) == expected


@pytest.mark.parametrize(("screen", "size"), SCREENS)
def test_the_canvas_is_the_screen_enlarged_by_the_first_frame(screen: tuple[int, int], size: Size) -> None:
    body = film(block(5, 5, 10, RED, KEEP), screen=screen)
    info = load.info_of(body)
    assert (info.size, info.alpha) == (size, True)
    frame = pixels(load.decode(body, info).frames[0])
    assert frame.shape == (size.height, size.width, 4)
    assert color_at(frame, 1) + color_at(frame, 7) == ".R"


SQUARE = block(5, 5, 10, RED, KEEP)
# fmt: off
NOT_DECODABLE = {
    "unknown data before its frame":     film(b"!\xff\0\0" + SQUARE),
    "only the added frame decodes":      film(SQUARE.replace(b"\0\x02\x4c", b"\0\x12\x4c"), screen=(640, 480)),
    "its frame ends beyond any screen":  film(SQUARE.replace(pack("<4H", 5, 5, 10, 10), pack("<4H", 65535, 5, 10, 10))),
}
# fmt: on


@pytest.mark.parametrize("body", NOT_DECODABLE.values(), ids=NOT_DECODABLE)
def test_a_file_without_a_frame_that_decodes_is_broken(body: bytes) -> None:
    with pytest.raises(SourceUnusable):
        load.info_of(body)
