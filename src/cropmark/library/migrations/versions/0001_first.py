"""Creates the first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create all tables and the clock."""
    op.create_table(
        "changes",
        sa.Column("n", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("stack", sa.String(length=19), nullable=False),
        sa.Column("uid", sa.String(length=19), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("n", "place", name=op.f("pk_changes")),
    )
    op.create_index(op.f("ix_changes_at_ms"), "changes", ["at_ms"], unique=False)
    op.create_table(
        "clock",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clock")),
    )
    op.create_table(
        "stacks",
        sa.Column("api_key", sa.String(length=19), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("kontent_id", sa.String(length=36), nullable=False),
        sa.Column("secured", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("api_key", name=op.f("pk_stacks")),
        sa.UniqueConstraint("kontent_id", name=op.f("uq_stacks_kontent_id")),
        sa.UniqueConstraint("name", name=op.f("uq_stacks_name")),
    )
    op.create_table(
        "assets",
        sa.Column("uid", sa.String(length=19), nullable=False),
        sa.Column("stack", sa.String(length=19), nullable=False),
        sa.Column("branch", sa.String(length=255), nullable=False),
        sa.Column("is_dir", sa.Boolean(), nullable=False),
        sa.Column("parent_uid", sa.String(length=19), nullable=True),
        sa.Column("title", sa.String(length=255), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("slug", sa.String(length=255), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("updated_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["parent_uid"], ["assets.uid"], name=op.f("fk_assets_parent_uid"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["stack"], ["stacks.api_key"], name=op.f("fk_assets_stack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_assets")),
        sa.UniqueConstraint("stack", "branch", "origin", name=op.f("uq_assets_stack_branch_origin")),
    )
    op.create_index(op.f("ix_assets_parent_uid"), "assets", ["parent_uid"], unique=False)
    op.create_index(
        op.f("ix_assets_stack_branch_is_dir_created_ms_uid"),
        "assets",
        ["stack", "branch", "is_dir", "created_ms", "uid"],
        unique=False,
    )
    op.create_index(
        op.f("ix_assets_stack_branch_is_dir_title_uid"),
        "assets",
        ["stack", "branch", "is_dir", "title", "uid"],
        unique=False,
    )
    op.create_index(
        op.f("ix_assets_stack_branch_is_dir_updated_ms_uid"),
        "assets",
        ["stack", "branch", "is_dir", "updated_ms", "uid"],
        unique=False,
    )
    op.create_table(
        "environments",
        sa.Column("uid", sa.String(length=19), nullable=False),
        sa.Column("stack", sa.String(length=19), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["stack"], ["stacks.api_key"], name=op.f("fk_environments_stack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("uid", name=op.f("pk_environments")),
        sa.UniqueConstraint("stack", "name", name=op.f("uq_environments_stack_name")),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("stack", sa.String(length=19), nullable=True),
        sa.Column("environments", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("last_used_ms", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["stack"], ["stacks.api_key"], name=op.f("fk_keys_stack"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_keys")),
        sa.UniqueConstraint("digest", name=op.f("uq_keys_digest")),
    )
    op.create_table(
        "publications",
        sa.Column("asset", sa.String(length=19), nullable=False),
        sa.Column("environment", sa.String(length=19), nullable=False),
        sa.Column("locale", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.uid"], name=op.f("fk_publications_asset"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["environment"], ["environments.uid"], name=op.f("fk_publications_environment"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("asset", "environment", "locale", name=op.f("pk_publications")),
    )
    op.create_table(
        "published",
        sa.Column("asset", sa.String(length=19), nullable=False),
        sa.Column("environment", sa.String(length=19), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.uid"], name=op.f("fk_published_asset"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["environment"], ["environments.uid"], name=op.f("fk_published_environment"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("asset", "environment", "version", name=op.f("pk_published")),
    )
    op.create_table(
        "schedules",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("asset", sa.String(length=19), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("environments", sa.Text(), nullable=False),
        sa.Column("locales", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.uid"], name=op.f("fk_schedules_asset"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedules")),
    )
    op.create_index(op.f("ix_schedules_asset"), "schedules", ["asset"], unique=False)
    op.create_index(op.f("ix_schedules_at_ms"), "schedules", ["at_ms"], unique=False)
    op.create_table(
        "tags",
        sa.Column("asset", sa.String(length=19), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tag", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.uid"], name=op.f("fk_tags_asset"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("asset", "place", name=op.f("pk_tags")),
    )
    op.create_index(op.f("ix_tags_tag"), "tags", ["tag"], unique=False)
    op.create_table(
        "versions",
        sa.Column("asset", sa.String(length=19), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("file_uid", sa.String(length=24), nullable=False),
        sa.Column("file_id", sa.String(length=36), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("filename", sa.String(length=255), nullable=False),
        sa.Column("format", sa.String(length=8), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.ForeignKeyConstraint(["asset"], ["assets.uid"], name=op.f("fk_versions_asset"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("asset", "number", name=op.f("pk_versions")),
        sa.UniqueConstraint("file_id", name=op.f("uq_versions_file_id")),
        sa.UniqueConstraint("file_uid", name=op.f("uq_versions_file_uid")),
    )
    op.create_index(op.f("ix_versions_digest"), "versions", ["digest"], unique=False)
    op.create_index(op.f("ix_versions_filename"), "versions", ["filename"], unique=False)
    op.execute("INSERT INTO clock (id, n) VALUES (1, 0)")
