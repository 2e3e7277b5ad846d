"""Why a figure is another one today: the causes add up to the cent, and each is what happened."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.app import app
from headrace.solutions.billing.why import why
from headrace.testing import ManualClock

JAN = datetime(2026, 1, 1, tzinfo=UTC)
DAY = date(2026, 1, 31)


def subscribed(run: hr.Run, name: str, price: str, at: datetime, quantity: int = 1) -> None:
    """A customer with one subscription of one item."""
    own = {"merchant_id": "m", "valid_at": at, "seq": 1}
    run.upsert("customers", [{**own, "customer_id": name}])
    subscription = {
        "subscription_id": f"s_{name}",
        "customer_id": name,
        "status": "active",
        "currency": "usd",
    }
    run.upsert("subscriptions", [{**own, **subscription, "start_at": at}])
    item = {"item_id": f"i_{name}", "subscription_id": f"s_{name}", "price_id": price, "quantity": quantity}
    run.upsert("subscription_items", [{**own, **item}])


def priced(run: hr.Run, name: str, currency: str, amount: int) -> None:
    own = {"merchant_id": "m", "valid_at": JAN, "seq": 1}
    run.upsert(
        "prices", [{**own, "price_id": name, "product_id": "p", "currency": currency, "unit_amount": amount}]
    )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 2, 1, 9, tzinfo=UTC))


@pytest.fixture
def run(clock: ManualClock) -> Iterator[hr.Run]:
    with app.open(None, clock=clock) as opened:
        opened.upsert("merchants", [{"merchant_id": "m", "name": "M", "reporting_currency": "usd"}])
        opened.upsert("fx_rates", [{"day": date(2026, 1, 1), "currency": "eur", "rate": "0.80"}])
        priced(opened, "basic", "usd", 1000)
        priced(opened, "euro", "eur", 800)
        subscribed(opened, "a", "basic", JAN + timedelta(days=3))
        subscribed(opened, "b", "euro", JAN + timedelta(days=4))
        opened.advance()
        yield opened


def figure(run: hr.Run, as_of: Any = None) -> int:
    """MRR at the end of the day by the query that the pages ask."""
    asked = run.named_query("metrics")
    params = asked.values({"merchant": "m", "since": str(DAY), "until": str(DAY), "period": "all"})
    found: int = run.query(asked.text, params, as_of=as_of).to_pylist()[0]["mrr"]
    return found


def test_every_cause_has_its_amount_and_they_add_up(run: hr.Run, clock: ManualClock) -> None:
    reported = run.version
    assert figure(run) == 1000 + 1000
    clock.advance(timedelta(days=1))
    subscribed(run, "late", "basic", JAN + timedelta(days=20), quantity=3)
    run.advance()
    clock.advance(timedelta(days=1))
    discount = {
        "merchant_id": "m", "valid_at": JAN, "seq": 1, "discount_id": "d", "subscription_id": "s_late",
        "percent_off": 50, "duration": "once", "starts_at": JAN + timedelta(days=20),
    }  # fmt: skip
    run.upsert("discounts", [discount])
    run.upsert("fx_rates", [{"day": date(2026, 1, 1), "currency": "eur", "rate": "0.64"}])
    settings = {"merchant_id": "m", "scenario": "live", "valid_at": JAN, "seq": 1}
    run.upsert("settings", [{**settings, "subtract_once_discounts": True}])
    run.advance()
    found = why(run, "m", DAY, reported)
    assert found.reported == figure(run, reported.number) == 2000
    assert found.now == figure(run)
    assert sum(found.moved.values()) == found.now - found.reported
    assert found.moved == {"late data": 3000, "exchange rate": 250, "definition": -1500}
    assert "late data" in found.text()
    behind = found.inputs["subscriptions__versions"].to_pylist()
    assert {row["customer_id"] for row in behind} == {"late"}


def test_a_correction_is_told_from_late_data(run: hr.Run, clock: ManualClock) -> None:
    reported = run.version
    clock.advance(timedelta(days=1))
    item = {
        "merchant_id": "m", "valid_at": JAN + timedelta(days=3), "seq": 2, "item_id": "i_a",
        "subscription_id": "s_a", "price_id": "basic", "quantity": 4,
    }  # fmt: skip
    run.upsert("subscription_items", [item])
    run.advance()
    found = why(run, "m", DAY, reported)
    assert found.moved == {"correction": 3000}
    assert (found.reported, found.now) == (2000, 5000)


def test_what_comes_after_the_day_moves_nothing(run: hr.Run, clock: ManualClock) -> None:
    reported = run.version
    clock.advance(timedelta(days=1))
    subscribed(run, "new", "basic", clock() - timedelta(hours=1))
    run.advance()
    found = why(run, "m", DAY, reported)
    assert found.moved == {}
    assert found.reported == found.now == 2000


def test_another_reporting_currency_is_a_definition(run: hr.Run, clock: ManualClock) -> None:
    reported = run.version
    clock.advance(timedelta(days=1))
    settings = {"merchant_id": "m", "scenario": "live", "valid_at": JAN, "seq": 1}
    run.upsert("settings", [{**settings, "reporting_currency": "eur"}])
    run.advance()
    found = why(run, "m", DAY, reported)
    assert found.currency == "eur"
    assert (found.reported, found.now) == (2000, 1600) == (figure(run, reported.number), figure(run))
    assert found.moved == {"definition": -400}


def once_off(scenario: str, *, subtract: bool, seq: int = 1) -> dict[str, Any]:
    own = {"merchant_id": "m", "scenario": scenario, "valid_at": JAN, "seq": seq}
    return own | {"subtract_once_discounts": subtract}


def test_settings_of_another_scenario_are_not_looked_at(
    run: hr.Run, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With them there would be two causes, and ledgers would be built to tell them apart."""
    played: list[int] = []

    def told(*given: Any, **named: Any) -> Any:
        found = differs(*given, **named)
        played.append(found.rows_played)
        return found

    differs = run.difference
    monkeypatch.setattr(run, "difference", told)
    reported = run.version
    clock.advance(timedelta(days=1))
    subscribed(run, "late", "basic", JAN + timedelta(days=20), quantity=3)
    run.upsert("settings", [once_off("preview", subtract=True)])
    run.advance()
    assert why(run, "m", DAY, reported).moved == {"late data": 3000}
    assert played == [0]


def test_a_scenario_beside_defaults_is_told_by_its_own_settings(run: hr.Run, clock: ManualClock) -> None:
    """The merchant has set nothing for `live`."""
    run.upsert("settings", [once_off("preview", subtract=True)])
    discount = {
        "merchant_id": "m", "valid_at": JAN, "seq": 1, "discount_id": "d", "subscription_id": "s_a",
        "percent_off": 50, "duration": "once", "starts_at": JAN + timedelta(days=3),
    }  # fmt: skip
    run.upsert("discounts", [discount])
    run.advance()
    reported = run.version
    clock.advance(timedelta(days=1))
    subscribed(run, "late", "basic", JAN + timedelta(days=20), quantity=3)
    run.upsert("settings", [once_off("preview", subtract=False, seq=2)])
    run.advance()
    found = why(run, "m", DAY, reported, scenario="preview")
    assert (found.reported, found.now) == (1500, 5000)
    assert found.moved == {"late data": 3000, "definition": 500}
    assert {row["scenario"] for row in found.movements} == {"preview"}
    assert why(run, "m", DAY, reported).moved == {"late data": 3000}


def test_a_report_before_anything_was_known_is_nothing(run: hr.Run) -> None:
    found = why(run, "m", DAY, 0)
    assert (found.reported, found.now) == (0, 2000)
    assert found.moved == {"new data": 2000}


def asked_why(run: hr.Run, reported: hr.Version) -> dict[str, list[dict[str, Any]]]:
    """The rows of the named query, by what they are."""
    given = {"merchant": "m", "day": str(DAY), "reported": str(reported.number)}
    found: dict[str, list[dict[str, Any]]] = {}
    for row in run.ask("why", given).table.to_pylist():
        found.setdefault(row["part"], []).append(row)
    return found


def test_the_customers_of_a_cause_add_up_to_it(run: hr.Run, clock: ManualClock) -> None:
    priced(run, "odd", "eur", 333)
    subscribed(run, "c", "odd", JAN + timedelta(days=5))
    run.advance()
    reported = run.version
    clock.advance(timedelta(days=1))
    for name in ("late", "later", "latest"):
        subscribed(run, name, "odd", JAN + timedelta(days=20))
    run.upsert("fx_rates", [{"day": date(2026, 1, 1), "currency": "eur", "rate": "0.67"}])
    settings = {"merchant_id": "m", "scenario": "live", "valid_at": JAN, "seq": 1}
    run.upsert("settings", [{**settings, "reporting_currency": "gbp"}])
    run.upsert("fx_rates", [{"day": date(2026, 1, 1), "currency": "gbp", "rate": "0.77"}])
    run.advance()
    found = asked_why(run, reported)
    figures = {row["cause"]: row["amount"] for row in found["figure"]}
    assert list(figures) == ["reported", "late data", "exchange rate", "definition", "now"]
    assert figures["reported"] + sum(list(figures.values())[1:-1]) == figures["now"] == figure(run)
    for cause in list(figures)[1:-1]:
        behind = [row for row in found["customer"] if row["cause"] == cause]
        assert sum(row["amount"] for row in behind) == figures[cause], cause
    late = {row["customer_id"] for row in found["customer"] if row["cause"] == "late data"} - {None}
    assert late == {"late", "later", "latest"}
    assert {(row["customer_id"], row["came"], row["own_amount"]) for row in found["movement"]} == {
        (name, "came", 333) for name in late
    }
    assert {row["relation"] for row in found["fact"]} >= {"subscriptions", "subscription_items"}


def test_a_sheet_that_comes_again_shows_what_it_corrected(run: hr.Run, clock: ManualClock) -> None:
    head = "customer,amount,currency,start\n"
    same = "".join(f"Same {at},10,usd,2026-01-05\n" for at in range(20))
    run.receive("sheet", f"{head}{same}Other,10,usd,2026-01-05\n".encode(), params={"merchant": "m"})
    reported = run.advance()
    clock.advance(timedelta(days=1))
    run.receive("sheet", f"{head}{same}Other,12,usd,2026-01-05\n".encode(), params={"merchant": "m"})
    run.advance()
    found = asked_why(run, reported)
    figures = [(row["cause"], row["amount"]) for row in found["figure"]]
    assert figures == [("reported", 2000 + 21_000), ("correction", 200), ("now", 2000 + 21_200)]
    assert [row["customer_id"] for row in found["customer"]] == ["Other"]
    assert {row["relation"] for row in found["fact"]} >= {"subscription_items", "prices"}
    assert not [row for row in found["fact"] if "Same" in row["fact"]]
    told = [(row["relation"], row["cause"], row["came"]) for row in found["fact"]]
    assert sorted(told) == [
        ("prices", "late data", "came"),
        ("subscription_items", "correction", "came"),
        ("subscriptions", "correction", "came"),
    ]


def test_a_figure_that_is_what_it_was_has_nothing_behind_it(run: hr.Run) -> None:
    found = asked_why(run, run.version)
    assert [(row["cause"], row["amount"]) for row in found["figure"]] == [("reported", 2000), ("now", 2000)]
    assert found.keys() == {"figure"}


def test_a_wrong_question_about_a_figure_is_told(run: hr.Run) -> None:
    given = {"merchant": "m", "day": str(DAY), "reported": "yesterdy"}
    with pytest.raises(BadRequest, match="neither a version nor a time"):
        run.ask("why", given)
    with pytest.raises(BadRequest, match="present only"):
        run.ask("why", {**given, "reported": "1"}, as_of=1)
    assert run.ask("why", {**given, "merchant": "nobody", "reported": "1"}).table.num_rows == 2
