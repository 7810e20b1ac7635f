"""No private metadata in any output file, for every input and output format.

The sources contain a secret in each metadata field of their format. Each result is split into its segments, chunks or
boxes, and all of them must be on the list of those that an image needs, so unknown fields fail the test too.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import pytest
from PIL import Image as Pillow
from PIL import PngImagePlugin

from cropmark.engine.render import render
from cropmark.model.formats import Format
from cropmark.model.values import Pixels
from cropmark.plan.plan import EncodingChoice, KeepMetadata, Output, Plan
from cropmark.plan.steps import Resize
from cropmark.ports import Rendered
from tests.engine.images import file_of, grb_profile, opened, slopes

PHOTO = slopes(120, 80)
SECRETS = [b"SECRET%02d" % number for number in range(16)]
MAKER, USER, XMP, IPTC, COMMENT, APP12, PREVIEW, TRAILER, TEXT, ZTEXT, ITEXT, OWN, CAMERA, TIFFTAG, EXT, GPSDATE = (
    SECRETS
)

# ------------------------------------------------------------------------------------------------ sources


def exif() -> Any:
    """Exif with a place, a camera, a maker's note and a preview."""
    found = Pillow.Exif()
    found[0x010F], found[0x010E] = CAMERA.decode(), CAMERA.decode()
    found.get_ifd(0x8769).update({0x927C: MAKER * 4, 0x9286: b"ASCII\0\0\0" + USER, 0xA431: CAMERA.decode()})
    found.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 3: "E", 4: (13.0, 22.0, 0.0), 29: GPSDATE.decode()})
    return found


def exif_with_preview() -> bytes:
    """As TIFF bytes: IFD0 with a camera, IFD1 with a preview that holds a secret."""
    preview = b"\xff\xd8\xff\xe0" + PREVIEW + b"\xff\xd9"
    camera = CAMERA + b"\0"
    first = struct.pack("<HHHLL", 1, 0x010F, 2, len(camera), 60) + struct.pack("<L", 26)
    second = struct.pack("<H", 2)
    second += struct.pack("<HHLL", 0x0201, 4, 1, 60 + len(camera)) + struct.pack("<HHLL", 0x0202, 4, 1, len(preview))
    body = b"II*\0" + struct.pack("<L", 8) + first + second + struct.pack("<L", 0)
    return b"Exif\0\0" + body.ljust(60, b"\0") + camera + preview


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def jpeg() -> bytes:
    plain = file_of(PHOTO, "JPEG", exif=exif(), icc_profile=grb_profile())
    iptc = bytes([0x1C, 2, 90]) + struct.pack(">H", len(IPTC)) + IPTC
    photoshop = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + struct.pack(">L", len(iptc)) + iptc
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + XMP + b"</x:xmpmeta>"
    more = segment(0xE1, xmp) + segment(0xED, photoshop) + segment(0xFE, COMMENT) + segment(0xEC, APP12)
    return plain[:2] + more + plain[2:] + b"PK\x03\x04" + TRAILER


def jpeg_with_preview() -> bytes:
    plain = file_of(PHOTO, "JPEG")
    return plain[:2] + segment(0xE1, exif_with_preview()) + plain[2:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))


def png() -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", TEXT.decode())
    texts.add_text("Comment", ZTEXT.decode() * 20, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", XMP.decode())
    texts.add_itxt("Title", ITEXT.decode())
    plain = file_of(PHOTO, "PNG", exif=exif(), pnginfo=texts, icc_profile=grb_profile())
    at = plain.index(b"IDAT") - 4
    time = struct.pack(">HBBBBB", 2026, 1, 2, 3, 4, 5)
    return plain[:at] + png_chunk(b"tIME", time) + png_chunk(b"prVt", OWN) + plain[at:] + TRAILER


def webp() -> bytes:
    return file_of(PHOTO, "WEBP", exif=exif(), xmp=XMP, icc_profile=grb_profile())


def avif() -> bytes:
    return file_of(PHOTO, "AVIF", exif=exif(), xmp=XMP)


def tiff() -> bytes:
    return file_of(PHOTO, "TIFF", tiffinfo={270: TIFFTAG.decode(), 305: CAMERA.decode(), 700: XMP, 33723: IPTC})


def gif() -> bytes:
    return _with_xmp(file_of(PHOTO, "GIF", comment=COMMENT))


def moving_gif() -> bytes:
    frames = [Pillow.fromarray(PHOTO).rotate(90 * turn, expand=False) for turn in range(3)]
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=90, loop=0, comment=COMMENT)
    return _with_xmp(file.getvalue())


def _with_xmp(body: bytes) -> bytes:
    extension = b"\x21\xff\x0bXMP DataXMP" + bytes([len(EXT)]) + EXT + b"\0"
    return body[:-1] + extension + b"\x3b" + TRAILER


SOURCES: dict[str, tuple[Callable[[], bytes], tuple[bytes, ...]]] = {
    "JPEG": (jpeg, (MAKER, USER, XMP, IPTC, COMMENT, APP12, TRAILER, CAMERA, GPSDATE)),
    "JPEG with a preview": (jpeg_with_preview, (CAMERA, PREVIEW)),
    "PNG": (png, (TEXT, XMP, ITEXT, OWN, TRAILER, CAMERA, MAKER, GPSDATE)),
    "WebP": (webp, (XMP, CAMERA, MAKER, GPSDATE)),
    "AVIF": (avif, (XMP, CAMERA, MAKER, GPSDATE)),
    "TIFF": (tiff, (TIFFTAG, XMP, IPTC, CAMERA)),
    "GIF": (gif, (COMMENT, EXT, TRAILER)),
    "moving GIF": (moving_gif, (COMMENT, EXT, TRAILER)),
}


@pytest.mark.parametrize("name", SOURCES)
def test_the_sources_hold_what_must_not_come_out(name: str) -> None:
    make, secrets = SOURCES[name]
    body = make()
    assert all(secret in body for secret in secrets)


# ------------------------------------------------------------------------------------------------ taken apart


def jpeg_parts(body: bytes) -> Iterator[str]:
    at = 2
    while True:
        assert body[at] == 0xFF
        marker = body[at + 1]
        yield f"{marker:02x}"
        if marker == 0xDA:
            break
        at += 2 + int(struct.unpack(">H", body[at + 2 : at + 4])[0])
    assert body.endswith(b"\xff\xd9")


def png_parts(body: bytes) -> Iterator[str]:
    at = 8
    while at < len(body):
        (length,) = struct.unpack(">L", body[at : at + 4])
        yield body[at + 4 : at + 8].decode()
        at += 12 + length


def webp_parts(body: bytes) -> Iterator[str]:
    at = 12
    while at < len(body):
        yield body[at : at + 4].decode()
        (length,) = struct.unpack("<L", body[at + 4 : at + 8])
        at += 8 + length + length % 2
    assert struct.unpack("<L", body[4:8])[0] == len(body) - 8


def avif_parts(body: bytes) -> Iterator[str]:
    """The boxes at the top, and the types of the items."""
    at = 0
    while at < len(body):
        (length,) = struct.unpack(">L", body[at : at + 4])
        yield body[at + 4 : at + 8].decode()
        at += length
    for entry in re.finditer(rb"infe[\x02\x03]...(?:..)..(....)", body, re.DOTALL):
        yield f"item {entry[1].decode('latin-1')}"


def gif_parts(body: bytes) -> Iterator[str]:
    at = 13 + (3 << (body[10] & 7) + 1 if body[10] & 0x80 else 0)
    while body[at] != 0x3B:
        if body[at] == 0x21:
            name = body[at + 3 : at + 14].decode("latin-1") if body[at + 1] == 0xFF else ""
            yield f"extension {body[at + 1]:02x} {name}".strip()
            at += 2
        else:
            yield "image"
            flags = body[at + 9]
            at += 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
        while body[at]:
            at += 1 + body[at]
        at += 1
    assert at == len(body) - 1


# fmt: off
NEEDED: dict[Format, tuple[Callable[[bytes], Iterator[str]], set[str]]] = {
    Format.JPEG: (jpeg_parts, {"e0", "ee", "db", "c0", "c2", "c4", "dd", "da"}),
    Format.PNG:  (png_parts,  {"IHDR", "PLTE", "tRNS", "pHYs", "gAMA", "cHRM", "sRGB", "bKGD", "IDAT", "IEND"}),
    Format.WEBP: (webp_parts, {"VP8 ", "VP8L", "VP8X", "ALPH", "ANIM", "ANMF"}),
    Format.AVIF: (avif_parts, {"ftyp", "meta", "mdat", "item av01"}),
    Format.GIF:  (gif_parts,  {"image", "extension f9", "extension ff NETSCAPE2.0"}),
}
# fmt: on


def rendered(body: bytes, kind: Format, *, keeps: frozenset[KeepMetadata] = frozenset()) -> bytes:
    plan = Plan((Resize(Pixels(Fraction(60)), None),), Output((EncodingChoice(kind),), metadata=keeps))
    outcome = render([body], plan)
    assert isinstance(outcome, Rendered)
    return outcome.body


@pytest.mark.parametrize("kind", NEEDED, ids=lambda kind: kind.value)
@pytest.mark.parametrize("name", SOURCES)
def test_check_35_only_what_an_image_needs(name: str, kind: Format) -> None:
    body = rendered(SOURCES[name][0](), kind)
    parts, needed = NEEDED[kind]
    moves = kind is Format.AVIF and name.startswith("moving")  # the track of the frames
    assert set(parts(body)) <= needed | ({"moov"} if moves else set())
    assert not [secret for secret in SECRETS if secret in body]
    assert not dict(opened(body).getexif())


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("JPEG")])
def test_check_35_copyright_brings_no_location_and_no_preview(name: str) -> None:
    body = rendered(SOURCES[name][0](), Format.JPEG, keeps=frozenset({KeepMetadata.COPYRIGHT}))
    assert not [secret for secret in SECRETS if secret in body]
    found = opened(body).getexif()
    assert not found.get_ifd(0x8825)
    plain = {274, 282, 283, 296, 531, 34665}  # in any file: orientation, resolution, chroma position, next block
    assert set(found) - plain <= {0x013B, 0x8298}
    assert set(found.get_ifd(0x8769)) <= {0x9000, 0x9101, 0xA000, 0xA001, 0xA002, 0xA003}


@pytest.mark.parametrize("kind", [k for k in NEEDED if k not in (Format.JPEG, Format.GIF)], ids=lambda k: k.value)
def test_check_35_a_profile_is_written_alone(kind: Format) -> None:
    """On request the copyright is written, and no other secret with it."""
    body = rendered(jpeg(), kind, keeps=frozenset({KeepMetadata.ICC}))
    assert opened(body).info["icc_profile"] == grb_profile()
    assert not [secret for secret in SECRETS if secret in body]


# ------------------------------------------------------------------------------------------------ profiles

# fmt: off
BROKEN = {
    "nothing":         b"",
    "one byte":        b"\0",
    "noise":           bytes(range(256)) * 4,
    "torn":            grb_profile()[:200],
    "a false length":  struct.pack(">L", 2**31) + grb_profile()[4:],
    "no tags":         grb_profile()[:128] + struct.pack(">L", 0),
    "many tags":       grb_profile()[:128] + struct.pack(">L", 2**32 - 1) + grb_profile()[132:],
    "a megabyte":      grb_profile() + bytes(1_000_000),
}
# fmt: on


@pytest.mark.parametrize("keeps", [frozenset[KeepMetadata](), frozenset({KeepMetadata.ICC})])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("name", BROKEN)
def test_check_36_a_broken_profile_does_not_fail_the_image(
    name: str, kind: str, keeps: frozenset[KeepMetadata]
) -> None:
    body = rendered(file_of(PHOTO, kind, icc_profile=BROKEN[name]), Format.JPEG, keeps=keeps)
    assert opened(body).size == (60, 40)
