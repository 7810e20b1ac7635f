"""What some tests need besides Python: skipped by name for a user who lacks it, failed where it must be there.

TESTS_REQUIRE, a comma list, says what must be; CI sets it.
"""

from __future__ import annotations

import os

import pytest

MUST = frozenset(os.environ.get("TESTS_REQUIRE", "").replace(" ", "").split(","))


def require(name: str, present: bool) -> pytest.MarkDecorator:
    """Skips where `name` is not there, unless it must be: then the tests run, and fail."""
    return pytest.mark.skipif(not present and name not in MUST, reason=f"needs {name}, which is not here")
