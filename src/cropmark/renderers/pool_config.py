"""Limits and security policy of a Pool."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cropmark.model.formats import CmykConversion
from cropmark.renderers.process import COMMAND, ENVIRONMENT
from cropmark.renderers.starters import FORK_SERVER, ForkServer, NewProcess, Starter
from cropmark.renderers.tasks import Isolation, Sandbox


@dataclass(frozen=True, slots=True)
class PoolConfig:
    """Limits and security policy of a Pool."""

    workers: int
    """The most tasks that run in parallel."""
    queue_limit: int = 512
    """The most tasks that may wait, however short they are: each has an open file."""
    deadline_s: float = 10.0
    """The time from queuing to result. A task that would probably take longer is rejected."""
    timeout_s: float = 10.0
    analysis_timeout_s: float = 3.0
    sandbox: Sandbox = Sandbox.TRY
    isolation: Isolation = Isolation.SHARED
    allow_vulnerable_libraries: bool = False
    """If False, start() fails with native libraries that have published memory bugs. If True, it logs a warning."""
    cmyk: CmykConversion = CmykConversion.BROWSER
    reads_svg: bool = False
    """True if the workers draw SVGs, for the plans that read them."""
    memory_bytes: int = 2 * 2**30
    """The address space of one worker."""
    frame_cache_bytes: int = 48 * 2**20
    """The memory in which a worker for trusted sources caches decoded pixels of its last source; 0 for no cache."""
    total_memory_bytes: int | None = None
    """The memory limit of the server together with all workers; None for no limit."""
    cache_bytes: int = 0
    """The part of `total_memory_bytes` that a full memory cache of the front process takes."""
    max_body_bytes: int = 256 * 2**20
    """The size of the largest rendition that is accepted from a worker."""
    forks: bool = False
    """True to start workers as forks of one process, which makes this process a subreaper.

    Has an effect only on Linux.
    """
    command: Sequence[str] | None = None
    """The command that starts a worker or, with `forks`, the process that forks workers.

    None means cropmark's own command.
    """
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)


def starter_for(config: PoolConfig) -> Starter:
    """The Starter that starts the workers as the configuration demands: by forks or as new processes."""
    if config.forks and sys.platform == "linux":
        return ForkServer(config.command or FORK_SERVER, config.environment)
    return NewProcess(config.command or COMMAND, config.environment)
