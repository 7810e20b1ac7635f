"""docs/security.md: every check has its line, and every test that is named there exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TESTS = ROOT / "tests"
_CHECK = re.compile(r"def test_check_(\d+)_")
PAGE = (ROOT / "docs/security.md").read_text("utf-8")
ROWS = {int(found[1]): found[2] for found in re.finditer(r"^\| (\d+) \| (.+) \|$", PAGE, re.MULTILINE)}


def test_every_check_has_its_line() -> None:
    named = {int(number) for path in TESTS.rglob("test_*.py") for number in _CHECK.findall(path.read_text("utf-8"))}
    assert named | set(range(1, 54)) <= set(ROWS)


@pytest.mark.parametrize("number", ROWS)
def test_its_tests_exist_or_it_has_a_reason(number: int) -> None:
    tests = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", ROWS[number])
    if not tests:
        assert re.search(r"\| not yet: .{40,}", ROWS[number])
    for path, name in tests:
        tree = ast.parse((ROOT / path).read_text("utf-8"))
        functions = [n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
        assert name in functions or (not name and functions), f"{path}::{name}"
