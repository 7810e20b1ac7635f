"""HEIC: pixels, rotation, grids, alpha, colors, and files that are refused."""

from __future__ import annotations

import subprocess
import sys
from struct import pack, unpack_from

import numpy as np
import pytest
import pyvips
from PIL import Image as Pillow

from cropmark.engine import color, heic, load, render
from cropmark.engine.color_profile import rgb_profile
from cropmark.engine.color_tags import PRIMARIES, Curve, SdrColors
from cropmark.model.extras import HEIF
from cropmark.model.formats import READABLE, Format, Info
from cropmark.model.problems import SourceTooLarge, SourceUnusable
from cropmark.model.values import Size
from cropmark.plan.plan import EncodingChoice, Output, Plan
from cropmark.ports import Rendered
from tests.engine import heic_files
from tests.engine.avif_files import box, full_box, nclx
from tests.engine.images import Array, mean_error, seen

pytestmark = pytest.mark.skipif(HEIF.package is None, reason="the extra `heif` is not installed")

PHOTO = np.asarray(Pillow.open(heic_files.FOLDER / "photo.png").convert("RGB"))
TO_PNG = Plan(output=Output((EncodingChoice(Format.PNG),)))


def made(body: bytes, mode: str = "RGB") -> Array:
    result = render.render([body], TO_PNG)
    assert isinstance(result, Rendered)
    return seen(result.body, mode)


def test_the_header_tells() -> None:
    photo, alpha = heic_files.file("photo"), heic_files.file("alpha")
    assert load.info_of(photo) == Info(Format.HEIC, Size(96, 64), len(photo))
    assert load.info_of(alpha) == Info(Format.HEIC, Size(96, 64), len(alpha), alpha=True)
    assert load.info_of(heic_files.rotated(1)).size == Size(64, 96)
    assert load.info_of(heic_files.grid()).size == Size(260, 120)


@pytest.mark.parametrize("name", ["photo", "deep"])
def test_the_pixels_are_those_before_encoding(name: str) -> None:
    """8 bits, and 10 bits that are converted to 8."""
    assert mean_error(made(heic_files.file(name)), PHOTO) < 3


def test_gray_and_alpha() -> None:
    gray = np.asarray(Pillow.fromarray(PHOTO).convert("L").convert("RGB"))
    assert mean_error(made(heic_files.file("gray")), gray) < 3
    clear = made(heic_files.file("alpha"), "RGBA")
    ramp = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (64, 1))
    assert mean_error(clear[:, :, 3], ramp) < 2
    assert mean_error(clear[:, 48:, :3], PHOTO[:, 48:]) < 4


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_rotations(quarters: int) -> None:
    assert mean_error(made(heic_files.rotated(quarters)), np.rot90(PHOTO, quarters)) < 3


def test_the_tiles_of_a_grid_are_joined_and_cut() -> None:
    assert mean_error(made(heic_files.grid()), np.tile(PHOTO, (2, 3, 1))[:120, :260]) < 3


def test_a_profile_is_applied() -> None:
    """Display P3 as phones write it: its colors are stronger in sRGB."""
    p3 = rgb_profile(SdrColors(PRIMARIES[12], Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
    body = heic_files.with_profile(p3)
    frame = load.decode(body, load.info_of(body)).frames[0]
    assert bytes(frame.get("icc-profile-data")) == p3
    plain, wide = made(heic_files.file("photo")).astype(int), made(body).astype(int)
    assert (wide[:, :, 0] - wide[:, :, 1]).max() > (plain[:, :, 0] - plain[:, :, 1]).max()
    declared = made(heic_files.still(nclx(12, 13)))
    assert mean_error(declared, made(body)) < 1


def test_unknown_primaries_are_srgb() -> None:
    """They once ended the render with an internal error."""
    assert made(heic_files.still(nclx(200, 13))).size > 0


def test_hdr_is_decoded_in_16_bits_and_tone_mapped() -> None:
    body = heic_files.hdr()
    frame = load.decode(body, load.info_of(body)).frames[0]
    assert frame.format == "ushort"
    assert color.to_srgb(frame).format == "uchar"
    assert mean_error(made(body), made(heic_files.file("deep"))) > 5


# fmt: off
REFUSED = {
    "uncompressed":      heic_files.still(kind=b"unci"),
    "a mask":            heic_files.still(kind=b"mski"),
    "jpeg inside":       heic_files.still(kind=b"jpeg"),
    "an overlay":        heic_files.still(kind=b"iovl"),
    "no images":         heic_files.file("photo")[:28],
    "cut in the boxes":  heic_files.file("photo")[:200],
    "size 0":            heic_files.still(width=0, height=0),
}
BROKEN = {
    "cut":               heic_files.file("photo")[:-300],
    "another size":      heic_files.still(width=192, height=128),
    "a grid without end": heic_files.grid(columns=3, rows=2)[:-2000],
}
# fmt: on


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_the_header(name: str) -> None:
    with pytest.raises(SourceUnusable):
        load.info_of(REFUSED[name])


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pixels(name: str) -> None:
    with pytest.raises(SourceUnusable):
        render.render([BROKEN[name]], TO_PNG)
    assert not load.decodes_fully(BROKEN[name])


def test_the_limit_of_pixels_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> pyvips.Image:
        raise AssertionError("decoded")

    monkeypatch.setattr(heic, "decoded", refuse)
    with pytest.raises(SourceTooLarge):
        render.render([heic_files.still(width=60_000, height=60_000)], TO_PNG)


def test_a_size_that_the_stream_does_not_have_takes_no_memory() -> None:
    """The library compares the stream with the declared size before it allocates planes."""
    body = heic_files.still(width=12, height=8)
    with pytest.raises(pyvips.Error, match="HEIC"):
        heic.decoded(body)


def test_kinds_of_entries_in_every_version() -> None:
    photo = heic_files.file("photo")
    at = photo.index(b"infe")
    assert pack(">I", 2 << 24) == photo[at + 4 : at + 8]
    older = photo[: at + 4] + bytes(4) + photo[at + 8 :]  # version 0 has no kind
    with pytest.raises(SourceUnusable):
        load.info_of(older)


def part(body: bytes, kind: bytes) -> bytes:
    """The first box of a kind, with its length."""
    at = body.index(kind) - 4
    return body[at : at + unpack_from(">I", body, at)[0]]


def replaced(kind: bytes, new: bytes) -> bytes:
    """The photo with another box for the first one of a kind; the length of `meta` follows."""
    meta = part(PLAIN, b"meta")
    body = meta.replace(part(PLAIN, kind), new)
    return PLAIN.replace(meta, pack(">I", len(body)) + body[4:])


PLAIN = heic_files.still()
META, ITEMS, ENTRY = (part(PLAIN, kind) for kind in (b"meta", b"iinf", b"infe"))
MASK = ENTRY.replace(b"hvc1", b"mski")
EMPTY = full_box(b"meta", full_box(b"hdlr", bytes(4) + b"pict" + bytes(13)))
# fmt: off
HIDDEN = {
    "in a second list":         PLAIN.replace(META, EMPTY + META),
    "in a third list":          PLAIN + META.replace(b"hvc1", b"mski"),
    "in a box that is cut":     PLAIN + pack(">I", 9000) + META[4:],
    "after 5,000 boxes":        PLAIN.replace(META, box(b"free", b"") * 5000 + META),
    "after 5,000 boxes inside": replaced(b"iinf", box(b"free", b"") * 5000 + ITEMS),
    "in another list inside":   replaced(b"iinf", full_box(b"iinf", bytes(2)) + ITEMS),
    "after a broken box":       PLAIN.replace(META, pack(">I4s", 4, b"free") + META),
    "after a broken entry":     replaced(b"iinf", full_box(b"iinf", pack(">H", 2) + ENTRY + bytes(4) + MASK)),
    "after 5,000 items":        replaced(b"iinf", full_box(b"iinf", pack(">H", 5001) + ENTRY * 5000 + MASK)),
    "more items than entries":  replaced(b"iinf", full_box(b"iinf", pack(">H", 2) + ENTRY)),
    "no items":                 replaced(b"iinf", full_box(b"iinf", bytes(2))),
}
# fmt: on


@pytest.mark.parametrize("body", HIDDEN.values(), ids=HIDDEN)
def test_the_library_reads_no_file_whose_items_are_in_doubt(body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def load_file(self, *_: object) -> None:
            raise AssertionError("read")

    monkeypatch.setattr(heic, "_codec", Library())
    with pytest.raises(AssertionError, match="read"):
        heic.header_of(PLAIN + b"SEFT" + bytes(12))  # as some phones write
    with pytest.raises(pyvips.Error, match="not read"):
        heic.header_of(body)


def test_without_the_extra_heic_is_not_read() -> None:
    """A process in which the module does not exist: the format is known and not read, and nothing fails."""
    code = """
import sys
sys.modules["_pi_heif"] = sys.modules["_pillow_heif"] = None
from cropmark.engine import load
from cropmark.model.formats import READABLE, Format
from cropmark.dialects.fastly.output import READS
load.prepare()
assert Format.HEIC not in READABLE | READS
info = load.info_of(sys.stdin.buffer.read())
assert (info.format, info.size.area) == (Format.HEIC, 1)
"""
    assert Format.HEIC in READABLE
    subprocess.run([sys.executable, "-I", "-c", code], input=heic_files.file("photo"), check=True)
