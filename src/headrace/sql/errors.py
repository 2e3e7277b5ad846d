"""Errors in SQL text: which view, which line and column, and the text underlined."""

from __future__ import annotations

import re
from typing import NoReturn

import duckdb

from headrace.errors import HeadraceError, SqlError, UnsupportedSql
from headrace.sql.tree import NOWHERE, Tree


def line_and_column(sql: str, offset: int) -> tuple[int, int]:
    """Return line and column, both from 1, of a character offset."""
    before = sql[:offset]
    return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1


def located(sql: str, offset: int, length: int = 1) -> str:
    """Return the line of the text that holds `offset`, `length` characters underlined."""
    offset = max(0, min(offset, len(sql)))
    line, column = line_and_column(sql, offset)
    text = sql.split("\n")[line - 1].rstrip("\r")
    marks = max(1, min(length, len(text) - column + 1))
    prefix = f"{line} | "
    padding = "".join("\t" if char == "\t" else " " for char in text[: column - 1])
    return f"{prefix}{text}\n{' ' * len(prefix)}{padding}{'^' * marks}"


def character_offset(sql: str, byte_offset: int) -> int:
    """Return the character offset of DuckDB's byte offset."""
    return len(sql.encode()[:byte_offset].decode(errors="ignore"))


def format_error(error: HeadraceError) -> str:
    """Return an error as a person reads it, the underlined text included."""
    excerpt = error.details.get("excerpt")
    text = error.render()
    return f"{text}\n\n{excerpt}" if excerpt and excerpt not in text else text


class Text:
    """The SQL of one view, for pointing into it.

    Args:
        view: the view's name.
        sql: the text, as the user wrote it.
    """

    def __init__(self, view: str, sql: str) -> None:
        self.view = view
        self.sql = sql

    def error(
        self,
        problem: str,
        *,
        byte_offset: int | None = None,
        byte_length: int = 1,
        expected: str | None = None,
        hint: str | None = None,
        kind: type[SqlError] = SqlError,
    ) -> SqlError:
        """Build an error that names the view, and line and column where there is a place to point at."""
        if byte_offset is None or byte_offset >= NOWHERE or byte_offset > len(self.sql.encode()):
            return kind(problem, where=f"view {self.view!r}", expected=expected, hint=hint, view=self.view)
        offset = character_offset(self.sql, byte_offset)
        length = character_offset(self.sql, byte_offset + byte_length) - offset
        line, column = line_and_column(self.sql, offset)
        excerpt = located(self.sql, offset, length)
        return kind(
            f"{problem}\n{excerpt}",
            where=f"view {self.view!r}, line {line}, column {column}",
            expected=expected,
            hint=hint,
            view=self.view,
            line=line,
            column=column,
            excerpt=excerpt,
        )

    def at(
        self,
        tree: Tree,
        problem: str,
        *,
        expected: str | None = None,
        hint: str | None = None,
        kind: type[SqlError] = SqlError,
    ) -> SqlError:
        """Build an error about a part of the syntax tree."""
        offset, length = tree.get("query_location"), tree.get("query_location_length") or 1
        return self.error(
            problem, byte_offset=offset, byte_length=length, expected=expected, hint=hint, kind=kind
        )

    def unsupported(self, tree: Tree, problem: str, hint: str | None = None) -> UnsupportedSql:
        """Build the error for SQL that cannot be kept fresh, pointing at a part of the syntax tree."""
        error = self.at(tree, problem, hint=hint, kind=UnsupportedSql)
        assert isinstance(error, UnsupportedSql)
        return error


def raise_from_duckdb(text: Text, answer: Tree) -> NoReturn:
    """Raise DuckDB's own complaint, as its JSON functions report it, about the same text."""
    message = str(answer.get("error_message", "this SQL is not valid"))
    problem, expected, hint = _split_message(message)
    position = answer.get("position")
    offset = int(position) if position is not None and str(position).isdigit() else None
    length = _length_at(text.sql, offset, str(answer.get("location", "")))
    raise text.error(problem, byte_offset=offset, byte_length=length, expected=expected, hint=hint)


def raise_from_exception(text: Text, error: duckdb.Error) -> NoReturn:
    """Raise a DuckDB exception that carries no position."""
    problem, expected, hint = _split_message(re.sub(r"^[\w ]+ Error: ", "", str(error)))
    raise text.error(problem, expected=expected, hint=hint) from error


def _split_message(message: str) -> tuple[str, str | None, str | None]:
    """Take DuckDB's message apart: the problem, the candidates, the suggestion."""
    lines = [line.strip() for line in message.split("\n") if line.strip()]
    problem, rest = (lines[0] if lines else "this SQL is not valid"), lines[1:]
    expected: str | None = None
    hint: str | None = None
    for line in rest:
        if line.startswith(("Candidate bindings:", "Candidate Entries:")):
            names = line.split(":", 1)[1].strip()
            hint = f"did you mean {names}?" if "," not in names else f"one of {names}"
        elif line.startswith("Did you mean"):
            hint = line[0].lower() + line[1:]
        elif line.startswith("Either add"):
            hint = line
    if "Candidate functions:" in message:
        known = [line for line in rest if "->" in line]
        expected = "; ".join(known[:6]) + (" …" if len(known) > 6 else "")
    return problem, expected, hint


def _length_at(sql: str, byte_offset: int | None, location: str) -> int:
    """How many bytes to underline: DuckDB's `[offset,length]`, else the word at the offset."""
    told = re.fullmatch(r"\[(\d+),(\d+)\]", location)
    if told and int(told[2]) > 0:
        return int(told[2])
    if byte_offset is None:
        return 1
    rest = sql.encode()[byte_offset:].decode(errors="ignore")
    word = re.match(r'"[^"]*"|[\w.]+', rest)
    return len(word[0].encode()) if word else 1
