"""The vendor's JavaScript library manages the library (manage.mjs); its effects are checked over HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.library.builders import Shop, png
from tests.requirements import require
from tests.web.server_process import Running

HERE = Path(__file__).parent
NODE = shutil.which("node")
INSTALLED = NODE is not None and (HERE / "node_modules" / "@contentstack" / "management").is_dir()

pytestmark = require("node", INSTALLED)


def steps(server: Running, shop: Shop, folder: Path) -> dict[str, Any]:
    """The results of the script, by step."""
    files = []
    for name, red in (("owl.png", 200), ("other.png", 10)):
        (folder / name).write_bytes(png(red))
        files.append(str(folder / name))
    assert NODE is not None
    command = [NODE, str(HERE / "manage.mjs"), f"{server.address}/v3", shop.stack.api_key, shop.token, *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:] + server.log.read_text()[-2000:]
    return {reply.pop("step"): reply for reply in map(json.loads, done.stdout.splitlines())}


def test_the_javascript_library_uploads_publishes_replaces_and_deletes(
    library_server: Running, shop: Shop, tmp_path: Path
) -> None:
    reply = steps(library_server, shop, tmp_path)
    uploaded = reply["upload"]
    assert (uploaded["title"], uploaded["tags"], uploaded["version"]) == ("An owl", ["bird", "night"], 1)
    assert uploaded["url"].startswith(f"{library_server.address}/v3/assets/{shop.stack.api_key}/{uploaded['uid']}/")
    assert reply["publish"] == {"notice": "Asset sent for publishing."}
    assert reply["list"] == {"count": 1, "published": [1]}
    assert reply["update"] == {"title": "The owl", "version": 1}
    assert reply["replace"]["version"] == 2
    assert reply["replace"]["url"].endswith("/other.png")
    assert reply["unpublish"] == {"notice": "Asset sent for unpublishing."}
    assert reply["delete"] == {"notice": "Asset deleted successfully."}
    assert reply["gone"] == {"status": 422, "error_code": 145, "message": "Asset was not found."}
    assert reply["folder"] == {"name": "Birds", "is_dir": True}
    assert "production" in reply["environments"]["names"]
    assert reply["stranger"] == {"status": 401, "error_code": 105}
    assert library_server.get(uploaded["url"].removeprefix(library_server.address)).status_code == 404
