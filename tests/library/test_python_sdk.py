"""The vendor's own Python SDK drives the management API: nothing of it is changed but the host."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.library.builders import Shop, png
from tests.requirements import require
from tests.web.server_process import Running

INSTALLED = find_spec("contentstack_management") is not None
pytestmark = require("contentstack-management", INSTALLED)
if INSTALLED:
    sdk: Any = import_module("contentstack_management")  # it brings no types


@pytest.fixture
def assets(library_server: Running, shop: Shop) -> Any:  # the SDK brings no types
    host = library_server.address.removeprefix("http://")
    client = sdk.Client(management_token=shop.token, host=host, scheme="http://")
    stack = client.stack(shop.stack.api_key)
    return stack.assets


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "owl.png"
    path.write_bytes(png())
    return str(path)


IN_PRODUCTION = {"asset": {"locales": ["en-us"], "environments": ["production"]}, "version": 1}


def test_upload_publish_list_replace_unpublish_delete(
    assets: Any, file: str, tmp_path: Path, library_server: Running
) -> None:
    answer = assets().upload(file)
    assert answer.status_code == 201, answer.text
    asset = answer.json()["asset"]
    assert asset["filename"] == "owl.png"
    path = asset["url"].removeprefix(library_server.address)
    production = f"{path}?environment=production&width=20"
    assert library_server.get(production).status_code == 404  # an upload is not published

    # After an upload this SDK sends JSON without a Content-Type.
    answer = assets(asset["uid"]).publish(IN_PRODUCTION)
    assert (answer.status_code, answer.json()["notice"]) == (200, "Asset sent for publishing.")
    assert library_server.get(production).status_code == 200

    listed = assets().find().json()["assets"]
    details = next(one for one in listed if one["uid"] == asset["uid"])["publish_details"]
    assert [(one["locale"], one["version"]) for one in details] == [("en-us", 1)]

    other = tmp_path / "other.png"
    other.write_bytes(png(10))
    answer = assets(asset["uid"]).replace(str(other))  # the file field is plainly called `asset`
    assert answer.status_code == 200, answer.text
    new = answer.json()["asset"]
    assert (new["uid"], new["_version"], new["filename"]) == (asset["uid"], 2, "other.png")
    assert new["url"] != asset["url"]
    assert library_server.get(production).status_code == 200  # still published as it was
    assert (
        library_server.get(new["url"].removeprefix(library_server.address) + "?environment=production").status_code
        == 404
    )

    assert [one["_version"] for one in assets(asset["uid"]).version().json()["versions"]] == [2, 1]
    answer = assets(asset["uid"]).version_naming(1, {"upload": {"_version_name": "the first"}})
    assert answer.status_code == 201, answer.text
    assert [one.get("_version_name") for one in assets(asset["uid"]).version().json()["versions"]] == [
        None,
        "the first",
    ]
    assert assets(asset["uid"]).version_delete(1).status_code == 200
    assert assets(asset["uid"]).references().json() == {"references": [], "count": 0}
    assert assets(asset["uid"]).update({"asset": {"title": "An owl"}}).json()["asset"]["title"] == "An owl"
    assert assets(asset["uid"]).fetch().json()["asset"]["title"] == "An owl"

    answer = assets(asset["uid"]).unpublish(IN_PRODUCTION)
    assert (answer.status_code, answer.json()["notice"]) == (200, "Asset sent for unpublishing.")
    assert library_server.get(production).status_code == 404

    assert assets(asset["uid"]).delete().json()["notice"] == "Asset deleted successfully."
    answer = assets(asset["uid"]).fetch()
    assert (answer.status_code, answer.json()["error_code"]) == (422, 145)
    assert library_server.get(path).status_code == 404


def test_folders(assets: Any) -> None:
    answer = assets().create_folder(json.dumps({"asset": {"name": "Demo"}}))  # given a dict, it would send a form
    assert (answer.status_code, answer.json()["notice"]) == (201, "Folder created successfully.")
    uid = answer.json()["asset"]["uid"]
    assert assets().folder(uid).json()["asset"]["name"] == "Demo"
    assert assets().delete_folder(uid).json()["notice"] == "Folder deleted successfully."


def test_a_wrong_token_is_401(library_server: Running, shop: Shop) -> None:
    host = library_server.address.removeprefix("http://")
    client = sdk.Client(management_token="cs0123456789abcdef0123456789abcdef", host=host, scheme="http://")
    answer = client.stack(shop.stack.api_key).assets().find()
    assert (answer.status_code, answer.json()["error_code"]) == (401, 105)
