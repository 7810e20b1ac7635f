from __future__ import annotations

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from cropmark.analysis import models
from cropmark.analysis.codec import MAX_BYTES, parse_analysis, serialize_analysis
from cropmark.analysis.models import Models
from cropmark.engine.analyze import analyze
from cropmark.geometry.findings import Analysis
from cropmark.model.problems import SourceUnusable
from tests.engine.images import file_of, saved

PHOTOS = Path(__file__).parents[1] / "data" / "corpus" / "photos"
ASTRONAUT = PHOTOS / "ski_astronaut.jpg"


@pytest.fixture(scope="module")
def networks() -> Models:
    return models.load_models()


@pytest.fixture(scope="module")
def astronaut(networks: Models) -> Analysis:
    return analyze(ASTRONAUT.read_bytes(), networks)


def center(analysis: Analysis) -> tuple[float, float]:
    (face,) = (face for face in analysis.faces if face.score >= 0.8)
    return face.left + face.width / 2, face.top + face.height / 2


def near(analysis: Analysis, x: float, y: float) -> bool:
    return center(analysis) == pytest.approx((x, y), abs=0.03)


def test_a_photograph_is_analyzed(astronaut: Analysis) -> None:
    assert near(astronaut, 226 / 512, 118 / 512)  # the annotated face
    assert (astronaut.subject.columns, astronaut.subject.rows) == (32, 32)
    assert max(astronaut.subject.cells) == 255


def test_it_is_small_and_reads_back(astronaut: Analysis) -> None:
    reported = serialize_analysis(astronaut)
    assert len(reported) <= MAX_BYTES
    assert parse_analysis(reported) == astronaut


def test_it_is_the_same_each_time(networks: Models, astronaut: Analysis) -> None:
    assert analyze(ASTRONAUT.read_bytes(), networks) == astronaut


def photo(path: Path) -> Image.Image:
    with Image.open(path) as opened:
        return opened.convert("RGB")


# fmt: off
STORED = [
    # how the same photograph is stored        as a file
    ("PNG",                                    lambda image: saved(image, "PNG")),
    ("WebP",                                   lambda image: saved(image, "WEBP", quality=90)),
    ("gray",                                   lambda image: saved(image.convert("L"), "JPEG")),
    ("with alpha",                             lambda image: saved(image.convert("RGBA"), "PNG")),
    ("larger",                                 lambda image: saved(image.resize((1500, 1500)), "JPEG")),
    ("the first frame of an animation",        lambda image: animated(image)),
]
# fmt: on


def animated(first: Image.Image) -> bytes:
    out = BytesIO()
    first.save(out, "WEBP", save_all=True, append_images=[Image.new("RGB", first.size)], duration=50)
    return out.getvalue()


@pytest.mark.parametrize(("how", "stored"), STORED, ids=[row[0] for row in STORED])
def test_the_face_is_found_however_it_is_stored(networks: Models, how: str, stored: object) -> None:
    assert callable(stored)
    assert near(analyze(stored(photo(ASTRONAUT)), networks), 226 / 512, 118 / 512), how


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_the_image_is_turned_upright_first(networks: Models, orientation: int) -> None:
    image = photo(ASTRONAUT)
    turned = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    lying = image.transpose(turned[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = saved(lying, "JPEG", exif=exif, quality=90)
    assert ImageOps.exif_transpose(Image.open(BytesIO(stored))).size == image.size
    assert near(analyze(stored, networks), 226 / 512, 118 / 512)


def test_one_color_has_no_salient_region(networks: Models) -> None:
    found = analyze(file_of(np.full((300, 400, 3), 200, np.uint8)), networks)
    assert found.faces == ()
    assert max(found.residual.cells) == 0


@pytest.mark.parametrize("data", [b"", b"no image", ASTRONAUT.read_bytes()[:20_000]])
def test_incomplete_images_are_rejected(networks: Models, data: bytes) -> None:
    with pytest.raises(SourceUnusable):
        analyze(data, networks)


SEALED = """
import sys
from cropmark.analysis import models
from cropmark.engine import analyze

networks, photo = models.load_models(), open(sys.argv[1], "rb").read()

def refuse(event, _):
    if event in ("open", "import", "ctypes.dlopen", "ctypes.dlsym", "socket.connect", "subprocess.Popen"):
        raise PermissionError(event)

sys.addaudithook(refuse)
print(len(analyze.analyze(photo, networks).faces))
"""


def test_after_the_import_nothing_is_opened_or_imported() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SEALED, str(PHOTOS / "mate_ladybird.jpg")],  # looked at twice
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.stdout.strip(), run.returncode) == ("0", 0), run.stderr


MEMORY = """
import sys
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
from cropmark.engine.thumbnail import thumbnail_rgb
photos = [open(name, "rb").read() for name in sys.argv[1:]]
thumbnail_rgb(photos[0], 640)
before = resident()
from cropmark.analysis import models
from cropmark.engine.analyze import analyze
networks = models.load_models()
for photo in photos:
    analyze(photo, networks)
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc, and given back by glibc")
def test_less_than_200_mb_remain_allocated() -> None:
    names = [str(PHOTOS / name) for name in ("ski_astronaut.jpg", "mate_ladybird.jpg", "lom_friends.jpg")]
    run = subprocess.run([sys.executable, "-c", MEMORY, *names], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) < 200
