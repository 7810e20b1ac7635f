"""deploy/nginx/cropmark.conf: nginx caches images, one entry per accepted format, and replaces an entry on request."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from PIL import Image

from tests.builders import make_images
from tests.deploy.nginx import running_nginx
from tests.deploy.proxies import LIKE_OPERATOR_PATHS, OPERATOR_PATHS
from tests.requirements import require
from tests.web.server_process import Running, running

pytestmark = [
    require("nginx", shutil.which("nginx") is not None),
    pytest.mark.xdist_group("proxies"),
]


@dataclass(frozen=True, slots=True)
class Front:
    """nginx, and the cropmark server that it asks."""

    address: str
    server: Running
    images: Path

    def get(self, path: str, accept: str = "*/*", **headers: str) -> httpx.Response:
        sent = {"Accept": accept, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return httpx.get(self.address + path, headers=sent, trust_env=False, timeout=30)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("nginx")
    images = folder / "images"
    images.mkdir()
    make_images(images)
    folder.chmod(0o755)
    trusted = {"CROPMARK_TRUSTED_PROXIES": "127.0.0.1"}
    with (
        running(str(images), cache=folder / "cache", environment=trusted) as server,
        running_nginx(folder, [server.address.removeprefix("http://")]) as address,
    ):
        yield Front(address, server, images)


def test_the_second_request_is_a_hit_with_the_same_bytes(front: Front) -> None:
    path = "/fastly/wide.jpg?width=40"
    first, second = front.get(path), front.get(path)
    assert [first.headers["x-cache"], second.headers["x-cache"]] == ["MISS", "HIT"]
    assert second.content == first.content == front.server.get(path).content
    assert second.headers["etag"] == first.headers["etag"]
    assert front.get(path, if_none_match=first.headers["etag"]).status_code == 304


def test_each_accepted_format_has_one_entry_for_all_browsers(front: Front) -> None:
    path = "/fastly/wide.jpg?width=41&auto=webp"
    browsers = ("image/avif,image/webp,image/apng,*/*;q=0.8", "image/avif,image/webp,*/*")
    with_avif = [front.get(path, accept) for accept in browsers]
    assert [one.headers["x-cache"] for one in with_avif] == ["MISS", "HIT"]
    assert {one.headers["content-type"] for one in with_avif} == {"image/webp"}
    old = front.get(path, "image/png,image/*;q=0.8")
    assert (old.headers["x-cache"], old.headers["content-type"]) == ("MISS", "image/jpeg")
    assert front.get(path, "*/*").headers["x-cache"] == "HIT"


def test_a_refresh_replaces_the_entry(front: Front) -> None:
    path = "/fastly/new.png?width=20"
    Image.new("RGB", (40, 40), "red").save(front.images / "new.png")
    red = front.get(path)
    Image.new("RGB", (40, 40), "blue").save(front.images / "new.png")
    assert front.get(path).content == red.content
    refreshed = front.get(path, x_cropmark_refresh="1")
    assert refreshed.headers["x-cache"] == "BYPASS"
    assert refreshed.content != red.content
    after = front.get(path)
    assert (after.headers["x-cache"], after.content) == ("HIT", refreshed.content)


@pytest.mark.parametrize("path", OPERATOR_PATHS)
def test_operator_paths_are_not_public(front: Front, path: str) -> None:
    assert front.get(path).status_code == 404
    assert front.server.get(path).status_code != 404 or path.startswith(("/admin", "/%"))


@pytest.mark.parametrize("path", LIKE_OPERATOR_PATHS)
def test_paths_that_begin_like_operator_paths_reach_the_server(front: Front, path: str) -> None:
    assert front.get(path).content == front.server.get(path).content


def test_the_client_cannot_choose_its_address(front: Front) -> None:
    """X-Forwarded-For of the client is replaced, so that limits per client hold."""
    front.get("/fastly/wide.jpg?width=42", x_forwarded_for="203.0.113.9")
    assert "203.0.113.9" not in front.server.log.read_text()
