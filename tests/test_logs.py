"""What logs hold of a request: no key."""

from __future__ import annotations

import pytest

from cropmark.logs import _masked

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
