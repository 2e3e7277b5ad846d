"""Rewriting: columns of one person go from all that is sealed, every row keeps its place, and it is noted.

The log of the trimming tests (a stream, its late rows, a table with a base) is rewritten; commits, clocks,
weights and all other rows must be as before, also when the power fails at the n-th operation of the disk and
the call is made again.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from tests.log.faulty import FaultyFiles, PowerCutFiles, QuickFiles
from tests.log.test_trimming import COMMITS, filled, fold, made, opened

from headrace.errors import HeadraceError, StorageError
from headrace.log import Commit, Log
from headrace.log.copies import checked
from headrace.log.trimming import Wish

NAME = "name 4001"
NOTE = {"why": "a person asked"}


def erase(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Empty the name and the amount of one person."""
    hit = pc.fill_null(pc.equal(rows.column("name"), NAME), False)
    columns = [rows.column("id")]
    columns += [
        pc.if_else(hit, pa.scalar(None, rows.schema.field(n).type), rows.column(n))
        for n in ("name", "amount")
    ]
    return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


def empty(rows: pa.RecordBatch) -> pa.RecordBatch:
    """Empty everybody's amount."""
    nulls = pa.nulls(rows.num_rows, rows.schema.field("amount").type)
    return pa.RecordBatch.from_arrays([rows.column("id"), rows.column("name"), nulls], schema=rows.schema)


def amounts(log: Log, relation: str) -> set[object]:
    return {one for change in log.history(relation) for one in change.rows.column("amount").to_pylist()}


def names(log: Log, relation: str = "orders") -> list[str | None]:
    return [name for change in log.history(relation) for name in change.rows.column("name").to_pylist()]


def assert_rewritten(log: Log) -> None:
    for record in log.records():
        if isinstance(record, Commit):
            wanted = made(record.number)
            assert record.clock == wanted.clock
            for relation, change in wanted.changes.items():
                found = record.changes[relation]
                rows = erase(change.rows) if relation == "orders" else change.rows
                assert found.rows.equals(rows)
                assert found.weights.tolist() == change.weights.tolist()


def test_one_persons_columns_go_and_every_row_keeps_its_place(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        assert NAME in names(log)
        told = log.rewrite("orders", erase, note=NOTE)
        assert (told.files, told.rows) == (1, 20)
        assert NAME not in names(log)
        assert_rewritten(log)
        assert log.rewrite("orders", erase, note=NOTE).files == 0
    with opened(tmp_path) as log:
        assert_rewritten(log)
        (noted,) = log.rewrites()
        assert (noted["relation"], noted["rows"], noted["why"]) == ("orders", 20, "a person asked")
        log.append(made(COMMITS + 1)).wait(60)
    assert checked(tmp_path) == COMMITS + 1
    assert NAME.encode() not in b"".join(p.read_bytes() for p in (tmp_path / "log/parquet/orders").iterdir())
    assert len(list((tmp_path / "log/parquet/orders").iterdir())) == 4


def test_a_rewritten_file_is_rewritten_again(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        log.rewrite("orders", erase, note=NOTE)
        assert log.rewrite("orders", empty, note={"why": "all"}).files == 4
        assert amounts(log, "orders") == {None}
        assert len(log.rewrites()) == 5
    with opened(tmp_path) as log:
        assert amounts(log, "orders") == {None}


def test_the_rows_of_a_base_are_rewritten_too(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        log.trim(Wish({}, {"customers": fold}, 30, 0))
        assert log.rewrite("customers", empty, note=NOTE).files == 2
        assert amounts(log, "customers") == {None}
    with opened(tmp_path) as log:
        assert amounts(log, "customers") == {None}
        log.trim(Wish({"orders": 30, "orders__late": 30}, {"customers": fold}, 30, 30))
        assert len(log.rewrites()) > 0


def test_a_reader_reads_on_in_what_it_began(tmp_path: Path) -> None:
    with filled(tmp_path) as log:
        log.seal()
        reader = log.records()
        next(reader)
        log.rewrite("orders", erase, note=NOTE)
        rest = [record for record in reader if isinstance(record, Commit)]
        assert rest[3].changes["orders"].rows.equals(made(4).changes["orders"].rows)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda rows: rows.slice(1),
        lambda rows: rows.select(["id"]),
        lambda rows: rows.rename_columns(["a", "b", "c"]),
    ],
)
def test_columns_and_numbers_of_rows_do_not_change(tmp_path: Path, wrong: object) -> None:
    with filled(tmp_path) as log:
        with pytest.raises(HeadraceError, match="would change columns"):
            log.rewrite("orders", wrong, note=NOTE)  # type: ignore[arg-type]
        assert log.rewrites() == []
        assert NAME in names(log)


@pytest.mark.parametrize("operation", ["create", "write", "sync", "rename", "sync_folder"])
def test_a_disk_that_refuses_leaves_the_stretch_as_it_was(tmp_path: Path, operation: str) -> None:
    with filled(tmp_path) as log:
        log.seal()
    files = FaultyFiles()
    with Log.open(tmp_path, files=files) as log:
        files.failing[operation] = errno.ENOSPC
        with pytest.raises(StorageError, match="space"):
            log.rewrite("orders", erase, note=NOTE)
        files.failing.clear()
        log.rewrite("orders", erase, note=NOTE)
        assert NAME not in names(log)
        assert_rewritten(log)


@pytest.mark.parametrize("seed", range(24))
def test_a_power_cut_while_a_log_is_rewritten_and_the_call_again(tmp_path: Path, seed: int) -> None:
    filled(tmp_path).close()
    files = PowerCutFiles(1 + seed, seed)
    try:
        with Log.open(tmp_path, files=files) as log:
            log.rewrite("orders", erase, note=NOTE)
    except StorageError:
        assert files.is_off
    files.settle()
    assert checked(tmp_path) == COMMITS
    with Log.open(tmp_path, files=QuickFiles()) as log:
        found = names(log)
        assert len(found) == 2 * COMMITS
        log.rewrite("orders", erase, note=NOTE)
        assert_rewritten(log)
