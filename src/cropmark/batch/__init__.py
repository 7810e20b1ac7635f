"""Renders the lines of a manifest on the workers of a Dask cluster.

manifest ─▶ Tasks that are not in the journal ─▶ a limited number of Dask tasks ─▶ Outcomes ─▶ journal, failures
 each worker: BatchWorker ─▶ a Pipeline of its own: source ─▶ sandboxed renderers ─▶ the output, written atomically

Rules:
- The key of a Task is the digest of everything that decides its result, except the content of the source.
- A Task runs twice if its worker was killed. This does no harm: the second result replaces the first.
- A worker returns an Outcome for a failure too. An image can end a renderer, but never a worker.
- The journal has the keys of stored results. A result that is not in the journal is made again.

tasks.py    Task, Outcome and Job: the values that travel between client and workers
worker.py   the plugin that each worker runs
output.py   the folder or bucket of the results
journal.py  the keys of the results that earlier runs stored
run.py      the client: limits the running tasks, reports outcomes and lost workers
"""
