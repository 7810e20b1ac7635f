"""Errors in a configuration. Each has the line of the file that causes it."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KeyPath = tuple[str | int, ...]
"""The path to a value: names of tables and keys, and indexes into `[[tables]]`, which count from 0."""


@dataclass(frozen=True, slots=True)
class ConfigIssue:
    """An error in a configuration: its location, a message and the text to write instead."""

    location: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        return f"{self.location}: {self.message}" + (f" | {self.fix}" if self.fix else "")


class InvalidConfiguration(Exception):
    """Raised with all errors that were found in a configuration."""

    def __init__(self, issues: tuple[ConfigIssue, ...]) -> None:
        super().__init__("\n".join(map(str, issues)))
        self.issues = issues


@dataclass(frozen=True, slots=True)
class TomlDocument:
    """A configuration file: its values, and its text, in which the lines of values are found.

    Both are empty if no file was read.
    """

    file: Path | None
    text: str
    values: dict[str, Any]

    @classmethod
    def read(cls, file: Path | None) -> TomlDocument:
        """Read a configuration file. Raises InvalidConfiguration if the file is missing or not valid TOML."""
        if file is None:
            return cls(None, "", {})
        try:
            text = file.read_text("utf-8")
            return cls(file, text, tomllib.loads(text))
        except FileNotFoundError as error:
            raise InvalidConfiguration(
                (ConfigIssue(str(file), "the file does not exist", "check --config"),)
            ) from error
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidConfiguration((ConfigIssue(str(file), f"cannot be read: {error}"),)) from error
        except tomllib.TOMLDecodeError as error:
            reason, _, line = str(error).partition(" (at line ")
            location = f"{file}:{line.partition(',')[0]}" if line else str(file)
            fix = "strings need quotes, lists need brackets"
            raise InvalidConfiguration((ConfigIssue(location, f"not valid TOML: {reason}", fix),)) from error

    def location(self, path: KeyPath) -> str:
        """The file and line of a value. An absent value has the line of the innermost table that would contain it."""
        lines = _lines(self.text)
        for end in range(len(path), 0, -1):
            # A table without a header is at the line of its first key: `fastly.upscale = true`.
            within = [line for key, line in lines.items() if key[:end] == path[:end]]
            if within:
                return f"{self.file}:{lines.get(path[:end], within[0])}"
        return str(self.file or "configuration")


_NAME = r"(?:[A-Za-z0-9_\-]+|\"[^\"]*\"|'[^']*')"
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEADER = re.compile(rf"^\s*(\[\[?)\s*({_PATH})\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(rf"^\s*({_PATH})\s*=")


def _lines(text: str) -> dict[KeyPath, int]:
    """The line numbers of all keys and tables in a TOML text, by their paths."""
    lines: dict[KeyPath, int] = {}
    table: KeyPath = ()
    counts: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            parts = _names(header[2])
            first = str(parts[0])
            if header[1] == "[[":
                counts[first] = counts.get(first, -1) + 1
            table = (first, counts[first], *parts[1:]) if first in counts else parts
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_names(key[1])), number)
    return lines


def _names(path: str) -> KeyPath:
    return tuple(name.strip("\"'") for name in re.findall(_NAME, path))


def hint(name: str, known: Iterable[str]) -> str:
    """A suggestion for an unknown name: the most similar known name, or the page that lists all names."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else "see docs/configuration.md for the names"
