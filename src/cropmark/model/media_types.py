"""Media types of files that are not images, such as the PDFs and videos next to a site's images.

The media type is found from the first bytes of the file. A format without a signature, such as JSON, is recognized by
the extension of the file's name. A file of an unknown format has no media type and is not served: a folder may contain
files that were never meant to be public.
"""

from __future__ import annotations

import codecs
from typing import Final

from cropmark.model.formats import TRAITS

UNKNOWN_CONTENT: Final = "application/octet-stream"
"""The media type of a file with content that does not match its extension."""

# fmt: off
_SIGNATURES: Final = (
    (b"\x00\x00\x01\x00",     "image/x-icon"),
    (b"\x00\x00\x02\x00",     "image/x-icon"),               # a cursor
    (b"8BPS",                 "image/vnd.adobe.photoshop"),
    (b"fLaC",                 "audio/flac"),
    (b"ID3",                  "audio/mpeg"),
    (b"wOFF",                 "font/woff"),
    (b"wOF2",                 "font/woff2"),
    (b"OTTO",                 "font/otf"),
    (b"ttcf",                 "font/collection"),
    (b"\x00\x01\x00\x00\x00", "font/ttf"),
    (b"glTF",                 "model/gltf-binary"),
    (b"%PDF-",                "application/pdf"),
    (b"%!PS",                 "application/postscript"),
    (b"{\\rtf",               "application/rtf"),
    (b"\x1f\x8b",             "application/gzip"),
    (b"7z\xbc\xaf\x27\x1c",   "application/x-7z-compressed"),
    (b"Rar!\x1a\x07",         "application/vnd.rar"),
    (b"BZh",                  "application/x-bzip2"),
    (b"\xfd7zXZ\x00",         "application/x-xz"),
)

_RIFF: Final = {b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}
_ISO_BRANDS: Final = {b"qt  ": "video/quicktime", b"M4A ": "audio/mp4", b"M4B ": "audio/mp4"}

# ZIP archives and OLE containers with a type of their own, by extension.
_ARCHIVES: Final = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt":  "application/vnd.oasis.opendocument.text",
    "ods":  "application/vnd.oasis.opendocument.spreadsheet",
    "odp":  "application/vnd.oasis.opendocument.presentation",
    "epub": "application/epub+zip",
}
_CONTAINERS: Final = {
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
    "msg": "application/vnd.ms-outlook",
}

# Text has no signature.
_TEXTS: Final = {
    "json":        "application/json",
    "geojson":     "application/geo+json",
    "topojson":    "application/json",
    "webmanifest": "application/manifest+json",
    "gltf":        "model/gltf+json",
    "m3u8":        "application/vnd.apple.mpegurl",
    "txt":         "text/plain",
    "csv":         "text/csv",
    "vtt":         "text/vtt",
    "srt":         "application/x-subrip",
    "md":          "text/markdown",
    "css":         "text/css",
    "js":          "text/javascript",
    "mjs":         "text/javascript",
    "htm":         "text/html",
    "html":        "text/html",
    "xhtml":       "application/xhtml+xml",
    "xml":         "application/xml",
    "rss":         "application/rss+xml",
    "atom":        "application/atom+xml",
    "ics":         "text/calendar",
    "vcf":         "text/vcard",
}

_WITH_SIGNATURE: Final = frozenset({
    "pdf", "ico", "cur", "mp4", "m4v", "mov", "m4a", "webm", "mkv", "ogv", "ogg", "oga", "opus", "mp3", "aac", "wav",
    "avi", "flac", "woff", "woff2", "otf", "ttf", "ttc", "zip", "gz", "tgz", "7z", "rar", "bz2", "xz", "rtf", "ps",
    "eps", "ai", "psd", "glb", *_ARCHIVES, *_CONTAINERS,
})
"""Extensions of formats that are recognized by their first bytes."""

_SHOWN: Final = frozenset({
    *(traits.media_type for traits in TRAITS.values()), "image/x-icon", "application/json", "application/geo+json",
    "application/manifest+json", "application/vnd.apple.mpegurl", "application/x-subrip", "model/gltf+json",
    "text/plain", "text/csv", "text/vtt",
})
# fmt: on


def media_type_of(name: str, head: bytes) -> str | None:
    """The media type of a file with this name and these first bytes; None for an unknown format.

    A `leaflet.pdf` that does not begin like a PDF has the type UNKNOWN_CONTENT.
    """
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    found = _by_signature(extension, head)
    if found is not None:
        return found
    if extension in _TEXTS:
        return _text_type(_TEXTS[extension], head)
    return UNKNOWN_CONTENT if extension in _WITH_SIGNATURE else None


def is_shown(media_type: str) -> bool:
    """True if a browser may show the file as a page. False if the file must be sent as an attachment.

    Active content (HTML, XML) could run code with the origin of the images. Documents such as PDF are attachments too,
    because the sandbox of the page blocks their viewers.
    """
    essence = media_type.partition(";")[0]
    return essence in _SHOWN or essence.startswith(("video/", "audio/", "font/"))


def _by_signature(extension: str, head: bytes) -> str | None:
    for signature, media_type in _SIGNATURES:
        if head.startswith(signature):
            return media_type
    if head[:4] == b"RIFF":
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _ISO_BRANDS.get(head[8:12], "video/mp4")
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"OggS"):
        return "video/ogg" if extension == "ogv" else "audio/ogg"
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _ARCHIVES.get(extension, "application/zip")
    if head.startswith(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"):
        return _CONTAINERS.get(extension, UNKNOWN_CONTENT)
    # MPEG audio without tags begins with eleven set bits, and so do other files.
    if extension in ("mp3", "aac") and head[:1] == b"\xff" and head[1:2] >= b"\xe0":
        return "audio/mpeg" if extension == "mp3" else "audio/aac"
    return None


def _text_type(media_type: str, head: bytes) -> str:
    """The media type of a text, with its charset if it is UTF-8. UNKNOWN_CONTENT if the bytes are not text."""
    if b"\x00" in head:
        return UNKNOWN_CONTENT
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # incremental: the last character may be cut off
    except UnicodeDecodeError:
        return media_type
    return f"{media_type}; charset=utf-8" if media_type.startswith("text/") else media_type
