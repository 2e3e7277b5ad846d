"""Versions of rows: each case is a list of calls, against what must be accepted, held and written down.

Versions come in any order, so that the cases say the order of arrival and the order of the sequence apart.
What is asked at the end is asked again of a memory that has been recovered from the log, in one go and record
by record.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace.app import App
from headrace.contracts.schema import Schema
from headrace.contracts.validate import validate
from headrace.declarations import TableDecl
from headrace.intake import Call, Intake
from headrace.intake.tables import KeyedTable
from headrace.log.log import Log
from headrace.results import AppendResult

COLUMNS = "id BIGINT, plan TEXT, at TIMESTAMP, seq BIGINT"
NOW = datetime(2026, 5, 1, tzinfo=UTC)
Version = tuple[int, str | None, str, int | None, bool]


def on(month: int, day: int) -> datetime:
    """Return a time as rows carry it."""
    return datetime(2026, month, day, tzinfo=UTC)


def row(key: int, plan: str, day: int, seq: int | None = None) -> dict[str, Any]:
    return {"id": key, "plan": plan, "at": on(1, day), "seq": seq}


class Door:
    """An intake over a log in memory."""

    def __init__(self, sequence: str | None = "seq") -> None:
        self.decl = App("shop").table("subs", COLUMNS, key="id", effective="at", sequence=sequence)
        self.log = Log.open(None)
        self.intake = self.opened()

    def opened(self) -> Intake:
        return Intake({}, {"subs": self.decl}, self.log, lambda: NOW)

    def upsert(self, *rows: dict[str, Any]) -> AppendResult:
        checked = validate(self.decl.schema, list(rows), extra="ignore")
        return self.intake.submit([Call("upsert", "subs", checked)])[0]

    def delete(self, *rows: dict[str, Any]) -> AppendResult:
        schema = Schema.of(column for column in _loose(self.decl) if column.name in rows[0])
        return self.intake.submit([Call("delete", "subs", validate(schema, list(rows)))])[0]

    def held(self) -> list[tuple[int, str]]:
        return sorted((found["id"], found["plan"]) for found in self.intake.contents("subs").to_pylist())

    def versions(self) -> list[Version]:
        """Key, plan, effective day, order and whether deleted, as accepted."""
        found = [entry for change in self.log.history("subs__versions") for entry in change.rows.to_pylist()]
        return [
            (one["id"], one["plan"], f"{one['_valid_from']:%m-%d}", one["_order"], one["_deleted"])
            for one in found
        ]

    def restart(self) -> None:
        """Begin anew from the log."""
        self.intake = self.opened()
        for record in self.log.records():
            self.intake.recover(record)


def _loose(decl: TableDecl) -> Schema:
    return Schema.of(replace(column, nullable=column.name != "id") for column in decl.schema)


def statuses(answer: AppendResult) -> str:
    """Return one letter per row: accepted, repeated, late, x for rejected."""
    return "".join("arlx"[int(status)] for status in answer.statuses)


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 2, 1), (2, 3, 1), (3, 1, 2)])
def test_the_newest_sequence_is_held_in_whatever_order_versions_arrive(
    door: Door, order: Sequence[int]
) -> None:
    for seq in order:
        assert statuses(door.upsert(row(1, f"plan {seq}", seq, seq))) == "a"
    assert door.held() == [(1, "plan 3")]
    assert sorted(version[3] or 0 for version in door.versions()) == [1, 2, 3]
    door.restart()
    assert door.held() == [(1, "plan 3")]
    assert statuses(door.upsert(row(1, "plan 2", 2, 2), row(1, "plan 3", 3, 3))) == "rr"


def test_versions_of_one_call_are_all_kept(door: Door) -> None:
    answer = door.upsert(row(1, "c", 3, 3), row(2, "x", 1, 1), row(1, "a", 1, 1), row(1, "b", 2, 2))
    assert statuses(answer) == "aaaa"
    assert door.held() == [(1, "c"), (2, "x")]
    assert len(door.versions()) == 4


def test_a_sequence_that_has_been_is_repeated_or_rejected(door: Door) -> None:
    door.upsert(row(1, "a", 1, 1), row(1, "b", 2, 2))
    answer = door.upsert(row(1, "a", 1, 1), row(1, "other", 1, 1), row(1, "b", 3, 2), row(1, "c", 1, 3),
                         row(1, "c", 1, 3), row(1, "d", 1, 3))  # fmt: skip
    assert statuses(answer) == "rxxarx"
    assert {found.reason for found in answer.rejections} == {"another version of this key has this sequence"}
    assert [found.index for found in answer.rejections] == [1, 2, 5]
    assert door.held() == [(1, "c")]


def test_a_version_without_time_or_sequence_is_rejected(door: Door) -> None:
    loose = _loose(door.decl)
    bad = [row(1, "a", 1, None), row(2, "b", 1, 1) | {"at": None}]
    answer = door.intake.submit([Call("upsert", "subs", validate(loose, bad))])[0]
    assert [found.reason for found in answer.rejections] == [
        "the sequence is NULL",
        "the effective time is NULL",
    ]


def test_a_deletion_takes_its_place_in_the_sequence(door: Door) -> None:
    door.upsert(row(1, "a", 1, 1), row(1, "c", 3, 3))
    assert statuses(door.delete({"id": 1, "seq": 2})) == "a", "older: only the versions know of it"
    assert door.held() == [(1, "c")]
    assert statuses(door.delete({"id": 1, "seq": 4, "at": on(1, 9)})) == "a"
    assert door.held() == []
    assert door.versions()[-2:] == [(1, None, "05-01", 2, True), (1, None, "01-09", 4, True)]
    for _ in range(2):
        assert statuses(door.delete({"id": 1, "seq": 4, "at": on(1, 9)})) == "r"
        assert statuses(door.delete({"id": 1, "seq": 2})) == "r"
        assert statuses(door.delete({"id": 1, "seq": 4})) == "x"
        assert statuses(door.upsert(row(1, "d", 1, 4))) == "x"
        door.restart()


def test_a_deletion_may_come_before_its_row(door: Door) -> None:
    assert statuses(door.delete({"id": 1, "seq": 2})) == "a"
    assert statuses(door.upsert(row(1, "a", 1, 1))) == "a"
    assert door.held() == []
    door.restart()
    assert door.held() == []
    assert statuses(door.upsert(row(1, "b", 2, 3))) == "a"
    assert door.held() == [(1, "b")]


def test_a_deletion_without_a_sequence_comes_after_all_that_is_known(door: Door) -> None:
    door.upsert(row(1, "b", 2, 2))
    assert statuses(door.delete({"id": 1})) == "a"
    assert statuses(door.delete({"id": 1}, {"id": 7})) == "xx"
    assert door.versions()[-1] == (1, None, "05-01", 2, True)
    assert statuses(door.upsert(row(1, "a", 1, 1), row(1, "b", 2, 2))) == "ar"
    assert door.held() == []
    door.restart()
    assert door.held() == []
    assert statuses(door.upsert(row(1, "c", 3, 3))) == "a"
    assert door.held() == [(1, "c")]
    assert statuses(door.delete({"id": 1}, {"id": 1})) == "ax"


def test_without_a_sequence_versions_are_in_the_order_of_arrival() -> None:
    door = Door(sequence=None)
    assert statuses(door.upsert(row(1, "a", 3), row(1, "a", 3), row(1, "b", 1), row(1, "a", 3))) == "araa"
    assert door.held() == [(1, "a")]
    assert [version[3] for version in door.versions()] == [0, 1, 2]
    door.restart()
    assert statuses(door.upsert(row(1, "a", 3))) == "r"
    assert statuses(door.upsert(row(1, "b", 1), row(1, "a", 3))) == "aa", "back at what it was"
    assert door.held() == [(1, "a")]
    assert statuses(door.delete({"id": 1, "at": on(2, 1)}, {"id": 2})) == "ax"
    door.restart()
    assert statuses(door.upsert(row(1, "a", 3))) == "a"
    assert door.versions()[-2:] == [(1, None, "02-01", 5, True), (1, "a", "01-03", 6, False)]
    assert door.held() == [(1, "a")]


def test_what_could_not_be_kept_leaves_no_trace(door: Door) -> None:
    door.upsert(row(1, "a", 1, 1), row(2, "b", 1, 1))
    before = door.versions()
    rows = validate(_loose(door.decl), [row(1, "z", 2, 5), row(3, "z", 2, 5), row(4, "z", 2, None)])
    calls = [Call("delete", "subs", validate(door.decl.schema.select(["id"]), [{"id": 2}]))]
    with pytest.raises(Exception, match="the sequence is NULL"):
        door.intake.submit([*calls, Call("upsert", "subs", rows)], on_reject="raise")
    assert door.held() == [(1, "a"), (2, "b")]
    assert door.versions() == before
    assert statuses(door.upsert(row(1, "other", 3, 5), row(3, "other", 3, 5))) == "aa"


def test_rows_from_before_versions_were_kept_are_the_first_versions() -> None:
    old = Door()
    plain = App("shop").table("subs", COLUMNS, key="id", sequence="seq")
    old.intake = Intake({}, {"subs": plain}, old.log, lambda: NOW)
    old.upsert(row(1, "a", 1, 1), row(1, "b", 2, 2), row(2, "x", 5, 1))
    old.restart()
    for _ in range(2):
        old.intake.begin_histories()
        assert sorted(old.versions()) == [(1, "b", "01-02", 2, False), (2, "x", "01-05", 1, False)]
        old.restart()
    assert statuses(old.upsert(row(1, "b", 2, 2), row(1, "a", 1, 1))) == "ra"
    assert old.held() == [(1, "b"), (2, "x")]


def test_a_folder_from_before_versions_were_kept_has_a_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def app() -> App:
        made = App("shop")
        made.table("subs", COLUMNS, key="id", effective="at", sequence="seq")
        made.view("plans", "SELECT plan, valid_to IS NULL AS holds FROM subs__history")
        return made

    with monkeypatch.context() as before:
        before.setattr("headrace.intake.memory.VersionedTable", KeyedTable)
        with app().open(tmp_path) as run:
            run.upsert("subs", [row(1, "a", 1, 1), row(1, "b", 2, 2)])
            run.advance()
    for sent in ([row(1, "c", 3, 3)], []):
        with app().open(tmp_path) as run:
            run.upsert("subs", sent)
            run.advance()
            found = run.query("SELECT * FROM plans ORDER BY plan").to_pylist()
            assert found == [{"plan": "b", "holds": False}, {"plan": "c", "holds": True}]
