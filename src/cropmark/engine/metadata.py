"""Who made a picture and who may use it: read from a source's metadata, written alone into the result's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape  # not xml.sax.saxutils, which loads an HTTP client into every renderer
from xml.etree import ElementTree

from pyvips import GValue, Image

from cropmark.engine.image import blob

_LONGEST_XMP = 256 * 1024
_LONGEST_TEXT = 2_000

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_DC = "http://purl.org/dc/elements/1.1/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
_PLUS = "http://ns.useplus.org/ldf/xmp/1.0/"

_EXIF_ARTIST, _EXIF_COPYRIGHT = 0x013B, 0x8298
_IPTC_BYLINE, _IPTC_CREDIT, _IPTC_NOTICE = 80, 110, 116


@dataclass(frozen=True, slots=True)
class RightsMetadata:
    """The five fields that search engines show of a picture; empty where the source does not tell.

    Source: https://www.fastly.com/documentation/reference/io/metadata and the IPTC Photo Metadata Standard
    """

    notice: str = ""
    creator: str = ""
    credit: str = ""
    licensor: str = ""
    licensor_url: str = ""
    statement: str = ""

    def or_else(self, other: RightsMetadata) -> RightsMetadata:
        """These, and the other's where one is empty."""
        pairs = ((getattr(self, name), getattr(other, name)) for name in self.__slots__)
        return RightsMetadata(*(mine or theirs for mine, theirs in pairs))


def rights_of(image: Image) -> RightsMetadata:
    """What XMP tells, else IPTC, else Exif. Metadata that breaks its rules tells nothing."""
    xmp, iptc, exif = (blob(image, name) for name in ("xmp-data", "iptc-data", "exif-data"))
    return _from_xmp(xmp).or_else(_from_iptc(iptc)).or_else(_from_exif(exif))


def signed(image: Image, rights: RightsMetadata) -> Image:
    """The image with these and no other metadata but its profile: as Exif and XMP, for a saver told to keep those."""
    bare = image.copy()
    for name in image.get_fields():
        # The preview too: a saver that writes Exif writes it along, and it shows what was cropped away.
        if name.startswith(("exif-", "xmp-", "iptc-", "orientation", "jpeg-thumbnail", "photoshop-")):
            bare.remove(name)
    if rights.notice or rights.creator:
        bare.set_type(GValue.blob_type, "exif-data", _exif(rights))
    if rights != RightsMetadata():
        bare.set_type(GValue.blob_type, "xmp-data", _xmp(rights))
    return bare


def _clean(text: str | None) -> str:
    """Without control characters, which XML cannot hold, and not endless."""
    return "".join(sign for sign in (text or "") if sign.isprintable()).strip()[:_LONGEST_TEXT]


# ---------------------------------------------------------------------------------------------- XMP


def _from_xmp(blob: bytes) -> RightsMetadata:
    # No entities, so nothing to expand: XMP has no use for a document type.
    if len(blob) > _LONGEST_XMP or b"<!DOCTYPE" in blob or b"<!ENTITY" in blob:
        return RightsMetadata()
    try:
        root = ElementTree.fromstring(blob.rstrip(b"\0"))  # noqa: S314 (bounded, no DOCTYPE, in a renderer)
    except (ElementTree.ParseError, ValueError, LookupError):
        return RightsMetadata()
    return RightsMetadata(
        notice=_told(root, _DC, "rights"),
        creator=_told(root, _DC, "creator"),
        credit=_told(root, _PHOTOSHOP, "Credit"),
        licensor=_told(root, _PLUS, "LicensorName"),
        licensor_url=_told(root, _PLUS, "LicensorURL"),
        statement=_told(root, _RIGHTS, "WebStatement"),
    )


def _told(root: ElementTree.Element, space: str, name: str) -> str:
    """A property as XMP may write it: an attribute, plain text, or the items of a list joined."""
    tag = f"{{{space}}}{name}"
    for element in root.iter():
        if tag in element.attrib:
            return _clean(element.attrib[tag])
        if element.tag == tag:
            items = [_clean(item.text) for item in element.iter(f"{{{_RDF}}}li")] or [_clean(element.text)]
            return ", ".join(dict.fromkeys(item for item in items if item))
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
    """Of the application record: 2:80 by-line, 2:110 credit, 2:116 copyright notice."""
    found: dict[int, str] = {}
    at = blob.find(b"\x1c\x02")
    while at >= 0 and blob[at : at + 2] == b"\x1c\x02":
        number, length = blob[at + 2], int.from_bytes(blob[at + 3 : at + 5], "big")
        found.setdefault(number, _clean(_decoded(blob[at + 5 : at + 5 + length])))
        at += 5 + length
    return RightsMetadata(found.get(_IPTC_NOTICE, ""), found.get(_IPTC_BYLINE, ""), found.get(_IPTC_CREDIT, ""))


def _from_exif(blob: bytes) -> RightsMetadata:
    """Of the first directory only: copyright and artist, both ASCII by the standard and UTF-8 in the wild."""
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
                raise struct.error("a text that ends outside")
            yield tag, _clean(_decoded(tiff[first : first + length].replace(b"\0", b" ")))


def _exif(rights: RightsMetadata) -> bytes:
    """One directory with artist and copyright, nothing that points anywhere."""
    texts = [(_EXIF_ARTIST, rights.creator), (_EXIF_COPYRIGHT, rights.notice)]
    entries = [(tag, text.encode() + b"\0") for tag, text in texts if text]
    place = 8 + 2 + 12 * len(entries) + 4
    directory, values = struct.pack("<H", len(entries)), b""
    for tag, value in entries:
        inline = len(value) <= 4
        held = value.ljust(4, b"\0") if inline else struct.pack("<I", place + len(values))
        directory += struct.pack("<HHI", tag, 2, len(value)) + held
        values += b"" if inline else value
    return b"Exif\0\0II*\0" + struct.pack("<I", 8) + directory + struct.pack("<I", 0) + values


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")
