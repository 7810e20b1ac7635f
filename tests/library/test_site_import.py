"""cropmark library import: made exports of 100 assets; the old URLs are requested from a server afterwards."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from io import StringIO
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from cropmark.cli.main import app
from cropmark.library.contentstack_export import ContentstackExport
from cropmark.library.exports import ExportedAsset, UnreadableEntry, json_values, safe_file, unix_ms_of
from cropmark.library.kontent_export import KontentExport, uid_of
from cropmark.library.store import LibraryStore
from cropmark.model.assets import BranchRef
from cropmark.model.problems import BadRequest
from tests.builders import wait_until
from tests.library.made_export import (
    ENVIRONMENTS,
    KONTENT_ID,
    STACK,
    OldUrl,
    hex_id,
    write_contentstack,
    write_kontent,
)
from tests.library.test_bulk_import import asset_count, clean, command
from tests.web.server_process import running

ASSETS = 100
VERSIONS = ASSETS + 2 * (ASSETS // 10)


def run(*arguments: object) -> Result:
    """The command, in this process."""
    return CliRunner().invoke(app, [str(one) for one in arguments], env={"COLUMNS": "200", "CROPMARK_RENDERERS": "1"})


def check_urls(address: str, urls: list[OldUrl]) -> None:
    """Each URL returns the exported bytes."""
    with httpx.Client(trust_env=False, timeout=30) as client:
        for one in urls:
            response = client.get(address + one.target)
            assert response.status_code == 200, one.target
            assert sha256(response.content).hexdigest() == one.digest, one.target


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def imported(folder: Path) -> tuple[Result, list[OldUrl], Path]:
    urls = write_contentstack(folder / "export", ASSETS)
    return run("library", "import", "contentstack", folder / "export", "--data", folder / "data"), urls, folder / "data"


@pytest.fixture
def store(imported: tuple[object, object, Path]) -> Iterator[LibraryStore]:
    store = LibraryStore.open(imported[2] / "library")
    yield store
    store.close()


PLACE = BranchRef(STACK)


def test_the_old_contentstack_urls_answer(imported: tuple[Result, list[OldUrl], Path], folder: Path) -> None:
    completed, urls, data = imported
    assert completed.exit_code == 0, completed.stderr
    assert f"assets: {ASSETS} added" in completed.stdout
    assert f"versions: {VERSIONS} of {VERSIONS} verified by URL and digest" in completed.stdout
    assert f"({STACK}, " in completed.stdout
    assert f"has {ASSETS} assets with {VERSIONS} versions" in completed.stdout
    assert len(urls) == 2 * VERSIONS
    limit = {"CROPMARK_CONTENTSTACK__RATE_LIMIT": "100000"}
    with running("--data", str(data), cache=folder / "cache", environment=limit) as server:
        check_urls(f"{server.address}/contentstack", urls[::4])
        first = urls[0].target.partition("?")[0]
        assert server.get(f"/contentstack{first}?environment=staging&width=1").status_code == 200
        assert server.get(f"/contentstack{first}?environment=unknown").status_code == 404


def test_ids_versions_and_environments_remain(store: LibraryStore) -> None:
    assert {one.uid: one.name for one in store.environments(STACK)} == ENVIRONMENTS
    asset = store.asset(PLACE, f"blt{hex_id(0, 16)}")
    assert (asset.newest, asset.entry.title, asset.entry.description) == (3, "Owl 0", "An owl.")
    assert asset.entry.tags == ("owl", "number 0")
    assert [one.file_uid for one in store.versions(PLACE, asset.uid)] == [hex_id(n, 24) for n in (3, 2, 1)]
    assert {(one.environment_name, one.version, one.at_ms) for one in asset.publications} == {
        ("production", 3, 1767884873495),
        ("staging", 1, 1767884873495),
    }
    assert asset.entry.parent_uid == "blt0000000000000f02"
    assert store.folder(PLACE, "blt0000000000000f02").entry.parent_uid == "blt0000000000000f01"


def test_a_second_run_changes_nothing(
    imported: tuple[Result, list[OldUrl], Path], folder: Path, store: LibraryStore
) -> None:
    uid = f"blt{hex_id(0, 16)}"
    before = store.asset(PLACE, uid)
    again = run("library", "import", "contentstack", folder / "export", "--data", imported[2])
    assert again.exit_code == 0, again.stderr
    assert f"assets: {ASSETS} unchanged" in again.stdout
    assert f"has {ASSETS} assets with {VERSIONS} versions" in again.stdout
    assert store.asset(PLACE, uid) == before


def test_a_killed_import_is_resumed(imported: object, folder: Path, tmp_path: Path) -> None:
    importing = command("library", "import", "contentstack", folder / "export", "--data", tmp_path)
    first = subprocess.Popen(importing, env=clean(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: asset_count(tmp_path) >= 10 or first.poll() is not None, 60)
    assert first.poll() is None, "it ended before it could be killed"
    first.send_signal(signal.SIGKILL)
    first.wait()
    there = asset_count(tmp_path)
    assert 0 < there < ASSETS
    second = run("library", "import", "contentstack", folder / "export", "--data", tmp_path)
    assert second.exit_code == 0, second.stderr
    assert f"{there} unchanged" in second.stdout
    assert f"{ASSETS - there} added" in second.stdout
    assert f"versions: {VERSIONS} of {VERSIONS} verified" in second.stdout


def test_absent_and_changed_files_are_reported_and_added_later(tmp_path: Path) -> None:
    export, data = tmp_path / "export", tmp_path / "data"
    write_contentstack(export, 12)
    files = export / "main" / "assets" / "files"
    absent, cut, older = (files / f"blt{hex_id(number, 16)}" for number in (1, 2, 10))
    saved = absent / "owl 1 v1.png", cut / "owl 2 v1.png", older / "owl 10 v1.png"
    bodies = [path.read_bytes() for path in saved]
    saved[0].unlink()
    saved[1].write_bytes(bodies[1][:-1])
    saved[2].unlink()
    completed = run("library", "import", "contentstack", export, "--data", data)
    assert completed.exit_code == 1
    assert "9 added" in completed.stdout
    assert "2 failed" in completed.stdout
    assert "1 incomplete" in completed.stdout
    assert "versions: 13 of 16 verified" in completed.stdout
    assert f"contentstack:{absent.name}: version 1: No such file or directory" in completed.stderr
    length = len(bodies[1])
    assert f"contentstack:{cut.name}: version 1: the file has {length - 1} bytes, expected {length}" in completed.stderr
    assert "version 1 is published but was not imported" in completed.stderr
    for path, body in zip(saved, bodies, strict=True):
        path.write_bytes(body)
    completed = run("library", "import", "contentstack", export, "--data", data)
    assert completed.exit_code == 0, completed.stderr
    for words in ("9 unchanged", "2 added", "1 completed", "versions: 16 of 16 verified"):
        assert words in completed.stdout


def test_bytes_that_the_library_damaged_are_not_verified(tmp_path: Path) -> None:
    export, data = tmp_path / "export", tmp_path / "data"
    write_contentstack(export, 2)
    assert run("library", "import", "contentstack", export, "--data", data).exit_code == 0
    digest = sha256((export / "main/assets/files" / f"blt{hex_id(1, 16)}" / "owl 1 v1.png").read_bytes()).hexdigest()
    (stored,) = (path for path in (data / "library").rglob(f"*{digest[4:]}*") if path.is_file())
    stored.chmod(0o600)
    stored.write_bytes(b"x" * stored.stat().st_size)
    completed = run("library", "import", "contentstack", export, "--data", data)
    assert completed.exit_code == 1
    assert "the stored bytes are damaged" in completed.stderr


def test_the_layout_before_2023(tmp_path: Path) -> None:
    """assets.json has the assets themselves, and the files are next to it."""
    write_contentstack(tmp_path / "export", 3)
    assets = tmp_path / "export" / "main" / "assets"
    entries: dict[str, object] = {}
    for name in json.loads((assets / "assets.json").read_text()).values():
        entries |= json.loads((assets / name).read_text())
    (assets / "assets.json").write_text(json.dumps(entries))
    for path in (assets / "files").iterdir():
        shutil.move(path, assets / path.name)
    found = list(ContentstackExport(tmp_path / "export", "main").assets())
    for asset in found:
        assert isinstance(asset, ExportedAsset)
        source = asset.versions[-1].open_file()
        assert source.bytes == asset.versions[-1].bytes
        source.close()
    assert len(found) == 3


# ------------------------------------------------------------------------------------------------ Kontent.ai


def test_the_old_kontent_urls_answer(folder: Path, tmp_path: Path) -> None:
    urls = write_kontent(folder / "backup.zip", ASSETS)
    completed = run("library", "import", "kontent", folder / "backup.zip", "--data", tmp_path)
    assert completed.exit_code == 0, completed.stderr
    assert f"assets: {ASSETS} added" in completed.stdout
    assert f", {KONTENT_ID}) has {ASSETS} assets" in completed.stdout
    with running("--data", str(tmp_path), cache=folder / "cache-kontent") as server:
        check_urls(f"{server.address}/kontent", urls[::4])
        assert server.get(f"/kontent{urls[0].target}?w=1&fm=webp").headers["content-type"] == "image/webp"
    again = run("library", "import", "kontent", folder / "backup.zip", "--data", tmp_path)
    assert f"assets: {ASSETS} unchanged" in again.stdout
    with closing(LibraryStore.open(tmp_path / "library")) as library:
        place = BranchRef(library.stacks()[0].api_key)
        assert library.folder(place, uid_of("folder-2")).entry.parent_uid == uid_of("folder-1")


def test_an_unpacked_backup(tmp_path: Path) -> None:
    write_kontent(tmp_path / "backup.zip", 3)
    with zipfile.ZipFile(tmp_path / "backup.zip") as file:
        file.extractall(tmp_path / "backup")
    with closing(KontentExport(tmp_path / "backup")) as export:
        assets = [one for one in export.assets() if isinstance(one, ExportedAsset)]
    assert len(assets) == 3
    source = assets[0].versions[0].open_file()
    assert source.bytes > 60
    source.close()


def test_a_damaged_zip_file(tmp_path: Path) -> None:
    """The ZIP file's checksum does not fit the bytes of one asset."""
    path = tmp_path / "backup.zip"
    write_kontent(path, 3)
    body = path.read_bytes()
    path.write_bytes(body.replace(b"number 1", b"number 9", 1))
    completed = run("library", "import", "kontent", path, "--data", tmp_path / "data")
    assert completed.exit_code == 1
    assert "2 added" in completed.stdout
    assert "damaged in the ZIP file" in completed.stderr


# ------------------------------------------------------------------------------------------------ reading

# fmt: off
JSON_TEXTS = [
    ("[]",                          []),
    ("{}",                          []),
    (' [1, "a", {"b": [2]}] ',      [1, "a", {"b": [2]}]),
    ('{"1": "x.json", "2": {"a": 1}}', ["x.json", {"a": 1}]),
    ("[123456789]",                 [123456789]),
]
MALFORMED = ["", "null", "[1", '{"a" 1}', '{"a":}', "[1 2", "[1 2]", "[1}", "[1 2}trailing", "7"]
# fmt: on


class _Slow(StringIO):
    """Returns one character at a time."""

    def read(self, size: int | None = -1) -> str:
        return super().read(1)


@pytest.mark.parametrize(("text", "values"), JSON_TEXTS)
def test_json_is_read_one_value_at_a_time(text: str, values: list[object]) -> None:
    assert list(json_values(StringIO(text), "a.json")) == values
    assert list(json_values(_Slow(text), "a.json")) == values


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_json(text: str) -> None:
    with pytest.raises(BadRequest, match=r"a\.json is not valid JSON"):
        list(json_values(_Slow(text), "a.json"))


@pytest.mark.parametrize("name", ["../a.png", "a/b.png", "..", "", "a\0b"])
def test_names_that_lead_out_of_the_export(name: str) -> None:
    assert safe_file(Path("/export"), name) is None


def test_times() -> None:
    assert unix_ms_of("2026-01-08T15:07:53.495Z") == 1767884873495
    assert unix_ms_of("2026-01-08T15:07:53.4951234Z") == 1767884873495
    assert [unix_ms_of(value) for value in ("yesterday", None, 7)] == [None, None, None]


def test_entries_that_cannot_be_imported(tmp_path: Path) -> None:
    write_contentstack(tmp_path, 1)
    assets = tmp_path / "main" / "assets"
    (name,) = json.loads((assets / "assets.json").read_text()).values()
    (good,) = json.loads((assets / name).read_text()).values()
    bad = [
        {**good, "uid": "x"},
        {**good, "url": "https://images.contentstack.io/v3/assets/blt1/x"},
        {**good, "url": good["url"].replace(STACK, "blt9999999999999999")},
        {**good, "filename": "../../etc/passwd"},
        {**good, "url": 7},
    ]
    (assets / name).write_text(json.dumps([good, *bad]))
    export = ContentstackExport(tmp_path, "main")
    assert [type(one) for one in export.assets()] == [ExportedAsset, *[UnreadableEntry] * len(bad)]


def test_folders_that_are_no_export(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"has no assets/assets\.json"):
        ContentstackExport(tmp_path, "main")
    with pytest.raises(BadRequest, match=r"has no assets\.json"):
        KontentExport(tmp_path)
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(BadRequest, match="is not a ZIP file"):
        KontentExport(tmp_path / "a.zip")
