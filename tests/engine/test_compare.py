"""The difference of two images, checked against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from cropmark.engine import compare
from cropmark.engine.compare import difference
from cropmark.model.problems import SourceTooLarge, SourceUnusable
from cropmark.model.values import Size
from tests.engine.images import Array, file_of, noise, saved, slopes


def flat(width: int, height: int, *levels: int) -> Array:
    return np.full((height, width, len(levels)), levels, dtype=np.uint8)


# fmt: off
DIFFERENCES = [
    # one                        two                         size        mean     most psnr
    (flat(8, 6, 10, 20, 30),     flat(8, 6, 10, 20, 30),     Size(8, 6), 0.0,     0,   None),
    (flat(8, 6, 10, 20, 30),     flat(8, 6, 13, 20, 24),     Size(8, 6), 3.0,     6,   36.37),   # 0, 3 and 6
    (flat(8, 6, 0, 0, 0),        flat(8, 6, 255, 255, 255),  Size(8, 6), 255.0,   255, 0.0),
    (flat(16, 6, 50, 50, 50),    flat(8, 12, 50, 50, 50),    Size(8, 6), 0.0,     0,   None),    # their common size
    (flat(8, 6, 9, 9, 9),        flat(8, 6, 9, 9, 9, 255),   Size(8, 6), 0.0,     0,   None),    # opaque either way
    (flat(8, 6, 255, 0, 0, 0),   flat(8, 6, 0, 0, 255, 0),   Size(8, 6), 0.0,     0,   None),    # nothing to be seen
    (flat(8, 6, 200, 0, 0, 255), flat(8, 6, 200, 0, 0, 0),   Size(8, 6), 455 / 4, 255, 4.0),
]
# fmt: on


@pytest.mark.parametrize(("one", "two", "size", "mean", "most", "psnr"), DIFFERENCES)
def test_differences(one: Array, two: Array, size: Size, mean: float, most: int, psnr: float | None) -> None:
    found = difference(file_of(one), file_of(two))
    assert (found.size, found.maximum) == (size, most)
    assert found.mean == pytest.approx(mean)
    assert found.psnr_db == (None if psnr is None else pytest.approx(psnr, abs=0.2))
    assert difference(file_of(two), file_of(one)) == found


def test_noise_against_numpy() -> None:
    one, two = noise(40, 30, seed=1), noise(40, 30, seed=2)
    gap = one.astype(int) - two
    found = difference(file_of(one), file_of(two))
    assert found.mean == pytest.approx(np.abs(gap).mean())
    assert found.maximum == np.abs(gap).max()
    assert found.psnr_db == pytest.approx(10 * np.log10(255**2 / (gap**2).mean()))


def test_two_encodings_of_one_photograph_are_near() -> None:
    image = slopes(200, 100)
    found = difference(file_of(image, "JPEG", quality=90), file_of(image, "WEBP", quality=90))
    assert found.mean < 2
    assert found.psnr_db is not None
    assert found.psnr_db > 35


def test_exif_is_undone_before() -> None:
    image = slopes(60, 40)
    turned = Pillow.fromarray(np.rot90(image))
    exif = Pillow.Exif()
    exif[0x0112] = 6
    assert difference(file_of(image), saved(turned, "PNG", exif=exif)).maximum == 0


def test_files_that_are_not_images_are_rejected() -> None:
    good = file_of(flat(8, 6, 1, 2, 3))
    for bad in (b"no image", good[:60], b"<svg xmlns='http://www.w3.org/2000/svg'/>"):
        with pytest.raises(SourceUnusable):
            difference(good, bad)


def test_a_too_large_image_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "MAX_PIXELS", 47)
    with pytest.raises(SourceTooLarge, match="48 pixels, at most 47 are compared"):
        difference(file_of(flat(8, 6, 1, 2, 3)), file_of(flat(8, 6, 1, 2, 3)))
