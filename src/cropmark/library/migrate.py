"""Upgrades the tables of a library's database, with the Alembic migrations in `migrations/`."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Engine

from cropmark.library.errors import LibraryUnavailable

LONG_TIMEOUT_S = 3600.0
"""Time limit of statements that read or rewrite a whole table: migrations and the search for garbage."""

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x63726F70
"""Number of PostgreSQL's advisory lock: servers that start at the same time migrate one after the other."""


def config() -> Config:
    """Alembic's configuration, built here instead of read from a file."""
    alembic = Config()
    alembic.set_main_option("script_location", str(_FOLDER))
    return alembic


def head() -> str | None:
    """The revision of the newest migration in `migrations/`."""
    return ScriptDirectory.from_config(config()).get_current_head()


def upgrade(engine: Engine) -> None:
    """Run all missing migrations in one transaction.

    Raises LibraryUnavailable if the database belongs to a newer version of cropmark.
    """
    alembic = config()
    options = {"writes": True, "timeout_s": LONG_TIMEOUT_S}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        alembic.attributes["connection"] = connection
        try:
            command.upgrade(alembic, "head")
        except (CommandError, ResolutionError) as error:
            raise LibraryUnavailable(
                "the library was created by a newer version of cropmark", "upgrade cropmark"
            ) from error
