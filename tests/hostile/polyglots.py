"""Files that are not images, or two formats in one: pages, scripts, other formats, SVG with external references."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Mapping
from functools import cache

from tests.hostile import raw, seeds
from tests.hostile.raw import chunk, ftyp

PAGE = b"<!DOCTYPE html><html><body><script>alert(document.domain)</script></body></html>"
NAMES = b'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
SVG = b"<svg " + NAMES + b' width="40" height="40">%b</svg>'
LAUGHS = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "ha">%b]>' % b"".join(
    b'<!ENTITY %c "%b">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9)
)
FILES = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY e SYSTEM "file:///etc/passwd">]>'


FILTERED = b'<rect width="40" height="40" filter="url(#f)"/>'
PATTERN = b'<pattern id="p" width="1e-5" height="1e-5" patternUnits="userSpaceOnUse"><path d="M0 0h1v1z"/></pattern>'
MASK = b'<mask id="m"><rect width="1" height="1" fill="white"/></mask>'


def png_of_zeros(side: int) -> bytes:
    """A gray PNG, black and square, of a thousandth of its pixels in bytes."""
    rows = zlib.compress(bytes((side + 1) * side))
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def _embedded(data: bytes, media_type: bytes) -> bytes:
    return b'<image width="40" height="40" xlink:href="data:%b;base64,%b"/>' % (media_type, b64encode(data))


def _filter(primitives: bytes) -> bytes:
    return b'<filter id="f" x="-9e9" y="-9e9" width="9e19" height="9e19">%b</filter>' % primitives


@cache
def no_images() -> Mapping[str, bytes]:
    """Files that are not rendered by default. A dialect may send SVG and the like unchanged, with inert headers."""
    return {**drawings(), **_others(), **_pages_first()}


def drawings() -> dict[str, bytes]:
    """SVGs, and other vector formats. test_svg.py has them drawn."""
    deep = b"<g>" * 20_000 + b"</g>" * 20_000
    uses = b"<defs>" + b"".join(
        b'<g id="g%d">%b</g>' % (n, b'<use xlink:href="#g%d"/>' % (n + 1) * 10) for n in range(9)
    )
    return {
        "plain.svg": SVG % b'<rect width="40" height="40" fill="red"/>',
        "script.svg": SVG % b"<script>alert(1)</script>",
        "onload.svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "foreign.svg": SVG
        % b"<foreignObject><body xmlns='http://www.w3.org/1999/xhtml'><iframe src='/'/></body></foreignObject>",
        "file.svg": SVG % b'<image xlink:href="file:///etc/passwd" width="9" height="9"/>',
        "web.svg": SVG % b'<image xlink:href="http://127.0.0.1:1/x.png" width="9" height="9"/>',
        "include.svg": SVG
        % b'<xi:include xmlns:xi="http://www.w3.org/2001/XInclude" href="/etc/passwd" parse="text"/>',
        "entity.svg": FILES + SVG % b"<text>&e;</text>",
        "laughs.svg": LAUGHS + SVG % b"<text>&j;</text>",
        "deep.svg": SVG % deep,
        "uses.svg": SVG % (uses + b"</defs><use xlink:href='#g0'/>"),
        "circle.svg": SVG % b'<g id="a"><use xlink:href="#b"/></g><g id="b"><use xlink:href="#a"/></g>',
        "many.svg": SVG % (b"<rect width='40' height='40'/>" * 90_000),
        "image-bomb.svg": SVG % _embedded(png_of_zeros(8_000), b"image/png"),
        "svg-in-svg.svg": SVG % _embedded(SVG % _embedded(png_of_zeros(8_000), b"image/png"), b"image/svg+xml"),
        "use-data.svg": SVG % b"<use xlink:href='data:image/svg+xml,%3Csvg/%3E#a'/>",
        "paint-data.svg": SVG % b"<rect width='9' height='9' fill='url(data:image/svg+xml,%3Csvg/%3E#a)'/>",
        "import-data.svg": SVG
        % b"<style>@import url(data:text/css,rect{fill:red});</style><rect width='9' height='9'/>",
        "huge-filter.svg": SVG % (_filter(b'<feGaussianBlur stdDeviation="100000"/>') + FILTERED),
        "noise.svg": SVG % (_filter(b'<feTurbulence baseFrequency="0.01" numOctaves="1000"/>' * 20) + FILTERED),
        "matrix.svg": SVG % (_filter(b'<feConvolveMatrix order="50" kernelMatrix="%b"/>' % (b"1 " * 2500)) + FILTERED),
        "dashes.svg": SVG % b'<path d="M0 0L1e9 0" stroke="red" stroke-dasharray="0.00001"/>',
        "tiny-pattern.svg": SVG % (PATTERN + b'<rect width="400" height="400" fill="url(#p)"/>'),
        "huge-viewbox.svg": b"<svg " + NAMES + b' viewBox="0 0 1e38 1e-38"><rect width="1e38" height="9"/></svg>',
        "long-number.svg": b"<svg " + NAMES + b' width="%b" height="9"/>' % (b"9" * 100_000),
        "masks.svg": SVG % (MASK + b'<g mask="url(#m)">' * 200 + b"</g>" * 200),
        "text.svg": SVG % b'<text font-family="no such font">text</text>',
        "claims-65535x65535.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="65535" height="65535"/>',
        "drawing.mvg": b"push graphic-context\nviewbox 0 0 640 480\nimage over 0,0 0,0 'https://127.0.0.1/x'\n",
        "drawing.msvg": b"<?xml version='1.0'?><image><read filename='/etc/passwd'/></image>",
        "drawing-in-png.png": b"push graphic-context\nfill 'url(https://127.0.0.1/\"|id\")'\npop graphic-context",
        "paper.pdf": b"%PDF-1.7\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>endobj\n%%EOF",
        "paper.ps": b"%!PS\n(/etc/passwd) (r) file\nshowpage\n",
    }


def _others() -> dict[str, bytes]:
    bmp = b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 24, 0, 4, 0, 0, 0, 0)
    return {
        "head.v": b"\x08\xf2\xa6\xb6" + struct.pack("<IIIIII", 9, 9, 3, 8, 0, 0) + bytes(400),
        "plain.ppm": b"P6 4 4 255\n" + bytes(48),
        "claims.pgm": b"P5 2000000000 2000000000 255\n",
        "plain.pfm": b"PF 4 4 -1.0\n" + bytes(192),
        "head.exr": b"\x76\x2f\x31\x01\x02\0\0\0" + bytes(200),
        "head.mat": b"MATLAB 5.0 MAT-file" + b" " * 97 + bytes(8) + b"\0\x01IM" + bytes(100),
        "head.hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 4 +X 4\n" + bytes(64),
        "head.fits": b"SIMPLE  =                    T" + b" " * 2850,
        "head.nii": bytes(344) + b"n+1\0" + bytes(100),
        "head.dcm": bytes(128) + b"DICM" + bytes(100),
        "head.jp2": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100),
        "head.ico": b"\0\0\x01\0\x01\0\x01\x01\0\0\x01\0\x18\0" + bytes(80),
        "head.psd": b"8BPS\0\x01" + bytes(100),
        "head.tga": b"\0\0\x02\0\0\0\0\0\0\0\0\0\x04\0\x04\0\x18\0" + bytes(48),
        "plain.csv": b"1,2,3\n4,5,6\n",
        "claims-65535x65535.bmp": bmp[:18] + struct.pack("<ii", 65535, 65535) + bmp[26:],
        "head.heic": ftyp(b"heic", b"mif1", b"heic") + bytes(400),
        "hevc-of-avif.heic": seeds.torn_seeds()["plain.avif"].replace(b"avif", b"heic"),
        "head.jxl": b"\xff\x0a" + bytes(100),
        "box.jxl": b"\0\0\0\x0cJXL \r\n\x87\n" + ftyp(b"jxl ") + bytes(100),
        "head.mp4": ftyp(b"isom", b"mp42") + bytes(400),
        "head-only.avif": ftyp(b"avif", b"mif1"),
        "program.elf": b"\x7fELF\x02\x01\x01" + bytes(200),
        "packed.zip": b"PK\x03\x04" + bytes(100),
        "packed.gz": b"\x1f\x8b\x08" + bytes(100),
        "nothing.jpg": b"",
        "one-byte.png": b"\x89",
        "mark-only.png": raw.PNG_MARK,
        "mark-only.jpg": b"\xff\xd8\xff",
        "mark-only.gif": b"GIF89a",
        "mark-only.webp": b"RIFF\x04\0\0\0WEBP",
        "mark-only.tiff": b"II*\0",
        "big-mark-only.tiff": b"II+\0\x08\0\0\0",
        "zeros.bin": bytes(5000),
        "ones.bin": b"\xff" * 5000,
        "text.jpg": b"no image\n" * 40,
    }


def _pages_first() -> dict[str, bytes]:
    """An HTML page followed by an image: its first bytes must never reach a browser."""
    torn = seeds.torn_seeds()
    return {
        "page-then-jpeg.jpg": PAGE + torn["baseline.jpg"],
        "page-then-png.png": PAGE + torn["plain.png"],
        "page.png": PAGE,
        "page.gif": PAGE,
        "paper-then-jpeg.jpg": b"%PDF-1.7\n" + torn["baseline.jpg"],
        "blank-then-png.png": b"\n" + torn["plain.png"],
    }


@cache
def images_too() -> Mapping[str, bytes]:
    """A valid image with other data after it or hidden inside; rendering removes that data."""
    torn = seeds.torn_seeds()
    comment = b"\x21\xfe" + raw.parts(PAGE)
    script = b"GIF89a" + struct.pack("<HH", 10_799, 42)
    return {
        "jpeg-then-page.jpg": torn["baseline.jpg"] + PAGE,
        "jpeg-with-page.jpg": raw.jpeg_with(torn["baseline.jpg"], 0xFE, PAGE),
        "png-then-page.png": torn["plain.png"] + PAGE,
        "png-with-page.png": torn["plain.png"][:33] + chunk(b"tEXt", b"Comment\0" + PAGE) + torn["plain.png"][33:],
        "webp-then-page.webp": torn["lossy.webp"] + PAGE,
        "gif-with-page.gif": torn["still.gif"][:-1] + comment + b"\x3b",
        "png-then-zip.png": torn["plain.png"] + b"PK\x05\x06" + bytes(18),
        "gif-of-script.gif": script
        + b"\x91\0\0"
        + raw.COLORS
        + b"\x21\xfe"
        + raw.parts(b"*/=alert(1);/*")
        + raw.gif(10_799, 42, [raw.GifFrame(0, 0, 2, 2)], loop=False)[13 + 12 :],
    }


@cache
def misnamed() -> Mapping[str, bytes]:
    """Valid images with the extensions of other formats: the bytes decide."""
    torn = seeds.torn_seeds()
    names = {
        "jpeg.png": "baseline.jpg", "png.jpg": "plain.png", "webp.gif": "lossy.webp", "gif.webp": "still.gif",
        "avif.jpg": "plain.avif", "tiff.jpg": "deflated.tiff", "jpeg.svg": "baseline.jpg", "png.html": "plain.png",
        "jpeg.js": "baseline.jpg", "jpeg": "baseline.jpg", "png.php.txt": "plain.png", "gif.pdf": "still.gif",
    }  # fmt: skip
    return {f"is-{name}": torn[seed] for name, seed in names.items()}
