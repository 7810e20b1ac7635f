"""The sandbox: attempts to escape from inside a worker, and the state of a worker seen from outside."""

from __future__ import annotations

import json
import os
import re
import resource
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cropmark.model.problems import SourceUnusable
from cropmark.plan.plan import Plan
from cropmark.ports import Rendered
from cropmark.renderers import sandbox
from cropmark.renderers.group import ExitReason, WorkerStartError
from cropmark.renderers.pool import Pool, PoolConfig
from cropmark.renderers.process import COMMAND, ENVIRONMENT
from cropmark.renderers.tasks import Sandbox
from tests.renderers.conftest import ROGUE, Says, Started
from tests.renderers.prisoner import JPEG

if sys.platform != "linux":
    pytest.skip("only Linux has seccomp and Landlock", allow_module_level=True)

PRISONER = (sys.executable, "-I", str(Path(__file__).with_name("prisoner.py")))
FORKED_PRISONER = (*PRISONER[:-1], str(Path(__file__).with_name("forks.py")), "prisoner")

NOT_PERMITTED = {"EPERM"}
OTHER_ERRORS = {"clone3": {"ENOSYS"}}  # makes libraries use clone(), which the filter can check


async def probed(pool: Pool, says: Says) -> Mapping[str, Mapping[str, str]]:
    rendered = await pool.render([says("probe")], Plan())
    assert isinstance(rendered, Rendered)
    found: Mapping[str, Mapping[str, str]] = json.loads(rendered.body.removeprefix(JPEG))
    return found


@pytest.mark.parametrize("untrusted", [False, True])
@pytest.mark.parametrize("command", [PRISONER, FORKED_PRISONER], ids=["new process", "fork"])
async def test_nothing_can_be_reached_from_any_thread(
    started: Started, says: Says, command: tuple[str, ...], untrusted: bool
) -> None:
    """check_26: from the first thread, an older and a newer thread than the sandbox, each attempt fails with EPERM."""
    pool = await started(command=command, forks=command is FORKED_PRISONER, sandbox=Sandbox.REQUIRE)
    rendered = await pool.render([says("probe")], Plan(), untrusted=untrusted)
    assert isinstance(rendered, Rendered)
    found = json.loads(rendered.body.removeprefix(JPEG))
    for thread in ("first", "older", "newer"):
        assert len(found[thread]) >= 40
        got_out = {name: got for name, got in found[thread].items() if got not in OTHER_ERRORS.get(name, NOT_PERMITTED)}
        assert got_out == {}
    assert found["source"] == {"content": "mine"}


async def test_the_attempts_are_real(started: Started, says: Says) -> None:
    """Without the sandbox the same attempts succeed, so the test above can fail."""
    pool = await started(command=PRISONER, sandbox=Sandbox.TRY)
    assert pool.state().sandboxed
    pool = await started(command=(PRISONER[0], "-I", "-c", UNCONFINED), sandbox=Sandbox.OFF)
    found = await probed(pool, says)
    assert {name for name in HARMLESS if found["first"][name] == "done"} == HARMLESS


HARMLESS = {"open /etc/passwd", "list /", "stat /etc", "socket", "socket pair", "executable memory", "pipe", "dumpable"}
UNCONFINED = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import prisoner
harmless = {HARMLESS!r}
all_of_them = prisoner.attempts
prisoner.attempts = lambda writable: {{k: v for k, v in all_of_them(writable).items() if k in harmless}}
prisoner.main(prisoner.load_handler)
"""


async def test_environment_and_descriptors_are_bare(monkeypatch: pytest.MonkeyPatch, says: Says) -> None:
    """check_25: a worker has no keys, credentials, sockets or files of the front."""
    monkeypatch.setenv("CROPMARK_ADMIN_TOKEN", "secret")
    left_open = os.dup(0)
    os.set_inheritable(left_open, True)
    pool = Pool(PoolConfig(1, command=ROGUE, sandbox=Sandbox.REQUIRE))
    await pool.start()
    try:
        await pool.render([says("echo")], Plan())
        (pid,) = pool.pids()
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        assert {*environ.decode().strip("\0").split("\0")} == {f"{k}={v}" for k, v in ENVIRONMENT.items()}
        kinds = {d.name: re.sub(r"\d+", "n", os.readlink(d)) for d in Path(f"/proc/{pid}/fd").iterdir()}
        assert kinds == {"0": "socket:[n]", "1": "pipe:[n]", "2": "pipe:[n]"}
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"NoNewPrivs:\s+1\n", status)
        assert re.search(r"Seccomp:\s+2\n", status)
        assert os.getpriority(os.PRIO_PROCESS, pid) == min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
    finally:
        await pool.close()
        os.close(left_open)


async def test_limits(started: Started) -> None:
    """check_27."""
    pool = await started(sandbox=Sandbox.REQUIRE)
    (pid,) = pool.pids()
    limits = {name: resource.prlimit(pid, getattr(resource, f"RLIMIT_{name}")) for name in ("CORE", "AS", "FSIZE")}
    memory = 2 * 2**30 + PoolConfig(1).frame_cache_bytes
    assert limits == {"CORE": (0, 0), "AS": (memory, memory), "FSIZE": (0, 0)}
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[1] <= 128


async def test_abort_still_ends_a_confined_renderer(started: Started, says: Says) -> None:
    """glibc's heap checks end in abort(), which the sandbox must allow."""
    pool = await started(command=PRISONER, sandbox=Sandbox.REQUIRE)
    with pytest.raises(SourceUnusable, match="decoded safely"):
        await pool.render([says("abort")], Plan())
    assert pool.state().restarts == {ExitReason.CRASH: 1}


@pytest.mark.parametrize("lacking", ["seccomp", "landlock"])
async def test_a_missing_layer_is_reported_or_fails_the_start(started: Started, lacking: str) -> None:
    """check_26: on a kernel without the layer."""
    package = {"seccomp": "seccompy", "landlock": "landlockpy"}[lacking]
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        f"import {package}; {package}.supported = lambda: False\n"
        "import rogue; rogue.main(rogue.load_handler)"
    )
    command = (sys.executable, "-I", "-c", script)
    pool = await started(command=command, sandbox=Sandbox.TRY)
    assert not pool.state().sandboxed
    assert lacking in pool.state().missing_layers[0].lower()
    with pytest.raises(WorkerStartError, match=f"(?i)sandbox is required.*{lacking}"):
        await started(command=command, sandbox=Sandbox.REQUIRE)


async def test_a_layer_without_effect_is_reported(started: Started) -> None:
    """Some containers return success from seccomp() and filter nothing."""
    script = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import seccompy, landlockpy\n"
        "seccompy.Filter.load = lambda self: None\n"
        "landlockpy.Ruleset.restrict = lambda self, flags: None\n"
        "import rogue; rogue.main(rogue.load_handler)"
    )
    pool = await started(command=(sys.executable, "-I", "-c", script), sandbox=Sandbox.TRY)
    assert pool.state().missing_layers == ("files can be opened despite the sandbox",)


def test_other_systems_report_missing_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert sandbox.confine(Sandbox.TRY) == ("seccomp and Landlock, which only Linux has",)
    assert sandbox.confine(Sandbox.OFF) == ()


def test_no_call_that_reaches_outside_is_allowed() -> None:
    """Guards against careless additions to the allow list."""
    reaching = r"open|connect|socket$|bind|listen|accept|fork|exec|kill$|ptrace|process_|unlink|rename|mount|ioctl|dup"
    names = {*sandbox.ALLOWED_CALLS, *sandbox.conditional_calls(1)}
    assert {name for name in names if re.search(reaching, name)} == {"tgkill"}


async def test_the_real_command_is_confined(says: Says) -> None:
    """The engine itself starts and is confined."""
    pool = Pool(PoolConfig(1, command=COMMAND, sandbox=Sandbox.REQUIRE))
    await pool.start()
    try:
        with pytest.raises(SourceUnusable):
            await pool.inspect(says("not an image"))
        status = Path(f"/proc/{pool.pids()[0]}/status").read_text()
        assert re.search(r"Seccomp:\s+2\n", status)
    finally:
        await pool.close()
