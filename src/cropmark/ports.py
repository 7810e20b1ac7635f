"""Interfaces to everything outside the core: sources, renderers, caches, limits, uploads, results, the library.

`pipeline` and `web` depend only on these Protocols. The packages `sources`, `renderers`, `caches`, `security` and
`library` implement them. No implementation imports another.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, NewType, Protocol, TypeVar

from cropmark.geometry.findings import Analysis
from cropmark.geometry.recipe import Reason
from cropmark.model.appearance import Appearance
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

RENDER_VERSION = "8"
"""Part of every cache key. Increase it when an equal Plan renders to other pixels."""

STALE_S = 300.0
"""Longest time in seconds for which a purged rendition is still sent after a soft purge."""


# ---------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """Identifies the bytes of a source at one moment. Equal values mean equal bytes.

    `identity` names the source (`files:sky/blue.jpg`, `web:https://…`). `version` changes whenever its bytes change.
    """

    identity: str
    version: str
    generation: int = 0
    """A number that changes when the source is purged."""
    modified_s: float | None = None
    """Unix time of the last change, for the header Last-Modified; None if the time is unknown."""
    versioned: bool = False
    """True if the bytes under this identity never change."""
    private: bool = False
    """True if only the client of the request may store the response; shared caches must not."""
    cache_control: str | None = None
    """The Cache-Control header that the origin sent; None without an origin or without this header."""
    keys: str = field(default="", compare=False)
    """The keys for purges that the origin sent, separated by spaces."""
    fetched_s: float | None = field(default=None, compare=False)
    """Unix time at which the origin last sent or confirmed the bytes; None without an origin."""


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A source that is open for reading. The receiver calls close()."""

    descriptor: int
    bytes: int
    """Length of the file."""
    version: SourceVersion
    close: Callable[[], None]
    """Closes the descriptor."""
    media_type: str | None = None
    """The media type of a file that is not an image, if the source stores it; else None."""

    @classmethod
    def from_fd(cls, fd: int, size: int, version: SourceVersion, media_type: str | None = None) -> OpenSource:
        """Take ownership of a file descriptor of `size` bytes. close() may be called more than once."""
        # FileIO closes once, and also when the value is garbage-collected. A second os.close() could close another
        # file that got the same number.
        return cls(fd, size, version, io.FileIO(fd).close, media_type)


def purge_matches(prefix: str, identity: str) -> bool:
    """True if a purge of `prefix` covers the source with this identity.

    `files:sky/` covers every source below that folder; `files:sky/blue.jpg\\n` covers exactly that file.
    """
    return f"{identity}\n".startswith(prefix)


class Source(Protocol):
    """Supplies source images.

    Methods raise SourceNotFound, SourceForbidden, SourceTooLarge, SourceFailed or SourceTimeout.
    """

    def stat(self, ref: SourceRef) -> SourceVersion | None:
        """The current version of an image, if it is known without waiting. None if only open() can find the version.

        Raises SourceNotFound if the image is known not to exist.
        """
        ...

    async def open(self, ref: SourceRef) -> OpenSource: ...

    def identity(self, ref: SourceRef) -> str:
        """The `identity` in all versions of this image. The image need not exist."""
        ...

    def purge(self, prefix: str) -> None:
        """Purge all images with an identity that `prefix` covers (see purge_matches).

        The next versions of these images have a new `generation`.
        """
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- renderers


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about the first source and about the result, for response headers."""

    source: Info | None = None
    size: Size | None = None
    """Size of the result in pixels."""
    frames: int = 1
    focus: str | None = None
    """The basis of a smart crop's position, such as `faces` or `subject`; None without a smart crop."""
    format: Format | None = None
    """Format of the response body."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The stages of a request as (name, milliseconds), for the header Server-Timing."""

    stages: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Rendered:
    """An encoded image as a renderer returns it."""

    body: bytes
    format: Format
    facts: Facts
    warnings: tuple[RequestWarning, ...] = ()
    timing: Timing = Timing()
    low_effort: bool = False
    """True if the encoder used its lowest effort because of high load. Then the result is cached only for a minute."""


@dataclass(frozen=True, slots=True)
class Passthrough:
    """A renderer's decision to send the first source's bytes unchanged."""

    reason: Reason
    facts: Facts
    warnings: tuple[RequestWarning, ...] = ()
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """The analysis of a source. If it is absent, `reason` says why."""

    analysis: Analysis | None
    reason: str = ""
    transient: bool = False
    """True if the analysis is absent but another attempt may succeed."""


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """The difference of two images. `mean` and `maximum` are in levels from 0 to 255.

    `size` is the compared size. `psnr_db` is the peak signal-to-noise ratio in dB, or None if all pixels are equal.
    """

    size: Size
    mean: float
    maximum: int
    psnr_db: float | None


class Renderers(Protocol):
    """Worker processes that run the engine. Only they decode images.

    With `untrusted`, the task runs in workers that handle only untrusted sources. `client` is the client's address: a
    full queue is shared fairly between clients.

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
        """Render the image. Cancellation removes a task from the queue, but does not stop a running render."""
        ...

    async def inspect(self, source: OpenSource, *, untrusted: bool = False, client: str | None = None) -> Info: ...

    async def analyze(
        self, source: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> AnalysisResult:
        """Analyze the source. The analysis is absent if the plan's limits forbid decoding the source."""
        ...

    async def describe(
        self, source: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> Appearance:
        """The colors and placeholders of the source. Raises Unprocessable if the plan's limits forbid decoding it."""
        ...

    async def draw(
        self, source: OpenSource, analysis: Analysis, window: Box | None, *, untrusted: bool = False
    ) -> Rendered:
        """A PNG of the source that shows the analysis and the crop window. Both are in pixels of the upright image."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- caches


@dataclass(frozen=True, slots=True)
class Record:
    """Metadata of a rendition: enough for a 304 and for all response headers."""

    media_type: str
    etag: str
    """A strong ETag in quotes: the digest of the body."""
    length: int
    """Length of the body in bytes."""
    facts: Facts = Facts()
    warnings: tuple[RequestWarning, ...] = ()
    versions: tuple[SourceVersion, ...] = ()
    """The versions of the sources that were read."""
    tags: tuple[str, ...] = ()
    """Names for purges: `source:<identity>`, `url:<digest>` and `tag:<word>`, each followed by a newline.

    A purge has a prefix and covers all tags that begin with it. A prefix that ends with the newline covers only one
    tag.
    """
    original: Reason | None = None
    """The reason to send the first source unchanged; the cached body is then empty. None for a rendered result."""
    expires_s: float | None = None
    """Unix time after which caches do not return the rendition; None if it does not expire."""
    order_key: str = ""
    """Key of the order without the versions of its sources. It finds the rendition after a soft purge. May be empty."""
    purges_seen: str = ""
    """Position of the last purge that this server knew when the render began. Empty if servers do not share purges."""

    def has_tag(self, prefix: str) -> bool:
        """True if a purge of `prefix` covers this record, because one of its tags begins with `prefix`."""
        return any(tag.startswith(prefix) for tag in self.tags)

    @property
    def is_transient(self) -> bool:
        """True if a better result may follow soon: the record expires, or its source is damaged or incomplete."""
        return self.expires_s is not None or self.original is Reason.UNREADABLE


@dataclass(frozen=True, slots=True)
class Rendition:
    """An encoded result with its record."""

    body: bytes = field(repr=False)
    record: Record = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class StoredRendition:
    """A rendition that is too large for the memory. Its body is read from an open file. The receiver calls close()."""

    record: Record
    descriptor: int
    offset: int
    """Offset of the body in the file, in bytes."""
    close: Callable[[], None]

    @classmethod
    def from_fd(cls, fd: int, offset: int, record: Record) -> StoredRendition:
        """Take ownership of a file descriptor. close() may be called more than once."""
        return cls(record, fd, offset, io.FileIO(fd).close)  # see OpenSource.from_fd()


class Cache(Protocol):
    """Stores renditions by key. A cache may drop a rendition at any time, and never returns a damaged rendition."""

    async def get(self, key: Digest) -> Rendition | None: ...

    async def put(self, key: Digest, rendition: Rendition) -> None:
        """Store the rendition if there is space. Storage errors are logged and counted, never raised."""
        ...

    async def purge(self, tag_prefix: str) -> int:
        """Delete all entries with a tag that begins with `tag_prefix`. Returns the number of deleted entries."""
        ...

    async def close(self) -> None: ...


class TieredCache(Cache, Protocol):
    """A cache that consists of several tiers, searched from the fastest to the slowest."""

    def peek(self, key: Digest) -> tuple[Rendition, str] | None:
        """A rendition that is available without waiting, and the name of its tier; else None."""
        ...

    async def lookup(self, key: Digest) -> tuple[Rendition, str] | None:
        """A rendition and the name of its tier (`memory`, `disk` or `shared`), or None.

        Copies the rendition into the faster tiers.
        """
        ...

    async def find(self, key: Digest) -> tuple[Rendition | StoredRendition, str] | None:
        """The rendition as lookup() returns it, or None.

        A large rendition on the disk is an open file, which the caller closes.
        """
        ...

    async def peek_again(self, key: Digest, name: str) -> tuple[Rendition, str] | None:
        """Look again for a rendition that another request may have stored after a lookup missed it.

        Searches the tiers that need no waiting, and the tier `name` if it is on disk.
        """
        ...

    async def find_stale(self, order_key: Digest, *, streams: bool) -> Rendition | StoredRendition | None:
        """A rendition on the disk that a soft purge has purged in the last STALE_S; else None.

        With `streams`, a large rendition is an open file, which the caller closes.
        """
        ...

    async def drop_stale(self, order_key: Digest) -> None:
        """Remove the order's stale rendition, because its new rendition is ready.

        Until the next soft purge, find_stale() finds nothing for this order.
        """
        ...

    async def written(self, key: Digest, name: str) -> None:
        """Wait until a rendition that was put is in the tier `name` or was dropped."""
        ...

    def in_memory(self, tag_prefix: str) -> dict[Digest, Rendition]:
        """The renditions in memory that a purge of `tag_prefix` covers."""
        ...

    async def purge(self, tag_prefix: str, at: tuple[int, int] | None = None, *, soft: bool = False) -> int:
        """Purge every tier. Returns the number of purged entries.

        `at` is the position of the purge in the stream of all servers' purges. With `soft`, find_stale() still finds
        the renditions that were on the disk.
        """
        ...

    async def purge_own(self, tag_prefix: str, *, soft: bool = False) -> int:
        """Purge every tier except the entries that several servers share. Returns the number of purged entries."""
        ...

    async def forget(self, tag_prefix: str) -> None:
        """Purge the entries in memory, and finish pending writes to the disk.

        All fronts of a host do this before one of them removes the purged files.
        """
        ...


class RenderLocks(Protocol):
    """Locks that let only one of several servers or processes render an image. They share a tier of the cache."""

    @property
    def tier(self) -> str:
        """The name of the shared tier. A lock is released when the image is in this tier."""
        ...

    @property
    def longest_wait_s(self) -> float:
        """Seconds after which a lock ends by itself."""
        ...

    async def acquire(self, key: Digest) -> str | None:
        """Try to get the lock for a key. Returns its token, or None while another server has the lock.

        The token is empty if locks are not available.
        """
        ...

    async def wait(self, key: Digest, until_s: float) -> None:
        """Wait until the lock ends, but at most until the monotonic clock has the value `until_s`."""
        ...

    async def release(self, key: Digest, token: str) -> None: ...


class PurgeKind(Enum):
    """The kind of value by which a purge selects entries. The enum's values are its names in JSON."""

    URL = "url"
    SOURCE = "source"
    PREFIX = "prefix"
    TAG = "tag"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Purge:
    """A purge as an operator requests it. Each server finds the entries of its own caches that the purge covers."""

    kind: PurgeKind
    value: str = ""
    soft: bool = False
    """True if purged renditions may still be sent until new renditions are ready."""


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """The result of a purge: the number of entries that were purged on this server."""

    purged: int
    sent: bool = True
    """False if the purge waits until Redis responds, and so has not been sent to the other servers yet."""


# ---------------------------------------------------------------------------------------------- limits


@dataclass(frozen=True, slots=True)
class Quota:
    """A client's use of a rate limit: the requests allowed per window, and those that remain in the current window.

    `retry_after_s` is the time to wait if the limit is exceeded, else 0.
    """

    limit: int
    remaining: int
    retry_after_s: int = 0

    @property
    def exceeded(self) -> bool:
        return self.retry_after_s > 0


class Limiter(Protocol):
    """Counts requests by key in time windows of `window_s` seconds. A limit of 0 means no limit."""

    async def hit(self, key: str, limit: int, window_s: int) -> Quota:
        """Count one request, and return the quota for `limit` requests per `window_s` seconds."""
        ...

    def peek(self, key: str, limit: int, window_s: int) -> Quota:
        """The quota after the last request that this process counted. Counts no request and never waits."""
        ...


# ---------------------------------------------------------------------------------------------- uploads, results


class UploadWriter(Protocol):
    """Receives the bytes of one upload. Its creator calls discard() when the request ends."""

    @property
    def length(self) -> int:
        """Bytes received so far."""
        ...

    def write(self, piece: bytes) -> None:
        """Append a piece. Raises SourceTooLarge if the upload exceeds the limit, Overloaded if the disk is full."""
        ...

    def finish(self) -> UploadRef:
        """End the upload. Returns its reference, by which the upload can be opened."""
        ...

    def discard(self) -> None:
        """Release the bytes. May be called more than once."""
        ...


class UploadStore(Source, Protocol):
    """The Source of images that were uploaded with the requests in progress."""

    def new_writer(self, limit_bytes: int) -> UploadWriter: ...


@dataclass(frozen=True, slots=True)
class StoredResult:
    """Metadata of a stored result. `owner` identifies the API key that created the result."""

    id: str
    format: Format
    bytes: int
    owner: str
    created_s: float
    expires_s: float | None
    """Unix time at which the result expires. None: it is stored until it is deleted or its space is needed."""
    comment: str = ""


class ResultStore(Protocol):
    """Stores results under ids that cannot be guessed or listed."""

    async def put(self, body: bytes | OpenSource, image_format: Format, owner: str, comment: str = "") -> StoredResult:
        """Store a result under a new id. Raises Overloaded if the disk is full."""
        ...

    async def open(self, result_id: str) -> tuple[StoredResult, OpenSource] | None:
        """The result with this id, which the caller closes. None if the id is unknown or the result has expired."""
        ...

    async def delete(self, result_id: str, owner: str) -> bool:
        """Delete a result. Returns False if the owner has no result with this id."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- library


class Library(Protocol):
    """Stores assets. Each method is one transaction. Methods block, so call them in threads.

    `by` names the author of a change. Methods raise NotFound if the branch does not have the asset or folder. They
    raise BadRequest for an invalid change, DatabaseUnavailable if the database does not respond, and Overloaded if
    bytes cannot be stored.
    """

    def stack(self, api_key: str) -> assets.Stack | None: ...

    def environments(self, stack: str) -> tuple[assets.Environment, ...]: ...

    def new_environment(self, stack: str, name: str) -> assets.Environment:
        """Create an environment. Raises BadRequest if the stack already has an environment with this name."""
        ...

    def add(
        self, branch: BranchRef, upload: assets.UploadInfo, source: OpenSource, changes: AssetChanges, by: str
    ) -> Asset: ...

    def replace(
        self, branch: BranchRef, uid: str, upload: assets.UploadInfo, source: OpenSource, changes: AssetChanges, by: str
    ) -> Asset:
        """Add a new version to an asset. Published versions stay published."""
        ...

    def restore(self, branch: BranchRef, uid: str, number: int, by: str) -> Asset:
        """Add a new version that has the bytes of the older version `number`."""
        ...

    def name_version(self, branch: BranchRef, uid: str, number: int, name: str | None) -> None:
        """Set the display name of a version, or remove it with None."""
        ...

    def change(self, branch: BranchRef, uid: str, changes: AssetChanges, by: str) -> Asset: ...

    def delete(self, branch: BranchRef, uid: str) -> None: ...

    def publish(self, branch: BranchRef, uid: str, request: PublishRequest, by: str) -> None: ...

    def unpublish(self, branch: BranchRef, uid: str, request: PublishRequest, by: str) -> None: ...

    def asset(self, branch: BranchRef, uid: str, number: int | None = None) -> Asset: ...

    def versions(self, branch: BranchRef, uid: str) -> tuple[assets.Version, ...]:
        """All versions of an asset, the newest first."""
        ...

    def list_entries(self, branch: BranchRef, listing: assets.Listing) -> assets.ListPage: ...

    def folder(self, branch: BranchRef, uid: str) -> Folder: ...

    def new_folder(self, branch: BranchRef, name: str, parent_uid: str | None, by: str) -> Folder: ...

    def change_folder(self, branch: BranchRef, uid: str, changes: AssetChanges, by: str) -> Folder: ...

    def delete_folder(self, branch: BranchRef, uid: str) -> None:
        """Delete a folder with everything in it."""
        ...


class LibraryAccess(Protocol):
    """Asynchronous access to a server's library."""

    async def read(self, act: Callable[[Library], T]) -> T:
        """Call `act` in a thread and return its result."""
        ...

    async def write(self, act: Callable[[Library], T]) -> T:
        """Call `act`, which may change the library, in a thread. Returns its result.

        After that, this server delivers the changed assets.
        """
        ...

    async def key(self, kind: assets.KeyKind, secret: str) -> assets.LibraryKey | None:
        """The API key with this kind and secret, or None. A key that is in memory is returned without waiting."""
        ...
