"""Sources that are too large to be read: only their first bytes are read, and they are rejected by their length."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image as Pillow

from cropmark.engine import load
from cropmark.engine.large import HEAD_BYTES, canvas_size
from cropmark.engine.render import render
from cropmark.geometry.limits import rejection_of
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.problems import SourceTooLarge, SourceUnusable
from cropmark.model.values import Pixels, Size
from cropmark.plan.plan import Fallback, Limits, Plan
from cropmark.plan.steps import Overlay, Resize
from cropmark.ports import Passthrough, Rendered
from cropmark.runtime.reads import FileBytes
from tests.builders import px
from tests.engine.images import saved, slopes
from tests.hostile import bombs, raw

LARGE_BYTES = 300 * 2**20
PHOTO = Pillow.fromarray(slopes(40, 30))

# fmt: off
FILES = {
    "jpeg":          (saved(PHOTO, "JPEG"),                    Format.JPEG),
    "png":           (saved(PHOTO, "PNG"),                     Format.PNG),
    "gif":           (saved(PHOTO, "GIF"),                     Format.GIF),
    "lossy webp":    (saved(PHOTO, "WEBP"),                    Format.WEBP),
    "lossless webp": (saved(PHOTO, "WEBP", lossless=True),     Format.WEBP),
    "alpha webp":    (saved(PHOTO.convert("RGBA").rotate(30), "WEBP"), Format.WEBP),
    "avif":          (saved(PHOTO, "AVIF"),                    Format.AVIF),
    "tiff":          (saved(PHOTO, "TIFF"),                    Format.TIFF),
}
CANVASES = [
    # first bytes                                          format        size
    (raw.gif_sized(300, 65535),                            Format.GIF,   Size(300, 65535)),
    (raw.gif_sized(0, 10),                                 Format.GIF,   None),
    (raw.vp8(16383, 9),                                    Format.WEBP,  Size(16383, 9)),
    (raw.vp8l(16384, 7),                                   Format.WEBP,  Size(16384, 7)),
    (raw.webp_moving(90, 16000, FILES["lossy webp"][0], 2), Format.WEBP, Size(90, 16000)),
    (b"RIFF\x00\x00\x00\x00WEBPJUNK" + bytes(40),          Format.WEBP,  None),
    (b"GIF89a",                                            Format.GIF,   None),
]
# fmt: on

ReadBytes = Callable[[], int]


@pytest.fixture
def read_bytes(monkeypatch: pytest.MonkeyPatch) -> ReadBytes:
    """Returns a function that returns the number of bytes read from files so far."""
    total, real = 0, os.pread

    def pread(descriptor: int, count: int, offset: int) -> bytes:
        nonlocal total
        piece = real(descriptor, count, offset)
        total += len(piece)
        return piece

    monkeypatch.setattr(os, "pread", pread)
    return lambda: total


def large_file(tmp_path: Path, body: bytes) -> FileBytes:
    """The body with zeros up to LARGE_BYTES, which take no space on the disk."""
    path = tmp_path / str(len(list(tmp_path.iterdir())))
    path.write_bytes(body)
    os.truncate(path, LARGE_BYTES)
    return FileBytes(os.open(path, os.O_RDONLY), LARGE_BYTES)


@pytest.mark.parametrize(("head", "stored_as", "size"), CANVASES)
def test_canvas_size(head: bytes, stored_as: Format, size: Size | None) -> None:
    assert canvas_size(head, stored_as) == size


@pytest.mark.parametrize("name", FILES)
def test_check_61_a_header_is_read_without_the_rest(tmp_path: Path, read_bytes: ReadBytes, name: str) -> None:
    body, stored_as = FILES[name]
    source = large_file(tmp_path, body)
    info = load.info_of(source, limit_bytes=50 * 2**20)
    assert (info.format, info.stored_size, info.bytes) == (stored_as, Size(40, 30), LARGE_BYTES)
    assert read_bytes() <= HEAD_BYTES + 4096
    source.close()


def test_a_large_file_with_a_broken_start_is_rejected_by_its_length(tmp_path: Path) -> None:
    source = large_file(tmp_path, b"\xff\xd8\xff\xe0 not a JPEG")
    assert load.info_of(source, limit_bytes=1000) == Info(Format.JPEG, Size(1, 1), LARGE_BYTES)
    with pytest.raises(SourceTooLarge, match="314572800 bytes"):
        render([source], Plan())
    source.close()


@pytest.mark.parametrize("name", FILES)
def test_check_61_a_source_beyond_the_limit_is_rejected_unread(
    tmp_path: Path, read_bytes: ReadBytes, name: str
) -> None:
    """As an error or as the original, as the plan says; as an overlay it is left out."""
    source = large_file(tmp_path, FILES[name][0])
    resize = Resize(px(20), None)
    with pytest.raises(SourceTooLarge, match="has 314572800 bytes, at most 52428800"):
        render([source], Plan((resize,)))
    original = render([source], Plan((resize,), on_unusable=Fallback.ORIGINAL))
    assert isinstance(original, Passthrough)
    assert original.reason is Reason.BYTES
    assert original.facts.source is not None
    assert original.facts.source.size == Size(40, 30)
    over = render([FILES["png"][0], source], Plan((resize, Overlay(1))))
    assert isinstance(over, Rendered)
    assert over.warnings
    assert read_bytes() <= 3 * (HEAD_BYTES + 8192)
    source.close()


def test_check_61_the_limit_is_that_of_the_plan(tmp_path: Path) -> None:
    body = FILES["jpeg"][0]
    (tmp_path / "file").write_bytes(body)
    for limit, is_read in ((len(body), True), (len(body) - 1, False)):
        source = FileBytes(os.open(tmp_path / "file", os.O_RDONLY), len(body))
        plan = Plan((Resize(Pixels(px(20).count), None),), limits=Limits(source_bytes=limit))
        if is_read:
            assert isinstance(render([source], plan), Rendered)
        else:
            with pytest.raises(SourceTooLarge):
                render([source], plan)
        source.close()


BOMBS = [name for name in bombs.refused() if re.match(r"claims-(12001|30000|65535|1x(12001|65535))", name)]


@pytest.mark.parametrize("name", BOMBS)
def test_check_58_the_limits_come_before_the_analysis(name: str) -> None:
    """A renderer analyzes a source only if this finds nothing: the decoder of a bomb never starts."""
    try:
        info = load.info_of(bombs.refused()[name], limit_bytes=Plan().limits.source_bytes)
    except SourceUnusable:
        return
    rejection = rejection_of(info, Plan())
    assert rejection is not None
    assert rejection.reason is Reason.DIMENSIONS
