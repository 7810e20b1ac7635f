"""deploy/varnish/cropmark.vcl: Varnish caches images, one entry per accepted format, and has PURGE and BAN."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.builders import make_images
from tests.deploy.proxies import DEPLOY, LIKE_OPERATOR_PATHS, OPERATOR_PATHS, replaced, running_proxy
from tests.requirements import require
from tests.web.server_process import Running, running

pytestmark = [
    require("varnish", shutil.which("varnishd") is not None),
    pytest.mark.xdist_group("proxies"),
]


@dataclass(frozen=True, slots=True)
class Front:
    """Varnish, and the cropmark server that it asks."""

    address: str
    server: Running
    images: Path

    def send(self, path: str, accept: str = "*/*", method: str = "GET", **headers: str) -> httpx.Response:
        sent = {"Accept": accept, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.request(method, self.address + path, headers=sent, trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("varnish")
    images = folder / "images"
    images.mkdir()
    make_images(images)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    with running(str(images), cache=folder / "cache") as server:
        text = replaced(
            (DEPLOY / "varnish" / "cropmark.vcl").read_text(),
            ('.port = "8000"', f'.port = "{server.address.rpartition(":")[2]}"'),
        )
        (folder / "cropmark.vcl").write_text(text)
        storage = ["-j", "none", "-s", "malloc,16m", "-n", str(folder / "work")]
        command = ["varnishd", "-F", "-f", str(folder / "cropmark.vcl"), "-a", f"127.0.0.1:{port}", *storage]
        with running_proxy(command, address, folder / "log"):
            yield Front(address, server, images)


def test_the_second_request_is_a_hit_and_has_an_age(front: Front) -> None:
    path = "/fastly/wide.jpg?width=40"
    first, second = front.send(path), front.send(path)
    assert [first.headers["x-cache"], second.headers["x-cache"]] == ["MISS", "HIT"]
    assert second.content == first.content == front.server.get(path).content
    assert int(second.headers["age"]) >= 0
    assert front.send(path, if_none_match=first.headers["etag"]).status_code == 304


def test_each_accepted_format_has_one_entry_for_all_browsers(front: Front) -> None:
    path = "/fastly/wide.jpg?width=41&auto=webp"
    browsers = ("image/avif,image/webp,image/apng,*/*;q=0.8", "image/avif,image/webp,*/*")
    with_avif = [front.send(path, accept) for accept in browsers]
    assert [one.headers["x-cache"] for one in with_avif] == ["MISS", "HIT"]
    assert {one.headers["content-type"] for one in with_avif} == {"image/webp"}
    old = front.send(path, "image/png,image/*;q=0.8")
    assert (old.headers["x-cache"], old.headers["content-type"]) == ("MISS", "image/jpeg")


def test_purge_removes_all_variants_of_one_url(front: Front) -> None:
    path = "/fastly/new.png?width=20&auto=webp"
    Image.new("RGB", (40, 40), "red").save(front.images / "new.png")
    formats = ("image/webp", "image/png")
    red = [front.send(path, accept) for accept in formats]
    Image.new("RGB", (40, 40), "blue").save(front.images / "new.png")
    assert [front.send(path, accept).content for accept in formats] == [one.content for one in red]
    assert front.send(path, method="PURGE").status_code == 200
    blue = [front.send(path, accept) for accept in formats]
    assert [one.headers["x-cache"] for one in blue] == ["MISS", "MISS"]
    assert not {one.content for one in blue} & {one.content for one in red}


def test_ban_removes_all_urls_that_match(front: Front) -> None:
    paths = ("/fastly/wide.jpg?width=50", "/fastly/wide.jpg?width=51")
    other = "/kontent/wide.jpg?w=50"
    for path in (*paths, other):
        front.send(path)
        assert front.send(path).headers["x-cache"] == "HIT"
    assert front.send("/", method="BAN", x_ban_url="^/fastly/").status_code == 200
    assert [front.send(path).headers["x-cache"] for path in paths] == ["MISS", "MISS"]
    assert front.send(other).headers["x-cache"] == "HIT"
    assert front.send("/", method="BAN").status_code == 400


@pytest.mark.parametrize("path", OPERATOR_PATHS)
def test_operator_paths_are_not_public(front: Front, path: str) -> None:
    assert front.send(path).status_code == 404


@pytest.mark.parametrize("path", LIKE_OPERATOR_PATHS)
def test_paths_that_begin_like_operator_paths_reach_the_server(front: Front, path: str) -> None:
    assert front.send(path).content == front.server.get(path).content
