"""Requests of the playground with the image in the body: each kind, for sites and for endpoints; nothing is stored."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import pytest
from PIL import Image, ImageStat

from tests.web.server_process import Running


def sent(server: Running, kind: str, url: str, body: bytes) -> httpx.Response:
    address = f"{server.address}/_playground/{kind}"
    return httpx.post(address, params={"url": url}, content=body, trust_env=False, timeout=30)


# fmt: off
RENDERED = [
    # url                                                   size of the result
    ("/fastly/mine.jpg?width=40",                           (40, 20)),
    ("/kontent/mine.jpg?w=40&h=40&fit=crop&crop=smart",     (40, 40)),
    ("/pixlab/crop?x=10&y=10&width=50&height=30",           (50, 30)),
    ("/pixlab/resize?width=100&height=80",                  (100, 80)),
    ("/pixlab/crop?img=http://a.example/a&x=0&y=0&width=50",    (50, 50)),
]
# fmt: on


@pytest.mark.parametrize(("url", "size"), RENDERED)
def test_an_image_in_the_body_is_rendered(server: Running, pictures: Path, url: str, size: tuple[int, int]) -> None:
    reply = sent(server, "render", url, (pictures / "wide.jpg").read_bytes())
    assert (reply.status_code, reply.headers["cache-control"]) == (200, "no-store")
    assert Image.open(io.BytesIO(reply.content)).size == size
    assert "render;dur=" in reply.headers["server-timing"] or "cache" in reply.headers["server-timing"]


# fmt: off
REFUSED = [
    # kind       url                                body        status, words
    ("render",   "/pixlab/facedetect",              "image",    400, "facedetect returns JSON"),
    ("render",   "/pixlab/blur?width=9",            "image",    404, "crop"),
    ("render",   "/pixlab/crop?width=x",            "image",    400, "width: expected"),
    ("render",   "/fastly/a.jpg?width=0",           "image",    400, "expected a length above 0"),
    ("render",   "/fastly/a.jpg?width=9",           "no image", 404, "not an image"),
    ("render",   "/nothing/a.jpg",                  "image",    404, "no site serves"),
    ("analysis", "/fastly/a.jpg?width=0",           "image",    400, "expected a length above 0"),
    ("analysis", "/fastly/a.jpg?crop=1:1,smart",    "no image", 415, ""),
    ("info",     "/fastly/a.jpg?width=0",           "image",    400, "expected a length above 0"),
]
# fmt: on


@pytest.mark.parametrize(("kind", "url", "body", "status", "words"), REFUSED)
def test_problems_are_told(
    server: Running, pictures: Path, kind: str, url: str, body: str, status: int, words: str
) -> None:
    reply = sent(server, kind, url, (pictures / "wide.jpg").read_bytes() if body == "image" else b"text")
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json")
    assert words in reply.text


def test_an_image_in_the_body_is_explained(server: Running, pictures: Path) -> None:
    body = (pictures / "wide.jpg").read_bytes()
    told = sent(server, "explain", "/fastly/mine.jpg?crop=1:1,smart&width=50&wdith=9", body).json()
    assert told["recipe"]["size"] == {"type": "Size", "width": 50, "height": 50}
    assert told["warnings"] == ["wdith: ignored, did you mean width?"]
    assert {each["dialect"] for each in told["translations"]} == {"contentstack", "kontent", "pixlab"}
    cropped = sent(server, "explain", "/pixlab/crop?x=10&y=10&width=50&height=30", body).json()
    assert cropped["recipe"]["size"]["height"] == 30
    assert "crop=50,30,x10,y10" in next(each["query"] for each in cropped["translations"])
    assert sent(server, "explain", "/fastly/mine.jpg?width=0", body).json()["problem"]["parameter"] == "width"


def test_faces_and_map_of_an_image_in_the_body(server: Running) -> None:
    astronaut = Path("examples/images/astronaut.jpg").read_bytes()
    drawing = sent(server, "analysis", "/fastly/mine.jpg?crop=2:1,smart", astronaut)
    assert drawing.headers["content-type"] == "image/png"
    drawn, plain = Image.open(io.BytesIO(drawing.content)), Image.open(io.BytesIO(astronaut))
    assert drawn.size == plain.size
    below = [ImageStat.Stat(image.convert("L").crop((0, 460, 512, 512))).mean[0] for image in (drawn, plain)]
    assert below[0] < below[1] - 20, "the part outside of the crop is dark"
    facts = sent(server, "info", "/fastly/mine.jpg?crop=2:1,smart", astronaut).json()
    assert (facts["width"], len(facts["faces"])) == (512, 1)
    assert 0.3 < facts["focal_point"]["x"] < 0.6


def test_nothing_is_kept_and_other_sites_pages_are_refused(server: Running, pictures: Path) -> None:
    for kind in ("render", "explain", "analysis", "info"):
        headers = {"Sec-Fetch-Site": "cross-site"}
        url = f"{server.address}/_playground/{kind}?url=/fastly/a.jpg"
        assert httpx.post(url, content=b"x", headers=headers, trust_env=False).status_code == 403, kind
        assert server.get(f"/_playground/{kind}?url=/fastly/a.jpg").status_code == 405, kind
    sent(server, "render", "/fastly/mine.jpg?width=41", (pictures / "wide.jpg").read_bytes())
    assert server.get("/fastly/mine.jpg?width=41").status_code == 404
