"""Format detection, Accept headers and header facts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cropmark.model.formats import READABLE, SNIFF_BYTES, TRAITS, WRITABLE, Format, Info, accepted_formats, sniff_format
from cropmark.model.values import Size


def ftyp(*brands: bytes) -> bytes:
    body = b"ftyp" + brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
    return (len(body) + 4).to_bytes(4, "big") + body + b"mdat"


# fmt: off
HEADS = [
    (b"\xff\xd8\xff\xe0\x00\x10JFIF",                 Format.JPEG),
    (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR",          Format.PNG),
    (b"GIF89a",                                       Format.GIF),
    (b"GIF87a",                                       Format.GIF),
    (b"RIFF\x24\x00\x00\x00WEBPVP8 ",                 Format.WEBP),
    (ftyp(b"avif", b"mif1", b"miaf"),                 Format.AVIF),
    (ftyp(b"mif1", b"avif"),                          Format.AVIF),    # by a compatible brand
    (ftyp(b"avis"),                                   Format.AVIF),
    (ftyp(b"heic", b"mif1"),                          Format.HEIC),
    (b"II*\x00\x08\x00\x00\x00",                      Format.TIFF),
    (b"MM\x00*\x00\x00\x00\x08",                      Format.TIFF),
    (b"\xff\x0a\xfa\x1f",                             Format.JXL),
    (b"\x00\x00\x00\x0cJXL \r\n\x87\n",               Format.JXL),
    (b"BM" + bytes(12) + b"\x28\x00\x00\x00",         Format.BMP),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>",    Format.SVG),
    (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg>",     Format.SVG),
    (b"  <!-- drawn by hand --> <svg>",               Format.SVG),
]
NOT_IMAGES = [
    b"", b"GIF", b"RIFF\x24\x00\x00\x00WAVEfmt ", ftyp(b"isom", b"mp42"), b"BM, a letter that begins so",
    b"<!DOCTYPE html><html><svg>", b"<html>", b"%PDF-1.7", b"PK\x03\x04", b"<?xml version='1.0'?><rss>",
    b"#!/bin/sh", b"\x00\x00\x00\x18ftyp", b"II*", b"<?xml " + b" " * SNIFF_BYTES + b"<svg>",
]
ACCEPTED = [
    ("image/avif,image/webp,image/apng,*/*;q=0.8",    {Format.AVIF, Format.WEBP}),
    ("image/webp, image/PNG ;q=0.5",                  {Format.WEBP, Format.PNG}),
    ("*/*",                                           set()),          # wildcards name none
    ("image/*",                                       set()),
    ("image/webp;q=0",                                set()),
    ("image/webp;q=0.000",                            set()),
    ("image/webp; q=0.001",                           {Format.WEBP}),
    ("image/webp;level=1;q=0",                        set()),
    ("",                                              set()),
    ("image/webpx,ximage/webp,webp",                  set()),
]
# fmt: on


@pytest.mark.parametrize(("head", "format_"), HEADS)
def test_a_format_is_detected_by_its_first_bytes(head: bytes, format_: Format) -> None:
    assert sniff_format(head) is format_


@pytest.mark.parametrize("head", NOT_IMAGES)
def test_unknown_bytes_have_no_format(head: bytes) -> None:
    assert sniff_format(head) is None


@given(st.binary(max_size=200))
def test_sniffing_accepts_any_bytes(head: bytes) -> None:
    found = sniff_format(head)
    assert found is None or found in TRAITS


@pytest.mark.parametrize(("header", "formats"), ACCEPTED)
def test_formats_that_an_accept_header_names(header: str, formats: set[Format]) -> None:
    assert accepted_formats(header) == formats


def test_only_the_start_of_a_hostile_accept_header_is_read() -> None:
    assert accepted_formats("," * 5000 + "image/webp") == frozenset()
    assert accepted_formats("image/webp;" * 100_000) == {Format.WEBP}


def test_every_format_has_traits_and_we_read_what_we_write() -> None:
    assert set(TRAITS) == set(Format)
    assert not WRITABLE - READABLE - {Format.MP4}
    assert len({traits.media_type for traits in TRAITS.values()}) == len(TRAITS)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_orientation_from_5_up_swaps_the_sides(orientation: int) -> None:
    info = Info(Format.JPEG, Size(400, 300), 1000, orientation=orientation)
    assert info.size == (Size(300, 400) if orientation >= 5 else Size(400, 300))
    assert info.stored_size == Size(400, 300)


def test_one_frame_is_not_an_animation() -> None:
    assert not Info(Format.GIF, Size(4, 3), 10).animated
    assert Info(Format.GIF, Size(4, 3), 10, frames=2).animated
