"""Loads and verifies the files of the neural networks. The front does this, because renderers cannot open files."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from importlib.util import find_spec

FACE = "face_yunet_2023mar_dynamic.onnx"
SUBJECT = "subject_u2netp_dynamic.onnx"

# models/README.md has the origin and license of each file.
HASHES = {
    FACE: "652b0d8f13cadb55aeec2493271f0ab2373c26eaff409d086034db90935b7a48",
    SUBJECT: "7be9da68d568b32bc3b415af38e00ab58c9e577a25023dea8b1f7fa8864d09f1",
}

RUNTIME = ("numpy", "onnxruntime")


class ModelUnusable(Exception):
    """The file of a network is missing or has a wrong hash. The text may be shown to a caller."""


@dataclass(frozen=True, slots=True)
class Models:
    """The files of the two neural networks, in the format ONNX."""

    face: bytes = field(repr=False)
    subject: bytes = field(repr=False)


def unavailable_reason() -> str | None:
    """The reason why this installation cannot analyze images; None if it can.

    It only checks that numpy and onnxruntime are installed. Importing them takes 50 MB and a third of a second, which
    only renderers should spend.
    """
    missing = [name for name in RUNTIME if find_spec(name) is None]
    return f"{' and '.join(missing)} not installed" if missing else None


def load_models() -> Models:
    """The files of both networks, read from the package.

    Raises ModelUnusable if a file is missing or has a wrong hash.
    """
    return Models(
        face=verify_hash(FACE, _read_package_file(FACE)), subject=verify_hash(SUBJECT, _read_package_file(SUBJECT))
    )


def verify_hash(name: str, data: bytes) -> bytes:
    """The data, unchanged. Raises ModelUnusable if the data does not have the hash of the network `name`."""
    if sha256(data).hexdigest() != HASHES[name]:
        raise ModelUnusable(f"wrong hash of {name}")
    return data


def _read_package_file(name: str) -> bytes:
    try:
        return files("cropmark.analysis").joinpath("models", name).read_bytes()
    except OSError as error:
        raise ModelUnusable(f"{name} cannot be read") from error
