"""Programs that some tests need: the tests are skipped by name without them, and fail if they are required.

TESTS_REQUIRE lists the required programs, separated by commas; CI sets it.
"""

from __future__ import annotations

import os

import pytest

MUST = frozenset(os.environ.get("TESTS_REQUIRE", "").replace(" ", "").split(","))


def require(name: str, present: bool) -> pytest.MarkDecorator:
    """A mark that skips tests if `name` is absent and not required; required and absent, they run and fail."""
    return pytest.mark.skipif(not present and name not in MUST, reason=f"needs {name}, which is not installed")
