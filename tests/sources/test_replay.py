"""Replaying: nothing is lost on the way into a stream, also with back-pressure; a pace is kept."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.contracts.column_list import parse_columns
from headrace.errors import Busy, DeclarationError, UnknownName
from headrace.results import AppendResult
from headrace.sources.columns import parse_mapping
from headrace.sources.files import FileSource
from headrace.sources.registry import ReadOptions
from headrace.sources.replay import NO_TIME_US, Pace, Replay, Replayed, Target, parse_speed, replay


class Collecting:
    """A target that keeps what it is given; every third call is too much for it."""

    def __init__(self, columns: str) -> None:
        self.schema = parse_columns(columns)
        self.rows: list[Any] = []
        self.keys: list[str | None] = []
        self.calls = 0

    def relation(self, name: str) -> Any:
        return SimpleNamespace(schema=self.schema)

    def append(
        self, stream: str, rows: Any, *, on_reject: str = "keep", idempotency_key: str | None = None
    ) -> AppendResult:
        self.calls += 1
        if self.calls % 3 == 0:
            raise Busy("too much waits", retry_after_s=0.25)
        new = rows if isinstance(rows, list) else rows.to_pylist()
        self.rows += new
        self.keys.append(idempotency_key)
        statuses = np.array([3 if isinstance(row, str) else 0 for row in new], dtype=np.uint8)
        return AppendResult(self.calls, statuses)

    upsert = append


class Time:
    """A clock that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sleeps: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now += seconds

    def now_s(self) -> float:
        return self.now


def source(tmp_path: Path, text: str, **more: Any) -> FileSource:
    path = tmp_path / "a.csv"
    path.write_text(text)
    return FileSource(path, **more)


def fed(target: Collecting, file: FileSource, **more: Any) -> tuple[Replayed, Time]:
    clock = Time()
    as_target: Target = target
    return Replay(as_target, "s", file, sleep=clock.sleep, now_s=clock.now_s, **more).run(), clock


def test_every_line_arrives_once_also_when_the_target_is_busy(tmp_path: Path) -> None:
    text = "n,extra\n" + "".join(f"{n},x\n" for n in range(25_000)) + "1,2,3\n"
    target = Collecting("n BIGINT")
    done, clock = fed(target, source(tmp_path, text))
    assert [row["n"] for row in target.rows[:-1]] == [str(n) for n in range(25_000)]
    assert target.rows[-1].startswith("a.csv, line 25002: ")
    assert target.rows[-1].endswith(": 1,2,3")
    assert (done.rows, done.accepted, done.rejected, done.bad_lines) == (25_001, 25_000, 1, 1)
    assert done.left_out == ("extra",)
    assert len(set(target.keys)) == len(target.keys)
    assert set(clock.sleeps) == {0.25}


def test_progress_tells_the_sum_so_far(tmp_path: Path) -> None:
    told: list[Replayed] = []
    target = Collecting("n BIGINT")
    replay(target, "s", source(tmp_path, "n\n1\n2\n"), progress=told.append)
    assert [one.rows for one in told] == [2]


def test_a_column_that_may_not_be_null_must_be_in_the_file(tmp_path: Path) -> None:
    target = Collecting("n BIGINT NOT NULL, m BIGINT")
    with pytest.raises(UnknownName, match="no column for n"):
        fed(target, source(tmp_path, "m\n1\n"))
    assert target.rows == []


def test_a_pace_follows_the_times_of_the_file(tmp_path: Path) -> None:
    times = ["10:00:00", "10:00:03", "10:01:00", "10:00:30", "10:02:00"]
    text = "at\n" + "".join(f"2020-01-01 {at}\n" for at in times)
    target = Collecting("at TIMESTAMP")
    _, clock = fed(target, source(tmp_path, text), speed=60.0)
    assert [row["at"][11:] for row in target.rows] == times
    assert sum(seconds for seconds in clock.sleeps if seconds != 0.25) == pytest.approx(2.0, abs=0.3)


def test_a_pace_reads_times_in_the_format_that_is_given(tmp_path: Path) -> None:
    target = Collecting("at TIMESTAMP, n BIGINT")
    file = source(tmp_path, "n,t\n1,0\n2,600\n", mapping={"at": "t"}, time_format="epoch")
    _, clock = fed(target, file, speed=60.0)
    assert target.rows[1] == {"at": "1970-01-01T00:10:00.000000", "n": "2"}
    assert clock.sleeps == [10.0]


def test_a_pace_needs_one_time_column(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="time column"):
        fed(Collecting("n BIGINT"), source(tmp_path, "n\n1\n"), speed=1.0)


def test_json_rows_keep_their_pace_too(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"at": "2020-01-01T00:00:00Z"}\n{"at": null}\n{"at": "2020-01-01T01:00:00Z"}\n')
    target = Collecting("at TIMESTAMP")
    _, clock = fed(target, FileSource(path), speed=3600.0)
    assert len(target.rows) == 3
    assert sum(clock.sleeps) == pytest.approx(1.0)


def test_rows_without_time_do_not_wait() -> None:
    clock = Time()
    pace = Pace(1.0, clock.now_s, clock.sleep)
    assert list(pace.slices(np.array([NO_TIME_US, NO_TIME_US, 5_000_000, 5_000_000]))) == [(0, 2), (2, 4)]
    assert clock.sleeps == []


@pytest.mark.parametrize(("text", "speed"), [("max", None), ("60x", 60.0), ("1", 1.0), ("0.5x", 0.5)])
def test_speeds(text: str, speed: float | None) -> None:
    assert parse_speed(text) == speed


@pytest.mark.parametrize("text", ["", "fast", "0x", "-1x", "infx", "nan"])
def test_what_is_no_speed(text: str) -> None:
    with pytest.raises(DeclarationError, match="no speed"):
        parse_speed(text)


@pytest.mark.parametrize(
    ("texts", "mapping"),
    [
        (["a=B,c=D"], {"a": "B", "c": "D"}),
        (["a = B C "], {"a": "B C"}),
        (["a=coalesce(x, y)"], {"a": "coalesce(x, y)"}),
        (["a=b", "c=CASE WHEN d = 'x,y' THEN 1 END"], {"a": "b", "c": "CASE WHEN d = 'x,y' THEN 1 END"}),
        ([], {}),
    ],
)
def test_mappings(texts: list[str], mapping: dict[str, str]) -> None:
    assert parse_mapping(texts) == mapping


@pytest.mark.parametrize("text", ["a", "=b", "a=", ""])
def test_what_maps_nothing(text: str) -> None:
    with pytest.raises(DeclarationError):
        parse_mapping([text])


def test_arrow_rows_stay_typed(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    table = pa.table({"n": pa.array([1, 2], pa.int32())})
    with pa.ipc.new_file(path, table.schema) as writer:
        writer.write_table(table)
    target = Collecting("n BIGINT")
    fed(target, FileSource(path, options=ReadOptions(batch_rows=1)))
    assert target.rows == [{"n": 1}, {"n": 2}]
