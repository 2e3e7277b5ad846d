"""Sealed stretches: what went into segments comes back from Parquet record by record, whatever dies when.

Each test compares `Log.records()` (or one relation's history) before and after sealing, or after a power cut
at the n-th operation of the disk while segments are sealed in the background and commits go on.
"""

from __future__ import annotations

import errno
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.conftest import Torture
from tests.log.faulty import FaultyFiles, PowerCutFiles, QuickFiles
from tests.log.samples import START, commit, same
from tests.log.test_codec import COLUMNS

from headrace.change import Change
from headrace.errors import FormatTooNew, LogDamaged, StorageError
from headrace.log import Commit, Declared, Log, Record, Step, sealer
from headrace.log.copies import checked, copy_log
from headrace.log.documents import place_document, read_document
from headrace.log.file_store import FileStore
from headrace.log.finding import find
from headrace.log.parquet_files import BLOCK_BYTES, ParquetSink
from headrace.log.sealed import Manifest

EVERYTHING = Declared({"streams": {"orders": 1}})


def mixed(number: int) -> Commit:
    """Return a commit with several relations, some of them empty or rare, and everything it can carry."""
    base = commit(number)
    changes = dict(base.changes)
    if number % 3 == 0:
        changes["customers"] = commit(number, 4).changes["orders"]
    if number % 4 == 0:
        changes["orders__late"] = commit(number, 0).changes["orders"]
    if number % 5 == 0:
        columns = ["spans", "choices", "lists", "null"]
        rows = pa.RecordBatch.from_arrays([COLUMNS[name] for name in columns], names=columns)
        changes["odd"] = Change.inserts(rows)
    return Commit(
        number, base.clock, changes, {"orders": START} if number % 2 else {},
        f"key {number}" if number % 7 == 0 else None, {"calls": [number]} if number % 7 == 0 else None,
        "kafka" if number % 6 == 0 else None, {"at": number} if number % 6 == 0 else None,
    )  # fmt: skip


def script(commits: int) -> Iterator[Record]:
    yield EVERYTHING
    for number in range(1, commits + 1):
        yield mixed(number)
        if number % 3 == 0:
            yield Step(number // 3, number, START + timedelta(seconds=number), {"orders": START})


def opened(folder: Path, **settings: object) -> Log:
    return Log.open(folder, files=QuickFiles(), segment_bytes=6_000, **settings)  # type: ignore[arg-type]


def fill(log: Log, commits: int) -> None:
    for record in script(commits):
        log.append(record).wait(60)


def alike(left: Record, right: Record) -> bool:
    if isinstance(left, Commit) and isinstance(right, Commit):
        return list(left.changes) == list(right.changes) and same(left, right)
    return left == right


def assert_script(records: list[Record], commits: int) -> None:
    wanted = list(script(commits))
    assert len(records) == len(wanted)
    assert all(alike(*pair) for pair in zip(records, wanted, strict=True))


def rows_of(sql: str) -> list[tuple[object, ...]]:
    with duckdb.connect(":memory:") as connection:
        return connection.execute(sql).fetchall()


def parquet(folder: Path, relation: str) -> str:
    return str(folder / "log" / "parquet" / relation / "*.parquet")


def test_what_was_sealed_comes_back_record_by_record(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        fill(log, 40)
        before = log.stats()["segments"]
        log.seal()
        stats = log.stats()
        assert before > 3
        assert stats["segments"] == 1
        assert stats["sealed"] == 1
        assert_script(list(log.records()), 40)
        for number in range(1, 41):
            found = log.commit(number)
            assert found is not None
            assert same(found, mixed(number))
    with opened(tmp_path) as log:
        assert_script(list(log.records()), 40)
        assert log.last_declared() == EVERYTHING
        assert log.last_step == Step(13, 39, START + timedelta(seconds=39), {"orders": START})
        log.append(mixed(41)).wait(60)
        assert log.last_commit == 41


@pytest.mark.parametrize("start", [1, 2, 17, 39, 40, 41, 60, 61])
def test_reading_starts_anywhere_as_it_does_in_segments(tmp_path: Path, start: int) -> None:
    """Two stretches and a segment behind them, against the same records in segments only."""
    with opened(tmp_path / "sealed") as log, opened(tmp_path / "plain") as plain:
        records = list(script(60))
        for at, record in enumerate(records):
            if at in (20, 50):
                log.seal()
            log.append(record).wait(60)
            plain.append(record).wait(60)
        assert log.stats()["sealed"] == 2
        found, wanted = list(log.records(start)), list(plain.records(start))
        assert len(found) == len(wanted)
        assert all(alike(*pair) for pair in zip(found, wanted, strict=True))


@pytest.mark.parametrize("upto", [0, 1, 11, 12, 13, 30, 35])
@pytest.mark.parametrize("relation", ["orders", "customers", "odd", "orders__late", "unknown"])
def test_one_relation_is_read_up_to_a_commit(tmp_path: Path, relation: str, upto: int) -> None:
    with opened(tmp_path / "sealed") as log, opened(tmp_path / "plain") as plain:
        fill(log, 35)
        fill(plain, 35)
        log.seal()
        found, wanted = (list(one.history(relation, upto)) for one in (log, plain))
        assert [len(change) for change in found if len(change)] == [
            len(change) for change in wanted if len(change)
        ]
        for left, right in zip([c for c in found if len(c)], [c for c in wanted if len(c)], strict=True):
            assert left.rows.equals(right.rows)
            assert np.array_equal(left.weights, right.weights)


@pytest.mark.parametrize("column", COLUMNS)
def test_columns_of_every_type_come_back(tmp_path: Path, column: str) -> None:
    kinds = [COLUMNS[column]]
    if column == "moments":
        kinds += [pa.array([2**62, None, -(2**63)], pa.timestamp("s")), pa.array([1, None, 2], pa.date64())]
    if column == "choices":
        words = pa.dictionary(pa.int8(), pa.string())
        kinds += [
            pa.array([{"a": "red"}, None, {"a": None}], pa.struct([("a", words)])),
            pa.DictionaryArray.from_arrays(pa.array([2, None, 0], pa.uint8()), ["a", "b", "c"], ordered=True),
        ]  # fmt: skip
    if column == "spans":
        kinds.append(
            pa.array([[pa.MonthDayNano([1, 2, -3])], None, []], pa.list_(pa.month_day_nano_interval()))
        )
    for at, values in enumerate(kinds):
        change = Change.inserts(pa.RecordBatch.from_arrays([values], names=["x"]))
        with opened(tmp_path / str(at)) as log:
            for number in (1, 2, 3):
                log.append(Commit(number, START, {"t": change.take(np.array([2, 0, 1]))})).wait(60)
            log.seal()
            (again,) = log.history("t")
            wanted = Change.concat([change.take(np.array([2, 0, 1]))] * 3)
            assert again.rows.schema.equals(wanted.rows.schema)
            left, right = again.rows.column(0), wanted.rows.column(0)
            assert left.equals(right) or repr(left.to_pylist()) == repr(right.to_pylist())
            if pa.types.is_dictionary(values.type):
                assert left.dictionary.equals(values.dictionary)


def test_only_columns_that_repeat_have_a_dictionary() -> None:
    numbers = np.arange(400)
    columns = {
        "few_texts": pa.array([f"s{n % 7}" for n in numbers]),
        "many_texts": pa.array([f"s{n}" for n in numbers]),
        "few_numbers": pa.array(numbers % 5),
        "many_numbers": pa.array(numbers % 99),
        "nothing": pa.nulls(400),
    }
    sink = ParquetSink(pa.table(columns).schema)
    sink.add(list(columns.values()))
    group = pq.ParquetFile(pa.BufferReader(sink.finish())).metadata.row_group(0)
    found = [group.column(at) for at in range(group.num_columns)]
    told = {column.path_in_schema for column in found if "RLE_DICTIONARY" in column.encodings}
    assert told - {"nothing"} == {"few_texts", "few_numbers"}


def test_columns_that_change_within_a_stretch_come_back_in_turn(tmp_path: Path) -> None:
    def of(number: int) -> Change:
        batch = pa.RecordBatch.from_pydict({"a": [number]})
        if 3 <= number < 6:
            batch = pa.RecordBatch.from_pydict({"a": [number], "b": [str(number)]})
        return Change.inserts(batch)

    with opened(tmp_path) as log:
        for number in range(1, 10):
            log.append(Commit(number, START, {"t": of(number), "u": of(1)})).wait(60)
        log.seal()
        found = [row for change in log.history("t", 8) for row in change.rows.to_pylist()]
        assert found == [row for number in range(1, 9) for row in of(number).rows.to_pylist()]
        records = [record for record in log.records() if isinstance(record, Commit)]
        assert all(
            same(record, Commit(record.number, START, {"t": of(record.number), "u": of(1)}))
            for record in records
        )
    rows = rows_of(
        f"SELECT a, b FROM read_parquet('{parquet(tmp_path, 't')}', union_by_name = true) ORDER BY a"
    )
    assert rows == [(n, str(n) if 3 <= n < 6 else None) for n in range(1, 10)]


def test_duckdb_reads_a_relation_by_its_name(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        fill(log, 30)
        log.seal()
    found = rows_of(
        f"SELECT id, name, amount, _commit, _at, _weight FROM '{parquet(tmp_path, 'orders')}' ORDER BY id"
    )
    assert len(found) == 90
    assert found[3] == (2000, None, 6000, 2, (START + timedelta(seconds=2)).replace(tzinfo=None), 1)
    polars = pytest.importorskip("polars")
    assert polars.read_parquet(parquet(tmp_path, "customers"))["_weight"].sum() == 20


def test_stretches_are_sealed_in_the_background_once_they_are_large(tmp_path: Path) -> None:
    with opened(tmp_path, seal_bytes=10_000) as log:
        fill(log, 60)
        seen = 0
        while not log.stats()["sealed"]:
            log.append(Step(seen := seen + 1, 60, START)).wait(60)
        assert [r.number for r in log.records() if isinstance(r, Commit)] == list(range(1, 61))
    assert checked(tmp_path) == 60


def test_a_reader_keeps_the_files_that_it_reads(tmp_path: Path) -> None:
    with opened(tmp_path) as log:
        fill(log, 40)
        reader = log.records()
        head = [next(reader) for _ in range(5)]
        log.seal()
        assert len(list((tmp_path / "log").glob("*.seg"))) > 3
        assert_script([*head, *reader], 40)
        assert len(list((tmp_path / "log").glob("*.seg"))) == 1


def test_segments_end_with_age_by_the_append_clock(tmp_path: Path) -> None:
    with Log.open(tmp_path, files=QuickFiles(), segment_age=timedelta(hours=1)) as log:
        for number in range(1, 11):
            rows = commit(number).changes
            log.append(Commit(number, START + timedelta(minutes=20 * number), rows)).wait(60)
        log.append(Commit(11, START + timedelta(minutes=200), rows)).wait(60)
        while log.stats()["segments"] > 1:
            log.append(Step(1, 11, START)).wait(60)
        ends = [manifest.last_commit for manifest in _manifests(tmp_path)]
        assert ends[-1] == 9
        assert set(ends) <= {3, 6, 9}
    with Log.open(tmp_path, files=QuickFiles(), segment_age=timedelta(hours=1)) as log:
        log.append(Commit(12, START + timedelta(minutes=260), rows)).wait(60)
        assert (tmp_path / "log" / "000000000012.seg").exists()


def _manifests(folder: Path) -> list[Manifest]:
    return find(QuickFiles(), folder / "log").manifests


@pytest.mark.parametrize("sealed", [False, True])
def test_offsets_are_found_by_time(tmp_path: Path, sealed: bool) -> None:
    with opened(tmp_path) as log:
        assert log.commit_at(START) == 0
        for number in range(1, 51):
            rows = commit(number).changes
            log.append(Commit(number, START + timedelta(seconds=number // 2 * 2), rows)).wait(60)
            if sealed and number == 30:
                log.seal()
        for second in range(-2, 60):
            wanted = max([n for n in range(1, 51) if n // 2 * 2 <= second], default=0)
            assert log.commit_at(START + timedelta(seconds=second)) == wanted
            assert log.commit_at(START + timedelta(seconds=second, microseconds=1)) == wanted
    with Log.open(None) as log:
        for number in range(1, 6):
            log.append(commit(number)).wait(60)
        assert log.commit_at(START + timedelta(seconds=3, microseconds=999)) == 3
        assert log.commit_at(START) == 0


# --- damage -----------------------------------------------------------------------------------------


def sealed_folder(folder: Path) -> Path:
    with opened(folder) as log:
        fill(log, 40)
        log.seal()
    return folder / "log"


@pytest.mark.parametrize("which", ["parquet/orders/*.parquet", "records/*.parquet", "sealed/*.json"])
def test_a_flipped_bit_is_told_with_its_range(tmp_path: Path, which: str) -> None:
    log = sealed_folder(tmp_path / "good")
    (relative,) = [path.relative_to(log) for path in log.glob(which)]
    size = (log / relative).stat().st_size
    for at in range(3, size, max(size // 20, 1)):
        folder = tmp_path / "bad"
        shutil.copytree(tmp_path / "good", folder)
        data = bytearray((folder / "log" / relative).read_bytes())
        data[at] ^= 0x10
        (folder / "log" / relative).write_bytes(data)
        with pytest.raises(LogDamaged, match="checksum") as told, opened(folder) as opened_log:
            list(opened_log.records())
        details = told.value.details
        assert Path(details["file"]).name == relative.name
        assert details["offset"] <= at < details["end"]
        assert details["end"] - details["offset"] <= max(BLOCK_BYTES, size)
        shutil.rmtree(folder)


@pytest.mark.parametrize("which", ["parquet/orders/*.parquet", "records/*.parquet", "sealed/*.json", "*.seg"])
@pytest.mark.parametrize("is_gone", [False, True])
def test_a_missing_or_shortened_file_is_told(tmp_path: Path, which: str, is_gone: bool) -> None:
    log = sealed_folder(tmp_path)
    (path,) = log.glob(which)
    if is_gone:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-9] if path.suffix != ".seg" else b"HEADRACE")
    with pytest.raises(LogDamaged), opened(tmp_path) as again:
        list(again.records())


def test_a_relation_is_read_though_another_is_damaged(tmp_path: Path) -> None:
    log = sealed_folder(tmp_path)
    (path,) = log.glob("parquet/customers/*.parquet")
    path.write_bytes(b"")
    with opened(tmp_path) as again:
        assert sum(len(change) for change in again.history("orders")) == 120
        with pytest.raises(LogDamaged, match="length"):
            list(again.history("customers"))


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    log = sealed_folder(tmp_path)
    (path,) = log.glob("sealed/*.json")
    document = read_document(QuickFiles(), path, 1)
    place_document(QuickFiles(), path, document | {"format": 2})
    with pytest.raises(FormatTooNew, match="format 2"):
        opened(tmp_path)


def test_what_a_crash_left_behind_is_removed(tmp_path: Path) -> None:
    log = sealed_folder(tmp_path)
    strays = [log / "parquet/orders/000000000099.parquet", log / "records/000000000001.parquet.tmp",
              log / "sealed/000000000001.json.tmp", log / "parquet/gone/000000000001.parquet"]  # fmt: skip
    for path in strays:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    (log / "notes.txt").write_text("mine")
    with opened(tmp_path) as again:
        assert_script(list(again.records()), 40)
    assert not any(path.exists() for path in strays)
    assert (log / "notes.txt").exists()


# --- failing disks ----------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename", "sync_folder"])
def test_a_disk_that_refuses_leaves_the_segments_as_they_were(tmp_path: Path, operation: str) -> None:
    files = FaultyFiles()
    with Log.open(tmp_path, files=files, segment_bytes=6_000) as log:
        fill(log, 40)
        log.seal()
        log.append(mixed(41)).wait(60)
        files.failing[operation] = errno.ENOSPC
        with pytest.raises(StorageError, match="space"):
            log.seal()
        assert_script(list(log.records())[:-1], 40)
        assert not list(tmp_path.rglob("*.tmp"))
        files.failing.clear()
        assert log.failure is None
        log.append(mixed(42)).wait(60)
        log.seal()
        assert log.last_commit == 42
    assert checked(tmp_path) == 42


def test_no_memory_is_no_reason_to_stop_sealing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealer, "RETRY_S", 0.0)
    seal_next, refused = FileStore.seal_next, threading.Event()

    def starved(store: FileStore, stopping: Callable[[], bool], *, everything: bool = False) -> bool:
        if not refused.is_set():
            refused.set()
            raise MemoryError
        return seal_next(store, stopping, everything=everything)

    monkeypatch.setattr(FileStore, "seal_next", starved)
    with Log.open(tmp_path, segment_bytes=4_096, seal_bytes=8_192, files=QuickFiles()) as log:
        for record in script(60):
            log.append(record).wait()
        while not log.stats()["sealed"]:
            threading.Event().wait(0.01)
    assert refused.is_set()


def test_whoever_seals_is_told_that_there_is_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(_: FileStore) -> None:
        raise MemoryError

    monkeypatch.setattr(FileStore, "roll", starved)
    with Log.open(tmp_path, files=QuickFiles()) as log:
        log.append(commit(1)).wait()
        with pytest.raises(MemoryError):
            log.seal()
        log.append(commit(2)).wait()


def test_a_copy_of_a_log_that_is_being_sealed_is_whole(tmp_path: Path) -> None:
    with opened(tmp_path / "data", seal_bytes=8_000) as log:
        fill(log, 50)
        found = copy_log(tmp_path / "data", tmp_path / "copy")
        log.seal()
        again = copy_log(tmp_path / "data", tmp_path / "again")
    assert found.last_commit == again.last_commit == 50
    for folder in ("copy", "again"):
        with opened(tmp_path / folder) as log:
            assert_script(list(log.records()), 50)


@pytest.mark.parametrize("seed", range(10))
def test_a_power_cut_while_segments_are_sealed_loses_nothing(tmp_path: Path, seed: int) -> None:
    live_through_power_cuts(tmp_path, seed)


@pytest.mark.torture(weight=0.1)
def test_many_power_cuts_while_segments_are_sealed_lose_nothing(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        live_through_power_cuts(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case)


def live_through_power_cuts(folder: Path, seed: int) -> None:
    done = 0
    for life in range(4):
        files = PowerCutFiles(20 + seed * 7 % 211 + 5 * life, seed * 4 + life)
        try:
            log = Log.open(folder, files=files, segment_bytes=2_000, seal_bytes=1 << 30)
        except StorageError:
            assert files.is_off
            files.settle()
            continue
        assert log.last_commit >= done
        done = log.last_commit
        try:
            while True:
                for _ in range(1 + seed % 4):
                    log.append(mixed(done + 1)).wait(60)
                    done += 1
                log.seal()
        except StorageError:
            assert files.is_off
        finally:
            log.close()
        files.settle()
    assert checked(folder) >= done
    with Log.open(folder) as log:
        found = [record for record in log.records() if isinstance(record, Commit)]
        assert [record.number for record in found] == list(range(1, log.last_commit + 1))
        assert all(alike(record, mixed(record.number)) for record in found)
