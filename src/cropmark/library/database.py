"""The library's database: an SQLite file, or PostgreSQL at a URL. Only one transaction writes at a time.

A write transaction begins by incrementing a counter, the library's clock. That blocks all other writers until the
transaction ends. So changes become visible in the order of their numbers: a reader that sees change n sees all changes
before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, insert, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from cropmark.library import tables
from cropmark.library.errors import FILE, LibraryUnavailable
from cropmark.model.problems import DatabaseUnavailable

HEAD = "0003"
"""The revision of the newest migration."""
TIMEOUT_S: Final = 5.0
"""Default time limit of a query and of connecting to PostgreSQL."""
WRITE_FACTOR: Final = 3
"""The time limit of a write transaction, as a multiple of a query's limit. It includes the wait for other writers."""
_BUSY_MS = 15_000


class ChangeKind(Enum):
    """The kind of a change, as stored in the table `changes`."""

    ASSET = "asset"
    WITHDRAWN = "withdrawn"
    """The asset was unpublished in an environment. Its cached renditions are dropped."""
    DELETED = "deleted"
    STACK = "stack"
    """Any entry of the stack may have changed."""
    KEYS = "keys"
    SCHEDULED = "scheduled"
    """The asset will be unpublished at a later time."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change to the library: its kind, and the uids of the changed stack and asset.

    `n` is the number of the write transaction that made the change.
    """

    n: int
    kind: ChangeKind
    stack: str
    uid: str


@dataclass(slots=True)
class WriteTransaction:
    """A write transaction in progress. `n` is its number: the new value of the library's clock."""

    connection: Connection
    n: int
    now_ms: int
    changes: list[Change] = field(default_factory=list, repr=False)

    def record_change(self, kind: ChangeKind, stack: str = "", uid: str = "") -> None:
        """Record a change. Every front (HTTP process) then drops its cached lookups of the stack or the asset."""
        row = {"n": self.n, "place": len(self.changes), "kind": kind.value, "stack": stack, "uid": uid}
        self.connection.execute(insert(tables.changes).values(**row, at_ms=self.now_ms))
        self.changes.append(Change(self.n, kind, stack, uid))


class Database:
    """The connections to a library's database. All calls block.

    Calls raise DatabaseUnavailable if the database does not respond. `before_commit` is called before each commit, with
    the changes of the write transaction. The commit may still fail after that.
    """

    def __init__(self, url: URL, clock: Callable[[], float] = time.time, *, timeout_s: float = TIMEOUT_S) -> None:
        self.engine = _engine(url, timeout_s)
        self.before_commit: Callable[[Sequence[Change]], None] = lambda changes: None
        self._write_timeout_s = timeout_s * WRITE_FACTOR
        self._clock = clock

    @classmethod
    def open(
        cls, where: str | Path, clock: Callable[[], float] = time.time, *, timeout_s: float = TIMEOUT_S
    ) -> Database:
        """Open the database at a URL or in a folder. Creates or migrates the database if necessary.

        `timeout_s` limits each query of PostgreSQL; an SQLite file has no such limit. Raises LibraryUnavailable.
        """
        database = cls(parse_url(where), clock, timeout_s=timeout_s)
        try:
            database._migrate()
        except (DBAPIError, OSError) as error:
            database.close()
            why = str(getattr(error, "orig", error)).strip().partition("\n")[0]
            raise LibraryUnavailable(f"the library's database cannot be used: {why}", "check database_url") from error
        except LibraryUnavailable:
            database.close()
            raise
        return database

    @property
    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    @contextmanager
    def read_transaction(self, *, timeout_s: float | None = None) -> Iterator[Connection]:
        """A read-only transaction. `timeout_s` replaces the default time limit of its queries."""
        options = {} if timeout_s is None else {"timeout_s": timeout_s}
        with _translate_errors(), self.engine.connect().execution_options(**options) as connection:
            yield connection

    @contextmanager
    def write_transaction(self) -> Iterator[WriteTransaction]:
        """A transaction that is committed at the end of the block and rolled back after an exception."""
        options = {"writes": True, "timeout_s": self._write_timeout_s}
        with _translate_errors(), self.engine.connect().execution_options(**options) as connection, connection.begin():
            increment = update(tables.clock).values(n=tables.clock.c.n + 1).returning(tables.clock.c.n)
            transaction = WriteTransaction(connection, connection.execute(increment).scalar_one(), self.now_ms)
            yield transaction
            self.before_commit(transaction.changes)

    def close(self) -> None:
        self.engine.dispose()

    def _migrate(self) -> None:
        if _revision(self.engine) == HEAD:
            return
        from cropmark.library import migrate  # noqa: PLC0415 - Alembic is slow to import and seldom needed

        migrate.upgrade(self.engine)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Translate the errors of a database that does not respond or is locked to DatabaseUnavailable.

    Other errors are bugs, and are raised unchanged.
    """
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise database_unavailable() from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise database_unavailable() from error


def database_unavailable() -> DatabaseUnavailable:
    return DatabaseUnavailable("the library's database does not respond", fix="try again", retry_after_s=1)


def parse_url(where: str | Path) -> URL:
    """The URL of a database for SQLAlchemy. `where` is a URL, or the folder of an SQLite file.

    Creates the folder if it does not exist. Raises LibraryUnavailable.
    """
    if isinstance(where, Path):
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryUnavailable(
                f"{where} cannot be created: {error.strerror}", "name another folder with --data"
            ) from error
        return URL.create("sqlite", database=str(where / FILE))
    fix = "write postgresql://user@host/database"
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise LibraryUnavailable("database_url: not a valid URL", fix) from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return url
    raise LibraryUnavailable(f"database_url: {url.get_backend_name()} is not supported", fix)


def _engine(url: URL, timeout_s: float) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        from cropmark.library import postgres  # noqa: PLC0415 - its client is an optional package

        return postgres.engine(url, timeout_s)
    except (ImportError, NoSuchModuleError) as error:
        raise LibraryUnavailable("PostgreSQL's client is not installed", "install cropmark[postgres]") from error


def _configure_sqlite(connection: Any, record: Any) -> None:  # SQLAlchemy's types
    # The driver begins a transaction at the first write only; _begin does it explicitly instead.
    connection.isolation_level = None
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: Connection) -> None:
    # IMMEDIATE: SQLite rejects a write after a read in one transaction if another process wrote in between.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(engine: Engine) -> str | None:
    """The revision of the database's last migration; None if the database is empty."""
    try:
        with engine.connect() as connection:
            revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return revision
    except (OperationalError, ProgrammingError) as error:
        if "alembic_version" in str(error.orig):
            return None
        raise
