"""Why a view differs between two moments: every cause by itself, and all of them against arithmetic by hand.

A shop sells in two currencies. Between the two moments come orders of before and after, corrected rates,
moved shops, deleted rows, time, and other definitions. What each cause moved is computed by hand from the
rows; that all causes add up to the whole is checked on every answer, row by row, also in random histories:
the whole is told by two reads.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headrace as hr
from headrace.errors import DeclarationError
from headrace.testing import ManualClock

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)
GROSS = (
    "SELECT shop, sum(amount * rate) AS turnover, count(*) AS n FROM orders JOIN rates USING (currency) "
    "WHERE amount > 0 GROUP BY shop"
)
NET = GROSS.replace("WHERE amount > 0 ", "")
COUNTRIES = "SELECT country, sum(turnover) AS turnover FROM turnover JOIN shops USING (shop) GROUP BY country"


def app(turnover: str = GROSS) -> hr.App:
    shop = hr.App("shop")
    shop.stream(
        "orders", "id BIGINT, shop TEXT, currency TEXT, amount DECIMAL(18,2), placed TIMESTAMP",
        event_time="placed", lateness="7d",
    )  # fmt: skip
    shop.table("rates", "currency TEXT, rate DECIMAL(9,4)", key="currency")
    shop.table("shops", "shop TEXT, country TEXT", key="shop")
    shop.table("notes", "text TEXT", key=None)
    shop.view("turnover", turnover)
    shop.view("countries", COUNTRIES)
    shop.view("recent", "SELECT id, amount FROM orders WHERE placed > now() - INTERVAL 2 HOUR")
    return shop


def order(number: int, shop: str, currency: str, amount: int, hours: float) -> dict[str, Any]:
    at = NINE + timedelta(hours=hours)
    return {"id": number, "shop": shop, "currency": currency, "amount": amount, "placed": at}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NINE)


@pytest.fixture
def run(clock: ManualClock) -> Iterator[hr.Run]:
    with app().open(None, clock=clock) as run:
        run.upsert("rates", [{"currency": "EUR", "rate": 1}, {"currency": "USD", "rate": "0.9"}])
        run.upsert("shops", [{"shop": "a", "country": "DK"}, {"shop": "b", "country": "PT"}])
        run.append("orders", [order(1, "a", "EUR", 100, -1), order(2, "b", "USD", 50, -1.5)])
        run.append("orders", [order(3, "a", "EUR", -30, -1)])
        run.advance()
        clock.advance(timedelta(hours=3))
        yield run


def moved(found: hr.Difference, column: str) -> dict[str, Any]:
    return {total.cause: total.sums[column] for total in found.totals}


def added_up(run: hr.Run, found: hr.Difference) -> None:
    """All causes lead from the rows of the first moment to those of the second."""
    if {name for name in found.table.column_names if name.endswith("__before")}:
        return
    counts: Counter[str] = Counter()
    names = [name for name in found.table.column_names if not name.startswith("_")]

    def key(row: dict[str, Any]) -> str:
        return repr([row.get(name) for name in names])

    for row in run.query(f"FROM {found.view}", as_of=found.since).to_pylist():
        counts[key(row)] += 1
    for row in found.table.to_pylist():
        counts[key(row)] += row["_weight"]
    want = Counter(key(row) for row in run.query(f"FROM {found.view}", as_of=found.until).to_pylist())
    assert {row: count for row, count in counts.items() if count} == want
    for name, value in found.whole.sums.items():
        assert sum((total.sums[name] for total in found.totals), 0) == value


def test_each_cause_moves_what_it_moves_by_hand(run: hr.Run) -> None:
    since = run.version
    run.append("orders", [order(4, "a", "USD", 10, -2), order(5, "b", "USD", 100, 1)])
    run.upsert("rates", [{"currency": "USD", "rate": "0.8"}])
    run.advance()
    found = run.difference("turnover", since)
    assert moved(found, "turnover") == {
        "late data": Decimal("9.000000"),  # 10 at 0.9
        "correction": Decimal("-6.000000"),  # 50 and 10 at 0.8 and not 0.9
        "new data": Decimal("80.000000"),  # 100 at 0.8
    }
    assert found.whole.sums == {"turnover": Decimal("83.000000"), "n": 2}
    assert found.rows_played == 4
    added_up(run, found)
    assert "late data: 1 rows come, 1 go; turnover +9.000000" in found.text()


def test_the_rows_behind_late_data_and_corrections_are_told_with_their_commits(run: hr.Run) -> None:
    since = run.version
    late = run.append("orders", [order(4, "a", "USD", 10, -2), order(5, "b", "USD", 100, 1)])
    moved_shop = run.upsert("shops", [{"shop": "b", "country": "DK"}])
    run.upsert("shops", [{"shop": "c", "country": "SE"}])
    run.advance()
    found = run.difference("countries", since)
    assert found.inputs.keys() == {"orders", "shops"}
    [row] = found.inputs["orders"].to_pylist()
    assert (row["_cause"], row["_commit"], row["_weight"], row["id"]) == ("late data", late.commit, 1, 4)
    rows = found.inputs["shops"].to_pylist()
    assert {(row["_cause"], row["_commit"]) for row in rows} == {("correction", moved_shop.commit)}
    assert sorted((row["country"], row["_weight"]) for row in rows) == [("DK", 1), ("PT", -1)]
    added_up(run, found)


def test_a_caller_names_causes_by_relation(run: hr.Run) -> None:
    since = run.version
    run.append("orders", [order(4, "a", "USD", 10, -2)])
    run.upsert("rates", [{"currency": "USD", "rate": "0.8"}])
    run.upsert("shops", [{"shop": "b", "country": "DK"}])
    run.advance()
    found = run.difference("countries", since, causes={"exchange rate": ["rates"], "moves": "shops"})
    assert list(moved(found, "turnover")) == ["late data", "exchange rate", "moves"]
    assert moved(found, "turnover")["exchange rate"] == Decimal("-6.000000")
    assert moved(found, "turnover")["moves"] == 0
    added_up(run, found)


def test_what_came_and_went_has_no_cause(run: hr.Run) -> None:
    since = run.version
    run.upsert("rates", [{"currency": "USD", "rate": "0.5"}])
    run.advance()
    run.upsert("rates", [{"currency": "USD", "rate": "0.9"}])
    run.upsert("shops", [{"shop": "z", "country": "SE"}])
    run.delete("shops", [{"shop": "z"}])
    run.advance()
    found = run.difference("countries", since)
    assert found.totals == ()
    assert found.table.num_rows == 0
    assert found.inputs == {}
    assert found.whole.rows_come == 0


def test_deletions_are_corrections_and_a_table_tells_its_own(run: hr.Run) -> None:
    since = run.version
    run.delete("shops", [{"shop": "b"}])
    run.upsert("shops", [{"shop": "c", "country": "SE"}])
    run.upsert("notes", [{"text": "x"}])
    run.advance()
    for name in ("shops", "countries"):
        found = run.difference(name, since)
        added_up(run, found)
        assert "correction" in {total.cause for total in found.totals}
    found = run.difference("shops", since)
    assert {total.cause: (total.rows_come, total.rows_gone) for total in found.totals} == {
        "correction": (0, 1), "new data": (1, 0),
    }  # fmt: skip
    assert [total.cause for total in run.difference("notes", since).totals] == ["new data"]
    added_up(run, run.difference("orders", since))


def test_the_definition_comes_last(run: hr.Run) -> None:
    since = run.version
    run.append("orders", [order(4, "a", "EUR", -5, -2), order(5, "b", "USD", 100, 1)])
    run.advance()
    run.apply(app(NET))
    run.append("orders", [order(6, "b", "EUR", 1, 2)])
    until = run.advance()
    found = run.difference("turnover", since, until)
    assert moved(found, "turnover") == {
        "new data": Decimal("91.000000"), "definition": Decimal("-35.000000"),
    }  # fmt: skip
    added_up(run, found)
    assert moved(run.difference("countries", since), "turnover")["definition"] == Decimal("-35.000000")
    later = run.difference("turnover", since=until.number - 1, until=until)
    assert [total.cause for total in later.totals] == ["late data"]  # it is noon there


def test_where_columns_changed_the_rows_have_the_columns_of_both(run: hr.Run) -> None:
    since = run.version
    run.append("orders", [order(5, "b", "USD", 100, 1)])
    run.advance()
    run.apply(app(NET.replace("count(*) AS n", "count(*)::TEXT AS n, min(amount) AS least")))
    found = run.difference("turnover", since)
    assert found.table.column_names == ["_cause", "_weight", "shop", "turnover", "n", "least", "n__before"]
    assert moved(found, "turnover") == {"new data": 90, "definition": -30}
    for row in found.table.to_pylist():
        assert (row["n"] is None) != (row["n__before"] is None)


def test_time_is_a_cause_of_its_own(run: hr.Run, clock: ManualClock) -> None:
    since = run.version
    run.append("orders", [order(4, "a", "USD", 10, -0.5), order(5, "b", "USD", 100, 2)])
    until = run.advance()
    assert [row["id"] for row in run.query("FROM recent").to_pylist()] == [5]
    found = run.difference("recent", since, until)
    added_up(run, found)
    assert moved(found, "id") == {"late data": 4, "new data": 5, "time": -(1 + 2 + 3 + 4)}


def test_late_means_the_moment_that_was_asked_for(run: hr.Run) -> None:
    run.append("orders", [order(4, "a", "EUR", 10, 1)])
    run.advance()
    assert list(moved(run.difference("turnover", NINE + timedelta(hours=2)), "n")) == ["late data"]
    assert list(moved(run.difference("turnover", NINE), "n")) == ["new data"]
    assert list(moved(run.difference("turnover", "2026-01-05T11:00:00+01:00"), "n")) == ["late data"]


def test_versions_of_a_row_are_late_corrections_or_new() -> None:
    plans = hr.App("plans")
    plans.table(
        "plans", "customer TEXT, plan BIGINT, since TIMESTAMP, seq BIGINT", key="customer",
        effective="since", sequence="seq",
    )  # fmt: skip
    plans.view("mrr", "SELECT sum(plan) AS mrr FROM plans")
    plans.view("starts", "SELECT customer, plan, valid_from FROM plans__history")
    clock = ManualClock(NINE)

    def version(customer: str, plan: int, hours: float, seq: int) -> dict[str, Any]:
        return {"customer": customer, "plan": plan, "since": NINE + timedelta(hours=hours), "seq": seq}

    with plans.open(None, clock=clock) as run:
        run.upsert("plans", [version(c, 10, -5, 1) for c in "abcd"])
        since = run.advance()
        clock.advance(timedelta(hours=3))
        run.upsert("plans", [version("a", 11, -1, 2), version("b", 12, -5, 2)])  # backdated; said again
        run.upsert("plans", [version("c", 13, 2, 2), version("e", 14, -2, 1), version("f", 15, 1, 1)])
        run.advance()
        assert moved(run.difference("mrr", since), "mrr") == {
            "late data": 1 + 14, "correction": 2, "new data": 3 + 15
        }  # fmt: skip
        found = run.difference("starts", since)
        added_up(run, found)
        assert moved(found, "plan") == {"late data": 11 + 14, "correction": 12, "new data": 13 + 15}


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("nothing", 1), hr.UnknownName),
        (("turnover", 99), hr.VersionAhead),
        (("turnover", 1, 0), DeclarationError),
        (("turnover", 0, None, {"x": ["nothing"]}), hr.UnknownName),
        (("turnover", 0, None, {"time": ["rates"]}), DeclarationError),
        (("turnover", "yesterday"), hr.HeadraceError),
    ],
)
def test_mistakes_are_told(run: hr.Run, arguments: tuple[Any, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        run.difference(*arguments)


def test_it_is_told_as_json_values_too(run: hr.Run) -> None:
    since = run.version
    run.append("orders", [order(4, "a", "USD", 10, -2), order(5, "b", "USD", 100, 1)])
    run.advance()
    told = run.difference("turnover", since).as_dict()
    assert [total["cause"] for total in told["totals"]] == ["late data", "new data"]
    assert told["whole"]["sums"] == {"turnover": "99.000000", "n": "2"}
    assert told["inputs"]["orders"][0]["_cause"] == "late data"


@pytest.mark.parametrize("seed", range(4))
def test_random_histories_add_up_also_after_a_restart(tmp_path: Path, seed: int) -> None:
    chance, clock = random.Random(seed), ManualClock(NINE)
    moments: list[int] = []
    definition = GROSS
    number = 0
    for _ in range(2):
        with app(definition).open(tmp_path, clock=clock) as run:
            for _ in range(10):
                clock.advance(timedelta(minutes=chance.randrange(60)))
                for _ in range(chance.randrange(1, 4)):
                    number += 1
                    hours = (clock() - NINE) / timedelta(hours=1) + chance.uniform(-4, 0.5)
                    amount = chance.randrange(-9, 30)
                    run.append("orders", [order(number, chance.choice("abc"), "EUR", amount, hours)])
                if chance.random() < 0.5:
                    run.upsert("rates", [{"currency": "EUR", "rate": chance.randrange(1, 5)}])
                if chance.random() < 0.5:
                    country = chance.choice(["DK", "PT", "SE"])
                    run.upsert("shops", [{"shop": chance.choice("abc"), "country": country}])
                if chance.random() < 0.1:
                    definition = NET if definition == GROSS else GROSS
                    run.apply(app(definition), share=1.0)
                moments.append(run.advance().number)
            for _ in range(4):
                since, until = sorted(chance.sample(moments, 2))
                for view in ("turnover", "countries", "recent", "shops", "orders"):
                    causes = {"rate": ["rates"]} if chance.random() < 0.5 else None
                    added_up(run, run.difference(view, since, until, causes))


def test_one_tenants_difference_is_told_from_its_own_rows(run: hr.Run, clock: ManualClock) -> None:
    since = run.version
    run.append("orders", [order(4, "a", "EUR", 7, -2), order(5, "b", "USD", 1000, -2)])
    run.upsert("rates", [{"currency": "USD", "rate": "0.5"}])
    run.append("orders", [order(6, "a", "USD", 10, 2)])
    run.advance()
    whole = run.difference("turnover", since)
    found = run.difference("turnover", since, where={"SHOP": "a"})
    assert set(found.table.column("shop").to_pylist()) == {"a"}
    assert moved(found, "turnover") == {"late data": 7, "new data": 5}
    rows = [row for row in whole.table.to_pylist() if row["shop"] == "a"]
    assert sum(row["_weight"] * row["turnover"] for row in rows) == found.whole.sums["turnover"] == 12
    assert 0 < found.rows_played < whole.rows_played
    assert [row["id"] for row in found.inputs["orders"].to_pylist()] == [4]
    assert run.difference("turnover", since, where={"shop": "nobody"}).table.num_rows == 0


def test_a_part_is_told_by_columns_that_the_view_has(run: hr.Run) -> None:
    with pytest.raises(DeclarationError, match="has no column 'currency'"):
        run.difference("turnover", run.version, where={"currency": "EUR"})


def test_a_moment_before_the_first_version_had_nothing(clock: ManualClock) -> None:
    with app().open(None, clock=clock) as run:
        run.upsert("rates", [{"currency": "EUR", "rate": 1}])
        run.append("orders", [order(1, "a", "EUR", 100, -1), order(2, "a", "EUR", 10, 0.5)])
        run.advance()
        run.upsert("rates", [{"currency": "EUR", "rate": 2}])
        run.advance()
        for view in ("turnover", "recent"):
            found = run.difference(view, 0, causes={"exchange rate": ["rates"]})
            added_up(run, found)
        found = run.difference("turnover", 0, causes={"exchange rate": ["rates"]})
        assert found.whole.sums["turnover"] == 220
        assert run.difference("turnover", "2020-01-01").whole.sums["turnover"] == 220
