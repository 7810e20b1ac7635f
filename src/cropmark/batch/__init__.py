"""Renders the lines of a manifest on the workers of a Dask cluster.

manifest ─▶ Tasks that are not in the journal ─▶ a bounded window of Dask tasks ─▶ Outcomes ─▶ journal, failures
 each worker: BatchWorker ─▶ a Pipeline of its own: source ─▶ sandboxed renderers ─▶ the output, written atomically

Rules:
- A task's key is the digest of everything that decides its result. The same key is one Dask task, and its result
  replaces an older one, so that a task may run twice without harm; it does if its worker is killed.
- A worker returns an Outcome also for a failure; an image never ends a worker, only a renderer.
- The journal has the keys of results that are stored. A result that is not in it is made again.

tasks.py    Task, Outcome and Job: the values that travel between client and workers
worker.py   the plugin that each worker runs
output.py   the folder or bucket of the results
journal.py  the keys that a former run made
run.py      the client: window, progress, lost workers
"""
