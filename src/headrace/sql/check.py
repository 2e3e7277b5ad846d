"""What is checked before planning: known relations, nothing from outside, and DuckDB's own binder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from headrace.contracts.schema import Schema
from headrace.sql.clock import CLOCK_CALLS, allowed_places
from headrace.sql.duck import Duck, quote
from headrace.sql.errors import Known, Text, raise_from_duckdb
from headrace.sql.functions import CLOCK_WORDS, unstable_functions
from headrace.sql.tree import NOWHERE, Tree, is_query, members, walk
from headrace.sql.windows import WindowCallText, is_window

TABLE_FUNCTIONS = frozenset(
    {
        "unnest",
        "range",
        "generate_series",
        "json_each",
        "json_tree",
        "repeat",
        "repeat_row",
        "tumble",
        "hop",
        "cumulate",
        "session",
    }
)
"""Table functions that read nothing but their arguments."""


def check_relations(text: Text, tree: Tree, catalog: Mapping[str, Schema]) -> tuple[str, ...]:
    """Return the lower-case names of all relations that a query reads.

    Raises:
        SqlError: one of them is not in the catalog; the error suggests the nearest name.
    """
    found: dict[str, None] = {}
    for name, place in relations_in(tree, frozenset()):
        if name.lower() not in catalog:
            close = get_close_matches(name.lower(), list(catalog), n=1, cutoff=0.6)
            known = ", ".join(sorted(catalog)[:20])
            raise text.at(
                place,
                f"there is no stream, table or view named {name!r}",
                expected=f"one of: {known}" if known else "a declared stream, table or view (there is none)",
                hint=f"did you mean {close[0]!r}?" if close else None,
            )
        found[name.lower()] = None
    return tuple(found)


def relations_in(tree: Tree, shadowed: frozenset[str]) -> Iterator[tuple[str, Tree]]:
    """Yield the name and place of every relation that is read and is not a common table expression."""
    if is_query(tree):
        if tree["type"] == "RECURSIVE_CTE_NODE":
            shadowed = shadowed | {str(tree["cte_name"]).lower()}
        for entry in (tree.get("cte_map") or {}).get("map") or []:
            yield from relations_in(entry["value"]["query_node"], shadowed)
            shadowed = shadowed | {str(entry["key"]).lower()}
        tree = {key: value for key, value in tree.items() if key != "cte_map"}
    if tree.get("type") == "BASE_TABLE":
        name = str(tree["table_name"])
        is_plain = str(tree["schema_name"]).lower() in ("", "main") and not tree["catalog_name"]
        if not is_plain or name.lower() not in shadowed:
            yield (name if is_plain else ".".join(tree["qualified_name"]["path"])), tree
    if is_window(tree):
        given = [item for item in tree["function"]["arguments"] if item.get("name") in ("", None, "stream")]
        if given and given[0]["expression"].get("class") == "COLUMN_REF":
            name = str(given[0]["expression"]["column_names"][-1])
            if name.lower() not in shadowed:
                yield name, given[0]["expression"]
        return
    for member in members(tree):
        yield from relations_in(member, shadowed)


def refuse_outside(text: Text, tree: Tree, catalog: Mapping[str, Schema]) -> None:
    """Refuse what reads files, settings, samples or the past.

    Raises:
        UnsupportedSql: naming the function, line and column.
    """
    for part in walk(tree):
        kind = part.get("type")
        if part.get("sample"):
            raise text.unsupported(
                _placed(part, tree), "a sample differs from run to run", "a WHERE that chooses rows"
            )
        if kind == "TABLE_FUNCTION":
            name = str(part["function"]["function_name"]).lower()
            if name not in TABLE_FUNCTIONS:
                hint = "read files with `headrace replay` into a stream"
                raise text.unsupported(part, f"{name}() reads what is outside the streams and tables", hint)
        if kind == "BASE_TABLE" and part.get("at_clause"):
            raise text.unsupported(part, "AT (…) reads the past; it stands in queries, not in views")
        if kind in ("SHOW_REF", "DELIM_GET", "BOUND_TABLE_REF"):
            raise text.unsupported(
                _placed(part, tree), "DESCRIBE and SUMMARIZE are for queries, not for views"
            )
        if part.get("class") == "PARAMETER":
            raise text.unsupported(part, "a view has no parameters", "write the value, or keep it in a table")
        if kind == "JOIN" and part.get("ref_type") == "POSITIONAL":
            raise text.unsupported(
                part, "POSITIONAL JOIN depends on an order that rows do not have", "a JOIN on a key"
            )
    _refuse_open_order(text, tree)
    _refuse_unstable(text, tree, catalog)


def _refuse_unstable(text: Text, tree: Tree, catalog: Mapping[str, Schema]) -> None:
    """Refuse functions by name; what hides from this is found again in DuckDB's bound plan."""
    columns = {column.name.lower() for schema in catalog.values() for column in schema}
    columns |= {str(part.get("alias") or "").lower() for part in walk(tree)}
    allowed = allowed_places(tree)
    for part in walk(tree):
        if id(part) in allowed:
            continue
        if part.get("class") == "FUNCTION" and not part.get("is_operator"):
            name = str(part["function_name"])
        elif part.get("class") == "COLUMN_REF" and len(part["column_names"]) == 1:
            name = str(part["column_names"][0])
            if name.lower() not in CLOCK_WORDS or name.lower() in columns:
                continue
        else:
            continue
        is_age_now = name.lower() == "age" and len(part.get("arguments", ())) == 1
        if name.lower() in unstable_functions() or is_age_now:
            raise _unstable(text, part, name)


def _placed(part: Tree, tree: Tree) -> Tree:
    """Return the part, or the first place inside it where it has none of its own."""
    for inner in walk(part):
        if isinstance(inner.get("query_location"), int) and inner["query_location"] < NOWHERE:
            return inner
    return tree


_REFUSED: dict[str, tuple[int | None, str, str]] = {
    "reservoir_quantile": (
        None,
        "reservoir_quantile() samples its input",
        "quantile_cont(x, fraction)",
    ),
    "bitstring_agg": (
        1,
        "bitstring_agg() of one argument takes its bounds from statistics of the rows, which differ",
        "bitstring_agg(x, min, max)",
    ),
    "variant_group_object": (
        None,
        "variant_group_object() answers a VARIANT, which rows here cannot hold",
        "json_group_object(key, value)",
    ),
}
"""Aggregates that no view may have: with how many arguments (None: with any), why, and what to use."""

_OPEN_ORDER = ("first", "last", "any_value", "arbitrary")


def _refuse_open_order(text: Text, tree: Tree) -> None:
    for part in walk(tree):
        if part.get("class") != "FUNCTION" or part.get("is_operator"):
            continue
        name = str(part["function_name"]).lower()
        if name in _OPEN_ORDER and not part["order_bys"]["orders"]:
            better = "arg_max(x, time)" if name == "last" else "arg_min(x, time)"
            raise text.unsupported(
                part,
                f"{name}() without ORDER BY may answer any row's value",
                f"{better}, or {name}(x ORDER BY time)",
            )
        for refused, (count, reason, hint) in _REFUSED.items():
            if name == refused and (count is None or count == len(part["arguments"])):
                raise text.unsupported(part, reason, hint)


def known_names(tree: Tree, schemas: Sequence[Schema], windows: Sequence[WindowCallText]) -> Known:
    """Return the names that a query could mean, for suggestions."""
    columns = ["window_start", "window_end"] if windows else []
    columns += [column.name for schema in schemas for column in schema]
    tables: list[str] = [call.relation for call in windows]
    for part in walk(tree):
        if part.get("alias"):
            (columns if "class" in part else tables).append(str(part["alias"]))
        if part.get("type") == "BASE_TABLE":
            tables.append(str(part["table_name"]))
    return Known(tuple(columns), tuple(name.lower() for name in tables))


def bind_in_duckdb(duck: Duck, text: Text, windows: Sequence[WindowCallText], known: Known) -> None:
    """Let DuckDB bind the view as it was written, so that its complaints point into the user's text.

    Calls of TUMBLE, HOP, CUMULATE and SESSION are replaced by stand-ins of the same length.

    Args:
        duck: the scratch database, which knows the relations.
        text: the view's SQL.
        windows: the calls in it.
        known: names for suggestions.

    Raises:
        SqlError: DuckDB's complaint.
        UnsupportedSql: a function whose answer depends on more than its arguments.
    """
    padded = _with_stand_ins(duck, text, windows)
    if padded is None:
        return
    answer = duck.bound_plan(padded)
    if answer.get("error"):
        if answer.get("error_type") in (
            "binder",
            "catalog",
            "parser",
            "conversion",
            "invalid input",
            "out of range",
        ):
            raise_from_duckdb(text, answer, known)
        return
    for part in walk(answer):
        path = (part.get("qname") or {}).get("path") if isinstance(part.get("qname"), dict) else None
        if path and str(path[-1]).lower() in unstable_functions() - CLOCK_CALLS:
            raise _unstable(text, part, str(path[-1]))


def _unstable(text: Text, part: Tree, name: str) -> Exception:
    hint = "an event-time column: only the data may decide what a view holds"
    called = name.lower() if name.lower() in CLOCK_WORDS else f"{name.lower()}()"
    if name.lower() in CLOCK_CALLS:
        problem = f"{called} stands where rows could not leave by themselves as time passes"
        return text.unsupported(
            part, problem, "t > now() - INTERVAL 5 MINUTE, ANDed in WHERE, HAVING or QUALIFY"
        )
    if name.lower() in ("getvariable", "current_setting", "current_schema", "current_database"):
        hint = "the value itself, or a table that holds it"
    if name.lower() in ("random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "setseed"):
        hint = "hash(key): it spreads rows just as well and always the same way"
    return text.unsupported(part, f"{called} does not depend on its arguments alone", hint)


def _with_stand_ins(duck: Duck, text: Text, windows: Sequence[WindowCallText]) -> str | None:
    """Return the text with window calls replaced, same length; None where one leaves no room."""
    raw = text.sql.encode()
    for number, call in enumerate(windows):
        stand_in = f"__w{number}"
        duck.declare(stand_in, call.output)
        start, length = call.place["query_location"], call.place["query_location_length"]
        room = _call_length(raw[start : start + length])
        alias = "" if call.place.get("alias") else f" AS {quote(call.relation)}"
        new = (stand_in + alias).encode()
        if room is None or room < len(new):
            return None
        raw = raw[:start] + new.ljust(room) + raw[start + room :]
    return raw.decode()


def _call_length(raw: bytes) -> int | None:
    """Return the length of a call `name(…)` at the start of a text, None where its end is not found."""
    token = re.compile(rb"""'(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/|[()]""", re.DOTALL)
    depth = 0
    for found in token.finditer(raw):
        depth += {b"(": 1, b")": -1}.get(found[0], 0)
        if depth == 0 and found[0] == b")":
            return found.end()
    return None
