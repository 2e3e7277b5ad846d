"""Python functions through the whole app: durable, redefined, asked ad hoc, refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import headrace as hr
from headrace.testing import Oracle

ROWS = [{"k": 1, "g": "a", "x": 5}, {"k": 2, "g": "a", "x": 0}, {"k": 3, "g": "b", "x": None}]


def double(x: pa.Array) -> pa.Array:
    return pc.multiply(x, 2)


def highest(rows: list[int | None]) -> int | None:
    return max((row for row in rows if row is not None), default=None)


def shop(folder: Path, fn: Callable[..., Any] = double, version: str = "1") -> hr.App:
    app = hr.App("shop", folder=folder)
    app.table("t", "k BIGINT NOT NULL, g VARCHAR, x INTEGER", key="k")
    app.function("double_of", fn, args=["BIGINT"], returns="BIGINT", version=version)
    app.aggregate_function("highest", highest, args=["INTEGER"], returns="INTEGER")
    app.view("doubled", "SELECT k, double_of(x) AS d FROM t")
    app.view("by_group", "SELECT g, highest(x) AS h, sum(double_of(x)) AS s FROM t GROUP BY g")
    app.view("plain", "SELECT count(*) AS n FROM t")
    return app


def test_views_call_functions_and_come_back_from_disk(tmp_path: Path) -> None:
    for again in (False, True):
        with shop(tmp_path).open(tmp_path / "data") as run:
            if not again:
                run.upsert("t", ROWS)
            run.advance()
            rows = run.query("SELECT * FROM by_group ORDER BY g").to_pylist()
            assert rows == [{"g": "a", "h": 5, "s": 10}, {"g": "b", "h": None, "s": None}]


def test_ad_hoc_queries_call_scalar_functions_only(tmp_path: Path) -> None:
    with shop(tmp_path).open(None) as run:
        run.upsert("t", ROWS)
        run.advance()
        found = run.query("SELECT double_of(x) + 1 AS y FROM t ORDER BY k").column("y").to_pylist()
        assert found == [11, 1, None]
        with pytest.raises(hr.SqlError, match="highest\\(\\) is an aggregate Python function"):
            run.query("SELECT highest(x) FROM t")


def test_the_oracle_calls_them_too(tmp_path: Path) -> None:
    app = shop(tmp_path)
    oracle = Oracle(app)
    with app.open(None) as run:
        run.upsert("t", ROWS)
        oracle.upsert("t", ROWS)
        run.advance()
        for view in ("doubled", "by_group", "plain"):
            assert run.query(f"SELECT * FROM {view}").num_rows == oracle.expected(view).num_rows


@pytest.mark.parametrize(
    ("fn", "version"), [(lambda x: pc.multiply(x, 3), "1"), (double, "2")], ids=["source", "version"]
)
def test_another_function_builds_its_views_again(
    tmp_path: Path, fn: Callable[..., Any], version: str
) -> None:
    with shop(tmp_path).open(tmp_path / "data") as run:
        run.upsert("t", ROWS)
        run.advance()
    changed = shop(tmp_path, fn, version)
    with pytest.raises(hr.HeadraceError):
        changed.open(tmp_path / "data")
    with changed.open(tmp_path / "data", on_change="apply") as run:
        run.advance()
        factor = 2 if fn is double else 3
        found = run.query("SELECT d FROM doubled ORDER BY k").column("d").to_pylist()
        assert found == [5 * factor, 0, None]
    with shop(tmp_path, fn, version).open(tmp_path / "data") as run:
        assert run.query("SELECT n FROM plain").to_pylist() == [{"n": 3}]


def test_the_fingerprint_tells_source_types_and_version(tmp_path: Path) -> None:
    def one(**given: Any) -> str:
        app = hr.App("x", folder=tmp_path)
        options: dict[str, Any] = {"fn": double, "args": ["BIGINT"], "returns": "BIGINT", **given}
        return app.function("f", options.pop("fn"), **options).fingerprint

    others: list[dict[str, Any]] = [
        {"version": "2"}, {"returns": "DOUBLE"}, {"args": ["INTEGER"]}, {"rowwise": True}, {"fn": highest},
    ]  # fmt: skip
    assert one() == one()
    assert len({one(), *(one(**other) for other in others)}) == 6


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("sum", {}, "SQL has a function of that name already"),
        ("two words", {}, "a function's name is one plain word"),
        ("f", {"fn": 3}, "3 cannot be called"),
        ("f", {"args": []}, "a function needs arguments"),
        ("f", {"returns": "NOTHING"}, "'NOTHING' is not a SQL type"),
        ("highest", {}, "declared twice"),
    ],
)
def test_declarations_that_make_no_sense(
    tmp_path: Path, name: str, given: dict[str, Any], message: str
) -> None:
    app = shop(tmp_path)
    options: dict[str, Any] = {"fn": double, "args": ["BIGINT"], "returns": "BIGINT", **given}
    with pytest.raises(hr.DeclarationError, match=message):
        app.function(name, options.pop("fn"), **options)
    with pytest.raises(hr.DeclarationError, match="nothing to call"):
        app.aggregate_function("g", args=["BIGINT"], returns="BIGINT", init=list)
