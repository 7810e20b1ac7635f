"""Programs that some tests need: the tests are skipped by name without them, and fail if they are required.

TESTS_REQUIRE lists the required programs, separated by commas. With `all`, which CI sets, every skip is a failure,
except those for MAY_BE_ABSENT and for rights or features that the machine does not have.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Final, TypeVar

import pytest

R = TypeVar("R", pytest.TestReport, pytest.CollectReport)

MUST = frozenset(os.environ.get("TESTS_REQUIRE", "").replace(" ", "").split(","))
MAY_BE_ABSENT: Final = ("atheris", "cargo", "dotnet", "go", "image", "javac")
"""Names that `all` does not contain: large, or not available for every Python, or built by root only."""
_IMPOSSIBLE: Final = (
    "only Linux",
    "RWF_NOWAIT",
    "root can write everywhere",
    "group of processes",
    "limit of memory",
    "mounting a tmpfs",
    "namespaces of mounts",
    "crates of the snippet",
    "too busy",
)
"""Words in the reasons of tests that some machines cannot run at all."""


def must_have(name: str) -> bool:
    """True if tests that need `name` must fail without it."""
    return name in MUST or ("all" in MUST and name not in MAY_BE_ABSENT)


def require(name: str, present: bool) -> pytest.MarkDecorator:
    """A mark that skips tests if `name` is absent and not required; required and absent, they run and fail."""
    return pytest.mark.skipif(not present and not must_have(name), reason=f"needs {name}, which is not installed")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Make a failure of a test that is skipped and must not be."""
    return _failed_if_required((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make a failure of a module that is skipped and must not be."""
    return _failed_if_required((yield))


def _failed_if_required(report: R) -> R:
    if "all" not in MUST or not report.skipped or hasattr(report, "wasxfail"):
        return report
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
    allowed = (*(f"needs {name}," for name in MAY_BE_ABSENT), *_IMPOSSIBLE)
    if not any(words in reason for words in allowed):
        report.outcome, report.longrepr = "failed", f"TESTS_REQUIRE=all permits no skip: {reason}"
    return report
