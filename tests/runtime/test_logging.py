"""What logs hold: of a request no key, of a failure its trace."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from cropmark.runtime.logging import _masked

# fmt: off
QUERIES = [
    # a query                                  as it is logged
    ("width=20&access_token=abc&height=3",     "width=20&access_token=***&height=3"),
    ("access%5Ftoken=abc",                     "access%5Ftoken=***"),
    ("Access_Token=abc",                       "Access_Token=***"),
    ("environment=a?access_token=abc?b=c",     "environment=a?access_token=***?b=c"),   # as some SDKs join them
    ("/crop?key=abc&img=x",                    "/crop?key=***&img=x"),
    ("sig=abc&exp=1",                          "sig=***&exp=1"),
    ("keyword=abc&monkey=abc",                 "keyword=abc&monkey=abc"),
    ("token=a?c&d=e",                          "token=***&d=e"),
    ("key",                                    "key"),
    ("",                                       ""),
]
# fmt: on


@pytest.mark.parametrize(("query", "told"), QUERIES)
def test_secrets_are_masked(query: str, told: str) -> None:
    assert _masked(None, "info", {"event": "request", "query": query}) == {"event": "request", "query": told}


FAILING = """
import logging, sys
import structlog
from cropmark.runtime.logging import set_up
set_up(sys.argv[1])
for log in (structlog.get_logger("ours"), logging.getLogger("a library's")):
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("it failed")
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_trace_is_told(form: str) -> None:
    """Of our own errors and of a library's, each event on a line of JSON."""
    done = subprocess.run([sys.executable, "-c", FAILING, form], capture_output=True, text=True, check=True)
    if form == "text":
        assert done.stderr.count("ZeroDivisionError: division by zero") == 2
        return
    for told in map(json.loads, done.stderr.splitlines()):
        assert (told["event"], told["level"]) == ("it failed", "error")
        assert told["exception"].endswith("ZeroDivisionError: division by zero")
        assert "exc_info" not in told
