"""The database: SQLite in a file, or PostgreSQL by its URL. One writer at a time, in either.

A transaction that writes raises the clock first, which keeps every other writer waiting until it has ended: changes
become visible in the order of their numbers, so that whoever has seen number n has seen all below it.
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
    """What a row of the table `changes` tells."""

    ASSET = "asset"
    WITHDRAWN = "withdrawn"
    """It was unpublished somewhere: renditions of it are dropped."""
    GONE = "gone"
    """It is deleted."""
    STACK = "stack"
    """Anything of the stack may be different."""
    KEYS = "keys"


@dataclass(slots=True)
class WriteTransaction:
    """A transaction that writes: its number, and what others have to be told of it."""

    connection: Connection
    n: int
    now_ms: int
    _count: int = field(default=0, repr=False)

    def record_change(self, kind: ChangeKind, stack: str = "", uid: str = "") -> None:
        """Every front is to forget what it knows of this."""
        row = {"n": self.n, "place": self._count, "kind": kind.value, "stack": stack, "uid": uid}
        self.connection.execute(insert(tables.changes).values(**row, at_ms=self.now_ms))
        self._count += 1


class Database:
    """Connections to one library. Plain calls, to be made in threads; raises Overloaded where it cannot be reached."""

    def __init__(self, url: URL, clock: Callable[[], float] = time.time) -> None:
        self.engine = _engine(url)
        self._clock = clock

    @classmethod
    def opened(cls, where: str | Path, clock: Callable[[], float] = time.time) -> Database:
        """The database at a URL, or in a folder; made where there is none, migrated where it is older.

        Raises LibraryUnusable.
        """
        found = cls(read_url(where), clock)
        try:
            found._migrate()
        except (DBAPIError, OSError) as error:
            found.close()
            why = str(getattr(error, "orig", error)).strip().partition("\n")[0]
            raise LibraryUnavailable(f"the library's database cannot be used: {why}", "check database_url") from error
        except LibraryUnavailable:
            found.close()
            raise
        return found

    @property
    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    @contextmanager
    def read_transaction(self) -> Iterator[Connection]:
        """A transaction that changes nothing."""
        with _reachable(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write_transaction(self) -> Iterator[WriteTransaction]:
        """A transaction that is kept whole where the block ends well, and leaves nothing behind where it does not."""
        with _reachable(), self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            raised = update(tables.clock).values(n=tables.clock.c.n + 1).returning(tables.clock.c.n)
            yield WriteTransaction(connection, connection.execute(raised).scalar_one(), self.now_ms)

    def close(self) -> None:
        self.engine.dispose()

    def _migrate(self) -> None:
        if _revision(self.engine) == HEAD:
            return
        from cropmark.library import migrate  # noqa: PLC0415 - Alembic takes its time, and is seldom needed

        migrate.upgrade(self.engine)


@contextmanager
def _reachable() -> Iterator[None]:
    """An unreachable or locked database is told as Overloaded; mistakes of ours stay what they are."""
    try:
        yield
    except OperationalError as error:
        log.warning("the library cannot be reached", why=str(error.orig))
        raise Overloaded("the library cannot be reached", fix="try again", retry_after_s=1) from error


def read_url(where: str | Path) -> URL:
    """The URL of a database, or of the file in a folder, which is made. Raises LibraryUnusable."""
    """Raises LibraryUnusable for what is no URL of a database that is known."""
    if isinstance(where, Path):
        try:
            where.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryUnavailable(f"{where} cannot be made: {error.strerror}", "name another with --data") from error
        return URL.create("sqlite", database=str(where / FILE))
    mend = "write postgresql://user@host/database"
    try:
        url = make_url(where)
    except ArgumentError as error:
        raise LibraryUnavailable("database_url: this is no URL", mend) from error
    if url.get_backend_name() == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() == "sqlite" and url.database:
        return url
    raise LibraryUnavailable(f"database_url: there is no support for {url.get_backend_name()}", mend)


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url)
        event.listen(engine, "connect", _as_wal)
        event.listen(engine, "begin", _begin)
        return engine
    try:
        return create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": 5})
    except (ImportError, NoSuchModuleError) as error:
        raise LibraryUnavailable("PostgreSQL's client is not installed", "install cropmark[postgres]") from error


def _as_wal(connection: Any, record: Any) -> None:  # as the driver hands them
    # The driver would begin transactions late, and never a reading one: _begin does it.
    connection.isolation_level = None
    for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MS}"):
        connection.execute(f"PRAGMA {setting}")


def _begin(connection: Connection) -> None:
    # IMMEDIATE: one that reads first and writes then would be refused if another wrote between.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _revision(engine: Engine) -> str | None:
    """The migration that the database is at; None where it is empty."""
    try:
        with engine.connect() as connection:
            found: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
            return found
    except (OperationalError, ProgrammingError) as error:
        if "alembic_version" in str(error.orig):
            return None
        raise
