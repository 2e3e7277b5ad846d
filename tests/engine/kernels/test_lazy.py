"""What is not computed row by row, against DuckDB: costly parts once per distinct text where texts repeat,
letters counted away, and arithmetic whose limits say beforehand that nothing overflows. Batches are sliced,
so that nothing counts from the first byte of a buffer.
"""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from tests.engine.kernels.test_compile import answers, arrow_of, evaluated
from tests.engine.world import schema

from headrace.contracts.schema import Column
from headrace.engine.duck import Duck
from headrace.engine.kernels import lazy
from headrace.engine.kernels.compile import compile_expression

TEXTS = [None, "", "a/b/c", "ab=1&cd=22", "&cd=", "Ä/ß/𝄞", "c", "cc", "/", "//", "abcabc" * 5]
COSTLY = [
    "regexp_extract(x, '(&|^)cd=([^&]*)', 2)",
    "regexp_extract(x, '(&|^)cd=([^&]*)', 2) <> ''",
    "coalesce(regexp_extract(x, 'a(b)', 1), 'none')",
    "split_part(x, '/', 1) || split_part(x, '/', 2)",
    "x LIKE '%b%' OR y > 3",
    "CASE WHEN y > 2 THEN x ELSE regexp_replace(x, 'b', 'q', 'g') END",
    "regexp_matches(x, 'c$') AND y IS NOT NULL AND NOT (x LIKE 'a%')",
    "length(replace(x, 'c', ''))",
    "length(x) - length(replace(x, 'c', ''))",
    "length(replace(x, '𝄞', '')) + length(replace(x, 'ab', ''))",
]
SOURCE = schema(x="VARCHAR", y="BIGINT")


def same_as_duckdb(sql: str, rows: pa.RecordBatch) -> None:
    duck = Duck()
    kind = duck.types([sql], SOURCE)[0]
    output = Column("r", kind, arrow_of(kind))
    kernel = compile_expression(sql, SOURCE, output, duck)
    assert kernel is not None
    found = evaluated(kernel, rows)
    assert found is not None
    assert found == answers(duck, sql, rows, SOURCE, output)


def rows_of(texts: list[str | None], count: int) -> pa.RecordBatch:
    rng = random.Random(count)
    rows = [{"x": rng.choice(texts), "y": rng.choice([None, 0, 1, 5])} for _ in range(count + 9)]
    return pa.RecordBatch.from_pylist(rows, schema=SOURCE.arrow).slice(9)


@pytest.mark.parametrize("sql", COSTLY)
@pytest.mark.parametrize("count", [0, 1, 40, 1_500])
def test_costly_parts_equal_duckdb_where_texts_repeat(sql: str, count: int) -> None:
    same_as_duckdb(sql, rows_of(TEXTS, count))
    same_as_duckdb(sql, rows_of([text for text in TEXTS if text is None or text.isascii()], count))


def test_texts_that_repeat_are_read_once_and_others_as_they_come() -> None:
    few = pa.record_batch({"x": pa.array([f"t{number % 300}" for number in range(3_000)])})
    many = pa.record_batch({"x": pa.array([f"t{number}" for number in range(3_000)])})
    values = lazy._values_of(few, "x")
    assert values is not None
    assert values.rows.num_rows == 300
    assert values.rows.column(0).take(pa.array(values.places)).equals(few.column(0))
    assert lazy._values_of(many, "x") is None
    assert lazy._values_of(few.slice(0, 100), "x") is None


@pytest.mark.parametrize("numbers", [[0, 1, 7, 2**62], [3], [], [-(2**63), -7, -1, 0, 2**63 - 1]])
@pytest.mark.parametrize("sql", ["y % 3", "y // 3", "y % -3", "y // y", "y % y", "y - 9", "y + 9", "y * 2"])
def test_arithmetic_within_limits_equals_duckdb(sql: str, numbers: list[int]) -> None:
    rows = pa.record_batch(
        [pa.array(["x"] * len(numbers)), pa.array(numbers, pa.int64())], SOURCE.arrow.names
    )
    duck = Duck()
    kind = duck.types([sql], SOURCE)[0]
    output = Column("r", kind, arrow_of(kind))
    kernel = compile_expression(sql, SOURCE, output, duck)
    assert kernel is not None
    found = evaluated(kernel, rows)
    wanted = answers(duck, sql, rows, SOURCE, output)
    assert found == wanted or (found is None and ("error" in wanted or 0 in numbers))
