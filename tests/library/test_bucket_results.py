"""Results in an object store: as in a folder, and shared by servers. By file://, and against a real S3 server."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from cropmark.library.bucket import Bucket
from cropmark.library.bucket_results import SETTING, BucketResults
from cropmark.library.results import ResultLimits
from cropmark.model.formats import Format
from cropmark.model.problems import Overloaded
from tests.builders import Clock, make_images
from tests.library.builders import open_source
from tests.library.test_results import PICTURE, body_of
from tests.s3_server import BUCKET, S3Server
from tests.web.server_process import running

KEY = "k" * 32


@pytest.fixture
def clock() -> Clock:
    found = Clock()
    found.now = time.time()  # a bucket sets the time of an object itself
    return found


@pytest.fixture(params=["folder", "bucket"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    if request.param == "folder":
        return Bucket.from_url((tmp_path / "results").as_uri(), SETTING)
    server: S3Server = request.getfixturevalue("s3")
    for name, text in server.environment.items():
        monkeypatch.setenv(name, text)
    return Bucket.from_url(f"s3://{BUCKET}/{tmp_path.name}", SETTING)


@pytest.fixture
def make(bucket: Bucket, clock: Clock) -> Callable[..., BucketResults]:
    return lambda **limits: BucketResults(bucket, ResultLimits(**limits), clock)


async def test_every_server_opens_a_result_by_its_id(make: Callable[..., BucketResults]) -> None:
    kept = await make().put(PICTURE, Format.PNG, "anna", "summer")
    found = await make().open(kept.id)
    assert found is not None
    found[1].close()
    assert found[0] == kept
    assert await body_of(make(), kept.id) == PICTURE


async def test_an_open_file_is_stored_as_bytes_are(make: Callable[..., BucketResults]) -> None:
    for body in (b"", PICTURE, bytes(6_000_000)):
        source = open_source(body)
        kept = await make().put(source, Format.PNG, "anna")
        source.close()
        assert await body_of(make(), kept.id) == body


@pytest.mark.parametrize("media_id", ["", "x" * 24, "../" * 8, "a.json", "\x00" * 24])
async def test_what_is_not_there(make: Callable[..., BucketResults], media_id: str) -> None:
    assert await make().open(media_id) is None
    assert not await make().delete(media_id, "anna")


async def test_only_the_owner_deletes_a_result_in_a_bucket(make: Callable[..., BucketResults], bucket: Bucket) -> None:
    results = make()
    kept = await results.put(PICTURE, Format.PNG, "anna")
    assert not await results.delete(kept.id, "berta")
    assert await results.delete(kept.id, "anna")
    assert await results.open(kept.id) is None
    assert bucket.objects("results") == []


async def test_expired_results_are_not_opened_and_are_swept(
    make: Callable[..., BucketResults], clock: Clock, bucket: Bucket
) -> None:
    results = make(ttl_s=60)
    kept = await results.put(PICTURE, Format.PNG, "anna")
    clock.now += 50
    await results.sweep()
    assert await body_of(results, kept.id) == PICTURE
    clock.now += 20
    assert await results.open(kept.id) is None
    await results.sweep()
    assert bucket.objects("results") == []


async def test_the_oldest_results_beyond_the_limits_are_removed(make: Callable[..., BucketResults]) -> None:
    results = make(ttl_s=0, bytes=5000)
    kept = [await results.put(PICTURE, Format.PNG, "anna") for _ in range(6)]
    await results.sweep()
    left = [one for one in kept if await body_of(results, one.id) == PICTURE]
    assert 2 <= len(left) <= 4
    with pytest.raises(Overloaded, match="storage for results is full"):
        await results.put(bytes(5001), Format.PNG, "anna")


async def test_a_body_without_a_record_is_removed_after_an_hour(
    make: Callable[..., BucketResults], clock: Clock, bucket: Bucket
) -> None:
    bucket.put(f"results/{'x' * 24}.png", PICTURE)
    await make().sweep()
    assert len(bucket.objects("results")) == 1
    clock.now += 3700
    await make().sweep()
    assert bucket.objects("results") == []


async def test_an_unavailable_store_is_reported(clock: Clock, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in {**s3.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}.items():
        monkeypatch.setenv(name, text)
    results = BucketResults(Bucket.from_url(f"s3://{BUCKET}", SETTING), ResultLimits(), clock)
    acts: list[Any] = [results.put(PICTURE, Format.PNG, "anna"), results.open("x" * 24), results.delete("x" * 24, "a")]
    for act in acts:
        with pytest.raises(Overloaded, match="store of results is unavailable"):
            await act


def test_two_servers_share_the_links(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    pictures = make_images(tmp_path / "pictures")
    more = {"CROPMARK_PIXLAB_STORE": f"s3://{BUCKET}/pixlab", "CROPMARK_PIXLAB_KEY": KEY}
    with ExitStack() as stack:
        one, two = (
            stack.enter_context(
                running(
                    str(pictures),
                    "--data",
                    str(tmp_path / f"data-{n}"),
                    cache=tmp_path / f"cache-{n}",
                    environment={**s3.environment, **more, "CROPMARK_ALLOW_PRIVATE_HOSTS": ""},
                )
            )
            for n in range(2)
        )
        image = "data:image/png;base64," + b64encode((pictures / "tall.png").read_bytes()).decode()
        request = {"img": image, "key": KEY, "x": 1, "y": 1, "width": 20, "height": 10}
        report = httpx.post(f"{one.address}/pixlab/crop", json=request, trust_env=False, timeout=30).json()
        assert report["status"] == 200, report
        path = report["link"].removeprefix(one.address)
        answers = [server.get(path) for server in (one, two)]
        assert [answer.status_code for answer in answers] == [200, 200]
        assert answers[0].content == answers[1].content
        gone = httpx.get(f"{two.address}/pixlab/delete", params={"link": report["link"], "key": KEY}, trust_env=False)
        assert gone.json()["status"] == 200, gone.text
        assert one.get(path).status_code == 404
    assert not list((tmp_path / "data-0").rglob("*.png"))
