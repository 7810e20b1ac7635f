"""A worker that misbehaves: the source holds the name of an action, and an optional argument, instead of an image."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable

from cropmark.geometry.memory import check
from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.problems import CropOutOfBounds, SourceUnusable
from cropmark.model.values import Box, Size
from cropmark.plan.steps import Resize
from cropmark.ports import AnalysisResult, Facts, Passthrough, Rendered
from cropmark.renderers import protocol, transport
from cropmark.renderers.tasks import Analyze, Inspect, Render, Setup, SourceBytes, Task, TaskHandler, TaskResult
from cropmark.renderers.transport import MessageKind
from cropmark.renderers.worker import main
from cropmark.runtime.reads import Data, all_bytes

JPEG = b"\xff\xd8\xff\xe0"


def load_handler(setup: Setup) -> TaskHandler:
    return work


def work(task: Task, sources: SourceBytes, grant_bytes: int) -> TaskResult:
    assert sources[0] is not None
    word, _, argument = text_of(sources[0]).partition(" ")
    if word == "needs":
        return needs(argument, task, sources, grant_bytes)
    return ACTIONS[word](argument, task, sources)


def text_of(source: Data) -> str:
    """The text without the bytes that make it a JPEG for the cost model."""
    return all_bytes(source).removeprefix(JPEG).decode("latin-1")


def echo(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    """A body with the received sources, the process id, and `low_effort`."""
    if isinstance(task, Inspect):
        assert sources[0] is not None
        return Info(Format.JPEG, Size(4, 3), len(sources[0]))
    low_effort = isinstance(task, Render) and task.low_effort
    fields = {
        "pid": os.getpid(),
        "sources": [None if s is None else all_bytes(s).decode("latin-1") for s in sources],
        "low_effort": low_effort,
    }
    return Rendered(JPEG + json.dumps(fields).encode(), Format.JPEG, Facts(size=Size(4, 3)), low_effort=low_effort)


def needs(argument: str, task: Task, sources: SourceBytes, grant_bytes: int) -> TaskResult:
    """Takes 0.1 s and as many MB as the argument says, if it may."""
    check(int(argument) * 10**6, grant_bytes)
    return sleep("0.1", task, sources)


def die(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    """Is killed as by the kernel."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def large(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    return Rendered(JPEG + bytes(int(argument)), Format.JPEG, Facts())


def crop(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    raise CropOutOfBounds(Box(0, 0, 9, 9), Size(4, 3))


def corrupt(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    raise SourceUnusable("VipsJpeg: broken\nat line 2")


def unreadable(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    return Passthrough(Reason.UNREADABLE, Facts())


def wrong(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    raise KeyError("a bug of ours")


def segv(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    print("about to fall", file=sys.stderr, flush=True)
    ctypes.string_at(0)
    raise AssertionError


def fpe(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    os.kill(os.getpid(), signal.SIGFPE)
    raise AssertionError


def abort(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    os.abort()


def leave(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    os._exit(int(argument))


def loop(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    while True:
        pass


def sleep(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    time.sleep(float(argument))
    return echo(argument, task, sources)


def is_large(task: Task) -> bool:
    """True for a Render with a width of 4000 px or more."""
    steps = task.plan.steps if isinstance(task, Render) else ()
    return any(isinstance(step, Resize) and step.width is not None and step.width.of(1) >= 4000 for step in steps)


def slow(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    """Takes long for a large rendition only."""
    return sleep("9", task, sources) if is_large(task) else echo(argument, task, sources)


def fragile(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    """Crashes for a large rendition only."""
    return abort(argument, task, sources) if is_large(task) else echo(argument, task, sources)


def unserializable(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    return Rendered(JPEG, Format.JPEG, Facts(size=object()))  # type: ignore[arg-type]  # the bug


def uncaught(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    raise SystemExit(3)


def memory(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    hoard = []
    while True:
        hoard.append(bytearray(64 * 2**20))


def send(data: bytes) -> Callable[[str, Task, SourceBytes], TaskResult]:
    """Send these bytes on the socket, then hang."""

    def send_and_hang(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
        socket.socket(fileno=os.dup(0)).sendall(data)
        time.sleep(60)
        raise AssertionError

    return send_and_hang


def hungry(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    raise MemoryError


def models(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    """The size of the received models as the reason."""
    assert isinstance(task, Analyze)
    sent = task.models
    return AnalysisResult(None, "no models" if sent is None else f"{len(sent.face) + len(sent.subject)} bytes")


def gif(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    return Rendered(JPEG, Format.GIF, Facts())


def info(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    return Info(Format.JPEG, Size(4, 3), 4)


def half(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    whole = transport.REPLY_PREFIX.pack(transport.MARK, MessageKind.RENDERED, 2, 100) + b"{}" + JPEG
    socket.socket(fileno=os.dup(0)).sendall(whole)
    os._exit(0)


def twice(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    """A valid reply, and a second one soon after it."""
    end = socket.socket(fileno=os.dup(0))
    threading.Timer(
        0.05, lambda: transport.send_reply(end, protocol.serialize_reply(protocol.Reply(info("", task, sources))))
    ).start()
    return echo(argument, task, sources)


def chatter(argument: str, task: Task, sources: SourceBytes) -> TaskResult:
    for _ in range(200):
        try:
            os.write(2, b"x" * 4096)
        except BlockingIOError:
            break
    return echo(argument, task, sources)


Action = Callable[[str, Task, SourceBytes], TaskResult]

ACTIONS: dict[str, Action] = {
    "echo": echo,
    "die": die,
    "large": large,
    "crop": crop,
    "corrupt": corrupt,
    "unreadable": unreadable,
    "wrong": wrong,
    "segv": segv,
    "fpe": fpe,
    "abort": abort,
    "exit": leave,
    "loop": loop,
    "sleep": sleep,
    "slow": slow,
    "fragile": fragile,
    "unserializable": unserializable,
    "uncaught": uncaught,
    "memory": memory,
    "half": half,
    "hungry": hungry,
    "models": models,
    "gif": gif,
    "info": info,
    "twice": twice,
    "chatter": chatter,
    "pause": send(transport.REPLY_PREFIX.pack(transport.MARK, MessageKind.RENDERED, 2, 100) + b"{}" + JPEG),
    "garbage": send(b"\x80\x05garbage" * 100),
    "bomb": send(transport.REPLY_PREFIX.pack(transport.MARK, MessageKind.RENDERED, 2, 2**62)),
    "header": send(transport.REPLY_PREFIX.pack(transport.MARK, MessageKind.RENDERED, 2**31, 0)),
    "kind": send(transport.REPLY_PREFIX.pack(transport.MARK, 99, 2, 0) + b"{}"),
    "ready": send(transport.REPLY_PREFIX.pack(transport.MARK, MessageKind.READY, 14, 0) + b'{"missing":[]}'),
    "words": send(transport.REPLY_PREFIX.pack(transport.MARK, MessageKind.RENDERED, 2, 4) + b"{}" + JPEG),
}

if __name__ == "__main__":
    main(load_handler)
