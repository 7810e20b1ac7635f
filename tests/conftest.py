"""Bytecode, Hypothesis and httpx as all tests use them, the order of files, the S3 server, a repair of ast.parse."""

from __future__ import annotations

import ast
import gc
import os
import sys
from collections.abc import Iterator
from functools import cache, wraps
from pathlib import Path
from typing import Any

import pytest
from httpx import create_ssl_context
from httpx._transports import default
from hypothesis import settings

from tests import s3_server
from tests.requirements import must_have, pytest_make_collect_report, pytest_runtest_makereport
from tests.s3_server import S3Server

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]  # hooks of pytest

# Containers often forbid caches of bytecode. Then each worker, and each process of a test, compiles all modules itself.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No deadline for one example: on a busy machine it would measure the machine.
settings.register_profile("cropmark", deadline=None)
settings.load_profile("cropmark")

LONGEST = (
    "hostile/test_corpus.py",
    "web/test_page.py",
    "web/test_life.py",
    "benchmarks/test_fleet_soak.py",
    "library/test_bulk_import.py",
    "web/test_http.py",
    "hostile/test_fuzz.py",
    "renderers/test_pool.py",
    "hostile/test_survival.py",
    "cli/test_main.py",
    "web/test_signing.py",
    "test_translation.py",
    "web/test_production.py",
    "library/test_fronts.py",
    "library/test_rate_limits.py",
    "library/test_tutorial.py",
    "web/test_pixlab.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Moves the longest files to the front: a file runs in one worker, and the last one must not run alone for long."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


def pytest_collection_finish() -> None:
    """Exempts the ten thousand tests from garbage collections, of which each would take a third of a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    if not s3_server.is_here() and not must_have("s3-server"):
        pytest.skip("needs s3-server, which is not here: see requirements/s3.in")
    with s3_server.s3_server(s3_server.BUCKET) as found:
        yield found


def pause_collector_in_parse() -> None:
    """Runs ast.parse without garbage collections; pytest parses the source of each failed test.

    Before Python 3.11.8 a collection that parses something itself makes the outer ast.parse raise "SystemError: AST
    constructor recursion depth mismatch" (python/cpython#106905), which ends the whole run.
    """
    parse = ast.parse

    @wraps(parse)
    def parse_without_collector(*args: Any, **kwargs: Any) -> Any:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return parse(*args, **kwargs)
        finally:
            if was_enabled:
                gc.enable()

    ast.parse = parse_without_collector


# A new TLS context takes 20 ms of CPU, and every httpx client makes one.
default.create_ssl_context = cache(create_ssl_context)  # type: ignore[attr-defined]  # it imports the name

if sys.version_info < (3, 11, 8):
    pause_collector_in_parse()
