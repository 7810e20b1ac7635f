"""Messages from the front to a worker: its setup and its tasks. Pickled, in this direction only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from cropmark.geometry.findings import Analysis
from cropmark.model.formats import CmykConversion, Info
from cropmark.model.values import Box
from cropmark.plan.plan import Plan
from cropmark.ports import AnalysisResult, ImageDifference, Passthrough, Rendered
from cropmark.runtime.reads import Data

if TYPE_CHECKING:  # it imports importlib.resources and with it email: 9 ms of each worker's start
    from cropmark.analysis.models import Models


class Sandbox(Enum):
    """Policy for a kernel that lacks a layer of the sandbox."""

    OFF = "off"
    TRY = "try"
    """Start without the missing layers and report them."""
    REQUIRE = "require"
    """Do not start."""


class Isolation(Enum):
    """Isolation of untrusted sources (uploads, URLs from clients) from each other."""

    SHARED = "shared"
    """They share workers with each other, but never with trusted sources."""
    REQUEST = "request"
    """Each request gets its own process."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a worker. The limits hold for its lifetime; the front extends its CPU time per task."""

    sandbox: Sandbox = Sandbox.TRY
    with_analysis: bool = False
    """Load the content analysis too; the sandbox prevents loading it later."""
    memory_bytes: int = 2 * 2**30
    niceness: int = 10
    allow_vulnerable_libraries: bool = False
    """True if native libraries with published memory bugs do not prevent the start."""
    cmyk: CmykConversion = CmykConversion.BROWSER


@dataclass(frozen=True, slots=True)
class Inspect:
    """Returns the Info of the one source."""


@dataclass(frozen=True, slots=True)
class Analyze:
    """Returns the analysis of the one source, if the limits of the plan allow decoding it.

    The first such task of a worker includes the models; it stores them.
    """

    plan: Plan
    models: Models | None = None


@dataclass(frozen=True, slots=True)
class Render:
    """Returns the rendition of the sources by a Plan. `low_effort` selects the encoder's lowest effort."""

    plan: Plan
    analysis: AnalysisResult | None = None
    low_effort: bool = False


@dataclass(frozen=True, slots=True)
class DrawOverlay:
    """Returns a PNG of the one source with its analysis and the crop window, both in upright pixels, drawn on it."""

    analysis: Analysis
    window: Box | None


@dataclass(frozen=True, slots=True)
class Compare:
    """Returns the difference of the two sources."""


Task = Inspect | Analyze | Render | DrawOverlay | Compare
TaskResult = Rendered | Passthrough | Info | AnalysisResult | ImageDifference
SourceBytes = Sequence[Data | None]
TaskHandler = Callable[[Task, SourceBytes], TaskResult]
"""Executes tasks inside a worker. Raises Problems."""


@dataclass(frozen=True, slots=True)
class Message:
    """A task and the lengths of its sources in bytes, None for an optional source that is missing.

    The descriptors of the present sources are sent with the message, in the same order.
    """

    task: Task
    lengths: tuple[int | None, ...]


EXIT_OWN_FAULT = 70
"""Exit status of a worker that ends by an error in our own code. A decoder that ends the process gives another one."""

MAX_SOURCES = 64
"""Most sources of one task: each is an open descriptor in the worker."""
