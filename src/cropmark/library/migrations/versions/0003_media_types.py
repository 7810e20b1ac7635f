"""Adds the media types of versions that are not images."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column versions.media_type."""
    op.add_column("versions", sa.Column("media_type", sa.String(length=127), nullable=True))
