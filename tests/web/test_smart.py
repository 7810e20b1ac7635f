"""Content-aware cropping over HTTP: one crop for a source and shape, its focus in a header, center as fallback."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from tests.web.local_server import LocalServer, local_server
from tests.web.server_process import running

pytest.importorskip("onnxruntime", reason="content-aware cropping is the extra smart")

CORPUS = Path(__file__).parent.parent / "data" / "corpus" / "photos"
FACES, SUBJECT = "kpa_qt_logo.jpg", "gc_toucan.jpg"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name in (FACES, SUBJECT):
        shutil.copy(CORPUS / name, folder)
    Image.new("RGB", (300, 100), (90, 90, 90)).save(folder / "flat.png")
    return folder


@pytest.fixture(scope="module")
def smart(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    with local_server(photos, cache=tmp_path_factory.mktemp("smart") / "cache") as found:
        yield found


# fmt: off
FOCUS = [
    # path and query                                                      decided by
    (f"/fastly/{FACES}?crop=1:1,smart&width=200",                         "faces"),
    (f"/contentstack/{FACES}?crop=1:1,smart&width=200",                   "faces"),
    (f"/kontent/{FACES}?w=200&h=200&fit=crop&crop=smart",                 "faces"),
    (f"/fastly/{SUBJECT}?crop=1:1,smart&width=200",                       "subject"),
    ("/fastly/flat.png?crop=1:1,smart&width=50",                          "center"),
    (f"/fastly/{FACES}?crop=800:542,smart&width=200",                     "center"),     # the picture's own shape
]
# fmt: on


@pytest.mark.parametrize(("path", "decided"), FOCUS)
def test_the_focus_header_names_the_decision(smart: LocalServer, path: str, decided: str) -> None:
    reply = smart.get(path)
    assert reply.status_code == 200
    assert reply.headers["x-cropmark-focus"].split(" ")[0] == decided


def test_no_focus_header_without_a_smart_crop(smart: LocalServer) -> None:
    assert "x-cropmark-focus" not in smart.get(f"/fastly/{FACES}?crop=1:1&width=200").headers


def test_a_srcset_shows_one_window(smart: LocalServer) -> None:
    """Eight widths, three dialects' spellings: the same section of the picture within rounding."""
    widths = (60, 80, 120, 160, 200, 300, 400, 542)
    paths = [f"/fastly/{FACES}?crop=1:1,smart&width={w}&format=png" for w in widths]
    paths += [f"/kontent/{FACES}?w=200&h=200&fit=crop&crop=smart&fm=png"]
    paths += [f"/contentstack/{FACES}?crop=1:1,smart&width=200&format=png"]
    pictures = [_small(smart.get(path).content) for path in paths]
    centered = _small(smart.get(f"/fastly/{FACES}?crop=1:1,offset-x0&width=300&format=png").content)
    for image in pictures[1:]:
        assert np.abs(image - pictures[7]).mean() < 7
    assert np.abs(centered - pictures[7]).mean() > 15


def _small(body: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(body)).convert("RGB").resize((30, 30), Image.Resampling.BOX)
    return np.asarray(image, dtype=float)


def test_one_analysis_serves_all_variants(smart: LocalServer) -> None:
    for width in (70, 71, 72):
        smart.get(f"/fastly/{SUBJECT}?crop=2:1,smart&width={width}")
    reply = smart.get("/_explain.png?url=" + f"/fastly/{SUBJECT}?crop=1:1,smart")
    assert reply.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(reply.content)).width == 800


def test_smart_crops_are_centered_when_analysis_is_off(photos: Path, tmp_path: Path) -> None:
    settings = {"CROPMARK_SMART_CROP": "false"}
    with local_server(photos, cache=tmp_path / "cache", environment=settings) as server:
        reply = server.get(f"/fastly/{FACES}?crop=1:1,smart&width=200")
        plain = server.get(f"/fastly/{FACES}?crop=1:1&width=200")
    assert reply.headers["x-cropmark-focus"] == "center (content analysis is switched off)"
    assert reply.content == plain.content
    with local_server(photos, cache=tmp_path / "cache") as server:  # switched on, over the same cache
        found = server.get(f"/fastly/{FACES}?crop=1:1,smart&width=200")
        assert "hit-disk" in server.get(f"/fastly/{FACES}?crop=1:1&width=200").headers["server-timing"]
    assert found.headers["x-cropmark-focus"].startswith("faces")


def test_after_an_analysis_timeout_the_crop_is_centered(photos: Path, tmp_path: Path) -> None:
    settings = {"CROPMARK_ANALYSIS_TIMEOUT_S": "0.001"}
    with local_server(photos, cache=tmp_path / "cache", environment=settings) as server, capture_logs() as logs:
        reply = server.get(f"/fastly/{FACES}?crop=1:1,smart&width=200")
        assert server.get(f"/fastly/{FACES}?width=100").status_code == 200
    assert "analysis failed" in [entry["event"] for entry in logs]
    assert reply.status_code == 200
    assert reply.headers["x-cropmark-focus"].startswith("center (")
    assert reply.headers["cache-control"] == "public, max-age=10"


def test_a_renderer_killed_during_analysis_loses_only_the_focus(photos: Path, tmp_path: Path) -> None:
    with running(str(photos), cache=tmp_path / "cache") as server:
        before = set(server.renderers())
        stop = threading.Event()

        def kill() -> None:
            # As soon as the front has handed the task to the one that analyses.
            while not stop.is_set():
                running = server.get("/readyz").json()["renderers"]["running"]
                for pid in set(server.renderers()) - before if running else ():
                    os.kill(pid, signal.SIGKILL)
                    return

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            reply = server.get(f"/fastly/{FACES}?crop=1:1,smart&width=200")
        finally:
            stop.set()
            killer.join()
        assert reply.status_code == 200
        assert reply.headers["x-cropmark-focus"].startswith("center (")
        assert server.get(f"/fastly/{FACES}?width=100").status_code == 200


def test_the_page_of_a_smart_crop_shows_its_faces_and_subject(smart: LocalServer) -> None:
    page = smart.get(f"/_explain?url=/fastly/{FACES}?crop=1:1,smart&width=200", headers={"Accept": "text/html"}).text
    assert "placed around faces" in page
    drawing = re.search(r'src="(/_explain\.png\?url=[^"]*)"', page)
    assert drawing is not None
    assert smart.get(drawing[1]).headers["content-type"] == "image/png"
    centered = smart.get("/_explain?url=/fastly/flat.png?crop=1:1,smart&width=50", headers={"Accept": "text/html"}).text
    assert "placed by center" in centered
    assert "_explain.png?step=" in centered
    assert "_explain.png?url=" not in centered  # no drawing of faces


def test_facts_have_the_faces_and_a_focal_point_between_them(smart: LocalServer) -> None:
    facts = smart.get(f"/_info/fastly/{FACES}").json()
    assert facts["faces"]
    left, right = (min(f["left"] for f in facts["faces"]), max(f["left"] + f["width"] for f in facts["faces"]))
    assert left < facts["focal_point"]["x"] < right
