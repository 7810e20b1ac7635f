"""Files as other libraries read them: the right kind, the right pixels, and nothing that was not asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow
from pyvips import GValue

from cropmark.engine import load
from cropmark.engine.image import DecodedImage
from cropmark.engine.metadata import RightsMetadata, rights_of
from cropmark.engine.save import encode
from cropmark.geometry.recipe import Encoding
from cropmark.model.formats import Format, sniff_format
from cropmark.plan.plan import KeepMetadata
from tests.engine.images import Array, file_of, frame_of, grb_profile, noise, off_by, opened, saved, seen, slopes

PHOTO = slopes(160, 120)
SOFT = np.dstack([PHOTO, PHOTO[:, :, :1]])  # alpha grows to the right
WEBP, AVIF, PNG, JPEG, GIF = Format.WEBP, Format.AVIF, Format.PNG, Format.JPEG, Format.GIF


def written(array: Array, kind: Format, quality: int = 85, *, low_effort: bool = False, **how: Any) -> bytes:
    return encode(DecodedImage((frame_of(array),)), Encoding(kind, quality, **how), low_effort=low_effort)


@pytest.mark.parametrize("kind", [JPEG, PNG, WEBP, GIF, AVIF])
@pytest.mark.parametrize("low_effort", [False, True])
def test_the_file_is_of_its_kind_and_shows_the_image(kind: Format, low_effort: bool) -> None:
    body = written(PHOTO, kind, low_effort=low_effort)
    assert sniff_format(body) is kind
    assert np.abs(seen(body, "RGB").astype(int) - PHOTO).mean() < 5


@pytest.mark.parametrize("kind", [WEBP, AVIF, PNG])
@pytest.mark.parametrize("low_effort", [False, True])
def test_without_loss_every_pixel_is_as_it_was_clear_ones_too(kind: Format, low_effort: bool) -> None:
    image = noise(40, 30, 4)
    image[:10, :, 3] = 0
    body = written(image, kind, lossless=True, low_effort=low_effort)
    assert np.array_equal(seen(body, "RGBA"), image)


@pytest.mark.parametrize("kind", [WEBP, AVIF, PNG])
def test_alpha_is_preserved(kind: Format) -> None:
    assert off_by(seen(written(SOFT, kind), "RGBA")[:, :, 3], SOFT[:, :, 3]) <= 12


@pytest.mark.parametrize("kind", [WEBP, AVIF, JPEG, PNG, GIF])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (3, 5)])
def test_the_smallest_images(kind: Format, size: tuple[int, int]) -> None:
    plain = np.full((size[1], size[0], 3), (10, 120, 200), np.uint8)
    assert off_by(seen(written(plain, kind), "RGB"), plain) <= 12


def test_jpegs_are_baseline_or_progressive_as_requested() -> None:
    assert "progressive" not in opened(written(PHOTO, JPEG)).info
    assert opened(written(PHOTO, JPEG, progressive=True)).info["progressive"] == 1


def test_a_compact_jpeg_has_fewer_bytes_and_the_same_pixels() -> None:
    usual, compact, hurried = (
        written(PHOTO, JPEG),
        written(PHOTO, JPEG, compact=True),
        written(PHOTO, JPEG, compact=True, low_effort=True),
    )
    assert len(compact) < len(usual) == len(hurried)
    assert np.array_equal(seen(compact), seen(usual))


def test_jpeg_chroma_is_halved_below_quality_90() -> None:
    layers = [opened(written(PHOTO, JPEG, quality)).layer for quality in (89, 90)]  # type: ignore[attr-defined]  # Pillow's JpegImageFile has it
    assert [sampling[0][1:3] for sampling in layers] == [(2, 2), (1, 1)]


@pytest.mark.parametrize("kind", [WEBP, AVIF, JPEG])
def test_more_quality_is_more_bytes_and_fewer_errors(kind: Format) -> None:
    image = np.clip(PHOTO.astype(int) + noise(160, 120) // 4 - 32, 0, 255).astype(np.uint8)
    bodies = [written(image, kind, quality) for quality in (20, 50, 80, 100)]
    errors = [np.abs(seen(body, "RGB").astype(int) - image).mean() for body in bodies]
    assert [len(body) for body in bodies] == sorted(len(body) for body in bodies)
    assert errors == sorted(errors, reverse=True)


def test_png8_has_a_palette_with_alpha() -> None:
    body = written(SOFT, PNG, palette=True)
    image = opened(body)
    assert image.mode == "P"
    assert len(set(map(tuple, seen(body, "RGBA").reshape(-1, 4).tolist()))) <= 256
    assert np.abs(seen(body, "RGBA")[:, :, 3].astype(int) - SOFT[:, :, 3]).mean() < 12
    assert len(written(PHOTO, PNG, 10, palette=True)) < len(written(PHOTO, PNG, 100, palette=True))


@pytest.mark.parametrize("kind", [Format.TIFF, Format.SVG, Format.HEIC, Format.BMP])
def test_what_cannot_be_written_is_our_mistake(kind: Format) -> None:
    with pytest.raises(ValueError, match="cannot be written"):
        written(PHOTO, kind)


# ---------------------------------------------------------------------------------------------- animations


def film(count: int, delays_ms: tuple[int, ...], loop: int, bands: int = 3) -> DecodedImage:
    frames = tuple(frame_of(np.roll(SOFT[:, :, :bands], 20 * at, axis=1)) for at in range(count))
    return DecodedImage(frames, delays_ms, loop)


# fmt: off
FILMS = [
    # kind  delays              loop   as Pillow reads it
    (GIF,  (30, 40, 50),        0,     [30, 40, 50]),
    (GIF,  (0, 10, 100),        5,     [0, 10, 100]),
    (WEBP, (30, 40, 50),        0,     [30, 40, 50]),
    (WEBP, (0, 10, 65_000),     5,     [0, 10, 65_000]),   # the encoder alone writes 100 for 10 and less
]
# fmt: on


@pytest.mark.parametrize(("kind", "delays_ms", "loop", "expected"), FILMS)
def test_frames_delays_and_loops(kind: Format, delays_ms: tuple[int, ...], loop: int, expected: list[int]) -> None:
    body = encode(film(3, delays_ms, loop), Encoding(kind, 85))
    image = opened(body)
    assert image.n_frames == 3  # type: ignore[attr-defined]  # Pillow's animated files have it
    assert durations(image, 3) == expected
    again = load.decode(body, load.info_of(body), frames=3)
    assert (again.delays_ms, again.loop) == (delays_ms, loop)
    for at in range(3):
        assert np.abs(seen(body, "RGB", at).astype(int) - np.roll(PHOTO, 20 * at, axis=1)).mean() < 6


def durations(image: Pillow.Image, count: int) -> list[int]:
    found = []
    for at in range(count):
        image.seek(at)
        image.load()
        found.append(int(image.info["duration"]))
    return found


@pytest.mark.parametrize("lossless", [True, False])
def test_clear_edges_around_the_opaque_middle_of_every_frame_stay_clear(lossless: bool) -> None:
    framed = np.pad(np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)]), ((20, 20), (20, 20), (0, 0)))
    frames = tuple(frame_of(np.ascontiguousarray(framed[::step])) for step in (1, -1))
    image = opened(encode(DecodedImage(frames, (50, 50), 0), Encoding(WEBP, 85, lossless=lossless)))
    assert image.mode == "RGBA"
    for at in range(2):
        image.seek(at)
        assert image.getpixel((5, 5))[3] == 0  # type: ignore[index]  # a tuple: the image has four bands
        assert image.getpixel((100, 80))[3] == 255  # type: ignore[index]


def test_an_opaque_animation_tells_of_no_transparency() -> None:
    assert opened(encode(film(2, (50, 50), 0), Encoding(WEBP, 85))).mode == "RGB"


def test_equal_frames_of_a_gif_stay_apart() -> None:
    still = frame_of(PHOTO)
    body = encode(DecodedImage((still,) * 4, (10, 20, 30, 40), 0), Encoding(GIF, 85))
    assert load.info_of(body).frames == 4


def test_a_still_of_an_animation_is_a_still() -> None:
    source = encode(film(3, (30, 40, 50), 2), Encoding(GIF, 85))
    first = load.decode(source, load.info_of(source))
    for kind in (GIF, WEBP, PNG):
        assert load.info_of(encode(first, Encoding(kind, 85))).frames == 1


# ---------------------------------------------------------------------------------------------- metadata

SECRET = b"somewhere only we know"


def laden(kind: str = "JPEG", **more: Any) -> bytes:
    """An image with all the metadata that there is, GPS and a preview among it."""
    exif = Pillow.Exif()
    exif[0x010F], exif[0x013B], exif[0x8298] = SECRET.decode(), "Ann Example", "© 2026 Ann Example"
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 30.0, 0.0), 29: "2026:01:01"})
    xmp = XMP.encode()
    return file_of(PHOTO, kind, exif=exif, xmp=xmp, icc_profile=grb_profile(), **more)


XMP = """<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"
 xmlns:plus="http://ns.useplus.org/ldf/xmp/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
 photoshop:Credit="Agency &amp; Co" exif:GPSLatitude="52,30N" photoshop:City="somewhere only we know">
<dc:rights><rdf:Alt><rdf:li xml:lang="x-default">© 2026 Ann Example</rdf:li></rdf:Alt></dc:rights>
<dc:creator><rdf:Seq><rdf:li>Ann Example</rdf:li><rdf:li>Bob Example</rdf:li></rdf:Seq></dc:creator>
<xmpRights:WebStatement>https://example.com/license</xmpRights:WebStatement>
<plus:Licensor><rdf:Seq><rdf:li rdf:parseType="Resource"><plus:LicensorName>Ann &lt;Example&gt;</plus:LicensorName>
<plus:LicensorURL>https://example.com/buy</plus:LicensorURL></rdf:li></rdf:Seq></plus:Licensor>
</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>"""

ALL_RIGHTS = RightsMetadata(
    notice="© 2026 Ann Example",
    creator="Ann Example, Bob Example",
    credit="Agency & Co",
    licensor="Ann <Example>",
    licensor_url="https://example.com/buy",
    statement="https://example.com/license",
)


def copied(body: bytes, kind: Format, **how: Any) -> bytes:
    image = load.decode(body, load.info_of(body))
    rights = rights_of(image.frames[0]) if KeepMetadata.COPYRIGHT in how.get("metadata", ()) else None
    return encode(image, Encoding(kind, 85, **how), rights=rights)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("kind", [WEBP, AVIF, JPEG, PNG, GIF])
def test_check_35_nothing_of_the_metadata_is_left(source: str, kind: Format) -> None:
    body = copied(laden(source), kind)
    image = opened(body)
    assert not dict(image.getexif())
    for name in ("exif", "icc_profile", "xmp", "photoshop", "comment"):
        assert not image.info.get(name), name
    for trace in (SECRET, b"GPS", b"Example", b"adobe"):
        assert trace not in body


def test_check_35_only_copyright_is_written() -> None:
    body = copied(laden(), JPEG, metadata=frozenset({KeepMetadata.COPYRIGHT}))
    exif = opened(body).getexif()
    assert exif[0x8298] == "© 2026 Ann Example" or exif[0x8298].encode("latin-1").decode() == "© 2026 Ann Example"
    assert exif[0x013B] == "Ann Example, Bob Example"
    assert not exif.get_ifd(0x8825)
    assert 0x010F not in exif
    assert not opened(body).info.get("icc_profile")
    for trace in (SECRET, b"GPS", b"City"):
        assert trace not in body
    assert rights_of(load.decode(body, load.info_of(body)).frames[0]) == ALL_RIGHTS


def test_where_only_exif_tells_it_is_believed() -> None:
    exif = Pillow.Exif()
    exif[0x8298] = "(c) Ann"
    body = copied(file_of(PHOTO, "JPEG", exif=exif), JPEG, metadata=frozenset({KeepMetadata.COPYRIGHT}))
    assert opened(body).getexif()[0x8298] == "(c) Ann"
    assert b"(c) Ann" in opened(body).info["xmp"]


def test_where_only_iptc_tells_it_is_believed() -> None:
    def field(number: int, text: bytes) -> bytes:
        return bytes([0x1C, 2, number]) + len(text).to_bytes(2, "big") + text

    iptc = field(80, b"Ann") + field(110, b"Agency") + field(116, "© Ann".encode("latin-1")) + field(90, SECRET)
    block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(iptc).to_bytes(4, "big") + iptc
    plain = file_of(PHOTO, "JPEG")
    body = plain[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2, "big") + block + plain[2:]
    assert rights_of(load.decode(body, load.info_of(body)).frames[0]) == RightsMetadata("© Ann", "Ann", "Agency")
    assert SECRET not in copied(body, JPEG, metadata=frozenset({KeepMetadata.COPYRIGHT}))


def test_long_rights_are_cut_so_that_a_jpeg_can_hold_them() -> None:
    """A segment has up to 64 KiB. libvips leaves out a longer packet of XMP, and refuses longer Exif."""
    names = "".join(f"<rdf:li>{number:0>1000}</rdf:li>" for number in range(100))
    packet = XMP.replace("<rdf:li>Ann Example</rdf:li>", names).replace("© 2026 Ann Example", '"' * 10_000)
    frame = frame_of(PHOTO)
    frame.set_type(GValue.blob_type, "xmp-data", packet.encode())
    found = rights_of(frame)
    assert len(found.creator) == len(found.notice) == 1500
    how = frozenset({KeepMetadata.COPYRIGHT})
    body = encode(DecodedImage((frame,)), Encoding(JPEG, 85, metadata=how), rights=found)
    assert rights_of(load.decode(body, load.info_of(body)).frames[0]) == found


def test_without_rights_nothing_is_written() -> None:
    body = copied(file_of(PHOTO, "JPEG"), JPEG, metadata=frozenset({KeepMetadata.COPYRIGHT}))
    assert "xmp" not in opened(body).info


# fmt: off
HOSTILE = {
    "entities":   '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><x>&b;</x>',
    "not xml":    "<x:xmpmeta",
    "nothing":    "",
    "other xml":  "<html><p>©</p></html>",
    "endless":    "<x>" + "a" * 300_000 + "</x>",
    "controls":   XMP.replace("Agency", "Agency&#x9;").replace("utf", "\0"),
}
# fmt: on


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_xmp_tells_nothing_or_what_it_tells_plainly(name: str) -> None:
    frame = frame_of(PHOTO)
    frame.set_type(GValue.blob_type, "xmp-data", HOSTILE[name].encode())
    reported = rights_of(frame)
    assert reported == RightsMetadata() or reported.credit == "Agency & Co"


@pytest.mark.parametrize("stored", range(0, 60, 3))
def test_torn_exif_tells_nothing(stored: int) -> None:
    exif = Pillow.Exif()
    exif[0x8298] = "(c) Ann and some more"
    frame = frame_of(PHOTO)
    frame.set_type(GValue.blob_type, "exif-data", b"Exif\0\0" + exif.tobytes()[6:][:stored])
    assert rights_of(frame).notice in ("", "(c) Ann and some more")


@pytest.mark.parametrize("stored", range(15))
def test_torn_iptc_tells_nothing_or_the_start(stored: int) -> None:
    frame = frame_of(PHOTO)
    frame.set_type(GValue.blob_type, "iptc-data", b"\x1c\x02\x74\0\3(c)\x1c\x02\x50\0\2Bo"[:stored])
    assert rights_of(frame).notice in ("", "(", "(c", "(c)")


@pytest.mark.parametrize("kind", [WEBP, AVIF, JPEG, PNG])
def test_a_profile_is_written_alone_on_request(kind: Format) -> None:
    body = copied(laden(), kind, metadata=frozenset({KeepMetadata.ICC}))
    assert opened(body).info["icc_profile"] == grb_profile()
    assert SECRET not in body
    assert not opened(body).info.get("xmp")


def test_copyright_and_profile_can_be_written_together() -> None:
    body = copied(laden(), JPEG, metadata=frozenset({KeepMetadata.ICC, KeepMetadata.COPYRIGHT}))
    assert opened(body).info["icc_profile"] == grb_profile()
    assert opened(body).getexif()[0x013B] == "Ann Example, Bob Example"


def test_the_rows_above_read_what_was_there() -> None:
    """If Pillow wrote no GPS, nothing could be found missing."""
    source = laden()
    assert SECRET in source
    assert opened(source).getexif().get_ifd(0x8825)
    assert saved(Pillow.fromarray(PHOTO), "JPEG") != source
