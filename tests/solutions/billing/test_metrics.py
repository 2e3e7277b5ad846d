"""Every view of billing at every version against DuckDB's answer from scratch, over all cases told in small
random commits; and told in another order to another run, which must come to the same rows in every view.

The shape of the input matters: versions of one key arrive out of order here, late facts lie before known
ones, and a subscription is often told before its customer, price or merchant.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pyarrow as pa
import pytest
from tests.solutions.billing.ledger_cases import all_cases

from headrace.declarations import StreamDecl, TableDecl
from headrace.runtime import open_run
from headrace.solutions.billing.app import app
from headrace.solutions.billing.presets import PRESETS
from headrace.testing import ManualClock, Oracle, difference

NOW = datetime(2026, 7, 1, tzinfo=UTC)
ROWS_MAX = 40
"""Larger cases say nothing more here."""


@cache
def told() -> tuple[tuple[str, dict[str, Any]], ...]:
    """All rows of the small cases, whole, and settings for two scenarios of each merchant."""
    cases = [case for case in all_cases() if len(case.rows) <= ROWS_MAX]
    rows = [one for case in cases for one in case.rows]
    for case in cases:
        for seq, name in enumerate(("stripe", "baremetrics", "profitwell")):
            key = {"merchant_id": case.name, "scenario": ("live", "live", "other")[seq], "seq": seq}
            rows.append(("settings", {**PRESETS[name], **key, "valid_at": "2026-01-01"}))
    return tuple((name, whole(name, row)) for name, row in rows)


def whole(name: str, row: dict[str, Any]) -> dict[str, Any]:
    """A row with every column, since the oracle knows no defaults; deletions stay as they are."""
    known: dict[str, TableDecl | StreamDecl] = {**app.tables, **app.streams}
    model = known[name].model if name in known else None
    if model is None:
        return row
    values: dict[str, Any] = model.model_validate(row).model_dump(mode="json")
    return values


def put(run: Any, name: str, row: dict[str, Any]) -> Any:
    if name == "meter_events":
        return run.append(name, [row])
    if name.startswith("-"):
        return run.delete(name[1:], [row])
    return run.upsert(name, [row])


def shuffled(seed: int) -> list[tuple[str, dict[str, Any]]]:
    """The rows in another order; tables whose rows have no sequence keep theirs, which decides who is
    last."""
    rows = list(told())
    random.Random(seed).shuffle(rows)
    return rows


@pytest.fixture(scope="module")
def first() -> Any:
    """Every view after the rows were told in one order, a few at a time, each version compared with
    DuckDB."""
    oracle, clock, rng = Oracle(app), ManualClock(NOW), random.Random(5)
    with open_run(app, None, clock=clock) as run:
        rows, checks = shuffled(1), 0
        while rows:
            count = rng.choice((1, 5, 40, 120))
            for name, row in rows[:count]:
                put(run, name, row)
                if name == "meter_events":
                    oracle.append(name, [row], clock())
                else:
                    put(oracle, name, row)
            rows = rows[count:]
            run.advance()
            if rng.random() < 0.3 or not rows:
                checks += 1
                compare(run, oracle, clock)
        assert checks > 3
        return {view: run.snapshot(view)[1] for view in app.view_decls}


def compare(run: Any, oracle: Oracle, clock: ManualClock) -> None:
    for view in app.view_decls:
        said = difference(run.snapshot(view)[1], oracle.expected(view, clock()))
        assert said is None, f"{view}: {said}"


def test_every_view_is_what_duckdb_says_from_scratch(first: dict[str, pa.Table]) -> None:
    empty = {view for view, rows in first.items() if not rows.num_rows}
    assert empty <= {"proof_totals", "stripe_events_by_type"}


def test_order_and_batching_change_nothing(first: dict[str, pa.Table]) -> None:
    with open_run(app, None, clock=ManualClock(NOW)) as run:
        for name, row in shuffled(2):
            put(run, name, row)
        run.advance()
        for view, rows in first.items():
            assert difference(run.snapshot(view)[1], rows) is None, view
