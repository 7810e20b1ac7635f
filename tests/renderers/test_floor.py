"""Native libraries with published memory bugs keep a server from starting, and their versions are told."""

from __future__ import annotations

import pytest

from cropmark.engine import versions
from cropmark.renderers.group import WorkerStartError
from cropmark.renderers.handlers import libraries
from cropmark.renderers.pool import Pool
from cropmark.renderers.process import COMMAND
from cropmark.renderers.protocol import Ready, read_ready, ready


def test_check_29_the_version_is_told() -> None:
    told, outdated = libraries()
    assert told == tuple(map(str, versions.libraries()))
    assert [one.split()[0] for one in told] == ["libvips", "simplejpeg"]
    assert outdated == ()


@pytest.mark.parametrize(("floor", "name"), [("LIBVIPS_FLOOR", "libvips"), ("SIMPLEJPEG_FLOOR", "simplejpeg")])
def test_check_29_a_version_below_the_floor(monkeypatch: pytest.MonkeyPatch, floor: str, name: str) -> None:
    monkeypatch.setattr(versions, floor, (99, 0, 0))
    _, (outdated,) = libraries()
    assert outdated.startswith(name)
    assert outdated.endswith("is older than 99.0.0")
    assert read_ready(ready(Ready((), ("libvips 8.1.0",), (outdated,)))).outdated == (outdated,)


OLD = """
from cropmark.renderers.handlers import prepared
from cropmark.renderers.worker import main
main(prepared, lambda: (("libvips 8.1.0",), ("libvips 8.1.0 is older than 8.18.7",)))
"""


@pytest.mark.parametrize("floor", [True, False])
async def test_check_29_refused_or_warned_of(floor: bool) -> None:
    """A renderer that says so itself."""
    pool = Pool(1, floor=floor, command=[*COMMAND[: COMMAND.index("-m")], "-c", OLD])
    if floor:
        with pytest.raises(WorkerStartError, match="is older than 8"):
            await pool.start()
        return
    try:
        await pool.start()
        assert pool.state().libraries == ("libvips 8.1.0",)
    finally:
        await pool.close()
