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

from cropmark.engine import wide_gamut
from tests.builders import make_images
from tests.engine.images import file_of, p3_profile, slopes
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


MOVED = {
    "/moved/port": "http://127.0.0.1:1/wide.jpg",
    "/moved/name": "http://localhost/wide.jpg",
    "/moved/metadata": "http://169.254.169.254/latest",
}
"""Redirects of the origin to private addresses that are not its own."""

UNREACHABLE = {"closed": "http://127.0.0.1:1", "unknown": "http://no-such-name.invalid", "inside": "http://redis:6379"}
"""Sources with an origin that does not respond."""


class _Origin(SimpleHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path in MOVED:
            self.send_response(302)
            self.send_header("Location", MOVED[self.path])
            self.end_headers()
        else:
            super().do_GET()

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
    (folder / "p3.png").write_bytes(file_of(slopes(20, 10), icc_profile=p3_profile()))
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
    tables += [
        f'[[site]]\nhosts = ["{colors}.example"]\ndialect = "fastly"\nsource = "{folder}"\ncolors = "{colors}"\n'
        for colors in ("p3", "keep")
    ]
    tables.append(
        f'[[site]]\nprefix = "/few"\ndialect = "fastly"\nsource = "{folder}"\n'
        'allowed_widths = [8, 16]\ncolors = "keep"\nhdr = "keep"\n'
    )
    tables.append(f'[[site]]\nhosts = ["svg.example"]\ndialect = "fastly"\nsource = "{folder}"\nsvg = "rasterize"\n')
    for name, source in UNREACHABLE.items():
        tables.append(f'[[site]]\nhosts = ["{name}.example"]\ndialect = "fastly"\nsource = "{source}"\n')
    tables.append(f'[[site]]\nhosts = ["based.example"]\ndialect = "fastly"\nsource = "http://{origin}/v3"\n')
    config = work / "cropmark.toml"
    config.write_text("\n".join(tables))
    with running("--config", str(config), cache=work / "cache") as started:
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


@pytest.mark.parametrize("path", MOVED)
def test_check_65_the_origin_leads_to_no_other_private_address(server: Running, path: str) -> None:
    response = server.get(path, headers={"Host": "fastly-origin.example"})
    assert (response.status_code, "not allowed" in response.text) == (502, True)


@pytest.mark.parametrize("name", UNREACHABLE)
def test_check_65_an_origin_that_cannot_be_reached_is_502(server: Running, name: str) -> None:
    response = server.get("/a.jpg?width=10", headers={"Host": f"{name}.example"})
    assert (response.status_code, "could not be reached" in response.text) == (502, True)


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


def test_sites_of_one_path_have_their_own_colors(server: Running) -> None:
    """The same path and query on three sites: the colors are part of the cache key."""
    profiles = {}
    for site in ("fastly-folder", "p3", "keep", "p3"):
        response = server.get("/p3.png?width=10", headers={"Host": f"{site}.example"})
        profiles[site] = Image.open(BytesIO(response.content)).info.get("icc_profile")
    assert profiles == {"fastly-folder": None, "p3": wide_gamut.p3_profile(), "keep": p3_profile()}


def test_one_site_draws_svg(server: Running) -> None:
    """The same path and query on two sites: the cache key differs."""
    types = {}
    for site in ("fastly-folder", "svg", "fastly-folder"):
        response = server.get("/drawing.svg?width=50", headers={"Host": f"{site}.example"})
        types[site] = response.headers["content-type"]
        if site == "svg":
            assert Image.open(BytesIO(response.content)).size == (50, 50)
    assert types == {"fastly-folder": "image/svg+xml", "svg": "image/png"}


def test_an_explanation_contains_translations(server: Running) -> None:
    explanation = server.get("/_explain?url=/shop/wide.jpg?crop=2:1").json()
    translations = {one["dialect"]: one for one in explanation["translations"]}
    assert set(translations) == {"contentstack", "kontent", "pixlab"}
    assert translations["contentstack"] == {"dialect": "contentstack", "same": True, "query": "crop=2:1"}
    assert translations["kontent"]["differs"][0].startswith("Crop.shape: ")


def test_an_explanation_has_the_settings_of_the_site(server: Running) -> None:
    explanation = server.get("/_explain?url=/few/p3.png?width=10").json()
    output = explanation["order"]["plan"]["output"]
    assert (output["colors"], output["gain_map"]) == ("keep", True)
    assert explanation["recipe"]["size"] == {"type": "Size", "width": 16, "height": 8}
    assert explanation["warnings"] == ["width: rounded to 16 px, one of this site's widths"]
    assert explanation["recipe"]["encoding"]["colors"] == "keep"


def test_the_page_of_an_explanation_and_its_pictures_have_the_settings_of_the_site(server: Running) -> None:
    page = server.get("/_explain?url=/few/p3.png?width=10", headers={"Accept": "text/html"}).text
    key = server.get("/_explain?url=/few/p3.png?width=10").json()["key"]
    assert f"<code>{key}</code>" in page
    assert page.count("one of this site&#x27;s widths") == 1
    picture = server.get("/_explain.png?step=1&url=/few/p3.png?width=10")
    assert Image.open(BytesIO(picture.content)).info["icc_profile"] == p3_profile()
    assert Image.open(BytesIO(picture.content)).size == (16, 8)


def test_a_rejected_request_has_no_translations(server: Running) -> None:
    assert "translations" not in server.get("/_explain?url=/shop/wide.jpg?crop=2").json()


def test_the_greeting_lists_every_site(server: Running) -> None:
    assert "fastly-folder.example" in server.greeting
    assert "kontent at kontent-origin.example" in server.greeting
