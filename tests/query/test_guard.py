"""The SQL door under attack: every hostile statement must be refused before anything of it runs.

Each statement reaches for something outside the given names: files, network, settings, other connections,
the process, or a second statement. What is refused only by DuckDB itself (external access is off) does not
count here: the guard must see it, for DuckDB's own locks are the second wall.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from headrace.errors import HeadraceError, SqlError, UnknownName
from headrace.query.guard import BRACKETS_MAX, check_shape, locate, parse, underline

NAMES = ["gmv", "Orders", "orders__late"]

HOSTILE = [
    # files and network
    "SELECT * FROM '/etc/passwd'",
    'SELECT * FROM "/etc/passwd"',
    "FROM 'data/*.parquet'",
    "FROM 'https://example.com/x.csv'",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_parquet('x')",
    "SELECT * FROM parquet_scan('x')",
    "SELECT * FROM parquet_metadata('x')",
    "SELECT * FROM read_json('x')",
    "SELECT * FROM read_ndjson_objects('x')",
    "SELECT * FROM read_blob('/proc/self/environ')",
    "SELECT * FROM read_duckdb('x.db')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM glob('/*')",
    "SELECT (SELECT content FROM read_text('/etc/passwd'))",
    "SELECT * FROM gmv WHERE gmv IN (SELECT size FROM glob('/*'))",
    "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x",
    "COPY gmv TO '/tmp/x.csv'",
    "COPY (SELECT 1) TO '/tmp/x.parquet'",
    "WITH x AS (COPY gmv TO '/tmp/x.csv') SELECT * FROM x",
    "EXPORT DATABASE '/tmp/x'",
    "IMPORT DATABASE '/tmp/x'",
    # other databases and extensions
    "ATTACH '/tmp/x.db'",
    "DETACH memory",
    "USE memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "FORCE INSTALL spatial",
    "SELECT * FROM duckdb_extensions()",
    # settings, secrets, environment
    "SET threads = 99",
    "SET VARIABLE x = 1",
    "RESET threads",
    "PRAGMA version",
    "PRAGMA table_info('gmv')",
    "CALL pragma_version()",
    "SELECT * FROM pragma_version()",
    "SELECT getenv('HOME')",
    "SELECT current_setting('memory_limit')",
    "SELECT getvariable('x')",
    "SELECT * FROM duckdb_secrets()",
    "SELECT * FROM which_secret('s3://x', 's3')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_functions()",
    "SELECT * FROM duckdb_memory()",
    # the catalog
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM pg_catalog.pg_class",
    "SELECT * FROM pg_class",
    "SELECT * FROM duckdb_tables",
    "SELECT * FROM duckdb_tables()",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM memory.main.gmv",
    "SHOW DATABASES",
    "SHOW VARIABLES",
    "DESCRIBE pg_class",
    "SUMMARIZE sqlite_master",
    # statements that write
    "CREATE TABLE x (a INT)",
    "CREATE TEMP VIEW x AS SELECT 1",
    "CREATE MACRO f(a) AS a",
    "DROP VIEW gmv",
    "INSERT INTO gmv VALUES (1)",
    "UPDATE gmv SET gmv = 1",
    "DELETE FROM gmv",
    "TRUNCATE gmv",
    "ALTER TABLE gmv RENAME TO x",
    "WITH x AS (INSERT INTO gmv VALUES (1) RETURNING *) SELECT * FROM x",
    "WITH x AS (DELETE FROM gmv RETURNING *) SELECT * FROM x",
    "MERGE INTO gmv USING orders ON true WHEN MATCHED THEN DELETE",
    "BEGIN",
    "CHECKPOINT",
    "VACUUM",
    "PREPARE p AS SELECT 1",
    "EXECUTE p",
    "EXPLAIN ANALYZE SELECT 1",
    # more than one statement, hidden or not
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP TABLE gmv",
    "SELECT 1 /* ; */ ; ATTACH 'x'",
    "SELECT 1 -- harmless\n; COPY gmv TO 'x'",
    "/* only */ -- comments",
    "",
    ";",
    # SQL inside SQL
    "SELECT * FROM query('ATTACH ''x''')",
    "SELECT * FROM query_table(['pg_class'])",
    "SELECT * FROM json_execute_serialized_sql('{}')",
    "SELECT json_deserialize_sql('{}')",
    # raw memory and internals
    "SELECT * FROM python_arrow_scan(1, 2, 3)",
    "SELECT * FROM arrow_scan(1, 2, 3)",
    "SELECT * FROM pandas_scan(1)",
    "SELECT * FROM seq_scan(1)",
    "SELECT CAST(140000000 AS POINTER)",
    "SELECT write_log('x')",
    "SELECT nextval('s')",
    "SELECT setseed(0.5)",
    "SELECT sleep_ms(100000)",
    # around the macros that bound sizes
    "SELECT system.main.repeat('x', 1000000000)",
    "SELECT main.repeat('x', 10)",
    "SELECT pg_catalog.lower('x')",
    "SELECT range(1000000000)",
    "SELECT printf('%1000000000d', 1)",
    "SELECT printf('%*d', 1000000000, 1)",
    "SELECT format('{:>1000000000}', 'x')",
    "SELECT format(f) FROM gmv AS t(f)",
    # names that are given in one scope only
    "SELECT * FROM (WITH pg_class AS (SELECT 1) SELECT * FROM pg_class), pg_class",
    "WITH a AS (SELECT * FROM b), b AS (SELECT 1) SELECT * FROM a",
]


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        yield connection


@pytest.mark.parametrize("sql", HOSTILE)
def test_hostile_statements_are_refused(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    with pytest.raises((SqlError, UnknownName)):
        parse(con, sql, NAMES)


@pytest.mark.parametrize(
    ("sql", "relations"),
    [
        ("SELECT 1", []),
        ("SELECT 1;", []),
        ("FROM gmv", ["gmv"]),
        ("TABLE gmv", ["gmv"]),
        ("VALUES (1, 2)", []),
        ('SELECT * FROM "GMV"', ["gmv"]),
        ("SELECT * FROM ORDERS o JOIN gmv ON true", ["Orders", "gmv"]),
        ("SELECT * FROM gmv -- ; DROP TABLE gmv", ["gmv"]),
        ("SELECT '; DROP TABLE gmv', $$ ; $$", []),
        ("WITH x AS (FROM gmv), y AS (FROM x) FROM y", ["gmv"]),
        ("WITH gmv AS (SELECT 1) FROM gmv", []),
        ("WITH RECURSIVE t AS (SELECT 1 n UNION ALL SELECT n + 1 FROM t WHERE n < 3) FROM t", []),
        ("SELECT (SELECT max(gmv) FROM gmv), EXISTS (FROM orders__late)", ["gmv", "orders__late"]),
        ("DESCRIBE gmv", ["gmv"]),
        ("DESCRIBE SELECT * FROM Orders", ["Orders"]),
        ("SHOW gmv", ["gmv"]),
        ("SUMMARIZE gmv", ["gmv"]),
        ("SELECT * FROM gmv, unnest([1, 2]) AS u(x)", ["gmv"]),
        ("SELECT * FROM range(10), generate_series(1, 3)", []),
        ("SELECT x.upper(), [y * 2 FOR y IN [1]] FROM (SELECT 'a' AS x)", []),
        ("PIVOT gmv ON gmv IN (1, 2) USING count(*)", ["gmv"]),
        ("SELECT sum(gmv) OVER (ORDER BY gmv) FROM gmv QUALIFY row_number() OVER () = 1", ["gmv"]),
        ("SELECT format('{:>5}', 1), printf('%3d', 1), current_date, now()", []),
        ("FROM gmv UNION ALL FROM orders EXCEPT FROM gmv", ["gmv", "Orders"]),
    ],
)
def test_plain_questions_pass_and_name_what_they_read(
    con: duckdb.DuckDBPyConnection, sql: str, relations: list[str]
) -> None:
    assert sorted(parse(con, sql, NAMES).relations) == sorted(relations)


def test_show_tables_is_known(con: duckdb.DuckDBPyConnection) -> None:
    assert parse(con, "SHOW TABLES", NAMES).lists_tables
    assert not parse(con, "SELECT 1", NAMES).lists_tables


def test_the_past_is_read_under_names_of_its_own(con: duckdb.DuckDBPyConnection) -> None:
    sql = "FROM gmv now, gmv AT (VERSION => $v), gmv old AT (VERSION => $v) WHERE old.n > $n"
    parsed = parse(con, sql, NAMES)
    assert parsed.relations == ["gmv"]
    told = [(found.name, found.unit, set(found.parameters)) for found in parsed.past]
    assert told == [("gmv", "VERSION", {"v"})]
    assert parsed.parameters == {"n"}
    assert parsed.text is not None
    assert " AT " not in parsed.text
    assert f"{parsed.past[0].shown} AS gmv" in parsed.text


@pytest.mark.parametrize("moment", ["getenv('HOME')", "(SELECT 1 FROM secret)", "query_table('x')"])
def test_a_moment_is_watched_as_everything_else(con: duckdb.DuckDBPyConnection, moment: str) -> None:
    with pytest.raises(HeadraceError):
        parse(con, f"FROM gmv AT (VERSION => {moment})", NAMES)


def test_an_unknown_name_gets_a_suggestion(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(UnknownName) as caught:
        parse(con, "SELECT * FROM gvm", NAMES)
    assert caught.value.hint == "did you mean 'gmv'?"
    assert "pg_" not in str(caught.value)


def test_an_error_says_line_and_column_and_underlines(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SqlError) as caught:
        parse(con, "SELECT 1\nFROM gmv JION orders", NAMES)
    assert caught.value.where == "line 2, column 15"
    assert "FROM gmv JION orders\n                ^" in str(caught.value)


def test_pivot_without_values_says_what_is_missing(con: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(SqlError, match="PIVOT needs the values"):
        parse(con, "PIVOT gmv ON gmv", NAMES)


DEEP = [
    "SELECT " + "(" * 60 + "1" + ")" * 60,
    "with a as (" * 8 + "select 1" + ")" * 8,
    "SELECT (" + "with a as (" * 8 + "select 1" + ")" * 8,
    "FROM " + "(" * 5_000,
    "SELECT " + "- " * 3_000 + "1",
    "SELECT " + "NOT " * 3_000 + "true",
    "SELECT " + "[" * 50 + "]" * 50,
    "SELECT " + "{a: " * 50 + "1" + "}" * 50,
    "SELECT " + ", ".join(["1"] * 20_000),
    "SELECT '" + "x" * 200_000 + "'",
    "SELECT * FROM gmv WHERE x = '\0'",
]


@pytest.mark.parametrize("sql", DEEP, ids=range(len(DEEP)))
def test_shapes_that_would_choke_the_parser_never_reach_it(sql: str) -> None:
    with pytest.raises(SqlError):
        check_shape(sql)


def test_brackets_in_text_and_comments_do_not_count() -> None:
    many = "(" * (BRACKETS_MAX * 3)
    check_shape(f"SELECT '{many}', $${many}$$, \"{many}\" -- {many}\n/* {many} */")


def test_an_unclosed_text_is_an_error_and_no_endless_loop(con: duckdb.DuckDBPyConnection) -> None:
    for sql in ("SELECT 'abc", 'SELECT "abc', "SELECT $$abc", "SELECT /* abc", "SELECT $x$ abc $y$"):
        with pytest.raises(HeadraceError):
            parse(con, sql, NAMES)


def test_places_are_counted_from_one() -> None:
    assert locate("ab\ncd", 0) == "line 1, column 1"
    assert locate("ab\ncd", 4) == "line 2, column 2"
    assert underline("ab\ncd", 4) == "  cd\n   ^"
