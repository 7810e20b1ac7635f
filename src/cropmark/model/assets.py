"""Types of the asset library: stacks, branches, folders, assets, versions, publications, listings and keys.

Times are Unix milliseconds. A stack has branches. A branch has assets and folders. An asset has versions, and each
version is one file. A version is published to an environment for a locale.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum

from cropmark.model.formats import TRAITS, Format
from cropmark.model.media_types import UNKNOWN_CONTENT
from cropmark.model.values import Size

MAIN_BRANCH = "main"
"""The branch for requests without a branch."""
MAX_NAME_CHARS = 255
MAX_LOCALE_CHARS = 64

UID = re.compile(r"blt[0-9a-f]{16}")
"""The uid of a stack, environment, asset or folder."""
FILE_UID = re.compile(r"[0-9a-f]{24}")
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
"""The id of a stack or file in Kontent.ai-style URLs."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A group of assets. The API key identifies it in URLs and is not secret."""

    api_key: str
    name: str
    kontent_id: str
    """The stack's id in Kontent.ai-style URLs, where it is called environment id."""
    secured: bool
    """True if delivery requires a token."""
    created_ms: int


@dataclass(frozen=True, slots=True)
class Environment:
    """A publishing target of a stack, such as production."""

    uid: str
    name: str
    created_ms: int


@dataclass(frozen=True, slots=True)
class BranchRef:
    """A reference to a branch of a stack."""

    stack: str
    branch: str = MAIN_BRANCH


@dataclass(frozen=True, slots=True)
class File:
    """Facts about a stored file. `digest` is the SHA-256 of its content in hex."""

    digest: str
    filename: str
    format: Format | None
    """The image format; None if the file is not an image."""
    bytes: int
    size: Size | None
    """The size of the image; None if it cannot be read from the header."""
    other_type: str | None = None
    """The media type of a file that is not an image."""

    @property
    def media_type(self) -> str:
        return TRAITS[self.format].media_type if self.format else self.other_type or UNKNOWN_CONTENT

    @property
    def type_name(self) -> str:
        """A short name of the type for people: `jpeg`, `application/pdf`."""
        return self.format.value if self.format else self.media_type


@dataclass(frozen=True, slots=True)
class UploadInfo:
    """Facts about a file that is not stored yet. Its bytes are passed separately."""

    filename: str
    format: Format | None
    """The image format; None if the file is not an image."""
    size: Size | None
    other_type: str | None = None
    """The media type of a file that is not an image."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of an asset. It has one file.

    The first version has the number 1. `file_uid` and `file_id` are never reused.
    """

    number: int
    file_uid: str
    file_id: str
    file: File
    created_ms: int
    created_by: str
    name: str | None = None
    """An optional name for people."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A version that is currently published to an environment for a locale. `environment` is the environment's uid."""

    environment: str
    environment_name: str
    locale: str
    version: int
    at_ms: int
    by: str


@dataclass(frozen=True, slots=True)
class EntryDetails:
    """The fields that both assets and folders have."""

    uid: str
    branch_ref: BranchRef
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
    """A folder of the library. Its name is the `title` in `entry`."""

    entry: EntryDetails


@dataclass(frozen=True, slots=True)
class Asset:
    """An asset with one of its versions: the requested version, or the newest.

    `newest` is the number of the newest version.
    """

    entry: EntryDetails
    version: Version
    newest: int
    slug: str | None
    """The slug of the permanent URL."""
    publications: tuple[Publication, ...]

    @property
    def uid(self) -> str:
        return self.entry.uid


@dataclass(frozen=True, slots=True)
class AssetChanges:
    """Changes to an asset or folder. A field with the value None stays unchanged.

    `to_top` moves the asset out of its folder. A slug can be set only once.
    """

    title: str | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    parent_uid: str | None = None
    to_top: bool = False
    slug: str | None = None


@dataclass(frozen=True, slots=True)
class PublishRequest:
    """A request to publish or unpublish a version, in some environments and locales.

    `environments` has names or uids. Without `version`, the newest version is meant. `at_ms` is the time to publish or
    unpublish; without `at_ms`, or with a past time, it is done immediately.
    """

    environments: tuple[str, ...]
    locales: tuple[str, ...] = ("en-us",)
    version: int | None = None
    at_ms: int | None = None


class AssetFilter(Enum):
    """The kinds of entries that a listing contains."""

    ALL = "all"
    ASSETS = "assets"
    IMAGES = "images"
    NONE = "nothing"


class SortField(Enum):
    """The field by which a listing is sorted."""

    CREATED = "created_at"
    UPDATED = "updated_at"
    TITLE = "title"
    UID = "uid"


@dataclass(frozen=True, slots=True)
class Listing:
    """A request for one page of a list of assets and folders.

    `equal` has pairs of a field's name and the required value. A `folder` of "" means the top level, None any folder.
    `environment` restricts the list to assets that are published there, each with its published version.
    """

    filter: AssetFilter = AssetFilter.ASSETS
    folder: str | None = None
    environment: str | None = None
    equal: tuple[tuple[str, str | bool], ...] = ()
    sort: SortField = SortField.UPDATED
    descending: bool = True
    skip: int = 0
    limit: int = 100
    with_count: bool = False


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of a list. `count` is the number of entries on all pages; None if it was not requested."""

    items: tuple[Asset | Folder, ...]
    count: int | None


@dataclass(frozen=True, slots=True)
class KeyScope:
    """The permissions of a key. A `stack` of None means all stacks; empty `environments` mean all environments."""

    stack: str | None = None
    environments: tuple[str, ...] = ()

    def allows_environment(self, environment: str, known: Iterable[Environment]) -> bool:
        """True if the key permits reading the environment.

        `environment` may be a uid or a name, and so may the environments of the key. `known` has the stack's
        environments.
        """
        names = {environment}.union(*({e.name, e.uid} for e in known if environment in (e.name, e.uid)))
        return not self.environments or not names.isdisjoint(self.environments)


class KeyKind(Enum):
    """The API that a key grants access to."""

    MANAGEMENT = "management"
    DELIVERY = "delivery"
    PIXLAB = "pixlab"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class LibraryKey:
    """A stored API key. It has the digest of the secret, never the secret itself."""

    id: str
    kind: KeyKind
    name: str
    digest: str = field(repr=False)
    scope: KeyScope
    created_ms: int
    last_used_ms: int | None
