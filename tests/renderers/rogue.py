"""A renderer that does to itself what its source says: one word, perhaps with an argument, in place of a picture."""

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

from cropmark.geometry.recipe import Reason
from cropmark.model.formats import Format, Info
from cropmark.model.problems import CropOutOfBounds, SourceUnusable
from cropmark.model.values import Box, Size
from cropmark.ports import AnalysisResult, Facts, Passthrough, Rendered
from cropmark.renderers import protocol, transport
from cropmark.renderers.tasks import Analyze, Answer, Inspect, Render, Setup, Sources, Task, Work
from cropmark.renderers.transport import MessageKind
from cropmark.renderers.worker import main

JPEG = b"\xff\xd8\xff\xe0"


def prepared(setup: Setup) -> Work:
    return work


def work(task: Task, sources: Sources) -> Answer:
    assert sources[0] is not None
    word, _, argument = sources[0].decode("latin-1").partition(" ")
    return DEEDS[word](argument, task, sources)


def echo(argument: str, task: Task, sources: Sources) -> Answer:
    """A body that tells what came: the sources, and whether there was hurry."""
    if isinstance(task, Inspect):
        assert sources[0] is not None
        return Info(Format.JPEG, Size(4, 3), len(sources[0]))
    low_effort = isinstance(task, Render) and task.low_effort
    told = {"pid": os.getpid(), "sources": [s and s.decode("latin-1") for s in sources], "low_effort": low_effort}
    return Rendered(JPEG + json.dumps(told).encode(), Format.JPEG, Facts(size=Size(4, 3)), low_effort=low_effort)


def large(argument: str, task: Task, sources: Sources) -> Answer:
    return Rendered(JPEG + bytes(int(argument)), Format.JPEG, Facts())


def crop(argument: str, task: Task, sources: Sources) -> Answer:
    raise CropOutOfBounds(Box(0, 0, 9, 9), Size(4, 3))


def corrupt(argument: str, task: Task, sources: Sources) -> Answer:
    raise SourceUnusable("VipsJpeg: broken\nat line 2")


def unreadable(argument: str, task: Task, sources: Sources) -> Answer:
    return Passthrough(Reason.UNREADABLE, Facts())


def wrong(argument: str, task: Task, sources: Sources) -> Answer:
    raise KeyError("a bug of ours")


def segv(argument: str, task: Task, sources: Sources) -> Answer:
    print("about to fall", file=sys.stderr, flush=True)
    ctypes.string_at(0)
    raise AssertionError


def fpe(argument: str, task: Task, sources: Sources) -> Answer:
    os.kill(os.getpid(), signal.SIGFPE)
    raise AssertionError


def abort(argument: str, task: Task, sources: Sources) -> Answer:
    os.abort()


def leave(argument: str, task: Task, sources: Sources) -> Answer:
    os._exit(int(argument))


def loop(argument: str, task: Task, sources: Sources) -> Answer:
    while True:
        pass


def sleep(argument: str, task: Task, sources: Sources) -> Answer:
    time.sleep(float(argument))
    return echo(argument, task, sources)


def memory(argument: str, task: Task, sources: Sources) -> Answer:
    hoard = []
    while True:
        hoard.append(bytearray(64 * 2**20))


def say(data: bytes) -> Callable[[str, Task, Sources], Answer]:
    """Bytes of its own on the socket, then silence."""

    def said(argument: str, task: Task, sources: Sources) -> Answer:
        socket.socket(fileno=os.dup(0)).sendall(data)
        time.sleep(60)
        raise AssertionError

    return said


def hungry(argument: str, task: Task, sources: Sources) -> Answer:
    raise MemoryError


def models(argument: str, task: Task, sources: Sources) -> Answer:
    """What came with an analysis."""
    assert isinstance(task, Analyze)
    sent = task.models
    return AnalysisResult(None, "none" if sent is None else f"{len(sent.face) + len(sent.subject)} bytes")


def gif(argument: str, task: Task, sources: Sources) -> Answer:
    return Rendered(JPEG, Format.GIF, Facts())


def info(argument: str, task: Task, sources: Sources) -> Answer:
    return Info(Format.JPEG, Size(4, 3), 4)


def half(argument: str, task: Task, sources: Sources) -> Answer:
    whole = transport.TOLD.pack(transport.MARK, MessageKind.MADE, 2, 100) + b"{}" + JPEG
    socket.socket(fileno=os.dup(0)).sendall(whole)
    os._exit(0)


def twice(argument: str, task: Task, sources: Sources) -> Answer:
    """A right answer, with one more soon after it."""
    end = socket.socket(fileno=os.dup(0))
    threading.Timer(
        0.05, lambda: transport.tell(end, protocol.written(protocol.Reply(info("", task, sources))))
    ).start()
    return echo(argument, task, sources)


def chatter(argument: str, task: Task, sources: Sources) -> Answer:
    for _ in range(200):
        try:
            os.write(2, b"x" * 4096)
        except BlockingIOError:
            break
    return echo(argument, task, sources)


Deed = Callable[[str, Task, Sources], Answer]

DEEDS: dict[str, Deed] = {
    "echo": echo,
    "large": large,
    "crop": crop,
    "corrupt": corrupt,
    JPEG.decode("latin-1") + "corrupt": corrupt,
    JPEG.decode("latin-1") + "unreadable": unreadable,
    "wrong": wrong,
    "segv": segv,
    "fpe": fpe,
    "abort": abort,
    "exit": leave,
    "loop": loop,
    "sleep": sleep,
    "memory": memory,
    "half": half,
    "hungry": hungry,
    "models": models,
    "gif": gif,
    "info": info,
    "twice": twice,
    "chatter": chatter,
    "pause": say(transport.TOLD.pack(transport.MARK, MessageKind.MADE, 2, 100) + b"{}" + JPEG),
    "garbage": say(b"\x80\x05garbage" * 100),
    "bomb": say(transport.TOLD.pack(transport.MARK, MessageKind.MADE, 2, 2**62)),
    "header": say(transport.TOLD.pack(transport.MARK, MessageKind.MADE, 2**31, 0)),
    "kind": say(transport.TOLD.pack(transport.MARK, 99, 2, 0) + b"{}"),
    "ready": say(transport.TOLD.pack(transport.MARK, MessageKind.READY, 14, 0) + b'{"missing":[]}'),
    "words": say(transport.TOLD.pack(transport.MARK, MessageKind.MADE, 2, 4) + b"{}" + JPEG),
}

if __name__ == "__main__":
    main(prepared)
