"""Assets, folders and environments as the vendor's JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote, urlsplit

from cropmark.management.request import Json, ManagementRequest
from cropmark.model.assets import MAIN, Asset, EntryDetails, Environment, Folder, Publication, Version


def asset_json(asset: Asset, call: ManagementRequest, *, listed: bool = False) -> Json:
    """The vendor's asset object."""
    file = asset.version.file
    told = _entry(asset.entry) | {
        "content_type": file.media_type,
        "file_size": str(file.bytes),
        "filename": file.filename,
        "url": _url(asset, call, f"{asset.version.file_uid}/{quote(file.filename)}"),
        "_version": asset.version.number,
        "is_dir": False,
        "title": asset.entry.title,
        "description": asset.entry.description,
    }
    if asset.slug is not None:
        told["permanent_url"] = _url(asset, call, quote(asset.slug))
    if call.asks("include_dimension"):
        size = file.size
        told["dimension"] = {"height": size.height, "width": size.width} if size else None
    if call.asks("include_branch"):
        told["_branch"] = asset.entry.place.branch
    if listed or call.asks("include_publish_details"):
        told["publish_details"] = [_publication(p) for p in asset.publications]
    return told


def item_json(item: Asset | Folder, call: ManagementRequest, *, listed: bool) -> Json:
    return folder_json(item) if isinstance(item, Folder) else asset_json(item, call, listed=listed)


def folder_json(found: Folder) -> Json:
    entry = found.entry
    return _entry(entry) | {
        "content_type": "application/vnd.contenstack.folder",  # the vendor's own spelling
        "name": entry.title,
        "is_dir": True,
        "_version": 1,
    }


def _entry(entry: EntryDetails) -> Json:
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


def _url(asset: Asset, call: ManagementRequest, rest: str) -> str:
    base = urlsplit(call.base).path if call.asks("relative_urls") else call.base
    branch = asset.entry.place.branch
    query = "" if branch == MAIN else f"?branch={quote(branch, safe='')}"
    return f"{base}/v3/assets/{asset.entry.place.stack}/{asset.uid}/{rest}{query}"


def _publication(found: Publication) -> Json:
    return {
        "environment": found.environment,
        "locale": found.locale,
        "time": time_text(found.at_ms),
        "user": found.by,
        "version": found.version,
    }


def version_json(found: Version) -> Json:
    told = {"_version": found.number, "updated_at": time_text(found.created_ms), "updated_by": found.created_by}
    return told | ({"_version_name": found.name} if found.name else {})


def environment_json(found: Environment) -> Json:
    return {"uid": found.uid, "name": found.name, "urls": [], "created_at": time_text(found.created_ms)}


def time_text(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
