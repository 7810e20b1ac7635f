from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cropmark.analysis import models
from cropmark.analysis.models import FACE, HASHES, SUBJECT, ModelUnusable

FOLDER = Path(models.__file__).parent / "models"


def test_both_networks_are_in_the_package() -> None:
    loaded = models.load_models()
    assert (len(loaded.face), len(loaded.subject)) == (229_477, 4_574_391)


@pytest.mark.parametrize("name", [FACE, SUBJECT])
def test_one_wrong_bit_is_detected(name: str) -> None:
    data = bytearray((FOLDER / name).read_bytes())
    data[1000] ^= 1
    with pytest.raises(ModelUnusable, match=f"wrong hash of {name}"):
        models.verify_hash(name, bytes(data))


def test_a_missing_file_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(models, "files", lambda _package: tmp_path)
    with pytest.raises(ModelUnusable, match=f"{FACE} cannot be read"):
        models.load_models()


def test_a_changed_file_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    for name in HASHES:
        (tmp_path / "models" / name).write_bytes((FOLDER / name).read_bytes())
    (tmp_path / "models" / SUBJECT).write_bytes(b"another network")
    monkeypatch.setattr(models, "files", lambda _package: tmp_path)
    with pytest.raises(ModelUnusable, match=f"wrong hash of {SUBJECT}"):
        models.load_models()


def test_files_hashes_licenses_and_the_page_about_them_agree() -> None:
    page = (FOLDER / "README.md").read_text()
    for name, digest in HASHES.items():
        assert f"`{name}`" in page
        assert digest in page
    for text in ("LICENSE-yunet.txt", "LICENSE-u2netp.txt"):
        assert text in page
        assert (FOLDER / text).stat().st_size > 1000


def test_the_runtime_is_available_here() -> None:
    assert models.unavailable_reason() is None


# fmt: off
MISSING = [
    # not installed                 reported
    (("numpy",),                    "numpy not installed"),
    (("onnxruntime",),              "onnxruntime not installed"),
    (("numpy", "onnxruntime"),      "numpy and onnxruntime not installed"),
]
# fmt: on


@pytest.mark.parametrize(("names", "reason"), MISSING)
def test_a_missing_runtime_is_reported(monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], reason: str) -> None:
    monkeypatch.setattr(models, "find_spec", lambda name: None if name in names else object())
    assert models.unavailable_reason() == reason


def test_loading_models_imports_neither_numpy_nor_the_runtime() -> None:
    code = (
        "import sys, cropmark.analysis.models as m, cropmark.analysis.codec, cropmark.geometry.smart_crop;"
        "m.unavailable_reason();"
        "m.load_models(); print(sorted({'numpy', 'onnxruntime'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert run.stdout.strip() == "[]"
