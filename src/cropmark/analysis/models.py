"""The networks' files: package data, read whole and checked, for a renderer can open nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec

FACE = "face_yunet_2023mar_dynamic.onnx"
SUBJECT = "subject_u2netp_dynamic.onnx"

# models/README.md tells where each file comes from and under which license.
HASHES = {
    FACE: "652b0d8f13cadb55aeec2493271f0ab2373c26eaff409d086034db90935b7a48",
    SUBJECT: "7be9da68d568b32bc3b415af38e00ab58c9e577a25023dea8b1f7fa8864d09f1",
}

RUNTIME = ("numpy", "onnxruntime")


class ModelUnusable(Exception):
    """A network's file is missing or not the one that was tried; its text may be shown to a caller."""


@dataclass(frozen=True, slots=True)
class Models:
    """The two networks as ONNX files' bytes."""

    face: bytes = field(repr=False)
    subject: bytes = field(repr=False)


def available() -> str | None:
    """Why pictures cannot be analyzed by this installation, None where they can.

    Loads nothing: numpy and onnxruntime take 50 MB and a third of a second, which only renderers pay.
    """
    missing = [name for name in RUNTIME if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


def load() -> Models:
    """Both networks, out of the package.

    Raises ModelUnusable where a file is not there or its bytes are not those that were tried.
    """
    return Models(face=checked(FACE, _packaged(FACE)), subject=checked(SUBJECT, _packaged(SUBJECT)))


def checked(name: str, data: bytes) -> bytes:
    """The same bytes, if they are the network of that name. Raises ModelUnusable."""
    if sha256(data).hexdigest() != HASHES[name]:
        raise ModelUnusable(f"wrong hash of {name}")
    return data


def _packaged(name: str) -> bytes:
    try:
        return files("cropmark.analysis").joinpath("models", name).read_bytes()
    except OSError as error:
        raise ModelUnusable(f"{name} cannot be read") from error
