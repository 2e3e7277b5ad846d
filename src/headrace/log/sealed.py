"""Sealed stretches: commits that lie in Parquet, one file per relation, and what the commits carry beside.

A stretch is what its manifest `sealed/000000000001.json` says. The manifest appears when every file that it
names is on stable storage, and then takes the place of the segments that held the same commits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.change import Change
from headrace.log.codec import commit_from_json, step_from_json, step_json
from headrace.log.documents import place_document, read_document
from headrace.log.files import Files
from headrace.log.frames import damaged
from headrace.log.parquet_files import (
    FileEntry,
    RelationSource,
    check_files,
    read_checked,
)
from headrace.log.records import Commit, Declared, Record, Step

FORMAT = 1
SEALED, RECORDS, ROWS = "sealed", "records", "parquet"
MANIFEST_NAME = re.compile(r"\d{12,}\.json")
NOTHING: Mapping[str, int] = MappingProxyType({})
KIND, NUMBER, BODY = "kind", "number", "body"
COMMIT_KIND, STEP_KIND, DECLARED_KIND = "commit", "step", "declared"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a sealed stretch is.

    Attributes:
        first_commit: number of the first commit in it.
        last_commit: of the last.
        first_clock_us: append clock of the first commit.
        last_clock_us: of the last.
        last_step: the last step in it or before it.
        last_segment: name and length of the segment at its end, to which the next one refers.
        records: the file of steps, declarations, and what commits carry beside their rows.
        relations: the files of rows.
        rewrites: what was done to rows after they were sealed.
    """

    first_commit: int
    last_commit: int
    first_clock_us: int
    last_clock_us: int
    last_step: Step | None
    last_segment: tuple[str, int]
    records: FileEntry
    relations: tuple[FileEntry, ...]
    rewrites: tuple[dict[str, Any], ...] = field(default=())

    @property
    def name(self) -> str:
        """The manifest's file name."""
        return f"{self.first_commit:012d}.json"

    @property
    def files(self) -> tuple[FileEntry, ...]:
        """All files of the stretch."""
        return (self.records, *self.relations)

    @property
    def bytes(self) -> int:
        """Bytes in them."""
        return sum(entry.length for entry in self.files)


def write_manifest(files: Files, folder: Path, manifest: Manifest) -> None:
    """Put a stretch in force; its files are on stable storage."""
    document = {
        "format": FORMAT,
        "first_commit": manifest.first_commit,
        "last_commit": manifest.last_commit,
        "first_clock": manifest.first_clock_us,
        "last_clock": manifest.last_clock_us,
        "last_step": step_json(manifest.last_step) if manifest.last_step else None,
        "last_segment": list(manifest.last_segment),
        "records": manifest.records.as_json(),
        "relations": [entry.as_json() for entry in manifest.relations],
        "rewrites": list(manifest.rewrites),
    }
    place_document(files, folder / SEALED / manifest.name, document)


def read_manifest(files: Files, folder: Path, name: str) -> Manifest:
    """Return what `write_manifest` wrote.

    Raises:
        LogDamaged, FormatTooNew: it cannot be read.
    """
    path = folder / SEALED / name
    facts = read_document(files, path, FORMAT)
    if facts["first_commit"] != int(path.stem):
        raise damaged(path, 0, 0, "the manifest does not belong to its name")
    step = step_from_json(facts["last_step"]) if facts["last_step"] else None
    return Manifest(
        facts["first_commit"], facts["last_commit"], facts["first_clock"], facts["last_clock"], step,
        (facts["last_segment"][0], facts["last_segment"][1]), FileEntry.from_json(facts["records"]),
        tuple(FileEntry.from_json(entry) for entry in facts["relations"]), tuple(facts["rewrites"]),
    )  # fmt: skip


class Sealed:
    """One sealed stretch, as a piece of the log. Safe to share between threads."""

    def __init__(self, files: Files, folder: Path, manifest: Manifest) -> None:
        self._files, self._folder = files, folder
        self.manifest = manifest
        self.first_commit, self.last_commit = manifest.first_commit, manifest.last_commit

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that a reader needs."""
        return tuple(self._folder / entry.path for entry in self.manifest.files)

    @property
    def bytes(self) -> int:
        """Bytes in them."""
        return self.manifest.bytes

    def first_clock_us(self) -> int:
        """Return the append clock of the first commit."""
        return self.manifest.first_clock_us

    # --- records ----------------------------------------------------------------------------------
    def _lines(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """Yield columns of the records, row by row."""
        file = self._records_file()
        for at in range(file.num_row_groups):
            table = file.read_row_group(at, columns=list(columns), use_threads=False)
            yield from zip(*(table.column(name).to_pylist() for name in columns), strict=True)

    def _records_file(self) -> pq.ParquetFile:
        data = read_checked(self._files, self._folder, self.manifest.records)
        return pq.ParquetFile(pa.BufferReader(data))

    def records(self, start_commit: int, trimmed: Mapping[str, int] = NOTHING) -> Iterator[Record]:
        """Yield the records from a commit on, as they were before they were sealed.

        Args:
            start_commit: the first commit wanted.
            trimmed: per relation the commit up to which its rows are gone; its changes are empty there.
        """
        entries = self.manifest.relations
        sources = [RelationSource(self._files, self._folder, entry) for entry in entries]
        seen = self.first_commit - 1
        for kind, number, body in self._lines((KIND, NUMBER, BODY)):
            if kind == COMMIT_KIND:
                seen = number
            wanted = seen >= start_commit or start_commit == 1
            if kind == STEP_KIND and wanted:
                yield step_from_json(orjson.loads(body))
            elif kind == DECLARED_KIND and wanted:
                yield Declared(orjson.loads(body))
            elif kind == COMMIT_KIND:
                facts = orjson.loads(body)
                changes = _changes(facts, number, sources, entries, trimmed, wanted=wanted)
                if wanted:
                    yield commit_from_json(facts, changes)

    def commit(self, number: int, trimmed: Mapping[str, int] = NOTHING) -> Commit | None:
        """Return one commit."""
        for record in self.records(number, trimmed):
            if isinstance(record, Commit):
                return record if record.number == number else None
        return None

    def last_declared(self) -> Declared | None:
        """Return the last declarations in the stretch."""
        last = None
        for kind, body in self._lines((KIND, BODY)):
            last = body if kind == DECLARED_KIND else last
        return None if last is None else Declared(orjson.loads(last))

    def commit_at(self, clock_us: int) -> int:
        """Return the last commit whose append clock is not later; the one before the stretch if all are."""
        table = self._records_file().read(columns=[KIND, NUMBER, "_at"], use_threads=False)
        is_commit = np.array([kind == COMMIT_KIND for kind in table.column(KIND).to_pylist()], dtype=np.bool_)
        clocks = table.column("_at").combine_chunks().view(pa.int64()).to_numpy(zero_copy_only=False)
        numbers = table.column(NUMBER).to_numpy()
        place = int(np.searchsorted(clocks[is_commit], clock_us, side="right"))
        return int(numbers[is_commit][place - 1]) if place else self.first_commit - 1

    # --- one relation -----------------------------------------------------------------------------
    def changes(self, relation: str, after_commit: int, upto_commit: int) -> Iterator[Change]:
        """Yield one relation's changes of the commits between; only the relation's files are read."""
        entries = [entry for entry in self.manifest.relations if entry.relation == relation]
        if len(entries) > 1:
            yield from self._changes_in_turn(entries, after_commit, upto_commit)
            return
        for entry in entries:
            for change, commits in RelationSource(self._files, self._folder, entry).groups():
                first, end = np.searchsorted(commits, [after_commit, upto_commit], side="right").tolist()
                if end > first:
                    yield Change(change.rows.slice(first, end - first), change.weights[first:end])
                if end < len(commits):
                    return

    def _changes_in_turn(
        self, entries: Sequence[FileEntry], after_commit: int, upto_commit: int
    ) -> Iterator[Change]:
        """The relation's columns changed within the stretch: its files are read side by side."""
        for record in self.records(after_commit + 1, _all_but(self.manifest, entries)):
            if isinstance(record, Commit):
                if record.number > upto_commit:
                    return
                if entries[0].relation in record.changes:
                    yield record.changes[entries[0].relation]

    def check(self, trimmed: Mapping[str, int] = NOTHING) -> Iterator[int]:
        """Read everything, check every block and every count, and yield the number of each commit."""
        kept = [e for e in self.manifest.relations if trimmed.get(e.relation, 0) < self.last_commit]
        check_files(self._files, self._folder, kept)
        seen = self.first_commit - 1
        for record in self.records(1, trimmed):
            if isinstance(record, Commit):
                if record.number != seen + 1:
                    path = self._folder / self.manifest.records.path
                    raise damaged(path, 0, 0, f"commit {record.number} follows commit {seen}")
                seen = record.number
                yield seen
        if seen != self.last_commit:
            path = self._folder / self.manifest.records.path
            raise damaged(path, 0, 0, f"commits {seen + 1} to {self.last_commit} are missing")


def _all_but(manifest: Manifest, entries: Sequence[FileEntry]) -> dict[str, int]:
    wanted = {entry.relation for entry in entries}
    return {e.relation: manifest.last_commit for e in manifest.relations if e.relation not in wanted}


def _changes(
    facts: dict[str, Any], number: int, sources: Sequence[RelationSource], entries: Sequence[FileEntry],
    trimmed: Mapping[str, int], *, wanted: bool,
) -> dict[str, Change]:  # fmt: skip
    changes: dict[str, Change] = {}
    for name, rows, at in facts["relations"]:
        is_gone = trimmed.get(entries[at].relation, 0) >= number
        if wanted:
            changes[name] = sources[at].take(0 if is_gone else rows)
        if is_gone or not wanted:
            sources[at].skip(rows)
    return changes
