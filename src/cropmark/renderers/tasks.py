"""The messages from the front to a worker: its setup and its tasks. They are pickled; replies are not (protocol.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from cropmark.geometry.findings import Analysis
from cropmark.model.appearance import Appearance
from cropmark.model.formats import CmykConversion, Info
from cropmark.model.values import Box
from cropmark.plan.plan import Plan
from cropmark.ports import AnalysisResult, ImageDifference, Passthrough, Rendered
from cropmark.runtime.reads import Data

if TYPE_CHECKING:  # it imports importlib.resources and with it email: 9 ms of each worker's start
    from cropmark.analysis.models import Models


UNLIMITED = 2**62
"""A grant of memory that is enough for any task."""


class Sandbox(Enum):
    """The policy for workers if the system lacks a layer of the sandbox. OFF starts workers without a sandbox."""

    OFF = "off"
    TRY = "try"
    """Start the worker without the missing layers, and report these."""
    REQUIRE = "require"
    """Do not start the worker."""


class Isolation(Enum):
    """The isolation of untrusted sources (uploads, URLs from clients) from each other."""

    SHARED = "shared"
    """Untrusted sources share workers with each other, but never with trusted sources."""
    REQUEST = "request"
    """Each request with an untrusted source gets a new worker process."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a worker, with its settings and limits. The front extends the CPU limit for each task."""

    sandbox: Sandbox = Sandbox.TRY
    with_analysis: bool = False
    """True to load the content analysis at the start, since the sandbox prevents loading it later."""
    memory_bytes: int = 2 * 2**30
    niceness: int = 10
    allow_vulnerable_libraries: bool = False
    """True if native libraries with published memory bugs do not prevent the start."""
    cmyk: CmykConversion = CmykConversion.BROWSER
    reads_svg: bool = False
    """True to draw SVGs for the plans that read them."""
    frame_cache_bytes: int = 0
    """The memory in which decoded pixels of the last source are cached, in addition to `memory_bytes`; 0 for no cache.
    """


@dataclass(frozen=True, slots=True)
class Inspect:
    """A task with one source. The result is the Info of the source."""


@dataclass(frozen=True, slots=True)
class Analyze:
    """A task with one source. The result is its analysis, or the reason if the limits of the plan forbid decoding it.

    The first Analyze task for a worker includes the models, which the worker stores for later tasks.
    """

    plan: Plan
    models: Models | None = None


@dataclass(frozen=True, slots=True)
class Describe:
    """A task with one source.

    The result is its Appearance. Fails if the limits of the plan forbid decoding the source.
    """

    plan: Plan


@dataclass(frozen=True, slots=True)
class Render:
    """A task with all sources of a Plan. The result is the rendition, or a Passthrough.

    `low_effort` selects the encoder's lowest effort. `cached_name` identifies the first source and its version; it is
    missing if the worker must not cache frames of the source.
    """

    plan: Plan
    analysis: AnalysisResult | None = None
    low_effort: bool = False
    cached_name: str | None = None


@dataclass(frozen=True, slots=True)
class DrawOverlay:
    """A task with one source. The result is a PNG of the source with its analysis and the crop window drawn on it.

    The window is in pixels of the upright source.
    """

    analysis: Analysis
    window: Box | None


@dataclass(frozen=True, slots=True)
class Compare:
    """A task with two sources. The result is the difference between them."""


Task = Inspect | Analyze | Describe | Render | DrawOverlay | Compare
TaskResult = Rendered | Passthrough | Info | AnalysisResult | Appearance | ImageDifference
SourceBytes = Sequence[Data | None]
TaskHandler = Callable[[Task, SourceBytes, int], TaskResult]
"""Executes a task inside a worker: task, sources, granted memory in bytes. Raises Problems, and OverGrant."""


@dataclass(frozen=True, slots=True)
class Message:
    """A task, and the length of each of its sources in bytes (None for an optional source that is missing).

    The descriptors of the present sources are sent with the message, in the order of the sources.
    """

    task: Task
    lengths: tuple[int | None, ...]
    grant_bytes: int = UNLIMITED
    """The memory that the task may take in addition to that of an idle worker.

    A worker rejects a task that needs more.
    """


EXIT_OWN_FAULT = 70
"""The exit status of a worker after an error in our own code, as opposed to an error of a decoder."""

MAX_SOURCES = 64
"""The most sources of one task. Each is an open descriptor in the worker."""
