"""Every type through every place that compares, orders, hashes or keeps values, against DuckDB.

Each type has its corner values: the ends of its range, what equals another value without being the same
(−0.0 and 0.0, one month and thirty days), NULL inside and outside of nested values, texts that differ late. A
group key, a join key, a value that is counted once, an extreme, an order and a change must all take them as
DuckDB does.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from tests.engine.world import Row, World, random_steps, schema

from headrace.contracts.scratch import scratch
from headrace.errors import UnsupportedSql

VALUES: dict[str, list[str]] = {
    "BOOLEAN": ["true", "false"],
    "TINYINT": ["-128", "127", "0"],
    "SMALLINT": ["-32768", "32767", "0"],
    "INTEGER": ["-2147483648", "2147483647", "0", "-1"],
    "BIGINT": ["-9223372036854775808", "9223372036854775807", "0", "-1"],
    "HUGEINT": ["-99999999999999999999999999999999999999", "18446744073709551616", "-1", "5"],
    "UTINYINT": ["0", "255", "7"],
    "USMALLINT": ["0", "65535", "7"],
    "UINTEGER": ["0", "4294967295", "7"],
    "UBIGINT": ["0", "18446744073709551615", "9223372036854775808", "7"],
    "UHUGEINT": ["0", "99999999999999999999999999999999999999", "7", "18446744073709551616"],
    "FLOAT": ["'NaN'", "'-0.0'", "'0.0'", "'inf'", "'-inf'", "1.1", "-2.5"],
    "DOUBLE": ["'NaN'", "'-0.0'", "'0.0'", "'inf'", "'-inf'", "1e308", "5e-324", "-2.5"],
    "DECIMAL(4,1)": ["-999.9", "999.9", "0", "0.1"],
    "DECIMAL(18,3)": ["-999999999999999.999", "999999999999999.999", "0"],
    "DECIMAL(38,2)": ["-" + "9" * 36 + ".99", "9" * 36 + ".99", "0", "0.01", "-0.01", "92233720368547758.08"],
    "VARCHAR": ["''", "'a'", "'aaaaaaaab'", "'aaaaaaaac'", "'é'", "'é'", "'\U0001f600'", "'Z'", "' a'"],
    "BLOB": [r"''::BLOB", r"'\x00'::BLOB", r"'\x00\x00'::BLOB", r"'\xFF'::BLOB", r"'a'::BLOB"],
    "UUID": [f"'{one * 8}-0000-0000-0000-{one * 12}'" for one in "078f"],
    "DATE": ["'1970-01-01'", "'0001-01-01'", "'9999-12-31'", "'2024-02-29'"],
    "TIME": ["'00:00:00'", "'23:59:59.999999'", "'12:00:00.5'"],
    "TIMESTAMP_S": ["'1970-01-01 00:00:00'", "'2024-02-29 12:00:01'", "'1900-01-01 00:00:00'"],
    "TIMESTAMP_MS": ["'1970-01-01 00:00:00.001'", "'2024-02-29 12:00:01'", "'1900-01-01 00:00:00.999'"],
    "TIMESTAMP": ["'1970-01-01'", "'2024-02-29 12:00:00.000001'", "'1900-01-01'"],
    "TIMESTAMP_NS": ["'1970-01-01 00:00:00.000000001'", "'2024-02-29 12:00:01'", "'1900-01-01'"],
    "TIMESTAMP WITH TIME ZONE": ["'1970-01-01 00:00+02'", "'2024-06-01 12:00Z'", "'1900-01-01'"],
    "INTERVAL": ["'1 month'", "'30 days'", "'720 hours'", "'-1 day'", "'1 year'", "'2147483647 days'"],
    "ENUM('z', 'a', 'm')": ["'z'", "'a'", "'m'"],
    "JSON": ["""'{"a": 1}'""", """'{"a":1}'""", "'[1, null]'", "'null'", "'2'", "'10'"],
    "INTEGER[]": ["[]", "[1]", "[1, 2]", "[NULL]", "[1, NULL]", "[2]"],
    "VARCHAR[]": ["[]", "['a']", "['a', 'b']", "['ab']", "[NULL]", "['']"],
    "DOUBLE[]": ["[0.0]", "['-0.0'::DOUBLE]", "['nan'::DOUBLE]", "[1.5, NULL]", "[-1.5]", "[]"],
    "INTEGER[2]": ["[1, 2]", "[1, NULL]", "[0, 5]"],
    "STRUCT(a INTEGER, b VARCHAR)": [
        "{'a': 1, 'b': 'x'}", "{'a': 1, 'b': NULL}", "{'a': NULL, 'b': 'x'}", "{'a': NULL, 'b': NULL}",
        "{'a': -1, 'b': ''}",
    ],
    "STRUCT(a DOUBLE, b INTERVAL)": [
        "{'a': 0.0, 'b': NULL}", "{'a': '-0.0'::DOUBLE, 'b': NULL}",
        "{'a': 'nan'::DOUBLE, 'b': INTERVAL 1 DAY}",
        "{'a': NULL, 'b': INTERVAL 1 MONTH}", "{'a': NULL, 'b': INTERVAL 30 DAY}",
    ],
    "STRUCT(a INTEGER[], b STRUCT(c DECIMAL(9,2)))": [
        "{'a': [1], 'b': {'c': 1.50}}", "{'a': [1], 'b': {'c': NULL}}", "{'a': [1], 'b': NULL}",
        "{'a': [], 'b': {'c': 2}}", "{'a': NULL, 'b': {'c': 2}}",
    ],
    "MAP(VARCHAR, INTEGER)": [
        "MAP {}", "MAP {'a': 1}", "MAP {'a': NULL}", "MAP {'b': 0, 'a': 2}", "MAP {'a': 2, 'b': 0}",
    ],
}  # fmt: skip
"""Corner values as SQL, per type."""

SHAPES = [
    "SELECT x, count(*) AS n, min(k) AS m FROM t GROUP BY x",
    "SELECT DISTINCT x FROM t",
    (
        "SELECT k, min(x) AS a, max(x) AS b, count(DISTINCT x) AS c, count(x) AS n, arg_max(i, x) AS d, "
        "arg_min(x, i) AS e, first(x ORDER BY i) AS g, max(i) FILTER (x IS NOT NULL) AS h FROM t GROUP BY k"
    ),
    "SELECT k, mode(i ORDER BY x), last(i ORDER BY x, i) AS l, list(i ORDER BY x, i) AS o FROM t GROUP BY k",
    "SELECT t.i, u.i AS j FROM t JOIN u ON t.x = u.x",
    "SELECT i, x FROM t ORDER BY x DESC NULLS LAST, i LIMIT 3",
    "SELECT i, k FROM t QUALIFY row_number() OVER (PARTITION BY k ORDER BY x DESC, i) <= 2",
    "SELECT i, x FROM t QUALIFY rank() OVER (PARTITION BY x ORDER BY i) <= 2",
    "SELECT x FROM t EXCEPT SELECT x FROM u",
    "SELECT * FROM t WHERE x IN (SELECT x FROM u)",
    "SELECT i, x FROM t WHERE x IS NOT DISTINCT FROM (SELECT max(x) FROM u)",
]


def corners(kind: str) -> list[Any]:
    """Return a type's corner values, and NULL, as Arrow gives them to Python."""
    with scratch() as connection:
        items = " UNION ALL ".join(f"SELECT CAST({value} AS {kind}) AS x" for value in VALUES[kind])
        values = connection.sql(items).to_arrow_table().column("x").to_pylist()
    return [None, *values]


def world(kind: str, shapes: list[str]) -> World:
    columns = schema(i="INTEGER", k="INTEGER", x=kind)
    made = World({"t": columns, "u": columns})
    for number, sql in enumerate(shapes):
        made.add(f"v{number}", sql)
    return made


@pytest.mark.parametrize("kind", list(VALUES))
def test_equals_duckdb(kind: str) -> None:
    values = corners(kind)

    def row(rng: random.Random) -> Row:
        return {"i": rng.randrange(6), "k": rng.randrange(2), "x": rng.choice(values)}

    random_steps(world(kind, SHAPES), {"t": row, "u": row}, steps=4, seed=3, most=10)


MADE = {
    "HUGEINT": [
        "-170141183460469231731687303715884105728",
        "170141183460469231731687303715884105727",
        "-1",
        "5",
    ],
    "UHUGEINT": ["0", "170141183460469231731687303715884105727", "7"],
    "DATE": ["infinity", "-infinity", "2024-02-29", "5877642-06-25 (BC)", "5881580-07-10"],
    "TIMESTAMP": ["infinity", "-infinity", "2024-02-29 12:00:00.000001", "294247-01-10 04:00:54.775806"],
    "TIMESTAMP WITH TIME ZONE": ["infinity", "-infinity", "2024-02-29 12:00:00+03", "2024-02-29 09:00:00Z"],
    "BIT": ["0", "1", "01", "010", "0100000000", "111111111"],
    "ENUM('c', 'a', 'b')": ["a", "b", "c"],
}
"""Values that Python's own types do not hold, or that no stream may have: views make them of text."""


@pytest.mark.parametrize("kind", list(MADE))
def test_equals_duckdb_where_a_view_makes_the_type(kind: str) -> None:
    columns = schema(i="INTEGER", k="INTEGER", s="VARCHAR")
    made = World({"r": columns, "q": columns})
    for number, sql in enumerate(SHAPES):
        cast = f"CAST(s AS {kind}) AS x"
        whole = f"WITH t AS (SELECT i, k, {cast} FROM r), u AS (SELECT i, k, {cast} FROM q) {sql}"
        made.add(f"v{number}", f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({whole})")

    def row(rng: random.Random) -> Row:
        return {"i": rng.randrange(6), "k": rng.randrange(2), "s": rng.choice([None, *MADE[kind]])}

    random_steps(made, {"r": row, "q": row}, steps=4, seed=5, most=10)


@pytest.mark.parametrize(
    ("kind", "nested"),
    [
        ("DATE", "{'d': [CAST(s AS DATE)]}"),
        ("TIMESTAMP", "MAP {'a': CAST(s AS TIMESTAMP), 'b': TIMESTAMP '2024-02-29'}"),
        ("TIMESTAMP WITH TIME ZONE", "[CAST(s AS TIMESTAMPTZ)]"),
    ],
)
def test_times_that_python_does_not_know_stand_in_nested_values_too(kind: str, nested: str) -> None:
    """Keys, orders, contents: rows with infinite times are told apart beside rows without, as in DuckDB."""
    made = World({"r": schema(i="INTEGER", k="INTEGER", s="VARCHAR")})
    told = f"WITH t AS (SELECT i, k, {nested} AS x FROM r)"
    for name, sql in {
        "grouped": "SELECT x, count(*) AS n FROM t GROUP BY x",
        "distinct": "SELECT count(DISTINCT x) AS n, k FROM t GROUP BY k",
        "last": "SELECT k, max(x) AS x FROM t GROUP BY k",
        "top": "SELECT i, x FROM t ORDER BY x DESC, i LIMIT 3",
        "joined": "SELECT a.i, b.i AS j FROM t a JOIN t b USING (x)",
        "listed": "SELECT k, list(x ORDER BY i, x) AS x FROM t GROUP BY k",
    }.items():
        made.add(name, f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM ({told} {sql})")

    def row(rng: random.Random) -> Row:
        return {"i": rng.randrange(6), "k": rng.randrange(2), "s": rng.choice([None, *MADE[kind]])}

    random_steps(made, {"r": row}, steps=4, seed=6, most=10)


@pytest.mark.parametrize(
    ("made", "better"),
    [
        ("CAST('12:00:00+02' AS TIMETZ)", "TIMESTAMP WITH TIME ZONE"), ("[union_value(a := i)]", "STRUCT"),
        ("CAST(i AS BIGNUM)", "HUGEINT"), ("CAST(i AS VARIANT)", "JSON"),
        ("{'g': 'POINT(1 2)'::GEOMETRY}", "BLOB"),
    ],
)  # fmt: skip
def test_types_that_rows_cannot_hold_are_refused(made: str, better: str) -> None:
    world = World({"t": schema(i="INTEGER")})
    with pytest.raises(UnsupportedSql, match="which rows here cannot hold") as caught:
        world.add("v", f"SELECT {made} AS x FROM t")
    assert better in str(caught.value.hint)
    world.add("w", f"SELECT CAST({made} AS VARCHAR) AS x FROM t")
