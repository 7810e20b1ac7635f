"""Contentstack's Python library builds URLs, and our server serves images of the expected sizes."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO

import pytest
from PIL import Image

from tests.builders import make_images
from tests.requirements import require
from tests.web.server_process import Running, running

pytestmark = require("contentstack", find_spec("contentstack") is not None)

# fmt: off
TRANSFORMS = [
    # after the path               operations; those in snake case are unknown and dropped            size
    ("",                           {"width": 100, "height": 100, "crop": "150,100"},              (100, 100)),
    ("",                           {"width": 120, "height": 90, "fit": "crop"},                   (120, 90)),
    ("",                           {"bg-color": "FF0000", "pad": "10"},                           (420, 220)),
    ("?environment=production",    {"bg-color": "FF0000", "pad": "10"},                           (420, 220)),  # two ?
    ("",                           {"bg_color": "FF0000", "overlay_align": "top", "width": "50p"}, (200, 100)),
    ("",                           {"crop": "2:1", "dpr": 2, "width": 50, "format": "pjpg"},      (100, 50)),
]
# fmt: on


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_images(tmp_path_factory.mktemp("pictures"))
    with running(str(folder), cache=tmp_path_factory.mktemp("clients") / "cache") as found:
        yield found


@pytest.mark.parametrize(("suffix", "operations", "size"), TRANSFORMS)
def test_the_url_of_a_library_serves_its_image(
    server: Running, suffix: str, operations: dict[str, str | int], size: tuple[int, int]
) -> None:
    stack = import_module("contentstack").Stack("blt0123456789abcdef", "cs0123456789", "production")
    url: str = stack.image_transform(f"{server.address}/contentstack/wide.jpg{suffix}", **operations).get_url()
    reply = server.get(url.removeprefix(server.address))
    assert reply.status_code == 200, (url, reply.text)
    assert Image.open(BytesIO(reply.content)).size == size
