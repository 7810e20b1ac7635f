"""docs/running.md: every command runs as it is written there, except for the port. `cropmark` is forked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from PIL import Image

from tests import command
from tests.ports import free_port
from tests.processes import kill_session
from tests.requirements import require

ROOT = Path(__file__).parents[1]
BIN = ROOT / ".venv" / "bin"

pytestmark = [
    require("curl", shutil.which("curl") is not None and (BIN / "cropmark").exists()),
    require("openssl", shutil.which("openssl") is not None),
]


def test_the_page_runs_word_for_word(tmp_path: Path) -> None:
    blocks = re.findall(
        r"^```sh\n(.*?)^```$", (ROOT / "docs" / "running.md").read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert len(blocks) == 6
    script = "set -euo pipefail\nset -mx\n" + "\n".join(blocks).replace("8123", str(free_port()))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CROPMARK_")}
    (tmp_path / "bin").mkdir()
    descriptor = command.script(tmp_path / "bin")
    with (tmp_path / "output").open("w") as file:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={**environment, "PATH": f"{tmp_path / 'bin'}:{BIN}:{environment['PATH']}"},
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(timeout=240)
        finally:
            kill_session(shell.pid)
    output = (tmp_path / "output").read_text("utf-8")
    assert shell.returncode == 0, output
    for name, width in (("first.jpg", 300), ("second.jpg", 301), ("third.jpg", 302)):
        with Image.open(tmp_path / name) as image:
            assert image.width == width
    assert "cropmark_requests_total{" in output
    assert "rocket" in output
