"""Plans as text."""

from __future__ import annotations

from tests.sql.data import CATALOG

from headrace.sql import explain_plan, plan_view


def test_a_tree_of_every_kind() -> None:
    sql = """
    SELECT w.a, w.n, u.k FROM (
      SELECT window_start, a, count(DISTINCT b) AS n FROM HOP(t, ts, '10s', '1m') WHERE ok GROUP BY 1, 2
      QUALIFY row_number() OVER (PARTITION BY window_start ORDER BY n DESC) <= 3
    ) AS w JOIN (SELECT DISTINCT a, k FROM u UNION ALL SELECT a, 1 FROM e) AS u ON u.a = w.a AND u.k < w.n
    """
    assert explain_plan(plan_view("v", sql, CATALOG)).split("\n") == [
        'Project: "a", "n", "k_1" AS k',
        '  Join: 1.a_3 = 0.join_key where ("k_1" < "n")',
        '    Project: "a", "n", CAST("a" AS BIGINT) AS join_key',
        "      TopN: limit 3 per (window_start) order by n desc, a",
        '        Aggregate: by (window_start, a) count(DISTINCT "b") AS n',
        "          Hop: ts slide 10000000 us size 60000000 us",
        '            Filter: "ok"',
        "              Scan: t (a, b, ts, ok)",
        "    UnionAll",
        '      Project: "a_1" AS a_4, CAST("k" AS INTEGER) AS k_2',
        "        Distinct",
        "          Scan: u (a, k)",
        '      Project: CAST("a_2" AS BIGINT) AS a_5, 1 AS k_3',
        "        Scan: e (a)",
    ]


def test_a_recomputed_part_says_why() -> None:
    sql = "SELECT t.a, u.k FROM t JOIN u ON t.s = u.k::VARCHAR COLLATE NOCASE"
    text = explain_plan(plan_view("v", sql, CATALOG))
    assert "Recompute: COLLATE: " in text
    assert text.count("Scan: ") == 2
