"""Every view against DuckDB over all accepted rows, at every version.

Random schemas with the corners of every type, views nested on each other over a grammar of every operator,
streams, tables with and without keys; inserts, updates, deletes, repeats, late and malformed rows, time that
passes and folders that are opened again, in one large step or many small ones. After each step the view, the
sum of its changes and DuckDB's answer from scratch must be equal, and the fate of each row must be the one
that plain Python decides. Small domains are what finds the bugs: rows that meet, groups that vanish and come
back, ties at the edge of a top-N.

A failure prints the whole case in the conformance format: save it below `tests/conformance/found/`.
"""

from __future__ import annotations

import random
from functools import partial

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tests.conftest import Torture

from headrace.testing import Case, parse_cases

from .generator import random_case
from .hunt import fails_alike, kind_of, outcome
from .shrink import shrink

CASES_IN_CI = 11
BLOCKS_IN_CI = 4


def examine(rnd: random.Random) -> None:
    """Play one case; SQL that cannot be kept fresh is none."""
    case = random_case(rnd)
    why = outcome(case)
    if why is not None and not why.startswith("refused: UnsupportedSql"):
        raise AssertionError(why)


@pytest.mark.parametrize("number", range(BLOCKS_IN_CI))
def test_views_equal_duckdb_at_every_version(number: int) -> None:
    _block(number, CASES_IN_CI)


@pytest.mark.torture(weight=60, least=20_000)
def test_many_cases(torture: Torture) -> None:
    """A seed is a case, as for `python -m tests.oracle.hunt`; a failure prints its case, made small."""
    refused = 0

    def case(number: int) -> None:
        nonlocal refused
        drawn = random_case(random.Random(number), f"seed {number}")
        why = outcome(drawn)
        if why is not None and why.startswith("refused: UnsupportedSql"):
            refused += 1
        elif why is not None:
            small = shrink(drawn, partial(fails_alike, kind_of(why)))
            raise AssertionError(f"{outcome(small)}\n\n{small.text()}")

    try:
        torture.play(case)
    finally:
        torture.note = f"{refused:,} on this worker were SQL that cannot be kept fresh"


def _block(number: int, cases: int) -> None:
    """Play the cases of one seed under hypothesis, which makes a failing one small."""
    checks = [HealthCheck.too_slow, HealthCheck.large_base_example, HealthCheck.data_too_large]
    quiet = settings(
        max_examples=cases, derandomize=False, database=None, deadline=None, suppress_health_check=checks
    )
    seed(number)(quiet(given(st.randoms(use_true_random=False))(examine)))()


def test_a_case_survives_its_file() -> None:
    for number in range(20):
        case = random_case(random.Random(number))
        assert parse_cases(case.text())[0].text() == case.text()


def test_a_failing_case_becomes_small() -> None:
    case = random_case(random.Random(4))
    name = next(block.name for block in case.steps if block.word in ("append", "upsert"))

    def fails(other: Case) -> bool:
        return any(block.name == name and block.word in ("append", "upsert") for block in other.steps)

    small = shrink(case, fails)
    assert [len(block.body) for block in small.steps] == [1]
    assert small.declared == ()
