"""What ad-hoc SQL may say: one SELECT over the names it was given, and nothing that reaches outside.

The text is parsed by DuckDB itself, the parser that will run it, so no second parser can be talked into
another reading. Statements that are not SELECT, names that were not given, and functions that reach outside
are refused wherever they stand in the tree. The parser of DuckDB 2 takes exponential time and memory for some
deep nesting, so the shape of the text is bounded before it is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import duckdb
import orjson

from headrace.errors import SqlError, UnknownName
from headrace.query.given import Told
from headrace.query.keyed import Place, Restricted, conditions_over, restricted_tables

SQL_CHARS_MAX = 100_000
TOKENS_MAX = 8_000
BRACKETS_MAX = 40
"""Depth of brackets."""
WITH_DEPTH_MAX = 3
"""Depth of WITH inside WITH."""
PREFIXES_MAX = 24
"""Prefix operators (`NOT`, `-`) in a row."""

QUERY_NODES = frozenset({"SELECT_NODE", "SET_OPERATION_NODE", "RECURSIVE_CTE_NODE", "CTE_NODE"})
TABLE_FUNCTIONS = frozenset(
    {"range", "generate_series", "unnest", "repeat", "repeat_row", "json_each", "json_tree"}
)
SYSTEM_SCHEMAS = frozenset({"system", "main", "temp", "memory", "pg_catalog", "information_schema"})
REFUSED_TYPES = frozenset({"pointer", "aggregate_state"})
REFUSED_FUNCTION = re.compile(
    r"""^(?:
      read_.* | write_.* | .*_scan(?:_dumb)? | glob | sniff_.* | parquet_.* | duckdb_.* | pragma_.*
    | which_secret | query | query_table | json_execute_.* | json_serialize_.* | json_deserialize_.*
    | pg_(?!typeof|size_pretty).* | has_.*_privilege | inet_.* | txid_.* | in_search_path
    | current_(?!date$|time$|timestamp$|localtime$|localtimestamp$).* | getenv | getvariable
    | user | session_user | nextval | currval | setval | setseed | sleep_ms | get_block_size | stats
    | vector_type | create_sort_key | parse_duckdb_log_message | to_aggregate_state | finalize | combine
    | variant_bytes_to_variant | col_description | obj_description | shobj_description | format_pg_type
    | map_to_pg_oid | add_parquet_key | icu_calendar_names | test_.*types | force_checkpoint | checkpoint
    | enable_.* | disable_.*
    )$""",
    re.VERBOSE | re.IGNORECASE,
)

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>[eE]?'(?:[^']|'')*(?:'|\Z)|"(?:[^"]|"")*(?:"|\Z)|\$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z))
      | (?P<word>[^\W\d]\w*|\d[\w.]*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_PREFIXES = frozenset({"not", "-", "+", "~", "!", "@"})


@dataclass(slots=True)
class Parsed:
    """What a statement was found to read.

    Attributes:
        relations: the given names it mentions as they are now, as they were given.
        lists_tables: it is `SHOW TABLES`.
        past: the given names it mentions as they were, `AT (…)`.
        text: the statement in which those stand under names of their own; None: as it was given.
        parameters: the parameters in that text.
        places: per relation, where it stands, and what can be seen of it there.
        was_asked: it has been answered before.
        statement: the text as DuckDB has parsed it, once it was asked again.
    """

    relations: list[str] = field(default_factory=list)
    lists_tables: bool = False
    past: tuple[PastRelation, ...] = ()
    text: str | None = None
    parameters: frozenset[str] = frozenset()
    places: dict[str, list[Place]] = field(default_factory=dict)
    was_asked: bool = False
    statement: duckdb.Statement | None = None


@dataclass(frozen=True, slots=True)
class PastRelation:
    """A relation at a moment.

    Attributes:
        name: as it was given.
        unit: `VERSION` or `TIMESTAMP`.
        moment: SQL that answers the moment as text.
        parameters: that it reads.
        shown: the name under which the rewritten statement reads it.
    """

    name: str
    unit: str
    moment: str
    parameters: frozenset[str]
    shown: str


def parse(
    con: duckdb.DuckDBPyConnection, sql: str, known: Collection[str], *, of_view: bool = False
) -> Parsed:
    """Check one ad-hoc statement against the names in `known`.

    The SQL `of_view` may call every function: the planner has looked at it, and writes `range` itself.

    Raises:
        SqlError: it does not parse, is not one SELECT, or uses something that ad-hoc SQL may not.
        UnknownName: it reads a name that is not known.
    """
    check_shape(sql)
    statement = _statement(con, sql)
    source = statement["node"].get("from_table") or {}
    if source.get("show_type") == "SHOW_SPECIAL" and source.get("table_name") in (
        '"tables"',
        "__show_tables_expanded",
    ):
        return Parsed(lists_tables=True)
    names = {name.lower(): name for name in known}
    walk = _Walk(sql, names, calls_all=of_view)
    found = [names[name] for name in walk.relations(statement)]
    places = {names[name]: restricted for name, restricted in walk.places.items()}
    if not walk.moments:
        return Parsed(found, places=places)
    past = tuple(_past_relation(con, names[name], at, shown) for (name, at), shown in walk.moments.items())
    text = _text(con, {"error": False, "statements": [statement]})
    return Parsed(found, past=past, text=text, parameters=_parameters(statement), places=places)


def _past_relation(con: duckdb.DuckDBPyConnection, name: str, at: str, shown: str) -> PastRelation:
    clause = orjson.loads(at)
    tree = orjson.loads(con.execute("SELECT json_serialize_sql('SELECT 1')").fetchall()[0][0])
    tree["statements"][0]["node"]["select_list"] = [clause["expr"]]
    expression = _text(con, tree).removeprefix("SELECT ")
    moment = f"SELECT CAST(({expression}) AS VARCHAR)"
    return PastRelation(name, clause["unit"], moment, _parameters(clause), shown)


def _text(con: duckdb.DuckDBPyConnection, tree: dict[str, Any]) -> str:
    """Return the SQL of a parse tree."""
    try:
        answer = con.execute("SELECT json_deserialize_sql(?::JSON)", [orjson.dumps(tree).decode()]).fetchall()
    except duckdb.Error as error:
        raise SqlError("the statement cannot be read with AT (…) in it", hint="make it simpler") from error
    return str(answer[0][0])


def _parameters(part: Any) -> frozenset[str]:
    """Return the names, or numbers, of the parameters in a parse tree."""
    found: set[str] = set()
    waiting = [part]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            waiting.extend(part)
        elif isinstance(part, dict):
            if part.get("class") == "PARAMETER":
                found.add(str(part["identifier"]))
            waiting.extend(part.values())
    return frozenset(found)


def check_shape(sql: str) -> None:
    """Refuse texts that are too long or nested too deeply to be parsed in bounded time.

    Raises:
        SqlError: naming the bound.
    """
    if len(sql) > SQL_CHARS_MAX:
        raise SqlError(
            f"the statement has {len(sql):,} characters",
            expected=f"at most {SQL_CHARS_MAX:,}",
            hint="pass long lists as a parameter: x IN (SELECT unnest($list))",
        )
    if "\0" in sql:
        raise SqlError("the statement holds a NUL character")
    depth = withs = prefixes = tokens = 0
    opened: list[bool] = []
    for match in _TOKEN.finditer(sql):
        if match.lastgroup == "space":
            continue
        tokens += 1
        text = match.group().lower()
        prefixes = prefixes + 1 if text in _PREFIXES else 0
        if text in "([{":
            opened.append(False)
            depth = max(depth, len(opened))
        elif text in ")]}" and opened:
            withs -= opened.pop()
        elif text == "with" and opened and not opened[-1]:
            opened[-1] = True
            withs += 1
        _bound("tokens", tokens, TOKENS_MAX)
        _bound("nested brackets", depth, BRACKETS_MAX)
        _bound("nested WITH clauses", withs, WITH_DEPTH_MAX)
        _bound("prefix operators in a row", prefixes, PREFIXES_MAX)


def _bound(what: str, count: int, most: int) -> None:
    if count > most:
        raise SqlError(
            f"the statement has too many {what}",
            expected=f"at most {most:,}",
            hint="split the query, or write its parts as views",
        )


def _statement(con: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    """Return DuckDB's own parse tree of the only statement in `sql`, which is a SELECT."""
    try:
        answer = con.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql]).fetchall()
        tree = orjson.loads(answer[0][0])
    except (duckdb.Error, orjson.JSONDecodeError) as error:
        raise SqlError("the statement cannot be parsed", hint="make it shorter, or less nested") from error
    if tree.get("error"):
        raise _parse_error(con, sql, tree)
    statements: list[dict[str, Any]] = tree.get("statements", [])
    if len(statements) != 1:
        raise SqlError(
            f"{len(statements)} statements were given" if statements else "the statement is empty",
            expected="exactly one SELECT",
        )
    return statements[0]


def _parse_error(con: duckdb.DuckDBPyConnection, sql: str, tree: dict[str, Any]) -> SqlError:
    if tree.get("error_type") == "parser":
        position = str(tree.get("position", ""))
        where = locate(sql, int(position)) if position.isdigit() else None
        snippet = f"\n{underline(sql, int(position))}" if position.isdigit() else ""
        return SqlError(f"{tree.get('error_message', 'it does not parse')}{snippet}", where=where)
    kind = _kind(con, sql)
    if kind == "MULTI":
        return SqlError("PIVOT needs the values that become columns", hint="write PIVOT … ON column IN (…)")
    return SqlError(
        f"{kind} is not allowed in an ad-hoc query" if kind else str(tree.get("error_message")),
        expected="a SELECT (also WITH, VALUES, FROM, DESCRIBE, SUMMARIZE or SHOW TABLES)",
        hint="use `headrace explain` for a view's plan" if kind == "EXPLAIN" else None,
    )


def _kind(con: duckdb.DuckDBPyConnection, sql: str) -> str | None:
    try:
        kinds = [statement.type.name for statement in con.extract_statements(sql)]
    except duckdb.Error:
        return None
    return next((kind for kind in kinds if kind != "SELECT"), None)


def locate(sql: str, position: int) -> str:
    """Return `line 2, column 7` for a character position."""
    before = sql[:position]
    return f"line {before.count(chr(10)) + 1}, column {position - (before.rfind(chr(10)) + 1) + 1}"


def underline(sql: str, position: int, width: int = 1) -> str:
    """Return the line that holds a position, with a caret below it."""
    start = sql.rfind("\n", 0, position) + 1
    end = sql.find("\n", position)
    line = sql[start : len(sql) if end < 0 else end]
    left = max(0, position - start - 60)
    return f"  {line[left : left + 120]}\n  {' ' * (position - start - left)}{'^' * max(1, width)}"


class _Walk:
    """Visits a parse tree, knowing which WITH names are in scope, and collects the relations it reads."""

    def __init__(self, sql: str, names: dict[str, str], *, calls_all: bool = False) -> None:
        self._sql = sql
        self._names = names
        self._calls_all = calls_all
        self._found: dict[str, None] = {}
        self.moments: dict[tuple[str, str], str] = {}
        self.places: dict[str, list[Place]] = {}
        self._restricted: dict[int, Restricted] = {}
        self._conditions: dict[int, tuple[Told, ...]] = {}
        self._waiting: list[tuple[Any, frozenset[str]]] = []

    def relations(self, statement: dict[str, Any]) -> list[str]:
        """Return the lower-case names of the given relations that the statement reads."""
        self._waiting.append((statement, frozenset()))
        while self._waiting:
            part, scope = self._waiting.pop()
            if isinstance(part, list):
                self._waiting.extend((child, scope) for child in part)
            elif isinstance(part, dict):
                self._visit(part, self._with_names(part, scope))
        return list(self._found)

    def _with_names(self, part: dict[str, Any], scope: frozenset[str]) -> frozenset[str]:
        """Queue the WITH queries of a node, each with the names before it; return the scope of the body."""
        for entry in (part.get("cte_map") or {}).get("map", ()):
            name, value = str(entry["key"]).lower(), entry["value"]
            self._waiting.append((value, scope | {name} if _is_recursive(value) else scope))
            scope = scope | {name}
        return scope

    def _visit(self, part: dict[str, Any], scope: frozenset[str]) -> None:
        kind, group = str(part.get("type", "")), part.get("class")
        if "info_type" in part or (kind.endswith("_NODE") and kind not in QUERY_NODES):
            raise self._refused("a statement that writes", part)
        if kind == "SELECT_NODE":
            self._restricted |= restricted_tables(part)
            for at, condition in conditions_over(part):
                self._conditions[at] = (*self._conditions.get(at, ()), condition)
        if kind == "BASE_TABLE":
            self._table(part, scope)
        elif kind == "SHOW_REF":
            self._show(part, scope)
        elif kind == "TABLE_FUNCTION":
            self._table_function(part)
        elif group in ("FUNCTION", "WINDOW"):
            self._function(part)
        elif group == "TYPE" and _path(part)[-1:] and _path(part)[-1].lower() in REFUSED_TYPES:
            raise self._refused(f"the type {_path(part)[-1]}", part)
        if kind == "TABLE_FUNCTION":
            part = part["function"]
        skipped = ("cte_map", "literal")
        self._waiting.extend((child, scope) for key, child in part.items() if key not in skipped)

    def _table(self, part: dict[str, Any], scope: frozenset[str]) -> None:
        path = _path(part)
        name = ".".join(path)
        lowered = name.lower()
        if len(path) == 1 and lowered in scope:
            return
        if len(path) != 1 or lowered not in self._names:
            raise self._unknown(name)
        if part.get("at_clause"):
            self._past_table(part, name)
        else:
            self._found[lowered] = None
            place = Place(self._restricted.get(id(part), ()), self._conditions.get(id(part), ()))
            self.places.setdefault(lowered, []).append(place)

    def _past_table(self, part: dict[str, Any], name: str) -> None:
        """Let the statement read a relation at a moment under a name of its own."""
        clause = part["at_clause"]
        self._waiting.append((clause["expr"], frozenset()))
        place = {"query_location", "query_location_length"}
        at = orjson.dumps(_without(clause, place), option=orjson.OPT_SORT_KEYS).decode()
        shown = self.moments.setdefault((name.lower(), at), f"__at_{len(self.moments) + 1}")
        part["alias"] = part.get("alias") or name
        part["at_clause"] = None
        part["table_name"] = shown
        part["qualified_name"] = {"path": [shown]}

    def _show(self, part: dict[str, Any], scope: frozenset[str]) -> None:
        if part.get("query") is not None:
            return
        name = str(part.get("table_name", ""))
        if part.get("show_type") != "SHOW" or name.lower() not in self._names or name.lower() in scope:
            raise self._unknown(name.strip('"'))
        self._found[name.lower()] = None
        self.places.setdefault(name.lower(), []).append(Place())

    def _table_function(self, part: dict[str, Any]) -> None:
        if self._calls_all:
            return
        path = _path(part["function"])
        if len(path) != 1 or path[0].lower() not in TABLE_FUNCTIONS:
            raise self._refused(f"the table function {'.'.join(path)}", part)

    def _function(self, part: dict[str, Any]) -> None:
        if self._calls_all:
            return
        path = _path(part)
        name = path[-1] if path else ""
        if name.lower() in ("range", "generate_series"):
            raise self._refused(f"{name} as a value", part, hint=f"write FROM {name}(…)")
        if name.lower() in ("format", "printf") and not _is_plain_format(part):
            raise self._refused(f"{name} with a computed or wide format", part)
        if any(step.lower() in SYSTEM_SCHEMAS for step in path[:-1]) or REFUSED_FUNCTION.match(name):
            raise self._refused(f"the function {'.'.join(path)}", part)

    def _unknown(self, name: str) -> UnknownName:
        return UnknownName.of("stream, table or view", name, self._names.values())

    def _refused(self, what: str, part: dict[str, Any], hint: str | None = None) -> SqlError:
        position = part.get("query_location", -1)
        known = isinstance(position, int) and 0 <= position < len(self._sql)
        snippet = f"\n{underline(self._sql, position)}" if known else ""
        return SqlError(
            f"{what} is not allowed in an ad-hoc query{snippet}",
            where=locate(self._sql, position) if known else None,
            expected="a SELECT over the streams, tables and views of the app",
            hint=hint,
        )


def _without(part: Any, keys: Collection[str]) -> Any:
    """Return a parse tree without what says only where in the text it stood."""
    if isinstance(part, list):
        return [_without(item, keys) for item in part]
    if isinstance(part, dict):
        return {key: _without(item, keys) for key, item in part.items() if key not in keys}
    return part


def _path(part: dict[str, Any]) -> list[str]:
    return [str(step) for step in (part.get("qualified_name") or {}).get("path", [])]


def _is_plain_format(part: dict[str, Any]) -> bool:
    """Whether the format is a constant that does not ask for a width of four digits or a computed one."""
    arguments = part.get("arguments") or [{}]
    literal = (arguments[0].get("expression") or {}).get("literal") or {}
    wide = re.search(r"\d{4}|\*|\{[^}]*\{", str(literal.get("text", "*")))
    return literal.get("kind") == "STRING" and wide is None


def _is_recursive(value: dict[str, Any]) -> bool:
    return bool((value.get("query_node") or {}).get("type") == "RECURSIVE_CTE_NODE")
