"""cropmark from Python, with real files."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

import cropmark
from cropmark.api import RenderedImage
from cropmark.config.loader import Settings
from cropmark.model.formats import TRAITS, Format
from cropmark.model.problems import BadRequest, BadValue, CropOutOfBounds, SourceNotFound
from cropmark.model.values import Size
from tests.builders import make_images
from tests.command import forked_renderers
from tests.requirements import require

PICTURE = RenderedImage(b"made", "image/jpeg", Size(1, 1))


@pytest.fixture(scope="module", autouse=True)
def _forked_renderers() -> Iterator[None]:
    with forked_renderers():
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_images(tmp_path_factory.mktemp("pictures"))


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
    image = cropmark.render(folder / name, query, dialect=dialect)
    assert image.media_type == media_type
    assert str(image.size) == f"{size[0]}x{size[1]}"
    image.save(tmp_path / "out")
    assert Image.open(tmp_path / "out").size == size


def test_an_original_is_returned_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pread() may return fewer bytes than it was asked for."""
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda file, count, at: real(file, min(count, 100), at))
    expected = (folder / "drawing.svg").read_bytes() * 9
    (folder / "long.svg").write_bytes(expected)
    assert cropmark.render(folder / "long.svg", "", dialect="contentstack").body == expected


def test_saving_keeps_a_link_and_replaces_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "there.jpg").write_bytes(b"before")
    (tmp_path / "link.jpg").symlink_to("there.jpg")
    (tmp_path / "dangling.jpg").symlink_to("new.jpg")
    for name in ("link.jpg", "dangling.jpg"):
        PICTURE.save(tmp_path / name)
        assert (tmp_path / name).is_symlink()
    held = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert held == dict.fromkeys(("there.jpg", "link.jpg", "dangling.jpg", "new.jpg"), PICTURE.body)


@pytest.mark.parametrize("through_a_link", [False, True])
def test_saving_writes_into_a_pipe(tmp_path: Path, through_a_link: bool) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("pipe")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        PICTURE.save(link if through_a_link else pipe)
        assert os.read(reader, 100) == PICTURE.body
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_a_failed_save_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "out.jpg").write_bytes(b"before")
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        PICTURE.save(tmp_path / "out.jpg")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"out.jpg": b"before"}


def test_render_finds_overlays_in_the_files_folder(folder: Path) -> None:
    query = "overlay=/tall.png&overlay-width=20&format=png"
    plain = cropmark.render(folder / "wide.jpg", "format=png", dialect="contentstack")
    laid = cropmark.render(folder / "wide.jpg", query, dialect="contentstack")
    assert laid.body != plain.body
    assert laid.warnings == ()


def test_warnings_name_their_parameter_once(folder: Path) -> None:
    query = "overlay=/none.png&overlay-width=20"
    (missing,) = cropmark.render(folder / "wide.jpg", query, dialect="contentstack").warnings
    assert missing.startswith("overlay: left out, ")
    assert cropmark.render(folder / "wide.jpg", "w=30&dpr=9", dialect="kontent").warnings == ("dpr: 9 counts as 5",)
    assert cropmark.explain("w=30&dpr=9", dialect="kontent").to_json()["warnings"] == ["dpr: 9 counts as 5"]


def test_accept_negotiates(folder: Path) -> None:
    assert cropmark.render(folder / "wide.jpg", "auto=webp", accept="image/webp").media_type == "image/webp"


def test_problems_are_raised(folder: Path) -> None:
    with pytest.raises(BadValue, match="width: expected a length above 0, got '0'"):
        cropmark.render(folder / "wide.jpg", "width=0")
    with pytest.raises(CropOutOfBounds):
        cropmark.render(folder / "wide.jpg", "crop=900,900")
    with pytest.raises(SourceNotFound, match="file not found"):
        cropmark.render(folder / "none.jpg", "width=10")
    with pytest.raises(SourceNotFound, match=r"cannot be read: File name too long"):
        cropmark.render(folder / ("a" * 300), "width=10")
    for dialect in ("zz", "pixlab"):
        with pytest.raises(BadRequest, match=f"'{dialect}' is not a dialect that serves files"):
            cropmark.render(folder / "wide.jpg", "width=10", dialect=dialect)


def test_explain(folder: Path) -> None:
    assert cropmark.explain("crop=1:1&width=50").to_json()["order"]["plan"]["steps"][0]["type"] == "Crop"
    report = cropmark.explain("crop=1:1&width=50", source=folder / "wide.jpg").to_json()
    assert report["recipe"]["size"] == {"type": "Size", "width": 50, "height": 50}
    assert len(report["key"]) == 64
    assert report["cost_ms"] > 0
    assert cropmark.explain("width=0").to_json()["problem"]["status"] == 400


# fmt: off
SETTINGS = [
    # query             a setting that is not its default
    ("crop=1:1",        Settings(cmyk="press")),
    ("crop=1:1,smart",  Settings(smart_crop=False)),
    ("crop=1:1",        Settings(colors="keep")),
]
# fmt: on


@pytest.mark.parametrize(("query", "settings"), SETTINGS)
def test_an_explained_key_depends_on_the_settings_as_that_of_a_server(
    folder: Path, query: str, settings: Settings
) -> None:
    keys = {
        cropmark.explain(query, source=folder / "wide.jpg", settings=one).to_json()["key"]
        for one in (settings, Settings())
    }
    assert len(keys) == 2


@pytest.mark.parametrize(("dialect", "reason"), [("fastly", "unsupported"), ("kontent", "unsupported")])
def test_a_file_that_is_not_an_image_is_explained(folder: Path, dialect: str, reason: str) -> None:
    (folder / "leaflet.pdf").write_bytes(b"%PDF-1.7")
    query = {"fastly": "width=50", "kontent": "w=50"}[dialect]
    explained = cropmark.explain(query, source=folder / "leaflet.pdf", dialect=dialect).to_json()
    assert (explained["media_type"], explained["originalbytes"]["reason"]) == ("application/pdf", reason)
    assert "problem" not in explained


def test_a_file_of_an_unknown_type_is_not_explained(folder: Path) -> None:
    (folder / "site.toml").write_text("[site]")
    explained = cropmark.explain("width=50", source=folder / "site.toml").to_json()
    assert "media_type" not in explained
    assert explained["problem"]["status"] in (404, 415)


def test_a_misspelt_parameter_gets_a_hint(folder: Path) -> None:
    hint = "wdith: ignored, did you mean width?"
    assert cropmark.explain("wdith=300").to_json()["warnings"] == [hint]
    assert cropmark.render(folder / "wide.jpg", "wdith=300").warnings == (hint,)


def test_settings_apply(folder: Path) -> None:
    low = Settings.model_validate({"fastly": {"jpeg_quality": 5}})
    small = cropmark.render(folder / "wide.jpg", "width=100", settings=low)
    assert len(small.body) < len(cropmark.render(folder / "wide.jpg", "width=100").body)


def test_importing_cropmark_does_not_load_the_web_stack() -> None:
    """A renderer imports the package too."""
    code = (
        "import sys, cropmark; print([m for m in ('granian', 'starlette', 'aiohttp', 'pydantic') if m in sys.modules])"
    )
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout.strip() == "[]"


# fmt: off
ROCKET = Path(__file__).parent.parent / "examples" / "images" / "rocket.jpg"
SUFFIXES = [
    # query          suffix    media type
    ("width=40",     ".png",   "image/png"),    # the query leaves the format open
    ("width=40",     ".WEBP",  "image/webp"),
    ("",             ".png",   "image/png"),
    ("",             ".jpeg",  "image/jpeg"),   # the original
    ("width=40",     ".tiff",  "image/jpeg"),   # cannot be written: the source's format
    ("width=40&format=webp", ".png", "image/webp"),   # the query selects the format
]
# fmt: on


@pytest.mark.parametrize(("query", "suffix", "media_type"), SUFFIXES)
def test_the_suffix_selects_the_format_that_the_query_leaves_open(query: str, suffix: str, media_type: str) -> None:
    image = cropmark.render(ROCKET, query, suffix=suffix)
    assert image.media_type == media_type


@require("the extra `video`", TRAITS[Format.MP4].writable)
def test_a_suffix_that_the_image_cannot_have_is_a_warning() -> None:
    image = cropmark.render(ROCKET, "width=40", suffix=".mp4")
    assert (image.media_type, image.warnings) == ("image/jpeg", ("format: this image cannot become mp4",))


def test_the_suffix_of_the_source_changes_nothing() -> None:
    assert cropmark.render(ROCKET, "", suffix=".jpg").body == cropmark.render(ROCKET, "").body
