"""The plugin of a Dask worker. It has its own pipeline and renderers, and makes one rendition for each task."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from distributed import WorkerPlugin, get_worker

from cropmark.api import RenderedImage, adapted, deliver_image, image_order
from cropmark.batch.output import Output, open_output
from cropmark.batch.tasks import Job, Outcome, Task
from cropmark.caches.memory import MemoryCache
from cropmark.caches.tiered import TieredCaches
from cropmark.config.site import SiteSettings
from cropmark.dialects.dialect import ImageRequest, Response
from cropmark.model.problems import Overloaded, Problem, SourceUnusable, Unprocessable
from cropmark.ports import Source
from cropmark.renderers.pool import WorkerStartError
from cropmark.runtime.metrics import Metrics
from cropmark.runtime.object_store import STORE_ERRORS, StoreUnusable, failure_reason
from cropmark.server.components import build_pipeline, build_pool
from cropmark.server.errors import StartupError
from cropmark.server.sites import build_dialect, build_source
from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.remote import ignore_fetch

_MAX_ATTEMPTS: Final = 5
_CACHE_BYTES: Final = 4 * 2**20
"""The size of the memory cache. It stores the analysis of a source, which several sizes of an image share."""


async def make(task: Task, job: str) -> Outcome:
    """Make and store the rendition of a task, with the worker's plugin for the job. Dask calls this function.

    Returns an Outcome for a Problem too.
    """
    worker = get_worker()
    plugin = worker.plugins[job]
    assert isinstance(plugin, BatchWorker)
    return await plugin.make(task, worker.address)


class BatchWorker(WorkerPlugin):  # type: ignore[misc]  # Any: see pyproject.toml
    """The plugin that makes renditions on a worker. Dask also adds it to workers that join or replace others later."""

    def __init__(self, job: Job) -> None:
        self.name = job.name
        self._job = job

    async def setup(self, worker: Any) -> None:
        """Start the pipeline and the renderers. Raises StartupError, which the client receives."""
        self._stack = AsyncExitStack()
        try:
            await self._open(worker)
        except BaseException:
            await self._stack.aclose()
            raise

    async def _open(self, worker: Any) -> None:
        job = self._job
        settings = job.settings.model_copy(update={"renderers": job.renderers})
        pool = build_pool(settings)
        try:
            self._output: Output = open_output(job.output, role=settings.allow_instance_credentials)
        except StoreUnusable as error:
            raise StartupError(error.what, error.fix) from error
        # The dialect and the prefix of the site do not matter: each task has its dialect.
        site = SiteSettings(prefix="/batch", dialect="fastly", source=job.source)
        folder = Path(worker.local_directory) / f"{job.name}-originals"  # Dask removes it
        originals = OriginalCache(folder, settings.originals_cache_bytes)
        self._source: Source = build_source(settings, site, originals, None, ignore_fetch)
        self._stack.push_async_callback(self._source.close)
        try:
            await pool.start()
        except WorkerStartError as error:
            raise StartupError(f"the renderers cannot start: {error}", "run cropmark doctor on the worker") from error
        self._stack.push_async_callback(pool.close)
        self._pipeline = build_pipeline(settings, TieredCaches([MemoryCache(_CACHE_BYTES)]), pool, Metrics())
        self._stack.push_async_callback(self._pipeline.close)

    async def teardown(self, worker: Any) -> None:
        """Stop the renderers, and close the pipeline and the source."""
        del worker
        await self._stack.aclose()

    async def make(self, task: Task, address: str) -> Outcome:
        """Make and store the rendition of a task."""
        try:
            image = await self._image(task)
            if image.is_fallback:
                raise SourceUnusable("the image could not be processed; a server would send it unchanged")
            await self._output.write(task.entry.output, image.body, image.media_type)
        except Problem as problem:
            return Outcome(task.key, address, reason=f"{problem.code}: {problem.detail}")
        except STORE_ERRORS as error:
            return Outcome(task.key, address, reason=f"the result cannot be written: {failure_reason(error)}")
        return Outcome(task.key, address, len(image.body))

    async def _image(self, task: Task) -> RenderedImage:
        """The rendition of a task. While the renderers are overloaded, it is tried up to _MAX_ATTEMPTS times.

        Raises Problems.
        """
        entry = task.entry
        dialect = build_dialect(entry.dialect, self._job.settings)
        request = ImageRequest(entry.source, entry.query, {"accept": self._job.accept})
        order = image_order(dialect, request, Path(entry.output).suffix)
        if isinstance(order, Response):
            raise Unprocessable(f"the dialect answers this query with a response of status {order.status}")
        order = adapted(order, self._job.settings)
        for attempt in range(1, _MAX_ATTEMPTS):
            try:
                return await deliver_image(self._pipeline, self._source, order)
            except Overloaded as problem:
                await asyncio.sleep(problem.retry_after_s or attempt)
        return await deliver_image(self._pipeline, self._source, order)
