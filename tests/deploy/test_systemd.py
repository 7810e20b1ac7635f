"""deploy/systemd/cropmark.service: systemd understands it, and judges its confinement."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.proxies import DEPLOY, replaced
from tests.requirements import require

UNIT = DEPLOY / "systemd" / "cropmark.service"
pytestmark = require("systemd-analyze", shutil.which("systemd-analyze") is not None)


def test_systemd_finds_no_error(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(replaced(UNIT.read_text(), ("/opt/cropmark/bin/cropmark", "/bin/true")))
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_its_exposure_is_below_two_of_ten() -> None:
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(UNIT)]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout[-500:]


@pytest.mark.parametrize("call", ["seccomp", "landlock_restrict_self", "setpriority"])
def test_the_renderers_can_confine_themselves(call: str) -> None:
    """A filter line permits the system calls of the sandbox."""
    filters = [line.partition("=")[2] for line in UNIT.read_text().splitlines() if line.startswith("SystemCallFilter=")]
    assert any(call in line.split() for line in filters if not line.startswith("~"))
