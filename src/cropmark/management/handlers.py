"""What each call does to the library.

Source: https://www.contentstack.com/docs/developers/apis/content-management-api/assets
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cropmark.management.parse import (
    member,
    read_changes,
    read_publishing,
    read_slug,
    read_version_name,
    text_of,
    whole_of,
)
from cropmark.management.parse_query import read_listing
from cropmark.management.request import Json, ManagementRequest, Unprocessable
from cropmark.management.serialize import asset_json, environment_json, folder_json, item_json, version_json
from cropmark.model.assets import MAX_NAME_CHARS, AssetFilter
from cropmark.model.problems import NotFound
from cropmark.ports import Library

# ------------------------------------------------------------------------------------------ assets


def upload(library: Library, call: ManagementRequest) -> Json:
    """Keep a new asset. It is not published."""
    if call.sent is None:
        raise Unprocessable("a file is needed", fix="send it as asset[upload]", parameter="upload")
    if read_slug(call) is not None:
        raise Unprocessable("an asset has a URL when it is there", fix="set it afterwards", parameter="permanent_url")
    asset = library.add(call.place, call.sent.upload, call.sent.source, read_changes(call.body), call.by)
    return {"notice": "Asset created successfully.", "asset": asset_json(asset, call)}


def update(library: Library, call: ManagementRequest) -> Json:
    """Replace the file, restore an old one, or change what is said of it."""
    changes = replace(read_changes(call.body), slug=read_slug(call))
    if call.sent is not None:
        asset = library.replace(call.place, call.uid, call.sent.upload, call.sent.source, changes, call.by)
    elif call.body.get("version") is not None:
        asset = library.restore(call.place, call.uid, whole_of(call.body["version"], "version"), call.by)
    elif isinstance(call.body.get("asset"), Mapping):
        asset = library.change(call.place, call.uid, changes, call.by)
    else:
        raise Unprocessable("expected an asset", fix='send {"asset": {"title": "…"}}', parameter="asset")
    return {"notice": "Asset updated successfully.", "asset": asset_json(asset, call)}


def one(library: Library, call: ManagementRequest) -> Json:
    """An asset, or a version of it, or the one that is published in an environment."""
    if call.query.get("environment") or call.reader is not None:
        found = library.list_entries(
            call.place, replace(read_listing(call, AssetFilter.ASSETS), equal=(("uid", call.uid),))
        ).items
        if not found:
            raise NotFound("there is no such asset there", parameter="uid")
        return {"asset": item_json(found[0], call, listed=True)}
    number = call.query.get("version")
    asset = library.asset(call.place, call.uid, whole_of(number, "version") if number else None)
    return {"asset": asset_json(asset, call, listed=True)}


def listed(library: Library, call: ManagementRequest, shown: AssetFilter = AssetFilter.ASSETS) -> Json:
    """A page of assets."""
    if shown is AssetFilter.ASSETS and (call.asks("include_folders") or "is_dir" in call.query.get("query", "")):
        shown = AssetFilter.ALL
    page = library.list_entries(call.place, read_listing(call, shown))
    told: Json = {"assets": [item_json(item, call, listed=True) for item in page.items]}
    if page.count is not None:
        told["count"] = page.count
    return told


def images(library: Library, call: ManagementRequest) -> Json:
    """A page of pictures."""
    return listed(library, call, AssetFilter.IMAGES)


def nothing(library: Library, call: ManagementRequest) -> Json:
    """A page of what is not kept here: videos, assets of rich texts."""
    return listed(library, call, AssetFilter.NONE)


def delete(library: Library, call: ManagementRequest) -> Json:
    """Remove an asset with all that there is of it."""
    library.delete(call.place, call.uid)
    return {"notice": "Asset deleted successfully."}


def versions(library: Library, call: ManagementRequest) -> Json:
    """All versions, or those that have names, the newest first."""
    found = [version_json(v) for v in library.versions(call.place, call.uid) if v.name or not call.asks("named")]
    return {"versions": found, "count": len(found)}


def name_version(library: Library, call: ManagementRequest) -> Json:
    """Name a version."""
    name = read_version_name(call.body)
    library.name_version(call.place, call.uid, whole_of(call.names["version"], "version"), name)
    return {"notice": "Asset version name assigned successfully", "asset": {"_version_name": name}}


def unname_version(library: Library, call: ManagementRequest) -> Json:
    """Take a version's name away."""
    library.name_version(call.place, call.uid, whole_of(call.names["version"], "version"), None)
    return {"notice": "Asset version name deleted successfully"}


def references(library: Library, call: ManagementRequest) -> Json:
    """Entries that use the asset: there are no entries here."""
    library.asset(call.place, call.uid)
    return {"references": [], "count": 0}


# ------------------------------------------------------------------------------------------ publishing


def publish(library: Library, call: ManagementRequest) -> Json:
    """Publish now, before this returns, or at a time."""
    library.publish(call.place, call.uid, read_publishing(library, call), call.by)
    return {"notice": "Asset sent for publishing."}


def unpublish(library: Library, call: ManagementRequest) -> Json:
    """Take it from environments."""
    library.unpublish(call.place, call.uid, read_publishing(library, call), call.by)
    return {"notice": "Asset sent for unpublishing."}


def environments(library: Library, call: ManagementRequest) -> Json:
    """All environments of the stack."""
    return {"environments": [environment_json(e) for e in library.environments(call.place.stack)]}


def environment(library: Library, call: ManagementRequest) -> Json:
    """One environment by its name."""
    for found in library.environments(call.place.stack):
        if call.names["name"] in (found.name, found.uid):
            return {"environment": environment_json(found)}
    raise NotFound("there is no such environment", parameter="name")


def new_environment(library: Library, call: ManagementRequest) -> Json:
    """Make an environment."""
    name = text_of(member(call.body, "environment").get("name"), "name", MAX_NAME_CHARS)
    found = library.new_environment(call.place.stack, name)
    return {"notice": "Environment created successfully.", "environment": environment_json(found)}


# ------------------------------------------------------------------------------------------ folders


def new_folder(library: Library, call: ManagementRequest) -> Json:
    """Make a folder."""
    asset = member(call.body, "asset")
    parent = read_changes(call.body).parent_uid
    name = text_of(asset.get("name"), "name", MAX_NAME_CHARS)
    folder = library.new_folder(call.place, name, parent, call.by)
    return {"notice": "Folder created successfully.", "asset": folder_json(folder)}


def folder(library: Library, call: ManagementRequest) -> Json:
    """A folder."""
    return {"asset": folder_json(library.folder(call.place, call.uid))}


def update_folder(library: Library, call: ManagementRequest) -> Json:
    """Rename or move a folder."""
    changes = read_changes(call.body)
    name = member(call.body, "asset").get("name")
    if name is not None:
        changes = replace(changes, title=text_of(name, "name", MAX_NAME_CHARS))
    found = library.change_folder(call.place, call.uid, changes, call.by)
    return {"notice": "Folder updated successfully.", "asset": folder_json(found)}


def delete_folder(library: Library, call: ManagementRequest) -> Json:
    """Remove a folder with all that is in it."""
    library.delete_folder(call.place, call.uid)
    return {"notice": "Folder deleted successfully."}
