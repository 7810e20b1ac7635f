"""Stores originals like the web source, without a network. Also imported by a child process: no test libraries."""

from __future__ import annotations

import hashlib

from cropmark.sources.original_cache import OriginalCache
from cropmark.sources.original_record import SourceRecord

NOW = 1_800_000_000.0


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def record_of(name: str, body: bytes, generation: int = 0) -> SourceRecord:
    return SourceRecord(
        identity=f"web:http://a.example/{name}",
        final_url=f"http://a.example/{name}",
        digest=hashlib.sha256(body).hexdigest(),
        bytes=len(body),
        fetched_s=NOW,
        fresh_until_s=NOW + 60,
        stale_while_revalidate_until_s=NOW + 120,
        stale_if_error_until_s=NOW + 600,
        etag='"1"',
        generation=generation,
    )


def store_original(store: OriginalCache, name: str, body: bytes) -> bool:
    spool = store.spool()
    try:
        for at in range(0, len(body), 1000):
            spool.write(body[at : at + 1000])
        record = record_of(name, body, store.generation(f"web:http://a.example/{name}"))
        assert (spool.digest, spool.bytes) == (record.digest, record.bytes)
        return store.store(key_of(name), spool, record)
    finally:
        spool.discard()
