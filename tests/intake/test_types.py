"""Every type that a stream or table may store: told apart, found again, deleted, recovered from the log."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.intake.samples import Clock, listed

from headrace.contracts.schema import Schema
from headrace.contracts.types import column
from headrace.contracts.validate import validate
from headrace.declarations import StreamDecl, TableDecl
from headrace.intake import Call, Intake
from headrace.intake.calls import Kind
from headrace.log import Log

TYPES: dict[str, list[Any]] = {
    "BOOLEAN": [True, None],
    "TINYINT": [1, None],
    "UBIGINT": [2**64 - 1, None],
    "HUGEINT": [10**30, None],
    "FLOAT": [1.5, float("nan")],
    "DOUBLE": [-0.0, 0.0],
    "DECIMAL(38,10)": ["1.1", None],
    "VARCHAR": ["", None],
    "BLOB": [b"x", None],
    "DATE": ["2026-01-01", None],
    "TIME": ["01:02:03", None],
    "TIMESTAMP": ["2026-01-01 00:00:00", None],
    "TIMESTAMP_NS": ["2026-01-01 00:00:00", None],
    "TIMESTAMPTZ": ["2026-01-01 00:00:00", None],
    "INTERVAL": ["P1DT1S", "P1D"],
    "UUID": ["00000000-0000-0000-0000-000000000007", None],
    "JSON": ['{"a": 1}', None],
    "ENUM('a', 'b')": ["a", "b"],
    "ENUM('a', 'b')[]": [["b"], ["a", None]],
    "INTEGER[]": [[1, None], []],
    "INTEGER[2]": [[1, 2], None],
    "STRUCT(a INTEGER, b VARCHAR)": [{"a": 1, "b": "x"}, {"a": 1, "b": None}],
    "MAP(VARCHAR, INTEGER)": [{"k": 1}, None],
}
ACCEPTED, REPEATED, REJECTED = 0, 1, 3


class Door:
    """A stream, a keyed table and a bag with a column of the type, on a log on disk."""

    def __init__(self, log: Log, sql_type: str) -> None:
        self.schema = Schema.of([column("id", "BIGINT"), column("v", sql_type)])
        streams = {"s": StreamDecl("s", self.schema, event_id="id")}
        tables = {"k": TableDecl("k", self.schema, key=("id",)), "b": TableDecl("b", self.schema)}
        self.intake = Intake(streams, tables, log, Clock())
        for record in log.records():
            self.intake.recover(record)

    def send(self, kind: Kind, name: str, *rows: tuple[int, Any]) -> list[int]:
        checked = validate(self.schema, [{"id": number, "v": value} for number, value in rows])
        assert not checked.rejections
        return listed(self.intake.submit([Call(kind, name, checked)])[0])

    def contents(self) -> list[Counter[str]]:
        return [Counter(map(repr, self.intake.contents(name).to_pylist())) for name in ("k", "b")]


@pytest.mark.parametrize("sql_type", TYPES)
def test_values_of_every_type_are_told_apart_and_found_again(tmp_path: Path, sql_type: str) -> None:
    x, y = TYPES[sql_type]
    with Log.open(tmp_path) as log:
        door = Door(log, sql_type)
        assert door.send("append", "s", (1, x), (2, y)) == [ACCEPTED, ACCEPTED]
        assert door.send("append", "s", (2, y), (1, x), (1, y)) == [REPEATED, REPEATED, REJECTED]
        assert door.send("upsert", "k", (1, x)) == [ACCEPTED]
        assert door.send("upsert", "k", (2, y)) == [ACCEPTED]
        assert door.send("upsert", "k", (1, y), (2, x)) == [ACCEPTED, ACCEPTED]
        assert door.send("upsert", "b", (1, x), (1, y), (1, x)) == [ACCEPTED] * 3
        assert door.send("delete", "b", (1, x), (1, y), (1, y)) == [ACCEPTED, ACCEPTED, REJECTED]
        held = door.contents()
    with Log.open(tmp_path) as log:
        door = Door(log, sql_type)
        assert door.contents() == held
        assert door.send("append", "s", (1, x), (2, x)) == [REPEATED, REJECTED]
        assert door.send("upsert", "k", (1, y), (2, x)) == [REPEATED, REPEATED]
        assert door.send("delete", "b", (1, x), (1, x)) == [ACCEPTED, REJECTED]
