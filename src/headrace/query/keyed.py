"""Which rows of a relation a statement can see at all: those in which columns equal values that it names.

`WHERE merchant_id = $merchant` lets nobody see another merchant's rows, so they need not be read. What is
found here only ever leaves rows out that the statement's own conditions leave out again; DuckDB still asks
all of them. It is looked for where it is sure: a comparison of a column with a constant or a parameter

- among the ANDed conditions of a WHERE: whatever the joins below it, rows that differ (or are not there, and
  NULL stands for them) pass no such condition;
- among those of an ON, for the side that an inner or left join does not keep.

A WHERE that the given parameters alone make false lets nobody see anything of its FROM, however deep it
stands there (`given.py`).

Where a join picks one row by order or place (ASOF, POSITIONAL), a row left out could bring another one in, so
those are not looked through; neither are samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.contracts.schema import Schema
from headrace.query.given import TEXTS, Told, Values, is_true, is_unicode, told

_INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "INTEGER": 32, "BIGINT": 64}
_DESCENDED = frozenset({"INNER", "LEFT", "RIGHT", "OUTER", "FULL"})

Rows = Mapping[str, Sequence[Any]]
"""Per column the values of which it must have one; a row that has another in any column is not seen."""


@dataclass(frozen=True, slots=True)
class Equal:
    """A column that must equal something.

    Attributes:
        column: lower case.
        constant: a text or an integer, or None.
        parameter: name or number of the parameter, where it is no constant.
        cast: the type to which the parameter is cast, or None.
    """

    column: str
    constant: str | int | None = None
    parameter: str | None = None
    cast: str | None = None

    def value(self, params: Mapping[str, Any]) -> str | int | None:
        """Return what the column must equal; None: nobody can tell here."""
        found = self.constant if self.parameter is None else params.get(self.parameter)
        if isinstance(found, bool) or (isinstance(found, str) and not is_unicode(found)):
            return None
        if self.cast in TEXTS:
            return found if isinstance(found, str) else None
        if self.cast in _INTEGERS and isinstance(found, str):
            return int(found) if found.isascii() and found.isdigit() else None
        if self.cast is not None and self.cast not in _INTEGERS:
            return None
        return found if isinstance(found, str | int) else None


Restricted = tuple[Equal, ...]
"""What must hold of a row that is seen in one place of a statement."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a relation stands in a statement.

    Attributes:
        equals: what must hold of a row that is seen there.
        conditions: those under which anything is seen there.
    """

    equals: Restricted = ()
    conditions: tuple[Told, ...] = ()

    def is_seen(self, values: Values) -> bool:
        """Whether anything can be seen there, given the values of parameters."""
        return all(is_true(one, values) for one in self.conditions)


def restricted_tables(node: dict[str, Any]) -> dict[int, Restricted]:
    """Return, by the identity of the tables in the FROM of one SELECT of DuckDB's parse tree, what of them
    can be seen.
    """
    leaves: dict[str, dict[str, Any] | None] = {}
    conditions: list[tuple[dict[str, Any], frozenset[str] | None]] = []
    _leaves(node.get("from_table") or {}, leaves, conditions)
    conditions += [(one, None) for one in _conjuncts(node.get("where_clause"))]
    aliases = {str(item.get("alias", "")).lower() for item in node.get("select_list", ())}
    alone = next(iter(leaves)) if len(leaves) == 1 else None
    found: dict[int, list[Equal]] = {}
    for condition, within in conditions:
        for path, equal in _equalities(condition):
            name = path[0] if len(path) == 2 else alone
            table = None if name is None or (len(path) == 1 and equal.column in aliases) else leaves.get(name)
            if table is not None and (within is None or name in within):
                found.setdefault(id(table), []).append(equal)
    return {at: tuple(equals) for at, equals in found.items()}


def conditions_over(node: dict[str, Any]) -> Iterator[tuple[int, Told]]:
    """Yield, by the identity of every table in the FROM of one SELECT, however deep, the conditions of its
    WHERE of which parameters may tell that they are not true.
    """
    conditions = [found for one in _conjuncts(node.get("where_clause")) if (found := told(one)) is not None]
    waiting: list[Any] = [node.get("from_table")] if conditions else []
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("type") == "BASE_TABLE":
                yield from ((id(part), one) for one in conditions)
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)


def _leaves(
    part: dict[str, Any], leaves: dict[str, dict[str, Any] | None],
    conditions: list[tuple[dict[str, Any], frozenset[str] | None]],
) -> list[str]:  # fmt: skip
    """Collect what a FROM reads by the name under which its columns are known, None where that is no plain
    table, and the conditions of joins with the names that they restrict; return the names.
    """
    if _is_plain_join(part):
        left = _leaves(part["left"], leaves, conditions)
        right = _leaves(part["right"], leaves, conditions)
        kind = part.get("join_type", "INNER")
        lost = frozenset({"INNER": [*left, *right], "LEFT": right, "RIGHT": left}.get(kind, []))
        conditions += [(one, lost) for one in _conjuncts(part.get("condition"))]
        return [*left, *right]
    path = (part.get("qualified_name") or {}).get("path") or [part.get("table_name", "")]
    name = str(part.get("alias") or path[-1]).lower()
    is_plain = (
        part.get("type") == "BASE_TABLE" and not part.get("sample") and not part.get("column_name_alias")
    )
    leaves[name] = part if is_plain and name not in leaves else None
    return [name]


def _is_plain_join(part: dict[str, Any]) -> bool:
    """Whether a join puts together what its condition says and nothing else."""
    picks = [key for key, value in part.items() if key.startswith("nearest") and value]
    return (
        part.get("type") == "JOIN"
        and part.get("ref_type") in ("REGULAR", "CROSS")
        and part.get("join_type", "INNER") in _DESCENDED
        and set(picks) <= {"nearest_count", "nearest_order_type"}
    )


def _conjuncts(part: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    if part and part.get("type") == "CONJUNCTION_AND":
        for child in part.get("children", ()):
            yield from _conjuncts(child)
    elif part:
        yield part


def _equalities(part: dict[str, Any]) -> Iterator[tuple[list[str], Equal]]:
    """Yield the path of a column, in lower case, and what it equals."""
    if part.get("type") != "COMPARE_EQUAL":
        return
    for one, other in ((part["left"], part["right"]), (part["right"], part["left"])):
        if one.get("class") == "COLUMN_REF" and len(one.get("column_names", ())) in (1, 2):
            path = [str(step).lower() for step in one["column_names"]]
            equal = _equal(path[-1], other)
            if equal is not None:
                yield path, equal


def _equal(column: str, part: dict[str, Any]) -> Equal | None:
    cast = None
    if part.get("type") == "OPERATOR_CAST" and not part.get("try_cast"):
        kind = (part.get("type_expr") or {}).get("type_name")
        part, cast = part["child"], str(kind).upper()
        if part.get("class") != "PARAMETER":
            return None
    if part.get("class") == "PARAMETER":
        return Equal(column, parameter=str(part["identifier"]), cast=cast)
    literal = part.get("literal") or {} if part.get("class") == "CONSTANT" else {}
    if literal.get("kind") == "STRING":
        return Equal(column, constant=str(literal["text"]))
    if literal.get("kind") == "INTEGER":
        return Equal(column, constant=int(literal["text"]))
    return None


def seen_rows(places: Sequence[Place], schema: Schema, params: Mapping[str, Any]) -> Rows:
    """Return what of a relation a statement can see, given what it can see in each of its places."""
    by_place = [_values(place.equals, schema, params) for place in places if place.is_seen(params)]
    if not by_place:
        return {}
    shared = [column for column in by_place[0] if all(column in place for place in by_place)]
    return {column: [place[column] for place in by_place] for column in shared}


def _values(place: Restricted, schema: Schema, params: Mapping[str, Any]) -> dict[str, Any]:
    columns = {column.name.lower(): column for column in schema}
    found: dict[str, Any] = {}
    for equal in place:
        column, value = columns.get(equal.column), equal.value(params)
        if column is not None and _fits(value, column.sql_type):
            found.setdefault(column.name, value)
    return found


def _fits(value: object, sql_type: str) -> bool:
    """Whether DuckDB compares a column of that type with the value as they are, without a cast of either."""
    if isinstance(value, str):
        return sql_type == "VARCHAR"
    bits = _INTEGERS.get(sql_type)
    return isinstance(value, int) and bits is not None and -(2 ** (bits - 1)) <= value < 2 ** (bits - 1)
