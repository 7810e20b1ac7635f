"""Brings a library's database to the tables of this version, by Alembic's migrations beside it."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.script.revision import ResolutionError
from alembic.util import CommandError
from sqlalchemy import Engine

from cropmark.library.errors import LibraryUnavailable

_FOLDER = Path(__file__).parent / "migrations"
_LOCK = 0x63726F70
"""Of PostgreSQL: two servers that start at the same moment migrate one after the other."""


def config() -> Config:
    """Alembic's configuration, without a file."""
    found = Config()
    found.set_main_option("script_location", str(_FOLDER))
    return found


def head() -> str | None:
    """The newest migration that there is."""
    return ScriptDirectory.from_config(config()).get_current_head()


def upgrade(engine: Engine) -> None:
    """All migrations that are missing, in one transaction. Raises LibraryUnusable for a newer library."""
    made = config()
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        made.attributes["connection"] = connection
        try:
            command.upgrade(made, "head")
        except (CommandError, ResolutionError) as error:
            raise LibraryUnavailable(
                "the library was made by a newer cropmark than this one", "upgrade cropmark"
            ) from error
