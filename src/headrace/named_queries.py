"""Named queries: a SELECT with parameters, declared once, asked for by name from pages, HTTP and programs.

A query reads views at the moment it is asked; nothing of it is kept. It says in its own comments what it is
and what it wants to know:

    -- MRR at the end of each day, in one currency.
    -- $merchant TEXT: whose
    -- $since DATE = 2026-01-01: the first day
    SELECT day, mrr FROM mrr_per_day WHERE merchant_id = $merchant AND day >= $since ORDER BY day

A parameter without a default must be given. Values may come as text, as addresses carry them: each is cast to
the parameter's type.

What SQL cannot tell, such as a difference between two moments, a Python function may answer under a name
(`python_query`), with the same comments and the same casts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlglot import tokenize
from sqlglot.errors import SqlglotError
from sqlglot.tokens import Token, TokenType  # type: ignore[attr-defined]

from headrace.contracts.schema import Schema
from headrace.contracts.types import sql_type
from headrace.errors import BadRequest, DeclarationError

_PARAMETER = re.compile(
    r"""--\s*\$(?P<name>[A-Za-z_]\w*)\s+(?P<type>[^=:]+?)
        (?:\s*=\s*(?P<default>'(?:[^']|'')*'|[^\s:]+))?\s*(?::\s*(?P<help>.*))?""",
    re.VERBOSE,
)

_CLOCKS = frozenset(
    (
        "now", "current_date", "current_time", "current_timestamp", "localtime", "localtimestamp", "today",
        "get_current_time", "get_current_timestamp", "transaction_timestamp", "random", "uuid",
        "gen_random_uuid",
    )
)  # fmt: skip


PythonAnswer = Callable[[Any, Mapping[str, Any]], Any]
"""Takes the run and a value by parameter; returns a pyarrow.Table, or a list of dicts."""


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """One parameter of a named query.

    Attributes:
        name: as it stands behind the `$`.
        type: its SQL type.
        is_required: it has no default.
        default: the value where none is given; None is NULL.
        help: what it means.
    """

    name: str
    type: str
    is_required: bool
    default: str | None = None
    help: str = ""


@dataclass(frozen=True, slots=True)
class NamedQuery:
    """A declared query.

    Attributes:
        name: what it is asked for by.
        sql: the text as it was written.
        text: the same with every parameter cast to its type; of a Python query, one row of its parameters.
        parameters: what may be given.
        help: what it answers, from its first comments.
        path: its file, or None.
        is_timeless: it asks for no clock, so that its answer is the same at the same version.
        answer: the Python function that answers it; None: DuckDB does.
        columns: what a Python function answers with; None: what the SELECT does.
    """

    name: str
    sql: str
    text: str
    parameters: tuple[QueryParameter, ...]
    help: str = ""
    path: Path | None = None
    is_timeless: bool = True
    answer: PythonAnswer | None = None
    columns: Schema | None = None

    def values(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return a value for every parameter.

        Raises:
            BadRequest: one is missing, or unknown.
        """
        known = {one.name: one for one in self.parameters}
        unknown = [name for name in given if name not in known]
        if unknown:
            close = get_close_matches(unknown[0], list(known), n=1)
            raise BadRequest(
                f"the query {self.name!r} has no parameter {unknown[0]!r}"[:300],
                expected=f"of: {', '.join(known)}" if known else "none",
                hint=f"did you mean {close[0]!r}?" if close else None,
            )
        missing = [name for name, one in known.items() if one.is_required and given.get(name) is None]
        if missing:
            one = known[missing[0]]
            raise BadRequest(
                f"the query {self.name!r} wants ${one.name}",
                expected=f"{one.type}{': ' + one.help if one.help else ''}",
            )
        return {name: given.get(name, one.default) for name, one in known.items()}

    def unasked(self) -> dict[str, Any]:
        """Return the defaults, and NULL where there is none: what its columns are found out with."""
        return {one.name: one.default for one in self.parameters}


def named_query(name: str, sql: str, path: Path | None = None) -> NamedQuery:
    """Read a query with the comments that say what it wants.

    Raises:
        DeclarationError: a parameter is used and not described, or described wrongly, or there is no SELECT.
    """
    where = str(path) if path else f"query {name!r}"
    if not isinstance(sql, str) or not sql.strip().strip(";"):
        raise DeclarationError("the query has no SQL", where=where, expected="a SELECT")
    described, words = _head(sql, where)
    tokens = _tokens(sql, where)
    text, used = _cast(sql, tokens, described, where)
    unused = [known for known in described if known not in used]
    if unused:
        raise DeclarationError(f"the parameter ${unused[0]} is described, but not used", where=where)
    is_timeless = not any(token.text.lower() in _CLOCKS for token in tokens)
    return NamedQuery(name, sql, text, tuple(described.values()), " ".join(words), path, is_timeless)


def python_query(name: str, answer: PythonAnswer, columns: Schema, wants: str) -> NamedQuery:
    """Declare a query that a Python function answers; `wants` are the comments that say what it wants.

    Raises:
        DeclarationError: the function cannot be called, or a parameter is described wrongly.
    """
    where = f"query {name!r}"
    if not callable(answer):
        raise DeclarationError(
            "the answer cannot be called", where=where, expected="a function of run and values"
        )
    described, words = _head(wants, where)
    cast = [f"CAST(${one.name} AS {one.type}) AS {one.name}" for one in described.values()]
    text = f"SELECT {', '.join(cast) or '1 AS one'}"
    return NamedQuery(name, wants.strip(), text, tuple(described.values()), " ".join(words), answer=answer,
                      columns=columns)  # fmt: skip


def _head(sql: str, where: str) -> tuple[dict[str, QueryParameter], list[str]]:
    """Return the described parameters and the words of the comments before the SQL."""
    described: dict[str, QueryParameter] = {}
    words: list[str] = []
    for line in _comments(sql):
        if not line.removeprefix("--").lstrip().startswith("$"):
            words.append(line.removeprefix("--").strip())
            continue
        found = _PARAMETER.fullmatch(line)
        if found is None:
            raise DeclarationError(
                f"the comment {line!r} describes no parameter", where=where,
                expected="-- $name TYPE = default: what it means",
            )  # fmt: skip
        one = _described(found, where)
        if one.name in described:
            raise DeclarationError(f"${one.name} is described twice", where=where)
        described[one.name] = one
    return described, words


def _comments(sql: str) -> Iterator[str]:
    for raw in sql.splitlines():
        line = raw.strip()
        if line.startswith("--"):
            yield line
        elif line:
            return


def _described(found: re.Match[str], where: str) -> QueryParameter:
    try:
        kind = sql_type(found["type"]).sql
    except (DeclarationError, ValueError) as error:
        raise DeclarationError(
            f"{found['type']!r} is no type", where=f"{where}, ${found['name']}", expected="as in TEXT or DATE"
        ) from error
    default = found["default"]
    if default is not None and default.startswith("'"):
        default = default[1:-1].replace("''", "'")
    elif default is not None and default.upper() == "NULL":
        return QueryParameter(found["name"], kind, False, None, found["help"] or "")
    return QueryParameter(found["name"], kind, default is None, default, found["help"] or "")


def _tokens(sql: str, where: str) -> list[Token]:
    try:
        return tokenize(sql, read="duckdb")
    except SqlglotError as error:
        raise DeclarationError(f"the SQL cannot be read: {error}", where=where) from error


def _cast(
    sql: str, tokens: Sequence[Token], described: Mapping[str, QueryParameter], where: str
) -> tuple[str, set[str]]:
    """Return the text with every `$name` cast to its type, and the names."""
    parts: list[str] = []
    used: set[str] = set()
    end = 0
    for mark, name in pairwise(tokens):
        if mark.token_type is not TokenType.PARAMETER or mark.text != "$" or name.start != mark.end + 1:
            continue
        if name.text not in described:
            raise DeclarationError(
                f"${name.text} is not described", where=f"{where}, line {name.line}",
                hint=f"add a comment before the SQL: -- ${name.text} TEXT: what it means",
            )  # fmt: skip
        used.add(name.text)
        parts += [sql[end : mark.start], f"CAST(${name.text} AS {described[name.text].type})"]
        end = name.end + 1
    return "".join([*parts, sql[end:]]).strip().rstrip(";").rstrip(), used
