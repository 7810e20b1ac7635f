"""The database: SQLite in a file, or PostgreSQL by its URL, with one writer at a time.

A write transaction first increments the clock, which blocks every other writer until it ends. Changes therefore become
visible in the order of their numbers: a reader that has seen number n has seen all below it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, insert, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError, ProgrammingError

from cropmark.library import tables
from cropmark.library.errors import FILE, LibraryUnavailable
from cropmark.model.problems import Overloaded

log = structlog.get_logger("cropmark.library")

HEAD = "0002"
"""The newest migration."""
_BUSY_MS = 15_000


class ChangeKind(Enum):
    """The kind of a row in the table `changes`."""

    ASSET = "asset"
    WITHDRAWN = "withdrawn"
    """The asset was unpublished in an environment; its renditions are dropped."""
    DELETED = "deleted"
    STACK = "stack"
    """Any entry of the stack may have changed."""
    KEYS = "keys"


@dataclass(slots=True)
class WriteTransaction:
    """A write transaction with its number `n`. Records changes for other fronts."""

    connection: Connection
    n: int
    now_ms: int
    _count: int = field(default=0, repr=False)

    def record_change(self, kind: ChangeKind, stack: str = "", uid: str = "") -> None:
        """Record a change, so that every front drops its cached lookups of the stack or the asset."""
        row = {"n": self.n, "place": self._count, "kind": kind.value, "stack": stack, "uid": uid}
        self.connection.execute(insert(tables.changes).values(**row, at_ms=self.now_ms))
        self._count += 1


class Database:
    """Connections to one library. All calls block. Raises Overloaded if the database cannot be reached."""

    def __init__(self, url: URL, clock: Callable[[], float] = time.time) -> None:
        self.engine = _engine(url)
        self._clock = clock

    @classmethod
    def open(cls, where: str | Path, clock: Callable[[], float] = time.time) -> Database:
        """The database at a URL or in a folder, created or migrated if necessary.

        Raises LibraryUnavailable.
        """
        database = cls(parse_url(where), clock)
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
    def read_transaction(self) -> Iterator[Connection]:
        """A read-only transaction."""
        with _translate_errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write_transaction(self) -> Iterator[WriteTransaction]:
        """A transaction that is committed at the end of the block and rolled back after an exception."""
        with (
            _translate_errors(),
            self.engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            increment = update(tables.clock).values(n=tables.clock.c.n + 1).returning(tables.clock.c.n)
            yield WriteTransaction(connection, connection.execute(increment).scalar_one(), self.now_ms)

    def close(self) -> None:
        self.engine.dispose()

    def _migrate(self) -> None:
        if _revision(self.engine) == HEAD:
            return
        from cropmark.library import migrate  # noqa: PLC0415 - Alembic is slow to import and seldom needed

        migrate.upgrade(self.engine)


@contextmanager
def _translate_errors() -> Iterator[None]:
    """Raise Overloaded if the database is unreachable or locked; other errors are ours and pass."""
    try:
        yield
    except OperationalError as error:
        log.warning("the library cannot be reached", why=str(error.orig))
        raise Overloaded("the library cannot be reached", fix="try again", retry_after_s=1) from error


def parse_url(where: str | Path) -> URL:
    """The URL of a database, or of the SQLite file in a folder, which is created. Raises LibraryUnavailable."""
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


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 5})
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
    """The database's current migration; None if it is empty."""
    try:
        with engine.connect() as connection:
            revision: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return revision
    except (OperationalError, ProgrammingError) as error:
        if "alembic_version" in str(error.orig):
            return None
        raise
