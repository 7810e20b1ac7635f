"""A failed test does not end the run, also with the Python of Debian 12. In CI, a skip is a failure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAILING = """\
import ast, gc

def parse_in_a_collection(phase, info):
    ast.parse("1")

def test_fails():
    gc.callbacks.append(parse_in_a_collection)
    assert {"a": 1} == {"a": 2}

def test_passes():
    pass

""" + "".join(f"x{line} = [{line}, {line}]\n" for line in range(2000))  # enough for a collection in ast.parse


SKIPPING = """\
import pytest

@pytest.mark.skipif(True, reason="needs django, which is not installed")
def test_needs_django():
    pass

@pytest.fixture
def missing():
    pytest.skip("needs node")

def test_needs_a_fixture(missing):
    pass

def test_needs_dotnet():
    pytest.skip("needs dotnet, which is not installed")

@pytest.mark.xfail(strict=True)
def test_fails():
    assert False
"""
MODULE = 'import pytest\npytest.importorskip("no_such_module")\n'

# fmt: off
SKIPS = [
    # TESTS_REQUIRE  ends with
    ("",             "4 skipped, 1 xfailed"),
    ("curl",         "4 skipped, 1 xfailed"),  # the mark of require() decides, not the report
    ("all",          "1 skipped, 1 xfailed, 3 errors"),
]
# fmt: on


@pytest.mark.parametrize(("required", "end"), SKIPS)
def test_a_skip_fails_if_everything_is_required(required: str, end: str, tmp_path: Path) -> None:
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    (tmp_path / "test_module.py").write_text(MODULE)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.requirements", f"--rootdir={tmp_path}"]
    command += ["--continue-on-collection-errors", str(tmp_path)]
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "TESTS_REQUIRE": required}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert end in ended.stdout, ended.stdout[-2000:]


def test_other_tests_run_after_a_failed_one(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import settings as settings\n")
    (tmp_path / "test_failing.py").write_text(FAILING)
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={tmp_path}", str(tmp_path)]
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert "1 failed, 1 passed" in ended.stdout, ended.stdout[-2000:]
    assert "Differing items" in ended.stdout
