"""The file formats that `replay` reads; built-in ones register here as third parties would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from headrace.errors import DeclarationError, StorageError, UnknownName

BATCH_ROWS = 50_000
"""Rows that a reader hands on at a time."""
COMPRESSED = (".gz",)
BAD_TEXT_CHARS_MAX = 2_000


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is no row in its format.

    Attributes:
        line: its number in the file, from 1; a line break inside a quoted CSV value does not count.
        problem: what is wrong with it.
        text: the line, cut after 2,000 characters.
    """

    line: int
    problem: str
    text: str

    def render(self, file: str) -> str:
        """Return it as the text that is put aside as a rejected row."""
        return f"{file}, line {self.line}: {self.problem}: {self.text[:BAD_TEXT_CHARS_MAX]}"


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a file, beyond its format.

    Attributes:
        delimiter: between the columns of a CSV; None: found out.
        header: whether the first line of a CSV names the columns; otherwise they are `column0`, `column1`, …
        encoding: of text, as Python names it.
        pattern: for the format `pattern`: a regular expression with named groups, or `%{NAME:column}` pieces.
        batch_rows: rows per chunk.
    """

    delimiter: str | None = None
    header: bool = True
    encoding: str = "utf-8"
    pattern: str | None = None
    batch_rows: int = BATCH_ROWS


@dataclass(frozen=True, slots=True)
class BadLines:
    """Lines that are no rows, in the order of the file."""

    lines: tuple[BadLine, ...]

    def __len__(self) -> int:
        return len(self.lines)


JsonRows = list[dict[str, Any]]
Chunk: TypeAlias = pa.RecordBatch | JsonRows | BadLines
"""Rows with the file's own columns and types, or lines that are none."""
Reader = Callable[[Path, ReadOptions], Iterator[Chunk]]


@dataclass(frozen=True, slots=True)
class Format:
    """A registered file format.

    Attributes:
        name: as `--format` takes it.
        suffixes: endings of file names that mean it, before a possible `.gz`.
        help: one line for the documentation.
        read: yields the chunks of a file, lazily, in the order of the file.
    """

    name: str
    suffixes: tuple[str, ...]
    help: str
    read: Reader


_FORMATS: dict[str, Format] = {}


def register_format(added: Format) -> None:
    """Make a format known.

    Raises:
        DeclarationError: the name is taken.
    """
    if added.name in _FORMATS:
        raise DeclarationError(
            f"a format named {added.name!r} is registered already", where="register_format"
        )
    _FORMATS[added.name] = added


def formats() -> dict[str, Format]:
    """Return all registered formats by name."""
    from headrace.sources import csv_files, json_lines, log_lines, tabular  # noqa: F401 - they register themselves

    return dict(_FORMATS)


def format_of(path: Path, name: str | None = None) -> Format:
    """Return the format of that name, or else the one that the file's name ends in.

    Raises:
        UnknownName: there is no such format, or the file's name tells none.
    """
    known = formats()
    if name is not None:
        if name not in known:
            raise UnknownName.of("file format", name, known)
        return known[name]
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSED]
    for item in known.values():
        if suffixes and suffixes[-1] in item.suffixes:
            return item
    raise UnknownName(
        "the file's name does not tell its format",
        where=str(path),
        expected=f"--format with one of: {', '.join(sorted(known))}",
    )


def must_exist(path: Path) -> Path:
    """Return the path of a file that is there.

    Raises:
        StorageError: there is no such file.
    """
    if not path.is_file():
        raise StorageError("there is no such file", where=str(path))
    return path
