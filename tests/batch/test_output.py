"""The place of the results: one suite for folders, and for buckets over two kinds of store."""

from __future__ import annotations

import os
from pathlib import Path

import obstore
import pytest

from cropmark.batch.output import TIMES, BucketOutput, Output, open_output
from cropmark.runtime.object_store import StoreUnusable, open_store
from tests.s3_server import BUCKET, S3Server


@pytest.fixture(params=["folder", "folder by URL", "s3"])
def output(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    match request.param:
        case "folder":
            return open_output(str(tmp_path / "new"), role=False)
        case "folder by URL":
            return open_output(f"file://{tmp_path}/new", role=False)
        case _:
            server: S3Server = request.getfixturevalue("s3")
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            return open_output(f"s3://{BUCKET}/batch-{tmp_path.name}", role=False)


async def test_stored_results_are_present(output: Output) -> None:
    assert output.present(["a.jpg"]) == set()
    await output.write("a.jpg", b"one", "image/jpeg")
    await output.write("deep/er/b.webp", b"two", "image/webp")
    assert output.present(["a.jpg", "deep/er/b.webp", "deep", "c.jpg"]) == {"a.jpg", "deep/er/b.webp"}


async def test_a_result_replaces_an_older_one(tmp_path: Path) -> None:
    output = open_output(str(tmp_path), role=False)
    await output.write("a.jpg", b"one", "image/jpeg")
    await output.write("a.jpg", b"two", "image/jpeg")
    assert os.listdir(tmp_path) == ["a.jpg"]
    assert (tmp_path / "a.jpg").read_bytes() == b"two"


async def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    output = open_output(str(tmp_path), role=False)
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(OSError, match="directory"):
        await output.write("a.jpg", b"one", "image/jpeg")
    assert os.listdir(tmp_path) == ["a.jpg"]


async def test_objects_have_their_media_type(s3: S3Server) -> None:
    store = open_store(f"s3://{BUCKET}/typed", "--out", TIMES, options=s3.options)
    await BucketOutput(store).write("a.webp", b"one", "image/webp")
    found = obstore.get(store, "a.webp")
    assert found.attributes["Content-Type"] == "image/webp"
    assert bytes(found.bytes()) == b"one"


def test_a_bucket_without_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with pytest.raises(StoreUnusable, match="--out: the environment has no credentials"):
        open_output("s3://pictures/x", role=False)
