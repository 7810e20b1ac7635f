"""cropmark library import: damaged and unusual exports. The parts that cannot be imported are reported."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cropmark.library.contentstack_export import ContentstackExport
from cropmark.library.exports import ExportedAsset, text_of
from cropmark.library.import_writes import write_environments, write_stack
from cropmark.library.kontent_export import uid_of
from cropmark.library.store import LibraryStore
from cropmark.model.assets import BranchRef
from tests.library.made_export import ENVIRONMENTS, STACK, hex_id, write_contentstack, write_kontent
from tests.library.test_bulk_import import unique_png
from tests.library.test_site_import import run

PLACE = BranchRef(STACK)
TOP, BELOW = "blt0000000000000f01", "blt0000000000000f02"


def uid_at(number: int) -> str:
    return f"blt{hex_id(number, 16)}"


def change_entries(assets: Path, change: Callable[[list[dict[str, Any]]], None], index: str = "assets.json") -> None:
    """Change the entries in the only file that an index of an export of Contentstack names."""
    (name,) = json.loads((assets / index).read_text()).values()
    entries = json.loads((assets / name).read_text())
    change(list(entries.values()))
    (assets / name).write_text(json.dumps(entries))


def change_backup(path: Path, change: Callable[[list[dict[str, Any]]], None], method: int = zipfile.ZIP_STORED) -> None:
    """Write a backup of Kontent.ai again, with changed assets and another compression."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    entries = json.loads(members["assets.json"])
    change(entries)
    members["assets.json"] = json.dumps(entries).encode()
    with zipfile.ZipFile(path, "w", method) as file:
        for name, body in members.items():
            file.writestr(name, body)


def unchanged(_: list[dict[str, Any]]) -> None:
    pass


def damage(path: Path, member: str) -> None:
    """Overwrite the packed bytes of a member of a ZIP file."""
    with zipfile.ZipFile(path) as file:
        (info,) = (one for one in file.infolist() if one.filename.endswith(member))
    body = bytearray(path.read_bytes())
    start = info.header_offset + 30 + len(info.filename.encode())
    body[start : start + info.compress_size] = b"\xff" * info.compress_size
    path.write_bytes(body)


def encrypt(path: Path, member: str) -> None:
    """Mark a member of a ZIP file as encrypted."""
    body = bytearray(path.read_bytes())
    at = body.rindex(member.encode()) - 46  # in the central directory
    name_at = body.rindex(b"PK\x01\x02", 0, at + 46)
    body[name_at + 8] |= 1
    local = body.index(member.encode())
    body[body.rindex(b"PK\x03\x04", 0, local) + 6] |= 1
    path.write_bytes(body)


# ------------------------------------------------------------------------------------------------ damage


@pytest.mark.parametrize("cut", [10, 1], ids=["inside a value", "only the last character"])
def test_a_truncated_list_of_assets(cut: int, tmp_path: Path) -> None:
    """The assets before the end are imported; the rest is reported."""
    write_contentstack(tmp_path / "export", 3)
    assets = tmp_path / "export" / "main" / "assets"
    (name,) = json.loads((assets / "assets.json").read_text()).values()
    (assets / name).write_text((assets / name).read_text()[:-cut])
    completed = run("library", "import", "contentstack", tmp_path / "export", "--data", tmp_path / "data")
    assert completed.exit_code == 1
    assert isinstance(completed.exception, SystemExit)
    assert f"{2 if cut > 1 else 3} added" in completed.stdout
    assert "1 failed" in completed.stdout
    assert "the rest of the export: " in completed.stderr
    assert "is not valid JSON" in completed.stderr


def test_missing_stored_bytes_are_reported(tmp_path: Path) -> None:
    export, data = tmp_path / "export", tmp_path / "data"
    write_contentstack(export, 2)
    assert run("library", "import", "contentstack", export, "--data", data).exit_code == 0
    digest = sha256((export / f"main/assets/files/{uid_at(1)}/owl 1 v1.png").read_bytes()).hexdigest()
    (stored,) = (path for path in (data / "library").rglob(f"*{digest[4:]}*") if path.is_file())
    stored.unlink()
    completed = run("library", "import", "contentstack", export, "--data", data)
    assert isinstance(completed.exception, SystemExit)
    assert completed.exit_code == 1
    assert "version 1: the stored bytes cannot be read: No such file or directory" in completed.stderr
    assert "versions: 3 of 4 verified" in completed.stdout


# fmt: off
MEMBERS = [
    # how     method
    (damage,  zipfile.ZIP_DEFLATED),
    (damage,  zipfile.ZIP_BZIP2),
    (damage,  zipfile.ZIP_LZMA),
    (encrypt, zipfile.ZIP_DEFLATED),
]
# fmt: on


@pytest.mark.parametrize(("how", "method"), MEMBERS)
def test_a_damaged_or_encrypted_member_of_a_backup(
    how: Callable[[Path, str], None], method: int, tmp_path: Path
) -> None:
    path = tmp_path / "backup.zip"
    write_kontent(path, 3)
    change_backup(path, unchanged, method)
    how(path, "owl 1.png")
    completed = run("library", "import", "kontent", path, "--data", tmp_path / "data")
    assert isinstance(completed.exception, SystemExit)
    assert completed.exit_code == 1
    assert "2 added" in completed.stdout
    assert "damaged in the ZIP file" in completed.stderr


def test_a_full_disk_is_not_reported_as_a_damaged_backup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_kontent(tmp_path / "backup.zip", 1)
    monkeypatch.setattr("cropmark.library.kontent_export.shutil.copyfileobj", full)
    completed = run("library", "import", "kontent", tmp_path / "backup.zip", "--data", tmp_path / "data")
    assert completed.exit_code == 1
    assert "version 1: No space left on device" in completed.stderr


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_backup_with_a_damaged_list_of_assets(method: int, tmp_path: Path) -> None:
    path = tmp_path / "backup.zip"
    write_kontent(path, 3)
    change_backup(path, unchanged, method)
    damage(path, "assets.json")
    completed = run("library", "import", "kontent", path, "--data", tmp_path / "data")
    assert completed.exit_code != 0
    assert "assets.json is absent or damaged in the ZIP file" in str(completed.exception)


def test_a_truncated_file_of_an_unpacked_backup(tmp_path: Path) -> None:
    write_kontent(tmp_path / "backup.zip", 2)
    with zipfile.ZipFile(tmp_path / "backup.zip") as file:
        file.extractall(tmp_path / "backup")
    (cut,) = (tmp_path / "backup" / "assets").glob("*owl 1.png")
    length = cut.stat().st_size
    cut.write_bytes(cut.read_bytes()[:-1])
    completed = run("library", "import", "kontent", tmp_path / "backup", "--data", tmp_path / "data")
    assert completed.exit_code == 1
    assert f"the file has {length - 1} bytes, expected {length}" in completed.stderr
    assert "versions: 1 of 2 verified" in completed.stdout


# ------------------------------------------------------------------------------------------------ texts and ids

# fmt: off
TEXTS = [
    ("a\0b",       "a\ufffdb"),
    ("a\ud800b",   "a\ufffdb"),
    ("x" * 300,    "x" * 255),
    ("",           "other"),
    (7,            "other"),
]
# fmt: on


@pytest.mark.parametrize(("value", "text"), TEXTS)
def test_texts_are_valid_and_short(value: object, text: str) -> None:
    assert text_of(value, "other") == text


INVALID = "a\0\ud800"


def test_invalid_text_in_a_contentstack_export(tmp_path: Path) -> None:
    """The names are stored with U+FFFD. An asset is reported if no file can have its name."""
    export, data = tmp_path / "export", tmp_path / "data"
    write_contentstack(export, 4)

    def change(entries: list[dict[str, Any]]) -> None:
        entries[0] |= {"title": INVALID, "description": INVALID, "tags": [INVALID], "parent_uid": [INVALID]}
        entries[1] |= {"publish_details": [{"environment": INVALID, "locale": INVALID, "user": INVALID}]}
        entries[2] |= {"filename": "a\ud800.png"}
        entries[3] |= {"filename": "a" * 300}

    change_entries(export / "main" / "assets", change)
    folders = [{"uid": TOP, "name": INVALID, "parent_uid": [TOP]}]
    (export / "main" / "assets" / "folders.json").write_text(json.dumps(folders))
    completed = run("library", "import", "contentstack", export, "--data", data)
    assert isinstance(completed.exception, SystemExit)
    for words in ("1 added", "1 incomplete", "2 failed"):
        assert words in completed.stdout
    assert "its file name is not usable" in completed.stderr
    assert "version 1: File name too long" in completed.stderr
    with closing(LibraryStore.open(data / "library")) as store:
        entry = store.asset(PLACE, uid_at(0)).entry
        assert {entry.title, entry.description, *entry.tags} == {"a\ufffd\ufffd"}
        assert store.folder(PLACE, TOP).entry.title == "a\ufffd\ufffd"


def test_invalid_text_in_a_backup_of_kontent(tmp_path: Path) -> None:
    path, data = tmp_path / "backup.zip", tmp_path / "data"
    write_kontent(path, 2)

    def change(entries: list[dict[str, Any]]) -> None:
        entries[0] |= {"title": INVALID, "descriptions": [{"description": INVALID}], "folder": {"id": INVALID}}
        entries[1] |= {"id": INVALID, "file_name": f"{INVALID}.png"}

    change_backup(path, change)
    completed = run("library", "import", "kontent", path, "--data", data)
    assert isinstance(completed.exception, SystemExit)
    assert "1 added" in completed.stdout
    assert "1 failed" in completed.stdout
    assert "its file name is not usable" in completed.stderr
    with closing(LibraryStore.open(data / "library")) as store:
        id_ = store.stacks()[0].api_key
        with zipfile.ZipFile(path) as file:
            uid = uid_of(json.loads(file.read("assets.json"))[0]["id"])
        entry = store.asset(BranchRef(id_), uid).entry
        assert {entry.title, entry.description} == {"a\ufffd\ufffd"}


def test_a_length_that_is_no_length(tmp_path: Path) -> None:
    write_contentstack(tmp_path, 1)
    change_entries(tmp_path / "main" / "assets", lambda entries: entries[0].update(file_size="9" * 5000))
    (asset,) = ContentstackExport(tmp_path, "main").assets()
    assert isinstance(asset, ExportedAsset)
    assert asset.versions[-1].bytes is None


@pytest.mark.parametrize("number", [2**31, 10**15])
def test_a_version_number_that_is_too_large(number: int, tmp_path: Path) -> None:
    export = tmp_path / "export"
    write_contentstack(export, 2)
    change_entries(export / "main" / "assets", lambda entries: entries[0].update(_version=number))
    completed = run("library", "import", "contentstack", export, "--data", tmp_path / "data")
    assert isinstance(completed.exception, SystemExit)
    assert "1 added" in completed.stdout
    assert f"{uid_at(0)}: expected a version number up to 2147483647" in completed.stderr


def test_an_environment_with_the_uid_of_one_in_another_stack(tmp_path: Path) -> None:
    export, data = tmp_path / "export", tmp_path / "data"
    write_contentstack(export, 3)
    with closing(LibraryStore.open(data / "library")) as store, store.database.write_transaction() as transaction:
        other = write_stack(transaction, "other", None, None, secured=False)
        write_environments(transaction, other.api_key, dict(list(ENVIRONMENTS.items())[:1]))
    completed = run("library", "import", "contentstack", export, "--data", data)
    assert isinstance(completed.exception, SystemExit)
    assert "and its uid is that of an environment in another stack" in completed.stderr
    assert f"contentstack:{uid_at(0)}: " in completed.stderr
    with closing(LibraryStore.open(data / "library")) as store:
        found = {one.uid: one.name for one in store.environments(STACK)}
        assert found == dict(list(ENVIRONMENTS.items())[1:])
        assert store.count(PLACE)[0] == 3


def test_an_environment_that_was_renamed_since_the_first_run(tmp_path: Path) -> None:
    """It retains its uid, and its name in the library."""
    export, data = tmp_path / "export", tmp_path / "data"
    write_contentstack(export, 1)
    assert run("library", "import", "contentstack", export, "--data", data).exit_code == 0
    file = export / "main" / "environments" / "environments.json"
    file.write_text(file.read_text().replace("staging", "preview"))
    again = run("library", "import", "contentstack", export, "--data", data)
    assert again.exit_code == 0
    assert "1 unchanged" in again.stdout
    with closing(LibraryStore.open(data / "library")) as store:
        assert {one.uid: one.name for one in store.environments(STACK)} == ENVIRONMENTS


def test_two_assets_with_the_id_of_one_file(tmp_path: Path) -> None:
    write_contentstack(tmp_path / "export", 3)

    def change(entries: list[dict[str, Any]]) -> None:
        entries[2]["url"] = entries[2]["url"].replace(hex_id(21, 24), hex_id(11, 24))

    change_entries(tmp_path / "export" / "main" / "assets", change)
    completed = run("library", "import", "contentstack", tmp_path / "export", "--data", tmp_path / "data")
    assert isinstance(completed.exception, SystemExit)
    assert "2 added" in completed.stdout
    assert "1 failed" in completed.stdout
    assert "another version of the library has the id of this file" in completed.stderr


# ------------------------------------------------------------------------------------------------ folders


def test_a_folder_of_another_branch_is_no_parent(tmp_path: Path) -> None:
    """The uid of a folder is that of a folder in another branch, and below it there is one with a new uid."""
    export, data = tmp_path / "export", tmp_path / "data"
    write_contentstack(export, 1)
    folders = export / "main" / "assets" / "folders.json"
    both = json.loads(folders.read_text())
    folders.write_text(json.dumps([one for one in both if one["uid"] == TOP]))
    assert run("library", "import", "contentstack", export, "--data", data).exit_code == 0
    (export / "main").rename(export / "dev")
    folders = export / "dev" / "assets" / "folders.json"
    folders.write_text(json.dumps(both))

    def change(entries: list[dict[str, Any]]) -> None:
        old, new = entries[0]["uid"], uid_at(77)
        (export / "dev/assets/files" / old).rename(export / "dev/assets/files" / new)
        url = entries[0]["url"].replace(old, new).replace(hex_id(3, 24), hex_id(773, 24))
        entries[0] |= {"uid": new, "parent_uid": TOP, "url": url, "_version": 1, "publish_details": []}

    change_entries(export / "dev" / "assets", change)
    completed = run("library", "import", "contentstack", export, "--data", data, "--branch", "dev")
    assert completed.exit_code == 0, completed.stderr
    dev = BranchRef(STACK, "dev")
    with closing(LibraryStore.open(data / "library")) as store:
        assert store.asset(dev, uid_at(77)).entry.parent_uid is None
        assert store.folder(dev, BELOW).entry.parent_uid is None
        store.delete_folder(PLACE, TOP)
        assert store.asset(dev, uid_at(77)).uid == uid_at(77)


def test_an_asset_is_no_parent(tmp_path: Path) -> None:
    export, data = tmp_path / "export", tmp_path / "data"
    write_contentstack(export, 1)
    assert run("library", "import", "contentstack", export, "--data", data).exit_code == 0
    (export / "main/assets/folders.json").write_text(json.dumps([{"uid": uid_at(0), "name": "a"}]))
    more = tmp_path / "more"
    write_contentstack(more, 2)
    (more / "main/assets/folders.json").write_text(json.dumps([{"uid": uid_at(0), "name": "a"}]))
    change_entries(more / "main/assets", lambda entries: entries[1].update(parent_uid=uid_at(0)))
    assert run("library", "import", "contentstack", more, "--data", data).exit_code == 0
    with closing(LibraryStore.open(data / "library")) as store:
        assert store.asset(PLACE, uid_at(1)).entry.parent_uid is None


# ------------------------------------------------------------------------------------------------ shared files


def two_versions(root: Path, size: object) -> None:
    """An export of one asset. Its versions 1 and 3 have the same file name and different file uids."""
    write_contentstack(root, 1)
    assets = root / "main" / "assets"
    newest = "owl 0 v3.png"

    def change(entries: list[dict[str, Any]]) -> None:
        entries[0] |= {"filename": newest, "file_size": size}

    change_entries(assets / "versions", change, "versioned-assets.json")
    (assets / "files" / uid_at(0) / "owl 0 v1.png").unlink()


@pytest.mark.parametrize("size", ["equal", None])
def test_one_file_of_two_versions_with_equal_or_unknown_lengths_is_not_imported(
    size: str | None, tmp_path: Path
) -> None:
    length = len(unique_png(3))
    two_versions(tmp_path / "export", str(length) if size else None)
    completed = run("library", "import", "contentstack", tmp_path / "export", "--data", tmp_path / "data")
    assert completed.exit_code == 1
    assert "version 1: the export has one file for the versions 1 and 3" in completed.stderr
    assert "version 3: the export has one file for the versions 1 and 3" in completed.stderr
    assert "versions: 1 of 3 verified" in completed.stdout


def test_one_file_of_two_versions_belongs_to_the_version_with_its_length(tmp_path: Path) -> None:
    length = len(unique_png(3))
    two_versions(tmp_path / "export", str(length + 1))
    completed = run("library", "import", "contentstack", tmp_path / "export", "--data", tmp_path / "data")
    assert completed.exit_code == 1
    assert f"version 1: the file has {length} bytes, expected {length + 1}" in completed.stderr
    assert "versions: 2 of 3 verified" in completed.stdout


def test_versions_with_one_file_uid_share_their_file(tmp_path: Path) -> None:
    """Only the title changed."""
    two_versions(tmp_path, str(len(unique_png(3))))
    assets = tmp_path / "main" / "assets"

    def change(entries: list[dict[str, Any]]) -> None:
        entries[0]["url"] = entries[0]["url"].replace(hex_id(1, 24), hex_id(3, 24))

    change_entries(assets / "versions", change, "versioned-assets.json")
    (asset,) = ContentstackExport(tmp_path, "main").assets()
    assert isinstance(asset, ExportedAsset)
    for version in asset.versions:
        version.open_file().close()
