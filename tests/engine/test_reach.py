"""How many rows a change would move is told from the state of joins, and nothing is moved by asking."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

import headrace as hr
from headrace.change import Change

MANY = 50
DIRECT = "SELECT e.n, s.weight FROM events e JOIN settings s ON s.tenant = e.tenant"
LEFT = "SELECT e.n, s.weight FROM events e LEFT JOIN settings s USING (tenant)"
SEMI = "SELECT n FROM events WHERE tenant IN (SELECT tenant FROM settings WHERE weight > 1)"
LARGEST = "SELECT tenant AS t, max(weight) AS w FROM settings GROUP BY tenant"
BEHIND = f"SELECT e.n FROM ({LARGEST}) c JOIN events e ON e.tenant = c.t"
RENAMED = "SELECT tenant AS t, weight AS w FROM settings"
EVERY = "SELECT e.n, s.weight FROM events e CROSS JOIN settings s"
LOST = "SELECT e.n FROM events e JOIN settings s ON e.tenant = s.tenant + 1"


@pytest.mark.parametrize(
    ("views", "rows"),
    [
        ({"v": DIRECT}, MANY),
        ({"v": LEFT}, MANY),
        ({"v": SEMI}, MANY),
        ({"v": BEHIND}, MANY),
        ({"v": DIRECT, "u": LEFT}, 2 * MANY),
        ({"c": RENAMED, "v": "SELECT n FROM c JOIN events ON t = tenant"}, MANY),
        ({"v": DIRECT, "u": "SELECT o.label FROM v JOIN others o USING (n)"}, MANY + 2),
        ({"v": "SELECT tenant FROM settings UNION ALL SELECT tenant + 1 FROM settings",
          "u": "SELECT n FROM v JOIN events USING (tenant)"}, MANY),
        ({"v": LOST}, 0),
        ({"v": "SELECT count(*) AS n FROM settings"}, 0),
        ({"v": "SELECT e.n FROM events e JOIN others o USING (n)"}, 0),
    ],
)  # fmt: skip
def test_rows_under_the_changed_key_are_counted(views: dict[str, str], rows: int) -> None:
    with run_of(views) as run:
        change = {"settings": changed(run, 0)}
        assert run._engine.reach(change, 1_000_000) == rows
        assert run._engine.reach(change, rows) == rows
        before = {name: run.query(f"FROM {name} ORDER BY ALL") for name in views}
        assert run._engine.reach({"settings": changed(run, 9)}, 1_000) == 0
        run.advance()
        assert {name: run.query(f"FROM {name} ORDER BY ALL") for name in views} == before


def test_every_pair_is_counted_where_nothing_is_equal() -> None:
    with run_of({"v": EVERY}) as run:
        assert run._engine.reach({"settings": changed(run, 0)}, 1_000_000) == MANY + 3


def test_counting_ends_beyond_the_bound() -> None:
    with run_of({"v": DIRECT, "u": LEFT, "w": DIRECT}) as run:
        found = run._engine.reach({"settings": changed(run, 0)}, 10)
        assert 10 < found < 3 * MANY


def run_of(views: dict[str, str]) -> hr.Run:
    app = hr.App("reach")
    app.stream("events", "tenant BIGINT, n BIGINT, amount BIGINT")
    app.stream("others", "n BIGINT, label TEXT")
    app.table("settings", "tenant BIGINT, weight BIGINT", key="tenant")
    for name, sql in views.items():
        app.view(name, sql)
    run = app.open(None)
    run.upsert("settings", [{"tenant": tenant, "weight": tenant} for tenant in range(3)])
    events = [{"tenant": 0, "n": n, "amount": 5} for n in range(MANY)]
    run.append("events", events + [{"tenant": None, "n": n, "amount": 5} for n in range(3)])
    run.append("others", [{"n": n, "label": "x"} for n in (1, 2, 99)])
    run.advance()
    return run


def changed(run: hr.Run, tenant: int) -> Change:
    """The change of one row of settings, as a commit has it."""
    schema = run._bases["settings"].schema.arrow
    rows = pa.RecordBatch.from_pylist(
        [{"tenant": tenant, "weight": 0}, {"tenant": tenant, "weight": 7}], schema=schema
    )
    inserts = Change.inserts(rows)
    return Change(rows, inserts.weights * np.array([-1, 1]))
