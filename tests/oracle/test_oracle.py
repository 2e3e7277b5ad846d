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
import sys
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import headrace as hr
from headrace.testing import Case, parse_cases, play

from .generator import random_case
from .shrink import shrink

CASES_IN_CI = 15
BLOCKS_IN_CI = 4
BLOCK = 500
"""Cases that one round of hypothesis draws; then the clock is looked at."""


def examine(rnd: random.Random) -> None:
    """Play one case; SQL that cannot be kept fresh is none."""
    case = random_case(rnd)
    try:
        play(case)
    except hr.errors.UnsupportedSql:
        return


@pytest.mark.parametrize("number", range(BLOCKS_IN_CI))
def test_views_equal_duckdb_at_every_version(number: int) -> None:
    _block(number, CASES_IN_CI)


@pytest.mark.torture
def test_many_cases(torture: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """At least 20,000 cases, then more until the time is up; a failure prints its case, made small."""
    end = time.monotonic() + torture.minutes * 60
    done = 0
    while done < 10 * torture.cases or time.monotonic() < end:
        _block(torture.seed * 1_000_000 + done, BLOCK)
        done += BLOCK
    with capsys.disabled():
        sys.stdout.write(f"{done} random cases agree with DuckDB, seed {torture.seed}\n")


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
