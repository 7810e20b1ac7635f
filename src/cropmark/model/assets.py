"""Assets as a library keeps them: what they are made of, and what may be asked of a list of them.

Times are Unix milliseconds. A stack holds branches, a branch assets and folders, an asset versions; each version is one
file. Published is a version in an environment, by locale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from cropmark.model.formats import TRAITS, Format
from cropmark.model.values import Size

MAIN = "main"
"""The branch of a request that names none."""
MAX_NAME_CHARS = 255
MAX_LOCALE_CHARS = 64

UID = re.compile(r"blt[0-9a-f]{16}")
"""Stacks, environments, assets and folders."""
FILE_UID = re.compile(r"[0-9a-f]{24}")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""The other names of stacks and files, for URLs of Kontent.ai's form."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Assets that belong together. The api key names it in URLs and is no secret."""

    api_key: str
    name: str
    kontent_id: str
    """What a URL of Kontent.ai's form calls the stack: its environment id."""
    secured: bool
    """Delivery asks for a token."""
    created_ms: int


@dataclass(frozen=True, slots=True)
class Environment:
    """Where assets of a stack are published to."""

    uid: str
    name: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class BranchRef:
    """Where in a library: a branch of a stack."""

    stack: str
    branch: str = MAIN


@dataclass(frozen=True, slots=True)
class File:
    """A file as its bytes tell it; `digest` is their SHA-256 in hex, `size` None where no header could be read."""

    digest: str
    filename: str
    format: Format
    bytes: int
    size: Size | None

    @property
    def media_type(self) -> str:
        return TRAITS[self.format].media_type


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """What is known of a file before it is kept; its bytes come beside."""

    filename: str
    format: Format
    size: Size | None


@dataclass(frozen=True, slots=True)
class Version:
    """One file of an asset, the first being number 1. `file_uid` and `file_id` never stand for another."""

    number: int
    file_uid: str
    file_id: str
    file: File
    created_ms: int
    created_by: str
    name: str | None = None
    """What people call it."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A version that is published now. `environment` is its uid."""

    environment: str
    environment_name: str
    locale: str
    version: int
    at_ms: int
    by: str


@dataclass(frozen=True, slots=True)
class EntryDetails:
    """What assets and folders have in common."""

    uid: str
    place: BranchRef
    title: str
    description: str
    tags: tuple[str, ...]
    parent_uid: str | None
    created_ms: int
    updated_ms: int
    created_by: str
    updated_by: str


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder; its title is its name."""

    entry: EntryDetails


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset with the version that was asked for, the newest unless told otherwise, and its number of them."""

    entry: EntryDetails
    version: Version
    newest: int
    slug: str | None
    """Of its permanent URL."""
    publications: tuple[Publication, ...]

    @property
    def uid(self) -> str:
        return self.entry.uid


@dataclass(frozen=True, slots=True)
class Changes:
    """What is said of an asset; None leaves it as it is. `to_top` moves it out of its folder; a slug is set once."""

    title: str | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    parent_uid: str | None = None
    to_top: bool = False
    slug: str | None = None


@dataclass(frozen=True, slots=True)
class Publishing:
    """Environments by name or uid, and locales, that a version is to be published in, or to be taken from.

    `version` None: the newest. `at_ms` in the future: then.
    """

    environments: tuple[str, ...]
    locales: tuple[str, ...] = ("en-us",)
    version: int | None = None
    at_ms: int | None = None


class AssetFilter(Enum):
    """What a list holds."""

    ALL = "all"
    ASSETS = "assets"
    IMAGES = "images"
    NONE = "nothing"


class SortField(Enum):
    """What a list is sorted by."""

    CREATED = "created_at"
    UPDATED = "updated_at"
    TITLE = "title"
    UID = "uid"


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a list. `equal` holds pairs of a field's name and its value; `folder` "" is the top, None any.

    `environment`: only what is published there, each asset with the version that is.
    """

    shown: AssetFilter = AssetFilter.ASSETS
    folder: str | None = None
    environment: str | None = None
    equal: tuple[tuple[str, str | bool], ...] = ()
    sort: SortField = SortField.UPDATED
    descending: bool = True
    skip: int = 0
    limit: int = 100
    counted: bool = False


@dataclass(frozen=True, slots=True)
class ListPage:
    """`count` of all that the list holds; None where it was not asked for."""

    items: tuple[Asset | Folder, ...]
    count: int | None


@dataclass(frozen=True, slots=True)
class KeyScope:
    """What a key opens: a stack, or all of them; environments of it, or all."""

    stack: str | None = None
    environments: tuple[str, ...] = ()

    def opens(self, environment: str, known: Iterable[Environment]) -> bool:
        """Whether an environment of the stack may be read; it and the key may name it by its uid or its name."""
        names = {environment}.union(*({e.name, e.uid} for e in known if environment in (e.name, e.uid)))
        return not self.environments or not names.isdisjoint(self.environments)


class KeyKind(Enum):
    """What a key is for."""

    MANAGEMENT = "management"
    DELIVERY = "delivery"
    PIXLAB = "pixlab"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class LibraryKey:
    """A key as it is kept: its digest, never itself."""

    id: str
    kind: KeyKind
    name: str
    digest: str = field(repr=False)
    scope: KeyScope
    created_ms: int
    last_used_ms: int | None
