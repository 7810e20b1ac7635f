"""What the front asks of a renderer: tasks, and how a renderer is set up. Pickled, and only ever from the front."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from cropmark.geometry.findings import Analysis
from cropmark.model.formats import Info
from cropmark.model.values import Box
from cropmark.plan.plan import Plan
from cropmark.ports import AnalysisResult, ImageDifference, Passthrough, Rendered

if TYPE_CHECKING:  # it brings importlib.resources and with that e-mail: 9 ms of each renderer's start
    from cropmark.analysis.models import Models


class Sandbox(Enum):
    """What becomes of a renderer where the kernel lacks a wall."""

    OFF = "off"
    TRY = "try"
    """It works without, and says what is missing."""
    REQUIRE = "require"
    """The pool does not start."""


class Isolation(Enum):
    """How far foreign bytes (uploads, addresses of strangers) are kept from each other."""

    SHARED = "shared"
    """They share renderers, never with the site's own files."""
    REQUEST = "request"
    """Each request gets a process of its own."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message a renderer gets. Limits hold for the process, CPU time is the front's to raise."""

    sandbox: Sandbox = Sandbox.TRY
    analyst: bool = False
    """Loads what the content analysis needs, which the sandbox would not let it load later."""
    memory_bytes: int = 2 * 2**30
    niceness: int = 10
    floor: bool = True
    """Whether native libraries with published memory bugs keep it from starting."""


@dataclass(frozen=True, slots=True)
class Inspect:
    """The Info of the one source."""


@dataclass(frozen=True, slots=True)
class Analyze:
    """The analysis of the one source. `models` comes with a renderer's first one, which keeps them."""

    models: Models | None = None


@dataclass(frozen=True, slots=True)
class Render:
    """The picture that a Plan makes of the sources; `low_effort`: at the encoder's lowest effort."""

    plan: Plan
    analyzed: AnalysisResult | None = None
    low_effort: bool = False


@dataclass(frozen=True, slots=True)
class DrawOverlay:
    """A PNG of the one source with what was found in it, and the window that was chosen, in upright pixels."""

    analysis: Analysis
    window: Box | None


@dataclass(frozen=True, slots=True)
class Compare:
    """How far the two sources differ."""


Task = Inspect | Analyze | Render | DrawOverlay | Compare
Answer = Rendered | Passthrough | Info | AnalysisResult | ImageDifference
Sources = Sequence[bytes | None]
Work = Callable[[Task, Sources], Answer]
"""What carries tasks out, inside a renderer. Raises Problems."""


@dataclass(frozen=True, slots=True)
class Message:
    """A task and the lengths of its sources in bytes; None where an optional one is missing.

    The descriptors of the others travel beside it, in the same order.
    """

    task: Task
    lengths: tuple[int | None, ...]


MOST_SOURCES = 64
"""How many sources one task may have: each is an open descriptor in the renderer."""
