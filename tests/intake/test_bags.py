"""Bags: copies are counted, a deletion takes one copy, and no row is ever held a negative number of times."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.intake.model import told
from tests.intake.samples import BAG, Clock, checked, listed, row, total

from headrace.contracts.schema import Column, Schema
from headrace.declarations import TableDecl
from headrace.intake import Call, Intake
from headrace.intake import rowstore as rowstore_module
from headrace.intake.bags import BagTable
from headrace.intake.calls import Kind
from headrace.log import Log
from headrace.results import RowStatus

ACCEPTED, REPEATED, LATE, REJECTED = RowStatus


class Door:
    """An intake of one bag on a log in memory."""

    def __init__(self, decl: TableDecl = BAG) -> None:
        self.decl = decl
        self.log = Log.open(None)
        self.intake = Intake({}, {decl.name: decl}, self.log, Clock())

    def submit(self, kind: Kind, *rows: dict[str, Any]) -> list[int]:
        rows_checked = checked(self.decl.schema, list(rows))
        return listed(self.intake.submit([Call(kind, self.decl.name, rows_checked)])[0])

    def held(self) -> Counter[str]:
        return Counter(told(one) for one in self.intake.contents(self.decl.name).to_pylist())


def test_copies_are_counted() -> None:
    door = Door()
    assert door.submit("upsert", row(1), row(1), row(2)) == [ACCEPTED] * 3
    assert door.submit("upsert", row(1)) == [ACCEPTED]
    assert door.held() == {told(row(1)): 3, told(row(2)): 1}
    assert door.submit("delete", row(1), row(2), row(2), row(3)) == [ACCEPTED, ACCEPTED, REJECTED, REJECTED]
    assert door.held() == {told(row(1)): 2}
    assert door.submit("delete", row(1), row(1), row(1)) == [ACCEPTED, ACCEPTED, REJECTED]
    assert door.held() == Counter()
    change = total(door.log, "bag")
    assert change is not None
    assert change.weights.sum() == 0


def test_null_equals_null_in_a_deletion() -> None:
    door = Door()
    door.submit("upsert", row(None, None, None, None))
    assert door.submit("delete", row(None, None, None, None)) == [ACCEPTED]


def test_a_rejected_deletion_is_kept_with_its_reason() -> None:
    door = Door()
    door.submit("delete", row(1))
    kept = total(door.log, "bag__rejected")
    assert kept is not None
    assert kept.rows.column("reason").to_pylist() == ["the table holds no such row (any more)"]


def test_rows_with_nested_columns_are_held_too() -> None:
    schema = Schema.of([Column("x", "INTEGER[]", pa.list_(pa.int32())), Column("y", "DOUBLE", pa.float64())])
    door = Door(TableDecl("bag", schema))
    assert door.submit("upsert", {"x": [1, None], "y": 0.0}, {"x": None, "y": -0.0}) == [ACCEPTED, ACCEPTED]
    assert door.submit("delete", {"x": [1], "y": 0.0}, {"x": None, "y": 0.0}) == [REJECTED, REJECTED]
    assert door.submit("delete", {"x": [1, None], "y": 0.0}, {"x": None, "y": -0.0}) == [ACCEPTED, ACCEPTED]


@pytest.mark.parametrize("seed", range(3))
def test_a_busy_bag_agrees_with_a_counter(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowstore_module, "CHUNK_ROWS", 32)
    monkeypatch.setattr("headrace.intake.bags.GONE_KEPT", 20)
    random = np.random.default_rng(seed)
    door = Door()
    held: Counter[str] = Counter()
    for turn in range(120):
        rows = [row(int(number), word=f"{turn // 10}") for number in random.integers(0, 8, 10)]
        if turn % 2:
            statuses = door.submit("delete", *rows)
            for one, status in zip(rows, statuses, strict=True):
                assert status == (ACCEPTED if held[told(one)] else REJECTED)
                held[told(one)] -= held[told(one)] > 0
        else:
            door.submit("upsert", *rows)
            held.update(told(one) for one in rows)
        assert door.held() == +held
    bag = door.intake._memory.tables["bag"]
    assert isinstance(bag, BagTable)
    again = Intake({}, {"bag": BAG}, door.log, Clock())
    for record in door.log.records():
        again.recover(record)
    assert Counter(told(one) for one in again.contents("bag").to_pylist()) == +held
