"""A change of definitions, seen from outside: answers are wholly old or wholly new, and both are right.

The shop below keeps a turnover in which refunds count or do not: the setting that two teams never agree on. A
view that reads it (`best`) and one that does not (`orders_by_day`) stand for the two kinds of neighbours.
What a switch must never show is a version where `turnover` is new and `best` is old; the hammer test looks
for that.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headrace as hr
from headrace.change import VERSION, WEIGHT
from headrace.definitions.difference import ColumnSums, ViewDifference
from headrace.definitions.intent import Intent, IntentFile
from headrace.testing import ManualClock

GROSS = "SELECT shop, sum(amount) AS amount FROM orders WHERE amount > 0 GROUP BY shop"
NET = "SELECT shop, sum(amount) AS amount FROM orders GROUP BY shop"


def shop(turnover: str = GROSS, **more: str) -> hr.App:
    app = hr.App("shop")
    app.stream("orders", "shop TEXT, amount DECIMAL(18,2)")
    app.table("shops", "shop TEXT, country TEXT", key="shop")
    app.view("turnover", turnover)
    app.view("best", "SELECT max(amount) AS amount, count(*) AS shops FROM turnover")
    app.view("counted", "SELECT count(*) AS orders FROM orders")
    for name, sql in more.items():
        app.view(name, sql)
    return app


def rows(*amounts: int) -> list[dict[str, Any]]:
    return [{"shop": f"s{n % 3}", "amount": amount} for n, amount in enumerate(amounts)]


@pytest.fixture
def run() -> Iterator[hr.Run]:
    with shop().open(None) as run:
        run.append("orders", rows(10, 20, 30, -5, -6, -7))
        run.advance()
        yield run


def answer(run: hr.Run, view: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = run.query(f"SELECT * FROM {view} ORDER BY ALL").to_pylist()
    return rows


def summed(run: hr.Run, view: str, since: int | None) -> dict[tuple[Any, ...], int]:
    """The sum of a view's changes."""
    found: dict[tuple[Any, ...], int] = {}
    for table in run.changes(view, since=since):
        for row in table.to_pylist():
            key = tuple(value for name, value in row.items() if name not in (WEIGHT, VERSION))
            found[key] = found.get(key, 0) + row[WEIGHT]
    return {key: weight for key, weight in found.items() if weight}


def test_a_plan_says_what_is_touched_and_what_is_reused(run: hr.Run) -> None:
    plan = run.plan(shop(NET, loud="SELECT upper(shop) AS shop FROM shops"))
    assert [(item.action, item.name) for item in plan.items] == [
        ("changed", "turnover"), ("recomputed", "best"), ("added", "loud"),
    ] or [(item.action, item.name) for item in plan.items] == [
        ("changed", "turnover"), ("added", "loud"), ("recomputed", "best"),
    ]  # fmt: skip
    assert plan.reused == ("counted",)
    assert not plan.breaking
    assert plan.rows >= 6
    assert "~ view turnover: changed" in plan.text()


def test_a_plan_tells_fingerprints_and_operators(run: hr.Run) -> None:
    wanted = shop("SELECT shop, sum(amount) AS amount, 1 AS one FROM orders WHERE amount > 0 GROUP BY shop")
    plan = run.plan(wanted)
    found = {item["name"]: item for item in plan.as_dict()["items"]}
    turnover = found["turnover"]
    assert [(one["name"], one["reused"]) for one in turnover["operators"]] == [
        ("scan", True), ("filter", True), ("aggregate", True), ("project", False),
    ]  # fmt: skip
    assert turnover["before"] != turnover["fingerprint"]
    assert found["best"]["before"] == found["best"]["fingerprint"]
    assert not any(one["reused"] for one in found["best"]["operators"])
    assert found["best"]["rows"] == 3
    prints = plan.as_dict()["fingerprints"]
    assert prints.keys() == {"turnover", "best", "counted"}
    assert prints["counted"] == run.plan(shop(NET)).fingerprints["counted"]
    text = plan.text()
    assert f"fingerprint {turnover['before']} → {turnover['fingerprint']}" in text
    assert "reuses scan, filter, aggregate" in text
    assert f"go on: counted {prints['counted']}" in text


def test_what_a_view_will_hold_is_told_from_what_it_holds(run: hr.Run) -> None:
    few = run.plan(shop(NET))
    assert few.bytes == sum(item.rows for item in few.items) * 200  # nothing is known yet
    run.append("orders", [{"shop": f"s{n}", "amount": 1} for n in range(20_000)])
    run.advance()
    plan = run.plan(shop(NET))
    held = run._engine.state_bytes("turnover") + run._engine.state_bytes("best")
    assert held * 0.9 < plan.bytes < held * 1.1
    assert plan.seconds is not None
    assert plan.seconds > 0


def test_changes_of_a_stream_are_refused_in_words(run: hr.Run) -> None:
    with pytest.raises(hr.UnknownName, match="is a stream: its rows only come"):
        next(iter(run.changes("orders")))


def test_layout_is_no_change(run: hr.Run) -> None:
    assert run.plan(
        shop("select  shop, SUM(amount) as amount\nfrom orders where amount > 0 group by shop")
    ).is_empty


def test_a_column_that_goes_is_breaking(run: hr.Run) -> None:
    plan = run.plan(shop("SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY shop"))
    assert not plan.breaking
    run.apply(shop("SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY shop"))
    assert run.plan(shop()).breaking


def test_a_change_is_switched_in_one_version_and_followers_get_the_difference(run: hr.Run) -> None:
    before = run.version
    change = run.apply(shop(NET))
    assert change.state == "switched"
    assert run.version.number == before.number + 1
    assert answer(run, "turnover") == [
        {"shop": "s0", "amount": Decimal("5.00")}, {"shop": "s1", "amount": Decimal("14.00")},
        {"shop": "s2", "amount": Decimal("23.00")},
    ]  # fmt: skip
    assert answer(run, "best") == [{"amount": Decimal("23.00"), "shops": 3}]
    assert summed(run, "best", before.number) == {(Decimal("30.00"), 3): -1, (Decimal("23.00"), 3): 1}
    assert summed(run, "counted", before.number) == {}


def test_the_difference_names_rows_sums_and_the_largest_moves(run: hr.Run) -> None:
    change = run.apply(shop(NET))
    found = {item.name: item for item in change.difference}
    turnover = found["turnover"]
    assert (turnover.rows_old, turnover.rows_new, turnover.rows_gone, turnover.rows_come) == (3, 3, 3, 3)
    assert [(s.column, s.old, s.new) for s in turnover.sums] == [("amount", "60.00", "42.00")]
    assert turnover.largest[0]["key"] == {"shop": "s2"}
    assert turnover.largest[0]["delta"] == "-7"


def test_rows_that_come_after_the_switch_reach_the_new_definition(run: hr.Run) -> None:
    run.apply(shop(NET))
    run.append("orders", rows(100, -100))
    run.advance()
    assert answer(run, "best") == [{"amount": Decimal("105.00"), "shops": 3}]


def test_rollback_is_one_version_and_knows_what_came_meanwhile(run: hr.Run) -> None:
    run.apply(shop(NET))
    run.append("orders", rows(100, -100))
    switched = run.advance()
    assert run.rollback().number == switched.number + 1
    assert answer(run, "turnover")[0] == {"shop": "s0", "amount": Decimal("110.00")}
    assert run.change is not None
    assert run.change.state == "rolled back"
    run.append("orders", rows(1))
    run.advance()
    assert answer(run, "turnover")[0] == {"shop": "s0", "amount": Decimal("111.00")}
    with pytest.raises(hr.errors.ChangeFailed, match="nothing to go back to"):
        run.rollback()


def test_there_is_nothing_to_roll_back_at_first(run: hr.Run) -> None:
    with pytest.raises(hr.errors.ChangeFailed, match="nothing to go back to"):
        run.rollback()


def test_a_preview_can_be_read_beside_the_present_and_is_at_the_same_version(run: hr.Run) -> None:
    change = run.apply(shop(NET), preview=True)
    assert change.state == "ready"
    run.append("orders", rows(1000))
    run.advance()
    both = run.query(
        "SELECT o.amount AS old, n.amount AS new FROM turnover o JOIN turnover__new n USING (shop) "
        "WHERE shop = 's0'"
    )
    assert both.to_pylist() == [{"old": Decimal("1010.00"), "new": Decimal("1005.00")}]
    assert {info.name for info in run.relations()} >= {"turnover__new", "best__new"}
    before = run.version
    change.switch()
    assert answer(run, "turnover")[0]["amount"] == Decimal("1005.00")
    assert summed(run, "best", before.number) == {(Decimal("1010.00"), 3): -1, (Decimal("1005.00"), 3): 1}
    with pytest.raises(hr.errors.UnknownName):
        run.query("FROM turnover__new")


def test_a_cancelled_preview_leaves_no_trace(run: hr.Run) -> None:
    before = run.version
    run.apply(shop(NET), preview=True).cancel()
    assert run.version == before
    assert answer(run, "best") == [{"amount": Decimal("30.00"), "shops": 3}]
    with pytest.raises(hr.errors.UnknownName):
        run.query("FROM turnover__new")
    assert run.apply(shop(NET)).state == "switched"


def test_a_second_change_is_refused_replaces_or_waits(run: hr.Run) -> None:
    first = run.apply(shop(NET), preview=True)
    with pytest.raises(hr.errors.ChangeFailed, match="another change is ready"):
        run.apply(shop())
    second = run.apply(shop("SELECT shop, count(*) AS amount FROM orders GROUP BY shop"), on_busy="replace")
    assert first.state == "cancelled"
    assert second.state == "switched"
    assert answer(run, "best") == [{"amount": 2, "shops": 3}]


def test_a_view_that_would_have_no_answer_is_not_switched(run: hr.Run) -> None:
    with pytest.raises(hr.errors.ChangeFailed, match="s0"):
        run.apply(shop("SELECT shop, CAST(shop AS INTEGER) AS amount FROM orders"))
    assert answer(run, "best") == [{"amount": Decimal("30.00"), "shops": 3}]
    assert run.apply(shop(NET)).state == "switched"


def test_a_column_that_comes_has_had_no_sum() -> None:
    sums = (ColumnSums("customers", None, "5"), ColumnSums("amount", "0.00", "0.00"))
    told = ViewDifference("gmv", 1, 1, 1, 1, sums).text()
    assert told == "gmv: 1 rows become 1; 1 go, 1 come\n    sum of customers: nothing becomes 5"


def test_views_come_and_go(run: hr.Run) -> None:
    run.apply(shop(GROSS, big="SELECT * FROM turnover WHERE amount > 25"))
    assert answer(run, "big") == [{"shop": "s2", "amount": Decimal("30.00")}]
    run.append("orders", rows(50))
    run.advance()
    assert len(answer(run, "big")) == 2
    run.apply(shop())
    with pytest.raises(hr.errors.UnknownName):
        run.query("FROM big")


def test_a_stream_can_be_added_with_its_views(run: hr.Run) -> None:
    app = shop()
    app.stream("visits", "shop TEXT")
    app.table("limits", "shop TEXT, visits BIGINT", key="shop")
    app.view(
        "busy",
        "SELECT shop, count(*) AS n FROM visits JOIN limits USING (shop) "
        "GROUP BY shop, visits HAVING n > visits",
    )
    run.apply(app)
    run.upsert("limits", [{"shop": "s1", "visits": 1}])
    run.append("visits", [{"shop": "s1"}, {"shop": "s1"}, {"shop": "s2"}])
    run.advance()
    assert answer(run, "busy") == [{"shop": "s1", "n": 2}]


def test_columns_of_a_stream_that_holds_rows_do_not_change_unasked(run: hr.Run) -> None:
    app = hr.App("shop")
    app.stream("orders", "shop TEXT, amount DOUBLE")
    with pytest.raises(hr.errors.ChangeFailed, match="not every DECIMAL"):
        run.apply(app)


def test_a_view_with_other_columns_starts_its_followers_anew(run: hr.Run) -> None:
    before = run.version
    run.apply(shop("SELECT shop, amount, 1 AS one FROM orders"))
    with pytest.raises(hr.errors.VersionGone):
        list(run.changes("turnover", since=before))
    assert sum(summed(run, "turnover", None).values()) == 6


def test_a_changed_folder_is_refused_with_the_plan_and_applied_on_request(tmp_path: Path) -> None:
    with shop().open(tmp_path) as run:
        run.append("orders", rows(10, 20, 30, -5))
        last = run.advance()
    with pytest.raises(hr.errors.DeclarationsChanged, match="~ view turnover: changed"):
        shop(NET).open(tmp_path)
    with shop(NET).open(tmp_path, on_change="apply") as run:
        assert run.change is not None
        assert [item.name for item in run.change.difference if not item.is_same] == ["turnover"]
        assert run.version > last
        assert answer(run, "turnover")[0]["amount"] == Decimal("5.00")
    with shop(NET).open(tmp_path) as run:
        assert answer(run, "turnover")[0]["amount"] == Decimal("5.00")


def test_what_was_switched_is_there_after_a_restart_and_no_version_means_two_things(tmp_path: Path) -> None:
    with shop().open(tmp_path) as run:
        run.append("orders", rows(10, -5))
        run.advance()
        run.apply(shop(NET))
        switched = run.version
    with shop(NET).open(tmp_path) as run:
        assert run.version >= switched
        assert answer(run, "turnover")[0]["amount"] == Decimal("10.00")
        before = run.query("SELECT shop, amount FROM turnover", as_of=switched.number - 1).to_pylist()
        assert before != run.query("SELECT shop, amount FROM turnover").to_pylist()
        tables = run.changes("turnover", since=switched.number - 1)
        told = [row for table in tables for row in table.to_pylist()]
        assert {row["_version"] for row in told} == {switched.number}
        gone = [{"shop": r["shop"], "amount": r["amount"]} for r in told if r["_weight"] < 0]
        assert all(row in before for row in gone)


def test_created_views_follow_what_they_read(run: hr.Run) -> None:
    run.create_view("doubled", "SELECT shop, amount * 2 AS amount FROM turnover")
    run.apply(shop(NET))
    assert answer(run, "doubled")[0]["amount"] == Decimal("10.00")
    with pytest.raises(hr.errors.SqlError):
        run.apply(shop("SELECT shop FROM orders"))


def test_readers_never_see_a_mixture_while_rows_pour_in() -> None:
    """Turnover and best are read together at every version, while three changes and two rollbacks happen."""
    wrong: list[Any] = []
    done = threading.Event()
    with shop().open(None, auto=True) as run:

        def pour() -> None:
            number = 0
            while not done.is_set():
                number += 1
                run.append("orders", rows(number, -1, 2))

        def read() -> None:
            sql = (
                "SELECT (SELECT max(amount) FROM turnover) AS of_rows, "
                "(SELECT max(amount) FROM best) AS kept, "
                "(SELECT count(*) FROM orders) AS there, (SELECT max(orders) FROM counted) AS counted"
            )
            while not done.is_set():
                (row,) = run.query(sql).to_pylist()
                if row["of_rows"] != row["kept"] or row["there"] != row["counted"]:
                    wrong.append(row)

        threads = [threading.Thread(target=pour), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                run.apply(shop(NET), share=1)
                run.rollback()
            run.apply(shop(NET), share=1)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        run.advance()
        assert wrong == []
        expected = run.query("SELECT shop, sum(amount) AS amount FROM orders GROUP BY shop ORDER BY ALL")
        assert answer(run, "turnover") == expected.to_pylist()


def test_the_manual_clock_of_a_test_is_not_disturbed() -> None:
    clock = ManualClock()
    with shop().open(None, clock=clock) as run:
        run.append("orders", rows(1))
        run.advance()
        assert run.apply(shop(NET)).version is not None
        assert run.version.clock == clock()


# --- views created, replaced and dropped while running ------------------------------------------------


def test_creating_replacing_and_dropping_are_changes_like_any_other(run: hr.Run) -> None:
    run.create_view("doubled", "SELECT shop, amount * 2 AS amount FROM turnover")
    before = run.version
    run.replace_view("turnover", NET)
    assert run.version.number == before.number + 1
    assert summed(run, "doubled", before.number) != {}
    assert answer(run, "doubled")[0] == {"shop": "s0", "amount": Decimal("10.00")}
    run.rollback()
    assert answer(run, "doubled")[0] == {"shop": "s0", "amount": Decimal("20.00")}
    run.create_view("again", "SELECT * FROM doubled")
    with pytest.raises(hr.DeclarationError, match="read by again"):
        run.drop_view("doubled")
    run.drop_view("again")
    run.drop_view("doubled")
    assert not run.plan(shop()).items


def test_a_view_that_a_reader_no_longer_fits_is_not_replaced(run: hr.Run) -> None:
    with pytest.raises(hr.HeadraceError):
        run.replace_view("turnover", "SELECT shop FROM orders")
    assert answer(run, "best") == [{"amount": Decimal("30.00"), "shops": 3}]


def test_a_replaced_view_stays_until_the_files_are_applied_again(tmp_path: Path) -> None:
    with shop().open(tmp_path) as run:
        run.append("orders", rows(10, -4))
        run.advance()
        run.replace_view("turnover", NET)
    with shop().open(tmp_path) as run:
        assert len(answer(run, "turnover")) == 2
        assert run.plan(shop()).of("changed") == ("turnover",)
        run.apply(shop())
        assert len(answer(run, "turnover")) == 1
    with shop().open(tmp_path) as run:
        assert len(answer(run, "turnover")) == 1


# --- after a restart ----------------------------------------------------------------------------------


def test_a_rollback_after_a_restart_is_built_from_history(tmp_path: Path) -> None:
    with shop().open(tmp_path) as run:
        run.append("orders", rows(10, 20, 30, -5))
        run.advance()
        run.apply(shop(NET))
    with shop(NET).open(tmp_path) as run:
        run.append("orders", rows(1))
        run.advance()
        run.rollback()
        assert answer(run, "turnover")[0] == {"shop": "s0", "amount": Decimal("11.00")}
        assert run.change is not None
        assert run.change.state == "rolled back"
        with pytest.raises(hr.ChangeFailed, match="nothing to go back to"):
            run.rollback()
    with shop().open(tmp_path) as run:
        assert answer(run, "best") == [{"amount": Decimal("30.00"), "shops": 3}]
        with pytest.raises(hr.ChangeFailed, match="nothing to go back to"):
            run.rollback()


def test_created_views_roll_back_after_a_restart_too(tmp_path: Path) -> None:
    with shop().open(tmp_path) as run:
        run.create_view("loud", "SELECT upper(shop) AS shop FROM shops")
    with shop().open(tmp_path) as run:
        run.rollback()
        with pytest.raises(hr.UnknownName):
            run.relation("loud")


def begun(folder: Path, wanted: hr.App, *, preview: bool = False) -> None:
    """Leave the folder as a crash in the middle of building does."""
    with shop().open(folder) as run:
        run.append("orders", rows(10, 20, 30, -5))
        run.advance()
    facts = {**wanted.fingerprint(), "created": {}}
    IntentFile(folder).write(Intent(facts, "2026-01-01T00:00:00+00:00", preview=preview))


def test_an_interrupted_change_goes_on_where_the_program_still_wants_it(tmp_path: Path) -> None:
    begun(tmp_path, shop(NET))
    with shop(NET).open(tmp_path) as run:
        assert run.change is not None
        assert run.change.resumed
        run.change.wait(settled=True)
        assert run.change.as_dict()["resumed"]
        assert answer(run, "turnover")[0] == {"shop": "s0", "amount": Decimal("5.00")}
    assert IntentFile(tmp_path).read() is None


def test_an_interrupted_preview_is_a_preview_again(tmp_path: Path) -> None:
    begun(tmp_path, shop(NET), preview=True)
    with shop(NET).open(tmp_path) as run:
        assert run.change is not None
        assert run.change.wait().state == "ready"
        assert answer(run, "turnover")[0] == {"shop": "s0", "amount": Decimal("10.00")}
        assert answer(run, "turnover__new")[0] == {"shop": "s0", "amount": Decimal("5.00")}


def test_an_interrupted_change_that_nobody_wants_any_more_is_undone(tmp_path: Path) -> None:
    begun(tmp_path, shop(NET))
    with shop().open(tmp_path) as run:
        assert run.change is None
        assert run.undone is not None
        assert "is undone" in run.undone
    assert IntentFile(tmp_path).read() is None
    with shop().open(tmp_path) as run:
        assert run.undone is None


def test_a_third_definition_is_refused_though_a_change_was_interrupted(tmp_path: Path) -> None:
    begun(tmp_path, shop(NET))
    with pytest.raises(hr.DeclarationsChanged):
        shop("SELECT shop, max(amount) AS amount FROM orders GROUP BY shop").open(tmp_path)
    with shop(NET).open(tmp_path) as run:
        assert run.change is not None


def test_a_note_that_is_torn_undoes_the_change(tmp_path: Path) -> None:
    begun(tmp_path, shop(NET))
    (tmp_path / "change.json").write_bytes(b'{"declarations": {')
    with shop().open(tmp_path) as run:
        assert run.change is None


def test_a_view_that_refreshes_apart_is_changed_too(tmp_path: Path) -> None:
    def paced(least: int) -> hr.App:
        app = shop()
        app.view("median", f"SELECT median(amount) AS m FROM orders WHERE amount > {least}", refresh="1s")
        return app

    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))

    def later(run: hr.Run, *amounts: int) -> list[dict[str, Any]]:
        clock.advance(timedelta(seconds=2))
        run.append("orders", rows(*amounts))
        run.advance()
        return answer(run, "median")

    with paced(0).open(tmp_path, clock=clock) as run:
        assert later(run, 10, 20, 30) == [{"m": 20.0}]
        run.apply(paced(15))
        assert answer(run, "median") == [{"m": 25.0}]
        assert later(run, 40) == [{"m": 30.0}]
        run.rollback()
        assert later(run, 50) == [{"m": 30.0}]
        run.apply(paced(15))
    with paced(15).open(tmp_path, clock=clock) as run:
        assert later(run, 60) == [{"m": 40.0}]


# --- what is taken over -------------------------------------------------------------------------------

STATS = (
    "SELECT shop, min(amount) AS low, max(amount) AS high, count(DISTINCT amount) AS n FROM orders GROUP BY 1"
)
SHOPS = "SELECT DISTINCT shop, amount > 0 AS good FROM orders"
TAKES_OVER = [
    (GROSS, GROSS + " HAVING sum(amount) > 15"),
    (GROSS, "SELECT shop, sum(amount) * 2 AS amount, 1 AS one FROM orders WHERE amount > 0 GROUP BY shop"),
    (GROSS, "SELECT round(sum(amount)) AS whole, shop FROM orders WHERE amount > 0 GROUP BY shop"),
    (GROSS, f"SELECT t.shop, t.amount, s.country FROM ({GROSS}) t JOIN shops s ON s.shop = t.shop"),
    (STATS, f"SELECT shop, high - low AS span, n FROM ({STATS}) WHERE n > 1"),
    (SHOPS, f"SELECT good, count(*) AS n FROM ({SHOPS}) GROUP BY good"),
]


@pytest.mark.parametrize(("before", "turnover"), TAKES_OVER)
def test_what_computes_the_same_is_taken_over_and_goes_on(
    before: str, turnover: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of `orders` is read again, and what comes afterwards, retractions too, is right."""
    app = shop(turnover)
    app._views.pop("best")
    old = shop(before)
    old._views.pop("best")
    with old.open(None) as run:
        run.append("orders", rows(10, 20, 30, -5, -6, 7))
        run.upsert("shops", [{"shop": "s1", "country": "DK"}])
        run.advance()
        read: list[str] = []
        logged = type(run)._logged

        def noted(self: hr.Run, relation: str, commit: int) -> Any:
            read.append(relation)
            return logged(self, relation, commit)

        monkeypatch.setattr(type(run), "_logged", noted)
        plan = run.plan(app)
        change = run.apply(app)
        assert "orders" not in read
        assert "keeps the state of" in plan.text()
        for step in (rows(1, -2, 3), rows(-40, 50), rows(9, 9, 9, 9)):
            run.append("orders", step)
            run.upsert("shops", [{"shop": "s0", "country": "SE"}])
            run.advance()
            asked = run.query(f"SELECT * FROM ({turnover}) ORDER BY ALL").to_pylist()
            assert answer(run, "turnover") == asked
        assert change.state == "switched"
        run.rollback()
        asked = run.query(f"SELECT * FROM ({before}) ORDER BY ALL").to_pylist()
        assert answer(run, "turnover") == asked


def test_nothing_is_taken_over_that_reads_what_has_changed(run: hr.Run) -> None:
    wanted = shop(NET)
    wanted._views.pop("best")
    wanted.view("best", "SELECT max(amount) AS amount, count(*) + 1 AS shops FROM turnover")
    run.apply(wanted)
    assert answer(run, "best") == [{"amount": Decimal("23.00"), "shops": 4}]


def test_what_was_taken_over_stands_in_checkpoints(tmp_path: Path) -> None:
    having = GROSS + " HAVING sum(amount) > 15"
    with shop().open(tmp_path) as run:
        run.append("orders", rows(10, 20, 30))
        run.advance()
        run.apply(shop(having))
        run.checkpoint()
    with shop(having).open(tmp_path) as run:
        run.append("orders", rows(10, -20, 1))
        run.advance()
        asked = run.query(f"SELECT * FROM ({having}) ORDER BY ALL").to_pylist()
        assert answer(run, "turnover") == asked
        run.rollback()
        asked = run.query(f"SELECT * FROM ({GROSS}) ORDER BY ALL").to_pylist()
        assert answer(run, "turnover") == asked
