"""The tables of formats against the installed libvips: formats said to be read and written are, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest
import pyvips

from cropmark.dialects import registry
from cropmark.dialects.contentstack.readers import FORMATS as CONTENTSTACK_FORMATS
from cropmark.dialects.dialect import ImageRequest
from cropmark.dialects.fastly.params import FORMAT
from cropmark.dialects.fastly.readers import FORMATS as FASTLY_FORMATS
from cropmark.engine.versions import check_codecs
from cropmark.model.formats import READABLE, TRAITS, WRITABLE, Format
from cropmark.plan.plan import Order

DOCS = Path(__file__).parents[2] / "docs"
NOT_WRITTEN = {"mp4", "svg"} | (set() if Format.JXL in WRITABLE else {"jxl", "jpegxl", "pjxl", "pjpegxl"})
WORDS = [
    *(("fastly", f"format={word}", word not in NOT_WRITTEN) for word in FASTLY_FORMATS if word != "auto"),
    *(("contentstack", f"format={word}", True) for word in CONTENTSTACK_FORMATS if word != "auto"),
    *(("kontent", f"fm={word}", True) for word in ("jpg", "pjpg", "png", "png8", "webp", "gif")),
]


def read_order(dialect: str, query: str) -> Order:
    order = registry.entry(dialect).build().order(ImageRequest("image.jpg", query))
    assert isinstance(order, Order)
    return order


def test_the_build_decodes_the_formats_that_are_said_to_be_read() -> None:
    errors = {name.lower(): error for name, error in check_codecs()}
    animated = {f"animated {format_.value}" for format_ in (Format.AVIF,) if TRAITS[format_].animated}
    assert errors == dict.fromkeys({format_.value for format_ in READABLE | WRITABLE} | animated, "")  # and encodes


def test_the_build_cannot_decode_the_others() -> None:
    # SVG has a loader in this build, which only the setting `svg` lets run.
    assert Format.SVG not in READABLE
    for loader in ("jxlload", "jxlsave", "bmpload", "magickload"):
        assert pyvips.type_find("VipsForeign", loader) == 0, loader
    with pytest.raises(pyvips.Error, match=r"[Uu]nsupported compression"):
        pyvips.Image.black(16, 16).heifsave_buffer(compression="hevc")


@pytest.mark.parametrize(("dialect", "query", "written"), WORDS)
def test_each_word_of_an_output_format(dialect: str, query: str, written: bool) -> None:
    order = read_order(dialect, query)
    assert order.plan is not None
    is_ignored = bool(order.warnings) or order.plan.output.choices[0].format not in WRITABLE
    assert is_ignored is not written


def test_the_row_of_fastlys_format_names_the_words_that_are_not_written() -> None:
    assert "jxl needs the extra `jxl`, mp4 the extra `video`" in FORMAT.doc.about
    assert "Without them, and svg always, the word is ignored" in FORMAT.doc.about


@pytest.mark.parametrize("dialect", [entry.name for entry in registry.folder_entries()])
def test_the_documents_name_the_formats_that_are_read(dialect: str) -> None:
    order = read_order(dialect, registry.entry(dialect).samples[0].query)
    assert order.plan is not None
    assert order.plan.reads <= READABLE
    text = (DOCS / "dialects" / f"{dialect}.md").read_text()
    documented = text.partition("that are read: ")[2].partition(".")[0].split(", ")
    by_extra = {f"{format_.value} (extra `{traits.extra}`)" for format_, traits in TRAITS.items() if traits.extra}
    always = {_documented(format_) for format_ in order.plan.reads if TRAITS[format_].extra is None}
    assert set(documented) - by_extra == always
    installed = {name for name in by_extra if Format(name.partition(" ")[0]) in order.plan.reads}
    assert installed <= set(documented)


def _documented(format_: Format) -> str:
    """The name of a format that is read without an extra, with the extra for its animations."""
    extra = TRAITS[format_].animation_extra
    return f"{format_.value} (animations: extra `{extra}`)" if extra else format_.value
