"""The language check finds each listed pattern, accepts the plain rewrite, and allows proper uses as phrases."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))

import language

# fmt: off
REWRITES = [
    # rule, odd sentence, plain rewrite
    ("so many, so long", "For so long a file is not summed up again.",
        "How long a verified, unchanged file is served without checking its checksum again."),
    ("nameless person", "The API below the prefix, for hosts that somebody asks for.",
        "Serves the management API on hosts that no other site claims."),
    ("nameless person", "Take a low rank, and interrupt nobody.",
        "Lower our priority so that waking a worker does not preempt the front process."),
    ("free relative", "More go in parts; what is broken off there a lifecycle rule removes.",
        "Larger objects use multipart. Incomplete parts are left to the bucket's lifecycle rule."),
    ("anew, at once, meanwhile", "Begun anew, it goes on.", "A second run resumes an interrupted one."),
    ("tell", "The server's own fault, which its log tells more of.", "Internal server error; details are in the log."),
    ("stand, lie", "Where the library lies.", "The library's folder."),
    ("keep", "Folder of what must be kept.", "Data directory (library, stored results)."),
    ("mend", "Each line good or bad with the mend.", "Prints OK, WARN or FAIL for each check, with a fix."),
    ("is no X", "A file that is none.", "Not an image."),
    ("beside, behind", "Quality beside the speed.", "Quality and speed."),
    ("goes out, comes in", "Why an original goes out as it is.", "The reason why an original is sent unchanged."),
    ("hear, believe, blame", "A header that is believed.", "A trusted header."),
    ("may be had, laid, but for", "A source that cannot be had.", "A source that is not available."),
]

PROPER = [
    "Keep-alive connections are closed after 60 s.",
    "The resize keeps the aspect ratio.",
    "`ns` stands for nanoseconds.",
    "The server runs behind a proxy.",
    "Shared results are stored by write-behind.",
    "The asset is no longer published.",
    "At most 255: the value is no larger than a byte.",
]
# fmt: on


def rules_of(kind: str, text: str) -> set[str]:
    return {rule.name for rule, _ in language.findings_of(language.Text("x.py", 1, kind, text))}


@pytest.mark.parametrize(("rule", "odd", "plain"), REWRITES)
def test_odd_sentences_are_found_and_plain_ones_are_not(rule: str, odd: str, plain: str) -> None:
    assert rule in rules_of("comment", odd)
    assert rules_of("comment", plain) == set()


def test_every_rule_has_a_row_above() -> None:
    assert {rule.name for rule in language.RULES} == {rule for rule, _, _ in REWRITES}


@pytest.mark.parametrize("text", PROPER)
def test_proper_uses_are_allowed_as_phrases(text: str) -> None:
    assert rules_of("comment", text) == set()


def test_a_docstring_does_not_begin_with_a_question_word() -> None:
    assert rules_of("docstring", "Whether the file is an image.") == {"opening word"}
    assert rules_of("docstring", "True if the file is an image.") == set()


def test_code_is_not_read_as_prose(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text('"""Return `kept`."""\n# told: yes\nx = "kept"\ny = "a file that is kept"\n')
    found = [(text.kind, text.line) for text in language.texts_of(file) if language.findings_of(text)]
    assert found == [("string", 4), ("comment", 2)]


def test_fenced_code_in_markdown_is_skipped(tmp_path: Path) -> None:
    file = tmp_path / "a.md"
    file.write_text("A file is kept.\n\n```\nkept\n```\n")
    assert [text.line for text in language.texts_of(file) if language.findings_of(text)] == [1]


def test_installed_packages_are_skipped(tmp_path: Path) -> None:
    for name in ("benchmarks/.peers/thumbor/a.py", ".venv/b.py", "src/c.py"):
        file = tmp_path / name
        file.parent.mkdir(parents=True)
        file.touch()
    assert [file.name for file in language.files_of([tmp_path])] == ["c.py"]
