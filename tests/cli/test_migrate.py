# ruff: noqa: E501 - tables are read by their columns, one row a line
"""The commands translate and compare as a user types them."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner, Result

from cropmark.api import translate
from cropmark.cli.main import app
from cropmark.model.problems import BadRequest, BadValue


def cropmark(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


# fmt: off
TRANSLATIONS = [
    # arguments                                                               exit  says
    (["/fastly/a.jpg?crop=16:9", "--to", "contentstack"],                     0, "contentstack equivalent: crop=16:9\n"),
    (["https://img.example/fastly/a.jpg?crop=16:9", "--to", "contentstack"],  0, "contentstack equivalent: crop=16:9\n"),
    (["https://img.example/a.jpg?w=9&fm=jpg", "--from", "kontent", "--to", "fastly"],
                                                                              0, "fastly equivalent: width=9&format=bjpg\n"),
    (["crop=16:9", "--to", "contentstack"],                                   0, "contentstack equivalent: crop=16:9\n"),
    (["?w=9&fm=jpg", "--from", "kontent", "--to", "fastly"],                  0, "fastly equivalent: width=9&format=bjpg\n"),
    (["crop=9,9,x0,y0,safe", "--to", "pixlab"],                               1, "pixlab nearly equivalent: crop?img="),
    (["/pixlab/resize?img=https://a.example/b&width=9", "--to", "contentstack"],
                                                                              1, "nearly equivalent: width=9&height=9"),
    (["width=300", "--to", "kontent"],                                        1, "kontent nearly equivalent: w=300\n  Output: "),
    (["bw=atkinson", "--to", "kontent"],                                      1, "kontent cannot express it\n  Monochrome: "),
    (["bw=atkinson"],                                                         0, "pixlab cannot express it"),
    (["overlay=/a.png", "--from", "contentstack", "--to", "fastly"],          0, "header x-fastly-imageopto-overlay: overlay=/a.png"),
    (["fm=jpg&auto=format", "--from", "kontent", "--to", "fastly", "--accept", "image/png"],
                                                                              0, "fastly equivalent: format=bjpg\n"),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "code", "says"), TRANSLATIONS)
def test_translate(arguments: list[str], code: int, says: str) -> None:
    found = cropmark("translate", *arguments)
    report = "\n".join(line.rstrip() for line in found.output.splitlines()) + "\n"
    assert says in report
    assert found.exit_code == code


def test_translate_as_json() -> None:
    found = json.loads(cropmark("translate", "crop=16:9", "--json").output)
    assert [one["dialect"] for one in found] == ["contentstack", "kontent", "pixlab"]
    assert found[0] == {"dialect": "contentstack", "same": True, "query": "crop=16:9"}


# fmt: off
REFUSED = [
    # request                             kind      says
    ("/a.jpg?crop=1:1",                   BadRequest, "a path that begins with a dialect, got '/a.jpg' | fix: name the dialect of the request (--from,"),
    ("https://img.example/a.jpg?width=9", BadRequest, "name the dialect of the request (--from,"),
    ("http://[::1/fastly/a.jpg?width=3",  BadRequest, "expected a URL, got 'http://[::1/fastly/a.jpg?width=3'"),
    ("width=0",                           BadValue, "width: expected a length above 0"),
]
# fmt: on


@pytest.mark.parametrize(("request_", "kind", "says"), REFUSED)
def test_requests_that_are_rejected(request_: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind) as problem:
        translate(request_)
    assert says in str(problem.value)


def test_an_unknown_dialect() -> None:
    with pytest.raises(BadRequest, match=r"unknown dialect 'imgix' \| fix: write one of fastly, contentstack, kontent"):
        translate("crop=1:1", to=["imgix"])
