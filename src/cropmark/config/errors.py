"""What is wrong with a configuration, and the line of its file that it stands on."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Steps = tuple[str | int, ...]
"""The way to a value: names of tables and keys, numbers of `[[tables]]` from 0 on."""


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """One thing wrong with a configuration: where, what, and what to write instead."""

    where: str
    what: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" + (f" | {self.fix}" if self.fix else "")


class InvalidConfiguration(Exception):
    """All mistakes at once."""

    def __init__(self, mistakes: tuple[ConfigIssue, ...]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """A configuration file: what it says, and its text, which knows the lines. Without a file both are empty."""

    file: Path | None
    text: str
    values: dict[str, Any]

    @classmethod
    def read(cls, file: Path | None) -> TomlDocument:
        """The file's. Raises BadConfiguration for one that is missing or no TOML."""
        if file is None:
            return cls(None, "", {})
        try:
            text = file.read_text("utf-8")
            return cls(file, text, tomllib.loads(text))
        except FileNotFoundError as error:
            raise InvalidConfiguration((ConfigIssue(str(file), "there is no such file", "check --config"),)) from error
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidConfiguration((ConfigIssue(str(file), f"cannot be read: {error}"),)) from error
        except tomllib.TOMLDecodeError as error:
            what, _, at = str(error).partition(" (at line ")
            where = f"{file}:{at.partition(',')[0]}" if at else str(file)
            mend = "strings stand in quotes, lists in brackets"
            raise InvalidConfiguration((ConfigIssue(where, f"is not TOML: {what}", mend),)) from error

    def place(self, path: Steps) -> str:
        """The file and line of a value, or of the innermost table around it that has one."""
        lines = _lines(self.text)
        for end in range(len(path), 0, -1):
            # A table that has no line of its own begins with the first of its keys: `fastly.upscale = true`.
            within = [line for way, line in lines.items() if way[:end] == path[:end]]
            if within:
                return f"{self.file}:{lines.get(path[:end], within[0])}"
        return str(self.file or "configuration")


_NAME = r"(?:[A-Za-z0-9_\-]+|\"[^\"]*\"|'[^']*')"
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_PATH})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^\s*({_PATH})\s*=")


def _lines(text: str) -> dict[Steps, int]:
    """The line of every key and table of a TOML text, by its path."""
    found: dict[Steps, int] = {}
    table: Steps = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            parts = _names(header[2])
            first = str(parts[0])
            if header[1] == "[[":
                counts[first] = counts.get(first, -1) + 1
            table = (first, counts[first], *parts[1:]) if first in counts else parts
            found.setdefault(table, number)
        elif key := _KEY.match(line):
            found.setdefault((*table, *_names(key[1])), number)
    return found


def _names(path: str) -> Steps:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, path))


def hint(name: str, known: Iterable[str]) -> str:
    """The name that was meant, as far as one can tell."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "see docs/configuration.md for the names"
