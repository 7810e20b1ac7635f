"""Adds the names of versions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column versions.name."""
    op.add_column("versions", sa.Column("name", sa.String(length=255), nullable=True))
