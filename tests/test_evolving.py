"""Columns of streams and tables that change: every row that was accepted is still a row, with every value.

Each change is looked at three times: at once, after a restart that reads everything from the log, and for
rows that are sent again: what was accepted under the old columns is repeated under the new ones.
"""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pytest
from tests.faults.killed import killed

import headrace as hr
from headrace import points
from headrace.contracts.lineage import widens
from headrace.testing import ManualClock

Rows = list[dict[str, Any]]


class Order(hr.Event):
    """Orders as they are declared later: a column renamed and widened, one added with a default."""

    id: int
    amount: Annotated[Decimal, hr.decimal(18, 4)]
    country: str = "de"


def before() -> hr.App:
    app = hr.App("shop")
    app.stream("orders", "id BIGINT, total DECIMAL(10,2) NOT NULL, note TEXT", event_id="id")
    app.table(
        "plans", "id INTEGER, plan TEXT, at TIMESTAMP, seq SMALLINT", key="id", effective="at", sequence="seq"
    )
    app.table("bag", "x INTEGER")
    app.view("orders_in_all", "SELECT count(*) AS n FROM orders")
    return app


def after() -> hr.App:
    app = hr.App("shop")
    app.stream("orders", Order, event_id="id", renamed={"total": "amount"})
    app.table(
        "plans", "id BIGINT, plan TEXT, at TIMESTAMP, seq BIGINT, note TEXT", key="id", effective="at",
        sequence="seq",
    )  # fmt: skip
    app.table("bag", "x DECIMAL(12,2)")
    app.view("orders_in_all", "SELECT count(*) AS n FROM orders")
    app.view("by_country", "SELECT country, sum(amount) AS amount FROM orders GROUP BY country")
    return app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that was written under the old columns."""
    with before().open(tmp_path / "data", clock=ManualClock()) as run:
        run.append(
            "orders", [{"id": 1, "total": "5.00", "note": "x"}, {"id": 2, "total": "6.50", "note": None}]
        )
        run.upsert("plans", [plan(1, "basic", 1), plan(1, "team", 2)])
        run.upsert("bag", [{"x": 1}, {"x": 1}])
        run.advance()
    return tmp_path / "data"


def plan(key: int, name: str, seq: int, **more: Any) -> dict[str, Any]:
    return {"id": key, "plan": name, "at": f"2026-01-0{seq}", "seq": seq, **more}


def opened(app: hr.App, folder: Path, **options: Any) -> hr.runtime.Run:
    return app.open(folder, clock=ManualClock(), **options)


def asked(run: Any, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in run.query(sql).to_pylist()]


def looked_at(run: Any) -> Mapping[str, list[tuple[Any, ...]]]:
    run.advance()
    return {
        "orders": asked(run, "SELECT id, amount, country FROM orders ORDER BY id"),
        "by_country": asked(run, "SELECT * FROM by_country ORDER BY ALL"),
        "plans": asked(run, "SELECT id, plan, seq, note FROM plans ORDER BY id"),
        "history": asked(run, "SELECT plan, note, valid_to IS NULL FROM plans__history ORDER BY id, seq"),
        "bag": asked(run, "SELECT x FROM bag ORDER BY x"),
        "n": asked(run, "SELECT n FROM orders_in_all"),
    }


def test_all_that_was_is_read_in_the_new_columns(folder: Path) -> None:
    with opened(after(), folder, on_change="apply") as run:
        assert looked_at(run) == {
            "orders": [(1, Decimal("5.0000"), "de"), (2, Decimal("6.5000"), "de")],
            "by_country": [("de", Decimal("11.5000"))],
            "plans": [(1, "team", 2, None)],
            "history": [("basic", None, False), ("team", None, True)],
            "bag": [(Decimal("1.00"),), (Decimal("1.00"),)],
            "n": [(2,)],
        }
        again = run.append("orders", [
            {"id": 1, "total": "5"}, {"id": 2, "amount": "6.5", "country": "de"}, {"id": 2, "amount": "6.51"},
            {"id": 3, "total": "1.2345"}, {"id": 4, "amount": "1", "country": "fr"},
        ])  # fmt: skip
        assert again.statuses.tolist() == [1, 1, 3, 0, 0]
        sent = [plan(1, "basic", 1), plan(1, "other", 2), plan(2**40, "pro", 3, note="new")]
        assert run.upsert("plans", sent).statuses.tolist() == [1, 3, 0]
        assert run.delete("bag", [{"x": 1}, {"x": "1.00"}, {"x": 1}]).statuses.tolist() == [0, 0, 3]
        seen = looked_at(run)
        assert seen["by_country"] == [("de", Decimal("12.7345")), ("fr", Decimal("1.0000"))]
        run.checkpoint()
        assert run.append("orders", [{"id": 1, "amount": "5", "note": "x"}]).rejections[0].field == "note"
    for _ in range(2):
        with opened(after(), folder) as run:
            assert looked_at(run) == seen
            assert run.append("orders", [{"id": 1, "total": "5"}]).repeated == 1
            run.checkpoint()


def test_rows_that_come_meanwhile_are_in_the_new_columns(folder: Path) -> None:
    with opened(before(), folder) as run:
        change = run.apply(after(), preview=True)
        run.append("orders", [{"id": 3, "total": "2.00", "note": "late"}])
        run.upsert("plans", [plan(2, "basic", 1), plan(1, "late", 3)])
        change.switch()
        seen = looked_at(run)
        assert seen["by_country"] == [("de", Decimal("13.5000"))]
        assert seen["plans"] == [(1, "late", 3, None), (2, "basic", 1, None)]
        assert seen["n"] == [(3,)]
    with opened(after(), folder) as run:
        assert looked_at(run) == seen


def test_the_plan_says_what_is_safe_and_what_breaks_a_reader(folder: Path) -> None:
    with opened(before(), folder) as run:
        items = {item.name: item for item in run.plan(after()).items}
    assert items["orders"].breaking
    assert "column total is called amount" in items["orders"].notes
    assert "column country VARCHAR is new; rows in the log get 'de'" in items["orders"].notes
    assert "column note goes; rows with it are refused, those in the log keep it" in items["orders"].notes
    assert not items["plans"].breaking
    assert "orders_in_all" not in items, "it reads none of the columns, and goes on as it is"


def refused(folder: Path, app: hr.App) -> str:
    with opened(before(), folder) as run:
        with pytest.raises(hr.errors.ChangeFailed) as told:
            run.apply(app)
        assert asked(run, "SELECT total FROM orders ORDER BY id") == [(Decimal("5.00"),), (Decimal("6.50"),)]
        return str(told.value)


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ("id BIGINT, total DECIMAL(9,2) NOT NULL, note TEXT", r"not every DECIMAL\(10,2\) in total"),
        ("id BIGINT, total TEXT NOT NULL, note TEXT", "not every DECIMAL"),
        ("id BIGINT, total DECIMAL(10,2) NOT NULL, note TEXT NOT NULL", "may hold NULL in note"),
        (
            "id BIGINT, total DECIMAL(10,2) NOT NULL, note TEXT, more TEXT NOT NULL",
            "rows in the log have no more",
        ),
    ],
)
def test_what_is_not_safe_is_refused_with_the_reason(folder: Path, columns: str, why: str) -> None:
    app = hr.App("shop")
    app.stream("orders", columns, event_id="id")
    text = refused(folder, app)
    assert re.search(why, text), text


def test_views_that_read_a_column_that_goes_are_named(folder: Path) -> None:
    def app(columns: str, **options: Any) -> hr.App:
        made = hr.App("shop")
        made.stream("orders", columns, event_id="id", **options)
        made.view("gmv", "SELECT sum(total) AS gmv FROM orders")
        made.view("notes", "SELECT note, count(*) AS n FROM orders GROUP BY note")
        made.view("top", "SELECT gmv FROM gmv")
        made.view("n", "SELECT count(*) AS n FROM orders")
        return made

    whole = "id BIGINT, total DECIMAL(10,2) NOT NULL, note TEXT"
    with opened(app(whole), folder, on_change="apply") as run:
        for columns, options in (
            ("id BIGINT", {}),
            ("id BIGINT, t DECIMAL(10,2) NOT NULL", {"renamed": {"total": "t"}}),
        ):
            with pytest.raises(hr.errors.ChangeFailed, match="read by gmv, notes"):
                run.plan(app(columns, **options))


def test_a_name_that_meant_something_else_is_not_given_out_again(folder: Path) -> None:
    def app(columns: str, **options: Any) -> hr.App:
        made = hr.App("shop")
        made.stream("orders", columns, event_id="id", **options)
        return made

    now = app("id BIGINT, amount DECIMAL(10,2) NOT NULL", renamed={"total": "amount"})
    with opened(now, folder, on_change="apply") as run:
        with pytest.raises(hr.errors.ChangeFailed, match="hold amount under the name total"):
            run.apply(app("id BIGINT, amount DECIMAL(10,2) NOT NULL, total DECIMAL(10,2)"))
        with pytest.raises(hr.errors.ChangeFailed, match="hold a VARCHAR under the name note"):
            run.apply(app("id BIGINT, amount DECIMAL(10,2) NOT NULL, note INTEGER"))
        run.append("orders", [{"id": 3, "total": "1.00"}])
        run.apply(app("id BIGINT, amount DECIMAL(10,2) NOT NULL, note TEXT"))
        assert run.append("orders", [{"id": 4, "total": "1.00"}]).rejected == 1, "no longer declared"
        run.advance()
        assert asked(run, "SELECT id, note, amount FROM orders ORDER BY id") == [
            (1, "x", Decimal("5.00")), (2, None, Decimal("6.50")), (3, None, Decimal("1.00")),
        ]  # fmt: skip
        run.rollback()
        run.apply(before())
        assert asked(run, "SELECT id, total, note FROM orders ORDER BY id")[0] == (1, Decimal("5.00"), "x")
    with opened(before(), folder) as run:
        assert len(asked(run, "SELECT total FROM orders")) == 3


def test_followers_of_a_table_are_told_that_its_columns_change(folder: Path) -> None:
    with opened(before(), folder) as run:
        version = run.version
        run.apply(after())
        with pytest.raises(hr.errors.HeadraceError):
            list(run.changes("plans", since=version))
        rows = next(iter(run.changes("plans")))
        assert rows.schema.names == ["id", "plan", "at", "seq", "note", "_weight", "_version"]


@pytest.mark.parametrize(
    ("old", "new", "is_safe"),
    [
        ("INTEGER", "BIGINT", True), ("BIGINT", "INTEGER", False), ("UINTEGER", "BIGINT", True),
        ("UINTEGER", "INTEGER", False), ("INTEGER", "UBIGINT", False), ("INTEGER", "DECIMAL(12,2)", True),
        ("INTEGER", "DECIMAL(11,2)", False), ("DECIMAL(10,2)", "DECIMAL(12,4)", True),
        ("DECIMAL(10,2)", "DECIMAL(12,5)", False), ("DECIMAL(10,2)", "DECIMAL(10,1)", False),
        ("FLOAT", "DOUBLE", True), ("INTEGER", "DOUBLE", False), ("DATE", "TIMESTAMP", True),
        ("INTEGER", "VARCHAR", False), ("VARCHAR", "VARCHAR", True),
    ],
)  # fmt: skip
def test_what_widens(old: str, new: str, is_safe: bool) -> None:
    assert widens(old, new) is is_safe


def test_a_crash_leaves_the_old_columns_or_the_new_ones(folder: Path, tmp_path: Path) -> None:
    copies: dict[str, Path] = {}

    def copied(point: str) -> None:
        if point.startswith("definitions"):
            copies[point] = tmp_path / point
            killed(folder, copies[point])

    with opened(before(), folder) as run:
        change = run.apply(after(), preview=True)
        copied("definitions built")
        points.listen(copied)
        try:
            change.switch()
        finally:
            points.listen(None)
        run.append("orders", [{"id": 3, "total": "2.00"}])
        seen = looked_at(run)
    with opened(before(), copies.pop("definitions built")) as run:
        assert asked(run, "SELECT total FROM orders ORDER BY id") == [(Decimal("5.00"),), (Decimal("6.50"),)]
    assert set(copies) == {"definitions declared", "definitions exchanged", "definitions shown"}
    for copy in copies.values():
        with opened(after(), copy) as run:
            assert run.append(
                "orders", [{"id": 1, "total": "5"}, {"id": 3, "total": "2"}]
            ).statuses.tolist() == [1, 0]
            assert looked_at(run) == seen


class Shaped:
    """A stream and a table whose columns change at random, and in plain Python what they hold."""

    widths = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "DECIMAL(21,2)", "DECIMAL(30,5)")

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.columns: dict[str, int] = {"a": 0}
        self.names: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = []
        self.made = 1

    def app(self) -> hr.App:
        app = hr.App("shaped")
        columns = ", ".join(f"{name} {self.widths[width]}" for name, width in self.columns.items())
        app.stream("s", f"id BIGINT, {columns}", event_id="id", renamed=self.names)
        app.table(
            "t", f"id BIGINT, {columns}, at TIMESTAMP", key="id", effective="at", sequence="id",
            renamed=self.names,
        )  # fmt: skip
        app.view("n", "SELECT count(*) AS n FROM s")
        app.view("whole", "SELECT * FROM s")
        return app

    def change(self) -> None:
        """Add, widen, rename or drop a column, or some of it at once."""
        for what in self.chance.sample(["add", "widen", "rename", "drop"], self.chance.choice([1, 1, 2])):
            name = self.chance.choice(list(self.columns))
            self.made += 1
            if what == "add":
                self.columns[f"c{self.made}"] = self.chance.randrange(4)
                self.rows = [row | {f"c{self.made}": None} for row in self.rows]
            elif what == "widen":
                self.columns[name] = min(self.columns[name] + self.chance.randint(1, 3), len(self.widths) - 1)
            elif what == "rename":
                new = f"r{self.made}"
                self.names = {old: new if now == name else now for old, now in self.names.items()} | {
                    name: new
                }
                self.columns = {new if one == name else one: width for one, width in self.columns.items()}
                self.rows = [
                    {new if one == name else one: value for one, value in row.items()} for row in self.rows
                ]
            elif len(self.columns) > 1:
                del self.columns[name]
                self.names = {old: now for old, now in self.names.items() if now != name}
                self.rows = [{one: value for one, value in row.items() if one != name} for row in self.rows]

    def send(self, run: Any) -> None:
        """Send new rows, under former names here and there, and some again."""
        former = {now: old for old, now in self.names.items()}
        new: Rows = [
            {"id": len(self.rows) + at, **{name: self.chance.choice([None, 1, 127]) for name in self.columns}}
            for at in range(self.chance.randint(1, 4))
        ]
        sent = [
            {
                former.get(name, name) if self.chance.random() < 0.3 else name: value
                for name, value in row.items()
            }
            for row in new
        ]
        again = [self.chance.choice(self.rows)] if self.rows else []
        expected = [0] * len(new) + [1] * len(again)
        assert run.append("s", sent + again).statuses.tolist() == expected
        timed = [row | {"at": "2026-01-01"} for row in sent + again]
        assert run.upsert("t", timed).statuses.tolist() == expected
        self.rows += new

    def check(self, run: Any) -> None:
        run.advance()
        names = ["id", *self.columns]
        wanted = sorted(
            ([row[name] for name in names] for row in self.rows), key=lambda row: int(row[0] or 0)
        )
        for relation in ("s", "whole", "t", "t__history"):
            listed = ", ".join(names)
            assert [list(row) for row in asked(run, f"SELECT {listed} FROM {relation} ORDER BY id")] == wanted
        assert asked(run, "SELECT n FROM n") == [(len(self.rows),)]


@pytest.mark.parametrize("seed", range(4))
def test_columns_that_change_at_random(seed: int, tmp_path: Path) -> None:
    shaped = Shaped(seed)
    run = opened(shaped.app(), tmp_path)
    for _ in range(6):
        shaped.send(run)
        shaped.check(run)
        shaped.change()
        if shaped.chance.random() < 0.5:
            run.apply(shaped.app())
        else:
            if shaped.chance.random() < 0.5:
                run.checkpoint()
            run.close()
            run = opened(shaped.app(), tmp_path, on_change="apply")
        shaped.check(run)
    run.close()
    with opened(shaped.app(), tmp_path) as run:
        shaped.check(run)
        shaped.send(run)
        shaped.check(run)


def test_rows_that_come_during_the_switch_are_all_there(tmp_path: Path) -> None:
    shaped, ended = Shaped(0), threading.Event()
    run = opened(shaped.app(), tmp_path, auto=True)
    accepted: list[int] = []

    def sending(name: str) -> None:
        number = 0
        while not ended.is_set():
            rows = [{"id": number + at, name: 1} for at in range(5)]
            accepted.append(run.append("s", rows).accepted + run.upsert("t", [
                row | {"at": "2026-01-01"} for row in rows
            ]).accepted)  # fmt: skip
            number += 5

    def asking() -> None:
        while not ended.is_set():
            found = run.query("SELECT * FROM t__history")
            assert found.schema.names[0] == "id"

    shaped.columns, shaped.names = {"b": 1}, {"a": "b"}
    threads = [threading.Thread(target=sending, args=("a",)), threading.Thread(target=asking)]
    for thread in threads:
        thread.start()
    for width in (2, 3):
        run.apply(shaped.app())
        shaped.columns = {"b": width}
    ended.set()
    for thread in threads:
        thread.join()
    run.advance()
    total = sum(accepted) // 2
    assert total > 0
    for relation in ("s", "t", "t__history", "whole"):
        assert asked(run, f"SELECT count(*), count(b) FROM {relation}") == [(total, total)]
    run.close()
    shaped.columns = {"b": 2}
    with opened(shaped.app(), tmp_path) as run:
        assert asked(run, "SELECT count(b), min(b) FROM t") == [(total, 1)]
