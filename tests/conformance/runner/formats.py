"""Formats: read from the first bytes of a body, and the media types that must come with them."""

from __future__ import annotations

import struct

IMAGES = {"jpeg", "png", "gif", "webp", "avif"}  # formats that both decoders read
LOSSY = {"jpeg", "webply", "avif", "jxl", "heic", "mp4"}
MEDIA_TYPES = {
    "jpeg": ("image/jpeg",),
    "png": ("image/png", "image/apng"),
    "gif": ("image/gif",),
    "webp": ("image/webp",),
    "avif": ("image/avif",),
    "jxl": ("image/jxl",),
    "svg": ("image/svg+xml",),
    "mp4": ("video/mp4",),
    "json": ("application/json", "application/ld+json"),
    "html": ("text/html",),
    "bmp": ("image/bmp",),
    "tiff": ("image/tiff",),
}
_PNG_COLOR_TYPES = {2: "png24", 3: "png8", 6: "png32"}


def sniff(body: bytes) -> set[str]:
    """Every name of the body's format, such as `{"webp", "webpll"}` for lossless WebP."""
    if body[:3] == b"\xff\xd8\xff":
        kind = _jpeg_kind(body)
        return {"jpeg", "jpg", kind} | ({"pjpg"} if kind == "pjpeg" else set())
    if body[:8] == b"\x89PNG\r\n\x1a\n":
        return _png_names(body)
    if body[:4] == b"RIFF" and body[8:12] == b"WEBP":
        return {"webp", "webpll" if _is_lossless_webp(body) else "webply"}
    if body[4:8] == b"ftyp":
        return {_isobmff_name(body)}
    signatures = {
        "gif": (b"GIF87a", b"GIF89a"),
        "jxl": (b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n"),
        "bmp": (b"BM",),
        "tiff": (b"II*\x00", b"MM\x00*"),
    }
    return next(({name} for name, starts in signatures.items() if body.startswith(starts)), None) or {_text_name(body)}


def _text_name(body: bytes) -> str:
    head = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n")
    if head[:1] in (b"{", b"["):
        return "json"
    if head[:4] == b"<svg" or (head[:5] == b"<?xml" and b"<svg" in body[:4096]):
        return "svg"
    if head[:9].lower() == b"<!doctype" or head[:5].lower() == b"<html":
        return "html"
    if body and all(byte >= 32 or byte in (9, 10, 13) for byte in body[:200]):
        return "text"
    return "unknown" if body else "empty"


def _jpeg_kind(body: bytes) -> str:
    """`pjpeg` or `bjpeg`, from the first frame header."""
    at = 2
    while at + 4 <= len(body):
        marker = body[at + 1]
        if body[at] != 0xFF or marker == 0xFF:
            at += 1
        elif marker in (0xC0, 0xC1):
            return "bjpeg"
        elif marker in (0xC2, 0xC6, 0xCA, 0xCE):
            return "pjpeg"
        elif marker == 0 or 0xD0 <= marker <= 0xD9:
            at += 2
        else:
            at += 2 + int(struct.unpack(">H", body[at + 2 : at + 4])[0])
    return "jpeg?"


def _png_names(body: bytes) -> set[str]:
    names = {"png"}
    if len(body) > 25:
        names.add(_PNG_COLOR_TYPES.get(body[25], "png-grey"))
    if b"acTL" in body[:4096]:
        names.add("apng")
    return names


def _is_lossless_webp(body: bytes) -> bool:
    """True if each image in the file, so each frame too, is VP8L."""
    kinds: set[bytes] = set()
    ranges = [(12, len(body))]
    while ranges:
        at, end = ranges.pop()
        while at + 8 <= end:
            kind, length = body[at : at + 4], int(struct.unpack("<I", body[at + 4 : at + 8])[0])
            if kind in (b"VP8 ", b"VP8L"):
                kinds.add(kind)
            elif kind == b"ANMF":
                ranges.append((at + 24, min(end, at + 8 + length)))
            at += 8 + length + length % 2
    return kinds == {b"VP8L"}


def _isobmff_name(body: bytes) -> str:
    brands = body[8 : 8 + max(0, min(64, int(struct.unpack(">I", body[:4])[0]) - 8))]
    if b"avif" in brands or b"avis" in brands:
        return "avif"
    return "heic" if any(brand in brands for brand in (b"heic", b"heix", b"mif1")) else "mp4"
