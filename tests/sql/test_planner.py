"""What a plan tells about itself, names without regard to case, and texts that are meant to hurt."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import duckdb
import pytest
from tests.sql.data import CATALOG

from headrace.errors import SqlError, UnsupportedSql
from headrace.sql import plan_view, relations_of
from headrace.sql.duck import schema_of
from headrace.sql.plan import Aggregate, Expr, Filter, Hop, Node, OrderKey, Project, Scan, TopN

EVENT_TIMES = {"t": "ts", "bid": "date_time"}


def test_relations_are_lower_case_and_once() -> None:
    plan = plan_view("v", 'SELECT T.a FROM T JOIN U ON t.a = U.a WHERE T.a IN (SELECT a FROM "T")', CATALOG)
    assert plan.relations == ("t", "u")


@pytest.mark.parametrize(
    ("sql", "relations"),
    [
        ("SELECT 1", ()),
        ("SELECT * FROM A, b WHERE x IN (SELECT y FROM c)", ("a", "b", "c")),
        ("WITH a AS (SELECT * FROM a), b AS (SELECT * FROM a) SELECT * FROM b", ("a",)),
        ("WITH RECURSIVE r AS (SELECT x FROM s UNION ALL SELECT x FROM r) FROM r", ("s",)),
        (
            "SELECT * FROM TUMBLE(orders, seen, '1m') JOIN HOP(\"Odd One\", seen, '1m', '2m') USING (k)",
            ("orders", "odd one"),
        ),
        ("WITH w AS (FROM x) SELECT * FROM TUMBLE(w, seen, '1m')", ("x",)),
        ("SELECT * FROM main.orders", ("orders",)),
        ("SELECT * FROM orders__late UNION ALL SELECT * FROM other", ("orders__late", "other")),
    ],
)
def test_relations_of(sql: str, relations: tuple[str, ...]) -> None:
    assert relations_of(sql) == relations


def test_relations_of_a_broken_text() -> None:
    with pytest.raises(SqlError, match="line 1, column 13"):
        relations_of("SELECT FROM WHERE")


@pytest.mark.parametrize(
    ("sql", "key"),
    [
        ("SELECT a, count(*) FROM t GROUP BY a", ("a",)),
        ("SELECT count(*) AS n, a AS k, b FROM t GROUP BY a, b", ("k", "b")),
        ("SELECT count(*) FROM t", ()),
        ("SELECT count(*) FROM t GROUP BY a", None),
        ("SELECT a + 1 AS x, count(*) FROM t GROUP BY a", None),
        ("SELECT a, sum(b) FROM t GROUP BY a HAVING sum(b) > 1 ORDER BY 2 LIMIT 5", ("a",)),
        ("SELECT a FROM t", None),
        ("SELECT * FROM t QUALIFY row_number() OVER (PARTITION BY a, s ORDER BY b) = 1", ("a", "s")),
        ("SELECT a AS k, b FROM t QUALIFY row_number() OVER (PARTITION BY a ORDER BY b DESC) < 2", ("k",)),
        ("SELECT b FROM t QUALIFY row_number() OVER (PARTITION BY a ORDER BY b) = 1", None),
        ("SELECT a, b FROM t QUALIFY row_number() OVER (PARTITION BY a ORDER BY b) <= 2", None),
        ("SELECT a, b FROM t QUALIFY rank() OVER (PARTITION BY a ORDER BY b) = 1", None),
        ("SELECT a, sum(n) OVER (ORDER BY a) AS s FROM (SELECT a, count(*) AS n FROM t GROUP BY a)", ("a",)),
        ("SELECT t.a, n FROM (SELECT a, count(*) AS n FROM t GROUP BY a) AS x JOIN t USING (a)", None),
    ],
)
def test_unique_key(sql: str, key: tuple[str, ...] | None) -> None:
    assert plan_view("v", sql, CATALOG).unique_key == key


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT ts AS seen, a FROM t", ("seen",)),
        (
            "SELECT window_start, window_end AS till, count(*) FROM TUMBLE(t, ts, '1m') GROUP BY 1, 2",
            ("window_start", "till"),
        ),
        ("SELECT * EXCLUDE (ts) FROM HOP(t, ts, '1m', '2m')", ("window_start", "window_end")),
        ("SELECT max(ts) AS newest FROM t", ()),
        ("SELECT expires FROM auction", ()),
    ],
)
def test_event_time_columns(sql: str, columns: tuple[str, ...]) -> None:
    assert plan_view("v", sql, CATALOG, event_times=EVENT_TIMES).event_time_columns == columns


def test_the_outermost_order_is_for_showing_only() -> None:
    plan = plan_view("v", "SELECT a AS x, b FROM t ORDER BY b DESC, a NULLS FIRST", CATALOG)
    assert plan.order == (OrderKey("b", descending=True), OrderKey("x", nulls_first=True))
    assert not any(isinstance(node, TopN) for node in plan.root.walk())


def test_scans_read_only_what_is_needed() -> None:
    plan = plan_view(
        "v", "SELECT count(*) FILTER (WHERE b > 1) FROM (SELECT * FROM t WHERE s = 'a')", CATALOG
    )
    assert [node.columns for node in plan.root.walk() if isinstance(node, Scan)] == [("b", "s")]


def test_filters_reach_the_scans() -> None:
    sql = "SELECT * FROM (SELECT a AS x, b FROM t UNION ALL SELECT a, k FROM u) WHERE x > 1"
    filters = [node for node in plan_view("v", sql, CATALOG).root.walk() if isinstance(node, Filter)]
    assert [type(node.inputs[0]) for node in filters] == [Scan, Scan]


def test_filters_go_below_windows_and_groups_by_their_keys() -> None:
    sql = "SELECT a, count(*) FROM TUMBLE(t, ts, '1m') GROUP BY a HAVING a > 1"
    nodes = {type(node): node for node in plan_view("v", sql, CATALOG).root.walk()}
    assert isinstance(nodes[Filter].inputs[0], Scan)
    assert {Hop, Aggregate} <= set(nodes)


def test_expressions_of_a_plan_are_plain() -> None:
    plan = plan_view("v", "SELECT t.a + 1 AS x FROM t WHERE t.b > 0 AND s = 'it''s \"q\"'", CATALOG)
    exprs = [e for node in plan.root.walk() for e in _exprs(node)]
    assert {type(e) for e in exprs} == {Expr}
    assert [e.sql for e in exprs] == ['(("b" > 0) AND ("s" = \'it\'\'s "q"\'))', '("a" + 1)']
    assert [e.columns for e in exprs] == [("b", "s"), ("a",)]


def _exprs(node: Node) -> tuple[Expr, ...]:
    if isinstance(node, Project):
        return node.exprs
    return (node.predicate,) if isinstance(node, Filter) else ()


def test_equal_parts_of_two_plans_are_equal() -> None:
    one, other = (plan_view(name, "SELECT a, sum(b) AS s FROM t GROUP BY a", CATALOG) for name in ("v", "w"))
    assert one.root == other.root
    assert hash(one.root) == hash(other.root)


def test_a_common_table_expression_is_one_plan() -> None:
    inner = "SELECT a, count(*) AS n FROM t GROUP BY a"
    sql = f"WITH x AS ({inner}) SELECT x.a, x.n, y.n AS m FROM x JOIN x AS y ON x.a = y.n"
    groups = [node for node in plan_view("v", sql, CATALOG).root.walk() if isinstance(node, Aggregate)]
    assert len(groups) == 2
    assert groups[0] == groups[1]


def test_views_on_views() -> None:
    first = plan_view("first", 'SELECT a, a, count(*) AS "n n" FROM t GROUP BY ALL', CATALOG)
    assert first.schema.names == ("a", "a_1", "n n")
    second = plan_view("second", 'SELECT a_1 + "n n" AS x FROM first', {**CATALOG, "first": first.schema})
    assert second.relations == ("first",)


def test_case_of_names_is_duckdbs() -> None:
    catalog = {"orders": schema_of([("Id", "INTEGER"), ("AMOUNT", "DECIMAL(10,2)")])}
    plan = plan_view("v", 'SELECT id, "amount", ID + 1 AS Next FROM ORDERS WHERE "ORDERS".iD > 1', catalog)
    assert plan.schema.names == ("Id", "AMOUNT", "Next")


def test_many_threads_plan_at_once() -> None:
    catalogs = [
        {"x": schema_of([(f"c{i}", "INTEGER"), ("k", kind)])}
        for i, kind in enumerate(["INTEGER", "VARCHAR"] * 4)
    ]
    with ThreadPoolExecutor(4) as pool:
        plans = list(
            pool.map(
                lambda i: plan_view("v", f"SELECT c{i}, max(k) AS m FROM x GROUP BY 1", catalogs[i]), range(8)
            )
        )
    assert [plan.schema["m"].sql_type for plan in plans] == ["INTEGER", "VARCHAR"] * 4


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a" + " + a" * 300 + " AS x FROM t",
        "SELECT " + "(" * 300 + "a" + ")" * 300 + " AS x FROM t",
        "SELECT a FROM t WHERE " + " AND ".join(f"a <> {i}" for i in range(400)),
        "SELECT a FROM t WHERE a IN (" + ", ".join(map(str, range(2000))) + ")",
        " UNION ALL ".join("SELECT a FROM t" for _ in range(40)),
    ],
)
def test_long_and_deep_texts_plan(sql: str) -> None:
    assert len(plan_view("v", sql, CATALOG).schema) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a" + " + a" * 5000 + " FROM t",
        "\x00SELECT 1",
        "",
        "   \n\t",
        ";;;",
        "SELECT 'unfinished",
        "/* unfinished",
        "SELECT a FROM t; DROP TABLE t",
        "SELECT * FROM t WHERE a = 1 --\n; DELETE FROM t",
        "SELECT * FROM duckdb_tables()",
        "SELECT * FROM information_schema.tables",
        "SELECT * FROM pg_catalog.pg_tables",
        "SELECT * FROM sqlite_master",
        "SELECT * FROM __w0",
        "SELECT * FROM __in0",
        "SELECT * FROM temp.t",
        "SELECT getenv('HOME')",
        "SELECT * FROM read_text('/etc/hosts')",
        "SELECT * FROM '/etc/hosts'",
        "SELECT content FROM read_blob(['/etc/hosts'])",
        "SELECT * FROM query('SELECT 1')",
        "SELECT ago(INTERVAL 1 HOUR)",
        "SELECT pg_sleep(1)",
        "SELECT write_log('x')",
        "SET threads = 1",
        "INSTALL httpfs",
        "CALL pragma_version()",
        "SELECT localtimestamp",
        "SELECT current_query()",
    ],
)
def test_hostile_texts_are_refused(sql: str) -> None:
    with pytest.raises(SqlError) as caught:
        plan_view("v", sql, CATALOG)
    assert "view 'v'" in str(caught.value)


def test_the_clock_may_be_the_name_of_a_column() -> None:
    catalog = {"x": schema_of([("current_date", "DATE")])}
    assert plan_view("v", "SELECT current_date FROM x", catalog).schema.names == ("current_date",)
    with pytest.raises(UnsupportedSql):
        plan_view("v", "SELECT current_date FROM t", CATALOG)


def test_reference_sql_is_plain_duckdb() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE t AS SELECT 1 AS a, TIMESTAMP '2020-01-01 00:00:59' AS ts")
    plan = plan_view("v", "SELECT a, window_end FROM TUMBLE(t, ts, '1m')", CATALOG)
    assert con.sql(plan.reference_sql).fetchall()[0][1].minute == 1


def test_every_type_passes_through() -> None:
    types = [
        "BOOLEAN", "TINYINT", "UTINYINT", "HUGEINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL(38,10)",
        "VARCHAR", "BLOB", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS",
        "INTERVAL", "UUID", "JSON", "TIMESTAMP WITH TIME ZONE", "BIT", "INTEGER[]",
        "INTEGER[3]", "MAP(VARCHAR, INTEGER)", 'STRUCT(a INTEGER, "b c" VARCHAR[])', "ENUM('x', 'it''s')",
    ]  # fmt: skip
    catalog = {"x": schema_of([(f"c{i}", sql_type) for i, sql_type in enumerate(types)])}
    plan = plan_view("v", "SELECT DISTINCT x.* FROM x JOIN x AS y ON x.c0 = y.c0 WHERE x.c1 > 0", catalog)
    assert [c.sql_type for c in plan.schema] == types
