"""The ledger and the metrics against plain cases (`cases/*.toml`): all are told to one run, each as a
merchant of its own, with every preset as a scenario beside; then the named queries must answer what the cases
say.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest
from tests.solutions.billing.ledger_cases import Case, all_cases, plain

from headrace.solutions.billing.app import app
from headrace.solutions.billing.presets import PRESETS

ALL = all_cases()
NEW_YEAR = "2026-01-01"


def tell(run: Any, cases: list[Case]) -> None:
    """Tell the run every row of the cases, and lay the presets beside."""
    rows = sorted(((table, row) for case in cases for table, row in case.rows), key=lambda one: one[0])
    for table, group in groupby(rows, key=lambda one: one[0]):
        told = [row for _, row in group]
        way = run.append if table == "meter_events" else run.delete if table.startswith("-") else run.upsert
        way(table.removeprefix("-"), told, on_reject="raise")
    settings = [
        {
            "merchant_id": case.name,
            "scenario": name,
            "preset": name,
            "valid_at": "2026-01-01",
            "seq": 1,
            **preset,
        }
        for case in cases
        for name, preset in PRESETS.items()
    ]
    run.upsert("settings", settings, on_reject="raise")
    run.advance()


@pytest.fixture(scope="module")
def run() -> Iterator[Any]:
    with app.open(None) as opened:
        tell(opened, ALL)
        yield opened


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_case(run: Any, case: Case) -> None:
    for expected in case.expect:
        for preset in expected.get("presets", PRESETS):
            given = {"merchant": case.name, "scenario": preset, **expected["with"]}
            known = {one.name for one in app.named_queries[expected["query"]].parameters}
            answer = run.ask(expected["query"], {key: value for key, value in given.items() if key in known})
            found = [[plain(row[name]) for name in expected["columns"]] for row in answer.table.to_pylist()]
            wanted = [[None if value == "NULL" else value for value in row] for row in expected["rows"]]
            assert same(found, wanted), f"{case.name} by {preset}: {found}, wanted {wanted}"


def same(found: list[list[Any]], wanted: list[list[Any]]) -> bool:
    """Whether two tables of values agree, fractions within 1e-9."""
    if len(found) != len(wanted):
        return False
    pairs = [pair for rows in zip(found, wanted, strict=True) for pair in zip(*rows, strict=True)]
    return all(
        math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)
        if isinstance(one, float) and isinstance(other, int | float)
        else one == other
        for one, other in pairs
    )
