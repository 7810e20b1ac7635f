"""cropmark assets add: hundreds of files, killed during the import, resumed by a second run."""

from __future__ import annotations

import json
import os
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from urllib.parse import unquote

import pytest

from cropmark.library import garbage
from cropmark.library.errors import LibraryUnavailable
from cropmark.library.lookup import FoundVersion, read_address
from cropmark.library.store import LibraryStore
from cropmark.model.assets import BranchRef, Listing
from tests.builders import wait_until
from tests.command import run as run_command

FILES = 300


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "cropmark.cli.main", *map(str, arguments)]


def clean(columns: int = 200) -> dict[str, str]:
    own = {"COLUMNS": str(columns), "CROPMARK_RENDERERS": "1"}
    return {k: v for k, v in os.environ.items() if not k.startswith("CROPMARK_")} | own


def run(*arguments: object, words: str = "", columns: int = 200) -> subprocess.CompletedProcess[str]:
    texts = [os.fsdecode(one) if isinstance(one, bytes) else str(one) for one in arguments]
    return run_command(texts, environment=clean(columns), words=words)


def unique_png(number: int) -> bytes:
    """A PNG of one pixel with a unique text chunk."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixel = zlib.compress(bytes((0, number % 256, number // 256, 9)))
    text = b"Comment\0number %d" % number
    parts = (chunk(b"IHDR", header), chunk(b"tEXt", text), chunk(b"IDAT", pixel), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def asset_count(data: Path) -> int:
    """The number of assets; 0 before the library exists."""
    try:
        store = LibraryStore.open(data / "library")
    except LibraryUnavailable:
        return 0
    try:
        stacks = store.stacks()
        if not stacks:
            return 0
        return store.list_entries(BranchRef(stacks[0].api_key), Listing(limit=1, with_count=True)).count or 0
    finally:
        store.close()


def file_uid_at(data: Path, path: str) -> str | None:
    """The version that an address serves."""
    address = read_address(unquote(path))
    assert address is not None
    store = LibraryStore.open(data / "library")
    try:
        found = store.find(address, None).outcome
    finally:
        store.close()
    return found.file_uid if isinstance(found, FoundVersion) else None


def test_a_second_run_resumes_a_killed_import(tmp_path: Path) -> None:
    files, data = tmp_path / "files", tmp_path / "data"
    for number in range(FILES):
        path = files / f"{number // 100}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(unique_png(number))
    importing = command("assets", "add", files, "--publish", "production", "--data", data)
    first = subprocess.Popen(importing, env=clean(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: asset_count(data) >= 40 or first.poll() is not None, 120)
    assert first.poll() is None, "it ended before it could be killed"
    first.send_signal(signal.SIGKILL)
    first.wait()
    there = asset_count(data)
    assert 0 < there < FILES

    second = run("assets", "add", files, "--publish", "production", "--data", data)
    assert second.returncode == 0, second.stderr
    assert f"{FILES - there:,} added, {there:,} unchanged" in second.stdout
    assert asset_count(data) == FILES
    store = LibraryStore.open(data / "library")
    state = garbage.check(store)
    assert (state.stored, state.missing) == (FILES, ())
    assert len(state.orphans) <= 4  # the files that were imported when the process was killed
    place = BranchRef(store.stacks()[0].api_key)
    page = store.list_entries(place, Listing(limit=1, with_count=True, environment="production"))
    assert page.count == FILES
    store.close()


def test_changed_files_are_imported_only_with_update(tmp_path: Path) -> None:
    files, data = tmp_path / "files", tmp_path / "data"
    files.mkdir()
    (files / "owl.png").write_bytes(unique_png(1))
    (files / "leaflet.pdf").write_bytes(b"%PDF-1.7")
    (files / "site.toml").write_text("[site]")  # of an unknown type: it may not be meant for the public
    (files / ".hidden.png").write_bytes(unique_png(2))
    completed = run("assets", "add", files, "--data", data)
    assert completed.returncode == 0, completed.stderr
    assert "2 added, 1 of an unknown type" in completed.stdout
    (files / "owl.png").write_bytes(unique_png(3))
    completed = run("assets", "add", files / "owl.png", "--data", data)
    assert "1 changed but not updated" in completed.stdout
    assert "--update" in completed.stderr
    completed = run("assets", "add", files / "owl.png", "--update", "--publish", "production", "--data", data)
    assert "1 updated" in completed.stdout
    assert "environment=production" in completed.stdout


def test_a_name_with_an_escape_sequence_is_not_the_name_with_that_byte(tmp_path: Path) -> None:
    files, data = tmp_path / "files", tmp_path / "data"
    files.mkdir()
    for number, name in enumerate((b"/\xff.png", rb"/\xff.png", b"/%FF.png")):
        Path(os.fsdecode(os.fsencode(files) + name)).write_bytes(unique_png(number))
    completed = run("assets", "add", files, "--data", data)
    assert "3 added" in completed.stdout, completed.stderr
    assert "3 unchanged" in run("assets", "add", files, "--data", data).stdout


def test_unusual_file_names_do_not_stop_an_import(tmp_path: Path) -> None:
    """File names that are not UTF-8, and a pipe."""
    files, data = tmp_path / "files", tmp_path / "data"
    files.mkdir()
    odd = [Path(os.fsdecode(os.fsencode(files) + name)) for name in (b"/\xe9.png", b"/\xe8.png")]
    for number, path in enumerate((*odd, files / "z.png")):
        path.write_bytes(unique_png(number))
    os.mkfifo(files / "pipe")
    completed = run("assets", "add", files, "--data", data)
    assert "3 added, 1 failed" in completed.stdout, completed.stderr
    assert "pipe: not a regular file" in completed.stderr
    assert "3 unchanged, 1 failed" in run("assets", "add", files, "--data", data).stdout
    listed = json.loads(run("assets", "list", "--json", "--data", data).stdout)
    assert sorted(one["filename"] for one in listed) == ["z.png", "\ufffd.png", "\ufffd.png"]
    replaced = run("assets", "replace", listed[0]["uid"], odd[0], "--data", data)
    assert "version 2: http" in replaced.stdout, replaced.stderr


REFUSED = [
    # arguments                                            words of the refusal
    (("assets", "add", "nowhere.png"), "file not found: nowhere.png"),
    (("assets", "list"), "does not contain a library"),
    (("assets", "publish", "blt0123456789abcdef", "--to", "x"), "does not contain a library"),
    (("keys", "revoke", "0123"), "does not contain a library"),
    (("stacks", "create", ""), "'': expected a text of 1 to 255 characters"),
    (("stacks", "create", "x" * 256), "expected a text of 1 to 255 characters"),
    (("stacks", "create", b"\xff"), "'\\udcff': expected text without NUL and lone surrogates"),
    (("keys", "create", "pixlab", "app", "--environment", "production"), "--environment is for delivery tokens"),
    (("assets", "add", ".", "--tag", "one", "--tag", ""), "expected a text of 1 to 255 characters"),
    (("assets", "add", ".", "--branch", " "), "expected a text of 1 to 255 characters"),
    (("assets", "publish", "blt0123456789abcdef", "--to", "x" * 256), "expected a text of 1 to 255 characters"),
    (("assets", "publish", "blt0123456789abcdef", "--to", "x", "--locale", "x" * 65), "a text of 1 to 64 characters"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED)
def test_errors_name_the_fix(arguments: tuple[str | bytes, ...], words: str, tmp_path: Path) -> None:
    completed = run(*arguments, "--data", tmp_path)
    assert completed.returncode == 1
    assert words in completed.stderr
    assert "Traceback" not in completed.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_of_key(tmp_path: Path) -> None:
    refused = run("keys", "create", "house", "door", "--data", tmp_path)
    assert refused.returncode == 2
    assert "'house' is not one of" in refused.stderr


def test_a_library_without_stacks_names_the_command_to_create_one(tmp_path: Path) -> None:
    run("keys", "create", "pixlab", "app", "--data", tmp_path)
    completed = run("assets", "list", "--data", tmp_path)
    assert (completed.returncode, completed.stdout) == (1, "")
    assert "the library has no stack" in completed.stderr
    assert "cropmark stacks create NAME" in completed.stderr


def test_unknown_uids_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(unique_png(1))
    data, unknown = tmp_path / "data", "blt0123456789abcdef"
    run("assets", "add", tmp_path / "a.png", "--data", data)
    (asset,) = json.loads(run("assets", "list", "--json", "--data", data).stdout)
    for arguments in (("publish", "--to", "production"), ("unpublish", "--from", "production"), ("remove",)):
        completed = run("assets", arguments[0], asset["uid"], unknown, *arguments[1:], "--data", data)
        assert f"{unknown}: asset not found" in completed.stderr
    completed = run("assets", "add", tmp_path / "a.png", tmp_path / "a.png", "--folder", unknown, "--data", data)
    assert completed.stderr.splitlines()[0] == f"cropmark: {unknown}: folder not found"


def test_listed_ids_can_be_copied(tmp_path: Path) -> None:
    """An id is not wrapped in a narrow terminal. The JSON has both vendors' URLs."""
    (tmp_path / "a b.png").write_bytes(unique_png(1))
    data = tmp_path / "data"
    open_key = run("stacks", "create", "a stack of pictures", "--data", data).stdout.strip()
    secured_key = run("stacks", "create", "kept", "--secured", "--data", data).stdout.strip()
    for stack in (open_key, secured_key):
        run("assets", "add", tmp_path / "a b.png", "--stack", stack, "--data", data)
    stacks = run("stacks", "list", "--data", data, columns=80).stdout
    assert open_key in stacks
    assert secured_key in stacks
    (asset,) = json.loads(run("assets", "list", "--json", "--stack", open_key, "--data", data).stdout)
    assert asset["uid"] in run("assets", "list", "--stack", open_key, "--data", data, columns=60).stdout
    assert asset["kontent_url"].startswith("http://127.0.0.1:8000/kontent/")
    assert file_uid_at(data, asset["kontent_url"].partition("/kontent/")[2]) == asset["file_uid"]
    (secured,) = json.loads(run("assets", "list", "--json", "--stack", secured_key, "--data", data).stdout)
    assert secured["kontent_url"] is None


def test_a_generated_key_is_shown_once_and_a_chosen_one_never(tmp_path: Path) -> None:
    made = run("keys", "create", "pixlab", "app", "--data", tmp_path)
    secret = made.stdout.strip()
    assert len(secret) >= 32
    given = run("keys", "create", "pixlab", "hand", "--secret", "--data", tmp_path, words="a-word-of-mine-x\n")
    assert (given.returncode, given.stdout) == (0, "")
    assert "warning" in given.stderr
    short = run("keys", "create", "pixlab", "hand", "--secret", "--data", tmp_path, words="short\n")
    assert (short.returncode, "at least 15 characters" in short.stderr) == (1, True)
    listed = run("keys", "list", "--data", tmp_path).stdout
    assert "app" in listed
    assert "hand" in listed
    assert secret not in listed


def test_production_rejects_short_keys(tmp_path: Path) -> None:
    arguments = ["keys", "create", "admin", "hand", "--secret", "--data", str(tmp_path)]
    completed = run_command(
        arguments, environment=clean() | {"CROPMARK_PRODUCTION": "true"}, words="a-word-of-mine-x\n"
    )
    assert completed.returncode == 1
    assert "production" in completed.stderr
