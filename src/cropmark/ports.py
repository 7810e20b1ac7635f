"""Interfaces to everything outside the core: sources, renderers, caches, limits, uploads, results, the library.

`pipeline` and `web` depend on these Protocols only. The adapters in `sources`, `renderers`, `caches`, `security` and
`library` implement them; no adapter imports another.
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
"""Part of every cache key. Increase it when the pixels rendered for an equal Plan change."""

STALE_S = 300.0
"""Longest time in seconds for which a rendition is sent after a soft purge."""


# ---------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """Identifies the bytes of a source at one moment: equal values mean equal bytes.

    `identity` names the source (`files:sky/blue.jpg`, `web:https://…`); `version` changes whenever its bytes change.
    """

    identity: str
    version: str
    generation: int = 0
    """A number that changes when the source is purged."""
    modified_s: float | None = None
    """Unix time of the last change, for the header Last-Modified; None if it is unknown."""
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
        """Take ownership of a file descriptor of `size` bytes; close() may be called more than once."""
        # FileIO closes once, and also when the value is garbage-collected. A second os.close() could close another
        # file that got the same number.
        return cls(fd, size, version, io.FileIO(fd).close, media_type)


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
        """The current version if it is known without waiting; None if only open() can find it.

        Raises SourceNotFound if it is known without waiting that the image does not exist.
        """
        ...

    async def open(self, ref: SourceRef) -> OpenSource: ...

    def identity(self, ref: SourceRef) -> str:
        """The `identity` in the versions of this image, even if the image does not exist."""
        ...

    def purge(self, prefix: str) -> None:
        """Give a new generation to all images with an identity that `prefix` covers (see purge_matches)."""
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
    """The placement that a smart crop used; None without a smart crop."""
    format: Format | None = None
    """Format of the response body."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The stages of a request as (name, milliseconds), for the header Server-Timing."""

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
    """True if the encoder used its lowest effort because of high load. The result is then cached for a minute only."""


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
        """Render the image. Cancelling drops the task if it is queued; a running render continues to its end."""
        ...

    async def inspect(self, source: OpenSource, *, untrusted: bool = False, client: str | None = None) -> Info: ...

    async def analyze(
        self, source: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> AnalysisResult:
        """The analysis of the source. It is absent if the plan's limits do not allow decoding the source."""
        ...

    async def describe(
        self, source: OpenSource, plan: Plan, *, untrusted: bool = False, client: str | None = None
    ) -> Appearance:
        """The colors and placeholders of the source. Raises Unprocessable if the plan's limits forbid decoding it."""
        ...

    async def draw(
        self, source: OpenSource, analysis: Analysis, window: Box | None, *, untrusted: bool = False
    ) -> Rendered:
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
    """Length of the body in bytes."""
    facts: Facts = Facts()
    warnings: tuple[RequestWarning, ...] = ()
    versions: tuple[SourceVersion, ...] = ()
    """The versions of the sources that were read."""
    tags: tuple[str, ...] = ()
    """Names for purges: `source:<identity>`, `url:<digest>` and `tag:<word>`, each followed by a newline.

    A purge names a prefix of tags. A prefix that ends with the newline matches only one tag.
    """
    original: Reason | None = None
    """The reason to send the first source unchanged, with an empty cached body; None for a rendered result."""
    expires_s: float | None = None
    """Unix time from which caches do not return the rendition any more; None if it does not expire."""
    order_key: str = ""
    """Key of the order without the versions of its sources; finds the rendition after a soft purge. May be empty."""
    purges_seen: str = ""
    """Position of the last purge that this server knew when the render began; empty if servers do not share purges."""

    def has_tag(self, prefix: str) -> bool:
        """True if a purge of `prefix` covers this record."""
        return any(tag.startswith(prefix) for tag in self.tags)

    @property
    def is_transient(self) -> bool:
        """True if a better result may follow soon: the record expires, or the source is damaged or incomplete."""
        return self.expires_s is not None or self.original is Reason.UNREADABLE


@dataclass(frozen=True, slots=True)
class Rendition:
    """An encoded result with its record."""

    body: bytes = field(repr=False)
    record: Record = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class StoredRendition:
    """A rendition that is too large for the memory: its body is read from an open file. The receiver calls close()."""

    record: Record
    descriptor: int
    offset: int
    """Offset of the body in the file, in bytes."""
    close: Callable[[], None]

    @classmethod
    def from_fd(cls, fd: int, offset: int, record: Record) -> StoredRendition:
        """Take ownership of a file descriptor; close() may be called more than once."""
        return cls(record, fd, offset, io.FileIO(fd).close)  # see OpenSource.from_fd()


class Cache(Protocol):
    """Stores renditions by key. A cache may drop a rendition at any time, and never returns a damaged rendition."""

    async def get(self, key: Digest) -> Rendition | None: ...

    async def put(self, key: Digest, rendition: Rendition) -> None:
        """Store the rendition if there is space. Storage errors are logged and counted, never raised."""
        ...

    async def purge(self, tag_prefix: str) -> int:
        """Delete all entries with a tag that begins with `tag_prefix`; returns the number of deleted entries."""
        ...

    async def close(self) -> None: ...


class TieredCache(Cache, Protocol):
    """Several caches in one, searched from the fastest to the slowest."""

    def peek(self, key: Digest) -> tuple[Rendition, str] | None:
        """A rendition that is available without waiting, and the name of its tier."""
        ...

    async def lookup(self, key: Digest) -> tuple[Rendition, str] | None:
        """A rendition and the name of its tier: memory, disk or shared. Copies the rendition into the faster tiers."""
        ...

    async def find(self, key: Digest) -> tuple[Rendition | StoredRendition, str] | None:
        """The rendition as lookup() returns it, but a large one on the disk is an open file, which the caller
        closes."""
        ...

    async def peek_again(self, key: Digest, name: str) -> tuple[Rendition, str] | None:
        """A rendition that was stored after a lookup missed it: in a tier without waiting, or on disk in the tier
        `name`."""
        ...

    async def find_stale(self, order_key: Digest, *, streams: bool) -> Rendition | StoredRendition | None:
        """A rendition on the disk that a soft purge has purged in the last STALE_S.

        With `streams`, a large one is not read; the caller closes it.
        """
        ...

    async def drop_stale(self, order_key: Digest) -> None:
        """Let find_stale() find no rendition of the order until the next soft purge: the current one is ready."""
        ...

    async def written(self, key: Digest, name: str) -> None:
        """Wait until a rendition that was put is in the tier of this name, or was dropped."""
        ...

    def in_memory(self, tag_prefix: str) -> dict[Digest, Rendition]:
        """The renditions in memory that a purge of `tag_prefix` covers."""
        ...

    async def purge(self, tag_prefix: str, at: tuple[int, int] | None = None, *, soft: bool = False) -> int:
        """Purge every tier. `at` is the position of the purge in the stream of all servers' purges.

        With `soft`, find_stale() finds the renditions that were on the disk.
        """
        ...

    async def purge_own(self, tag_prefix: str, *, soft: bool = False) -> int:
        """Purge every tier except the entries that several servers share. Returns the number of purged entries."""
        ...

    async def forget(self, tag_prefix: str) -> None:
        """Purge the entries in memory and finish pending writes to the disk, before all fronts of this host remove
        files."""
        ...


class RenderLocks(Protocol):
    """Locks of servers or processes that share a tier of the cache, so that only one of them renders an image."""

    @property
    def tier(self) -> str:
        """The name of the shared tier: a lock is released when the image is in it."""
        ...

    @property
    def longest_wait_s(self) -> float:
        """Time after which a lock ends by itself."""
        ...

    async def acquire(self, key: Digest) -> str | None:
        """The token of a new lock; empty if locks are not available; None while another server has the lock."""
        ...

    async def wait(self, key: Digest, until_s: float) -> None:
        """Wait until the lock ends, but not longer than until `until_s` of the monotonic clock."""
        ...

    async def release(self, key: Digest, token: str) -> None: ...


class PurgeKind(Enum):
    """The kind of value by which a purge selects entries. The enum's values are the names in JSON."""

    URL = "url"
    SOURCE = "source"
    PREFIX = "prefix"
    TAG = "tag"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Purge:
    """A purge as an operator requests it. Each server finds the entries of its caches that the purge covers."""

    kind: PurgeKind
    value: str = ""
    soft: bool = False
    """True if purged renditions in memory may be sent until new renditions are ready."""


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """The number of entries that were purged on this server. `sent` is true if the purge reaches the other servers."""

    purged: int
    sent: bool = True
    """False if the purge waits until Redis responds."""


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
    """Counts requests by key in fixed windows of `window_s` seconds. A limit of 0 means no limit."""

    async def hit(self, key: str, limit: int, window_s: int) -> Quota:
        """Count one request against `limit` requests per `window_s` seconds."""
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
        """End the upload. After that, the upload can be opened by the returned reference, its digest."""
        ...

    def discard(self) -> None:
        """Release the bytes. A second call does nothing."""
        ...


class UploadStore(Source, Protocol):
    """The Source of images that were uploaded with requests in progress."""

    def new_writer(self, limit_bytes: int) -> UploadWriter: ...


@dataclass(frozen=True, slots=True)
class StoredResult:
    """Metadata of a stored result. `owner` identifies the API key of the request that created the result."""

    id: str
    format: Format
    bytes: int
    owner: str
    created_s: float
    expires_s: float | None
    """Unix time at which the result expires; None if it is stored until it is deleted or its space is needed."""
    comment: str = ""


class ResultStore(Protocol):
    """Stores results under ids that cannot be guessed. The ids cannot be listed."""

    async def put(self, body: bytes | OpenSource, image_format: Format, owner: str, comment: str = "") -> StoredResult:
        """Store a result under a new id. Raises Overloaded if the disk is full."""
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

    `by` names the author of a change. Methods raise NotFound if an asset or folder is not in the branch, BadRequest for
    an invalid change, DatabaseUnavailable if the database does not respond, and Overloaded if bytes cannot be stored.
    """

    def stack(self, api_key: str) -> assets.Stack | None: ...

    def environments(self, stack: str) -> tuple[assets.Environment, ...]: ...

    def new_environment(self, stack: str, name: str) -> assets.Environment:
        """Create an environment. Raises BadRequest if an environment of the stack has this name."""
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
        """Add a new version with the bytes of the older version `number`."""
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
        """The result of `act`, which runs in a thread and may change the library.

        When this returns, this server delivers the changed assets.
        """
        ...

    async def key(self, kind: assets.KeyKind, secret: str) -> assets.LibraryKey | None:
        """The key with this secret, or None. A key that is in memory is returned without waiting."""
        ...
