"""Errors in SQL text: which view, which line and column, and the text underlined."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
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


@dataclass(frozen=True, slots=True)
class Known:
    """Names that a query could have meant: of columns, and of the items of its FROM clauses."""

    columns: Sequence[str] = ()
    tables: Sequence[str] = ()


def raise_from_duckdb(text: Text, answer: Tree, known: Known) -> NoReturn:
    """Raise DuckDB's own complaint, as its JSON functions report it, about the same text.

    Args:
        text: the view's SQL.
        answer: DuckDB's answer with its message and place.
        known: names for suggestions.
    """
    message = str(answer.get("error_message", "this SQL is not valid"))
    told = _told(message, known)
    position = answer.get("position")
    offset = int(position) if position is not None and str(position).isdigit() else None
    if offset is None and "lambda arrow" in message and "->" in text.sql:
        offset = len(text.sql.partition("->")[0].encode())
    length = _length_at(text.sql, offset, str(answer.get("location", "")))
    raise text.error(
        told.problem, byte_offset=offset, byte_length=length, expected=told.expected, hint=told.hint
    )


def raise_from_exception(text: Text, error: duckdb.Error) -> NoReturn:
    """Raise a DuckDB exception that carries no position."""
    told = _told(re.sub(r"^[\w ]+ Error: ", "", str(error)), Known())
    raise text.error(told.problem, expected=told.expected, hint=told.hint) from error


@dataclass(slots=True)
class _Told:
    problem: str
    expected: str | None = None
    hint: str | None = None


def _told(message: str, known: Known) -> _Told:
    """Take DuckDB's message apart: the problem, what would be right, the suggestion."""
    lines = [line.strip() for line in message.split("\n") if line.strip()]
    told = _Told(lines[0].rstrip("!") if lines else "this SQL is not valid")
    for line in lines[1:]:
        if line.startswith("Did you mean"):
            told.hint = line[0].lower() + line[1:]
        elif line.startswith("Candidate tables:"):
            told.expected = "one of:" + line.split(":", 1)[1].replace('"', "")
    functions = [line.replace(", /)", ")") for line in lines[1:] if "->" in line]
    if functions:
        told.expected = "; ".join(functions[:4]) + (" …" if len(functions) > 4 else "")
    _rephrase(told, known)
    return told


_NO_COLUMN = re.compile(
    r'Referenced column "(?P<column>.*)" not found'
    r'|(?:Values list|Table) "(?P<table>.*)" does not have a column named "(?P<field>.*)"'
)

_NO_TABLE = re.compile(r'Referenced table "(?P<table>.*)" not found')


def _rephrase(told: _Told, known: Known) -> None:
    """Say in our words what is about columns; DuckDB suggests names by chance, and functions we refuse."""
    missing = _NO_COLUMN.match(told.problem)
    if missing:
        name = missing["column"] or missing["field"]
        owner = f"{missing['table']!r} has" if missing["table"] else "there is"
        told.problem = f"{owner} no column {name!r}"
        columns = list(dict.fromkeys(known.columns))
        close = get_close_matches(name.lower(), [column.lower() for column in columns], n=1, cutoff=0.6)
        told.hint = f"did you mean {close[0]!r}?" if close else None
        listed = ", ".join(columns[:20]) + (" …" if len(columns) > 20 else "")
        told.expected = f"one of: {listed}" if columns else None
    table = _NO_TABLE.match(told.problem)
    if table and table["table"].lower() in known.tables:
        told.problem, told.expected = f"{table['table']!r} has no such column", None
    if "Max expression depth" in told.problem:
        told.problem, told.hint = "an expression is nested too deeply", "split it over views of their own"
    if "lambda arrow" in told.problem:
        told.problem, told.hint = "DuckDB no longer reads `x -> …` as a lambda", "lambda x: …"
    if "must appear in the GROUP BY clause" in told.problem:
        told.problem = told.problem.split(" must appear")[0] + " is neither grouped nor aggregated"
        told.hint = "add it to GROUP BY, or take max(…), or arg_max(…, time) for the newest"


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
