"""Each pass by what it leaves: pairs of a query and its plan, a file for each pass."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.sql.data import CATALOG

from headrace.functions import declare
from headrace.sql import explain_plan, plan_view
from headrace.sql.passes import PASSES

FUNCTIONS = {
    "score": declare("score", lambda a: a, ["BIGINT"], "BIGINT", "1", "columnar"),
    "spread": declare("spread", lambda rows: len(rows), ["BIGINT"], "BIGINT", "1", "aggregate"),
}
FILES = sorted((Path(__file__).parent / "fixtures").glob("*.sql"))


def test_every_pass_has_its_cases() -> None:
    assert {path.stem for path in FILES} == {run.__name__ for run in PASSES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_plans(path: Path) -> None:
    blocks = [block.strip("\n").partition("\n---\n") for block in path.read_text().split("\n\n") if block]
    plans = [explain_plan(plan_view("case", sql, CATALOG, functions=FUNCTIONS)) for sql, _, _ in blocks]
    if os.environ.get("HEADRACE_WRITE_SHAPES"):
        pairs = [f"{sql}\n---\n{plan}" for (sql, _, _), plan in zip(blocks, plans, strict=True)]
        path.write_text("\n\n".join(pairs) + "\n")
    else:
        assert plans == [expected for _, _, expected in blocks]
