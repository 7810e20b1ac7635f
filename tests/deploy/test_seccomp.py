"""deploy/seccomp.json: the server and the sandbox of its renderers work under it; new namespaces and mounts do not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.builders import make_images
from tests.deploy.proxies import DEPLOY
from tests.requirements import require
from tests.web.server_process import running

PROFILE = DEPLOY / "seccomp.json"
pytestmark = require("seccomp", sys.platform == "linux")

UNDER_THE_PROFILE = """
import json, os, sys
import seccompy
from seccompy import Action, ArgCmp, CmpOp

profile = json.load(open(sys.argv[1]))
rules = seccompy.Filter(Action.ERRNO | profile["defaultErrnoRet"])
for row in profile["syscalls"]:
    for name in row["names"]:
        try:
            seccompy.syscall_nr(name)
        except ValueError:
            continue  # of another architecture
        args = [
            ArgCmp(one["index"], CmpOp.EQ, one["value"])
            if one["op"] == "SCMP_CMP_EQ"
            else ArgCmp(one["index"], CmpOp.MASKED_EQ, one["valueTwo"], one["value"])
            for one in row.get("args", ())
        ]
        if row["action"] == "SCMP_ACT_ALLOW":
            rules.allow(name, args=args)
        else:
            rules.errno(name, row["errnoRet"])
rules.load()
os.execv(sys.argv[2], sys.argv[2:])
"""
UNDER = (sys.executable, "-c", UNDER_THE_PROFILE, str(PROFILE))


def test_server_and_sandbox_work_under_the_profile(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    make_images(images)
    with running(str(images), "--require-sandbox", cache=tmp_path / "cache", under=UNDER) as server:
        for query in ("width=60", "width=61&format=webp", "crop=1:1,smart&width=62"):
            assert server.get(f"/fastly/wide.jpg?{query}").status_code == 200
        assert server.get("/readyz").json()["sandbox"]["complete"] is True
        assert server.purge(source="wide.jpg").status_code == 200


def test_namespaces_and_mounts_are_refused() -> None:
    for command in (["/usr/bin/unshare", "--user", "true"], ["/bin/mount", "-t", "tmpfs", "tmpfs", "/mnt"]):
        refused = subprocess.run([*UNDER, *command], capture_output=True, text=True, check=False)
        assert refused.returncode != 0
        assert "not permitted" in refused.stderr or "denied" in refused.stderr


def test_no_call_is_listed_twice() -> None:
    rows = json.loads(PROFILE.read_text())["syscalls"]
    plain = [name for row in rows if "args" not in row for name in row["names"]]
    assert len(plain) == len(set(plain))
