"""The client of a batch: runs a limited number of tasks on a Dask cluster at a time, and reports each outcome."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from distributed import Client, LocalCluster, as_completed
from distributed.scheduler import KilledWorker

from cropmark.batch.tasks import Job, Outcome, Task
from cropmark.batch.worker import BatchWorker, make
from cropmark.model.problems import BadRequest

THREADS: Final = 2
"""The threads of a worker for each renderer. So one task is rendered while another task is read or written."""
_WINDOW: Final = 4
"""The tasks on the cluster at a time, for each thread. A million tasks would fill the scheduler's memory."""
_MIN_WINDOW: Final = 32
CONNECT_S: Final = 10.0


@contextmanager
def open_client(cluster: str | None, workers: int, renderers: int) -> Iterator[Any]:
    """A client of the Dask scheduler at the address `cluster`. Without an address, a local cluster is started.

    Raises BadRequest if the scheduler does not respond.
    """
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # lost workers and failures are reported by us
    if cluster is not None:
        try:
            client = Client(cluster, timeout=CONNECT_S)
        except (OSError, ValueError) as error:
            fix = "start one: dask scheduler"
            raise BadRequest(f"no scheduler at {cluster}: {str(error) or type(error).__name__}", fix=fix) from error
        with client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=THREADS * renderers,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        ) as local,
        Client(local) as client,
    ):
        yield client


def run_batch(client: Any, tasks: Mapping[str, Task], job: Job, report: Callable[[Task, Outcome], None]) -> float:
    """Run the tasks; returns the seconds from the first task to the last outcome.

    `report` is called with each outcome as soon as it is known. Raises the errors of BatchWorker.setup().
    """
    client.register_plugin(BatchWorker(job))
    started_s = time.perf_counter()
    try:
        waiting = iter(tasks.values())
        running = as_completed(with_results=True, raise_errors=False)
        for task in islice(waiting, _window(client)):
            running.add(_submit(client, task, job))
        for future, result in running:
            outcome = result if isinstance(result, Outcome) else Outcome(future.key, "", reason=_reason(result))
            report(tasks[future.key], outcome)
            # Without its future the scheduler forgets the result, which it would otherwise make again if it is lost.
            future.release()
            for task in islice(waiting, 1):
                running.add(_submit(client, task, job))
        return time.perf_counter() - started_s
    finally:
        client.unregister_worker_plugin(job.name)


def _window(client: Any) -> int:
    threads: dict[str, int] = client.nthreads()
    return max(_MIN_WINDOW, _WINDOW * sum(threads.values()))


def _submit(client: Any, task: Task, job: Job) -> Any:
    return client.submit(make, task, job.name, key=task.key)


def _reason(error: Any) -> str:
    """The reason why Dask could not complete a task. `error` is an exception, or its type, value and traceback."""
    found = error[1] if isinstance(error, tuple) else error
    if isinstance(found, KilledWorker):
        return "worker_lost: each worker that made it was killed"
    return f"internal_error: {type(found).__name__}: {found}"[:500]
