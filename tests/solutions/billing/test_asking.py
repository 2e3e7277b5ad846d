"""What the queries cannot be asked is told by the product, and every period has its row."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

import headrace as hr
from headrace.errors import BadRequest
from headrace.solutions.billing.app import app
from headrace.solutions.billing.simulate.history import make_world

UNTIL = datetime(2026, 3, 20, tzinfo=UTC)
WHOSE = {
    "merchant": "acct_00001", "since": "2025-03-05", "until": "2026-03-10", "day": "2026-03-01",
    "today": "2026-03-01", "other": "preview", "subscription": "sub_1", "reported": "1",
    "happened_at": "2026-03-01 00:00:00",
}  # fmt: skip
TURNED = {"since": "2026-03-10", "until": "2025-03-05"}
FAR = (
    "0001-01-01",
    "1900-01-01",
    "2199-12-31",
    "9999-12-31",
    "infinity",
    "-infinity",
    "290000-01-01",
    "soon",
    "",
)
TEXTS = ("", "colour", "'", "(none)", "\0", "x" * 5000, "{names}", "名")
COUNTS = ("-1", "0", "99999999999999999999", "2147483647", "1e3", "all", "")
HOSTILE = {"DATE": FAR, "TIMESTAMP": FAR, "INTEGER": COUNTS, "VARCHAR": TEXTS}


@pytest.fixture(scope="module")
def run() -> Iterator[hr.Run]:
    world = make_world(seed=31, merchants=1, customers=20, years=1.2, until=UNTIL)
    with app.open(None) as opened:
        for name, rows in world.rows.take().items():
            (opened.append if name in app.streams else opened.upsert)(name, rows)
        opened.advance()
        yield opened


def asked(run: hr.Run, name: str, **more: Any) -> dict[str, Any]:
    known = {one.name for one in run.named_query(name).parameters}
    return {one: value for one, value in WHOSE.items() if one in known} | more


def rows(run: hr.Run, name: str, **more: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.ask(name, asked(run, name, **more)).table.to_pylist()
    return found


def with_parameter(*names: str) -> list[tuple[str, str]]:
    return [
        (query.name, one.name)
        for query in app.named_queries.values()
        for one in query.parameters
        if one.name in names
    ]


@pytest.mark.parametrize(
    ("name", "parameter"), with_parameter("by", "dimension", "scenario", "other", "period")
)
def test_what_there_is_not_is_told_with_the_choices(run: hr.Run, name: str, parameter: str) -> None:
    if name == "settings_history":
        return  # a scenario that is deleted has a history
    with pytest.raises(BadRequest) as caught:
        run.ask(name, asked(run, name, **{parameter: "colour"}))
    assert f"${parameter} = 'colour'" in caught.value.problem
    wanted = {"period": "quarter", "scenario": "live", "other": "live"}.get(
        parameter, "cohort, currency, channel, size"
    )
    assert wanted in str(caught.value.expected)


def test_what_can_be_chosen_is_what_there_is(run: hr.Run) -> None:
    """Every type and cause of the ledger is a choice, and no choice is none of the ledger's."""
    ledger = app.view_decls["mrr_movements"].sql
    chosen = {one.name: one.choices for one in run.named_query("movements").parameters}
    told = set(re.findall(r"(?:THEN|ELSE) '([a-z ]+)'", ledger))
    kinds = {row["type"] for row in run.query("SELECT DISTINCT type FROM mrr_movements").to_pylist()}
    assert kinds <= set(chosen["type"]) <= told | {"transfer", "new", "reactivation", "churn"}
    assert set(chosen["cause"]) - {"involuntary"} == told - set(chosen["type"])
    for name in app.named_queries:
        run.asked_schema(name)


def test_a_merchants_own_dimension_is_a_choice(run: hr.Run) -> None:
    assert [row["dimension"] for row in rows(run, "own_dimensions")] == ["channel", "size"]
    assert {row["part"] for row in rows(run, "slices", by="size")} == {"L", "M", "S"}
    with pytest.raises(BadRequest):
        run.ask("slices", asked(run, "slices", merchant="acct_none", by="size"))


def test_nothing_is_compared_with_a_preview_that_is_not_there(run: hr.Run) -> None:
    assert rows(run, "scenario_difference") == []
    assert rows(run, "scenario_months") == []
    assert rows(run, "settings_beside") == []


@pytest.mark.parametrize("name", [name for name in app.named_queries if name != "why"])
def test_no_value_leads_to_a_databases_message(run: hr.Run, name: str) -> None:
    for one in run.named_query(name).parameters:
        for value in HOSTILE[one.type]:
            said = f"${one.name}"
            try:
                run.ask(name, asked(run, name, **{one.name: value}))
            except BadRequest as error:
                said = error.problem
            assert f"${one.name}" in said


def test_all_days_that_may_be_asked_are_answered(run: hr.Run) -> None:
    for name in ("metrics", "trials", "usage_by_meter", "roll_forward", "mrr_by_scenario"):
        chosen = {} if name == "mrr_by_scenario" else {"by": "price"}
        assert rows(run, name, since="1970-01-01", until="2099-12-31", **chosen)


@pytest.mark.parametrize("name", sorted({name for name, _ in with_parameter("since")}))
def test_no_days_have_no_rows(run: hr.Run, name: str) -> None:
    found = run.ask(name, asked(run, name, **TURNED)).table.to_pylist()
    assert name == "slices" or found == []


@pytest.mark.parametrize("period", ["day", "week", "month", "quarter", "year", "all"])
def test_trials_have_a_row_for_every_period_as_metrics_do(run: hr.Run, period: str) -> None:
    spans = ("period", "first_day", "last_day")
    wanted = [tuple(row[name] for name in spans) for row in rows(run, "metrics", period=period)]
    trials = rows(run, "trials", period=period)
    assert [tuple(row[name] for name in spans) for row in trials] == wanted
    parted = rows(run, "trials", period=period, by="country")
    assert len(parted) == len(wanted) * len({row["part"] for row in parted})
    assert sum(row["started"] for row in trials) == sum(row["started"] for row in parted) > 0


def test_trials_of_a_week_are_of_the_merchants_week(run: hr.Run) -> None:
    whose = {"merchant_id": "acct_00001", "scenario": "sundays", "valid_at": "2025-01-01", "seq": 1}
    run.upsert("settings", [whose | {"week_start": "sunday"}], on_reject="raise")
    run.advance()
    found = rows(run, "trials", period="week", scenario="sundays")
    assert {row["period"].isoweekday() for row in found} == {7}
    assert found[0]["period"] == date(2025, 3, 2)
    assert found[1]["first_day"] - found[0]["first_day"] == timedelta(days=4)
