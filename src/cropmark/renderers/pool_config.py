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
    """Maximum number of tasks that run in parallel."""
    queue_limit: int = 512
    """Maximum number of waiting tasks, however short they are: each holds a file open."""
    deadline_s: float = 10.0
    """Time from queuing to result. A task that would probably take longer is rejected."""
    timeout_s: float = 10.0
    analysis_timeout_s: float = 3.0
    sandbox: Sandbox = Sandbox.TRY
    isolation: Isolation = Isolation.SHARED
    allow_vulnerable_libraries: bool = False
    """If False, start() fails with native libraries that have published memory bugs. If True, it logs a warning."""
    cmyk: CmykConversion = CmykConversion.BROWSER
    reads_svg: bool = False
    """True: the workers draw SVGs for the plans that read them."""
    memory_bytes: int = 2 * 2**30
    """Address space of one worker."""
    frame_cache_bytes: int = 48 * 2**20
    """Memory in which each worker for trusted sources caches decoded pixels of its last source; 0: no cache."""
    total_memory_bytes: int | None = None
    """Memory limit of the server together with all workers. None: no limit."""
    cache_bytes: int = 0
    """The part of `total_memory_bytes` that a full memory cache of the front process takes."""
    max_body_bytes: int = 256 * 2**20
    """Largest rendition that is accepted from a worker."""
    forks: bool = False
    """True: workers are forks of one process, which makes this process a subreaper. Without effect except on Linux."""
    command: Sequence[str] | None = None
    """The command that starts a worker, or with `forks` the process that forks them; None: cropmark's own."""
    environment: Mapping[str, str] = field(default_factory=lambda: ENVIRONMENT)


def starter_for(config: PoolConfig) -> Starter:
    """The way in which the workers are started."""
    if config.forks and sys.platform == "linux":
        return ForkServer(config.command or FORK_SERVER, config.environment)
    return NewProcess(config.command or COMMAND, config.environment)
