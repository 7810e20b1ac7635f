"""Limits and security policy of a Pool."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cropmark.model.formats import CmykConversion
from cropmark.renderers.process import COMMAND, ENVIRONMENT
from cropmark.renderers.tasks import Isolation, Sandbox


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Limits and security policy of a Pool."""

    workers: int
    """Tasks that run in parallel."""
    queue_limit: int | None = None
    """Waiting tasks above which the limit on estimated work applies too. None: eight per worker."""
    timeout_s: float = 10.0
    analysis_timeout_s: float = 3.0
    sandbox: Sandbox = Sandbox.TRY
    isolation: Isolation = Isolation.SHARED
    allow_vulnerable_libraries: bool = False
    """If False, start() fails with native libraries that have published memory bugs. If True, it logs a warning."""
    cmyk: CmykConversion = CmykConversion.BROWSER
    memory_bytes: int = 2 * 2**30
    """Address space of one worker."""
    max_body_bytes: int = 256 * 2**20
    """Largest rendition that is accepted from a worker."""
    command: Sequence[str] = COMMAND
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)
