"""Made exports of Contentstack and Kontent.ai, in the layouts that their command lines write."""

from __future__ import annotations

import json
import uuid
import zipfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.library.test_bulk_import import unique_png

STACK = "blt00112233445566aa"
ENVIRONMENTS = {"blt0000000000000e01": "production", "blt0000000000000e02": "staging"}
KONTENT_ID = "11111111-2222-3333-4444-555555555555"
CHUNK = 100
"""Assets in one file of the export."""


@dataclass(frozen=True, slots=True)
class OldUrl:
    """A path and query of the old service, and the digest of its bytes."""

    target: str
    digest: str


def hex_id(number: int, length: int) -> str:
    return sha256(f"id {number} {length}".encode()).hexdigest()[:length]


def write_contentstack(root: Path, count: int) -> list[OldUrl]:
    """Write an export of `count` assets, a tenth of them with three versions; returns their URLs."""
    assets, older, urls = list[dict[str, Any]](), list[dict[str, Any]](), list[OldUrl]()
    for number in range(count):
        versions = 3 if number % 10 == 0 else 1
        uid = f"blt{hex_id(number, 16)}"
        for version in range(1, versions + 1):
            entry, body = _contentstack_asset(number, uid, version)
            file = root / "main" / "assets" / "files" / uid / entry["filename"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(body)
            (assets if version == versions else older).append(entry)
            path = entry["url"].removeprefix("https://images.contentstack.io")
            digest = sha256(body).hexdigest()
            urls += [OldUrl(f"{path}?environment=production", digest), OldUrl(path, digest)]
    _write_indexed(root / "main" / "assets", "assets.json", {one["uid"]: one for one in assets})
    _write_indexed(
        root / "main" / "assets" / "versions",
        "versioned-assets.json",
        {f"{one['uid']}_{one['_version']}": one for one in older},
    )
    folders = [
        {"uid": "blt0000000000000f02", "name": "below", "is_dir": True, "parent_uid": "blt0000000000000f01"},
        {"uid": "blt0000000000000f01", "name": "top", "is_dir": True, "parent_uid": None},
    ]
    (root / "main" / "assets" / "folders.json").write_text(json.dumps(folders))
    environments = root / "main" / "environments" / "environments.json"
    environments.parent.mkdir()
    environments.write_text(json.dumps({uid: {"uid": uid, "name": name} for uid, name in ENVIRONMENTS.items()}))
    return urls


def _contentstack_asset(number: int, uid: str, version: int) -> tuple[dict[str, Any], bytes]:
    body, filename = unique_png(number * 10 + version), f"owl {number} v{version}.png"
    url = f"https://images.contentstack.io/v3/assets/{STACK}/{uid}/{hex_id(number * 10 + version, 24)}/{filename}"
    production, staging = ENVIRONMENTS
    details = [(production, version), (staging, 1)]
    entry = {
        "uid": uid,
        "_version": version,
        "is_dir": False,
        "content_type": "image/png",
        "file_size": str(len(body)),
        "tags": ["owl", f"number {number % 7}"],
        "filename": filename,
        "url": url.replace(" ", "%20"),
        "parent_uid": "blt0000000000000f02" if number % 3 == 0 else None,
        "title": f"Owl {number}",
        "description": "An owl.",
        "publish_details": [
            {"environment": uid_, "locale": "en-us", "time": "2026-01-08T15:07:53.495Z", "user": "blt7", "version": at}
            for uid_, at in details
        ],
    }
    return entry, body


def _write_indexed(folder: Path, index: str, entries: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names, keys = dict[str, str](), list(entries)
    for at in range(0, len(keys), CHUNK):
        name = f"{uuid.uuid4()}-assets.json"
        (folder / name).write_text(json.dumps({key: entries[key] for key in keys[at : at + CHUNK]}))
        names[str(len(names) + 1)] = name
    (folder / index).write_text(json.dumps(names))


def write_kontent(path: Path, count: int) -> list[OldUrl]:
    """Write a backup of `count` assets; returns their URLs."""
    assets, urls = [], []
    with zipfile.ZipFile(path, "w") as file:
        for number in range(count):
            id_, file_id = (str(uuid.UUID(hex_id(number, length) + "0" * (32 - length))) for length in (31, 30))
            body, name = unique_png(number), f"owl {number}.png"
            file.writestr(f"assets/{id_}-{name}", body)
            target = f"/{KONTENT_ID}/{file_id}/{name.replace(' ', '%20')}"
            assets.append(
                {
                    "id": id_,
                    "file_name": name,
                    "title": f"Owl {number}",
                    "size": len(body),
                    "type": "image/png",
                    "url": f"https://assets-eu-01.kc-usercontent.com:443{target}",
                    "folder": {"id": "folder-2"} if number % 3 == 0 else None,
                    "descriptions": [{"language": {"id": "0"}, "description": "An owl."}],
                    "last_modified": "2026-01-08T15:07:53.4951234Z",
                }
            )
            urls.append(OldUrl(target, sha256(body).hexdigest()))
        file.writestr("assets.json", json.dumps(assets))
        folders = [{"id": "folder-1", "name": "top", "folders": [{"id": "folder-2", "name": "below", "folders": []}]}]
        file.writestr("assetFolders.json", json.dumps({"folders": folders}))
        file.writestr("metadata.json", json.dumps({"version": "3", "environmentId": KONTENT_ID}))
    return urls
