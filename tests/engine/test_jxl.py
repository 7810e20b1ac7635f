"""JPEG XL: files of another encoder, written pixels, recompressed JPEGs, and files that are refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image as Pillow

from cropmark.engine import jxl, load, render
from cropmark.engine.color_profile import rgb_profile
from cropmark.engine.color_tags import PRIMARIES, Curve, SdrColors
from cropmark.model.extras import JXL
from cropmark.model.formats import Format, Info
from cropmark.model.problems import SourceTooLarge, SourceUnusable
from cropmark.model.values import Size
from cropmark.plan.plan import EncodingChoice, Limits, Output, Plan, TriState
from cropmark.plan.steps import Resize
from cropmark.ports import Rendered
from tests.builders import px
from tests.engine.images import file_of, frame_of, mean_error, opened, saved, seen

pytestmark = pytest.mark.skipif(JXL.package is None, reason="the extra `jxl` is not installed")

FOLDER = Path(__file__).parents[1] / "data" / "jxl"
PHOTO = np.asarray(Pillow.open(FOLDER.parent / "heic" / "photo.png").convert("RGB"))
FILE, ANIMATED = ((FOLDER / f"{name}.jxl").read_bytes() for name in ("photo", "animated"))
P3 = rgb_profile(SdrColors(PRIMARIES[12], Curve(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))


def plan_to(choice: EncodingChoice, *steps: Resize, **options: Any) -> Plan:
    return Plan(steps, Output((choice,)), **options)


TO_PNG = plan_to(EncodingChoice(Format.PNG))
LOSSLESS = EncodingChoice(Format.JXL, lossless=TriState.YES)


def made(body: bytes, plan: Plan = TO_PNG) -> Rendered:
    result = render.render([body], plan)
    assert isinstance(result, Rendered)
    return result


def c_function(name: str) -> Callable[..., Any]:
    load.prepare()
    found: Callable[..., Any] = getattr(jxl._codec, name)
    return found


def test_a_file_of_another_encoder_is_read() -> None:
    assert load.info_of(FILE) == Info(Format.JXL, Size(96, 64), len(FILE))
    assert mean_error(seen(made(FILE).body, "RGB"), PHOTO) < 4


def test_the_first_frame_of_an_animation_is_read_with_a_warning() -> None:
    assert load.info_of(ANIMATED).first_frame_only
    result = made(ANIMATED)
    assert mean_error(seen(result.body, "RGB"), PHOTO) < 4
    assert any("first frame" in warning.text for warning in result.warnings)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_lossless_files_have_every_pixel(bands: int) -> None:
    mode = ("L", "LA", "RGB", "RGBA")[bands - 1]
    image = Pillow.fromarray(PHOTO).convert(mode)
    if bands in (2, 4):
        image.putalpha(Pillow.fromarray(PHOTO[:, :, 0]))
    written = made(saved(image, "PNG"), plan_to(LOSSLESS))
    assert load.info_of(written.body).alpha is (bands in (2, 4))
    assert (seen(made(written.body).body, "RGBA") == np.asarray(image.convert("RGBA"))).all()


def test_quality_decides_the_size_and_the_error() -> None:
    source = file_of(PHOTO)
    bodies = [made(source, plan_to(EncodingChoice(Format.JXL, quality))).body for quality in (10, 50, 90)]
    errors = [mean_error(seen(made(body).body, "RGB"), PHOTO) for body in bodies]
    assert sorted(map(len, bodies)) == list(map(len, bodies))
    assert sorted(errors, reverse=True) == errors
    assert errors[-1] < 4


def test_lossy_files_use_the_color_space_of_the_format() -> None:
    """Not the one that the other package writes: its files are more than twice as large."""
    frame = frame_of(np.tile(PHOTO, (4, 4, 1)))
    small = jxl.encoded(frame, 85, lossless=False, keep_profile=False)
    samples = np.frombuffer(frame.write_to_memory(), np.uint8).reshape(frame.height, frame.width, 3)
    assert len(small) * 1.5 < len(c_function("encode")(samples, effort=3, distance=jxl.distance_of(85)))


@pytest.mark.parametrize("lossless", [False, True])
def test_a_profile_is_kept_on_request(lossless: bool) -> None:
    frame = frame_of(PHOTO).copy()
    frame.set_type(pyvips.GValue.blob_type, "icc-profile-data", P3)
    load.prepare()
    kept, dropped = (jxl.encoded(frame, 95, lossless=lossless, keep_profile=keep) for keep in (True, False))
    assert bytes(jxl.decoded(kept).get("icc-profile-data")) == P3
    assert mean_error(seen(made(kept).body, "RGB"), seen(made(dropped).body, "RGB")) > 1  # shown in sRGB


# ---------------------------------------------------------------------------------------------- recompressed JPEGs


def photo_jpeg(**options: Any) -> bytes:
    exif = Pillow.Exif()
    exif[0x8298] = "(c) somebody"
    return saved(Pillow.fromarray(PHOTO), "JPEG", **{"quality": 90, "exif": exif, "comment": b"a comment", **options})


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}, {"icc_profile": P3}])
def test_an_unchanged_jpeg_is_recompressed_without_loss(options: dict[str, Any]) -> None:
    jpeg = photo_jpeg(**options)
    body = made(jpeg, plan_to(EncodingChoice(Format.JXL))).body
    restored = c_function("jxl_to_jpeg")(body)
    assert (seen(restored) == seen(jpeg)).all()
    assert opened(restored).info.get("icc_profile") == options.get("icc_profile")
    assert not opened(restored).getexif()
    assert b"somebody" not in restored + body
    assert b"a comment" not in restored + body


SECRET = b"51.5007 N, 0.1246 W"


def segment(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + (len(content) + 2).to_bytes(2, "big") + content


def before_last_scan(jpeg: bytes, added: bytes) -> bytes:
    at = jpeg.rindex(b"\xff\xda")
    return jpeg[:at] + added + jpeg[at:]


def with_jfif(jpeg: bytes, preview: bytes) -> bytes:
    """The JPEG with a preview of 8x1 pixels in its first segment."""
    assert jpeg[6:11] == b"JFIF\0"
    return jpeg[:2] + segment(0xE0, jpeg[6:18] + b"\x08\x01" + preview) + jpeg[20:]


# fmt: off
HIDDEN = {
    "after the end":          photo_jpeg() + SECRET,
    "in a second image":      photo_jpeg() + saved(Pillow.fromarray(PHOTO), "JPEG", comment=SECRET),
    "after fill bytes":       photo_jpeg()[:-2] + b"\xff\xff\xff\xd9" + SECRET,
    "before a later scan":    before_last_scan(photo_jpeg(progressive=True), segment(0xE1, b"Exif\0\0" + SECRET)),
    "in a later comment":     before_last_scan(photo_jpeg(progressive=True), segment(0xFE, SECRET)),
    "in a preview":           photo_jpeg()[:2] + segment(0xE0, b"JFXX\0\x10" + SECRET) + photo_jpeg()[2:],
    "in the preview of JFIF": with_jfif(photo_jpeg(), SECRET.ljust(24)),
    "after Adobe's fields":   photo_jpeg()[:2] + segment(0xEE, b"Adobe\0d\0\0\0\0\1" + SECRET) + photo_jpeg()[2:],
    "in another APP2":        photo_jpeg()[:2] + segment(0xE2, b"MPF\0" + SECRET) + photo_jpeg()[2:],
}
# fmt: on


@pytest.mark.parametrize("jpeg", HIDDEN.values(), ids=HIDDEN)
def test_a_recompressed_jpeg_has_no_metadata_wherever_it_was(jpeg: bytes) -> None:
    body = made(jpeg, plan_to(EncodingChoice(Format.JXL))).body
    restored = c_function("jxl_to_jpeg")(body)
    assert SECRET not in body + restored
    assert (seen(restored) == seen(photo_jpeg())).all()


def test_it_is_smaller_than_a_real_photograph() -> None:
    jpeg = (Path(__file__).parents[2] / "examples" / "images" / "astronaut.jpg").read_bytes()
    assert len(made(jpeg, plan_to(EncodingChoice(Format.JXL))).body) < 0.9 * len(jpeg)


def is_recompressed(body: bytes) -> bool:
    try:
        c_function("jxl_to_jpeg")(body)
    except RuntimeError:
        return False
    return True


def test_other_results_are_encoded() -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6
    cmyk = saved(Pillow.fromarray(PHOTO).convert("CMYK"), "JPEG")
    assert is_recompressed(made(photo_jpeg(), plan_to(EncodingChoice(Format.JXL))).body)
    for jpeg, plan in (
        (photo_jpeg(), plan_to(EncodingChoice(Format.JXL, 84))),
        (photo_jpeg(), plan_to(EncodingChoice(Format.JXL), Resize(px(48), None))),
        (photo_jpeg(exif=exif), plan_to(EncodingChoice(Format.JXL))),
        (cmyk, plan_to(EncodingChoice(Format.JXL))),
    ):
        result = made(jpeg, plan)
        assert result.format is Format.JXL
        assert not is_recompressed(result.body)
    assert load.info_of(made(photo_jpeg(exif=exif), plan_to(EncodingChoice(Format.JXL))).body).size == Size(64, 96)


# ---------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize("body", [b"\xff\x0a", b"\xff\x0a" + bytes(60), FILE[:3], b"\x00\x00\x00\x0cJXL \r\n\x87\n"])
def test_refused_by_the_header(body: bytes) -> None:
    with pytest.raises(SourceUnusable):
        load.info_of(body)


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_half_a_file_is_refused(part: float) -> None:
    body = FILE[: int(len(FILE) * part)]
    with pytest.raises(SourceUnusable):
        render.render([body], TO_PNG)
    assert not load.decodes_fully(body)


def test_the_limit_of_pixels_is_checked_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: bytes) -> pyvips.Image:
        raise AssertionError("decoded")

    monkeypatch.setattr(jxl, "decoded", refuse)
    with pytest.raises(SourceTooLarge):
        render.render([FILE], plan_to(EncodingChoice(Format.PNG), limits=Limits(source_pixels=6000)))


def test_without_the_extra_jpeg_xl_is_neither_read_nor_written() -> None:
    """A process in which one of the modules does not exist."""
    code = """
import sys
sys.modules[sys.argv[1]] = None
from cropmark.engine import load
from cropmark.model.formats import READABLE, WRITABLE, Format
load.prepare()
assert Format.JXL not in READABLE | WRITABLE
info = load.info_of(sys.stdin.buffer.read())
assert (info.format, info.size.area) == (Format.JXL, 1)
"""
    for module in ("pylibjxl", "imagecodecs"):
        subprocess.run([sys.executable, "-I", "-c", code, module], input=FILE, check=True)
