"""Keyed tables: what goes and what comes for every kind of upsert and deletion, also after much churn."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.intake.samples import KEYED, SEQUENCED, TABLE, Clock, checked, listed, row, total

from headrace.contracts.schema import Column, Schema
from headrace.declarations import TableDecl
from headrace.errors import DeclarationError
from headrace.intake import Call, Intake
from headrace.intake import rowstore as rowstore_module
from headrace.intake.calls import Kind
from headrace.intake.tables import KeyedTable
from headrace.log import Log
from headrace.results import AppendResult, RowStatus

ACCEPTED, REPEATED, LATE, REJECTED = RowStatus


class Door:
    """An intake of one table on a log in memory."""

    def __init__(self, decl: TableDecl) -> None:
        self.decl = decl
        self.log = Log.open(None)
        self.intake = Intake({}, {decl.name: decl}, self.log, Clock())

    def submit(self, kind: Kind, rows: list[dict[str, Any]]) -> AppendResult:
        schema = self.decl.schema.select(list(rows[0])) if rows else self.decl.schema
        return self.intake.submit([Call(kind, self.decl.name, checked(schema, rows))])[0]

    def upsert(self, *rows: dict[str, Any]) -> list[int]:
        return listed(self.submit("upsert", list(rows)))

    def delete(self, *rows: dict[str, Any]) -> list[int]:
        return listed(self.submit("delete", list(rows)))

    def changes(self) -> list[tuple[int, Any]]:
        """Weight and word of everything that ever changed."""
        change = total(self.log, self.decl.name)
        assert change is not None
        return list(zip(change.weights.tolist(), change.rows.column("word").to_pylist(), strict=True))

    def words(self) -> list[Any]:
        return sorted(self.intake.contents(self.decl.name).column("word").to_pylist())


def key(a: int | None, b: str | None = "x") -> dict[str, Any]:
    return {"a": a, "b": b}


def test_an_upsert_takes_the_old_row_back_and_puts_the_new_one() -> None:
    door = Door(KEYED)
    assert door.upsert(row(1, word="one"), row(2, word="two")) == [ACCEPTED, ACCEPTED]
    assert door.upsert(row(1, word="uno"), row(3, word="three")) == [ACCEPTED, ACCEPTED]
    assert door.changes() == [(1, "one"), (1, "two"), (-1, "one"), (1, "uno"), (1, "three")]
    assert door.words() == ["three", "two", "uno"]


def test_the_last_upsert_of_a_key_within_a_call_wins() -> None:
    door = Door(KEYED)
    assert door.upsert(row(1, word="a"), row(2, word="b"), row(1, word="c")) == [ACCEPTED] * 3
    assert door.changes() == [(1, "b"), (1, "c")]
    assert door.upsert(row(1, word="d"), row(1, word="c")) == [ACCEPTED, REPEATED]
    assert door.log.last_commit == 1


def test_a_null_in_any_part_of_the_key_is_rejected() -> None:
    door = Door(KEYED)
    result = door.submit("upsert", [row(None), row(1, None), row(None, None), row(1)])
    assert result.statuses.tolist() == [REJECTED, REJECTED, REJECTED, ACCEPTED]
    assert [(given.index, given.field) for given in result.rejections] == [(0, "a"), (1, "b"), (2, "a")]
    assert {given.reason for given in result.rejections} == {"the key is NULL"}


def test_a_deletion_needs_the_key_only_and_a_row_that_is_there() -> None:
    door = Door(KEYED)
    door.upsert(row(1, word="one"), row(2, word="two"))
    result = door.submit("delete", [key(1), key(1), key(9), key(None)])
    assert result.statuses.tolist() == [ACCEPTED, REJECTED, REJECTED, REJECTED]
    assert result.rejections[0].reason == "the table holds no row with this key"
    assert door.changes()[-1] == (-1, "one")
    assert door.words() == ["two"]
    assert door.upsert(row(1, word="again")) == [ACCEPTED]
    assert door.changes()[-1] == (1, "again")


def test_calls_of_one_transaction_see_each_other() -> None:
    door = Door(KEYED)
    calls = [
        Call("upsert", "keyed", checked(TABLE, [row(1, word="a")])),
        Call("upsert", "keyed", checked(TABLE, [row(1, word="b")])),
        Call("delete", "keyed", checked(TABLE.select(["a", "b"]), [key(1)])),
        Call("upsert", "keyed", checked(TABLE, [row(1, word="c")])),
    ]
    results = door.intake.submit(calls)
    assert {result.commit for result in results} == {1}
    assert door.changes() == [(1, "a"), (-1, "a"), (1, "b"), (-1, "b"), (1, "c")]
    again = Intake({}, {"keyed": KEYED}, door.log, Clock())
    for record in door.log.records():
        again.recover(record)
    assert again.contents("keyed").to_pylist() == [row(1, word="c")]


def test_an_older_sequence_never_overwrites_a_newer_one() -> None:
    door = Door(SEQUENCED)
    assert door.upsert(row(1, seq=5, word="five")) == [ACCEPTED]
    assert door.upsert(row(1, seq=4, word="four")) == [REPEATED]
    assert door.upsert(row(1, seq=5, word="five again")) == [ACCEPTED]
    assert door.upsert(row(1, seq=9, word="nine"), row(1, seq=7, word="seven")) == [ACCEPTED, REPEATED]
    assert door.words() == ["nine"]
    assert door.upsert(row(1, seq=None)) == [REJECTED]


def test_a_deletion_with_an_older_sequence_changes_nothing() -> None:
    door = Door(SEQUENCED)
    door.upsert(row(1, seq=5))
    assert door.delete(key(1) | {"seq": 4}) == [REPEATED]
    assert door.delete(key(1) | {"seq": 5}) == [ACCEPTED]
    assert door.upsert(row(1, seq=4)) == [REPEATED]
    assert door.upsert(row(1, seq=5)) == [ACCEPTED]
    assert door.delete(key(1)) == [ACCEPTED]


SEQUENCES: list[tuple[str, pa.DataType, list[Any]]] = [
    ("UBIGINT", pa.uint64(), [0, 2**63 - 1, 2**63, 2**64 - 1]),
    ("TINYINT", pa.int8(), [-128, 0, 127]),
    ("DECIMAL(18,3)", pa.decimal128(18, 3), [Decimal("-9.001"), Decimal("0.000"), Decimal("9.001")]),
    ("DATE", pa.date32(), [date(1900, 1, 1), date(2026, 1, 1)]),
    ("TIMESTAMP", pa.timestamp("us"), [datetime.min, datetime(2026, 1, 1, 0, 0, 0, 1)]),  # noqa: DTZ001, DTZ901
]


@pytest.mark.parametrize(("sql_type", "arrow", "ordered"), SEQUENCES, ids=[one[0] for one in SEQUENCES])
def test_sequences_of_every_type_are_in_order(sql_type: str, arrow: pa.DataType, ordered: list[Any]) -> None:
    columns = [Column("a", "BIGINT", pa.int64()), Column("seq", sql_type, arrow)]
    door = Door(TableDecl("t", Schema.of(columns), key=("a",), sequence="seq"))
    for at, newer in enumerate(ordered):
        assert door.upsert({"a": 1, "seq": newer}) == [ACCEPTED]
        for older in ordered[:at]:
            assert door.upsert({"a": 1, "seq": older}) == [REPEATED]
    falling = [{"a": 2, "seq": value} for value in reversed(ordered)]
    assert door.upsert(*falling) == [ACCEPTED] + [REPEATED] * (len(ordered) - 1)


@pytest.mark.parametrize(
    ("sql_type", "arrow"), [("VARCHAR", pa.string()), ("DECIMAL(38,0)", pa.decimal128(38, 0))]
)
def test_a_sequence_without_an_order_in_64_bits_is_refused(sql_type: str, arrow: pa.DataType) -> None:
    columns = [Column("a", "BIGINT", pa.int64()), Column("seq", sql_type, arrow)]
    with pytest.raises(DeclarationError, match="seq"):
        Door(TableDecl("t", Schema.of(columns), key=("a",), sequence="seq"))


def test_floats_are_compared_bit_by_bit_as_content_and_by_value_as_key() -> None:
    columns = [Column("k", "DOUBLE", pa.float64()), Column("word", "DOUBLE", pa.float64())]
    door = Door(TableDecl("t", Schema.of(columns), key=("K",)))
    nan = float("nan")
    assert door.upsert({"k": 0.0, "word": nan}) == [ACCEPTED]
    assert door.upsert({"k": 0.0, "word": nan}) == [REPEATED]
    assert door.upsert({"k": -0.0, "word": 0.0}) == [ACCEPTED]
    assert door.upsert({"k": -0.0, "word": -0.0}) == [ACCEPTED]
    assert door.intake.contents("t").num_rows == 1
    assert door.delete({"k": 0.0}) == [ACCEPTED]


def test_a_busy_table_keeps_memory_for_its_live_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rowstore_module, "CHUNK_ROWS", 64)
    door = Door(KEYED)
    random = np.random.default_rng(1)
    held: dict[int, str] = {}
    for turn in range(150):
        numbers = random.permutation(40)[:10].tolist()
        if turn % 5 == 4:
            going = [number for number in numbers if number in held]
            if going:
                assert door.delete(*[key(number) for number in going]) == [ACCEPTED] * len(going)
            held = {number: word for number, word in held.items() if number not in going}
        else:
            assert door.upsert(*[row(number, word=f"{turn}") for number in numbers]) == [ACCEPTED] * 10
            held |= dict.fromkeys(numbers, f"{turn}")
        assert {r["a"]: r["word"] for r in door.intake.contents("keyed").to_pylist()} == held
    table = door.intake._memory.tables["keyed"]
    assert isinstance(table, KeyedTable)
    assert len(table) == len(held)
    assert sum(len(chunk.alive) for chunk in table._rows._chunks) < 300


def test_keys_that_are_gone_for_good_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.intake.tables.GONE_KEPT", 50)
    door = Door(replace(KEYED, name="keyed"))
    for start in range(0, 600, 60):
        rows = [row(number) for number in range(start, start + 60)]
        door.upsert(*rows)
        door.delete(*[key(number) for number in range(start + 3, start + 60)])
    door.intake.tick()
    table = door.intake._memory.tables["keyed"]
    assert isinstance(table, KeyedTable)
    assert table._index.count < 300
    assert len(table) == 30
    assert door.upsert(*[row(start) for start in range(0, 600, 60)]) == [REPEATED] * 10
    assert door.delete(*[key(start + 1) for start in range(0, 600, 60)]) == [ACCEPTED] * 10
