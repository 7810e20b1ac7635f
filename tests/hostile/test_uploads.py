"""Hostile files uploaded by PixLab's clients: untrusted sources in separate workers.

check_25, check_31, check_39: every response is a complete image or the dialect's JSON, and nothing is cached.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cropmark.model.formats import sniff_format
from tests.hostile import make, seeds
from tests.hostile.judge import judged
from tests.hostile.make import Must
from tests.hostile.responses import OF_THE_KITCHEN
from tests.web.server_process import Running, running

KEY = "hostile-uploads-key"
STATUSES = {400, 404, 413, 415, 422, 503}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("uploads")
    (folder / "files").mkdir()
    (folder / "files" / "good.png").write_bytes(seeds.torn_seeds()["plain.png"])
    settings = {
        "CROPMARK_RENDER_TIMEOUT_S": "2",
        "CROPMARK_PIXLAB_KEY": KEY,
        "CROPMARK_DATA_DIR": str(folder / "data"),
    }
    with running(str(folder / "files"), cache=folder / "cache", environment=settings, renderers=1) as found:
        yield found


def sent(client: httpx.Client, body: bytes, **fields: str) -> httpx.Response:
    words = {"key": KEY, "width": "40", "height": "30", "blob": "true", **fields}
    return client.post("/pixlab/resize", data=words, files={"file": ("image.jpg", body, "image/jpeg")})


def test_check_31_uploads_give_complete_images_or_errors(server: Running, tmp_path: Path) -> None:
    wrong, kinds = [], {}
    uploads = [each for number, each in enumerate(make.corpus()) if number % 7 == 3]
    with httpx.Client(base_url=server.address, trust_env=False, timeout=60) as client:
        for number, each in enumerate(uploads):
            response = sent(client, each.data)
            wrong += [f"{each.name}: tells of {word!r}" for word in OF_THE_KITCHEN if word in response.content[:2000]]
            assert response.headers["x-content-type-options"] == "nosniff"
            if response.headers["content-type"].startswith("image/"):
                (tmp_path / str(number)).write_bytes(response.content)
                kinds[number] = each
            elif json.loads(response.content)["status"] not in STATUSES:
                wrong.append(f"{each.name}: {response.text[:200]}")
    assert wrong == []
    found = judged(tmp_path)
    assert found.keys() == {str(number) for number in kinds}
    assert [f"{kinds[int(n)].name}: {reported.why}" for n, reported in found.items() if reported.why] == []
    rendered = [each.name for each in kinds.values() if each.must is Must.NOT_BE_MADE]
    # PixLab limits only the area, and a truncated JPEG strip is gray there (docs/decisions/0110).
    assert [name for name in rendered if not ("12001" in name and "jpg" in name)] == []
    assert len(kinds) > 10
    assert server.process.poll() is None


def test_check_28_no_page_comes_back_as_it_was_sent(server: Running) -> None:
    pages = [each for each in make.corpus() if sniff_format(each.data[:4096]) is None]
    with httpx.Client(base_url=server.address, trust_env=False, timeout=60) as client:
        for each in pages[::8]:
            response = sent(client, each.data)
            assert response.headers["content-type"].startswith("application/json"), each.name
            assert json.loads(response.content)["status"] in STATUSES
            assert each.data == b"" or each.data not in response.content
