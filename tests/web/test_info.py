"""/_info/…: the document about an image, over HTTP and on the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cropmark.dialects.fastly.dialect import Fastly
from cropmark.security.signing import Keyring, SigningKey
from cropmark.web.access import AccessPolicy
from cropmark.web.routing import Mount
from cropmark.web.site import Site
from tests.command import run
from tests.web.asgi_client import FakePipeline, NoSource, app_of, respond
from tests.web.server_process import PATIENCE, Running

KEYS = [
    *("width", "height", "format", "frames", "orientation", "icc", "has_alpha", "dominant", "palette"),
    *("faces", "focal_point", "blurhash", "thumbhash", "lqip"),
]


def test_the_document_has_all_keys_and_is_cached(server: Running) -> None:
    first, second = (server.get("/_info/fastly/tall.png") for _ in range(2))
    assert first.status_code == 200
    assert first.headers["content-type"] == "application/json"
    assert first.headers["cache-control"] == "public, max-age=3600"
    facts = first.json()
    assert list(facts) == KEYS
    assert (facts["width"], facts["height"], facts["format"], facts["frames"]) == (100, 300, "png", 1)
    assert facts["has_alpha"]
    assert facts["lqip"].startswith("data:image/webp;base64,")
    assert second.headers["server-timing"].startswith("cache;desc=hit")
    assert "fastly-io-info" not in first.headers
    fresh = server.get("/_info/fastly/tall.png", headers={"If-None-Match": first.headers["etag"]})
    assert fresh.status_code == 304


@pytest.mark.parametrize("path", ["/_info/fastly/none.jpg", "/_info/nowhere/wide.jpg"])
def test_what_does_not_exist_has_no_document(server: Running, path: str) -> None:
    assert server.get(path).status_code == 404


@pytest.mark.parametrize("name", ["notes.txt", "drawing.svg"])
def test_what_is_not_decoded_has_no_document(server: Running, name: str) -> None:
    response = server.get(f"/_info/fastly/{name}")
    assert response.status_code == 415
    assert response.headers["content-type"].startswith("text/plain")


def test_it_is_off_unless_the_setting_is_on() -> None:
    pipeline = FakePipeline()
    assert respond(app_of(pipeline), b"/_info/fastly/a.jpg").status == 404
    assert respond(app_of(pipeline, info=True), b"/_info/fastly/a.jpg").status == 200


def test_it_is_signed_where_the_site_is() -> None:
    keyring = Keyring([SigningKey(b"k" * 32)])
    site = Site("s", Fastly(), NoSource(), Mount("/fastly"), access=AccessPolicy(keys=keyring, presets_only=True))
    app = app_of(FakePipeline(), site=site, info=True)
    assert respond(app, b"/_info/fastly/a.jpg").status == 403
    of_image = keyring.sign("/fastly/a.jpg").removeprefix("/fastly")
    assert respond(app, f"/_info/fastly{of_image}".encode()).status == 403
    assert respond(app, keyring.sign("/_info/fastly/a.jpg").encode()).status == 200


def test_the_command_line_prints_the_same(server: Running, pictures: Path) -> None:
    done = run(["info", str(pictures / "wide.jpg")], environment={**os.environ, **PATIENCE})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == server.get("/_info/fastly/wide.jpg").json()
