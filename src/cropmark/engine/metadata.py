"""Copies rights metadata (creator, copyright, licensor) from a source to the rendition, without other metadata."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape  # not xml.sax.saxutils, which loads an HTTP client into every renderer
from xml.etree import ElementTree

from pyvips import GValue, Image

from cropmark.engine.image import blob

_MAX_XMP_BYTES = 256 * 1024
_MAX_TEXT = 1_500
"""The most characters of a field. With every character escaped, all fields together fit into one segment of a JPEG."""

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
_PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"

_EXIF_ARTIST, _EXIF_COPYRIGHT = 0x013B, 0x8298
_IPTC_HEADER_BYTES = 5
_IPTC_BYLINE, _IPTC_CREDIT, _IPTC_NOTICE = 80, 110, 116


@dataclass(frozen=True, slots=True)
class RightsMetadata:
    """The rights fields that search engines show for an image. A field is empty if the source does not have it.

    Source: https://www.fastly.com/documentation/reference/io/metadata and the IPTC Photo Metadata Standard
    """

    notice: str = ""
    creator: str = ""
    credit: str = ""
    licensor: str = ""
    licensor_url: str = ""
    statement: str = ""

    def or_else(self, other: RightsMetadata) -> RightsMetadata:
        """These rights, with each empty field filled from `other`."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return RightsMetadata(*(mine or theirs for mine, theirs in pairs))


def rights_of(image: Image) -> RightsMetadata:
    """The rights of an image. Each field is taken from XMP; if it is empty there, from IPTC; if also empty, from Exif.

    Malformed metadata counts as absent.
    """
    xmp, iptc, exif = (blob(image, name) for name in ("xmp-data", "iptc-data", "exif-data"))
    return _from_xmp(xmp).or_else(_from_iptc(iptc)).or_else(_from_exif(exif))


def with_rights_only(image: Image, rights: RightsMetadata) -> Image:
    """The image with no other metadata than these rights and its color profile.

    The rights are stored in Exif and XMP fields, which libvips writes to the file.
    """
    bare = image.copy()
    for name in image.get_fields():
        # The preview too: a saver that writes Exif also writes the preview, which shows the image before the crop.
        if name.startswith(("exif-", "xmp-", "iptc-", "orientation", "jpeg-thumbnail", "photoshop-")):
            bare.remove(name)
    if rights.notice or rights.creator:
        bare.set_type(GValue.blob_type, "exif-data", _exif(rights))
    if rights != RightsMetadata():
        bare.set_type(GValue.blob_type, "xmp-data", _xmp(rights))
    return bare


def _clean(text: str | None) -> str:
    """The text without control characters, cut to _MAX_TEXT characters. XML cannot contain control characters."""
    return "".join(sign for sign in (text or "") if sign.isprintable()).strip()[:_MAX_TEXT]


# ---------------------------------------------------------------------------------------------- XMP


def _from_xmp(blob: bytes) -> RightsMetadata:
    # XMP never needs a document type. Rejecting one prevents entity expansion.
    if len(blob) > _MAX_XMP_BYTES or b"<!DOCTYPE" in blob or b"<!ENTITY" in blob:
        return RightsMetadata()
    try:
        root = ElementTree.fromstring(blob.rstrip(b"\0"))  # noqa: S314 (bounded, no DOCTYPE, in a renderer)
    except (ElementTree.ParseError, ValueError, LookupError):
        return RightsMetadata()
    return RightsMetadata(
        notice=_property(root, _DC, "rights"),
        creator=_property(root, _DC, "creator"),
        credit=_property(root, _PHOTOSHOP, "Credit"),
        licensor=_property(root, _PLUS, "LicensorName"),
        licensor_url=_property(root, _PLUS, "LicensorURL"),
        statement=_property(root, _RIGHTS, "WebStatement"),
    )


def _property(root: ElementTree.Element, space: str, name: str) -> str:
    """The value of an XMP property: an attribute, plain text, or the joined items of a list."""
    tag = f"{{{space}}}{name}"
    for element in root.iter():
        if tag in element.attrib:
            return _clean(element.attrib[tag])
        if element.tag == tag:
            items = [_clean(item.text) for item in element.iter(f"{{{_RDF}}}li")] or [_clean(element.text)]
            return _clean(", ".join(dict.fromkeys(item for item in items if item)))
    return ""


def _xmp(rights: RightsMetadata) -> bytes:
    def lines() -> Iterator[str]:
        if rights.notice:
            notice = f'<rdf:li xml:lang="x-default">{escape(rights.notice)}</rdf:li>'
            yield f"<dc:rights><rdf:Alt>{notice}</rdf:Alt></dc:rights>"
        if rights.creator:
            yield f"<dc:creator><rdf:Seq><rdf:li>{escape(rights.creator)}</rdf:li></rdf:Seq></dc:creator>"
        if rights.credit:
            yield f"<photoshop:Credit>{escape(rights.credit)}</photoshop:Credit>"
        if rights.statement:
            yield f"<xmpRights:WebStatement>{escape(rights.statement)}</xmpRights:WebStatement>"
        if rights.licensor or rights.licensor_url:
            yield '<plus:Licensor><rdf:Seq><rdf:li rdf:parseType="Resource">'
            yield f"<plus:LicensorName>{escape(rights.licensor)}</plus:LicensorName>"
            yield f"<plus:LicensorURL>{escape(rights.licensor_url)}</plus:LicensorURL>"
            yield "</rdf:li></rdf:Seq></plus:Licensor>"

    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        f'<rdf:RDF xmlns:rdf="{_RDF}"><rdf:Description rdf:about="" xmlns:dc="{_DC}" xmlns:photoshop="{_PHOTOSHOP}" '
        f'xmlns:xmpRights="{_RIGHTS}" xmlns:plus="{_PLUS}">{"".join(lines())}</rdf:Description></rdf:RDF></x:xmpmeta>'
        '<?xpacket end="r"?>'
    ).encode()


# ---------------------------------------------------------------------------------------------- IPTC and Exif


def _from_iptc(blob: bytes) -> RightsMetadata:
    """The rights in the IPTC application record: fields 2:80 (by-line), 2:110 (credit) and 2:116 (copyright notice)."""
    texts: dict[int, str] = {}
    at = blob.find(b"\x1c\x02")
    while 0 <= at <= len(blob) - _IPTC_HEADER_BYTES and blob[at : at + 2] == b"\x1c\x02":
        number, length = blob[at + 2], int.from_bytes(blob[at + 3 : at + 5], "big")
        texts.setdefault(number, _clean(_decode_text(blob[at + 5 : at + 5 + length])))
        at += 5 + length
    return RightsMetadata(texts.get(_IPTC_NOTICE, ""), texts.get(_IPTC_BYLINE, ""), texts.get(_IPTC_CREDIT, ""))


def _from_exif(blob: bytes) -> RightsMetadata:
    """The rights in the first Exif directory: copyright and artist.

    Both fields are ASCII by the standard, and often UTF-8 in practice.
    """
    tiff = blob.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return RightsMetadata()
    try:
        texts = dict(_ascii_entries(tiff, order))
    except struct.error:
        return RightsMetadata()
    return RightsMetadata(texts.get(_EXIF_COPYRIGHT, ""), texts.get(_EXIF_ARTIST, ""))


def _ascii_entries(tiff: bytes, order: str) -> Iterator[tuple[int, str]]:
    (start,) = struct.unpack_from(order + "I", tiff, 4)
    (entries,) = struct.unpack_from(order + "H", tiff, start)
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, length, place = struct.unpack_from(order + "HHII", tiff, at)
        if kind == 2:
            first = place if length > 4 else at + 8
            if first + length > len(tiff):
                raise struct.error("a text ends outside the data")
            yield tag, _clean(_decode_text(tiff[first : first + length].replace(b"\0", b" ")))


def _exif(rights: RightsMetadata) -> bytes:
    """An Exif block with one directory, which has only artist and copyright."""
    texts = [(_EXIF_ARTIST, rights.creator), (_EXIF_COPYRIGHT, rights.notice)]
    entries = [(tag, text.encode() + b"\0") for tag, text in texts if text]
    place = 8 + 2 + 12 * len(entries) + 4
    directory, values = struct.pack("<H", len(entries)), b""
    for tag, value in entries:
        inline = len(value) <= 4
        content = value.ljust(4, b"\0") if inline else struct.pack("<I", place + len(values))
        directory += struct.pack("<HHI", tag, 2, len(value)) + content
        values += b"" if inline else value
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + values


def _decode_text(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
