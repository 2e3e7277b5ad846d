"""Readers go on reading the last version while a step computes the next one, however long it takes.

A view whose Python function waits for the test is the longest step there is. The second half has every step
take the way of steps that change many rows, where contents change while readers hold on to what was before:
the hammer looks for an answer in which one view is of one version and its reader of another.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import headrace as hr
from headrace import stepper


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_a_step_that_computes_is_in_nobodys_way(gate: threading.Event) -> None:
    entered = threading.Event()

    def slow(value: int) -> int:
        if value > 1:
            entered.set()
            gate.wait(60)
        return value

    app = hr.App("slow")
    app.stream("seen", "n BIGINT")
    app.function("slow", slow, args=["BIGINT"], returns="BIGINT", rowwise=True)
    app.view("slowly", "SELECT slow(n) AS n FROM seen")
    app.view("total", "SELECT sum(n) AS n FROM slowly")
    app.view("counted", "SELECT count(*) AS n FROM seen")
    with app.open(None) as run:
        run.append("seen", [{"n": 1}])
        before = run.advance()
        run.append("seen", [{"n": 2}])
        step = threading.Thread(target=run.advance)
        step.start()
        assert entered.wait(100)
        answer = run.answer("SELECT (SELECT n FROM total) AS total, (SELECT n FROM counted) AS counted")
        assert answer.table.to_pylist() == [{"total": 1, "counted": 1}]
        assert answer.version == before
        assert {info.name: info.rows for info in run.relations()}["slowly"] == 1
        assert run.stats()["version"] == before.number
        assert run.freshness.pending_commits == 1
        gate.set()
        step.join()
        assert run.query("SELECT n FROM total").to_pylist() == [{"n": 3}]


def test_contents_that_change_for_long_are_not_seen_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepper, "SHOWN_ROWS_MAX", 0)
    app = hr.App("halves")
    app.table("goods", "id BIGINT, amount BIGINT", key="id")
    app.view("kept", "SELECT * FROM goods")
    app.view("total", "SELECT sum(amount) AS amount, count(*) AS n FROM goods")
    wrong: list[Any] = []
    done = threading.Event()
    with app.open(None, auto=True) as run:

        def read() -> None:
            sql = (
                "SELECT (SELECT sum(amount) FROM kept) AS here, (SELECT amount FROM total) AS there, "
                "(SELECT count(*) FROM kept) AS rows, (SELECT n FROM total) AS told"
            )
            while not done.is_set():
                (row,) = run.query(sql).to_pylist()
                if (row["here"], row["rows"]) != (row["there"], row["told"]):
                    wrong.append(row)

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for number in range(30):
                run.upsert("goods", [{"id": n, "amount": number * n} for n in range(number, number + 300)])
                run.delete("goods", [{"id": number}])
            run.advance()
        finally:
            done.set()
            reader.join()
        assert wrong == []
        assert run.query("SELECT count(*) AS n FROM kept").to_pylist() == [{"n": 299}]


def test_a_setting_that_changes_a_whole_tenant_is_right_in_windows() -> None:
    """So many changed rows have whole partitions answered anew; others keep to what lies around them."""
    app = hr.App("tenants")
    app.stream("events", "tenant BIGINT, customer BIGINT, at_s BIGINT")
    app.table("settings", "tenant BIGINT, gap BIGINT", key="tenant")
    sql = (
        "SELECT e.tenant, customer, at_s, gap, lag(at_s) OVER w AS before, sum(gap) OVER w AS running "
        "FROM events e JOIN settings s ON s.tenant = e.tenant "
        "WINDOW w AS (PARTITION BY e.tenant, customer ORDER BY at_s)"
    )
    app.view("gaps", sql)
    with app.open(None) as run:
        run.upsert("settings", [{"tenant": tenant, "gap": 5} for tenant in range(3)])
        run.append(
            "events",
            [{"tenant": n % 10 // 9, "customer": n * 7 % 40, "at_s": n * n % 5003} for n in range(3000)],
        )
        run.advance()
        for gap in (7, 9):
            run.upsert("settings", [{"tenant": 0, "gap": gap}])
            run.append("events", [{"tenant": 0, "customer": gap, "at_s": 99 + gap}])
            run.advance()
            kept = sorted(tuple(row.values()) for row in run.query("SELECT * FROM gaps").to_pylist())
            asked = run.query(sql).to_pylist()
            assert [str(row) for row in kept] == [
                str(row) for row in sorted(tuple(r.values()) for r in asked)
            ]
