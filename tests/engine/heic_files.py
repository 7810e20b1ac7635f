"""HEIC files with chosen boxes around a real stream: the test writes the boxes, never the tested code."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import pack, unpack_from

from tests.engine.avif_files import box, full_box, icc, nclx

FOLDER = Path(__file__).parents[1] / "data" / "heic"
WIDTH, HEIGHT = 96, 64


def file(name: str) -> bytes:
    return (FOLDER / f"{name}.heic").read_bytes()


def still(
    *properties: bytes, name: str = "photo", kind: bytes = b"hvc1", width: int = WIDTH, height: int = HEIGHT
) -> bytes:
    """One image with these properties, after its stream's configuration and its size."""
    own = [_config(name), _extent(width, height), *properties]
    return _file([(kind, _stream(name), range(1, len(own) + 1))], own, primary=1)


def rotated(quarters: int) -> bytes:
    """The photo with a rotation to the left by quarters of a turn."""
    return still(box(b"irot", bytes([quarters])))


def hdr() -> bytes:
    """The photo in 10 bits, declared as HLG in BT.2020."""
    return still(nclx(9, 18, 9), name="deep")


def with_profile(profile: bytes) -> bytes:
    return still(icc(profile))


def grid(columns: int = 3, rows: int = 2, width: int = 260, height: int = 120) -> bytes:
    """Tiles that are all the photo, cut at the right and at the bottom."""
    own = [_config("photo"), _extent(WIDTH, HEIGHT), _extent(width, height)]
    tiles = [(b"hvc1", _stream("photo"), range(1, 3))] * (columns * rows)
    layout = bytes([0, 0, rows - 1, columns - 1]) + pack(">HH", width, height)
    return _file([*tiles, (b"grid", layout, range(3, 4))], own, primary=len(tiles) + 1, derived=True)


Item = tuple[bytes, bytes, range]
"""Kind, data, and the numbers of the properties."""


def _file(items: Sequence[Item], properties: Sequence[bytes], *, primary: int, derived: bool = False) -> bytes:
    start = box(b"ftyp", b"heic" + bytes(4) + b"mif1heic")
    at = len(start) + len(_meta(items, properties, primary, 0, derived=derived)) + 8
    meta = _meta(items, properties, primary, at, derived=derived)
    return start + meta + box(b"mdat", b"".join(dict.fromkeys(data for _, data, _ in items)))


def _meta(items: Sequence[Item], properties: Sequence[bytes], primary: int, at: int, *, derived: bool) -> bytes:
    places, entries, associations = bytearray(), bytearray(), bytearray()  # large grids have 65,025 tiles
    starts: dict[bytes, int] = {}  # equal tiles share their data
    for number, (kind, data, used) in enumerate(items, 1):
        if data not in starts:
            starts[data] = at
            at += len(data)
        places += pack(">HHHII", number, 0, 1, starts[data], len(data))
        entries += full_box(b"infe", pack(">HH", number, 0) + kind + b"\0", version=2)
        associations += pack(">HB", number, len(used)) + bytes(used)
    count = pack(">H", len(items))
    tiles = b"".join(pack(">H", number) for number in range(1, len(items)))
    references = full_box(b"iref", box(b"dimg", pack(">HH", primary, len(items) - 1) + tiles)) if derived else b""
    associated = full_box(b"ipma", pack(">I", len(items)) + bytes(associations))
    return full_box(
        b"meta",
        full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
        + full_box(b"pitm", pack(">H", primary))
        + full_box(b"iloc", b"\x44\0" + count + bytes(places))
        + full_box(b"iinf", count + bytes(entries))
        + references
        + box(b"iprp", box(b"ipco", b"".join(properties)) + associated),
    )


def _extent(width: int, height: int) -> bytes:
    return full_box(b"ispe", pack(">II", width, height))


def _config(name: str) -> bytes:
    return box(b"hvcC", next(_found(file(name), (b"meta", b"iprp", b"ipco", b"hvcC"))))


def _stream(name: str) -> bytes:
    return next(_found(file(name), (b"mdat",)))


def _found(data: bytes, path: Sequence[bytes]) -> Iterator[bytes]:
    """The contents of the boxes at a path."""
    at = 4 if data[4:8] == b"hdlr" or data[8:12] == b"hdlr" else 0
    while at + 8 <= len(data):
        length, kind = unpack_from(">I4s", data, at)
        if kind == path[0]:
            content = data[at + 8 : at + length]
            yield from _found(content, path[1:]) if len(path) > 1 else iter((content,))
        at += length
