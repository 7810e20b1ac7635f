"""cropmark from Python: real files in, real pictures out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import cropmark
from cropmark.config import Settings
from cropmark.problems import BadValue, CropOutOfBounds, SourceMissing
from tests.web.pictures import make_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


# fmt: off
RENDERED = [
    # file          dialect         query                            type          size
    ("wide.jpg",    "fastly",       "crop=1:1&width=50&format=webp", "image/webp", (50, 50)),
    ("wide.jpg",    "fastly",       "?width=40",                     "image/jpeg", (40, 20)),
    ("wide.jpg",    "contentstack", "width=600",                     "image/jpeg", (600, 300)),
    ("tall.png",    "kontent",      "w=50",                          "image/png",  (50, 150)),
]
# fmt: on


@pytest.mark.parametrize(("name", "dialect", "query", "media_type", "size"), RENDERED)
def test_render(
    folder: Path, tmp_path: Path, name: str, dialect: str, query: str, media_type: str, size: tuple[int, int]
) -> None:
    picture = cropmark.render(folder / name, query, dialect=dialect)
    assert picture.media_type == media_type
    assert str(picture.size) == f"{size[0]}x{size[1]}"
    picture.save(tmp_path / "out")
    assert Image.open(tmp_path / "out").size == size


def test_render_finds_overlays_beside_the_file(folder: Path) -> None:
    query = "overlay=/tall.png&overlay-width=20&format=png"
    plain = cropmark.render(folder / "wide.jpg", "format=png", dialect="contentstack")
    laid = cropmark.render(folder / "wide.jpg", query, dialect="contentstack")
    assert laid.body != plain.body
    assert laid.warnings == ()


def test_accept_negotiates(folder: Path) -> None:
    assert cropmark.render(folder / "wide.jpg", "auto=webp", accept="image/webp").media_type == "image/webp"


def test_problems_are_raised(folder: Path) -> None:
    with pytest.raises(BadValue, match="width: expected a length above 0, got '0'"):
        cropmark.render(folder / "wide.jpg", "width=0")
    with pytest.raises(CropOutOfBounds):
        cropmark.render(folder / "wide.jpg", "crop=900,900")
    with pytest.raises(SourceMissing, match="there is no file"):
        cropmark.render(folder / "none.jpg", "width=10")


def test_explain(folder: Path) -> None:
    assert cropmark.explain("crop=1:1&width=50").plain()["order"]["plan"]["steps"][0]["is"] == "Crop"
    told = cropmark.explain("crop=1:1&width=50", source=folder / "wide.jpg").plain()
    assert told["recipe"]["size"] == {"is": "Size", "width": 50, "height": 50}
    assert len(told["key"]) == 64
    assert told["cost_ms"] > 0
    assert cropmark.explain("width=0").plain()["problem"]["status"] == 400


def test_settings_hold(folder: Path) -> None:
    low = Settings.model_validate({"fastly": {"jpeg_quality": 5}})
    small = cropmark.render(folder / "wide.jpg", "width=100", settings=low)
    assert len(small.body) < len(cropmark.render(folder / "wide.jpg", "width=100").body)


def test_importing_cropmark_loads_no_web_stack() -> None:
    """A renderer imports the package too."""
    code = (
        "import sys, cropmark; print([m for m in ('granian', 'starlette', 'aiohttp', 'pydantic') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
