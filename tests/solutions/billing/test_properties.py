"""What must hold for any slice, span and settings of a merchant's numbers, whatever the data.

Worlds of the simulator, with late and corrected rows; Hypothesis draws what is asked. Every sum is one of
integers, so "equal" means to the cent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.solutions.billing.app import app
from headrace.solutions.billing.simulate.history import make_world

UNTIL = date(2026, 3, 1)
MOVES = ("new", "reactivation", "expansion", "contraction", "churned", "transfer_in", "transfer_out")
PERIODS = ("all", "day", "week", "month", "quarter", "year")
BY = ("product", "price", "plan_interval", "country", "currency", "cohort")
EXAMPLES = 8 if settings.get_current_profile_name() == "ci" else 100
relaxed = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=EXAMPLES)
"""An example asks up to twenty questions of the size of a page; `HYPOTHESIS_PROFILE=torture` draws more."""


def fill(run: hr.Run, seed: int) -> None:
    until = datetime(UNTIL.year, UNTIL.month, UNTIL.day, tzinfo=UTC)
    world = make_world(seed=seed, merchants=2, customers=15, years=2, until=until)
    for name, rows in world.rows.take().items():
        (run.append if name in app.streams else run.upsert)(name, rows)
    for shop in world.shops:
        for seq, (rule, currency) in enumerate((("previous_day", "eur"), ("latest", "jpy"))):
            key = {"merchant_id": shop.merchant_id, "scenario": rule, "valid_at": until, "seq": seq}
            run.upsert("settings", [{**key, "rate_rule": rule, "reporting_currency": currency}])
    run.advance()


@pytest.fixture(scope="module")
def run() -> Iterator[hr.Run]:
    with app.open(None) as opened:
        fill(opened, 21)
        yield opened


def rows(run: hr.Run, name: str, **params: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = run.ask(name, params).table.to_pylist()
    return found


@st.composite
def spans(draw: st.DrawFn) -> dict[str, str]:
    end = UNTIL - timedelta(days=draw(st.integers(0, 500)))
    begin = end - timedelta(days=draw(st.integers(0, 400)))
    return {"since": str(begin), "until": str(end)}


def a_slice(run: hr.Run, data: st.DataObject) -> dict[str, str]:
    """Draw a merchant, a scenario and any of the filters, with values that are there."""
    choices = run.query("SELECT DISTINCT merchant_id, scenario FROM scenarios ORDER BY ALL").to_pylist()
    chosen = data.draw(st.sampled_from(choices))
    asked = {"merchant": chosen["merchant_id"], "scenario": chosen["scenario"]}
    known = run.query(
        "SELECT DISTINCT product_id AS product, price_id AS price, plan_interval, country, "
        "CAST(cohort_month AS TEXT) AS cohort, currency AS of_currency FROM mrr_daily WHERE merchant_id = ?",
        [asked["merchant"]],
    ).to_pylist()
    one = data.draw(st.sampled_from(sorted(known, key=str)))
    for name in data.draw(st.sets(st.sampled_from(sorted(one)), max_size=2)):
        if one[name] is not None:
            asked[name] = one[name]
    return asked


@relaxed
@given(
    data=st.data(), span=spans(), period=st.sampled_from(["all", "day", "week", "month", "quarter", "year"])
)
def test_the_roll_forward_of_any_slice_adds_up(
    run: hr.Run, data: st.DataObject, span: dict[str, str], period: str
) -> None:
    found = rows(run, "metrics", **a_slice(run, data), **span, period=period)
    assert found
    for row in found:
        assert row["start_mrr"] + sum(row[f"{kind}_mrr"] for kind in MOVES) + row["fx_mrr"] == row["mrr"]
        grown = row["new_subscribers"] + row["reactivated_subscribers"] - row["churned_subscribers"]
        assert row["start_subscribers"] + grown == row["subscribers"]
        assert row["subscribers"] >= 0
        assert row["mrr"] >= 0
    for before, after in pairwise(found):
        assert before["mrr"] == after["start_mrr"]
        assert before["subscribers"] == after["start_subscribers"]


@relaxed
@given(data=st.data(), span=spans(), by=st.sampled_from(BY))
def test_slices_add_up_to_the_whole_and_transfers_to_nothing(
    run: hr.Run, data: st.DataObject, span: dict[str, str], by: str
) -> None:
    choices = run.query("SELECT DISTINCT merchant_id, scenario FROM scenarios ORDER BY ALL").to_pylist()
    chosen = data.draw(st.sampled_from(choices))
    asked = {"merchant": chosen["merchant_id"], "scenario": chosen["scenario"], **span}
    kinds = ("start", *MOVES)
    whole: dict[tuple[str, str], int] = {}
    for row in rows(run, "slices", **asked, by="currency"):
        for kind in kinds:
            whole[row["currency"], kind] = row[f"{kind}_mrr"]
        whole[row["currency"], "end"] = row["mrr"]
    parts: dict[tuple[str, str], int] = {}
    for row in rows(run, "slices", **asked, by=by):
        assert row["slice"] is not None or by == "country"
        assert row["start_mrr"] + sum(row[f"{kind}_mrr"] for kind in MOVES) == row["mrr"]
        for kind in kinds:
            parts[row["currency"], kind] = parts.get((row["currency"], kind), 0) + row[f"{kind}_mrr"]
        parts[row["currency"], "end"] = parts.get((row["currency"], "end"), 0) + row["mrr"]
    moved = {"transfer_in", "transfer_out"}
    plain = {key: amount for key, amount in parts.items() if key[1] not in moved and amount}
    assert plain == {key: amount for key, amount in whole.items() if key[1] not in moved and amount}
    for currency in {key[0] for key in parts}:
        assert parts[currency, "transfer_in"] + parts[currency, "transfer_out"] == 0


@relaxed
@given(data=st.data(), span=spans())
def test_currencies_are_rounded_one_by_one_and_then_added(
    run: hr.Run, data: st.DataObject, span: dict[str, str]
) -> None:
    asked = a_slice(run, data) | span | {"period": "all"}
    asked.pop("of_currency", None)
    known = run.query("SELECT DISTINCT currency FROM mrr_daily WHERE merchant_id = ?", [asked["merchant"]])
    whole = rows(run, "metrics", **asked)[0]
    parts = [rows(run, "metrics", **asked, of_currency=one)[0] for one in known.column(0).to_pylist()]
    for name in ("mrr", "start_mrr", "new_mrr", "churned_mrr", "expansion_mrr", "contraction_mrr", "fx_mrr"):
        assert sum(part[name] for part in parts) == whole[name], name


TYPES = {"fx": "FX", "churned": "churn", "transfer_in": "transfer in", "transfer_out": "transfer out"}


@relaxed
@given(data=st.data(), span=spans())
def test_the_rows_of_the_ledger_in_the_reporting_currency_are_the_metrics(
    run: hr.Run, data: st.DataObject, span: dict[str, str]
) -> None:
    asked = a_slice(run, data) | span
    whole = rows(run, "metrics", **asked, period="all")[0]
    ledger = rows(run, "roll_forward", **asked)
    for name in ("start", "fx", *MOVES):
        found = sum(row["amount"] for row in ledger if row["type"] == TYPES.get(name, name))
        assert found == whole[f"{name}_mrr"], name
    assert sum(row["amount"] for row in ledger) == whole["mrr"]
    assert {row["type"] for row in ledger if not row["own_amount"]} <= {"FX", "start", "transfer in"}


@relaxed
@given(data=st.data(), span=spans())
def test_the_kept_ledger_in_the_reporting_currency_is_the_asked_one(
    run: hr.Run, data: st.DataObject, span: dict[str, str]
) -> None:
    asked = {name: value for name, value in a_slice(run, data).items() if name in ("merchant", "scenario")}
    kept = (
        "SELECT day, currency, type, amount, own_amount, reporting FROM mrr_reported "
        "WHERE merchant_id = $merchant AND scenario = $scenario "
        "AND day BETWEEN CAST($since AS DATE) AND CAST($until AS DATE) ORDER BY day, currency, type"
    )
    whole = [row for row in rows(run, "roll_forward", **asked, **span) if row["type"] != "start"]
    ledger = [{name: value for name, value in row.items() if name != "slice"} for row in whole]
    assert run.query(kept, asked | span).to_pylist() == ledger
    before = (
        "SELECT sum(amount) AS amount FROM mrr_reported "
        "WHERE merchant_id = $merchant AND scenario = $scenario AND day <= CAST($until AS DATE)"
    )
    mrr = run.query(before, {**asked, "until": span["until"]}).to_pylist()[0]["amount"] or 0
    assert mrr == rows(run, "metrics", **asked, **span, period="all")[0]["mrr"]


@relaxed
@given(data=st.data(), span=spans(), by=st.sampled_from([*BY, "size", "channel"]))
def test_roll_forwards_of_slices_add_up_each_in_itself_and_together(
    run: hr.Run, data: st.DataObject, span: dict[str, str], by: str
) -> None:
    asked = {name: value for name, value in a_slice(run, data).items() if name in ("merchant", "scenario")}
    parts = rows(run, "roll_forward", **asked, **span, by=by)
    own, told = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for sums, ledger in ((own, parts), (told, rows(run, "roll_forward", **asked, **span))):
        for row in ledger:
            sums[row["currency"], row["type"].removesuffix(" in").removesuffix(" out")] += row["own_amount"]
    assert +own == +told
    assert -own == -told
    for value in {row["slice"] for row in parts} - {None}:
        chosen = (
            {"of_currency" if by == "currency" else by: value}
            if by in BY
            else {"dimension": by, "value": value}
        )
        only = rows(run, "roll_forward", **asked, **span, **chosen)
        assert [{**row, "slice": value} for row in only] == [row for row in parts if row["slice"] == value]
        whole = rows(run, "metrics", **asked, **span, **chosen, period="all")[0]
        assert sum(row["amount"] for row in only) == whole["mrr"]


def test_fx_has_rows_only_for_days_on_which_a_rate_or_a_balance_changed(run: hr.Run) -> None:
    idle = """
    SELECT count(*) AS n FROM mrr_reported AS r WHERE r.type = 'FX'
        AND NOT EXISTS (SELECT 1 FROM mrr_daily AS d
            WHERE d.merchant_id = r.merchant_id AND d.scenario = r.scenario
                AND d.currency = r.currency AND d.day = r.day)
        AND NOT EXISTS (SELECT 1 FROM fx_rates AS f WHERE f.currency IN (r.currency, r.reporting)
            AND f.day = r.day - CASE r.scenario WHEN 'previous_day' THEN 1 ELSE 0 END)
    """
    assert run.query(idle).to_pylist() == [{"n": 0}]
    rules = run.query("SELECT DISTINCT scenario FROM mrr_reported WHERE type = 'FX'").column(0).to_pylist()
    assert {"live", "previous_day"} <= set(rules)


def test_a_replay_from_the_log_equals_the_live_state(tmp_path: Path) -> None:
    def content(run: hr.Run) -> dict[str, list[str]]:
        views = sorted(info.name for info in run.relations() if info.kind == "view")
        return {name: sorted(map(str, run.query(f'SELECT * FROM "{name}"').to_pylist())) for name in views}

    with app.open(tmp_path) as run:
        fill(run, 22)
        live = content(run)
    with app.open(tmp_path) as run:
        assert content(run) == live
    assert len(live["mrr_movements"]) > 100


def test_metrics_of_a_dimension_are_its_slice_and_its_customers(run: hr.Run) -> None:
    span = {"since": "2025-06-01", "until": str(UNTIL)}
    known = run.query(
        "SELECT merchant_id, reporting_currency FROM scenarios WHERE scenario = 'live'"
    ).to_pylist()
    seen = 0
    for one in known:
        asked = {"merchant": one["merchant_id"], **span}
        for row in rows(run, "slices", **asked, by="size"):
            if row["slice"] is None or row["currency"] != one["reporting_currency"]:
                continue
            chosen = {"dimension": "size", "value": row["slice"]}
            plain = rows(run, "metrics", **asked, **chosen, period="all", of_currency=row["currency"])[0]
            same = plain.keys() & row.keys() - {"slice", "part"}
            assert {name: plain[name] for name in same} == {name: row[name] for name in same}
            whole = rows(run, "metrics", **asked, **chosen, period="all")[0]
            count = (
                "SELECT count(*) AS n FROM (SELECT m.customer_id FROM mrr_movements m JOIN customers c "
                "USING (merchant_id, customer_id) WHERE m.merchant_id = $merchant AND m.scenario = 'live' "
                "AND m.day <= CAST($until AS DATE) AND c.dimensions->>'size' = $value "
                "GROUP BY 1 HAVING sum(m.amount) > 0)"
            )
            told = {"merchant": asked["merchant"], "until": span["until"], "value": row["slice"]}
            assert run.query(count, told).to_pylist() == [{"n": whole["subscribers"]}]
            seen += whole["subscribers"]
    assert seen


def test_money_without_a_rate_is_empty_and_says_why() -> None:
    with app.open(None) as run:
        fill(run, 21)
        foreign = "SELECT merchant_id FROM mrr_reported WHERE scenario = 'live' AND currency <> reporting"
        merchant = run.query(foreign).column(0).to_pylist()[0]
        asked = {"merchant": merchant, "since": "2025-06-01", "until": str(UNTIL)}
        before = rows(run, "metrics", **asked)
        run.delete("fx_rates", run.query("SELECT day, currency FROM fx_rates WHERE currency <> 'usd'"))
        run.advance()
        without = rows(run, "metrics", **asked)
        assert [row["problem"] for row in before] == [None] * len(before)
        money = (
            "mrr",
            "arr",
            "new_mrr",
            "fx_mrr",
            "arpu",
            "ltv",
            "nrr",
            "grr",
            "quick_ratio",
            "net_mrr_churn",
        )
        assert {row[name] for row in without if row["problem"] for name in money} == {None}
        assert all(
            row["mrr"] == one["mrr"] for row, one in zip(without, before, strict=True) if not row["problem"]
        )
        problems = [row["problem"] for row in without if row["problem"]]
        assert problems
        assert all(one.startswith("no exchange rate between ") for one in problems)
        assert [row["subscribers"] for row in before] == [row["subscribers"] for row in without]
        assert run.query("SELECT count(*) AS n FROM mrr_reported WHERE type = 'FX'").to_pylist() == [{"n": 0}]
