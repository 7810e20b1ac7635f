"""PixLab's fields, each with its documentation and its reader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cropmark.dialects.dialect import ParameterDoc
from cropmark.dialects.params import Parameter
from cropmark.dialects.pixlab.endpoints import EndpointName
from cropmark.dialects.pixlab.image_field import read_web_url
from cropmark.dialects.pixlab.placed_images import MAX_IMAGES, read_placed_images
from cropmark.dialects.pixlab.readers import read_boolean, read_length, read_number, read_percentage, read_text

CROP: Final = "https://pixlab.io/endpoints/crop"
MERGE: Final = "https://pixlab.io/cmd?id=merge"
REFERENCE: Final = "https://pixlab.io/api"
SAMPLES: Final = "https://github.com/symisc/pixlab"

_NUMBER = r"[0-9]+\.?[0-9]*|\.[0-9]+"
_SIGNED = rf"^\s*[+-]?(?:{_NUMBER})\s*$"
_PLUS = rf"^\s*\+?(?:{_NUMBER})\s*$"

KEY = Parameter(
    ParameterDoc(
        "key",
        "KEY",
        "",
        "The caller's key, required by every endpoint; in a GET it may be in the header WWW-Authenticate instead.",
        "key=PIXLAB_KEY",
        REFERENCE,
    ),
    read_text,
)
IMG = Parameter(
    ParameterDoc(
        "img",
        "URL | BASE64 | DATA_URI",
        "",
        "The image: an http or https URL that the server fetches, base64, or a data URI. A multipart "
        "body may have the image as the part `file` instead. Formats: JPEG, PNG, WebP, GIF, AVIF, TIFF and BMP.",
        "img=https://host.example/photo.jpg",
        CROP,
    ),
    read_text,
)
X = Parameter(
    ParameterDoc(
        "x",
        "PIXELS",
        "",
        "crop, smartcrop, cropgif: the left edge of the box; may be outside of the image.",
        "x=164",
        CROP,
        _SIGNED,
    ),
    read_number,
)
Y = Parameter(
    ParameterDoc(
        "y",
        "PIXELS",
        "",
        "crop, smartcrop, cropgif: the top edge of the box; may be outside of the image.",
        "y=95",
        CROP,
        _SIGNED,
    ),
    read_number,
)
LEFT = Parameter(
    ParameterDoc(
        "left", "PIXELS", "", "The name that facedetect gives x; read if x is absent.", "left=164", SAMPLES, _SIGNED
    ),
    read_number,
)
TOP = Parameter(
    ParameterDoc(
        "top", "PIXELS", "", "The name that facedetect gives y; read if y is absent.", "top=95", SAMPLES, _SIGNED
    ),
    read_number,
)
WIDTH = Parameter(
    ParameterDoc(
        "width",
        "PIXELS",
        "the height",
        "The width of the box, or of the result of a resize. With smartresize, 0 leaves it free.",
        "width=145",
        CROP,
        _PLUS,
    ),
    read_length,
)
HEIGHT = Parameter(
    ParameterDoc(
        "height",
        "PIXELS",
        "the width",
        "The height of the box, or of the result of a resize. With smartresize, 0 leaves it free.",
        "height=145",
        CROP,
        _PLUS,
    ),
    read_length,
)
SCALE = Parameter(
    ParameterDoc(
        "scale",
        "1..500",
        "",
        "scale: the sides of the result in percent of the image: 50 halves both, 100 changes nothing.",
        "scale=50",
        "https://pixlab.io/endpoints/scale",
        _PLUS,
    ),
    read_percentage,
)
SRC = Parameter(
    ParameterDoc(
        "src",
        "URL",
        "",
        "merge: the image that the others are drawn on, an http or https URL that the server fetches.",
        "src=https://host.example/photo.jpg",
        MERGE,
    ),
    read_web_url,
)
CORD = Parameter(
    ParameterDoc(
        "cord",
        "[{img, x, y, center, center_y}, …]",
        "",
        f"merge: up to {MAX_IMAGES} images, drawn in this order. `img` is a URL; x and y place the left and the top "
        "edge of the image, or with `center` and `center_y` its middle.",
        'cord=[{"img": "https://host.example/hat.png", "x": 30, "y": 320, "center": true}]',
        MERGE,
    ),
    read_placed_images,
)
BLOB = Parameter(
    ParameterDoc(
        "blob",
        "true | false",
        "false",
        "Returns the image itself instead of JSON with a link to it. 1, yes and on are true too.",
        "blob=true",
        CROP,
    ),
    read_boolean,
)
COUNT = Parameter(
    ParameterDoc(
        "count",
        "true | false",
        "false",
        "facedetect: returns the number of faces instead of their boxes.",
        "count=true",
        REFERENCE,
    ),
    read_boolean,
)
COMMENT = Parameter(
    ParameterDoc("comment", "TEXT", "", "store: a note stored with the image.", "comment=summer", REFERENCE),
    read_text,
)
LINK = Parameter(
    ParameterDoc(
        "link",
        "URL",
        "",
        "delete: the link of the stored result to delete.",
        "link=https://host.example/2f7c9a.png",
        SAMPLES,
    ),
    read_text,
)

PARAMETERS: Final[tuple[Parameter[Any], ...]] = (  # of any value type; Parameter.of() restores it
    KEY,
    IMG,
    X,
    Y,
    LEFT,
    TOP,
    WIDTH,
    HEIGHT,
    SCALE,
    SRC,
    CORD,
    BLOB,
    COUNT,
    COMMENT,
    LINK,
)

_PICTURE: Final = (KEY, IMG)
_BOX: Final = (X, Y, LEFT, TOP)
_SIZE: Final = (WIDTH, HEIGHT, BLOB)
_BY_ENDPOINT: Final[dict[EndpointName, tuple[Parameter[Any], ...]]] = {  # as in PARAMETERS
    EndpointName.CROP: (*_PICTURE, *_BOX, *_SIZE),
    EndpointName.SMARTCROP: (*_PICTURE, *_BOX, *_SIZE),
    EndpointName.CROPGIF: (*_PICTURE, *_BOX, *_SIZE),
    EndpointName.RESIZE: (*_PICTURE, *_SIZE),
    EndpointName.SMARTRESIZE: (*_PICTURE, *_SIZE),
    EndpointName.RESIZEGIF: (*_PICTURE, *_SIZE),
    EndpointName.SCALE: (*_PICTURE, SCALE, BLOB),
    EndpointName.MINIFY: (*_PICTURE, BLOB),
    EndpointName.MAGNIFY: (*_PICTURE, BLOB),
    EndpointName.THUMBNAIL: (*_PICTURE, *_SIZE),
    EndpointName.WEBFIT: (*_PICTURE, BLOB),
    EndpointName.MERGE: (KEY, SRC, CORD, BLOB),
    EndpointName.FACEDETECT: (*_PICTURE, COUNT),
    EndpointName.STORE: (KEY, COMMENT),
    EndpointName.DELETE: (KEY, LINK),
}


def parameters_of(endpoint: EndpointName) -> tuple[Parameter[Any], ...]:  # as in PARAMETERS
    """The fields that an endpoint reads; it ignores all others."""
    return _BY_ENDPOINT[endpoint]


def rendering_endpoints() -> Iterator[tuple[EndpointName, tuple[str, ...]]]:
    """Yield each endpoint that renders one image, with the names of the fields that change the image."""
    for endpoint, parameters in _BY_ENDPOINT.items():
        if BLOB in parameters and IMG in parameters:
            others = (KEY, IMG, BLOB, LEFT, TOP)  # left and top are other names of x and y
            yield endpoint, tuple(each.name for each in parameters if each not in others)
