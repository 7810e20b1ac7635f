"""Animated AVIF: read and written whole, compared with Pillow and Chromium."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from struct import pack_into, unpack_from
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from cropmark.engine import load, motion, render, wide_gamut
from cropmark.engine.image import DecodedImage
from cropmark.engine.isobmff import child, descendant, inner, whole
from cropmark.engine.sequence import plays_of, with_plays
from cropmark.model.formats import Colors, Format
from cropmark.model.problems import SourceUnusable
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.plan.steps import AnyStep, Orient, Orientation, Resize
from cropmark.ports import Rendered
from tests.browser import CHROMIUM, chromium
from tests.builders import px
from tests.engine.images import (
    Array,
    frame_of,
    grb_profile,
    noise,
    off_by,
    opened,
    p3_profile,
    pixels,
    saved,
    seen,
    slopes,
)
from tests.requirements import require

DURATIONS = [30, 40, 500]
FRAMES = [np.roll(slopes(48, 32), 5 * number, axis=1) for number in range(3)]


def sequence(*, alpha: bool = False, **options: Any) -> bytes:
    """Three frames of 48 by 32 px, nearly without loss."""
    frames = [np.dstack([frame, slopes(48, 32)[:, :, 0]]) if alpha else frame for frame in FRAMES]
    first, *others = map(Pillow.fromarray, frames)
    usual = {"duration": DURATIONS, "quality": 100, "subsampling": "4:4:4"}
    return saved(first, "AVIF", save_all=True, append_images=others, **{**usual, **options})


def decoded(body: bytes) -> DecodedImage:
    info = load.info_of(body)
    return load.decode(body, info, frames=info.frames)


def rendered(body: bytes, kind: Format | None, *steps: AnyStep, **output: Any) -> bytes:
    outcome = render.render([body], Plan(steps, Output((EncodingChoice(kind, quality=90),), **output)))
    assert isinstance(outcome, Rendered), outcome
    return outcome.body


@pytest.mark.parametrize("alpha", [False, True])
def test_all_frames_are_read(alpha: bool) -> None:
    body = sequence(alpha=alpha)
    info = load.info_of(body)
    assert (info.frames, info.first_frame_only, info.alpha) == (3, False, alpha)
    film = decoded(body)
    assert film.delays_ms == tuple(DURATIONS)
    for number, frame in enumerate(film.frames):
        assert off_by(pixels(frame), seen(body, frame=number)) == 0


def test_a_sequence_of_one_frame_with_a_broken_track_is_broken() -> None:
    """Its still image, which libvips reads, is whole."""
    sound = sequence()
    tables = descendant(sound, whole(sound), b"moov", b"trak", b"mdia", b"minf", b"stbl")
    assert tables is not None
    body = bytearray(sound)
    # one sample in the lists of sizes, chunks and times; its place is in the header
    for kind, place, value in ((b"stsz", 8, 1), (b"stsc", 12, 1), (b"stts", 4, 1), (b"stco", 8, tables.start)):
        table = child(sound, tables, kind)
        assert table is not None
        pack_into(">I", body, table.start + place, value)
    assert load.info_of(bytes(body)).frames == 1
    assert not load.decodes_fully(bytes(body))
    with pytest.raises(SourceUnusable):
        rendered(bytes(body), Format.JPEG)


def test_the_first_frame_is_read_alone() -> None:
    body = sequence()
    film = load.decode(body, load.info_of(body), frames=1)
    assert len(film.frames) == 1
    assert off_by(pixels(film.frames[0]), seen(body)) == 0


STSD = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")


def with_property(body: bytes, added: bytes) -> bytes:
    """The sequence with one more box in the sample entry of its first track. Pillow cannot write such a sequence."""
    changed = bytearray(body)
    parents = [descendant(body, whole(body), *STSD[:depth]) for depth in range(1, len(STSD) + 1)]
    boxes = [box for box in parents if box is not None]
    entry = child(body, inner(boxes[-1], 8), b"av01")
    offsets = child(body, boxes[-2], b"stco")
    assert entry is not None
    assert offsets is not None
    for box in (*boxes, entry):
        (length,) = unpack_from(">I", body, box.start - 8)
        pack_into(">I", changed, box.start - 8, length + len(added))
    (place,) = unpack_from(">I", body, offsets.start + 8)
    pack_into(">I", changed, offsets.start + 8, place + len(added))
    return bytes(changed[: entry.end] + added + changed[entry.end :])


# fmt: off
TURNS: dict[str, tuple[bytes, Callable[[Array], Array]]] = {
    # property                                  upright frame
    "irot 1": (b"\0\0\0\x09irot\x01",            np.rot90),
    "irot 2": (b"\0\0\0\x09irot\x02",            lambda frame: np.rot90(frame, 2)),
    "irot 3": (b"\0\0\0\x09irot\x03",            lambda frame: np.rot90(frame, 3)),
    "imir 0": (b"\0\0\0\x09imir\x00",            np.flipud),
    "imir 1": (b"\0\0\0\x09imir\x01",            np.fliplr),
}
# fmt: on


@pytest.mark.parametrize("name", TURNS)
def test_rotation_and_mirroring_are_applied(name: str) -> None:
    """Source: ISO/IEC 23008-12, 6.5.10 and 6.5.12: irot counts quarter turns to the left."""
    added, turned = TURNS[name]
    body = with_property(sequence(), added)
    expected = turned(seen(sequence(), frame=1))
    info = load.info_of(body)
    assert (info.size.height, info.size.width) == expected.shape[:2]
    assert off_by(pixels(decoded(body).frames[1]), expected) == 0


@pytest.mark.parametrize("plays", [0, 1, 2, 7, 65_535])
def test_the_number_of_plays_is_written_and_read(plays: int) -> None:
    body = with_plays(sequence(), plays)
    assert plays_of(body) == plays
    assert off_by(seen(body, frame=2), seen(sequence(), frame=2)) == 0


def test_the_same_frames_are_the_same_bytes() -> None:
    """libavif writes the time of the day."""
    film = DecodedImage(tuple(map(frame_of, FRAMES)), tuple(DURATIONS), 2)
    body = bytearray(motion.encoded(film, 80, effort=0))
    assert bytes(body) == motion.encoded(film, 80, effort=0)
    movie = child(bytes(body), whole(bytes(body)), b"moov")
    header = child(bytes(body), movie, b"mvhd")
    assert header is not None
    assert not any(body[header.start + 4 : header.start + 20])


def test_each_kind_of_sequence_is_written() -> None:
    film = DecodedImage(tuple(map(frame_of, FRAMES)), (0, 40, 500), 3)
    body = motion.encoded(film, 100, effort=1, profile=p3_profile())
    image: Any = opened(body)
    assert (image.n_frames, image.info["icc_profile"]) == (3, p3_profile())
    durations = []
    for number, frame in enumerate(FRAMES):
        image.seek(number)
        image.load()
        durations.append(image.info["duration"])
        assert off_by(np.asarray(image), frame) <= 8
    assert durations == [1, 40, 500]  # 0 ms would end the file
    assert plays_of(body) == 3


# fmt: off
RESULTS = [
    # source, becomes                                    frames in the result
    ("AVIF",    None,          {},                       3),
    ("AVIF",    Format.AVIF,   {},                       3),
    ("AVIF",    Format.WEBP,   {},                       3),
    ("AVIF",    Format.GIF,    {},                       3),
    ("AVIF",    Format.PNG,    {},                       1),
    ("AVIF",    Format.JPEG,   {},                       1),
    ("AVIF",    Format.AVIF,   {"first_frame": True},    1),
    ("GIF",     Format.AVIF,   {},                       3),
    ("WEBP",    Format.AVIF,   {},                       3),
]
# fmt: on


@pytest.mark.parametrize(("kind", "to", "output", "frames"), RESULTS)
def test_an_animation_becomes(kind: str, to: Format | None, output: dict[str, Any], frames: int) -> None:
    first, *others = map(Pillow.fromarray, FRAMES)
    source = saved(first, kind, save_all=True, append_images=others, duration=DURATIONS, loop=0)
    body = rendered(source, to, Resize(px(24), px(16)), **output)
    image = opened(body)
    assert (getattr(image, "n_frames", 1), image.size) == (frames, (24, 16))
    assert image.format == (to.name if to else kind)
    if frames > 1:
        expected = seen(rendered(saved(Pillow.fromarray(FRAMES[2]), "PNG"), Format.PNG, Resize(px(24), px(16))))
        assert np.abs(seen(body, "RGB", frame=2).astype(int) - expected).mean() < 8


def test_every_frame_is_turned() -> None:
    body = rendered(sequence(), Format.AVIF, Orient(Orientation.ROTATE_90))
    assert opened(body).size == (32, 48)
    for number in range(3):
        assert off_by(seen(body, frame=number), np.rot90(seen(sequence(), frame=number), -1)) <= 40


# fmt: off
COLORED = {
    # the file                                           profile, color of the first pixel in sRGB
    "plain":    (sequence(),                             None),
    "profile":  (sequence(icc_profile=grb_profile()),    grb_profile()),
    "P3":       (sequence(icc_profile=p3_profile()),     p3_profile()),
}
# fmt: on


@pytest.mark.parametrize("name", COLORED)
def test_a_profile_is_applied_to_every_frame(name: str) -> None:
    body, profile = COLORED[name]
    out = rendered(body, Format.WEBP, Resize(px(48), px(32)))
    plain = saved(Pillow.fromarray(seen(body, frame=2)), "PNG", **({"icc_profile": profile} if profile else {}))
    expected = seen(rendered(plain, Format.PNG))
    assert np.abs(seen(out, "RGB", frame=2).astype(int) - expected).mean() < 8


def test_wide_colors_stay_in_animations() -> None:
    body = rendered(COLORED["P3"][0], Format.AVIF, Resize(px(24), px(16)), colors=Colors.P3)
    assert opened(body).info["icc_profile"] == wide_gamut.p3_profile()


def test_declared_colors_of_a_sequence_are_applied() -> None:
    """The nclx property of the track: 12 is Display P3's primaries, with the curve of sRGB."""
    body = bytearray(sequence())
    table = descendant(bytes(body), whole(bytes(body)), *STSD)
    assert table is not None
    at = body.index(b"colrnclx", table.start)
    pack_into(">HH", body, at + 8, 12, 13)
    as_p3 = seen(rendered(saved(Pillow.fromarray(seen(bytes(body))), "PNG", icc_profile=p3_profile()), Format.PNG))
    out = seen(rendered(bytes(body), Format.PNG))
    assert off_by(out, as_p3) <= 2


def _cuts() -> Iterator[bytes]:
    body = sequence()
    yield from (body[: len(body) * part // 12] for part in range(1, 12))


@pytest.mark.parametrize("body", list(_cuts()))
def test_a_cut_sequence_is_rejected(body: bytes) -> None:
    with pytest.raises(SourceUnusable):
        render.render([body], Plan())


def test_without_the_extra_the_first_frame_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(motion, "_codec", None)
    body = sequence()
    info = load.info_of(body)
    assert (info.frames, info.first_frame_only) == (1, True)
    assert off_by(pixels(load.decode(body, info).frames[0]), seen(body)) <= 2


@require("chromium", CHROMIUM is not None)
def test_a_browser_plays_it() -> None:
    """Frames, durations in microseconds and repetitions as Chromium's ImageDecoder reads them."""
    films = {
        plays: motion.encoded(DecodedImage(tuple(map(frame_of, FRAMES)), tuple(DURATIONS), plays), 90, effort=1)
        for plays in (0, 1, 4)
    }
    texts = {str(plays): b64encode(body).decode() for plays, body in films.items()}
    with chromium() as browser:
        page = browser.new_page()
        page.goto("chrome://version")  # ImageDecoder needs a secure context
        found = page.evaluate(_PLAYED, texts)
    durations = [duration * 1000 for duration in DURATIONS]
    assert found == {
        "0": [3, None, durations],  # null: forever
        "1": [3, 0, durations],
        "4": [3, 3, durations],
    }


_PLAYED = """async (texts) => {
  const found = {};
  for (const [name, text] of Object.entries(texts)) {
    const data = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    const decoder = new ImageDecoder({data, type: 'image/avif'});
    await decoder.completed;
    await decoder.tracks.ready;
    const track = decoder.tracks.selectedTrack;
    const durations = [];
    for (let frameIndex = 0; frameIndex < track.frameCount; frameIndex++) {
      const {image} = await decoder.decode({frameIndex});
      durations.push(image.duration);
      image.close();
    }
    found[name] = [track.frameCount, isFinite(track.repetitionCount) ? track.repetitionCount : null, durations];
  }
  return found;
}"""


def test_noise_with_alpha_is_written_and_read() -> None:
    film = DecodedImage((frame_of(noise(33, 17, 4)), frame_of(noise(33, 17, 4, seed=8))), (50, 60), 0)
    body = motion.encoded(film, 100, effort=0)
    back: list[Array] = [pixels(frame) for frame in decoded(body).frames]
    assert [frame.shape for frame in back] == [(17, 33, 4)] * 2
    assert np.abs(back[1][:, :, 3].astype(int) - noise(33, 17, 4, seed=8)[:, :, 3]).mean() < 3
