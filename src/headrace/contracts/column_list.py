"""Reading of a SQL column list: `url TEXT NOT NULL, seen_at TIMESTAMP, price DECIMAL(18,2)`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from headrace.contracts.schema import Column, Schema
from headrace.contracts.types import column, sql_type
from headrace.errors import DeclarationError

_NAME = re.compile(r'\s*(?:"((?:[^"]|"")+)"|([^\W\d]\w*))')
_NULLNESS = re.compile(r"\s+(NOT\s+NULL|NULL)\s*$", re.IGNORECASE)
_OTHER_CLAUSE = re.compile(
    r"\s(PRIMARY\s+KEY|DEFAULT|CHECK|UNIQUE|REFERENCES|COLLATE|GENERATED|USING|AS)\b", re.IGNORECASE
)
_EXAMPLE = '"url TEXT NOT NULL, seen_at TIMESTAMP, price DECIMAL(18,2)"'
_HINTS = {
    "PRIMARY KEY": "name the key in app.table(…, key=…)",
    "DEFAULT": "a model can have defaults; a column list cannot",
    "CHECK": "a model can have constraints; a column list cannot",
}


def parse_columns(text: str, *, where: str | None = None) -> Schema:
    """Return the schema that a SQL column list writes; types are DuckDB's.

    Raises:
        DeclarationError: with line and column of what cannot be read.
    """
    columns: list[Column] = []
    seen: dict[str, str] = {}
    for start, item in _items(text, where):
        parsed = _column(text, start, item, where)
        earlier = seen.setdefault(parsed.name.lower(), parsed.name)
        if earlier is not parsed.name:
            raise _error(text, start, f"the column {parsed.name!r} is declared twice", where)
        columns.append(parsed)
    return Schema.of(columns)


def _items(text: str, where: str | None) -> Iterator[tuple[int, str]]:
    """Yield position and text between top-level commas."""
    depth, quote, start = 0, "", 0
    for position, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([":
            depth += 1
        elif char in ")]":
            depth -= 1
            if depth < 0:
                raise _error(text, position, f"{char!r} closes nothing", where)
        elif char == "," and depth == 0:
            yield start, text[start:position]
            start = position + 1
    if quote or depth:
        raise _error(text, start, "a quote is not closed" if quote else "a parenthesis is not closed", where)
    if text[start:].strip() or start == 0:
        yield start, text[start:]


def _column(text: str, start: int, item: str, where: str | None) -> Column:
    name = _NAME.match(item)
    if name is None:
        found = item.strip()
        problem = f"{found!r} does not start with a column name" if found else "a column is missing here"
        raise _error(text, start, problem, where)
    rest = item[name.end() :]
    after_name = start + name.end()
    nullness = _NULLNESS.search(rest)
    type_text = rest[: nullness.start()] if nullness else rest
    shown = name[1].replace('""', '"') if name[1] else name[2]
    if not type_text.strip():
        raise _error(text, after_name, f"the column {shown!r} has no type", where)
    clause = _OTHER_CLAUSE.search(type_text)
    if clause:
        word = " ".join(clause[1].upper().split())
        raise _error(text, after_name + clause.start(1), f"{word} has no place here", where, _HINTS.get(word))
    try:
        plain = column(shown, type_text)
    except DeclarationError as error:
        lead = len(type_text) - len(type_text.lstrip())
        raise _error(
            text, after_name + lead, f"column {shown!r}: {error.problem}", where, error.hint
        ) from None
    if not sql_type(plain.sql_type).is_storable:
        problem = f"column {shown!r}: {plain.sql_type} cannot be stored"
        raise _error(text, after_name, problem, where, "use JSON, BLOB or VARCHAR and cast it in a view")
    return replace(plain, nullable=nullness is None or not nullness[1].upper().startswith("NOT"))


def _error(
    text: str, position: int, problem: str, where: str | None, hint: str | None = None
) -> DeclarationError:
    position += len(text[position:]) - len(text[position:].lstrip())
    line = text.count("\n", 0, position) + 1
    in_line = position - (text.rfind("\n", 0, position) + 1) + 1
    place = f"column list, line {line}, column {in_line}"
    source_line = text.splitlines()[line - 1] if text.strip() else ""
    marked = f"\n    {source_line}\n    {' ' * (in_line - 1)}^" if source_line else ""
    return DeclarationError(
        problem + marked,
        where=f"{where}, {place}" if where else place,
        expected=f"a list such as {_EXAMPLE}",
        hint=hint,
        line=line,
        column=in_line,
    )
