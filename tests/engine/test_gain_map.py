"""Gain maps of Ultra HDR JPEGs, checked with libultrahdr (in libvips) and Pillow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from struct import pack
from typing import Any

import numpy as np
import pytest
import pyvips
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from cropmark.engine import load, render
from cropmark.engine.gain_map import gain_map_of
from cropmark.engine.jpeg_segments import head_segments
from cropmark.engine.metadata import rights_of
from cropmark.model.formats import Format
from cropmark.model.values import Color
from cropmark.plan.plan import EncodingChoice, KeepMetadata, Output, Plan
from cropmark.plan.steps import (
    Adjust,
    AnyStep,
    Crop,
    Dimensions,
    Edges,
    Offset,
    Orient,
    Orientation,
    Overlay,
    Pad,
    Resize,
)
from cropmark.ports import Rendered
from tests.builders import px
from tests.engine.images import Array, file_of, opened, saved, seen, slopes

WIDE, HIGH = 320, 240
LAMP = (slice(60, 120), slice(100, 200))
"""Rows and columns of the part that is brighter than the white of a page."""
HDRGM = "http://ns.adobe.com/hdr-gain-map/1.0/"


@pytest.fixture(autouse=True)
def _with_libultrahdr() -> Iterator[None]:
    pyvips.operation_block_set("VipsForeignLoadUhdrBuffer", False)
    yield
    pyvips.operation_block_set("VipsForeignLoadUhdrBuffer", True)


@cache
def ultra_hdr() -> bytes:
    """An Ultra HDR JPEG as libultrahdr writes it, with binary metadata; its map has half of the size."""
    light = (slopes(WIDE, HIGH).astype(np.float32) / 255) ** 2.2 / 2
    light[LAMP] = 4.0
    image = pyvips.Image.new_from_memory(light.tobytes(), WIDE, HIGH, 3, "float").copy(interpretation="scrgb")
    return bytes(image.uhdrsave_buffer(Q=90))


def android(gains: Array, profile: bytes = b"", fill: bytes = b"", **options: Any) -> bytes:
    """A JPEG with a gain map and XMP, put together here: the bytes of the index are in the other order.

    `fill` precedes the first marker of both images.
    """
    xmp = (
        f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:hdrgm="{HDRGM}" hdrgm:Version="1.0" hdrgm:GainMapMax="2.5" '
        f'hdrgm:HDRCapacityMax="2.5"/></rdf:RDF></x:xmpmeta>'
    ).encode()
    second = saved(Pillow.fromarray(gains), "JPEG", quality=95, xmp=xmp, icc_profile=profile)
    second = second[:2] + fill + second[2:]
    first = saved(Pillow.fromarray(slopes(WIDE, HIGH)), "JPEG", quality=95, **options)
    entries_at, index_bytes = 8 + 2 + 3 * 12 + 4, 4 + 4 + 8 + 2 + 3 * 12 + 4 + 32
    total = len(first) + index_bytes
    tags = pack("<HHI4s", 0xB000, 7, 4, b"0100") + pack("<HHII", 0xB001, 4, 1, 2)
    tags += pack("<HHII", 0xB002, 7, 32, entries_at) + bytes(4)
    entries = pack("<IIIHH", 0x030000, total, 0, 0, 0) + pack("<IIIHH", 0, len(second), total - 10, 0, 0)
    index = b"MPF\0II*\0" + pack("<IH", 8, 3) + tags + entries
    return first[:2] + fill + pack(">BBH", 0xFF, 0xE2, len(index) + 2) + index + first[2:] + second


def unreadable(body: bytes) -> bytes:
    """The file with a gain map in a kind of JPEG that no decoder reads."""
    at = body.rfind(b"\xff\xc0")
    return body[:at] + b"\xff\xc3" + body[at + 2 :]


def rendered(source: bytes, *steps: AnyStep, to: Format = Format.JPEG, keep: bool = True, **more: Any) -> bytes:
    output = Output((EncodingChoice(to, quality=90),), gain_map=keep, **more)
    outcome = render.render([source, file_of(slopes(9, 9))], Plan(steps, output))
    assert isinstance(outcome, Rendered), outcome
    return outcome.body


def gains_in(body: bytes) -> Array | None:
    """The map as libultrahdr finds it; None without one."""
    try:
        image = pyvips.Image.uhdrload_buffer(body)
    except pyvips.Error:
        return None
    return seen(bytes(image.get("gainmap-data")), "L")


# fmt: off
SHAPES: dict[str, tuple[tuple[AnyStep, ...], tuple[int, int], tuple[slice, slice]]] = {
    # steps                                                                 size of the map, lit part of it
    "nothing":    ((),                                                      (160, 120), (slice(32, 58), slice(52, 98))),
    "half":       ((Resize(px(160), px(120)),),                             (80, 60),   (slice(17, 28), slice(27, 48))),
    "an eighth":  ((Resize(px(40), px(30)),),                               (20, 15),   (slice(5, 7), slice(8, 11))),
    "turned":     ((Orient(Orientation.ROTATE_90),),                        (120, 160), (slice(52, 98), slice(62, 88))),
    "mirrored":   ((Orient(Orientation.FLIP_HORIZONTAL),),                 (160, 120), (slice(32, 58), slice(62, 108))),
    "brighter":   ((Adjust(brightness=px(10).count),),                      (160, 120), (slice(32, 58), slice(52, 98))),
}
# fmt: on


@pytest.mark.parametrize("name", SHAPES)
def test_the_map_is_changed_with_the_image(name: str) -> None:
    steps, (width, height), lit = SHAPES[name]
    found = gains_in(rendered(ultra_hdr(), *steps))
    assert found is not None
    assert found.shape == (height, width)
    assert 95 < found[lit].mean() < 115
    assert found[: height // 5].mean() < 60


def test_the_map_is_cropped_with_the_image() -> None:
    steps = (Crop(Dimensions(px(100), px(60)), Offset(px(100)), Offset(px(60))), Resize(px(50), px(30)))
    inside = gains_in(rendered(ultra_hdr(), *steps))
    beside = gains_in(rendered(ultra_hdr(), Crop(Dimensions(px(80), px(60)), Offset(px(0)), Offset(px(60)))))
    assert inside is not None
    assert beside is not None
    assert inside.shape == (15, 25)
    assert inside[2:-2, 2:-2].min() > 90
    assert beside.mean() < 60


def test_its_metadata_is_that_of_the_source() -> None:
    before = pyvips.Image.uhdrload_buffer(ultra_hdr())
    after = pyvips.Image.uhdrload_buffer(rendered(ultra_hdr(), Resize(px(160), px(120))))
    names = [name for name in before.get_fields() if name.startswith("gainmap-") and name != "gainmap-data"]
    assert len(names) > 5
    assert [after.get(name) for name in names] == [before.get(name) for name in names]


def test_a_map_with_xmp_is_read_and_written() -> None:
    gains = np.full((60, 80), 250, np.uint8)
    body = rendered(android(gains), Resize(px(160), px(120)))
    assert load.info_of(body).gain_map
    image = pyvips.Image.uhdrload_buffer(body)
    assert image.get("gainmap-max-content-boost")[0] == pytest.approx(2**2.5, abs=0.01)
    assert seen(bytes(image.get("gainmap-data"))).shape == (30, 40)
    assert f'xmlns:hdrgm="{HDRGM}"'.encode() in body
    assert b'Item:Semantic="GainMap"' in body


@pytest.mark.parametrize("text", ["Ann <Example>", '"' * 3000])
def test_rights_and_the_list_of_images_share_one_xmp_packet(text: str) -> None:
    """Readers take the first packet only. The longest rights leave room for the list."""
    exif = Pillow.Exif()
    exif[0x8298], exif[0x013B] = text, text
    source = android(np.full((60, 80), 250, np.uint8), exif=exif.tobytes())
    body = rendered(source, metadata=frozenset({KeepMetadata.COPYRIGHT}))
    packets = [each for each in head_segments(body) if body.startswith(b"http://ns.adobe.com/xap/1.0/\0", each.content)]
    assert len(packets) == 1
    assert rights_of(pyvips.Image.jpegload_buffer(body)).creator == text[:1500]
    assert b"GainMap" in opened(body).info["xmp"]
    assert gains_in(body) is not None


def test_bytes_that_fill_the_space_between_markers_hide_no_map() -> None:
    """Any number of bytes 0xFF may precede a marker (ITU-T T.81, B.1.1.2)."""
    assert gains_in(rendered(android(np.full((60, 80), 250, np.uint8), fill=b"\xff\xff"))) is not None


def test_a_map_of_three_bands_is_written() -> None:
    body = rendered(android(np.full((60, 80, 3), (250, 20, 90), np.uint8)))
    found = seen(bytes(pyvips.Image.uhdrload_buffer(body).get("gainmap-data")))
    assert found.shape == (60, 80, 3)
    assert np.abs(found.astype(int) - (250, 20, 90)).mean() < 4


def test_the_map_of_a_turned_photograph_is_turned() -> None:
    """As phones write it: image and map are stored alike, and the orientation is in the first image's Exif."""
    gains = np.zeros((60, 80), np.uint8)
    gains[:, :20] = 255  # left as stored; at the top when it is turned to the right
    exif = Pillow.Exif()
    exif[0x0112] = 6
    found = gains_in(rendered(android(gains, exif=exif.tobytes()), Resize(px(120), px(160))))
    assert found is not None
    assert found.shape == (40, 30)
    assert found[:8].mean() > 220
    assert found[14:].mean() < 20


def test_both_images_are_in_the_index() -> None:
    """Pillow reads the index, and opens the map at its offset."""
    image: Any = opened(rendered(ultra_hdr(), Resize(px(160), px(120))))
    assert (image.format, image.n_frames) == ("MPO", 2)
    image.seek(1)
    assert image.size == (80, 60)
    image.load()


# fmt: off
PLAIN: dict[str, tuple[Callable[[], bytes], tuple[AnyStep, ...], Format, bool]] = {
    # source, steps, format                                                 no map in the result
    "not asked":  (ultra_hdr, (), Format.JPEG, False),
    "as WebP":    (ultra_hdr, (), Format.WEBP, True),
    "padded":     (ultra_hdr, (Pad(Edges(*(px(4),) * 4), Color(0, 0, 0)),), Format.JPEG, True),
    "overlay":    (ultra_hdr, (Overlay(1),), Format.JPEG, True),
    "cut":        (lambda: ultra_hdr()[:-400], (), Format.JPEG, True),
    "too large":  (lambda: android(np.zeros((HIGH + 1, WIDE), np.uint8)), (), Format.JPEG, True),
    "long notes": (lambda: android(np.zeros((60, 80), np.uint8), profile=bytes(2**17)), (), Format.JPEG, True),
    "unreadable": (lambda: unreadable(android(np.zeros((60, 80), np.uint8))), (), Format.JPEG, True),
}
# fmt: on


@pytest.mark.parametrize("name", PLAIN)
def test_no_map_is_written(name: str) -> None:
    source, steps, kind, keep = PLAIN[name]
    body = rendered(source(), *steps, to=kind, keep=keep)
    assert not load.info_of(body).gain_map
    assert b"MPF\0" not in body
    assert body == rendered(source(), *steps, to=kind, keep=False)


@given(st.data())
@settings(max_examples=200)
def test_a_malformed_index_is_no_map(data: st.DataObject) -> None:
    body = bytearray(ultra_hdr())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(2, 1600))
        body[at : at + 1] = data.draw(st.binary(max_size=4))
    found = gain_map_of(bytes(body))
    assert found is None or found.jpeg[:2] == b"\xff\xd8"
