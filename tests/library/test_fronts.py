"""Two servers over one PostgreSQL agree on publications, with at most a second of delay."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx
import pytest

from cropmark.library.lookup_cache import MAX_FEED_AGE_S
from tests.builders import wait_until
from tests.library import postgres
from tests.library.builders import create_shop, png
from tests.library.test_bulk_import import run
from tests.web.server_process import running

BODY = {"asset": {"locales": ["en-us"], "environments": ["production"]}}


def test_two_servers_over_one_database_agree(postgres_server: str, tmp_path: Path) -> None:
    url = postgres.new_database(postgres_server, tmp_path.name)
    own = create_shop(tmp_path / "data", url)
    settings = {
        "CROPMARK_DATABASE_URL": url,
        "CROPMARK_MANAGEMENT_REQUESTS_PER_S": "0",
        "CROPMARK_CONTENTSTACK__RATE_LIMIT": "0",
    }
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(
                running("--data", str(own.data), cache=tmp_path / f"cache-{n}", environment=settings)
            ).address
            for n in range(2)
        )
        client = stack.enter_context(httpx.Client(trust_env=False, headers=own.headers, timeout=30))
        asset = client.post(f"{one}/v3/assets", files={"asset": ("owl.png", png())}).json()["asset"]
        path = asset["url"].removeprefix(one) + "?environment=production&width=20"

        def status(server: str) -> int:
            return client.get(f"{server}{path}").status_code

        def responds(server: str, wanted: int) -> bool:
            return status(server) == wanted

        assert (status(one), status(two)) == (404, 404)
        for call, wanted in (("publish", 200), ("unpublish", 404), ("publish", 200)):
            assert client.post(f"{one}/v3/assets/{asset['uid']}/{call}", json=BODY).status_code == 200
            assert status(one) == wanted  # on the server of the change, immediately
            wait_until(partial(responds, two, wanted), MAX_FEED_AGE_S + 1.0)  # a poll, plus time for a busy machine
        assert client.delete(f"{two}/v3/assets/{asset['uid']}").status_code == 200
        assert status(two) == 404


def test_doctor_reports_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owl.png").write_bytes(png())
    data = tmp_path / "data"
    assert run("assets", "add", tmp_path / "owl.png", "--data", data).returncode == 0
    config = tmp_path / "cropmark.toml"
    config.write_text(f'renderers = 1\ndata_dir = "{data}"\ncache_dir = "{tmp_path / "cache"}"\n')
    assert "library: 1 file, each with its bytes" in run("doctor", "--config", config).stdout
    orphan = data / "library" / "assets" / "ab" / ("ab" * 31)
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_bytes(b"of a moment ago")
    assert "library: 1 unused file" in run("doctor", "--config", config).stdout
    assert "library: 1 unused file removed" in run("doctor", "--fix", "--config", config).stdout
    for path in (data / "library" / "assets").glob("??/*"):
        path.unlink()
    completed = run("doctor", "--config", config)
    assert completed.returncode == 1
    assert "the bytes of 1 file are missing" in completed.stdout
