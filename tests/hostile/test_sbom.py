"""check_49: the bill of the native libraries inside the wheels."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import pyvips

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = json.loads((ROOT / "docs" / "sbom.json").read_text("utf-8"))


def natives(wheel: str) -> dict[str, dict[str, Any]]:
    """The file names in a wheel."""
    (found,) = [one for one in DOCUMENT["components"] if one["name"] == wheel]
    return {one["name"]: one for one in found["components"]}


@pytest.fixture(scope="module")
def reported() -> subprocess.CompletedProcess[str]:
    """The check of the bill."""
    command = [sys.executable, str(ROOT / "tools" / "sbom.py"), "--check"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_check_49_the_bill_is_that_of_what_is_installed(reported: subprocess.CompletedProcess[str]) -> None:
    assert reported.returncode == 0, reported.stdout


def test_check_49_libvips_is_the_one_that_runs(reported: subprocess.CompletedProcess[str]) -> None:
    if "created on another system" in reported.stdout:
        pytest.skip("the bill is of another system")
    assert natives("pyvips-binary")["libvips"]["version"] == ".".join(str(pyvips.version(n)) for n in range(3))


TOLD = ["libvips", "aom", "mozjpeg", "libpng", "zlib-ng", "libarchive"]
UNTOLD = ["libheif", "librsvg", "libwebp", "libtiff", "lcms2"]


@pytest.mark.parametrize("name", TOLD)
def test_check_49_what_tells_its_version_has_one(name: str) -> None:
    assert natives("pyvips-binary")[name]["version"][0].isdigit()


@pytest.mark.parametrize("name", UNTOLD)
def test_check_49_what_does_not_tell_is_listed_and_says_so(name: str) -> None:
    one = natives("pyvips-binary")[name]
    assert "version" not in one
    assert {"name": "cropmark:version", "value": "unknown"} in one["properties"]


def test_check_49_every_wheel_with_native_parts_is_there() -> None:
    names = {one["name"] for one in DOCUMENT["components"]}
    assert {"pyvips-binary", "granian", "aiohttp", "obstore", "onnxruntime", "numpy", "pydantic-core"} <= names
    assert DOCUMENT["bomFormat"] == "CycloneDX"
