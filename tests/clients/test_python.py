"""Contentstack's Python library drives a server: the URLs are its, pictures and sizes are ours."""

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
    # behind the path              operations; those in snake case are unknown and dropped            size
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


@pytest.mark.parametrize(("behind", "operations", "size"), TRANSFORMS)
def test_url_in_picture_out(
    server: Running, behind: str, operations: dict[str, str | int], size: tuple[int, int]
) -> None:
    stack = import_module("contentstack").Stack("blt0123456789abcdef", "cs0123456789", "production")
    url: str = stack.image_transform(f"{server.address}/contentstack/wide.jpg{behind}", **operations).get_url()
    answer = server.get(url.removeprefix(server.address))
    assert answer.status_code == 200, (url, answer.text)
    assert Image.open(BytesIO(answer.content)).size == size
