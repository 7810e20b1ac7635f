"""A library for each test, and one server for those that only ask."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cropmark.assets import Place
from cropmark.library.store import Store
from tests.library.making import Shop, shop
from tests.web.pictures import make_pictures
from tests.web.running import Running, running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store.opened(tmp_path / "library")
    yield found
    found.close()


@pytest.fixture
def place(store: Store) -> Place:
    return Place(store.new_stack("shop").api_key)


@pytest.fixture(scope="session")
def own_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The library of `library_server`."""
    return shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def library_server(own_shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server over a folder and a library, which counts nobody's calls."""
    folder = make_pictures(tmp_path_factory.mktemp("pictures"))
    with running(
        str(folder),
        "--data",
        str(own_shop.data),
        cache=tmp_path_factory.mktemp("library-server") / "cache",
        environment={"CROPMARK_MANAGEMENT_RATE": "0", "CROPMARK_CONTENTSTACK__RATE_LIMIT": "0"},
    ) as found:
        yield found
