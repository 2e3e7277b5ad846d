"""A small world for tests of the engine: relations, views from SQL, random changes, DuckDB as the reference.

After every step each view must equal what DuckDB answers over the accumulated rows, and the sum of the
emitted changes must equal the view's rows.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from headrace.change import Change
from headrace.contracts.schema import Column, Schema
from headrace.contracts.scratch import scratch
from headrace.engine.columns import canonical
from headrace.engine.duck import typed_source
from headrace.engine.engine import Engine, StepOutput
from headrace.functions import PythonFunction
from headrace.query.python_functions import Registered
from headrace.sql.plan import ViewPlan
from headrace.sql.planner import plan_view

CLOCK = datetime(2024, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


def schema(**types: str) -> Schema:
    """Return a schema from DuckDB type names."""
    with scratch() as connection:
        items = ", ".join(f'CAST(NULL AS {kind}) AS "{name}"' for name, kind in types.items())
        table = connection.sql(f"SELECT {items}").to_arrow_table()
        kinds = connection.sql(f"SELECT {items}").types
    return Schema.of(
        Column(name, str(kind), field.type)
        for name, kind, field in zip(types, kinds, table.schema, strict=True)
    )


def shown(value: Any) -> str:
    """Return a value as text for comparison: numbers rounded to nine digits, −0.0 as 0.0."""
    if isinstance(value, float):
        return f"{value + 0.0:.9g}"
    return canonical(value, exact=False)


def bag(table: pa.Table) -> Counter[tuple[str, ...]]:
    """Return the rows of a table as a multiset."""
    return Counter(texts(table))


def texts(table: pa.Table | pa.RecordBatch) -> Iterator[tuple[str, ...]]:
    """Yield the rows as texts of their values; a value that a column repeats is written once."""
    return zip(*map(_texts, table.columns), strict=True)


def _texts(column: pa.Array | pa.ChunkedArray) -> list[str]:
    values = column.to_pylist()
    if pa.types.is_nested(column.type):
        return [shown(value) for value in values]
    known = _WRITTEN.setdefault(column.type, {})
    if len(known) > WRITTEN_MAX:
        known.clear()
    known.update({value: shown(value) for value in set(values).difference(known)})
    return [known[value] for value in values]


WRITTEN_MAX = 20_000
_WRITTEN: dict[pa.DataType, dict[Any, str]] = {}
"""Texts of values per type: the same few values come back in every view and step. NaN is new each time."""


class World:
    """An engine, the rows that it should hold, and the checks."""

    def __init__(
        self,
        relations: Mapping[str, Schema],
        *,
        append_only: Sequence[str] = (),
        event_times: Mapping[str, str] | None = None,
    ) -> None:
        self.relations = dict(relations)
        self.rows: dict[str, list[Row]] = {name: [] for name in relations}
        self.engine = Engine()
        self.duckdb = scratch()
        self.plans: dict[str, ViewPlan] = {}
        self.functions: dict[str, PythonFunction] = {}
        self.sums: dict[str, Counter[tuple[str, ...]]] = {}
        self.given: dict[str, list[Change]] = {name: [] for name in relations}
        for name, columns in relations.items():
            time = (event_times or {}).get(name)
            self.engine.add_relation(name, columns, append_only=name in append_only, event_time=time)
            self._show(name)

    def _show(self, name: str) -> None:
        """Let DuckDB know the relation."""
        self._register(name)
        source = typed_source(f"_{name}", self.relations[name])
        self.duckdb.execute(f"CREATE TEMP VIEW {name} AS SELECT * FROM {source}")

    def _register(self, name: str) -> None:
        """Let DuckDB see the relation's rows."""
        self.duckdb.register(
            f"_{name}", pa.Table.from_pylist(self.rows[name], schema=self.relations[name].arrow)
        )

    def declare(self, function: PythonFunction) -> None:
        """Let views call a Python function, and DuckDB too: before the first view, and in one of its own."""
        if not self.functions:
            self.duckdb = duckdb.connect(config={"threads": 1})
            for name in self.relations:
                self._show(name)
        self.functions[function.name] = function
        Registered(lambda: {function.name: function}).refresh(self.duckdb)

    def history(self, name: str) -> Iterator[Change]:
        yield from self.given[name]

    def catalog(self) -> dict[str, Schema]:
        return {**self.relations, **{name: plan.schema for name, plan in self.plans.items()}}

    def add_unchecked(self, name: str, sql: str) -> ViewPlan:
        """Add a view that DuckDB is not asked about."""
        plan = plan_view(name, sql, self.catalog(), functions=self.functions)
        self.engine.add_view(plan, self.history)
        return plan

    def add(self, name: str, sql: str) -> ViewPlan:
        plan = self.add_unchecked(name, sql)
        self.plans[name] = plan
        self.duckdb.execute(f'CREATE TEMP VIEW "{name}" AS {plan.reference_at(CLOCK)}')
        self.sums[name] = bag(self.engine.snapshot(name))
        return plan

    def step(
        self,
        changes: Mapping[str, Sequence[tuple[Row, int]]],
        watermarks: Mapping[str, datetime] | None = None,
        *,
        clock: datetime = CLOCK,
        look: bool = True,
    ) -> StepOutput:
        """Apply rows with weights and check every view; without `look`, what the changes add up to waits."""
        moved = {}
        for name, pairs in changes.items():
            for row, weight in pairs:
                for _ in range(abs(weight)):
                    self.rows[name].append(row) if weight > 0 else self.rows[name].remove(row)
            rows = pa.RecordBatch.from_pylist([row for row, _ in pairs], schema=self.relations[name].arrow)
            moved[name] = Change(rows, np.array([weight for _, weight in pairs], dtype=np.int64))
        output = self.engine.step(moved, clock, watermarks or {})
        for plan in self.plans.values():
            if plan.reads_clock:
                self.duckdb.execute(
                    f'CREATE OR REPLACE TEMP VIEW "{plan.name}" AS {plan.reference_at(clock)}'
                )
        for name, change in moved.items():
            self.given[name].append(change)
        self._add_up(output)
        if look:
            self.check(output)
        return output

    def _add_up(self, output: StepOutput) -> None:
        for name, change in output.changes.items():
            if name not in self.plans:
                continue
            assert change.weights.all()
            for row, weight in zip(texts(change.rows), change.weights.tolist(), strict=True):
                self.sums[name][row] += weight

    def check(self, output: StepOutput) -> None:
        """Compare every view, and what its changes have added up to, with DuckDB's answer."""
        for name in self.relations:
            self._register(name)
        for name, plan in self.plans.items():
            self._check_view(name, plan, output)

    def _check_view(self, name: str, plan: ViewPlan, output: StepOutput) -> None:
        wanted = _answer(self.duckdb, f'SELECT * FROM "{name}"')
        if wanted is None:
            assert name in output.errors, f"{name} should be in error"
            return
        assert name not in output.errors, output.errors
        table = self.engine.snapshot(name)
        assert table.schema.names == list(plan.schema.names)
        assert table.schema.types == [column.arrow for column in plan.schema], name
        found = bag(table)
        assert found == wanted, f"{name}: extra {found - wanted}, missing {wanted - found}"
        summed = Counter({row: count for row, count in self.sums[name].items() if count})
        assert summed == wanted, (
            f"{name}: the changes add up to {summed - wanted} too much, {wanted - summed} less"
        )
        assert self.engine.store(name).row_count == table.num_rows

    def explain_rule(self, name: str) -> str:
        return self.engine.explain(name).rule


def _answer(connection: duckdb.DuckDBPyConnection, sql: str) -> Counter[tuple[str, ...]] | None:
    """Return DuckDB's rows, or None where it answers with an error."""
    try:
        return bag(connection.sql(sql).to_arrow_table())
    except duckdb.Error:
        return None


def random_steps(
    world: World,
    make: Mapping[str, Callable[[random.Random], Row]],
    *,
    steps: int,
    seed: int,
    most: int = 12,
    deletes: float = 0.4,
    append_only: Sequence[str] = (),
) -> None:
    """Run steps of random insertions and deletions; rows repeat, some steps touch one relation only."""
    rng = random.Random(seed)
    for _ in range(steps):
        changes: dict[str, list[tuple[Row, int]]] = {}
        for name, maker in make.items():
            if rng.random() < 0.3:
                continue
            held = list(world.rows[name])
            pairs: list[tuple[Row, int]] = []
            for _ in range(rng.randrange(most)):
                if name not in append_only and held and rng.random() < deletes:
                    pairs.append((held.pop(rng.randrange(len(held))), -1))
                else:
                    pairs.append((maker(rng), rng.choice((1, 1, 1, 2))))
            if pairs:
                changes[name] = pairs
        world.step(changes)
