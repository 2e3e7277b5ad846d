"""The decisions about a stream's rows at their edges: which instant is late or ahead, which id is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tests.intake.samples import (
    ORDERS,
    PLAIN,
    SECOND_US,
    START,
    START_US,
    STREAM,
    Checked,
    Clock,
    call,
    checked,
    event,
    listed,
    plain,
    total,
)

from headrace.contracts.schema import Column, Schema
from headrace.declarations import StreamDecl
from headrace.intake import Call, Intake
from headrace.log import Log
from headrace.results import AppendResult, RowStatus

ACCEPTED, REPEATED, LATE, REJECTED = RowStatus


class Door:
    """An intake of streams on a log in memory."""

    def __init__(self, *streams: StreamDecl) -> None:
        self.log = Log.open(None)
        self.clock = Clock()
        self.streams = {decl.name: decl for decl in streams}
        self.intake = Intake(self.streams, {}, self.log, self.clock)

    def restart(self) -> None:
        """Begin again from what the log holds."""
        intake = Intake(self.streams, {}, self.log, self.clock)
        for record in self.log.records():
            intake.recover(record)
        self.intake = intake

    def append(self, rows: list[dict[str, Any]], name: str = "orders") -> AppendResult:
        return self.intake.submit([Call("append", name, checked(STREAM, rows))])[0]

    def statuses(self, *rows: dict[str, Any]) -> list[int]:
        return listed(self.append(list(rows)))


def test_a_time_may_lie_ahead_by_max_ahead_and_no_microsecond_more() -> None:
    door = Door(replace(ORDERS, max_ahead=timedelta(minutes=5)))
    edge = START_US + 300 * SECOND_US
    rows = [event(1) | {"at": edge}, event(2) | {"at": edge + 1}, event(3, None)]
    result = door.append(rows)
    assert result.statuses.tolist() == [ACCEPTED, REJECTED, REJECTED]
    ahead, missing = result.rejections
    assert (ahead.index, ahead.field) == (1, "at")
    assert "more than 0:05:00 ahead" in ahead.reason
    assert (missing.index, missing.field, missing.value) == (2, "at", None)
    assert missing.reason == "the event time is NULL"


def test_a_row_at_the_watermark_is_in_time_and_one_before_is_late() -> None:
    door = Door(ORDERS)
    assert door.statuses(event(1, 100)) == [ACCEPTED]
    assert door.intake.watermarks == {"orders": START + timedelta(seconds=90)}
    edge = START_US + 90 * SECOND_US
    assert door.statuses(event(2) | {"at": edge}, event(3) | {"at": edge - 1}) == [ACCEPTED, LATE]
    late = total(door.log, "orders__late")
    assert late is not None
    assert plain(late.rows) == [event(3) | {"at": edge - 1, "_watermark": edge}]


def test_rows_of_one_call_are_judged_by_the_watermark_before_it() -> None:
    """Whether rows come in one call or several transactions of it, none makes another late."""
    door = Door(ORDERS)
    assert door.statuses(event(1, 1000), event(2, 0), event(3, -1000)) == [ACCEPTED, ACCEPTED, ACCEPTED]
    first = call("append", "orders", [event(4, 2000)])
    second = call("append", "orders", [event(5, 995)])
    results = door.intake.submit([first, second])
    assert [result.statuses.tolist() for result in results] == [[ACCEPTED], [ACCEPTED]]
    assert door.statuses(event(6, 995)) == [LATE]


def test_without_lateness_no_row_is_late_and_there_is_no_watermark() -> None:
    door = Door(replace(ORDERS, lateness=None))
    assert door.statuses(event(1, 1000)) == [ACCEPTED]
    assert door.statuses(event(2, -100_000)) == [ACCEPTED]
    assert door.intake.watermarks == {}


def test_a_commit_names_the_watermarks_that_it_moved() -> None:
    door = Door(ORDERS)
    for seconds in (100, 50, 200):
        door.append([event(int(seconds), seconds + 40)])
    commits = [door.log.commit(number) for number in (1, 2, 3)]
    moved = [commit.watermarks for commit in commits if commit is not None]
    stands = START + timedelta(seconds=130)
    assert moved == [{"orders": stands}, {}, {"orders": stands + timedelta(seconds=100)}]


def test_silence_moves_the_watermark_at_the_pace_of_the_clock() -> None:
    door = Door(ORDERS)
    door.append([event(1, 0)])
    stood = START - timedelta(seconds=10)
    for seconds, moved in ((60, 0), (10, 10), (5, 15)):
        door.clock.forward(seconds)
        expected = {"orders": stood + timedelta(seconds=moved)} if moved else {}
        assert door.intake.tick() == expected
        assert door.intake.tick() == {}
    assert door.statuses(event(2, 4.999999)) == [LATE]
    assert door.statuses(event(3, 5)) == [ACCEPTED]
    door.clock.forward(60)
    assert door.intake.tick() == {}
    assert door.intake.watermarks == {"orders": stood + timedelta(seconds=15)}


def test_silence_counts_at_an_append_also_without_a_tick() -> None:
    door = Door(ORDERS)
    door.append([event(1, 0)])
    door.clock.forward(100)
    assert door.statuses(event(2, 29), event(3, 30)) == [LATE, ACCEPTED]


def test_a_late_row_ends_the_silence_but_a_bad_one_does_not() -> None:
    for number, (at, after) in enumerate([(-500, -10), (None, 50)]):
        door = Door(ORDERS)
        door.append([event(1, 0)])
        door.clock.forward(60)
        assert door.statuses(event(2 + number, at)) == [LATE if at else REJECTED]
        door.clock.forward(60)
        door.intake.tick()
        assert door.intake.watermarks == {"orders": START + timedelta(seconds=after)}


def test_an_id_counts_once_within_its_window() -> None:
    door = Door(ORDERS)
    assert door.statuses(event(1), event(1), event(1, word="other")) == [ACCEPTED, REPEATED, REJECTED]
    door.clock.forward(299)
    assert door.statuses(event(1), event(1, word="other")) == [REPEATED, REJECTED]
    door.clock.forward(1)
    assert door.statuses(event(1, 300, "new"), event(1, 300, "new")) == [ACCEPTED, REPEATED]
    door.clock.forward(299)
    assert door.statuses(event(1, 300, "new"), event(1)) == [REPEATED, REJECTED]


def test_an_id_that_came_again_after_its_window_is_remembered_from_then_on_after_a_restart() -> None:
    """In time at first and late again, or the other way: two relations of the log hold its rows."""
    door = Door(ORDERS)
    assert door.statuses(event(1, 100), event(2, 100)) == [ACCEPTED, ACCEPTED]
    assert door.statuses(event(3, 0)) == [LATE]
    door.clock.forward(300)
    again = [event(1, 0, "late"), event(3, 400, "in time")]
    assert door.statuses(*again) == [LATE, ACCEPTED]
    door.clock.forward(200)
    assert door.statuses(*again) == [REPEATED, REPEATED]
    door.restart()
    assert door.statuses(*again) == [REPEATED, REPEATED]


def test_a_rejected_row_may_come_again_mended_and_a_late_one_is_not_counted_twice() -> None:
    door = Door(ORDERS)
    assert door.statuses(event(1, None), event(2, 100)) == [REJECTED, ACCEPTED]
    assert door.statuses(event(1, 95)) == [ACCEPTED]
    assert door.statuses(event(3, 0)) == [LATE]
    assert door.statuses(event(3, 0), event(2, 100)) == [REPEATED, REPEATED]
    late = total(door.log, "orders__late")
    assert late is not None
    assert len(late) == 1


def test_an_answer_without_anything_new_has_no_commit() -> None:
    door = Door(ORDERS)
    assert door.append([event(1)]).commit == 1
    assert door.append([event(1)]).commit is None
    assert door.append([]).commit is None
    assert door.append([event(2)]).commit == 2


def test_rows_that_the_contract_refused_keep_their_places() -> None:
    door = Door(ORDERS)
    rows = [event(1), event(2), event(1), event(None), event(4, 9999)]
    result = door.intake.submit([call("append", "orders", rows, bad=[1])])[0]
    assert result.statuses.tolist() == [ACCEPTED, REJECTED, REPEATED, REJECTED, REJECTED]
    assert [given.index for given in result.rejections] == [1, 3, 4]
    assert [given.field for given in result.rejections] == ["word", "id", "at"]
    kept = total(door.log, "orders__rejected")
    assert kept is not None
    sides = kept.rows.to_pylist()
    assert [side["reason"] for side in sides] == [given.reason for given in result.rejections]
    assert sides[0]["row"] == '{"bad": 1}'
    assert '"id":4' in sides[2]["row"].replace(" ", "")
    assert sides[0]["rejected_at"] == START.replace(tzinfo=None)


def test_private_values_are_not_shown_in_rejections() -> None:
    columns = [replace(column, privacy="secret") if column.name == "id" else column for column in STREAM]
    door = Door(replace(ORDERS, schema=Schema.of(columns)))
    result = door.append([event(77), event(77, word="other")])
    assert [given.value for given in result.rejections] == ["(private)"]


TIMES: dict[str, tuple[pa.DataType, Any, Any]] = {
    "TIMESTAMP": (pa.timestamp("us"), START.replace(tzinfo=None), timedelta(seconds=1)),
    "TIMESTAMP_S": (pa.timestamp("s"), START.replace(tzinfo=None), timedelta(seconds=1)),
    "TIMESTAMP_MS": (pa.timestamp("ms"), START.replace(tzinfo=None), timedelta(seconds=1)),
    "TIMESTAMP_NS": (pa.timestamp("ns"), START.replace(tzinfo=None), timedelta(seconds=1)),
    "TIMESTAMP WITH TIME ZONE": (pa.timestamp("us", "UTC"), START, timedelta(seconds=1)),
    "DATE": (pa.date32(), date(2026, 1, 1), timedelta(days=1)),
}


@pytest.mark.parametrize("sql_type", TIMES)
def test_event_time_may_have_any_type_of_time(sql_type: str) -> None:
    arrow, start, unit = TIMES[sql_type]
    schema = Schema.of([Column("t", sql_type, arrow)])
    door = Door(StreamDecl("s", schema, event_time="T", lateness=2 * unit, max_ahead=3 * unit))

    def statuses(*moments: Any) -> list[int]:
        rows = checked(schema, [{"t": moment} for moment in moments])
        return listed(door.intake.submit([Call("append", "s", rows)])[0])

    assert statuses(start, None, start + 4 * unit) == [ACCEPTED, REJECTED, REJECTED]
    assert statuses(start - 2 * unit, start - 3 * unit) == [ACCEPTED, LATE]
    expected = datetime(2026, 1, 1, tzinfo=UTC) - 2 * unit
    assert door.intake.watermarks == {"s": expected}


@pytest.mark.parametrize("sql_type", ["TIMESTAMP", "TIMESTAMP_S", "DATE"])
def test_the_infinities_of_duckdb_are_far_away_times(sql_type: str) -> None:
    arrow = TIMES[sql_type][0]
    schema = Schema.of([Column("t", sql_type, arrow)])
    door = Door(StreamDecl("s", schema, event_time="t", lateness=timedelta(seconds=1)))
    width = np.int32 if sql_type == "DATE" else np.int64
    top = np.iinfo(width).max
    batch = pa.RecordBatch.from_arrays(
        [pa.array(np.array([-top, top], dtype=width)).view(arrow)], names=["t"]
    )
    rows = Checked(batch, np.arange(2), (), [], 2)
    assert door.intake.submit([Call("append", "s", rows)])[0].statuses.tolist() == [ACCEPTED, REJECTED]
    assert door.intake.watermarks["s"].year == 1


def test_a_stream_without_id_and_time_takes_everything() -> None:
    door = Door(PLAIN)
    assert door.append([event(1), event(1), event(None, None)], "plain").accepted == 3
    assert door.intake.tick() == {}
