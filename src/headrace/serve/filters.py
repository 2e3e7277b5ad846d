"""From `?category=tea&amount__gte=10&order=-amount,name&limit=20` to SQL with parameters.

A parameter is a column, or a column, two underscores and one of the operators below. Values are text and
are cast to the column's type. A column whose name is also a word of this grammar is written with its
operator, `limit__eq`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from headrace.contracts.schema import Column, Schema
from headrace.errors import BadRequest, UnknownName
from headrace.query.reader import quoted

OPERATORS = {
    "eq": "{column} = {value}",
    "ne": "{column} <> {value}",
    "gt": "{column} > {value}",
    "gte": "{column} >= {value}",
    "lt": "{column} < {value}",
    "lte": "{column} <= {value}",
    "in": "{column} IN ({values})",
    "like": "CAST({column} AS VARCHAR) LIKE ?",
    "ilike": "CAST({column} AS VARCHAR) ILIKE ?",
    "null": "({column} IS NULL) = CAST(? AS BOOLEAN)",
}
WORDS = frozenset(
    {
        "order",
        "as_of",
        "limit",
        "cursor",
        "after",
        "after_s",
        "columns",
        "format",
        "every_ms",
        "since",
        "wait_s",
        "token",
    }
)
LIMIT_DEFAULT = 1_000
VALUES_MAX = 1_000
FILTERS_MAX = 50


@dataclass(slots=True)
class Listed:
    """What a listing asks for.

    Attributes:
        sql: one SELECT, without LIMIT.
        count_sql: how many rows it has; None where that is all rows of the view.
        params: the values of both.
        limit: rows of a page.
        cursor: where to go on, or None.
    """

    sql: str
    count_sql: str | None = None
    params: list[str] = field(default_factory=list)
    limit: int = LIMIT_DEFAULT
    cursor: str | None = None


def listed(
    view: str,
    schema: Schema,
    query: Iterable[tuple[str, str]],
    own_order: str | None,
    limit_max: int,
    is_small: bool = True,
) -> Listed:
    """Read the parameters of a listing.

    Args:
        view: the view's name.
        schema: its columns.
        query: the parameters of the address, in order.
        own_order: the ORDER BY list of the view's own SQL, used where none is asked for.
        limit_max: most rows of a page.
        is_small: sort it also where no order is asked for.

    Raises:
        UnknownName: a column that does not exist.
        BadRequest: an operator or number that does not fit.
    """
    result = Listed("")
    conditions: list[str] = []
    order, columns = None, None
    for name, value in query:
        if name == "order":
            order = value
        elif name == "columns":
            columns = [_column(schema, part).name for part in value.split(",")]
        elif name == "limit":
            result.limit = _limit(value, limit_max)
        elif name == "cursor":
            result.cursor = value
        elif name not in WORDS:
            conditions.append(_condition(schema, name, value, result.params))
    if len(conditions) > FILTERS_MAX:
        raise BadRequest("too many filters", expected=f"at most {FILTERS_MAX}")
    shown = ", ".join(quoted(name) for name in columns) if columns else "*"
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    wanted = order_by(schema, order, own_order, is_small)
    result.sql = f"SELECT {shown} FROM {quoted(view)}{where}{' ORDER BY ' if wanted else ''}{wanted}"
    result.count_sql = f"SELECT count(*) AS n FROM {quoted(view)}{where}" if where else None
    return result


def order_by(schema: Schema, order: str | None, own_order: str | None = None, is_small: bool = True) -> str:
    """Return a total order: what is asked for or the view's own, then every column, ascending, NULLs last.

    Where nothing is asked for, a large view is not sorted: the answer is empty, and its rows come as they
    are kept.
    """
    asked: list[str] = []
    for part in (order or "").split(","):
        name = part.strip()
        if name:
            column = _column(schema, name.removeprefix("-"))
            asked.append(f"{quoted(column.name)} {'DESC' if name.startswith('-') else 'ASC'} NULLS LAST")
    if not asked and own_order:
        asked = [own_order]
    if not asked and not is_small:
        return ""
    return ", ".join([*asked, *(f"{quoted(name)} ASC NULLS LAST" for name in schema.names)])


def _limit(value: str, limit_max: int) -> int:
    if value.isdigit() and len(value) < 12 and 1 <= int(value) <= limit_max:
        return int(value)
    raise BadRequest(f"limit={value!r} does not fit"[:100], expected=f"a number from 1 to {limit_max:,}")


def _column(schema: Schema, name: str) -> Column:
    if name.strip() in schema:
        return schema[name.strip()]
    raise UnknownName.of("column", name.strip(), schema.names)


def _condition(schema: Schema, name: str, value: str, params: list[str]) -> str:
    column, operator = _split(schema, name)
    if operator not in OPERATORS:
        raise BadRequest(
            f"there is no operator {operator!r}", where=name, expected=f"one of: {', '.join(OPERATORS)}"
        )
    values: Sequence[str] = value.split(",") if operator == "in" else [value]
    if len(values) > VALUES_MAX:
        raise BadRequest("too many values", where=name, expected=f"at most {VALUES_MAX:,}")
    params.extend(values)
    cast = f"CAST(? AS {column.sql_type})"
    listed_values = ", ".join([cast] * len(values))
    return OPERATORS[operator].format(column=quoted(column.name), value=cast, values=listed_values)


def _split(schema: Schema, name: str) -> tuple[Column, str]:
    if name in schema:
        return schema[name], "eq"
    head, separator, operator = name.rpartition("__")
    if separator and head in schema:
        return schema[head], operator.lower()
    return _column(schema, head or name), operator.lower()
