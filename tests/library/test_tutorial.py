"""docs/tutorial-library.md: every command runs as it is written there, except for the port."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from PIL import Image

from tests.ports import free_port
from tests.processes import kill_session
from tests.requirements import require

ROOT = Path(__file__).parents[2]
TUTORIAL = ROOT / "docs" / "tutorial-library.md"
VENV = ROOT / ".venv"

pytestmark = require("curl", shutil.which("curl") is not None and (VENV / "bin" / "cropmark").exists())


def script() -> str:
    """All blocks of commands, in their order, as one script."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", TUTORIAL.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 7
    return "set -euo pipefail\nset -m\n" + "\n".join(blocks).replace("8123", str(free_port()))


def test_the_tutorial_runs_word_for_word(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(VENV)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CROPMARK_")}
    with (tmp_path / "output").open("w") as file:  # a file: a pipe would stay open if a server survived
        shell = subprocess.Popen(
            ["bash", "-c", script()],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.wait(timeout=90)
        finally:
            kill_session(shell.pid)
    output = (tmp_path / "output").read_text("utf-8")
    assert shell.returncode == 0, output
    assert "2 added" in output
    with Image.open(tmp_path / "shop" / "square.jpg") as square:
        assert square.size == (300, 300)
    with (
        Image.open(tmp_path / "shop" / "still-the-old-one.jpg") as old,
        Image.open(ROOT / "examples" / "images" / "rocket.jpg") as new,
    ):
        assert old.size != new.size
    assert '"title": "A rocket"' in output
