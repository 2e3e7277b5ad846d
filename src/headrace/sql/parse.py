"""Text to DuckDB's syntax tree: exactly one SELECT, everything else refused with its place."""

from __future__ import annotations

import re

from headrace.errors import UnsupportedSql
from headrace.sql.duck import Duck
from headrace.sql.errors import Known, Text, raise_from_duckdb
from headrace.sql.tree import Tree, walk

_APART = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/""", re.DOTALL)
"""What is no word of SQL: texts, quoted names, comments."""
_OPEN_PIVOT = re.compile(
    r"\s*[(\s]*(?:(?:SELECT|WITH|FROM)\b.*?\b)??(?P<word>PIVOT(?:_WIDER)?)\b", re.I | re.S
)


def parse_select(duck: Duck, text: Text) -> Tree:
    """Return the query node of the one SELECT that the text must be.

    Raises:
        SqlError: the text is empty, does not parse, or holds something else or several statements.
    """
    if "\x00" in text.sql:
        raise text.error("the text holds a zero byte")
    answer = duck.parse(text.sql)
    if answer.get("error"):
        if answer.get("error_type") == "not implemented":
            _refuse_open_pivot(text)
            raise text.error(
                "a view is one SELECT",
                byte_offset=_first_word(text.sql),
                byte_length=1,
                expected="SELECT, WITH, VALUES or FROM; no CREATE, INSERT, COPY, ATTACH, PRAGMA and the like",
            )
        raise_from_duckdb(text, answer, Known())
    statements = answer["statements"]
    if not statements:
        raise text.error("there is no SQL", expected="one SELECT")
    if len(statements) > 1:
        second = min((p for p in _positions(statements[1]["node"])), default=0)
        raise text.error("there are several statements", byte_offset=second, expected="one SELECT")
    node: Tree = statements[0]["node"]
    return node


def _refuse_open_pivot(text: Text) -> None:
    """Refuse what DuckDB turns into several statements: it would first have to look at the rows."""
    plain = _APART.sub(lambda found: " " * len(found[0]), text.sql)
    found = _OPEN_PIVOT.match(plain)
    if found is not None and not plain.partition(";")[2].strip():
        raise text.error(
            "the columns of a PIVOT without values depend on the rows",
            byte_offset=len(text.sql[: found.start("word")].encode()),
            byte_length=len(found["word"]),
            expected="the values that become columns",
            hint="PIVOT … ON status IN ('open', 'paid') USING …",
            kind=UnsupportedSql,
        )


def _positions(tree: Tree) -> list[int]:
    found = (part.get("query_location") for part in walk(tree))
    return [p for p in found if isinstance(p, int) and p < 2**63]


def _first_word(sql: str) -> int:
    offset = 0
    while offset < len(sql):
        if sql[offset].isspace():
            offset += 1
        elif sql.startswith("--", offset):
            end = sql.find("\n", offset)
            offset = len(sql) if end < 0 else end
        elif sql.startswith("/*", offset):
            end = sql.find("*/", offset)
            offset = len(sql) if end < 0 else end + 2
        else:
            break
    return len(sql[:offset].encode())
