"""Runs the migrations, with the connection and the transaction of migrate.upgrade()."""

from __future__ import annotations

from alembic import context

from cropmark.library.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
