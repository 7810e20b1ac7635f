"""Functions that take any bytes and hold what must hold of them: for Hypothesis, and for atheris where it is there.

python -m tests.hostile.targets [seconds]      by coverage, where atheris is installed (requirements/fuzz.txt)
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from cropmark.dialects.contentstack.dialect import Contentstack
from cropmark.dialects.dialect import Dialect, ImageRequest, ParameterDoc, Result
from cropmark.dialects.fastly.dialect import Fastly
from cropmark.dialects.kontent.dialect import Kontent
from cropmark.dialects.pixlab.dialect import PixLab
from cropmark.model.formats import TRAITS, Format, accepted, sniffed
from cropmark.model.problems import BadValue, Forbidden, Problem, SignatureExpired, SourceUnusable
from cropmark.plan.plan import Order
from cropmark.security.signing import Keyring, SigningKey
from cropmark.web import response

DIALECTS: tuple[Dialect, ...] = (Fastly(), Contentstack(), Kontent(), PixLab())
RING = Keyring([SigningKey(bytes(range(32)), "a"), SigningKey(bytes(range(1, 33)))])
SIGNED = RING.sign("/fastly/a.jpg?width=300&crop=1%3A1").encode()
MARKS = {
    "jpeg": b"\xff\xd8\xff\xe0",
    "png": b"\x89PNG\r\n\x1a\n",
    "gif": b"GIF89a",
    "webp": b"RIFF\0\0\0\0WEBPVP8X",
    "avif": b"\0\0\0\x1cftypavif\0\0\0\0mif1",
    "tiff": b"II*\0",
    "svg": b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'>",
}
INPUTS = Path(__file__).with_name("inputs")
"""What fell once, as fixtures."""
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
        ask = ImageRequest(path, query, {"accept": accept}, base="/here")
        try:
            order = dialect.order(ask)
        except Problem as problem:
            _refused(dialect, problem, ask)
        else:
            _ordered(dialect, order, ask)


def _ordered(dialect: Dialect, order: Order, ask: ImageRequest) -> None:
    assert order.sources
    assert order.plan is None or order.plan.fingerprint() == order.plan.fingerprint()
    assert order == dialect.order(ask)
    result = Result(9, Format.PNG, None, None, order.warnings)
    _sendable(response.raw(dialect.headers_of(order, result)))


def _refused(dialect: Dialect, problem: Problem, ask: ImageRequest) -> None:
    answer, headers = response.refusal(dialect, problem, ask, negotiated=True)
    assert 400 <= answer.status < 600
    assert len(answer.body) < 8_000
    _sendable(headers)


def _sendable(headers: response.RawHeaders) -> None:
    for name, value in headers:
        assert name.replace(b"-", b"").isalnum()
        assert all(0x20 <= byte <= 0x7E for byte in value), (name, value)


def tells(data: bytes) -> None:
    """Whatever stands in a Problem's words reaches no header line and no page of ours as more than text."""
    text = data.decode("utf-8", "replace")
    for dialect in DIALECTS:
        for problem in (BadValue(text, text, expected=text, fix=text), SourceUnusable(text, fix=text, parameter=text)):
            asked = ImageRequest("a.jpg", "", {"accept": text})
            answer, headers = response.refusal(dialect, problem, asked, negotiated=True)
            assert b"html" not in answer.media_type.encode()
            _sendable(headers)


def sends(data: bytes) -> None:
    _sendable(response.raw((("x-told", data.decode("latin-1")), ("x-also", data.decode("utf-8", "surrogateescape")))))


def signs(data: bytes) -> None:
    """No bytes pass for signed but those that were."""
    path, _, query = data.partition(b"?")
    try:
        RING.check(path, query, 0.0)
    except (Forbidden, SignatureExpired):
        return
    assert data == SIGNED, f"taken as signed: {data!r}"


def sniffs(data: bytes) -> None:
    assert sniffed(data) in (*TRAITS, None)
    assert sniffed(data[:4096]) == sniffed(data) or len(data) > 4096


def accepts(data: bytes) -> None:
    assert accepted(data.decode("latin-1")) <= set(TRAITS)


TARGETS: Mapping[str, Callable[[bytes], None]] = {f.__name__: f for f in (reads, tells, sends, signs, sniffs, accepts)}


def every(data: bytes) -> None:
    for target in TARGETS.values():
        target(data)


# ------------------------------------------------------------------------------------------------ by coverage


def seeds() -> dict[str, bytes]:
    """What the fuzzer begins with: each parameter's example by itself, a signed address, the start of each format."""
    known = {f"{d.name}-{p.name}": _written(p) for d in DIALECTS for p in d.params}
    return {**{name: b"0\n" + query + b"\nimage/webp" for name, query in known.items()}, "signed": SIGNED, **MARKS}


def words() -> str:
    """The names of all parameters and the words of their examples, as libFuzzer's dictionary."""
    texts = {word for d in DIALECTS for p in d.params for word in (p.name, *re.split(r"[,=:&]", p.example))}
    return "".join(f'"{word}"\n' for word in sorted(texts) if word and re.fullmatch(r"[\w.-]+", word, re.ASCII))


def _written(param: ParameterDoc) -> bytes:
    text = param.example if param.example.startswith(f"{param.name}=") else f"{param.name}={param.example}"
    return text.encode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Any bytes to the functions of this file, by coverage.")
    parser.add_argument("seconds", type=int, nargs="?", default=60)
    parser.add_argument("--keep", type=Path, default=INPUTS, help="the folder for what fell")
    asked = parser.parse_args()
    asked.keep.mkdir(parents=True, exist_ok=True)
    atheris = import_module("atheris")  # has no types; requirements/fuzz.txt says for which Pythons there is one
    with tempfile.TemporaryDirectory() as name:
        folder, dictionary = Path(name, "seeds"), Path(name, "words")
        folder.mkdir()
        dictionary.write_text(words())
        for at, data in enumerate(seeds().values()):
            (folder / str(at)).write_bytes(data)
        options = (f"-max_total_time={asked.seconds}", "-timeout=10", "-rss_limit_mb=2048", "-max_len=2048")
        kept = (f"-dict={dictionary}", f"-artifact_prefix={asked.keep}/", "-print_final_stats=1", str(folder))
        atheris.instrument_all()
        atheris.Setup([sys.argv[0], *options, *kept], every)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
