"""Writes assets, folders and environments as the vendor's JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from cropmark.management.request import Json, ManagementRequest
from cropmark.model.assets import MAIN_BRANCH, Asset, EntryDetails, Environment, Folder, Publication, Version


def asset_json(asset: Asset, request: ManagementRequest, *, listed: bool = False) -> Json:
    """The asset as the vendor's JSON object.

    Flags in the request's query, such as `include_dimension`, add members. `listed` adds `publish_details`.
    """
    file = asset.version.file
    json = _entry_json(asset.entry) | {
        "content_type": file.media_type,
        "file_size": str(file.bytes),
        "filename": file.filename,
        "url": _url(asset, request, f"{asset.version.file_uid}/{quote(file.filename)}"),
        "_version": asset.version.number,
        "is_dir": False,
        "title": asset.entry.title,
        "description": asset.entry.description,
    }
    if asset.slug is not None:
        json["permanent_url"] = _url(asset, request, quote(asset.slug))
    if request.flag("include_dimension"):
        size = file.size
        json["dimension"] = {"height": size.height, "width": size.width} if size else None
    if request.flag("include_branch"):
        json["_branch"] = asset.entry.branch_ref.branch
    if listed or request.flag("include_publish_details"):
        json["publish_details"] = [_publication_json(p) for p in asset.publications]
    return json


def item_json(item: Asset | Folder, request: ManagementRequest, *, listed: bool) -> Json:
    return folder_json(item) if isinstance(item, Folder) else asset_json(item, request, listed=listed)


def folder_json(found: Folder) -> Json:
    entry = found.entry
    return _entry_json(entry) | {
        "content_type": "application/vnd.contenstack.folder",  # the vendor's own spelling
        "name": entry.title,
        "is_dir": True,
        "_version": 1,
    }


def _entry_json(entry: EntryDetails) -> Json:
    return {
        "uid": entry.uid,
        "created_at": time_text(entry.created_ms),
        "updated_at": time_text(entry.updated_ms),
        "created_by": entry.created_by,
        "updated_by": entry.updated_by,
        "tags": list(entry.tags),
        "ACL": {},
        "parent_uid": entry.parent_uid,
    }


def _url(asset: Asset, request: ManagementRequest, rest: str) -> str:
    base = urlsplit(request.base_url).path if request.flag("relative_urls") else request.base_url
    branch = asset.entry.branch_ref.branch
    query = "" if branch == MAIN_BRANCH else f"?branch={quote(branch, safe='')}"
    return f"{base}/v3/assets/{asset.entry.branch_ref.stack}/{asset.uid}/{rest}{query}"


def _publication_json(found: Publication) -> Json:
    return {
        "environment": found.environment,
        "locale": found.locale,
        "time": time_text(found.at_ms),
        "user": found.by,
        "version": found.version,
    }


def version_json(found: Version) -> Json:
    json = {"_version": found.number, "updated_at": time_text(found.created_ms), "updated_by": found.created_by}
    return json | ({"_version_name": found.name} if found.name else {})


def environment_json(found: Environment) -> Json:
    return {"uid": found.uid, "name": found.name, "urls": [], "created_at": time_text(found.created_ms)}


def time_text(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
