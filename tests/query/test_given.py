"""What parameters alone say of a condition is what DuckDB makes of it, or nothing.

Conditions are drawn at random, deep enough that every sign of NULL meets every operator, and each is asked of
DuckDB too. A bug here would leave rows out of an answer, so what is feared most is to be sure where DuckDB is
not of the same mind; that nothing at all is told of most of them would be the other fault.
"""

from __future__ import annotations

from datetime import date
from random import Random
from typing import Any

import duckdb
import orjson
import pytest

from headrace.query.given import Null, Told, Unsure, told

VALUES: dict[str, Any] = {
    "t": "a", "u": "b", "e": "", "n": None, "i": 3, "j": -1, "yes": True, "no": False,
    "day": date(2026, 1, 31), "x": 0.5,
}  # fmt: skip
TEXTS = (
    "$t",
    "$u",
    "$n",
    "CAST($t AS TEXT)",
    "CAST($n AS TEXT)",
    "'a'",
    "'b'",
    "$e",
    "coalesce($n, 'a')",
    "NULL",
)
NUMBERS = ("$i", "$j", "$n", "3", "-1", "CAST($i AS BIGINT)", "coalesce($n, $i)")
OTHERS = (
    "$day",
    "CAST($t AS VARCHAR)",
    "$x",
    "CAST($i AS TEXT)",
    "CAST('2026-01-01' AS DATE)",
    "CAST($n AS DATE)",
)


def tree(con: duckdb.DuckDBPyConnection, condition: str) -> dict[str, Any]:
    text = f"SELECT 1 FROM (SELECT 1 AS one) AS rows WHERE {condition}"
    found = orjson.loads(con.execute("SELECT json_serialize_sql(?::VARCHAR)", [text]).fetchall()[0][0])
    where: dict[str, Any] = found["statements"][0]["node"]["where_clause"]
    return where


def drawn(draw: Random, depth: int) -> str:
    """Return a random condition over parameters, constants, and now and then a column."""
    if depth == 0:
        kind = draw.choice((TEXTS, NUMBERS))
        one, other, third = (draw.choice(kind) for _ in range(3))
        return draw.choice(
            (
                f"{one} = {other}",
                f"{one} <> {other}",
                f"{one} IN ({other}, {third})",
                f"{one} NOT IN ({other}, {third})",
                f"{draw.choice((*kind, *OTHERS))} IS NULL",
                f"{draw.choice((*kind, *OTHERS))} IS NOT NULL",
                "$yes", "$no", "TRUE", "FALSE", "NULL", "one = 1", "one = $i",
            )
        )  # fmt: skip
    one, other = drawn(draw, depth - 1), drawn(draw, depth - 1)
    return draw.choice(
        (f"({one} AND {other})", f"({one} OR {other})", f"NOT ({one})", f"coalesce({one}, {other})")
    )


@pytest.mark.parametrize("seed", range(12))
def test_what_is_told_is_what_duckdb_makes_of_it(seed: int) -> None:
    con, draw, sure = duckdb.connect(), Random(seed), 0
    for _ in range(60):
        condition = drawn(draw, draw.randrange(4))
        what: Told | None = told(tree(con, condition))
        found = Unsure.ANYTHING if what is None else what(VALUES)
        if isinstance(found, Unsure):
            continue
        sure += 1
        used = {name for name in VALUES if any(f"${name}{end}" in condition + " " for end in " ),")}
        answer = con.execute(
            f"SELECT ({condition}) FROM (SELECT 1 AS one) AS rows",
            {name: VALUES[name] for name in used} or None,
        ).fetchall()[0][0]
        assert (None if isinstance(found, Null) else found) == answer, condition
    assert sure > 30


@pytest.mark.parametrize(
    "condition",
    [
        "one = 1",
        "$missing = 'a'",
        "$i = '3'",
        "$x = 0.5",
        "$day = '2026-01-31'",
        "TRY_CAST($t AS DATE) IS NULL",
        "lower($t) = 'a'",
        "CAST($t AS TEXT) COLLATE NOCASE = 'A'",
        "CASE WHEN $yes THEN TRUE END",
        "$t < 'b'",
        "$t LIKE 'a'",
        "(SELECT $no)",
        "$t IS NOT DISTINCT FROM 'b'",
        "$wide = 'a'",
        "coalesce('01', 1) = '1'",
        "coalesce(CAST($n AS INTEGER), '01') = '1'",
        "coalesce($n = 'a', 'true') = 'TRUE'",
        "'01' IN ('1', CAST($n AS INTEGER))",
        "$i IN (3, '3')",
    ],
)
def test_of_what_is_not_looked_into_nothing_is_told(condition: str) -> None:
    what = told(tree(duckdb.connect(), condition))
    assert what is None or what(VALUES | {"wide": "\ud800"}) is Unsure.ANYTHING
