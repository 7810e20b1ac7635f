"""A library for each test, in either database, and one server for those tests that only ask."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cropmark.library.store import LibraryStore
from cropmark.model.assets import BranchRef
from tests.builders import make_images
from tests.library import postgres
from tests.library.builders import Shop, create_shop
from tests.requirements import must_have
from tests.web.server_process import Running, running


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    reason = postgres.unavailable_reason()
    if reason is not None and not must_have("postgresql"):
        pytest.skip(f"needs postgresql: {reason}")
    # Not below pytest's folder, which only root can read: PostgreSQL runs as another user.
    with tempfile.TemporaryDirectory(prefix="cropmark-postgres-") as folder, postgres.cluster(Path(folder)) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes the URL of an empty database; "" for the one in the library's own folder."""
    if request.param == "sqlite":
        return lambda: ""
    server: str = request.getfixturevalue("postgres_server")
    counter = iter(range(10_000))
    return lambda: postgres.new_database(server, f"{tmp_path.name}-{next(counter)}")


@pytest.fixture
def store(database: Callable[[], str], tmp_path: Path) -> Iterator[LibraryStore]:
    found = LibraryStore.open(tmp_path / "library", database())
    yield found
    found.close()


@pytest.fixture
def place(store: LibraryStore) -> BranchRef:
    return BranchRef(store.new_stack("shop").api_key)


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The library of `library_server`."""
    return create_shop(tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="session")
def library_server(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server over a folder and a library, without rate limits."""
    folder = make_images(tmp_path_factory.mktemp("pictures"))
    with running(
        str(folder),
        "--data",
        str(shop.data),
        cache=tmp_path_factory.mktemp("library-server") / "cache",
        environment={"CROPMARK_MANAGEMENT_REQUESTS_PER_S": "0", "CROPMARK_CONTENTSTACK__RATE_LIMIT": "0"},
    ) as found:
        yield found
