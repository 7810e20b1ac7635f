"""The handlers of the management API: each route has one, which runs one operation on the library.

Source: https://www.contentstack.com/docs/developers/apis/content-management-api/assets
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cropmark.management.parse import (
    read_changes,
    read_int,
    read_object,
    read_publishing,
    read_slug,
    read_text,
    read_version_name,
)
from cropmark.management.parse_query import read_listing
from cropmark.management.request import InvalidField, Json, ManagementRequest
from cropmark.management.serialize import asset_json, environment_json, folder_json, item_json, version_json
from cropmark.model.assets import MAX_NAME_CHARS, AssetFilter
from cropmark.model.problems import NotFound
from cropmark.ports import Library

# ------------------------------------------------------------------------------------------ assets


def upload(library: Library, request: ManagementRequest) -> Json:
    """Store a new asset. It is not published yet."""
    if request.upload is None:
        raise InvalidField("expected a file", fix="send it as asset[upload]", parameter="upload")
    if read_slug(request) is not None:
        raise InvalidField(
            "a permanent URL needs an existing asset", fix="set it after the upload", parameter="permanent_url"
        )
    asset = library.add(
        request.branch, request.upload.info, request.upload.source, read_changes(request.body), request.author
    )
    return {"notice": "Asset created successfully.", "asset": asset_json(asset, request)}


def update(library: Library, request: ManagementRequest) -> Json:
    """Replace an asset's file, restore an old version of the asset, or change its fields."""
    changes = replace(read_changes(request.body), slug=read_slug(request))
    if request.upload is not None:
        asset = library.replace(
            request.branch, request.uid, request.upload.info, request.upload.source, changes, request.author
        )
    elif request.body.get("version") is not None:
        asset = library.restore(
            request.branch, request.uid, read_int(request.body["version"], "version"), request.author
        )
    elif isinstance(request.body.get("asset"), Mapping):
        asset = library.change(request.branch, request.uid, changes, request.author)
    else:
        raise InvalidField("expected an asset", fix='send {"asset": {"title": "…"}}', parameter="asset")
    return {"notice": "Asset updated successfully.", "asset": asset_json(asset, request)}


def asset(library: Library, request: ManagementRequest) -> Json:
    """Return an asset in its current version, in a given version, or in the version published in an environment."""
    if request.query.get("environment") or request.reader is not None:
        found = library.list_entries(
            request.branch, replace(read_listing(request, AssetFilter.ASSETS), equal=(("uid", request.uid),))
        ).items
        if not found:
            raise NotFound("the environment does not have this asset", parameter="uid")
        return {"asset": item_json(found[0], request, listed=True)}
    number = request.query.get("version")
    asset = library.asset(request.branch, request.uid, read_int(number, "version") if number else None)
    return {"asset": asset_json(asset, request, listed=True)}


def list_assets(library: Library, request: ManagementRequest, shown: AssetFilter = AssetFilter.ASSETS) -> Json:
    """List one page of assets."""
    if shown is AssetFilter.ASSETS and (request.flag("include_folders") or "is_dir" in request.query.get("query", "")):
        shown = AssetFilter.ALL
    page = library.list_entries(request.branch, read_listing(request, shown))
    json: Json = {"assets": [item_json(item, request, listed=True) for item in page.items]}
    if page.count is not None:
        json["count"] = page.count
    return json


def list_images(library: Library, request: ManagementRequest) -> Json:
    """List one page of images."""
    return list_assets(library, request, AssetFilter.IMAGES)


def list_nothing(library: Library, request: ManagementRequest) -> Json:
    """Return an empty list, because the library has no videos and no rich text assets."""
    return list_assets(library, request, AssetFilter.NONE)


def delete(library: Library, request: ManagementRequest) -> Json:
    """Delete an asset with all its versions."""
    library.delete(request.branch, request.uid)
    return {"notice": "Asset deleted successfully."}


def list_versions(library: Library, request: ManagementRequest) -> Json:
    """List the versions of an asset, or only those with a name, newest first."""
    found = [
        version_json(v) for v in library.versions(request.branch, request.uid) if v.name or not request.flag("named")
    ]
    return {"versions": found, "count": len(found)}


def name_version(library: Library, request: ManagementRequest) -> Json:
    """Give a version of an asset a name."""
    name = read_version_name(request.body)
    library.name_version(request.branch, request.uid, read_int(request.path_values["version"], "version"), name)
    return {"notice": "Asset version name assigned successfully", "asset": {"_version_name": name}}


def unname_version(library: Library, request: ManagementRequest) -> Json:
    """Remove the name of a version of an asset."""
    library.name_version(request.branch, request.uid, read_int(request.path_values["version"], "version"), None)
    return {"notice": "Asset version name deleted successfully"}


def list_references(library: Library, request: ManagementRequest) -> Json:
    """List the entries that use an asset. The list is always empty, because the library has no entries."""
    library.asset(request.branch, request.uid)
    return {"references": [], "count": 0}


# ------------------------------------------------------------------------------------------ publishing


def publish(library: Library, request: ManagementRequest) -> Json:
    """Publish an asset in environments, now or at a scheduled time."""
    library.publish(request.branch, request.uid, read_publishing(library, request), request.author)
    return {"notice": "Asset sent for publishing."}


def unpublish(library: Library, request: ManagementRequest) -> Json:
    """Unpublish an asset from environments, now or at a scheduled time."""
    library.unpublish(request.branch, request.uid, read_publishing(library, request), request.author)
    return {"notice": "Asset sent for unpublishing."}


def list_environments(library: Library, request: ManagementRequest) -> Json:
    """List the environments of the stack."""
    return {"environments": [environment_json(e) for e in library.environments(request.branch.stack)]}


def environment(library: Library, request: ManagementRequest) -> Json:
    """Return the environment that has the given name or uid."""
    for found in library.environments(request.branch.stack):
        if request.path_values["name"] in (found.name, found.uid):
            return {"environment": environment_json(found)}
    raise NotFound("environment not found", parameter="name")


def new_environment(library: Library, request: ManagementRequest) -> Json:
    """Create an environment."""
    name = read_text(read_object(request.body, "environment").get("name"), "name", MAX_NAME_CHARS)
    found = library.new_environment(request.branch.stack, name)
    return {"notice": "Environment created successfully.", "environment": environment_json(found)}


# ------------------------------------------------------------------------------------------ folders


def new_folder(library: Library, request: ManagementRequest) -> Json:
    """Create a folder."""
    asset = read_object(request.body, "asset")
    parent = read_changes(request.body).parent_uid
    name = read_text(asset.get("name"), "name", MAX_NAME_CHARS)
    folder = library.new_folder(request.branch, name, parent, request.author)
    return {"notice": "Folder created successfully.", "asset": folder_json(folder)}


def folder(library: Library, request: ManagementRequest) -> Json:
    """Return a folder."""
    return {"asset": folder_json(library.folder(request.branch, request.uid))}


def update_folder(library: Library, request: ManagementRequest) -> Json:
    """Rename or move a folder."""
    changes = read_changes(request.body)
    name = read_object(request.body, "asset").get("name")
    if name is not None:
        changes = replace(changes, title=read_text(name, "name", MAX_NAME_CHARS))
    found = library.change_folder(request.branch, request.uid, changes, request.author)
    return {"notice": "Folder updated successfully.", "asset": folder_json(found)}


def delete_folder(library: Library, request: ManagementRequest) -> Json:
    """Delete a folder and its contents."""
    library.delete_folder(request.branch, request.uid)
    return {"notice": "Folder deleted successfully."}
