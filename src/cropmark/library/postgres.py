"""Connections to PostgreSQL on which every call ends within a time limit.

Two limits: PostgreSQL itself cancels a statement after the limit. If the server or the network hangs, nothing answers,
so a second after the limit the client closes the connection.
"""

from __future__ import annotations

import math
from typing import Any, Final

import psycopg
from psycopg.abc import RV, PQGen
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL

GRACE_S: Final = 1.0
"""Time for the server to report that it cancelled a statement."""


class TimedConnection(psycopg.Connection[Any]):
    """A connection that waits at most `timeout_s` for each response of the server, and is closed after that."""

    timeout_s: float

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """The result of the generator. Raises OperationalError."""
        try:
            return super().wait(gen, interval, self.timeout_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # still waiting for a result
                self.pgconn.finish()
            raise


def engine(url: URL, timeout_s: float) -> Engine:
    """An engine with a time limit for each statement: `timeout_s`, or the execution option of that name."""
    connect_args = {} if "connect_timeout" in url.query else {"connect_timeout": math.ceil(timeout_s)}
    created = create_engine(url, pool_pre_ping=True, pool_timeout=timeout_s, connect_args=connect_args)

    @event.listens_for(created, "do_connect")
    def connect(dialect: Any, record: Any, args: Any, options: dict[str, Any]) -> TimedConnection:  # SQLAlchemy's types
        connection = TimedConnection.connect(*args, **options)
        connection.timeout_s = timeout_s
        return connection

    @event.listens_for(created, "begin")
    def begin(connection: Connection) -> None:
        limit_s: float = connection.get_execution_options().get("timeout_s", timeout_s)
        _driver(connection.connection).timeout_s = limit_s + GRACE_S
        # For this transaction only: a connection pooler may share the session with other programs.
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {math.ceil(limit_s * 1000)}")

    @event.listens_for(created, "checkin")
    def checkin(connection: TimedConnection | None, record: Any) -> None:  # SQLAlchemy's types
        if connection is not None:
            connection.timeout_s = timeout_s

    return created


def _driver(connection: Any) -> TimedConnection:  # SQLAlchemy's pooled connection
    driver: TimedConnection = connection.driver_connection
    return driver
