"""Functions that take any bytes and hold what must hold of them: for Hypothesis, and for atheris where it is there.

python -m tests.hostile.targets [seconds]      with atheris by coverage, without it by chance
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Mapping
from importlib import import_module

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import Ask, Dialect, Result
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.formats import TRAITS, Format, accepted, sniffed
from cropmark.plan.plan import Order
from cropmark.problems import BadValue, Expired, Problem, Refused, SourceUnusable
from cropmark.signing import Key, Keyring
from cropmark.web import delivery

DIALECTS: tuple[Dialect, ...] = (Fastly(), Contentstack(), Kontent(), PixLab())
RING = Keyring([Key(bytes(range(32)), "a"), Key(bytes(range(1, 33)))])
PATHS = ("a.jpg", "v3/assets/k/u/f/a.jpg", "crop", "")


def parts(data: bytes) -> tuple[str, str, str]:
    """Path, query and Accept out of any bytes: parted by newlines, which no request's first line holds."""
    first, _, rest = data.partition(b"\n")
    query, _, accept = rest.partition(b"\n")
    path = PATHS[first[0] % len(PATHS)] if first[:1] else first.decode("utf-8", "surrogateescape")
    return path, query.decode("utf-8", "surrogateescape"), accept.decode("latin-1")


def reads(data: bytes) -> None:
    """All dialects: an Order or a Problem, and an answer that can be sent in either case."""
    path, query, accept = parts(data)
    for dialect in DIALECTS:
        ask = Ask(path, query, {"accept": accept}, base="/here")
        try:
            order = dialect.order(ask)
        except Problem as problem:
            _refused(dialect, problem, ask)
        else:
            _ordered(dialect, order, ask)


def _ordered(dialect: Dialect, order: Order, ask: Ask) -> None:
    assert order.sources
    assert order.plan is None or order.plan.fingerprint() == order.plan.fingerprint()
    assert order == dialect.order(ask)
    result = Result(9, Format.PNG, None, None, order.warnings)
    _sendable(delivery.raw(dialect.headers_of(order, result)))


def _refused(dialect: Dialect, problem: Problem, ask: Ask) -> None:
    answer, headers = delivery.refusal(dialect, problem, ask, negotiated=True)
    assert 400 <= answer.status < 600
    assert len(answer.body) < 8_000
    _sendable(headers)


def _sendable(headers: delivery.RawHeaders) -> None:
    for name, value in headers:
        assert name.replace(b"-", b"").isalnum()
        assert all(0x20 <= byte <= 0x7E for byte in value), (name, value)


def tells(data: bytes) -> None:
    """Whatever stands in a Problem's words reaches no header line and no page of ours as more than text."""
    text = data.decode("utf-8", "replace")
    for dialect in DIALECTS:
        for problem in (BadValue(text, text, expected=text, fix=text), SourceUnusable(text, fix=text, parameter=text)):
            asked = Ask("a.jpg", "", {"accept": text})
            answer, headers = delivery.refusal(dialect, problem, asked, negotiated=True)
            assert b"html" not in answer.media_type.encode()
            _sendable(headers)


def sends(data: bytes) -> None:
    _sendable(delivery.raw((("x-told", data.decode("latin-1")), ("x-also", data.decode("utf-8", "surrogateescape")))))


def signs(data: bytes) -> None:
    """No bytes pass for signed but by the keys."""
    path, _, query = data.partition(b"?")
    try:
        RING.check(path, query, 0.0)
    except (Refused, Expired):
        return
    raise AssertionError(f"taken as signed: {data!r}")


def sniffs(data: bytes) -> None:
    assert sniffed(data) in (*TRAITS, None)
    assert sniffed(data[:4096]) == sniffed(data) or len(data) > 4096


def accepts(data: bytes) -> None:
    assert accepted(data.decode("latin-1")) <= set(TRAITS)


TARGETS: Mapping[str, Callable[[bytes], None]] = {f.__name__: f for f in (reads, tells, sends, signs, sniffs, accepts)}


def every(data: bytes) -> None:
    for target in TARGETS.values():
        target(data)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    try:
        atheris = import_module("atheris")  # optional: few Pythons have a wheel
    except ImportError:
        chance, end, count = random.Random(), time.monotonic() + seconds, 0
        while time.monotonic() < end:
            every(chance.randbytes(chance.randrange(400)))
            count += 1
        print(f"{count} inputs by chance; nothing fell. atheris would go by coverage.")
        return
    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={int(seconds)}"], every)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
