"""The views against a computation from scratch that shares nothing with them.

Each case is a small world of the simulator, with late, repeated and corrected rows, under several settings at
once; every movement of every customer is computed a second time in plain Python (`recompute.py`) and must be
there, and no other. Then the same rows come in another order and in other batches.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from tests.torture import Torture

import headrace as hr
from headrace.solutions.billing.app import app
from headrace.solutions.billing.prove import WHOLE, prove, prove_reported, round_of
from headrace.solutions.billing.simulate.history import make_world
from headrace.testing import difference

UNTIL = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE = datetime(2015, 1, 1, tzinfo=UTC)
LEDGER = "SELECT * FROM customer_movements ORDER BY ALL"


def random_settings(rng: random.Random, merchant: str, scenario: str) -> dict[str, Any]:
    """Any choice of what decides about movements."""
    return {
        "merchant_id": merchant, "scenario": scenario, "valid_at": BEFORE, "seq": 1,
        "subtract_recurring_discounts": rng.random() < 0.5,
        "subtract_once_discounts": rng.random() < 0.5,
        "active_from": rng.choice(["start", "first_payment"]),
        "churn_at": rng.choice(["cancellation", "period_end"]),
        "count_past_due": rng.random() < 0.5,
        "reactivation_days": rng.choice([None, 0, 30, 90]),
        "reporting_currency": rng.choice([None, "eur", "jpy", "kwd", "usd"]),
        "rate_rule": rng.choice(["day", "previous_day", "latest"]),
        "time_zone": rng.choice([None, "Pacific/Auckland", "America/Los_Angeles"]),
    }  # fmt: skip


def world_of(seed: int, merchants: int = 2, customers: int = 8) -> dict[str, pa.Table]:
    tables: dict[str, pa.Table] = make_world(
        seed=seed, merchants=merchants, customers=customers, years=2, until=UNTIL
    ).rows.take()
    return tables


def bare(tables: dict[str, pa.Table], rng: random.Random) -> dict[str, pa.Table]:
    """Some discounts have no terms but their coupon's, some prices count packages."""
    found = dict(tables)
    discounts = tables["discounts"].to_pylist() if "discounts" in tables else []
    for row in discounts:
        if row["coupon_id"] is not None and rng.random() < 0.5:
            row |= {"percent_off": None, "amount_off": None, "currency": None}
    prices = tables["prices"].to_pylist() if "prices" in tables else []
    for row in prices:
        if row["scheme"] == "per_unit" and rng.random() < 0.5:
            row |= {"divide_by": rng.choice([1, 2, 5]), "round": rng.choice(["up", "down", None])}
    for name, rows in (("discounts", discounts), ("prices", prices)):
        if rows:
            found[name] = pa.Table.from_pylist(rows, schema=tables[name].schema)
    return found


def fill(run: hr.Run, tables: dict[str, pa.Table]) -> None:
    for name, rows in tables.items():
        (run.append if name in app.streams else run.upsert)(name, rows)
    run.advance()


def differences(run: hr.Run) -> tuple[int, list[Any]]:
    """How many movements there are, and the proofs that failed."""
    customers = run.query("SELECT merchant_id, customer_id FROM customers").to_pylist()
    scenarios = run.query("SELECT merchant_id, scenario FROM scenarios").to_pylist()
    proofs = [
        prove(run, one["merchant_id"], one["customer_id"], each["scenario"])
        for one in customers
        for each in scenarios
        if each["merchant_id"] == one["merchant_id"]
    ]
    proofs += [prove_reported(run, each["merchant_id"], each["scenario"]) for each in scenarios]
    return sum(proof.movements for proof in proofs), [proof for proof in proofs if not proof.is_equal]


@pytest.fixture
def run() -> Iterator[hr.Run]:
    with app.open(None) as opened:
        yield opened


@pytest.mark.parametrize("seed", [3, 11])
def test_every_movement_is_found_a_second_time(run: hr.Run, seed: int) -> None:
    rng = random.Random(seed)
    fill(run, bare(world_of(seed), rng))
    merchants = [row["merchant_id"] for row in run.query("SELECT merchant_id FROM merchants").to_pylist()]
    for number in range(4):
        run.upsert("settings", [random_settings(rng, one, f"s{number}") for one in merchants])
    run.advance()
    movements, wrong = differences(run)
    assert wrong == []
    assert movements > 300


def test_order_and_batches_do_not_matter(run: hr.Run) -> None:
    tables = world_of(5)
    fill(run, tables)
    with app.open(None) as other:
        rng = random.Random(5)
        cut = {name: range(0, len(rows), 37) for name, rows in tables.items()}
        pieces = [(name, rows.slice(start, 37)) for name, rows in tables.items() for start in cut[name]]
        rng.shuffle(pieces)
        for number, (name, rows) in enumerate(pieces):
            (other.append if name in app.streams else other.upsert)(name, rows)
            if number % 9 == 0:
                other.advance()
        other.advance()
        assert other.query(LEDGER).to_pylist() == run.query(LEDGER).to_pylist()
        assert differences(other)[1] == []


def test_a_setting_flipped_forth_and_back_restores_every_number(run: hr.Run) -> None:
    fill(run, world_of(7, merchants=1))
    merchant = run.query("SELECT merchant_id FROM merchants").to_pylist()[0]["merchant_id"]
    flips: dict[str, Any] = {
        "subtract_recurring_discounts": False, "subtract_once_discounts": True,
        "active_from": "first_payment", "churn_at": "cancellation", "count_past_due": False,
        "reactivation_days": 0, "time_zone": "Pacific/Auckland", "reporting_currency": "eur",
    }  # fmt: skip
    plain = {"merchant_id": merchant, "scenario": "live", "valid_at": BEFORE}
    run.upsert("settings", [{**plain, "seq": 0}])
    run.advance()
    kept = [info.name for info in run.relations() if info.kind == "view"]
    views = [name for name in kept if name != "scenarios" and not name.startswith("settings__")]
    before = {name: run.snapshot(name)[1] for name in views}
    moved: set[str] = set()
    for number, (name, value) in enumerate(flips.items()):
        run.upsert("settings", [{**plain, name: value, "seq": 2 * number + 1}])
        run.advance()
        if any(difference(run.snapshot(view)[1], before[view]) for view in views):
            moved.add(name)
        run.upsert("settings", [{**plain, "seq": 2 * number + 2}])
        run.advance()
        for view in views:
            assert difference(run.snapshot(view)[1], before[view]) is None, (name, view)
    assert moved >= {"subtract_once_discounts", "active_from", "churn_at", "time_zone"}


def any_world_in_any_order(seed: int) -> None:
    """Any world under any settings, in any batches: every movement is found a second time."""
    rng = random.Random(seed)
    tables = bare(world_of(seed % 1_000_003, merchants=1, customers=rng.randint(1, 6)), rng)
    pieces = []
    for name, rows in tables.items():
        size = rng.choice([5, 50, 500])
        pieces += [(name, rows.slice(start, size)) for start in range(0, len(rows), size)]
    rng.shuffle(pieces)
    with app.open(None) as run:
        for name, rows in pieces:
            (run.append if name in app.streams else run.upsert)(name, rows)
            if rng.random() < 0.1:
                run.advance()
        run.advance()
        merchants = run.query("SELECT merchant_id FROM merchants").to_pylist()
        for number in range(3):
            chosen = [random_settings(rng, one["merchant_id"], f"s{number}") for one in merchants]
            run.upsert("settings", chosen)
        run.advance()
        assert differences(run)[1] == []


def test_movements_of_a_first_day_that_cancel_are_reported() -> None:
    """The balance was nothing before and after, and the day had no row in the reporting currency."""
    any_world_in_any_order(31_000_002)


@pytest.mark.torture(weight=4, least=30)
def test_any_world_in_any_order(torture: Torture) -> None:
    torture.play(any_world_in_any_order)


def test_a_round_writes_down_what_it_found(run: hr.Run) -> None:
    fill(run, world_of(9, merchants=1))
    proofs = round_of(run, random.Random(1), customers=5)
    run.advance()
    total = run.query("SELECT * FROM proof_totals").to_pylist()[0]
    assert total["customers"] == len({proof.customer_id for proof in proofs} - {WHOLE}) == 5
    assert total["drift_minor"] == 0
    assert total["movements"] == sum(proof.movements for proof in proofs) > 0


def test_a_proof_sees_a_wrong_number(run: hr.Run) -> None:
    fill(run, world_of(9, merchants=1))
    one = run.query("SELECT merchant_id, customer_id FROM customer_movements LIMIT 1").to_pylist()[0]
    spoilt = _Spoilt(run)
    for proof in (
        prove(spoilt, one["merchant_id"], one["customer_id"]),
        prove_reported(spoilt, one["merchant_id"]),
    ):
        assert not proof.is_equal
        assert proof.drift_minor > 0


class _Spoilt:
    """A run whose ledger is off by a cent."""

    def __init__(self, run: hr.Run) -> None:
        self.run = run

    def answer(self, sql: str, params: Any = (), /) -> Any:
        for row in ("m", "r"):
            sql = sql.replace(f"'amount': {row}.amount", f"'amount': {row}.amount + 1")
        return self.run.answer(sql, params)

    def query(self, sql: str, params: Any = (), /) -> pa.Table:
        return self.run.query(sql, params)

    def upsert(self, table: str, rows: Any, /) -> Any:
        return self.run.upsert(table, rows)
