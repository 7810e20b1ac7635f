"""Interfaces to everything outside the core: sources, renderers, caches, limits, uploads, results, the library.

`pipeline` and `web` depend on these Protocols only. The adapters in `sources`, `renderers`, `caches`, `security` and
`library` implement them and never import each other.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType, Protocol, TypeVar

from cropmark.geometry.findings import Analysis
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Plan, RequestWarning
from cropmark.plan.source import SourceRef, UploadRef

if TYPE_CHECKING:  # a renderer process does not need these modules, and starts faster without them
    from cropmark.model import assets
    from cropmark.model.assets import Asset, AssetChanges, BranchRef, Folder, PublishRequest

T = TypeVar("T")

Digest = NewType("Digest", str)
"""A SHA-256 digest as 64 hex digits."""

RENDER_VERSION = "4"
"""Part of every cache key. Increase it when the pixels rendered for an equal Plan change."""


# ---------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """Identifies the bytes of a source at one moment: equal values mean equal bytes.

    `identity` names the source (`files:sky/blue.jpg`, `web:https://…`); `version` changes whenever its bytes change.
    """

    identity: str
    version: str
    generation: int = 0
    """Changes when the source is purged."""
    modified_s: float | None = None
    """Unix time for Last-Modified; None: unknown."""
    versioned: bool = False
    """True if the bytes under this identity never change."""
    private: bool = False
    """True if only this client may store the response; shared caches must not."""
    cache_control: str | None = None
    """The Cache-Control header that the origin sent; None: no origin, or no such header."""
    fetched_s: float | None = field(default=None, compare=False)
    """Unix time at which the origin last sent or confirmed the bytes; None: no origin."""


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A source that is open for reading. The receiver calls close()."""

    descriptor: int
    bytes: int
    """Length of the file."""
    version: SourceVersion
    close: Callable[[], None]
    """Closes the descriptor."""

    @classmethod
    def from_fd(cls, fd: int, size: int, version: SourceVersion) -> OpenSource:
        """Take ownership of a file descriptor of `size` bytes; close() may be called more than once."""
        # FileIO closes once, and also when the value is garbage-collected. A second os.close() could close another
        # file that got the same number.
        return cls(fd, size, version, io.FileIO(fd).close)


def purge_matches(prefix: str, identity: str) -> bool:
    """True if a purge of `prefix` covers this identity.

    `files:sky/` covers every source below that folder; `files:sky/blue.jpg\\n` covers exactly that file.
    """
    return f"{identity}\n".startswith(prefix)


class Source(Protocol):
    """A supplier of source images.

    Methods raise SourceNotFound, SourceForbidden, SourceTooLarge, SourceFailed or SourceTimeout.
    """

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        """The current version if it is known without waiting; None: only open() can find out.

        Raises SourceNotFound if it is known without waiting that the source does not exist.
        """
        ...

    async def open(self, ref: SourceRef) -> OpenSource: ...

    def identity(self, ref: SourceRef) -> str:
        """The identity that versions of this source have, also when the source does not exist."""
        ...

    def purge(self, prefix: str) -> None:
        """Give all sources that `prefix` covers (see purge_matches) a new generation."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- renderers


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about the first source and the result, for response headers."""

    source: Info | None = None
    size: Size | None = None
    """Size of the result in pixels."""
    frames: int = 1
    focus: str | None = None
    """Placement of a smart crop."""
    format: Format | None = None
    """Format of the response body."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Time per stage as (name, milliseconds), for Server-Timing."""

    stages: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Rendered:
    """An encoded image."""

    body: bytes
    format: Format
    facts: Facts
    warnings: tuple[RequestWarning, ...] = ()
    timing: Timing = Timing()
    low_effort: bool = False
    """True if load forced the encoder's lowest effort; such a result is cached for a minute."""


@dataclass(frozen=True, slots=True)
class Passthrough:
    """The decision to send the first source's bytes unchanged."""

    reason: Reason
    facts: Facts
    warnings: tuple[RequestWarning, ...] = ()
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """An analysis, or the reason why it is absent."""

    analysis: Analysis | None
    reason: str = ""
    transient: bool = False
    """True if another attempt may succeed."""


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """Difference of two images over their common size, in levels from 0 to 255: the mean and the maximum.

    `psnr_db` is the peak signal-to-noise ratio in dB; None: all pixels are equal.
    """

    size: Size
    mean: float
    maximum: int
    psnr_db: float | None


class Renderers(Protocol):
    """Worker processes that run the engine. Only they decode images.

    `untrusted` sends the task to workers that only handle untrusted sources. `client` is the client's address: a full
    queue is shared fairly between clients.
    Methods raise Unprocessable, SourceUnusable, SourceTooLarge, Overloaded or InternalError.
    """

    async def render(
        self,
        sources: Sequence[OpenSource | None],
        plan: Plan,
        analysis: AnalysisResult | None = None,
        *,
        untrusted: bool = False,
        client: str | None = None,
    ) -> Rendered | Passthrough:
        """Render the image. A queued task is dropped when it is cancelled; a running one continues to its end."""
        ...

    async def inspect(self, source: OpenSource, *, untrusted: bool = False, client: str | None = None) -> Info: ...

    async def analyze(
        self, source: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> AnalysisResult:
        """The analysis; none if the plan's limits do not allow decoding the source."""
        ...

    async def draw(self, source: OpenSource, analysis: Analysis, window: Box | None) -> Rendered:
        """A PNG of the source that shows the analysis and the crop window, both in upright pixels."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- caches


@dataclass(frozen=True, slots=True)
class Record:
    """Metadata of a rendition without its body: enough for a 304 and for every response header."""

    media_type: str
    etag: str
    """A strong ETag in quotes: the digest of the body."""
    length: int
    """Bytes of the body."""
    facts: Facts = Facts()
    warnings: tuple[RequestWarning, ...] = ()
    versions: tuple[SourceVersion, ...] = ()
    """The sources that were read."""
    tags: tuple[str, ...] = ()
    """Names for purges: `source:<identity>`, `url:<digest>` and `tag:<word>`, each followed by a newline.

    A purge gives a prefix; a prefix that ends with the newline matches one tag only.
    """
    original: Reason | None = None
    """The reason to send the first source unchanged; the cached body is empty then. None: an image was rendered."""
    expires_s: float | None = None
    """Unix time from which the cache does not return it; None: never."""

    @property
    def is_transient(self) -> bool:
        """True if a better result may follow soon: something is missing, or the source is damaged or incomplete."""
        return self.expires_s is not None or self.original is Reason.UNREADABLE


@dataclass(frozen=True, slots=True)
class Rendition:
    """An encoded result with its record."""

    body: bytes = field(repr=False)
    record: Record = field(kw_only=True)


class Cache(Protocol):
    """Stores renditions by key. It may drop any of them at any time and never returns a damaged one."""

    async def get(self, key: Digest) -> Rendition | None: ...

    async def put(self, key: Digest, rendition: Rendition) -> None:
        """Store it if there is space. Storage errors are logged and counted, never raised."""
        ...

    async def purge(self, tag_prefix: str) -> int:
        """Delete all entries with a tag that begins with `tag_prefix`; returns their number."""
        ...

    async def close(self) -> None: ...


class TieredCache(Cache, Protocol):
    """Several caches in one, searched from the fastest to the slowest."""

    def peek(self, key: Digest) -> tuple[Rendition, str] | None:
        """A rendition that is available without waiting, and the name of its tier."""
        ...

    async def lookup(self, key: Digest) -> tuple[Rendition, str] | None:
        """A rendition and the name of its tier: memory, disk or shared. It is copied into the faster tiers."""
        ...


# ---------------------------------------------------------------------------------------------- limits


@dataclass(frozen=True, slots=True)
class Quota:
    """A client's use of a rate limit: requests per window, requests left in it, seconds to wait if it is exceeded."""

    limit: int
    remaining: int
    retry_after_s: int = 0

    @property
    def exceeded(self) -> bool:
        return self.retry_after_s > 0


class Limiter(Protocol):
    """Counts requests by key in fixed windows of `window_s` seconds. A limit of 0 means no limit."""

    async def hit(self, key: str, limit: int, window_s: int) -> Quota:
        """Count one request against `limit` requests per `window_s` seconds."""
        ...

    def peek(self, key: str, limit: int, window_s: int) -> Quota:
        """The quota after the last hit that this process counted. Counts nothing and never waits."""
        ...


# ---------------------------------------------------------------------------------------------- uploads, results


class UploadWriter(Protocol):
    """Receives the bytes of one upload. Its creator calls discard() when the request ends."""

    @property
    def length(self) -> int:
        """Bytes received so far."""
        ...

    def write(self, piece: bytes) -> None:
        """Raises SourceTooLarge above the limit, Overloaded if the disk is full."""
        ...

    def finish(self) -> UploadRef:
        """End the upload; from now on its bytes can be opened by their digest."""
        ...

    def discard(self) -> None:
        """Release the bytes. A second call does nothing."""
        ...


class UploadStore(Source, Protocol):
    """The Source of images that were uploaded with requests in progress."""

    def new_writer(self, limit_bytes: int) -> UploadWriter: ...


@dataclass(frozen=True, slots=True)
class StoredResult:
    """Metadata of a stored result. `owner` identifies the API key that it was created with."""

    id: str
    format: Format
    bytes: int
    owner: str
    created_s: float
    expires_s: float | None
    """Unix time of its deletion; None: stored until it is deleted or its space is needed."""
    comment: str = ""


class ResultStore(Protocol):
    """Stores results under ids that cannot be guessed. It offers no list of them."""

    async def put(self, body: bytes | OpenSource, image_format: Format, owner: str, comment: str = "") -> StoredResult:
        """Raises Overloaded if the disk is full."""
        ...

    async def open(self, result_id: str) -> tuple[StoredResult, OpenSource] | None:
        """The result, which the caller closes; None if the id is unknown or expired."""
        ...

    async def delete(self, result_id: str, owner: str) -> bool:
        """Delete a result; False if the owner has no result with this id."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- library


class Library(Protocol):
    """Stores assets. Its methods block on a database and a disk; call them in threads. Each is one transaction.

    `by` names the author of a change. Methods raise NotFound if something is not in the branch, BadRequest, or
    Overloaded if the database cannot be reached.
    """

    def stack(self, api_key: str) -> assets.Stack | None: ...

    def environments(self, stack: str) -> tuple[assets.Environment, ...]: ...

    def new_environment(self, stack: str, name: str) -> assets.Environment:
        """Raises BadRequest if an environment has that name."""
        ...

    def add(
        self, branch: BranchRef, upload: assets.UploadInfo, source: OpenSource, changes: AssetChanges, by: str
    ) -> Asset: ...

    def replace(
        self, branch: BranchRef, uid: str, upload: assets.UploadInfo, source: OpenSource, changes: AssetChanges, by: str
    ) -> Asset:
        """Add a new version. Published versions stay published."""
        ...

    def restore(self, branch: BranchRef, uid: str, number: int, by: str) -> Asset:
        """Add a new version with the bytes of an older one."""
        ...

    def name_version(self, branch: BranchRef, uid: str, number: int, name: str | None) -> None:
        """Set the display name of a version; None removes it."""
        ...

    def change(self, branch: BranchRef, uid: str, changes: AssetChanges, by: str) -> Asset: ...

    def delete(self, branch: BranchRef, uid: str) -> None: ...

    def publish(self, branch: BranchRef, uid: str, request: PublishRequest, by: str) -> None: ...

    def unpublish(self, branch: BranchRef, uid: str, request: PublishRequest, by: str) -> None: ...

    def asset(self, branch: BranchRef, uid: str, number: int | None = None) -> Asset: ...

    def versions(self, branch: BranchRef, uid: str) -> tuple[assets.Version, ...]:
        """All versions, the newest first."""
        ...

    def list_entries(self, branch: BranchRef, listing: assets.Listing) -> assets.ListPage: ...

    def folder(self, branch: BranchRef, uid: str) -> Folder: ...

    def new_folder(self, branch: BranchRef, name: str, parent_uid: str | None, by: str) -> Folder: ...

    def change_folder(self, branch: BranchRef, uid: str, changes: AssetChanges, by: str) -> Folder: ...

    def delete_folder(self, branch: BranchRef, uid: str) -> None:
        """Delete a folder with everything in it."""
        ...


class LibraryAccess(Protocol):
    """Asynchronous access to the library of a server."""

    async def read(self, act: Callable[[Library], T]) -> T:
        """The result of `act`, which runs in a thread."""
        ...

    async def write(self, act: Callable[[Library], T]) -> T:
        """Like read(), for changes. When it returns, this server delivers the changed assets."""
        ...

    async def key(self, kind: assets.KeyKind, secret: str) -> assets.LibraryKey | None:
        """The key with this secret, or None. A key that is in memory is returned without waiting."""
        ...
