"""One server process for all tests that only send requests, over a folder of small images."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import make_images
from tests.web.server_process import Running, running


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small images, which tests must not change."""
    return make_images(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def server(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(str(pictures), cache=tmp_path_factory.mktemp("server") / "cache") as found:
        yield found
