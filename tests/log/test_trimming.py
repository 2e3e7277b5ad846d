"""Trimming: rows go by whole files, tables become a base, and what is left reads as before.

A log of a stream, its late rows and a table is sealed in three stretches and trimmed in every way; a reader
of what is left must see the same watermarks, positions, steps and table rows. Then the power fails at the
n-th operation of the disk while the log is trimmed.
"""

from __future__ import annotations

import errno
import shutil
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import Torture
from tests.log.faulty import FaultyFiles, PowerCutFiles, QuickFiles
from tests.log.samples import START, commit
from tests.log.test_sealing import alike, parquet, rows_of

from headrace.change import Change
from headrace.errors import StorageError, VersionGone
from headrace.log import Commit, Declared, Log, Record, Step
from headrace.log.copies import checked, copy_log
from headrace.log.files import Files
from headrace.log.trimming import Wish

ENDS = (10, 20, 30)
COMMITS = 35


def made(number: int) -> Commit:
    """Return a commit: rows of a stream, sometimes late ones; a table of 5 keys that changes every time."""
    changes = {"orders": commit(number, 2).changes["orders"]}
    if number % 4 == 0:
        changes["orders__late"] = commit(number, 1).changes["orders"]
    changes["customers"] = table_change(number)
    source = {1: "kafka", 2: "files"}.get(number % 8)
    return Commit(
        number, START + timedelta(seconds=number), changes,
        {"orders": START + timedelta(seconds=number)} if number % 3 == 0 else {},
        None, None, source, {"at": number} if source else None,
    )  # fmt: skip


def row_of(number: int) -> Change:
    """Return the table's row that commit `number` puts in: key number % 5, with its number."""
    return commit(number, 1).changes["orders"]


def table_change(number: int) -> Change:
    new = row_of(number)
    return new if number <= 5 else Change.concat([row_of(number - 5).negated(), new])


def records() -> Iterator[Record]:
    yield Declared({"streams": {"orders": {}}})
    for number in range(1, COMMITS + 1):
        yield made(number)
        if number % 2 == 0:
            yield Step(number // 2, number, START + timedelta(seconds=number))


def fold(changes: Iterator[Change]) -> Change:
    """Fold by counting: the rows that are there, in no particular order."""
    change = Change.concat(list(changes))
    counts: Counter[str] = Counter()
    for row, weight in zip(change.rows.to_pylist(), change.weights.tolist(), strict=True):
        counts[repr(row)] += weight
    last = {repr(row): at for at, row in enumerate(change.rows.to_pylist())}
    return Change.inserts(change.take(np.array(sorted(last[r] for r, n in counts.items() if n))).rows)


def opened(folder: Path, files: Files | None = None) -> Log:
    return Log.open(folder, files=files or QuickFiles())


def filled(folder: Path) -> Log:
    log = opened(folder)
    for record in records():
        log.append(record).wait(60)
        if isinstance(record, Step) and record.last_commit in ENDS:
            log.seal()
    return log


def content(log: Log, relation: str, upto: int | None = None) -> Counter[str]:
    counts: Counter[str] = Counter()
    for change in log.history(relation, upto):
        for row, weight in zip(change.rows.to_pylist(), change.weights.tolist(), strict=True):
            counts[repr(row)] += weight
    return +counts


def wanted(relation: str, after: int = 0, upto: int = COMMITS) -> Counter[str]:
    counts: Counter[str] = Counter()
    for number in range(after + 1, upto + 1):
        change = made(number).changes.get(relation)
        if change is not None:
            for row, weight in zip(change.rows.to_pylist(), change.weights.tolist(), strict=True):
                counts[repr(row)] += weight
    return +counts


def remembered(log: Log) -> dict[str, object]:
    """Return what an intake would know after reading the log: all but rows."""
    known: dict[str, object] = {}
    table: Counter[str] = Counter()
    for record in log.records():
        if isinstance(record, Step):
            known["step"] = record
        elif isinstance(record, Declared):
            known["declared"] = record
        else:
            known["commit"] = record.number
            known |= {f"watermark {name}": at for name, at in record.watermarks.items()}
            known |= {f"heard {name.removesuffix('__late')}": record.clock for name in record.changes}
            if record.source is not None:
                known[f"position {record.source}"] = record.position
            change = record.changes.get("customers")
            if change is not None:
                for row, weight in zip(change.rows.to_pylist(), change.weights.tolist(), strict=True):
                    table[repr(row)] += weight
    return known | {"customers": +table}


@pytest.mark.parametrize("rows_upto", [0, 10, 25, 34])
@pytest.mark.parametrize("tables_upto", [0, 20, 34])
@pytest.mark.parametrize("records_upto", [0, 20, 34])
def test_what_is_left_reads_as_before(
    tmp_path: Path, rows_upto: int, tables_upto: int, records_upto: int
) -> None:
    wish = Wish(
        {"orders": rows_upto, "orders__late": rows_upto}, {"customers": fold}, tables_upto, records_upto
    )
    floor = max([0, *(end for end in ENDS if end <= rows_upto)])
    with filled(tmp_path) as log:
        before = remembered(log)
        log.trim(wish)
        for _ in range(2):
            assert remembered(log) == before
            assert content(log, "orders") == wanted("orders", floor)
            assert content(log, "orders__late") == wanted("orders__late", floor)
            assert content(log, "customers") == wanted("customers")
            assert log.trimmed().get("orders", (0, None))[0] == floor
            for start in (31, 33, 35):
                left = [r for r in log.records(start) if isinstance(r, Commit)]
                assert all(alike(*pair) for pair in zip(left, map(made, range(start, 36)), strict=True))
            assert not log.trim(wish).relations
    with opened(tmp_path) as log:
        assert remembered(log) == before
        assert log.last_declared() == Declared({"streams": {"orders": {}}})
        log.append(made(COMMITS + 1)).wait(60)
    assert checked(tmp_path) == COMMITS + 1
    gone = max([0, *(end for end in ENDS if end <= min(rows_upto, tables_upto, records_upto))])
    assert len(list((tmp_path / "log" / "sealed").glob("*.json"))) == 3 - gone // 10


def test_a_trimmed_log_says_what_it_freed_and_what_is_gone(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        size = log.stats()["bytes"]
        told = log.trim(Wish({"orders": 30, "orders__late": 30}, {"customers": fold}, 30, 30))
        assert told.upto_commit == 30
        assert told.freed_bytes > 0
        assert dict(told.relations) == {"orders": 30, "orders__late": 30, "customers": 30}
        assert log.stats()["bytes"] < size
        assert log.commit(30) is None
        assert log.commit(31) is not None
        assert log.commit_at(START + timedelta(seconds=33)) == 33
        assert log.commit_at(START + timedelta(seconds=30)) == 30
        for moment in (START, START + timedelta(seconds=29)):
            with pytest.raises(VersionGone, match="begins after commit 30"):
                log.commit_at(moment)
        with pytest.raises(VersionGone, match="begins after commit 30"):
            log.refuse_trimmed("orders", 29)
        log.refuse_trimmed("orders", 30)
        log.refuse_trimmed("customers", 30)
        with pytest.raises(VersionGone, match="begins after commit 30"):
            log.refuse_trimmed("customers", 29)
    assert [path.name for path in (tmp_path / "log" / "parquet").rglob("*.parquet")] == [
        "base-000000000001.parquet"
    ]


def test_other_readers_see_the_base_of_a_table_and_the_changes_behind_it(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        log.trim(Wish({}, {"customers": fold}, 20, 0))
        log.trim(Wish({}, {"customers": fold}, 20, 0))
        log.seal()
    query = f"SELECT id, sum(_weight) AS n FROM '{parquet(tmp_path, 'customers')}' GROUP BY id HAVING n <> 0"
    assert sorted(rows_of(query)) == [(number * 1000, 1) for number in range(31, 36)]


def test_a_base_is_folded_again(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        for upto in (10, 20, 30):
            log.trim(Wish({"orders": upto}, {"customers": fold}, upto, upto))
            assert content(log, "customers") == wanted("customers")
        assert len(list((tmp_path / "log" / "parquet" / "customers").iterdir())) == 1


def test_a_reader_keeps_what_is_trimmed_meanwhile(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        reader = log.records()
        next(reader)
        log.trim(Wish({"orders": 30, "orders__late": 30}, {"customers": fold}, 30, 30))
        assert sum(isinstance(record, Commit) for record in reader) == COMMITS
        assert len(list((tmp_path / "log" / "sealed").iterdir())) == 0


def test_a_table_that_cannot_be_folded_is_kept(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        told = log.trim(Wish({"orders": 30}, {"customers": lambda _: None}, 30, 30))
        assert dict(told.relations) == {"orders": 30}
        assert told.upto_commit == 0
        assert content(log, "customers") == wanted("customers")


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename", "sync_folder"])
def test_a_disk_that_refuses_leaves_the_log_as_it_was(tmp_path: Path, operation: str) -> None:
    filled(tmp_path).close()
    files = FaultyFiles()
    with opened(tmp_path, files) as log:
        before = remembered(log)
        files.failing[operation] = errno.ENOSPC
        with pytest.raises(StorageError, match="trimmed"):
            log.trim(Wish({"orders": 30}, {"customers": fold}, 30, 30))
        assert remembered(log) == before
        assert content(log, "orders") == wanted("orders")
        files.failing.clear()
    with opened(tmp_path) as log:
        assert remembered(log) == before
        assert content(log, "customers") == wanted("customers")


def test_a_copy_of_a_trimmed_log_is_whole(tmp_path: Path) -> None:
    with filled(tmp_path / "data") as log:
        log.trim(Wish({"orders": 20}, {"customers": fold}, 20, 20))
        before = remembered(log)
        assert copy_log(tmp_path / "data", tmp_path / "copy").last_commit == COMMITS
    with opened(tmp_path / "copy") as log:
        assert remembered(log) == before


@pytest.mark.parametrize("seed", range(12))
def test_a_power_cut_while_a_log_is_trimmed_loses_nothing_else(tmp_path: Path, seed: int) -> None:
    live_through_a_power_cut(tmp_path, seed)


@pytest.mark.torture(weight=0.1)
def test_many_power_cuts_while_a_log_is_trimmed(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        live_through_a_power_cut(tmp_path / str(seed), seed)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case)


def live_through_a_power_cut(folder: Path, seed: int) -> None:
    with filled(folder) as log:
        before = remembered(log)
    for life in range(2):
        files = PowerCutFiles(1 + seed * 3 % 29 + 9 * life, seed)
        try:
            with opened(folder, files) as log:
                for upto in ENDS:
                    log.trim(Wish({"orders": upto, "orders__late": upto}, {"customers": fold}, upto, upto))
        except StorageError:
            assert files.is_off
        files.settle()
        assert checked(folder) == COMMITS
        with opened(folder) as log:
            assert remembered(log) == before
            assert content(log, "customers") == wanted("customers")
            floor = log.trimmed().get("orders", (0, None))[0]
            assert floor in (0, *ENDS)
            assert content(log, "orders") == wanted("orders", floor)
