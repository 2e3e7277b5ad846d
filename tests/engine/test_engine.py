"""The engine as a whole: views on views, errors and healing, dropping, replacing, building from history."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from tests.engine.makers import OTHERS, THINGS, other, thing
from tests.engine.world import CLOCK, World, bag, random_steps

from headrace.change import Change
from headrace.engine.operators.base import Operator, OperatorInfo, StepContext
from headrace.engine.operators.scan import ScanOperator
from headrace.errors import DeclarationError, UnknownName
from headrace.sql.planner import plan_view

RELATIONS = {"t": THINGS, "u": OTHERS}
MAKERS = {"t": thing, "u": other}


def test_views_on_views_move_together() -> None:
    made = World(RELATIONS)
    made.add("a", "SELECT k, s, x FROM t WHERE x >= 0")
    made.add("b", "SELECT k, sum(x) AS total, count(*) AS n FROM a GROUP BY k")
    made.add("c", "SELECT b.k, total, name FROM b JOIN u ON b.k = u.k")
    made.add("d", "SELECT max(total) AS m, count(*) AS n FROM c")
    random_steps(made, MAKERS, steps=10, seed=4)


def test_a_view_added_later_is_computed_over_history() -> None:
    made = World(RELATIONS)
    made.add("a", "SELECT k, s FROM t WHERE x >= 0")
    random_steps(made, MAKERS, steps=4, seed=5)
    made.add("b", "SELECT k, count(*) AS n FROM a GROUP BY k")
    made.add("c", "SELECT k, count(DISTINCT s) AS n, min(x) AS m FROM t GROUP BY k")
    made.add("d", "SELECT t.k, name FROM t JOIN u USING (k)")
    random_steps(made, MAKERS, steps=4, seed=6)


def test_a_replaced_view_emits_the_difference_and_so_do_its_readers() -> None:
    made = World(RELATIONS)
    made.add("a", "SELECT k, x FROM t WHERE x > 0")
    made.add("b", "SELECT k, sum(x) AS s FROM a GROUP BY k")
    random_steps(made, MAKERS, steps=4, seed=7)
    before = bag(made.engine.snapshot("b"))
    plan = plan_view("a", "SELECT k, x FROM t WHERE x < 5", made.relations)
    changes = made.engine.replace_view(plan, made.history)
    assert set(changes) <= {"a", "b"}
    after = bag(made.engine.snapshot("b"))
    moved = changes["b"]
    gone = bag(pa.Table.from_batches([moved.filter(moved.weights < 0).rows]))
    come = bag(pa.Table.from_batches([moved.filter(moved.weights > 0).rows]))
    assert before - gone + come == after
    made.plans["a"] = plan
    made.duckdb.execute(f"CREATE OR REPLACE TEMP VIEW a AS {plan.reference_sql}")
    made.sums = {name: bag(made.engine.snapshot(name)) for name in made.plans}
    random_steps(made, MAKERS, steps=3, seed=8)


def test_names_are_watched() -> None:
    made = World(RELATIONS)
    made.add("a", "SELECT k FROM t")
    made.add("b", "SELECT k FROM a")
    with pytest.raises(DeclarationError, match="already"):
        made.engine.add_relation("A", THINGS)
    with pytest.raises(DeclarationError, match="read by b"):
        made.engine.drop_view("a")
    with pytest.raises(UnknownName, match="did you mean 'b'"):
        made.engine.snapshot("bb")
    made.engine.drop_view("b")
    made.engine.drop_view("a")
    assert made.engine.views == ()


def test_a_step_without_rows_does_nothing() -> None:
    made = World(RELATIONS)
    made.add("a", "SELECT count(*) AS n FROM t")
    empty = Change.empty(THINGS.arrow)
    assert made.engine.step({"t": empty}, CLOCK, {}).changes == {}
    assert made.engine.step({}, CLOCK, {}).changes == {}


def test_explain_tells_rules_and_state() -> None:
    made = World(RELATIONS)
    made.add("a", "SELECT k, sum(x) AS s, count(DISTINCT s) AS d FROM t GROUP BY k")
    made.add("b", "SELECT k, list(x ORDER BY x) AS l FROM t GROUP BY k")
    random_steps(made, {"t": thing}, steps=3, seed=9)
    told = next(part for part in everything(made.engine.explain("a")) if part.name == "aggregate")
    assert (told.name, told.rule) == ("aggregate", "distinct set")
    assert told.state_rows > 0
    assert told.state_bytes > 0
    assert told.rows_in > 0
    assert leaves(told) == ["scan"]
    assert any("list" in (part.reason or "") for part in everything(made.engine.explain("b")))


def everything(told: OperatorInfo) -> list[OperatorInfo]:
    return [told, *(part for below in told.inputs for part in everything(below))]


def leaves(told: OperatorInfo) -> list[str]:
    return [part.name for part in everything(told) if not part.inputs]


def test_a_view_that_breaks_is_built_anew_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    made = World(RELATIONS)
    made.add("good", "SELECT k, count(*) AS n FROM t GROUP BY k")
    made.add("bad", "SELECT k, name FROM u")
    made.add("worse", "SELECT count(*) AS n FROM bad")
    random_steps(made, MAKERS, steps=3, seed=10)
    original = ScanOperator.step

    def broken(self: Operator, inputs: Sequence[Change], context: StepContext) -> Change:
        if self.schema.names == ("k", "name"):
            raise RuntimeError("out of order")
        return original(self, inputs, context)  # type: ignore[arg-type]

    rng = random.Random(11)
    rows = {name: [maker(rng) for _ in range(5)] for name, maker in MAKERS.items()}
    held = bag(made.engine.snapshot("bad"))
    with monkeypatch.context() as patched:
        patched.setattr(ScanOperator, "step", broken)
        changes = {
            name: Change.inserts(pa.RecordBatch.from_pylist(some, schema=RELATIONS[name].arrow))
            for name, some in rows.items()
        }
        output = made.engine.step(changes, CLOCK, {})
    assert set(output.errors) == {"bad", "worse"}
    assert "out of order" in output.errors["bad"]
    assert set(output.changes) == {"good"}
    assert bag(made.engine.snapshot("bad")) == held
    for name, some in rows.items():
        made.rows[name] += some
        made.given[name].append(changes[name])
    good = output.changes["good"]
    for row, weight in zip(good.rows.to_pylist(), good.weights.tolist(), strict=True):
        made.sums["good"].update({next(iter(bag(pa.Table.from_pylist([row], schema=good.schema)))): weight})
    random_steps(made, MAKERS, steps=3, seed=12)


def test_deleting_by_weight_takes_copies() -> None:
    made = World({"u": OTHERS})
    made.add("v", "SELECT k, name FROM u")
    row = {"k": 1, "name": "p", "w": 1.0}
    made.step({"u": [(row, 3)]})
    made.step({"u": [(row, -2)]})
    assert made.engine.snapshot("v").num_rows == 1
    weights = np.array([-1], dtype=np.int64)
    rows = pa.RecordBatch.from_pylist([row], schema=OTHERS.arrow)
    assert made.engine.step({"u": Change(rows, weights)}, CLOCK, {}).changes["v"].weights.tolist() == [-1]
