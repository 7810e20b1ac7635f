"""The engine's tests run in a libvips that is set up as in a renderer."""

from __future__ import annotations

import pytest

from cropmark.engine import load


@pytest.fixture(scope="session", autouse=True)
def _prepared() -> None:
    load.prepare()
