"""Sites by host name: a vendor's URL works with only its host changed, over a folder and over an origin."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from PIL import Image

from tests.builders import make_images
from tests.web.server_process import Running, running

STACK, ASSET, FILE = "bltstack000000000", "blt0123456789abcdef", "0123456789abcdef01234567"
ENVIRONMENT, FILE_ID = "975bf280-9091-4691-b05b-86a7d2f3b4c1", "0c0d7d9f-4d3f-4e1c-9d11-1f2b3c4d5e6f"


CACHE_CONTROL = {
    "private.jpg": "private, max-age=60",
    "secret.jpg": "no-store",
    "brief.jpg": "max-age=1, must-revalidate",
    "odd.jpg": "max-age=60, \xe9",
}
"""Cache-Control of the origin by file name."""


class _Origin(SimpleHTTPRequestHandler):
    def end_headers(self) -> None:
        if value := CACHE_CONTROL.get(self.path.rsplit("/", 1)[-1]):
            self.send_header("Cache-Control", value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images at the paths of each vendor."""
    folder = make_images(tmp_path_factory.mktemp("pictures"))
    for vendors in (f"v3/assets/{STACK}/{ASSET}/{FILE}", f"{ENVIRONMENT}/{FILE_ID}"):
        (folder / vendors).mkdir(parents=True)
        shutil.copy(folder / "wide.jpg", folder / vendors / "wide photo.jpg")
    for name in CACHE_CONTROL:
        shutil.copy(folder / "wide.jpg", folder / name)
    return folder


@pytest.fixture(scope="module")
def origin(folder: Path) -> Iterator[str]:
    """host:port of a web server of the same images."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Origin, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def server(folder: Path, origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Three dialects, each with a site over the folder and a site over the origin."""
    work = tmp_path_factory.mktemp("sites")
    tables = [
        f'[[site]]\nhosts = ["{dialect}-{kind}.example"]\ndialect = "{dialect}"\nsource = "{source}"\n'
        for dialect in ("fastly", "contentstack", "kontent")
        for kind, source in (("folder", folder), ("origin", f"http://{origin}"))
    ]
    tables.append(
        f'[[site]]\nprefix = "/shop"\ndialect = "fastly"\nsource = "{folder}"\nsettings = {{ upscale = true }}\n'
    )
    tables.append(f'[[site]]\nhosts = ["based.example"]\ndialect = "fastly"\nsource = "http://{origin}/v3"\n')
    config = work / "cropmark.toml"
    config.write_text("\n".join(tables))
    allowed = {"CROPMARK_ALLOW_PRIVATE_HOSTS": origin}
    with running("--config", str(config), cache=work / "cache", environment=allowed) as started:
        yield started


# fmt: off
URLS = [
    # the vendor's URL                                                                              size
    ("https://fastly.example/wide.jpg?width=100",                                                   (100, 50)),
    ("https://fastly.example/with%20space%20%26%20more/%C3%A4.png?crop=10,10",                      (10, 10)),
    (f"https://contentstack.example/v3/assets/{STACK}/{ASSET}/{FILE}/wide%20photo.jpg?width=100",   (100, 50)),
    (f"https://contentstack.example/v3/assets/{STACK}/{ASSET}/{FILE}/wide%20photo.jpg?environment=production?height=20",
                                                                                                    (40, 20)),
    (f"https://contentstack.example/v3/assets/{STACK}/{ASSET}/{FILE}/wide%20photo.jpg",             (400, 200)),
    (f"https://kontent.example/{ENVIRONMENT}/{FILE_ID}/wide%20photo.jpg?w=60&h=60&fit=crop",        (60, 60)),
    (f"https://kontent.example/{ENVIRONMENT}/{FILE_ID}/wide%20photo.jpg",                           (400, 200)),
]
# fmt: on


@pytest.mark.parametrize("kind", ["folder", "origin"])
@pytest.mark.parametrize(("url", "size"), URLS)
def test_only_the_host_changes(server: Running, kind: str, url: str, size: tuple[int, int]) -> None:
    parts = urlsplit(url)
    host = parts.netloc.replace(".example", f"-{kind}.example")
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    response = server.get(path, headers={"Host": host})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "image/jpeg" or path.endswith(("10,10",))
    assert Image.open(BytesIO(response.content)).size == size


def test_port_case_and_trailing_dot_of_the_host_are_ignored(server: Running) -> None:
    for host in ("fastly-folder.example:8443", "Fastly-Folder.Example", "fastly-folder.example."):
        assert server.get("/wide.jpg?width=10", headers={"Host": host}).status_code == 200


# fmt: off
MISSING = [
    # host                          path                        status
    ("fastly-folder.example",       "/none.jpg?width=10",       404),
    ("fastly-origin.example",       "/none.jpg?width=10",       404),
    ("fastly-folder.example",       "/../wide.jpg",             404),
    ("based.example",               "/../wide.jpg",             400),      # outside the origin's path
    ("based.example",               "/%2e%2e/wide.jpg",         400),
    ("based.example",               "/%252e%252e/wide.jpg",     400),
    ("based.example",               "/assets/%2e%2e/%2e%2e/wide.jpg", 400),
    ("kontent-folder.example",      f"/{ENVIRONMENT}/none/wide%20photo.jpg?w=9", 404),
    ("contentstack-folder.example", f"/v3/assets/{STACK}/{ASSET}/{FILE}/wide%20photo.jpg?environment=draft", 404),
    ("elsewhere.example",           "/wide.jpg?width=10",       404),      # no site has this host
]
# fmt: on


@pytest.mark.parametrize(("host", "path", "status"), MISSING)
def test_missing_images(server: Running, host: str, path: str, status: int) -> None:
    response = server.get(path, headers={"Host": host})
    assert response.status_code == status
    assert not response.headers["content-type"].startswith("image/")


def test_the_path_of_an_origin_is_prepended(server: Running) -> None:
    path = f"/assets/{STACK}/{ASSET}/{FILE}/wide%20photo.jpg?width=10"
    assert server.get(path, headers={"Host": "based.example"}).status_code == 200


# fmt: off
CACHED = [
    # host                          path                        Cache-Control
    ("fastly-origin.example",       "/private.jpg?width=10",    "private, max-age=60"),         # the origin's
    ("fastly-origin.example",       "/secret.jpg?width=10",     "no-store"),
    ("fastly-origin.example",       "/brief.jpg?width=10",      "max-age=1, must-revalidate"),
    ("fastly-origin.example",       "/brief.jpg",               "max-age=1, must-revalidate"),
    ("fastly-origin.example",       "/odd.jpg?width=10",        "no-store"),                    # not forwarded
    ("fastly-origin.example",       "/wide.jpg?width=10",       "public, max-age=3600"),        # the origin sends none
    ("fastly-origin.example",       "/broken.jpg?width=10",     "public, max-age=10"),
    ("fastly-folder.example",       "/broken.jpg?width=10",     "public, max-age=10"),          # it may be half written
    ("kontent-origin.example",      "/private.jpg?w=10",        "private, no-store"),
    ("kontent-origin.example",      "/brief.jpg?w=10",          "public, max-age=31536000"),    # by version
    ("kontent-folder.example",      "/broken.jpg?w=10",         "public, max-age=10"),
    ("contentstack-origin.example", "/private.jpg?width=10",    "private, no-store"),
    ("contentstack-origin.example", "/secret.jpg?width=10&environment=production", "private, no-store"),
    ("contentstack-origin.example", "/wide.jpg?width=10",       "public, max-age=300"),
]
# fmt: on


@pytest.mark.parametrize(("host", "path", "cache_control"), CACHED)
def test_cache_control(server: Running, host: str, path: str, cache_control: str) -> None:
    """The same for a cache miss and for a hit."""
    for _ in range(2):
        response = server.get(path, headers={"Host": host})
        assert (response.status_code, response.headers["cache-control"]) == (200, cache_control)


def test_a_broken_original_is_sent_with_a_warning(server: Running) -> None:
    fastly = server.get("/broken.jpg?width=10", headers={"Host": "fastly-folder.example"})
    assert "fastly-io-error" in fastly.headers
    kontent = server.get("/broken.jpg?w=10", headers={"Host": "kontent-folder.example"})
    assert "the original was sent" in kontent.headers["x-cropmark-warning"]


def test_a_prefix_serves_any_host_with_its_own_settings(server: Running) -> None:
    response = server.get("/shop/wide.jpg?width=800", headers={"Host": "elsewhere.example"})
    assert Image.open(BytesIO(response.content)).size == (800, 400)


def test_sites_of_one_path_do_not_share_renditions(server: Running) -> None:
    """Fastly does not enlarge a 400 px image by default; Contentstack does."""
    fastly = server.get("/wide.jpg?width=800", headers={"Host": "fastly-folder.example"})
    contentstack = server.get("/wide.jpg?width=800", headers={"Host": "contentstack-folder.example"})
    assert Image.open(BytesIO(fastly.content)).size == (400, 200)
    assert Image.open(BytesIO(contentstack.content)).size == (800, 400)
    assert "x-ratelimit-limit" in contentstack.headers
    assert "x-ratelimit-limit" not in fastly.headers


def test_an_explanation_contains_translations(server: Running) -> None:
    explanation = server.get("/_explain?url=/shop/wide.jpg?crop=2:1").json()
    translations = {one["dialect"]: one for one in explanation["translations"]}
    assert set(translations) == {"contentstack", "kontent", "pixlab"}
    assert translations["contentstack"] == {"dialect": "contentstack", "same": True, "query": "crop=2:1"}
    assert translations["kontent"]["differs"][0].startswith("Crop.shape: ")


def test_a_rejected_request_has_no_translations(server: Running) -> None:
    assert "translations" not in server.get("/_explain?url=/shop/wide.jpg?crop=2").json()


def test_the_greeting_lists_every_site(server: Running) -> None:
    assert "fastly-folder.example" in server.greeting
    assert "kontent at kontent-origin.example" in server.greeting


def test_an_origin_that_is_not_allowed_is_not_fetched(
    folder: Path, origin: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = tmp_path_factory.mktemp("protected")
    config = work / "cropmark.toml"
    config.write_text(f'[[site]]\nhosts = ["a.example"]\ndialect = "fastly"\nsource = "http://{origin}"\n')
    with running("--config", str(config), cache=work / "cache") as protected:
        response = protected.get("/wide.jpg?width=10", headers={"Host": "a.example"})
    assert response.status_code == 400
    assert not response.headers["content-type"].startswith("image/")
