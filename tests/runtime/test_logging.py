"""The log: masked secrets and tracebacks."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cropmark.runtime.logging import _mask_secrets

# fmt: off
QUERIES = [
    # query                                    logged
    ("width=20&access_token=abc&height=3",     "width=20&access_token=***&height=3"),
    ("access%5Ftoken=abc",                     "access%5Ftoken=***"),
    ("Access_Token=abc",                       "Access_Token=***"),
    ("environment=a?access_token=abc?b=c",     "environment=a?access_token=***?b=c"),   # some SDKs join parameters so
    ("/crop?key=abc&img=x",                    "/crop?key=***&img=x"),
    ("sig=abc&exp=1",                          "sig=***&exp=1"),
    ("keyword=abc&monkey=abc",                 "keyword=abc&monkey=abc"),
    ("token=a?c&d=e",                          "token=***&d=e"),
    ("key",                                    "key"),
    ("",                                       ""),
]
# fmt: on


@pytest.mark.parametrize(("query", "logged"), QUERIES)
def test_secrets_are_masked(query: str, logged: str) -> None:
    assert _mask_secrets(None, "info", {"event": "request", "query": query}) == {"event": "request", "query": logged}


FAILING = """
import logging, sys
import structlog
from cropmark.runtime.logging import configure_logging
configure_logging(sys.argv[1])
for log in (structlog.get_logger("ours"), logging.getLogger("a library")):
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("it failed")
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_is_logged(form: str) -> None:
    """By our own loggers and those of libraries, one event per line of JSON."""
    process = subprocess.run([sys.executable, "-c", FAILING, form], capture_output=True, text=True, check=True)
    if form == "text":
        assert process.stderr.count("ZeroDivisionError: division by zero") == 2
        return
    for event in map(json.loads, process.stderr.splitlines()):
        assert (event["event"], event["level"]) == ("it failed", "error")
        assert event["exception"].endswith("ZeroDivisionError: division by zero")
        assert "exc_info" not in event


UNCAUGHT = """
import warnings
from cropmark.runtime.logging import configure_logging
configure_logging("json")
warnings.warn("an old setting")
raise RuntimeError("the disk is gone")
"""


def test_warnings_and_uncaught_exceptions_are_events() -> None:
    process = subprocess.run([sys.executable, "-c", UNCAUGHT], capture_output=True, text=True, check=False)
    warning, error = map(json.loads, process.stderr.splitlines())
    assert process.returncode == 1
    assert (warning["level"], "an old setting" in warning["event"]) == ("warning", True)
    assert (error["event"], error["level"]) == ("uncaught exception", "critical")
    assert error["exception"].endswith("RuntimeError: the disk is gone")
