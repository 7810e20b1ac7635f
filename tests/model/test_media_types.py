"""Media types of files next to images: by the first bytes, else by the extension."""

from __future__ import annotations

import pytest

from cropmark.model.formats import TRAITS
from cropmark.model.media_types import UNKNOWN_CONTENT, is_shown, media_type_of

MP4 = b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom"
ZIP = b"PK\x03\x04\x14\0"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"

# fmt: off
TYPES = [
    # name               first bytes                        media type                              shown by browsers
    ("leaflet.pdf",      b"%PDF-1.7\n",                     "application/pdf",                      False),
    ("favicon.ico",      b"\0\0\1\0\1\0\x20\x20",           "image/x-icon",                         True),
    ("clip.mp4",         MP4,                               "video/mp4",                            True),
    ("clip.m4v",         b"\0\0\0\x18ftypM4V ",             "video/mp4",                            True),
    ("clip.mov",         b"\0\0\0\x14ftypqt  ",             "video/quicktime",                      True),
    ("song.m4a",         b"\0\0\0\x18ftypM4A ",             "audio/mp4",                            True),
    ("clip.webm",        b"\x1aE\xdf\xa3\x9fB\x86\x81webm", "video/webm",                           True),
    ("clip.mkv",         b"\x1aE\xdf\xa3\x9fB\x86\x81matr", "video/x-matroska",                     True),
    ("song.mp3",         b"ID3\4",                          "audio/mpeg",                           True),
    ("song.mp3",         b"\xff\xfb\x90\x64",               "audio/mpeg",                           True),
    ("song.wav",         b"RIFF\0\0\0\0WAVEfmt ",           "audio/wav",                            True),
    ("song.ogg",         b"OggS\0",                         "audio/ogg",                            True),
    ("clip.ogv",         b"OggS\0",                         "video/ogg",                            True),
    ("a.woff2",          b"wOF2\0\1",                       "font/woff2",                           True),
    ("a.ttf",            b"\0\1\0\0\0\x0f",                 "font/ttf",                             True),
    ("a.zip",            ZIP,                               "application/zip",                      False),
    ("a.docx",           ZIP,        "application/vnd.openxmlformats-officedocument.wordprocessingml.document", False),
    ("a.doc",            OLE,                               "application/msword",                   False),
    ("a.gz",             b"\x1f\x8b\x08",                   "application/gzip",                     False),
    # text has no signature
    ("data.json",        b'{"a": 1}',                       "application/json",                     True),
    ("DATA.JSON",        b"",                               "application/json",                     True),
    ("a.b.csv",          b"a,b\n",                          "text/csv; charset=utf-8",              True),
    ("a.txt",            "é".encode(),                      "text/plain; charset=utf-8",            True),
    ("a.txt",            "é".encode()[:1],                  "text/plain; charset=utf-8",            True),   # cut off
    ("a.txt",            "é".encode("latin-1") + b"x",      "text/plain",                           True),
    ("a.html",           b"<script>",                       "text/html; charset=utf-8",             False),
    ("a.xml",            b"<?xml version='1.0'?>",          "application/xml",                      False),
    ("a.js",             b"alert(1)",                       "text/javascript; charset=utf-8",       False),
    # the bytes decide
    ("video",            MP4,                               "video/mp4",                            True),
    ("a.json",           b"%PDF-1.7",                       "application/pdf",                      False),
    ("photo.jpg",        MP4,                               "video/mp4",                            True),
    # other bytes than the name promises
    ("leaflet.pdf",      b"<script>",                       UNKNOWN_CONTENT,                        False),
    ("clip.mp4",         b"",                               UNKNOWN_CONTENT,                        False),
    ("a.json",           b"\0\1\2",                         UNKNOWN_CONTENT,                        False),
]
UNKNOWN = [
    # name               first bytes
    ("config.toml",      b"[site]"),
    ("id_rsa",           b"-----BEGIN"),
    ("backup.sql",       b"CREATE"),
    ("run.sh",           b"#!/bin/sh"),
    ("run",              b"\x7fELF"),
    ("photo.jpg",        b"<script>"),
    ("json",             b"{}"),
    ("a.json.bak",       b"{}"),
    ("",                 b""),
    ("a.",               b"x"),
    ("clip",             b"\xff\xfb\x90"),
]
# fmt: on


@pytest.mark.parametrize(("name", "head", "media_type", "shown"), TYPES)
def test_media_type(name: str, head: bytes, media_type: str, shown: bool) -> None:
    assert media_type_of(name, head) == media_type
    assert is_shown(media_type) is shown


@pytest.mark.parametrize(("name", "head"), UNKNOWN)
def test_a_file_of_an_unknown_type_has_none(name: str, head: bytes) -> None:
    assert media_type_of(name, head) is None


def test_images_are_shown() -> None:
    assert all(is_shown(traits.media_type) for traits in TRAITS.values())
