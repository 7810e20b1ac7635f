"""What cropmark needs of the outside, on one page. Adapters implement these; pipeline and web know nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NewType, Protocol, TypeVar

from cropmark.geometry.findings import Analysis
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.values import Box, Size
from cropmark.plan.plan import Plan, Warned
from cropmark.plan.source import SitePath, Upload, WebUrl

if TYPE_CHECKING:  # a renderer, whose start somebody may wait for, needs none of it
    from cropmark.model import assets
    from cropmark.model.assets import Asset, Changes, Folder, Place, Publishing

T = TypeVar("T")

Digest = NewType("Digest", str)
"""64 hex digits."""

MADE_BY = "3"
"""Rises whenever the pixels that we make of an equal Plan change; part of every cache key."""


# ---------------------------------------------------------------------------------------------- sources


@dataclass(frozen=True, slots=True)
class Stamp:
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
class Opened:
    """A source ready to be read: a descriptor that whoever holds this closes by close(), its length, its stamp."""

    descriptor: int
    bytes: int
    stamp: Stamp
    close: Callable[[], None]


def covers(named: str, identity: str) -> bool:
    """Whether a purge means this source: `named` begins its identity, or is the whole of it with a newline behind."""
    return f"{identity}\n".startswith(named)


class Source(Protocol):
    """Where pictures come from.

    Problems: SourceMissing, SourceRefused, SourceTooLarge, SourceFailed, SourceTimeout.
    """

    def glance(self, where: SitePath | WebUrl | Upload) -> Stamp | None:
        """The stamp, where it can be told at once and without waiting; None: open() will tell.

        Raises SourceMissing where it can be told at once that there is none.
        """
        ...

    async def open(self, where: SitePath | WebUrl | Upload) -> Opened: ...

    def identity(self, where: SitePath | WebUrl | Upload) -> str:
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
class Made:
    """An encoded picture."""

    body: bytes
    format: Format
    facts: Facts
    warnings: tuple[Warned, ...] = ()
    timing: Timing = Timing()
    reduced: bool = False
    """Made at the encoder's lowest effort because of load: kept for a minute only."""


@dataclass(frozen=True, slots=True)
class AsItIs:
    """The first source's bytes are the answer."""

    reason: Reason
    facts: Facts
    warnings: tuple[Warned, ...] = ()
    timing: Timing = Timing()


@dataclass(frozen=True, slots=True)
class Analysed:
    """An analysis, or why there is none; `passing` where another try may bring one."""

    analysis: Analysis | None
    reason: str = ""
    passing: bool = False


@dataclass(frozen=True, slots=True)
class Compared:
    """How far two pictures differ, in levels of 0 to 255, over their common size: on average, and at most.

    `psnr_db` is the peak signal-to-noise ratio; None where no pixel differs.
    """

    size: Size
    mean: float
    most: int
    psnr_db: float | None


class Renderers(Protocol):
    """Processes around the engine. The only ones that decode.

    `client` is who asks, for fair shares of a full queue.
    Problems: Impossible, SourceUnusable, SourceTooLarge, Overloaded, Breakdown.
    """

    async def render(
        self,
        sources: Sequence[Opened | None],
        plan: Plan,
        analysed: Analysed | None = None,
        *,
        foreign: bool = False,
        client: str | None = None,
    ) -> Made | AsItIs:
        """Make the picture. Cancelled while queued, it is dropped; cancelled while running, it is finished."""
        ...

    async def inspect(self, source: Opened, *, foreign: bool = False, client: str | None = None) -> Info: ...

    async def analyse(self, source: Opened, *, foreign: bool = False, client: str | None = None) -> Analysed: ...

    async def draw(self, source: Opened, analysis: Analysis, window: Box | None) -> Made:
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
    warnings: tuple[Warned, ...] = ()
    stamps: tuple[Stamp, ...] = ()
    tags: tuple[str, ...] = ()
    """What a purge may name it by: `source:<identity>`, `url:<path?query>`, `tag:<word>`, each closed by a newline.

    A purge names the beginning; with the newline, the whole.
    """
    original: Reason | None = None
    """The verdict that the first source goes out as it is; the body is empty then."""
    expires_s: float | None = None
    """Unix time after which it is not served; None: never."""

    @property
    def is_passing(self) -> bool:
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


class Tiered(Cache, Protocol):
    """Several caches read through from the quickest to the slowest."""

    def peek(self, key: Digest) -> tuple[Rendition, str] | None:
        """A rendition and the tier that had it, where it can be told at once, without waiting."""
        ...

    async def get_from(self, key: Digest) -> tuple[Rendition, str] | None:
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

    async def take(self, key: str, limit_per_s: int) -> Quota:
        """Count one."""
        ...

    def last(self, key: str, limit_per_s: int) -> Quota:
        """What this process saw last; counts nothing, asks nobody."""
        ...


# ---------------------------------------------------------------------------------------------- strangers' pictures


class Intake(Protocol):
    """The bytes of a picture on their way in, piece by piece; whoever began it discards it at the request's end."""

    @property
    def length(self) -> int:
        """Bytes that have come."""
        ...

    def write(self, piece: bytes) -> None:
        """Raises SourceTooLarge past the limit, Overloaded where there is no room."""
        ...

    def held(self) -> Upload:
        """All has come: from now on the bytes can be opened by their digest."""
        ...

    def discard(self) -> None:
        """Let go of the bytes; a second time does nothing."""
        ...


class Uploads(Source, Protocol):
    """The Source of pictures that came with requests which are still being answered."""

    def intake(self, limit_bytes: int) -> Intake: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """A stored result: what is known of it, not its bytes. `owner` stands for the key that it was made with."""

    id: str
    format: Format
    bytes: int
    owner: str
    made_s: float
    expires_s: float | None
    """Unix time from which on it is gone; None: only when it is forgotten, or room is needed."""
    comment: str = ""


class Results(Protocol):
    """Keeps pictures under ids that nobody can guess. There is no list of them."""

    async def keep(self, body: bytes | Opened, kind: Format, owner: str, comment: str = "") -> Kept:
        """Raises Overloaded where there is no room."""
        ...

    async def open(self, media_id: str) -> tuple[Kept, Opened] | None:
        """The result, which the caller closes; None where there is none of this id, or none any more."""
        ...

    async def forget(self, media_id: str, owner: str) -> bool:
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

    def add(self, place: Place, upload: assets.Upload, source: Opened, changes: Changes, by: str) -> Asset: ...

    def replace(
        self, place: Place, uid: str, upload: assets.Upload, source: Opened, changes: Changes, by: str
    ) -> Asset:
        """A new version. What is published stays published as it is."""
        ...

    def restore(self, place: Place, uid: str, number: int, by: str) -> Asset:
        """An older version's bytes, as a new version."""
        ...

    def name_version(self, place: Place, uid: str, number: int, name: str | None) -> None:
        """What people call a version; None: its number."""
        ...

    def change(self, place: Place, uid: str, changes: Changes, by: str) -> Asset: ...

    def delete(self, place: Place, uid: str) -> None: ...

    def publish(self, place: Place, uid: str, wanted: Publishing, by: str) -> None: ...

    def unpublish(self, place: Place, uid: str, wanted: Publishing, by: str) -> None: ...

    def asset(self, place: Place, uid: str, number: int | None = None) -> Asset: ...

    def versions(self, place: Place, uid: str) -> tuple[assets.Version, ...]:
        """The newest first."""
        ...

    def listed(self, place: Place, listing: assets.Listing) -> assets.Page: ...

    def folder(self, place: Place, uid: str) -> Folder: ...

    def new_folder(self, place: Place, name: str, parent_uid: str | None, by: str) -> Folder: ...

    def change_folder(self, place: Place, uid: str, changes: Changes, by: str) -> Folder: ...

    def delete_folder(self, place: Place, uid: str) -> None:
        """With all that is in it."""
        ...


class LiveLibrary(Protocol):
    """A library as a server has it open."""

    async def ask(self, act: Callable[[Library], T]) -> T:
        """What the act returns, done in a thread."""
        ...

    async def change(self, act: Callable[[Library], T]) -> T:
        """The same; when this returns, deliveries of this server know of what was changed."""
        ...

    async def key(self, kind: assets.KeyKind, secret: str) -> assets.Key | None:
        """Which key a secret is; None for no key. For one that is known nothing is waited for."""
        ...
