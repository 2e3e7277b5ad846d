"""Sealing: records become Parquet files, in the background, beside the segments that hold them.

Nothing is visible until the manifest stands: files are written and fsynced under draft names, renamed, their
folders fsynced, then the manifest is placed the same way. A crash before leaves files that no manifest names,
which the next opening removes; a crash after leaves segments that the manifest has replaced, likewise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from headrace.change import Change
from headrace.log.codec import commit_json, step_json, to_us
from headrace.log.documents import DRAFT, write_draft
from headrace.log.files import Files
from headrace.log.parquet_files import (
    AT,
    FileEntry,
    ParquetSink,
    RelationSink,
    checksums,
    is_same_key,
    key_of,
)
from headrace.log.records import Commit, Declared, Record, Step
from headrace.log.sealed import (
    BODY,
    COMMIT_KIND,
    DECLARED_KIND,
    KIND,
    NUMBER,
    RECORDS,
    ROWS,
    SEALED,
    STEP_KIND,
    Manifest,
    write_manifest,
)

LINES_AT_ONCE = 16 * 1024
_LINE = pa.schema([(KIND, pa.string()), (NUMBER, pa.int64()), (AT, pa.timestamp("us")), (BODY, pa.string())])


class SealingStoppedError(Exception):
    """The log is being closed; internal."""


class _Records:
    """The file of what is not rows."""

    def __init__(self) -> None:
        self._sink = ParquetSink(_LINE)
        self._lines: list[tuple[str, int, int | None, str]] = []

    def add(self, kind: str, number: int, at: datetime | None, body: dict[str, Any]) -> None:
        at_us = None if at is None else to_us(at)
        self._lines.append((kind, number, at_us, orjson.dumps(body).decode("utf-8")))
        if len(self._lines) >= LINES_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if not self._lines:
            return
        kinds, numbers, clocks, bodies = zip(*self._lines, strict=True)
        columns = [
            pa.array(kinds, pa.string()), pa.array(numbers, pa.int64()),
            pa.array(clocks, pa.int64()).view(pa.timestamp("us")), pa.array(bodies, pa.string()),
        ]  # fmt: skip
        self._sink.add(columns)
        self._lines = []

    def finish(self, path: str) -> tuple[FileEntry, memoryview]:
        self._flush()
        data = self._sink.finish()
        return FileEntry(path, len(data), self._sink.rows, checksums(data)), data


class _Gatherer:
    """Shares records out to their files."""

    def __init__(self) -> None:
        self.records = _Records()
        self.sinks: list[RelationSink] = []
        self._current: dict[str, int] = {}
        self.first: Commit | None = None
        self.last: Commit | None = None
        self.last_step: Step | None = None

    def take(self, record: Record) -> None:
        match record:
            case Step():
                self.last_step = record
                self.records.add(STEP_KIND, record.version, record.clock, step_json(record))
            case Declared():
                self.records.add(DECLARED_KIND, 0, None, record.declarations)
            case Commit():
                self.first = self.first or record
                self.last = record
                at_us = to_us(record.clock)
                relations = [
                    self._add(name, change, record.number, at_us) for name, change in record.changes.items()
                ]
                self.records.add(COMMIT_KIND, record.number, record.clock, commit_json(record, relations))

    def _add(self, name: str, change: Change, commit: int, at_us: int) -> list[Any]:
        at = self._place(name, change)
        self.sinks[at].add(change, commit, at_us)
        return [name, len(change), at]

    def _place(self, name: str, change: Change) -> int:
        """Return which file takes a change: one for each relation, and for each schema that it had."""
        known = self._current.get(name)
        if known is not None and is_same_key(self.sinks[known].key, change.schema):
            return known
        key = key_of(change.rows)
        if known is not None and is_same_key(self.sinks[known].key, key):
            return known
        at = next(
            (at for at, s in enumerate(self.sinks) if s.relation == name and is_same_key(s.key, key)), None
        )
        if at is None:
            self.sinks.append(RelationSink(name, change.rows, key))
            at = len(self.sinks) - 1
        self._current[name] = at
        return at


def seal(
    files: Files,
    folder: Path,
    records: Iterable[Record],
    *,
    last_segment: tuple[str, int],
    last_step: Step | None,
    stopping: Callable[[], bool] = lambda: False,
) -> Manifest:
    """Write records as a sealed stretch and put it in force.

    Args:
        files: the file system.
        folder: the folder `log`.
        records: all of a run of whole segments, in order; one commit at least.
        last_segment: name and length of the last of them.
        last_step: the last step before them.
        stopping: asked now and then; True gives up.

    Raises:
        SealingStoppedError: `stopping` said so; what was written is removed at the next opening.
        OSError: the disk refuses; the segments are as they were.
        LogDamaged: a segment cannot be read.
    """
    gathered = _Gatherer()
    for record in records:
        gathered.take(record)
        if stopping():
            raise SealingStoppedError
    if gathered.first is None or gathered.last is None:
        raise AssertionError("only segments with commits are sealed")
    stem = f"{gathered.first.number:012d}"
    written = [gathered.records.finish(free_name(folder, f"{RECORDS}/{stem}.parquet"))]
    seen: dict[str, int] = {}
    for sink in gathered.sinks:
        turn = seen[sink.relation] = seen.get(sink.relation, 0) + 1
        name = f"{stem}.parquet" if turn == 1 else f"{stem}.{turn}.parquet"
        written.append(sink.finish(free_name(folder, f"{ROWS}/{sink.relation}/{name}")))
    if stopping():
        raise SealingStoppedError
    put_files(files, folder, {entry.path: data for entry, data in written})
    entries = [entry for entry, _ in written]
    manifest = Manifest(
        gathered.first.number, gathered.last.number, to_us(gathered.first.clock),
        to_us(gathered.last.clock), gathered.last_step or last_step, last_segment, entries[0],
        tuple(entries[1:]),
    )  # fmt: skip
    write_manifest(files, folder, manifest)
    return manifest


def put_files(files: Files, folder: Path, contents: Mapping[str, bytes | memoryview]) -> None:
    """Write files so that each stands under its name on stable storage, and so does the name.

    Raises:
        OSError: the disk refuses; what was written is removed again, as far as the disk lets it.
    """
    new_folders = {(folder / path).parent for path in contents} | {folder / SEALED}
    for place in sorted(new_folders):
        if not place.is_dir():
            files.make_folder(place)
            for parent in [place, *place.parents]:
                if parent == folder.parent:
                    break
                files.sync_folder(parent)
    done: list[Path] = []
    try:
        drafts = {}
        for path, data in contents.items():
            done.append(folder / (path + DRAFT))
            drafts[path] = write_draft(files, folder / path, data)
        for path, draft in drafts.items():
            files.rename(draft, folder / path)
            done.append(folder / path)
        for place in {(folder / path).parent for path in contents}:
            files.sync_folder(place)
    except OSError:
        for path_done in done:
            with suppress(OSError):
                files.remove(path_done)
        raise


def free_name(folder: Path, path: str) -> str:
    """Return a name that no file has: that of an attempt that failed may be in force on the disk already."""
    found, turn = path, 1
    while (folder / found).exists():
        turn += 1
        found = f"{path.removesuffix('.parquet')}-{turn}.parquet"
    return found
