"""The vendors' JavaScript libraries build URLs (urls.mjs), and our server serves images of the expected sizes.

Not tested: @contentstack/delivery-sdk 5; its package has the types of ImageTransform, but not its code.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.builders import make_images
from tests.requirements import require
from tests.web.server_process import Running, running

HERE = Path(__file__).parent
NODE = shutil.which("node")
INSTALLED = NODE is not None and (HERE / "node_modules" / "unpic").is_dir()

pytestmark = require("node", INSTALLED)

BROWSER = {"Accept": "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"}

# fmt: off
PICTURES = [
    # request                             response to an image of 400x200 px
    ("unpic contentstack cover",          "image/webp", (120, 90)),
    ("unpic contentstack width",          "image/webp", (100, 50)),
    ("unpic contentstack avif",           "image/webp", (100, 50)),   # it adds auto=webp, which comes before format
    ("unpic kontent cover",               "image/jpeg", (120, 90)),
    ("unpic kontent jpg",                 "image/jpeg", (100, 50)),   # sent as fm=jpeg
    ("unpic kontent webp",                "image/webp", (100, 50)),
    ("contentstack auto",                 "image/webp", (400, 200)),
    ("contentstack resize",               "image/jpeg", (200, 50)),
    ("contentstack quality",              "image/jpeg", (400, 200)),
    ("contentstack crop",                 "image/jpeg", (150, 100)),
    ("contentstack crop ratio",           "image/jpeg", (67, 200)),
    ("contentstack crop region",          "image/jpeg", (150, 100)),
    ("contentstack crop offset",          "image/jpeg", (150, 100)),
    ("contentstack trim",                 "image/jpeg", (250, 100)),
    ("contentstack orient",               "image/jpeg", (200, 400)),
    ("contentstack overlay",              "image/jpeg", (400, 200)),
    ("contentstack pad",                  "image/jpeg", (550, 300)),
    ("contentstack dpr",                  "image/jpeg", (200, 100)),
    ("contentstack tones",                "image/jpeg", (400, 200)),
    ("contentstack canvas",               "image/jpeg", (700, 800)),
    ("contentstack canvas ratio",         "image/jpeg", (400, 400)),
    ("contentstack second question mark", "image/webp", (200, 100)),
    ("kontent clip",                      "image/jpeg", (100, 50)),
    ("kontent scale",                     "image/jpeg", (500, 50)),
    ("kontent crop",                      "image/jpeg", (80, 80)),
    ("kontent dpr",                       "image/jpeg", (100, 50)),
    ("kontent rect",                      "image/jpeg", (100, 60)),
    ("kontent focal point",               "image/jpeg", (60, 60)),
    ("kontent png",                       "image/png",  (50, 25)),
    ("kontent automatic",                 "image/webp", (50, 25)),
    ("kontent lossless",                  "image/webp", (50, 25)),
    ("nuxt fastly",                       "image/webp", (100, 80)),
    ("nuxt fastly bounds",                "image/jpeg", (100, 50)),
]
# fmt: on


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = make_images(tmp_path_factory.mktemp("pictures"))
    # Contentstack counts 80 requests a second that miss the cache, fewer than these tests may need on a quick machine.
    settings = {"CROPMARK_CONTENTSTACK__RATE_LIMIT": "0"}
    with running(str(folder), cache=tmp_path_factory.mktemp("clients") / "cache", environment=settings) as found:
        yield found


@pytest.fixture(scope="module")
def urls(server: Running) -> Mapping[str, str]:
    """The URLs that the libraries build, by name."""
    reply = subprocess.run(
        [NODE or "node", "urls.mjs", server.address], cwd=HERE, capture_output=True, text=True, timeout=60, check=False
    )
    assert reply.returncode == 0, reply.stderr
    found: dict[str, str] = json.loads(reply.stdout)
    return found


@pytest.mark.parametrize(("name", "media_type", "size"), PICTURES)
def test_the_url_of_a_library_serves_its_image(
    server: Running, urls: Mapping[str, str], name: str, media_type: str, size: tuple[int, int]
) -> None:
    assert urls[name].startswith(server.address)
    reply = server.get(urls[name].removeprefix(server.address), headers=BROWSER)
    assert reply.status_code == 200, (urls[name], reply.text)
    assert reply.headers["content-type"] == media_type
    assert Image.open(BytesIO(reply.content)).size == size
    assert reply.headers.get("x-cropmark-warning") is None


def test_every_url_is_tested(urls: Mapping[str, str]) -> None:
    assert set(urls) == {name for name, _, _ in PICTURES}
