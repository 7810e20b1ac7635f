"""docs/tutorial-library.md, every command of it as it stands there, but for the port."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from PIL import Image

from tests.ports import free_port
from tests.requirements import require

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial-library.md"
VENV = ROOT / ".venv"

pytestmark = require("curl", shutil.which("curl") is not None and (VENV / "bin" / "cropmark").exists())


def script() -> str:
    """All blocks of commands, in their order."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    return "set -euo pipefail\nset -m\n" + "\n".join(blocks).replace("8123", str(free_port()))


def test_the_tutorial_runs_word_for_word(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(VENV)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CROPMARK_")}
    with (tmp_path / "told").open("w") as output:  # no pipe: a server left behind would keep it open
        shell = subprocess.Popen(
            ["bash", "-c", script()],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(timeout=90)
        finally:
            subprocess.run(["pkill", "-9", "-s", str(shell.pid)], check=False)  # the session that was begun here
    told = (tmp_path / "told").read_text("utf-8")
    assert shell.returncode == 0, told
    assert "2 added" in told
    with Image.open(tmp_path / "shop" / "square.jpg") as square:
        assert square.size == (300, 300)
    with (
        Image.open(tmp_path / "shop" / "still-the-old-one.jpg") as old,
        Image.open(ROOT / "examples" / "images" / "rocket.jpg") as new,
    ):
        assert old.size != new.size
    assert '"title": "A rocket"' in told
