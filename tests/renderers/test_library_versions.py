"""Native libraries with published memory bugs prevent the start, and their versions are reported."""

from __future__ import annotations

import pytest

from cropmark.engine import versions
from cropmark.renderers.group import WorkerStartError
from cropmark.renderers.handlers import library_versions
from cropmark.renderers.pool import Pool, PoolConfig
from cropmark.renderers.process import COMMAND
from cropmark.renderers.protocol import Ready, serialize_ready
from cropmark.renderers.reply_parser import parse_ready


def test_check_29_the_versions_are_reported() -> None:
    libraries, vulnerable = library_versions()
    assert libraries == tuple(map(str, versions.loaded_libraries()))
    assert [library.split()[0] for library in libraries] == ["libvips", "simplejpeg"]
    assert vulnerable == ()


@pytest.mark.parametrize(("minimum", "name"), [("MINIMUM_LIBVIPS", "libvips"), ("MINIMUM_SIMPLEJPEG", "simplejpeg")])
def test_check_29_a_version_below_the_minimum(monkeypatch: pytest.MonkeyPatch, minimum: str, name: str) -> None:
    monkeypatch.setattr(versions, minimum, (99, 0, 0))
    _, (vulnerable,) = library_versions()
    assert vulnerable.startswith(name)
    assert vulnerable.endswith("is older than 99.0.0")
    ready = Ready((), ("libvips 8.1.0",), (vulnerable,))
    assert parse_ready(serialize_ready(ready)) == ready


OLD = """
from cropmark.renderers.handlers import load_handler
from cropmark.renderers.worker import main
main(load_handler, lambda: (("libvips 8.1.0",), ("libvips 8.1.0 is older than 8.18.7",)))
"""


@pytest.mark.parametrize("allowed", [True, False])
async def test_check_29_rejected_or_warned(allowed: bool) -> None:
    """With a worker that reports an old version."""
    command = [*COMMAND[: COMMAND.index("-m")], "-c", OLD]
    pool = Pool(PoolConfig(1, allow_vulnerable_libraries=allowed, command=command))
    if not allowed:
        with pytest.raises(WorkerStartError, match="is older than 8"):
            await pool.start()
        return
    try:
        await pool.start()
        assert pool.state().libraries == ("libvips 8.1.0",)
    finally:
        await pool.close()
