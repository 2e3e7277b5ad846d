"""Every view against DuckDB over all accepted rows, at every version.

Random schemas with corner values, views nested on views, streams, tables with and without keys; inserts,
updates, deletes and repeats, in steps of random size. Three things must be equal after each step: the view as
it is read, the sum of its changes, and DuckDB's answer from scratch. Small domains are what finds the bugs:
rows that meet, groups that vanish and come back, ties at the edge of a top-N.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import headrace as hr
from headrace.change import VERSION, WEIGHT
from headrace.testing import ExpectedError, ManualClock, Oracle, difference

from .generator import Maker, Relation, Row


class Case:
    """One random app, fed to a run and to the oracle."""

    def __init__(self, rnd: random.Random) -> None:
        self.make = Maker(rnd)
        self.app = hr.App("random")
        self.streams = [self.make.relation(f"s{i}") for i in range(rnd.randint(1, 2))]
        self.tables = [self.make.relation(f"t{i}") for i in range(rnd.randint(1, 2))]
        self.bags = [self.make.relation("b0")] if rnd.random() < 0.5 else []
        for relation in self.streams:
            self.app.stream(relation.name, columns(relation), **self.options(relation))
        for relation in self.tables:
            self.app.table(relation.name, columns(relation), key="k")
        for relation in self.bags:
            self.app.table(relation.name, columns(relation), key=None)
        self.views: list[str] = []
        readable = [*self.streams, *self.tables, *self.bags]
        for i in range(rnd.randint(1, 3)):
            sql, made = self.make.view(readable)
            self.app.view(f"v{i}", sql)
            self.views.append(f"v{i}")
            readable.append(Relation(f"v{i}", made))
        self.oracle = Oracle(self.app)

    def options(self, relation: Relation) -> dict[str, Any]:
        """Give some streams an event time with a small lateness, and some an event id."""
        rnd = self.make.rnd
        times = relation.of_type("TIMESTAMP")
        timed = {"event_time": times[0], "lateness": rnd.choice(("1s", "2d"))} if times else {}
        return {**(timed if rnd.random() < 0.5 else {}), **({"event_id": "k"} if rnd.random() < 0.3 else {})}

    def describe(self) -> str:
        bases = [f"{r.name}({columns(r)})" for r in [*self.streams, *self.tables, *self.bags]]
        return "\n".join([*bases, *(f"{decl.name}: {decl.sql}" for decl in self.app.view_decls.values())])

    def change(self, run: hr.Run, clock: ManualClock) -> None:
        """Make one random call, on both sides."""
        rnd = self.make.rnd
        relation = rnd.choice([*self.streams, *self.tables, *self.bags])
        if relation in self.streams:
            rows = self.make.rows(relation, key=False)
            statuses = run.append(relation.name, rows).statuses.tolist()
            assert statuses == self.oracle.append(relation.name, rows, clock()), self.describe()
        elif rnd.random() < 0.35 and self.oracle.rows(relation.name):
            self.remove(run, relation)
        else:
            rows = self.make.rows(relation, key=relation in self.tables, most=5)
            run.upsert(relation.name, rows)
            self.oracle.upsert(relation.name, rows)

    def remove(self, run: hr.Run, relation: Relation) -> None:
        held = self.oracle.rows(relation.name)
        rows: list[Row] = self.make.rnd.sample(held, self.make.rnd.randint(1, min(3, len(held))))
        run.delete(relation.name, rows)
        self.oracle.delete(relation.name, rows)


def columns(relation: Relation) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in relation.columns)


def check(case: Case, run: hr.Run, sums: dict[str, list[pa.Table]], seen: dict[str, int]) -> None:
    for view in case.views:
        try:
            expected = case.oracle.expected(view)
        except ExpectedError:
            with pytest.raises(hr.errors.ViewInError):
                run.read(view)
            continue
        got = run.query(f"SELECT * FROM {view}")
        wrong = difference(got, expected)
        assert wrong is None, f"{view} is not DuckDB's answer\n{wrong}\n{case.describe()}"
        for table in run.changes(view, since=seen.get(view)):
            sums.setdefault(view, []).append(table)
        seen[view] = run.version.number
        wrong = difference(summed(sums[view], got), got)
        assert wrong is None, f"the changes of {view} do not add up to it\n{wrong}\n{case.describe()}"


def summed(tables: list[pa.Table], like: pa.Table) -> pa.Table:
    """Return the rows that all changes together leave, each as often as its weights say."""
    merged = pa.concat_tables(tables)
    rows = merged.drop_columns([WEIGHT, VERSION])
    if not rows.num_columns:
        return like
    weights: dict[str, int] = {}
    place: dict[str, int] = {}
    for i, (row, weight) in enumerate(zip(rows.to_pylist(), merged.column(WEIGHT).to_pylist(), strict=True)):
        weights[repr(row)] = weights.get(repr(row), 0) + weight
        place[repr(row)] = i
    assert all(weight >= 0 for weight in weights.values()), "a row was taken away that was not there"
    positions = [place[key] for key, weight in weights.items() for _ in range(weight)]
    return rows.take(pa.array(np.array(positions, dtype=np.int64)))


CASES_IN_CI = 60


@pytest.mark.parametrize("seed", range(CASES_IN_CI))
def test_views_equal_duckdb_at_every_version(seed: int) -> None:
    run_case(seed)


@pytest.mark.torture
def test_many_cases(torture: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """At least `torture.cases`, then more until the time is up; a failure names the seed of its case."""
    end = time.monotonic() + torture.minutes * 60
    done = 0
    while done < torture.cases or time.monotonic() < end:
        run_case(torture.seed * 1_000_000 + done)
        done += 1
    with capsys.disabled():
        sys.stdout.write(f"{done} random cases agree with DuckDB, seeds from {torture.seed * 1_000_000}\n")


def run_case(seed: int) -> None:
    """Play one case; some live in a folder that is closed, perhaps with commits waiting, and opened again."""
    rnd = random.Random(seed)
    case = Case(rnd)
    clock = ManualClock()
    sums: dict[str, list[pa.Table]] = {}
    seen: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) if rnd.random() < 0.3 else None
        for _ in range(2 if path else 1):
            with case.app.open(path, clock=clock) as run:
                live(case, run, clock, sums, seen)


def live(
    case: Case, run: hr.Run, clock: ManualClock, sums: dict[str, list[pa.Table]], seen: dict[str, int]
) -> None:
    rnd = case.make.rnd
    run.advance()
    check(case, run, sums, seen)
    for _ in range(rnd.randint(1, 6)):
        for _ in range(rnd.choice((1, 1, 3))):
            case.change(run, clock)
        run.advance()
        check(case, run, sums, seen)
    if rnd.random() < 0.5:
        case.change(run, clock)
