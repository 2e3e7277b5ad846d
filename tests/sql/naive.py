"""A plan run in the plainest way: each node is one DuckDB statement over its inputs, held as whole tables.

It shares no code with the planner's SQL and none with the engine, so that it can judge both.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

from headrace.contracts.schema import Schema
from headrace.sql.plan import (
    KEY_COLUMN,
    Aggregate,
    AsofJoin,
    Constant,
    Distinct,
    Filter,
    Hop,
    Join,
    MatchJoin,
    Node,
    OrderKey,
    Over,
    Project,
    Recompute,
    Recursive,
    Scan,
    Session,
    SetOp,
    TopN,
    Touched,
    UnionAll,
    Unnest,
)

Rows = list[tuple[Any, ...]]


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def connect() -> duckdb.DuckDBPyConnection:
    con = duckdb.connect(":memory:", config={"threads": "1"})
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET python_enable_replacements = false")
    return con


def create(con: duckdb.DuckDBPyConnection, name: str, schema: Schema, rows: Iterable[Sequence[Any]]) -> None:
    """Create a table of that schema with those rows; values are bound as parameters."""
    columns = ", ".join(f"{quote(c.name)} {c.sql_type}" for c in schema)
    con.execute(f"CREATE OR REPLACE TABLE {quote(name)} ({columns})")
    marks = ", ".join(f"CAST(? AS {c.sql_type})" for c in schema)
    for row in rows:
        con.execute(f"INSERT INTO {quote(name)} VALUES ({marks})", list(row))


class Naive:
    """Runs plan nodes over the tables of a DuckDB connection.

    Args:
        con: holds a table for each relation.
        checks_types: whether each node's names and types are looked at: they are the same whatever the rows.
    """

    def __init__(self, con: duckdb.DuckDBPyConnection, *, checks_types: bool = True) -> None:
        self.con = con
        self.checks_types = checks_types
        self._count = 0

    def run(self, node: Node) -> str:
        """Materialise a node; return the name of the table that holds its rows."""
        inputs = [self.run(child) for child in node.inputs]
        if isinstance(node, Recursive):
            return self._recursion(node, inputs)
        sql = _statement(node, inputs)
        if isinstance(node, Recompute | Touched):
            for alias, table in zip(node.aliases, inputs, strict=True):
                self.con.execute(f"CREATE OR REPLACE TEMP TABLE {quote(alias)} AS FROM {table}")
        if isinstance(node, Touched):
            self._number_keys(node)
        self._count += 1
        name = f"naive_{self._count}"
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")
        if self.checks_types:
            made = self.con.sql(f"FROM {name}")
            types = [str(sql_type) for sql_type in made.types]
            assert types == [c.sql_type for c in node.schema], (type(node).__name__, sql, types)
            assert [n.lower() for n in made.columns] == [n.lower() for n in node.schema.names], sql
        return name

    def _number_keys(self, node: Touched) -> None:
        """Give each part of a `Touched` the number of its key."""
        listed = [", ".join(map(quote, columns)) or "0" for columns in node.keys]
        names = ", ".join(f"k{at}" for at in range(len(node.keys[0]) or 1))
        keys = " UNION ".join(
            f"SELECT {columns} FROM {quote(alias)}"
            for columns, alias in zip(listed, node.aliases, strict=True)
        )
        self.con.execute(
            f"CREATE OR REPLACE TEMP TABLE __keys AS SELECT row_number() OVER () AS n, * "
            f"FROM ({keys}) AS _({names})"
        )
        for columns, alias in zip(node.keys, node.aliases, strict=True):
            tests = [f"p.{quote(column)} IS NOT DISTINCT FROM k{at}" for at, column in enumerate(columns)]
            self.con.execute(
                f"CREATE OR REPLACE TEMP TABLE {quote(alias)} AS SELECT __keys.n AS {KEY_COLUMN}, p.* "
                f"FROM {quote(alias)} AS p JOIN __keys ON {' AND '.join(tests) or 'true'}"
            )

    def _recursion(self, node: Recursive, inputs: list[str]) -> str:
        """Run round after round: all rows so far, and those that came last."""
        names = ", ".join(quote(column) for column in node.schema.names)
        for alias, table in zip(node.aliases, inputs[1:], strict=True):
            self.con.execute(f"CREATE OR REPLACE TEMP TABLE {alias} AS FROM {table}")
        self._count += 1
        whole, once = f"naive_{self._count}", "" if node.is_all else "DISTINCT"
        last = inputs[0]
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE {whole} AS SELECT {names} FROM {last} LIMIT 0")
        while True:
            rest = "" if node.is_all else f" EXCEPT SELECT {names} FROM {whole}"
            self.con.execute(
                f"CREATE OR REPLACE TEMP TABLE naive_new AS SELECT {once} {names} FROM {last}{rest}"
            )
            if not self.con.sql("FROM naive_new").fetchall():
                return whole
            self.con.execute(f"INSERT INTO {whole} FROM naive_new")
            self.con.execute(f"CREATE OR REPLACE TEMP TABLE {node.name} AS FROM naive_new")
            last = self.run(node.step)

    def rows(self, node: Node) -> Rows:
        """Return the rows of a node."""
        return answer(self.con, f"FROM {self.run(node)}")


def _statement(node: Node, inputs: list[str]) -> str:
    names = ", ".join(quote(name) for name in node.schema.names)
    if isinstance(node, Scan):
        pairs = zip(node.columns, node.schema.names, strict=True)
        return (
            f"SELECT {', '.join(f'{quote(c)} AS {quote(n)}' for c, n in pairs)} FROM {quote(node.relation)}"
        )
    if isinstance(node, Constant):
        types = ", ".join(f"CAST({quote(c.name)} AS {c.sql_type}) AS {quote(c.name)}" for c in node.schema)
        return f"SELECT {types} FROM ({node.sql}) AS t({names})"
    if isinstance(node, Filter):
        return f"SELECT {names} FROM {inputs[0]} WHERE {node.predicate.sql}"
    if isinstance(node, Project):
        items = [f"{e.sql} AS {quote(n)}" for e, n in zip(node.exprs, node.schema.names, strict=True)]
        return f"SELECT {', '.join(items)} FROM {inputs[0]}"
    if isinstance(node, Hop):
        return _hop(node, inputs[0])
    if isinstance(node, Session):
        return _session(node, inputs[0])
    if isinstance(node, UnionAll | SetOp | Join | MatchJoin | AsofJoin):
        return _of_several(node, inputs, names)
    if isinstance(node, Unnest):
        return _unnest(node, inputs[0])
    if isinstance(node, Aggregate):
        keys = ", ".join(quote(key) for key in node.keys)
        calls = [f"{call.sql} AS {quote(call.name)}" for call in node.calls]
        grouped = f" GROUP BY {keys}" if node.keys else ""
        return f"SELECT {', '.join([*map(quote, node.keys), *calls])} FROM {inputs[0]}{grouped}"
    if isinstance(node, Over):
        items = [f"{call.sql} AS {quote(call.name)}" for call in node.calls]
        return f"SELECT *, {', '.join(items)} FROM {inputs[0]}"
    if isinstance(node, Distinct):
        return f"SELECT DISTINCT {names} FROM {inputs[0]}"
    if isinstance(node, TopN):
        return _top(node, inputs[0], names)
    if isinstance(node, Touched):
        return f"SELECT {names} FROM ({node.sql}) AS _({KEY_COLUMN}, {names})"
    assert isinstance(node, Recompute)
    return node.sql


def _of_several(node: UnionAll | SetOp | Join | MatchJoin | AsofJoin, inputs: list[str], names: str) -> str:
    if isinstance(node, UnionAll):
        selects = [f"SELECT * FROM {table} AS t({names})" for table in inputs]
        return " UNION ALL ".join(selects)
    if isinstance(node, SetOp):
        word = f" {node.kind.upper()}{' ALL' if node.is_all else ''} "
        return word.join(f"SELECT * FROM {table} AS t({names})" for table in inputs)
    return _join(node, inputs) if isinstance(node, Join) else _match(node, inputs)


def _hop(node: Hop, table: str) -> str:
    slide, size = node.slide_us, node.size_us
    kind = node.schema.columns[-1].sql_type
    zone = " AT TIME ZONE 'UTC'" if kind == "TIMESTAMP WITH TIME ZONE" else ""
    time = f"epoch_us({quote(node.time)})"
    below = f"CAST(floor(CAST({time} AS HUGEINT) / {slide}) AS HUGEINT)"
    steps = size // slide + 1
    own = ", ".join(f"t.{quote(name)}" for name in node.schema.names[:-2])
    start, end = (quote(name) for name in node.schema.names[-2:])
    if node.is_cumulative:
        begin = f"CAST(floor(CAST({time} AS HUGEINT) / {size}) * {size} AS BIGINT)"
        return (
            f"SELECT {own}, make_timestamp({begin}){zone} AS {start}, make_timestamp(e){zone} AS {end} "
            f"FROM (SELECT t.*, {begin} + (__k + 1) * {slide} AS e "
            f"FROM {table} AS t, range({size // slide}) AS r(__k) WHERE isfinite({quote(node.time)})) AS t "
            f"WHERE e > {time}"
        )
    return (
        f"SELECT {own}, make_timestamp(s){zone} AS {start}, make_timestamp(s + {size}){zone} AS {end} FROM ("
        f"SELECT t, CAST(({below} - __k) * {slide} AS BIGINT) AS s, {time} AS us "
        f"FROM {table} AS t, range({steps}) AS r(__k) WHERE isfinite({quote(node.time)})) "
        f"WHERE s <= us AND us < s + {size}"
    )


def _session(node: Session, table: str) -> str:
    """A session starts at a row before which its key is silent for longer than the gap."""
    kind = node.schema.columns[-1].sql_type
    zone = " AT TIME ZONE 'UTC'" if kind == "TIMESTAMP WITH TIME ZONE" else ""
    time = f"epoch_us({quote(node.time)})"
    same = "".join(f" AND a.{quote(key)} IS NOT DISTINCT FROM b.{quote(key)}" for key in node.keys)
    finite = f"(SELECT *, {time} AS __us FROM {table} WHERE isfinite({quote(node.time)}))"
    early = f"b.__us BETWEEN a.__us - {node.gap_us} AND a.__us - 1"
    late = f"b.__us BETWEEN a.__us + 1 AND a.__us + {node.gap_us}"
    firsts, lasts = (
        f"(SELECT * FROM {finite} AS a WHERE NOT EXISTS (SELECT 1 FROM {finite} AS b WHERE {near}{same}))"
        for near in (early, late)
    )
    start = f"(SELECT max(b.__us) FROM {firsts} AS b WHERE b.__us <= a.__us{same})"
    end = f"(SELECT min(b.__us) FROM {lasts} AS b WHERE b.__us >= a.__us{same}) + {node.gap_us}"
    own = ", ".join(f"a.{quote(name)}" for name in node.schema.names[:-2])
    names = [quote(name) for name in node.schema.names[-2:]]
    bounds = [f"make_timestamp({us}){zone} AS {name}" for us, name in zip((start, end), names, strict=True)]
    return f"SELECT {own}, {', '.join(bounds)} FROM {finite} AS a"


def _unnest(node: Unnest, table: str) -> str:
    kept = [quote(name) for name in node.schema.names[: -node.made]]
    lists = [quote(name) for name in node.lists]
    made = [quote(name) for name in node.schema.names[-node.made :]]
    longest = f"greatest({', '.join(f'coalesce(len({one}), 0)' for one in lists)}, 0)"
    if node.keeps_empty:
        longest = f"greatest({longest}, 1)"
    items = [f"{one}[__i] AS {name}" for one, name in zip(lists, made, strict=False)]
    if node.ordinality is not None:
        lengths = ", ".join(f"len({one})" for one in lists)
        items.append(f"CASE WHEN __i <= greatest({lengths}) THEN __i END AS {made[-1]}")
    numbered = f"SELECT *, unnest(generate_series(1, {longest})) AS __i FROM {table}"
    return f"SELECT {', '.join([*kept, *items])} FROM ({numbered})"


def _join(node: Join, inputs: list[str]) -> str:
    items = [f"p{i}.{quote(name)}" for i, part in enumerate(node.parts) for name in part.schema.names]
    tests = [
        f"p{e.left}.{quote(e.left_column)} = p{e.right}.{quote(e.right_column)}" for e in node.equalities
    ]
    for e in node.equalities:
        left = node.parts[e.left].schema[e.left_column].sql_type
        assert left == node.parts[e.right].schema[e.right_column].sql_type
    tables = ", ".join(f"{table} AS p{i}" for i, table in enumerate(inputs))
    where = f" WHERE {' AND '.join(tests)}" if tests else ""
    inner = f"SELECT {', '.join(items)} FROM {tables}{where}"
    return f"SELECT * FROM ({inner}) WHERE {node.residual.sql}" if node.residual else inner


def _match(node: MatchJoin | AsofJoin, inputs: list[str]) -> str:
    tests = [f"p0.{quote(left)} = p1.{quote(right)}" for left, right in node.equalities]
    if isinstance(node, AsofJoin):
        tests.append(f"p0.{quote(node.left_column)} {node.op} p1.{quote(node.right_column)}")
        return (
            f"SELECT {', '.join(map(quote, node.schema.names))} FROM {inputs[0]} AS p0 "
            f"ASOF {node.kind.upper()} JOIN {inputs[1]} AS p1 ON {' AND '.join(tests)}"
        )
    tests += [f"({node.residual.sql})"] if node.residual else []
    if node.range is not None:
        low, high = "<" if node.range.low_is_open else "<=", "<" if node.range.high_is_open else "<="
        point = quote(node.range.point)
        tests += [f"{quote(node.range.low)} {low} {point}"] if node.range.low else []
        tests += [f"{point} {high} {quote(node.range.high)}"] if node.range.high else []
    return (
        f"SELECT {', '.join(map(quote, node.schema.names))} FROM {inputs[0]} AS p0 "
        f"{node.kind.upper()} JOIN {inputs[1]} AS p1 ON {' AND '.join(tests) or 'true'}"
    )


def order_by(keys: Iterable[OrderKey]) -> str:
    return ", ".join(
        f"{quote(k.column)} {'DESC' if k.descending else 'ASC'} NULLS {'FIRST' if k.nulls_first else 'LAST'}"
        for k in keys
    )


def _top(node: TopN, table: str, names: str) -> str:
    by = f"PARTITION BY {', '.join(quote(p) for p in node.partition)} " if node.partition else ""
    if node.rank is None:
        order = f"ORDER BY {order_by(node.order)}" if node.order else ""
        upper = f" AND __n <= {node.limit + node.offset}" if node.limit is not None else ""
        numbered = f"SELECT *, row_number() OVER ({by}{order}) AS __n FROM {table}"
        return f"SELECT {names} FROM ({numbered}) WHERE __n > {node.offset}{upper}"
    assert node.rank_column is not None
    keys = node.order if node.rank == "row_number" else node.order[: node.rank_keys]
    order = f"ORDER BY {order_by(keys)}" if keys else ""
    ranked = f"SELECT *, {node.rank}() OVER ({by}{order}) AS {quote(node.rank_column)} FROM {table}"
    return f"SELECT {names} FROM ({ranked}) WHERE {quote(node.rank_column)} <= {node.limit}"


def answer(con: duckdb.DuckDBPyConnection, sql: str) -> Rows:
    """Return the rows of a query; all but floats as DuckDB writes them, so that no type is lost."""
    relation = con.sql(sql)
    labels = [f"c{i}" for i in range(len(relation.columns))]
    items = [
        label if str(sql_type) in ("DOUBLE", "FLOAT") else f"CAST({label} AS VARCHAR)"
        for label, sql_type in zip(labels, relation.types, strict=True)
    ]
    return con.sql(f"SELECT {', '.join(items)} FROM ({sql}\n) AS x({', '.join(labels)})").fetchall()


def bag(rows: Iterable[Sequence[Any]]) -> list[str]:
    """Return rows in one comparable order: NaN equals NaN, floats to 12 digits, 1 and 1.0 and True apart."""
    return sorted(repr(tuple(_plain(value) for value in row)) for row in rows)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def table_rows(con: duckdb.DuckDBPyConnection, contents: Mapping[str, tuple[Schema, Rows]]) -> None:
    """Create several tables."""
    for name, (schema, rows) in contents.items():
        create(con, name, schema, rows)
