"""The tables of the library's database, for SQLite and PostgreSQL.

A change of a table needs a migration. A test compares the tables with the migrations.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("n", BigInteger, nullable=False),
)
"""One row with the library's clock. A write transaction first increments `n`, so that only one transaction writes."""

changes = Table(
    "changes",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("kind", String(16), nullable=False),
    Column("stack", String(19), nullable=False),
    Column("uid", String(19), nullable=False),
    Column("at_ms", BigInteger, nullable=False, index=True),
)
"""The changes of the last day. Every front reads them to invalidate its cached lookups."""

stacks = Table(
    "stacks",
    metadata,
    Column("api_key", String(19), primary_key=True),
    Column("name", String(255), nullable=False, unique=True),
    Column("kontent_id", String(36), nullable=False, unique=True),
    Column("secured", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

environments = Table(
    "environments",
    metadata,
    Column("uid", String(19), primary_key=True),
    Column("stack", ForeignKey("stacks.api_key", ondelete="CASCADE"), nullable=False),
    Column("name", String(255), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    UniqueConstraint("stack", "name"),
)

assets = Table(
    "assets",
    metadata,
    Column("uid", String(19), primary_key=True),
    Column("stack", ForeignKey("stacks.api_key", ondelete="CASCADE"), nullable=False),
    Column("branch", String(255), nullable=False),
    Column("is_dir", Boolean, nullable=False),
    Column("parent_uid", ForeignKey("assets.uid", ondelete="CASCADE"), nullable=True, index=True),
    Column("title", String(255), nullable=False),
    Column("description", Text, nullable=False),
    Column("slug", String(255), nullable=True),
    Column("version", Integer, nullable=False),
    Column("origin", Text, nullable=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("updated_by", String(255), nullable=False),
    UniqueConstraint("stack", "branch", "origin"),
    Index(None, "stack", "branch", "is_dir", "updated_ms", "uid"),
    Index(None, "stack", "branch", "is_dir", "created_ms", "uid"),
    Index(None, "stack", "branch", "is_dir", "title", "uid"),
)
"""Assets and folders. `version` is the number of the newest version, 0 for a folder.

`origin` identifies an imported asset: the path of its file, or the vendor and the vendor's id.
"""

tags = Table(
    "tags",
    metadata,
    Column("asset", ForeignKey("assets.uid", ondelete="CASCADE"), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("tag", String(255), nullable=False, index=True),
)

NO_IMAGE = ""
"""The column `format` of a version that is not an image."""

versions = Table(
    "versions",
    metadata,
    Column("asset", ForeignKey("assets.uid", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("file_uid", String(24), nullable=False, unique=True),
    Column("file_id", String(36), nullable=False, unique=True),
    Column("digest", String(64), nullable=False, index=True),
    Column("filename", String(255), nullable=False, index=True),
    Column("format", String(8), nullable=False),  # or NO_IMAGE
    Column("media_type", String(127), nullable=True),  # of a file that is not an image
    Column("bytes", BigInteger, nullable=False),
    Column("width", Integer, nullable=True),
    Column("height", Integer, nullable=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(255), nullable=False),
    Column("name", String(255), nullable=True),
)

publications = Table(
    "publications",
    metadata,
    Column("asset", ForeignKey("assets.uid", ondelete="CASCADE"), primary_key=True),
    Column("environment", ForeignKey("environments.uid", ondelete="CASCADE"), primary_key=True),
    Column("locale", String(64), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("by", String(255), nullable=False),
)
"""The version that is published in an environment and locale. `n` is the clock's value when it was published."""

published = Table(
    "published",
    metadata,
    Column("asset", ForeignKey("assets.uid", ondelete="CASCADE"), primary_key=True),
    Column("environment", ForeignKey("environments.uid", ondelete="CASCADE"), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
)
"""Every version that was ever published in an environment. Its URL stays valid while the asset is published there."""

schedules = Table(
    "schedules",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("asset", ForeignKey("assets.uid", ondelete="CASCADE"), nullable=False, index=True),
    Column("action", String(16), nullable=False),
    Column("environments", Text, nullable=False),
    Column("locales", Text, nullable=False),
    Column("version", Integer, nullable=True),
    Column("at_ms", BigInteger, nullable=False, index=True),
    Column("by", String(255), nullable=False),
)
"""Scheduled publications. `environments` and `locales` are JSON lists."""

keys = Table(
    "keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("name", String(255), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("stack", ForeignKey("stacks.api_key", ondelete="CASCADE"), nullable=True),
    Column("environments", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_used_ms", BigInteger, nullable=True),
)
