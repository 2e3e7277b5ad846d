"""Parquet files of a sealed stretch of the log: written once, checked block by block whenever they are read.

A relation's file has its own columns and, behind them, `_commit` (number), `_at` (append clock, UTC) and
`_weight` (+1 the row came, -1 it went); its rows stand in the order of the commits. Checksums stand beside,
in the stretch's manifest: CRC-32 of every 64 KiB.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from headrace.change import WEIGHT, Change, as_batch
from headrace.log.codec import has_dictionary
from headrace.log.columns import (
    PLAIN,
    encodings_of,
    from_stored,
    read_sample,
    sample_of,
    stored_schema,
    to_stored,
)
from headrace.log.documents import read_file
from headrace.log.files import Files
from headrace.log.frames import damaged

COMMIT, AT = "_commit", "_at"
BLOCK_BYTES = 64 * 1024
GROUP_ROWS, GROUP_BYTES = 128 * 1024, 32 << 20
"""A row group ends with the commit with which it has one of them."""
SMALL_ROWS = 1000
SAMPLE_ROWS, FEW_TEXTS, FEW_NUMBERS = 8192, 2, 32
"""A column has a dictionary where of so many rows at most every second text, or every 32nd number, is another
one."""
_OURS = [pa.field(COMMIT, pa.int64()), pa.field(AT, pa.timestamp("us")), pa.field(WEIGHT, pa.int64())]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file as the manifest knows it.

    Attributes:
        path: below the folder `log`.
        length: in bytes.
        rows: in it.
        checksums: CRC-32 of each block.
        relation: whose rows they are; empty for the records.
        sample: no rows as an Arrow IPC stream: schema and dictionaries, exactly as they were.
        encodings: of columns that are not kept as they are.
    """

    path: str
    length: int
    rows: int
    checksums: tuple[int, ...]
    relation: str = ""
    sample: bytes = b""
    encodings: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, facts: dict[str, Any]) -> FileEntry:
        """Return the entry that `as_json` wrote."""
        sample = base64.b64decode(facts.get("sample", ""))
        return cls(
            facts["path"], facts["bytes"], facts["rows"], tuple(facts["checksums"]),
            facts.get("relation", ""), sample, facts.get("encodings", {}),
        )  # fmt: skip

    def as_json(self) -> dict[str, Any]:
        """Return the entry for a manifest."""
        facts: dict[str, Any] = {
            "path": self.path, "bytes": self.length, "rows": self.rows, "checksums": list(self.checksums),
        }  # fmt: skip
        if self.relation:
            facts["relation"] = self.relation
            facts["sample"] = base64.b64encode(self.sample).decode()
        return facts | ({"encodings": self.encodings} if self.encodings else {})


def checksums(data: bytes | memoryview) -> tuple[int, ...]:
    """Return the CRC-32 of each block."""
    view = memoryview(data)
    return tuple(zlib.crc32(view[at : at + BLOCK_BYTES]) for at in range(0, len(view), BLOCK_BYTES))


def read_checked(files: Files, folder: Path, entry: FileEntry) -> pa.Buffer:
    """Return a file's bytes once every block has passed its checksum.

    Raises:
        LogDamaged: with the range of bytes that are not as they were written.
    """
    path = folder / entry.path
    try:
        data = read_file(files, path)
    except FileNotFoundError as error:
        raise damaged(path, 0, entry.length, "the file is missing") from error
    if len(data) != entry.length:
        raise damaged(path, min(len(data), entry.length), entry.length, "the file has another length")
    for at, (found, expected) in enumerate(zip(checksums(data), entry.checksums, strict=True)):
        if found != expected:
            start = at * BLOCK_BYTES
            raise damaged(
                path, start, min(start + BLOCK_BYTES, len(data)), "a block of the file fails its checksum"
            )
    return pa.py_buffer(data)


class ParquetSink:
    """Turns batches of one schema into the bytes of a Parquet file, each into a row group of its own."""

    def __init__(self, schema: pa.Schema, metadata: dict[str, str] | None = None) -> None:
        self.schema = schema
        self._schema = schema.with_metadata(metadata)
        self._sink = pa.BufferOutputStream()
        self._writer: pq.ParquetWriter | None = None
        self.rows = 0

    def add(self, columns: list[pa.Array]) -> None:
        """Add a row group; one row at least."""
        table = pa.Table.from_arrays(columns, schema=self._schema)
        if self._writer is None:
            self._writer = self._begun(_repetitive(table))
        self._writer.write_table(table, row_group_size=len(table))
        self.rows += len(table)

    def _begun(self, dictionaries: bool | list[str]) -> pq.ParquetWriter:
        return pq.ParquetWriter(
            self._sink, self._schema, compression="zstd", compression_level=3, version="2.6",
            use_dictionary=dictionaries,
        )  # fmt: skip

    def finish(self) -> memoryview:
        """Return the file."""
        (self._writer or self._begun(True)).close()
        return memoryview(self._sink.getvalue())


def _repetitive(table: pa.Table) -> bool | list[str]:
    """Return the columns whose values are numbered in a dictionary; True: all.

    It takes time, and room too where hardly a value comes twice; numbers beside a dictionary are compressed
    as well as those of one, unless they are few. Parts of nested columns are not told apart.
    """
    if any(kind.num_fields for kind in table.schema.types):
        return True
    return [
        name
        for name, column in zip(table.column_names, table.columns, strict=True)
        if _is_repetitive(column.slice(0, SAMPLE_ROWS))
    ]


def _is_repetitive(sample: pa.ChunkedArray) -> bool:
    kind, types = sample.type, pa.types
    is_text = (
        types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind)
        or types.is_large_binary(kind)
    )  # fmt: skip
    share = FEW_TEXTS if is_text else FEW_NUMBERS
    try:
        return bool(pc.count_distinct(sample).as_py() * share <= len(sample))
    except pa.ArrowNotImplementedError:
        return True


class RelationSink:
    """Gathers one relation's changes of one schema."""

    def __init__(self, relation: str, rows: pa.RecordBatch, key: Any) -> None:
        self.relation = relation
        self.key = key
        self._sample = sample_of(rows)
        self._encodings = encodings_of(rows.schema)
        schema = pa.schema([*stored_schema(rows.schema, self._encodings), *_OURS])
        self._sink = ParquetSink(schema, {"headrace.relation": relation})
        self._waiting: list[tuple[Change, int, int]] = []
        self._rows, self._bytes = 0, 0.0

    def add(self, change: Change, commit: int, at_us: int) -> None:
        """Add one commit's change, which stays in one row group."""
        if not len(change):
            return
        self._waiting.append((change, commit, at_us))
        self._rows += len(change)
        self._bytes += len(change) * self._row_bytes(change)
        if self._rows >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _row_bytes(self, change: Change) -> float:
        """Return about how large a row is; small changes are taken to be like the first one."""
        if len(change) > SMALL_ROWS or not self._width:
            self._width = change.rows.nbytes / len(change)
        return self._width

    _width = 0.0

    def _flush(self) -> None:
        if not self._rows:
            return
        changes, commits, clocks_us = zip(*self._waiting, strict=True)
        counts = [len(change) for change in changes]
        change = Change.concat(changes)
        columns = [
            to_stored(column, self._encodings.get(name, PLAIN))
            for name, column in zip(change.schema.names, change.rows.columns, strict=True)
        ]
        columns += [
            pa.array(np.repeat(np.array(commits, dtype=np.int64), counts)),
            pa.array(np.repeat(np.array(clocks_us, dtype=np.int64), counts)).view(pa.timestamp("us")),
            pa.array(change.weights, pa.int64()),
        ]
        self._sink.add(columns)
        self._waiting, self._rows, self._bytes = [], 0, 0.0

    def finish(self, path: str) -> tuple[FileEntry, memoryview]:
        """Return the file and what the manifest says of it."""
        self._flush()
        data = self._sink.finish()
        entry = FileEntry(
            path, len(data), self._sink.rows, checksums(data), self.relation, self._sample, self._encodings
        )
        return entry, data


def key_of(rows: pa.RecordBatch) -> Any:
    """Return what two batches must share to lie in one file: the schema, and all dictionaries in it."""
    return sample_of(rows) if has_dictionary(rows.schema) else rows.schema


def is_same_key(left: Any, right: Any) -> bool:
    """Compare what `key_of` returned."""
    if isinstance(left, pa.Schema) and isinstance(right, pa.Schema):
        return bool(left.equals(right, check_metadata=True))
    return bool(type(left) is type(right) and left == right)


class RelationSource:
    """Reads a relation's file from its start, piece by piece; opened when the first row is wanted."""

    def __init__(self, files: Files, folder: Path, entry: FileEntry) -> None:
        self._files, self._folder, self._entry = files, folder, entry
        self._sample = read_sample(entry.sample)
        self._file: pq.ParquetFile | None = None
        self._group = 0
        self._at = 0
        self._change: Change | None = None
        self._skip = 0

    def skip(self, rows: int) -> None:
        """Pass over rows; row groups that lie in them wholly are not decoded."""
        self._skip += rows

    def take(self, rows: int) -> Change:
        """Return the next rows."""
        if not rows:
            return Change(self._sample, np.empty(0, dtype=np.int64))
        self._pass_over()
        parts: list[Change] = []
        while rows:
            change = self._change
            if change is None or self._at >= len(change):
                change = self._change = self._next()
                self._at = 0
            count = min(rows, len(change) - self._at)
            parts.append(
                Change(change.rows.slice(self._at, count), change.weights[self._at : self._at + count])
            )
            self._at += count
            rows -= count
        return Change.concat(parts)

    def _pass_over(self) -> None:
        while self._skip:
            left = 0 if self._change is None else len(self._change) - self._at
            if left:
                step = min(left, self._skip)
                self._at += step
                self._skip -= step
                continue
            file = self._opened()
            count = file.metadata.row_group(self._group).num_rows
            if count <= self._skip:
                self._group += 1
                self._skip -= count
            else:
                self._change, self._at = self._next(), 0

    def _opened(self) -> pq.ParquetFile:
        if self._file is None:
            data = read_checked(self._files, self._folder, self._entry)
            self._file = pq.ParquetFile(pa.BufferReader(data))
        return self._file

    def _next(self) -> Change:
        change, _ = self.group(self._group)
        self._group += 1
        return change

    def ours(self) -> Iterator[pa.RecordBatch]:
        """Yield commit, clock and weight of the rows of each row group."""
        names = [field.name for field in _OURS]
        for at in range(self._opened().num_row_groups):
            yield as_batch(self._opened().read_row_group(at, columns=names, use_threads=False))

    def groups(self) -> Iterator[tuple[Change, npt.NDArray[np.int64]]]:
        """Yield the rows of each row group, with the commit of each row."""
        for at in range(self._opened().num_row_groups):
            yield self.group(at)

    def group(self, at: int) -> tuple[Change, npt.NDArray[np.int64]]:
        """Return the rows of one row group, with the commit of each row.

        Raises:
            LogDamaged: there is no such row group.
        """
        file = self._opened()
        if at >= file.num_row_groups:
            path = self._folder / self._entry.path
            raise damaged(path, 0, self._entry.length, "rows are missing that commits speak of")
        batch = as_batch(file.read_row_group(at, use_threads=False))
        weights = batch.column(batch.num_columns - 1).to_numpy(zero_copy_only=True)
        commits = batch.column(batch.num_columns - 3).to_numpy(zero_copy_only=True)
        columns = [
            from_stored(batch.column(place), self._entry.encodings.get(name, PLAIN), sample)
            for place, (name, sample) in enumerate(
                zip(self._sample.schema.names, self._sample.columns, strict=True)
            )
        ]
        if not columns:
            return Change(batch.select([]), weights), commits
        return Change(pa.RecordBatch.from_arrays(columns, schema=self._sample.schema), weights), commits


def check_files(files: Files, folder: Path, entries: Sequence[FileEntry]) -> None:
    """Read files through and check every block.

    Raises:
        LogDamaged: one of them is not as it was written.
    """
    for entry in entries:
        read_checked(files, folder, entry)
