"""Connections to PostgreSQL on which every call ends within a time limit.

PostgreSQL cancels a statement after the limit. If the server or the network hangs, the client closes the connection a
second after the limit.
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
"""Additional time for the server to report that it cancelled the statement. Then the client closes the connection."""


class TimedConnection(psycopg.Connection[Any]):
    """A connection that waits at most `timeout_s` for a response of the server, then closes itself."""

    timeout_s: float

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Run a psycopg generator within the time limit, and return its result.

        Raises OperationalError. If the server has not responded, also closes the connection.
        """
        try:
            return super().wait(gen, interval, self.timeout_s if timeout is None else timeout)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:  # still waiting for a result
                self.pgconn.finish()
            raise


def engine(url: URL, timeout_s: float) -> Engine:
    """A SQLAlchemy engine that limits each statement to `timeout_s`.

    The execution option `timeout_s` of a connection replaces this limit.
    """
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
