"""Hints in responses: in development only, in each dialect's header for warnings."""

from __future__ import annotations

import pytest

from cropmark.dialects import registry
from cropmark.web.routing import Mount
from cropmark.web.site import Site
from tests.web.asgi_client import FakePipeline, NoSource, app_of, respond

# fmt: off
HINTS = [
    # dialect         query          the header's name and value
    ("fastly",        "wdith=300",   b"fastly-io-warning",   b"wdith: ignored, did you mean width?"),
    ("contentstack",  "wdith=300",   b"x-cropmark-warning",  b"wdith: ignored, did you mean width?"),
    ("kontent",       "fpx=0.5",     b"x-cropmark-warning",  b"fpx: ignored, did you mean fp-x?"),
]
# fmt: on


@pytest.mark.parametrize("production", [False, True])
@pytest.mark.parametrize(("dialect", "query", "name", "value"), HINTS)
def test_hints(dialect: str, query: str, name: bytes, value: bytes, production: bool) -> None:
    site = Site(dialect, registry.entry(dialect).build(), NoSource(), Mount(f"/{dialect}"))
    answer = respond(app_of(FakePipeline(), site=site, production=production), f"/{dialect}/a.jpg?{query}".encode())
    assert answer.status == 200
    assert [header for header in answer.headers if header[0] == name] == ([] if production else [(name, value)])
