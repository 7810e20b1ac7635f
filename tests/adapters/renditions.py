"""Renditions for tests of caches."""

from __future__ import annotations

import hashlib

from cropmark.model.formats import Format, Info
from cropmark.model.values import Size
from cropmark.plan.plan import RequestWarning
from cropmark.ports import Digest, Facts, Record, Rendition, SourceVersion


def key_of(name: str) -> Digest:
    return Digest(hashlib.sha256(name.encode()).hexdigest())


def rendition(
    name: str = "blue.jpg",
    body: bytes = b"\xff\xd8\xff body",
    *,
    tags: tuple[str, ...] = (),
    expires_s: float | None = None,
) -> Rendition:
    """A rendition of the file `name`, tagged with its source and with `tags`."""
    record = Record(
        media_type="image/jpeg",
        etag=f'"{hashlib.sha256(body).hexdigest()[:32]}"',
        length=len(body),
        facts=Facts(Info(Format.JPEG, Size(4000, 3000), 2_500_000), Size(800, 600), format=Format.JPEG),
        warnings=(RequestWarning("crop", "crop: smart needs the extra, centered instead"),),
        versions=(SourceVersion(f"files:{name}", "18ea3c9d-67-1a", modified_s=1763779.25),),
        tags=(f"source:files:{name}\n", *tags),
        expires_s=expires_s,
    )
    return Rendition(body, record=record)
