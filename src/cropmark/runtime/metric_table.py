"""The table of all metrics. Only metrics in this table can be exposed. docs/metrics.md is generated from it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class MetricType(Enum):
    """Prometheus' type of a metric."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Combination(Enum):
    """The function that combines the values of a gauge from several front processes: sum, largest or smallest."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """The description of one metric."""

    name: str
    type: MetricType
    labels: tuple[str, ...]
    help: str
    combination: Combination = Combination.SUM


def _counter(name: str, help_text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, MetricType.COUNTER, labels, help_text)


def _gauge(name: str, help_text: str, *labels: str, combination: Combination = Combination.SUM) -> MetricSpec:
    return MetricSpec(name, MetricType.GAUGE, labels, help_text, combination)


def _histogram(name: str, help_text: str, *labels: str) -> MetricSpec:
    return MetricSpec(name, MetricType.HISTOGRAM, labels, help_text)


METRICS: Final = (
    _counter("cropmark_requests_total", "Requests.", "site", "dialect", "status", "cache"),
    _histogram(
        "cropmark_request_duration_seconds",
        "Time from the request's headers to the end of its response; `status_class` is 2xx, 3xx, 4xx or 5xx.",
        "site",
        "dialect",
        "cache",
        "status_class",
    ),
    _counter(
        "cropmark_rejected_requests_total",
        "Requests that ended with an error; `reason` is its code (errors.md).",
        "reason",
    ),
    _gauge("cropmark_requests_in_progress", "Requests in progress."),
    _gauge("cropmark_large_responses", "Responses above 256 KiB that are being sent."),
    _gauge("cropmark_large_response_bytes", "Bytes of the different bodies above 256 KiB that are being sent."),
    _counter(
        "cropmark_response_bytes_total",
        "Bytes of response bodies that were sent.",
        "dialect",
    ),
    _counter("cropmark_saved_bytes_total", "Bytes by which rendered images are smaller than their sources."),
    _counter("cropmark_coalesced_requests_total", "Cache misses that shared the render of another request."),
    _histogram(
        "cropmark_render_stage_duration_seconds",
        "Time per stage of a render. `encode` includes the operations of animations and of results above 2 megapixels.",
        "stage",
    ),
    _gauge("cropmark_renderer_processes", "Renderer processes that run."),
    _gauge("cropmark_renderer_tasks_running", "Tasks that renderers work on."),
    _counter("cropmark_renderer_restarts_total", "Renderer processes replaced, by cause.", "cause"),
    _gauge("cropmark_sandbox_active", "1 if the sandbox is fully active.", combination=Combination.MIN),
    _gauge("cropmark_queue_tasks", "Tasks that wait for a renderer."),
    _gauge("cropmark_queue_estimated_work_seconds", "Estimated CPU time of the tasks that wait for a renderer."),
    _counter("cropmark_queue_rejected_total", "Tasks rejected because the queue was full."),
    _counter("cropmark_queue_dropped_total", "Tasks cancelled by their clients while they waited."),
    _gauge("cropmark_cache_entries", "Entries in the cache.", "tier"),
    _gauge("cropmark_cache_bytes", "Bytes in the cache.", "tier"),
    _counter("cropmark_cache_hits_total", "Lookups that found an entry.", "tier"),
    _counter("cropmark_cache_misses_total", "Lookups that found no entry.", "tier"),
    _counter("cropmark_cache_evictions_total", "Entries removed to free space.", "tier"),
    _counter("cropmark_cache_errors_total", "Storage errors.", "tier"),
    _counter(
        "cropmark_cache_skipped_total",
        "Renditions not stored: too large, the storage failing or its queue full.",
        "tier",
    ),
    _counter("cropmark_cache_damaged_total", "Corrupt entries that were found and removed.", "tier"),
    _gauge(
        "cropmark_cache_available",
        "0 while the cache is not used because its storage failed, else 1.",
        "tier",
        combination=Combination.MIN,
    ),
    _counter(
        "cropmark_origin_fetches_total",
        "Fetches of originals; `result` is ok, not_modified, cancelled or the code of the error (errors.md).",
        "site",
        "result",
    ),
    _histogram("cropmark_origin_fetch_duration_seconds", "Time of a fetch, with its wait for a free slot.", "site"),
    _counter("cropmark_origin_bytes_total", "Bytes of originals that were fetched.", "site"),
    _gauge(
        "cropmark_redis_available",
        "0 while Redis fails and this server counts requests on its own, else 1.",
        combination=Combination.MIN,
    ),
    _counter("cropmark_redis_errors_total", "Failures of Redis."),
    _gauge(
        "cropmark_purge_stream_available",
        "0 while purges of other servers are not received, else 1.",
        combination=Combination.MIN,
    ),
    _counter("cropmark_purge_stream_errors_total", "Failures of Redis when purges were sent or received."),
    _counter("cropmark_purges_received_total", "Purges of all servers that were carried out here."),
    _gauge("cropmark_purges_waiting", "Purges that wait until Redis responds.", combination=Combination.MAX),
    _counter("cropmark_purge_gaps_total", "Times that all entries were dropped because purges may have been missed."),
    _gauge("cropmark_cdn_purges_waiting", "Purges that the CDN has not confirmed.", combination=Combination.MAX),
    _counter("cropmark_cdn_errors_total", "Failed requests to the API of the CDN."),
    _gauge("cropmark_library_reachable", "1 if the library's database responds.", combination=Combination.MIN),
    _gauge(
        "cropmark_library_feed_age_seconds",
        "Time since the changes of the library were last read.",
        combination=Combination.MAX,
    ),
    _counter("cropmark_library_stale_lookups_total", "Assets served from memory while the database did not respond."),
    _counter("cropmark_library_rejected_lookups_total", "Lookups that failed because the database did not respond."),
    _gauge(
        "cropmark_build_info",
        "Always 1; the labels are the versions.",
        "version",
        "libvips",
        "python",
        combination=Combination.MAX,
    ),
    _gauge("cropmark_front_up", "1 if this front process answered; with several fronts only.", "front"),
    _counter(
        "cropmark_front_hangs_total",
        "Times that this front process was killed because it hung; with several fronts only.",
        "front",
    ),
    _counter("process_cpu_seconds_total", "CPU time of the front process, in seconds."),
    _gauge("process_open_fds", "Open file descriptors of the front process."),
    _gauge("process_max_fds", "Limit of the front process's open file descriptors.", combination=Combination.MIN),
    _gauge("process_resident_memory_bytes", "Resident memory of the front process, in bytes."),
    _gauge("process_virtual_memory_bytes", "Virtual memory of the front process, in bytes."),
    _gauge("process_start_time_seconds", "Unix time at which the front process started.", combination=Combination.MIN),
)
SPECS: Final = {spec.name: spec for spec in METRICS}
