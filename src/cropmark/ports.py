"""What cropmark needs of the outside, on one page. Adapters implement these; pipeline and web know nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType, Protocol, TypeVar

from cropmark.geometry.findings import Analysis
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Plan, RequestWarning
from cropmark.plan.source import SitePath, UploadRef, WebUrl

if TYPE_CHECKING:  # a renderer, whose start somebody may wait for, needs none of it
    from cropmark.model import assets
    from cropmark.model.assets import Asset, BranchRef, Changes, Folder, Publishing

T = TypeVar("T")

Digest = NewType("Digest", str)
"""64 hex digits."""

RENDER_VERSION = "3"
"""Rises whenever the pixels that we make of an equal Plan change; part of every cache key."""


# ---------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True)
class SourceVersion:
    """Which bytes a name stands for now: equal stamps, equal bytes.

    `identity` names the source (`files:sky/blue.jpg`, `web:https://…`), `version` changes whenever its bytes do.
    `generation` counts purges of it. `modified_s` is for Last-Modified, `versioned` tells a name that never changes.
    """

    identity: str
    version: str
    generation: int = 0
    modified_s: float | None = None
    versioned: bool = False
    private: bool = False
    """Only for who asked: no shared cache may keep the answer."""
    cache_control: str | None = None
    """What the web server that it came from said of keeping it."""


@dataclass(frozen=True, slots=True)
class OpenSource:
    """A source ready to be read: a descriptor that whoever holds this closes by close(), its length, its stamp."""

    descriptor: int
    bytes: int
    stamp: SourceVersion
    close: Callable[[], None]


def purge_matches(named: str, identity: str) -> bool:
    """Whether a purge means this source: `named` begins its identity, or is the whole of it with a newline behind."""
    return f"{identity}\n".startswith(named)


class Source(Protocol):
    """Where pictures come from.

    Problems: SourceMissing, SourceRefused, SourceTooLarge, SourceFailed, SourceTimeout.
    """

    def stat(self, where: SitePath | WebUrl | UploadRef) -> SourceVersion | None:
        """The stamp, where it can be told at once and without waiting; None: open() will tell.

        Raises SourceMissing where it can be told at once that there is none.
        """
        ...

    async def open(self, where: SitePath | WebUrl | UploadRef) -> OpenSource: ...

    def identity(self, where: SitePath | WebUrl | UploadRef) -> str:
        """What its stamps will call it, whether or not there is such a source."""
        ...

    def purge(self, named: str) -> None:
        """The sources that `named` covers are of a new generation from now on."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- renderers


@dataclass(frozen=True, slots=True)
class Facts:
    """What a renderer learned of the first source and of the result; all that headers tell of them."""

    source: Info | None = None
    size: Size | None = None
    frames: int = 1
    focus: str | None = None
    format: Format | None = None
    """Of the bytes that go out."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Milliseconds spent per stage, for Server-Timing."""

    stages: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Rendered:
    """An encoded picture."""

    body: bytes
    format: Format
    facts: Facts
    warnings: tuple[RequestWarning, ...] = ()
    timing: Timing = Timing()
    low_effort: bool = False
    """Made at the encoder's lowest effort because of load: kept for a minute only."""


@dataclass(frozen=True, slots=True)
class Passthrough:
    """The first source's bytes are the answer."""

    reason: Reason
    facts: Facts
    warnings: tuple[RequestWarning, ...] = ()
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class AnalysisResult:
    """An analysis, or why there is none; `passing` where another try may bring one."""

    analysis: Analysis | None
    reason: str = ""
    transient: bool = False


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """How far two pictures differ, in levels of 0 to 255, over their common size: on average, and at most.

    `psnr_db` is the peak signal-to-noise ratio; None where no pixel differs.
    """

    size: Size
    mean: float
    maximum: int
    psnr_db: float | None


class Renderers(Protocol):
    """Processes around the engine. The only ones that decode.

    `client` is who asks, for fair shares of a full queue.
    Problems: Impossible, SourceUnusable, SourceTooLarge, Overloaded, Breakdown.
    """

    async def render(
        self,
        sources: Sequence[OpenSource | None],
        plan: Plan,
        analyzed: AnalysisResult | None = None,
        *,
        foreign: bool = False,
        client: str | None = None,
    ) -> Rendered | Passthrough:
        """Make the picture. Cancelled while queued, it is dropped; cancelled while running, it is finished."""
        ...

    async def inspect(self, source: OpenSource, *, foreign: bool = False, client: str | None = None) -> Info: ...

    async def analyze(
        self, source: OpenSource, *, foreign: bool = False, client: str | None = None
    ) -> AnalysisResult: ...

    async def draw(self, source: OpenSource, analysis: Analysis, window: Box | None) -> Rendered:
        """A PNG of the source with what was found in it, and the window that was chosen, in upright pixels."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- caches


@dataclass(frozen=True, slots=True)
class Record:
    """All of a rendition but its body. Small; a 304 and every header are told from it alone."""

    media_type: str
    etag: str
    """Quoted, strong: the digest of the body."""
    length: int
    facts: Facts = Facts()
    warnings: tuple[RequestWarning, ...] = ()
    versions: tuple[SourceVersion, ...] = ()
    tags: tuple[str, ...] = ()
    """What a purge may name it by: `source:<identity>`, `url:<path?query>`, `tag:<word>`, each closed by a newline.

    A purge names the beginning; with the newline, the whole.
    """
    original: Reason | None = None
    """The verdict that the first source goes out as it is; the body is empty then."""
    expires_s: float | None = None
    """Unix time after which it is not served; None: never."""

    @property
    def is_transient(self) -> bool:
        """Whether there may soon be a better one: it lacks something, or its source is broken, perhaps half there."""
        return self.expires_s is not None or self.original is Reason.UNREADABLE


@dataclass(frozen=True, slots=True)
class Rendition:
    """An encoded result with its record."""

    body: bytes = field(repr=False)
    record: Record = field(kw_only=True)


class Cache(Protocol):
    """Keeps renditions by key; may forget any of them at any time, and never answers with a damaged one."""

    async def get(self, key: Digest) -> Rendition | None: ...

    async def put(self, key: Digest, rendition: Rendition) -> None:
        """Keep it if there is room; trouble with storage is logged and counted, never raised."""
        ...

    async def purge(self, tag_prefix: str) -> int:
        """Forget all with a tag that begins with this; how many there were."""
        ...

    async def close(self) -> None: ...


class TieredCache(Cache, Protocol):
    """Several caches read through from the quickest to the slowest."""

    def peek(self, key: Digest) -> tuple[Rendition, str] | None:
        """A rendition and the tier that had it, where it can be told at once, without waiting."""
        ...

    async def lookup(self, key: Digest) -> tuple[Rendition, str] | None:
        """A rendition and the tier that had it: memory, disk or shared. It is in the quicker ones from now on."""
        ...


# ---------------------------------------------------------------------------------------------- limits


@dataclass(frozen=True, slots=True)
class Quota:
    """Where a caller stands: so many in a window, so many left, and when to come back if none is."""

    limit: int
    remaining: int
    retry_after_s: int = 0

    @property
    def exceeded(self) -> bool:
        return self.retry_after_s > 0


class Limiter(Protocol):
    """Counts requests by key in windows of a second."""

    async def hit(self, key: str, limit_per_s: int) -> Quota:
        """Count one."""
        ...

    def peek(self, key: str, limit_per_s: int) -> Quota:
        """What this process saw last; counts nothing, asks nobody."""
        ...


# ---------------------------------------------------------------------------------------------- strangers' pictures


class UploadWriter(Protocol):
    """The bytes of a picture on their way in, piece by piece; whoever began it discards it at the request's end."""

    @property
    def length(self) -> int:
        """Bytes that have come."""
        ...

    def write(self, piece: bytes) -> None:
        """Raises SourceTooLarge past the limit, Overloaded where there is no room."""
        ...

    def finish(self) -> UploadRef:
        """All has come: from now on the bytes can be opened by their digest."""
        ...

    def discard(self) -> None:
        """Let go of the bytes; a second time does nothing."""
        ...


class UploadStore(Source, Protocol):
    """The Source of pictures that came with requests which are still being answered."""

    def new_writer(self, limit_bytes: int) -> UploadWriter: ...


@dataclass(frozen=True, slots=True)
class StoredResult:
    """A stored result: what is known of it, not its bytes. `owner` stands for the key that it was made with."""

    id: str
    format: Format
    bytes: int
    owner: str
    created_s: float
    expires_s: float | None
    """Unix time from which on it is gone; None: only when it is forgotten, or room is needed."""
    comment: str = ""


class ResultStore(Protocol):
    """Keeps pictures under ids that nobody can guess. There is no list of them."""

    async def put(self, body: bytes | OpenSource, kind: Format, owner: str, comment: str = "") -> StoredResult:
        """Raises Overloaded where there is no room."""
        ...

    async def open(self, media_id: str) -> tuple[StoredResult, OpenSource] | None:
        """The result, which the caller closes; None where there is none of this id, or none any more."""
        ...

    async def delete(self, media_id: str, owner: str) -> bool:
        """Remove it; False where the owner has none of this id."""
        ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------------------------------------- the library


class Library(Protocol):
    """Keeps assets. Its calls wait for a database and a disk: made in threads. Each does all that it does, or nothing.

    Problems: NotFound for what is not in the place, BadOrder, Overloaded where it cannot be reached.
    """

    def stack(self, api_key: str) -> assets.Stack | None: ...

    def environments(self, stack: str) -> tuple[assets.Environment, ...]: ...

    def new_environment(self, stack: str, name: str) -> assets.Environment:
        """Raises BadOrder where an environment has that name."""
        ...

    def add(
        self, place: BranchRef, upload: assets.UploadInfo, source: OpenSource, changes: Changes, by: str
    ) -> Asset: ...

    def replace(
        self, place: BranchRef, uid: str, upload: assets.UploadInfo, source: OpenSource, changes: Changes, by: str
    ) -> Asset:
        """A new version. What is published stays published as it is."""
        ...

    def restore(self, place: BranchRef, uid: str, number: int, by: str) -> Asset:
        """An older version's bytes, as a new version."""
        ...

    def name_version(self, place: BranchRef, uid: str, number: int, name: str | None) -> None:
        """What people call a version; None: its number."""
        ...

    def change(self, place: BranchRef, uid: str, changes: Changes, by: str) -> Asset: ...

    def delete(self, place: BranchRef, uid: str) -> None: ...

    def publish(self, place: BranchRef, uid: str, wanted: Publishing, by: str) -> None: ...

    def unpublish(self, place: BranchRef, uid: str, wanted: Publishing, by: str) -> None: ...

    def asset(self, place: BranchRef, uid: str, number: int | None = None) -> Asset: ...

    def versions(self, place: BranchRef, uid: str) -> tuple[assets.Version, ...]:
        """The newest first."""
        ...

    def list_entries(self, place: BranchRef, listing: assets.Listing) -> assets.ListPage: ...

    def folder(self, place: BranchRef, uid: str) -> Folder: ...

    def new_folder(self, place: BranchRef, name: str, parent_uid: str | None, by: str) -> Folder: ...

    def change_folder(self, place: BranchRef, uid: str, changes: Changes, by: str) -> Folder: ...

    def delete_folder(self, place: BranchRef, uid: str) -> None:
        """With all that is in it."""
        ...


class LibraryAccess(Protocol):
    """A library as a server has it open."""

    async def read(self, act: Callable[[Library], T]) -> T:
        """What the act returns, done in a thread."""
        ...

    async def write(self, act: Callable[[Library], T]) -> T:
        """The same; when this returns, deliveries of this server know of what was changed."""
        ...

    async def key(self, kind: assets.KeyKind, secret: str) -> assets.LibraryKey | None:
        """Which key a secret is; None for no key. For one that is known nothing is waited for."""
        ...
