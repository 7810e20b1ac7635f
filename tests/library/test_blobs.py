"""The contract of BlobStore, for each implementation."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import IO, Any

import obstore
import pytest

from cropmark.library.blob_cache import BlobCache
from cropmark.library.blobs import BlobStore, FolderBlobStore, digest_of
from cropmark.library.bucket_blobs import BucketBlobStore
from cropmark.library.errors import LibraryUnavailable
from tests.builders import wait_until
from tests.library.builders import open_source
from tests.s3_server import BUCKET, S3Server

DIGEST = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


@pytest.fixture(params=["folder", "folder by obstore", "bucket"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BlobStore:
    if request.param == "folder":
        return FolderBlobStore(tmp_path / "bytes")
    if request.param == "folder by obstore":
        return BucketBlobStore.from_url((tmp_path / "bytes").as_uri())
    server: S3Server = request.getfixturevalue("s3")
    for name, text in server.environment.items():
        monkeypatch.setenv(name, text)
    found = BucketBlobStore.from_url(f"s3://{BUCKET}/{tmp_path.name}")
    found.check()
    return found


def put(blobs: BlobStore, body: bytes) -> str:
    source = open_source(body)
    try:
        digest = digest_of(source)
        blobs.put(digest, source)
        return digest
    finally:
        source.close()


def read(blobs: BlobStore, digest: str) -> bytes:
    descriptor = blobs.open(digest)
    try:
        return os.pread(descriptor, 9_000_000, 0)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("body", [b"hello", b"", bytes(2_500_000), bytes(6_500_000)], ids=len)
def test_stored_bytes_are_read_back(blobs: BlobStore, body: bytes) -> None:
    digest = put(blobs, body)
    assert read(blobs, digest) == body
    assert list(blobs.digests()) == [digest]
    age = blobs.age_s(digest)
    assert age is not None
    assert -2 < age < 60


def test_the_digest_is_sha_256(blobs: BlobStore) -> None:
    assert put(blobs, b"hello") == DIGEST


def test_a_second_put_stores_no_second_file_and_renews_the_age(blobs: BlobStore, tmp_path: Path) -> None:
    put(blobs, b"hello")
    for path in tmp_path.glob(f"bytes/**/*{DIGEST[4:]}"):  # in a folder, the age can be set
        os.utime(path, (time.time() - 3, time.time() - 3))
    wait_until(lambda: (blobs.age_s(DIGEST) or 0) >= 2)  # a bucket's times are whole seconds
    put(blobs, b"hello")
    new = blobs.age_s(DIGEST)
    assert new is not None
    assert new < 2
    assert list(blobs.digests()) == [DIGEST]


def test_what_is_not_there(blobs: BlobStore) -> None:
    assert blobs.age_s(DIGEST) is None
    with pytest.raises(FileNotFoundError):
        blobs.open(DIGEST)
    blobs.remove(DIGEST)
    assert list(blobs.digests()) == []
    assert blobs.remove_unfinished() == 0


def test_removed_bytes_are_gone_and_can_be_stored_again(blobs: BlobStore) -> None:
    put(blobs, b"hello")
    blobs.remove(DIGEST)
    assert blobs.age_s(DIGEST) is None
    assert read(blobs, put(blobs, b"hello")) == b"hello"


def test_old_unfinished_files_are_removed(tmp_path: Path) -> None:
    blobs = FolderBlobStore(tmp_path)
    put(blobs, b"hello")
    for name, age_s in (("old", 9000), ("young", 5)):
        part = tmp_path / "incoming" / name
        part.write_bytes(b"half")
        os.utime(part, (time.time() - age_s, time.time() - age_s))
    assert blobs.remove_unfinished() == 1
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["young"]


def test_a_failed_put_stores_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = FolderBlobStore(tmp_path)
    monkeypatch.setattr(os, "fsync", _full)
    with pytest.raises(OSError, match="no space"):
        put(blobs, b"hello")
    assert list(blobs.digests()) == []
    assert list((tmp_path / "incoming").iterdir()) == []


def _full(descriptor: int) -> None:
    raise OSError("no space left")


def test_copies_are_few_and_small_and_close_their_files(tmp_path: Path) -> None:
    copies = BlobCache(6400)

    def took(digest: str, length: int) -> IO[bytes]:
        file = (tmp_path / digest).open("w+b")
        file.write(digest.encode() * length)
        file.flush()
        os.close(copies.add(digest, file))
        return file

    files = {digest: took(digest, 3000) for digest in "abc"}
    assert [file.closed for file in files.values()] == [True, False, False]  # the oldest made room
    for digest, there in (("a", False), ("b", True), ("c", True)):
        descriptor = copies.open(digest)
        assert (descriptor is not None) == there
        if descriptor is not None:
            assert os.pread(descriptor, 9000, 0) == digest.encode() * 3000
            os.close(descriptor)
    assert took("d", 7000).closed
    assert took("b", 3000).closed is False
    assert files["b"].closed  # another copy of the same
    copies.evict("b")
    copies.evict("never there")
    assert copies.open("b") is None


def test_an_object_is_fetched_once_for_many_renditions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = BucketBlobStore.from_url((tmp_path / "bytes").as_uri())
    put(blobs, b"hello")
    fetched: list[str] = []
    get = obstore.get

    def counted(store: Any, path: str) -> Any:  # as obstore has them
        fetched.append(path)
        return get(store, path)

    monkeypatch.setattr(obstore, "get", counted)
    assert [read(blobs, DIGEST) for _ in range(3)] == [b"hello"] * 3
    assert len(fetched) == 1
    blobs.remove(DIGEST)
    with pytest.raises(FileNotFoundError):
        blobs.open(DIGEST)


# fmt: off
KEYS = [
    ("s3://shop/x",    "AWS_ACCESS_KEY_ID"),
    ("gs://shop/x",    "GOOGLE_SERVICE_ACCOUNT"),
    ("az://shop/x",    "AZURE_STORAGE_ACCOUNT_KEY"),
]
# fmt: on


@pytest.mark.parametrize(("url", "key"), KEYS)
def test_check_23_no_credentials_are_requested_from_the_instance(
    url: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in os.environ:
        if name.startswith(("AWS_", "GOOGLE_", "AZURE_")):
            monkeypatch.delenv(name)
    with pytest.raises(LibraryUnavailable) as caught:
        BucketBlobStore.from_url(url)
    assert key in caught.value.fix
    assert "allow_instance_credentials = true" in caught.value.fix
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "shop")
    BucketBlobStore.from_url(url, role=True)


def test_check_23_requests_use_the_configured_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "ours")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    BucketBlobStore.from_url("s3://shop/x")


@pytest.mark.parametrize("url", ["ftp://bucket/x", "nonsense"])
def test_invalid_stores_are_rejected(url: str) -> None:
    with pytest.raises(LibraryUnavailable, match="library_store"):
        BucketBlobStore.from_url(url)
