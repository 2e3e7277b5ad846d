"""Trimming: whole files of rows that are no longer kept go, and a base stands in for tables and records.

Nothing is removed before the new base is on stable storage, and it takes force in one step: a crash leaves
the log as it was, or trimmed with superfluous files, which the next opening removes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from headrace.change import Change
from headrace.log.base import Base, write_base
from headrace.log.files import Files
from headrace.log.parquet_files import GROUP_ROWS, FileEntry, RelationSink, key_of
from headrace.log.records import Declared, Record, Step
from headrace.log.sealed import ROWS, SEALED, Sealed
from headrace.log.sealing import free_name, put_files

Fold = Callable[[Iterator[Change]], Change | None]
"""Turns all changes of a table into one that leads to the same rows; None: they are kept as they are."""
LATE = "__late"


@dataclass(frozen=True, slots=True)
class Wish:
    """What may go; the log rounds down to the ends of sealed stretches.

    Attributes:
        rows: per relation the last commit whose rows may go without anything in their place.
        tables: how each table is folded, up to `tables_upto`.
        tables_upto: the last commit whose changes of tables may be folded.
        records_upto: the last commit of which nothing else is needed: keys, answers, versions.
    """

    rows: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, Fold] = field(default_factory=dict)
    tables_upto: int = 0
    records_upto: int = 0


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What a trimming did.

    Attributes:
        freed_bytes: bytes of the files that went, less those of the files that came.
        files: that went.
        relations: per relation the commit up to which its rows are gone, where that has changed.
        upto_commit: the commit up to which nothing is left but the base.
    """

    freed_bytes: int = 0
    files: int = 0
    relations: Mapping[str, int] = field(default_factory=dict)
    upto_commit: int = 0


@dataclass(frozen=True, slots=True)
class Trimming:
    """A new base in force, and what it has made superfluous."""

    base: Base
    kept: list[Sealed]
    gone: list[Path]
    told: Trimmed


def trim(
    files: Files,
    folder: Path,
    base: Base,
    sealed: Sequence[Sealed],
    wish: Wish,
    changes: Callable[[str, int], Iterator[Change]],
) -> Trimming | None:
    """Put a new base in force; None: there is nothing to trim.

    Args:
        files: the file system.
        folder: the folder `log`.
        base: the present base.
        sealed: the sealed stretches, in order.
        wish: what may go.
        changes: reads a relation up to a commit.

    Raises:
        OSError: the disk refuses; the log is as it was.
    """
    trimmed = dict(base.trimmed) | _rows(base, sealed, wish.rows)
    number = base.number + 1
    tables, contents = _tables(base, sealed, wish, changes, number, folder)
    trimmed |= {name: at for name, (at, _) in tables.items()}
    upto = _whole(base, sealed, trimmed, wish.records_upto)
    if trimmed == base.trimmed and upto == base.upto_commit:
        return None
    gone = [piece for piece in sealed if piece.last_commit <= upto]
    kept = [piece for piece in sealed if piece.last_commit > upto]
    clocks_us = dict(base.clocks_us) | {
        name: _clock_us(sealed, at) for name, at in trimmed.items() if at != base.trimmed.get(name)
    }
    new = Base(
        number, upto, gone[-1].manifest.last_segment if gone else base.last_segment, base.records, trimmed,
        clocks_us, dict(base.tables) | {name: entry for name, (_, entry) in tables.items()},
        base.rewrites,
    )  # fmt: skip
    if gone:
        new = replace(new, records=_still_of_use(base, gone, new))
    if contents:
        put_files(files, folder, contents)
    write_base(files, folder, new)
    return _told(folder, base, new, gone, kept, sum(len(data) for data in contents.values()))


def _floor(base: Base, sealed: Sequence[Sealed], commit: int) -> int:
    """Return the last end of a sealed stretch that is not beyond a commit."""
    ends = [piece.last_commit for piece in sealed if piece.last_commit <= commit]
    return ends[-1] if ends else base.upto_commit


def _has_rows(sealed: Sequence[Sealed], relation: str, after: int, upto: int) -> bool:
    return any(
        entry.relation == relation
        for piece in sealed
        if after < piece.last_commit <= upto
        for entry in piece.manifest.relations
    )


def _rows(base: Base, sealed: Sequence[Sealed], wanted: Mapping[str, int]) -> dict[str, int]:
    found = {}
    for name, commit in wanted.items():
        at, before = _floor(base, sealed, commit), base.trimmed.get(name, 0)
        if at > before and name not in base.tables and _has_rows(sealed, name, before, at):
            found[name] = at
    return found


def _tables(
    base: Base, sealed: Sequence[Sealed], wish: Wish, changes: Callable[[str, int], Iterator[Change]],
    number: int, folder: Path,
) -> tuple[dict[str, tuple[int, FileEntry]], dict[str, memoryview]]:  # fmt: skip
    """Fold the tables that have changed; return their files."""
    at = _floor(base, sealed, wish.tables_upto)
    found: dict[str, tuple[int, FileEntry]] = {}
    contents: dict[str, memoryview] = {}
    for name, fold in wish.tables.items():
        before = base.trimmed.get(name, 0)
        if at <= before or not _has_rows(sealed, name, before, at):
            continue
        change = fold(changes(name, at))
        if change is None:
            continue
        sink = RelationSink(name, change.rows, key_of(change.rows))
        clock_us = _clock_us(sealed, at)
        for first in range(0, len(change), GROUP_ROWS):
            rows = change.rows.slice(first, GROUP_ROWS)
            sink.add(Change(rows, change.weights[first : first + GROUP_ROWS]), at, clock_us)
        entry, data = sink.finish(free_name(folder, f"{ROWS}/{name}/base-{number:012d}.parquet"))
        found[name] = (at, entry)
        contents[entry.path] = data
    return found, contents


def _clock_us(sealed: Sequence[Sealed], commit: int) -> int:
    return next(piece.manifest.last_clock_us for piece in sealed if piece.last_commit == commit)


def _whole(base: Base, sealed: Sequence[Sealed], trimmed: Mapping[str, int], records_upto: int) -> int:
    """Return up to which commit nothing is left of the stretches but records that are not needed."""
    upto = base.upto_commit
    for piece in sealed:
        is_empty = all(trimmed.get(e.relation, 0) >= piece.last_commit for e in piece.manifest.relations)
        if not is_empty or piece.last_commit > records_upto:
            break
        upto = piece.last_commit
    return upto


def _still_of_use(base: Base, gone: Sequence[Sealed], new: Base) -> tuple[Record, ...]:
    """Return the few records that a reader from the start needs of the stretches that are gone."""

    def every() -> Iterator[Record]:
        yield from base.records
        for piece in gone:
            yield from piece.records(1, new.trimmed)

    return tuple(still_of_use(every(), {new.trimmed[name] for name in new.tables}))


def still_of_use(records: Iterable[Record], numbers: set[int]) -> list[Record]:
    """Return the last declarations and the last step, and of the commits those of some numbers, the very
    last, the last of each source, and of each stream the last at all and the last that moved its watermark.
    """
    last: dict[tuple[str, str], int] = {}
    kept: dict[int, Record] = {}
    for at, record in enumerate(records):
        for role in _roles(record, numbers):
            before = last.get(role)
            last[role] = at
            if before is not None and before not in last.values():
                kept.pop(before, None)
            kept[at] = record
    return [kept[at] for at in sorted(kept)]


def _roles(record: Record, numbers: set[int]) -> Iterator[tuple[str, str]]:
    """Yield what a record may be the last of."""
    if isinstance(record, Step):
        yield ("step", "")
    elif isinstance(record, Declared):
        yield ("declared", "")
    else:
        yield ("commit", "")
        yield from (("touches", name.removesuffix(LATE)) for name in record.changes)
        yield from (("watermark", name) for name in record.watermarks)
        if record.source is not None:
            yield ("source", record.source)
        if record.number in numbers:
            yield ("table", str(record.number))


def _told(
    folder: Path, before: Base, new: Base, gone: Sequence[Sealed], kept: list[Sealed], came_bytes: int
) -> Trimming:
    entries = {entry.path: entry.length for piece in gone for entry in piece.manifest.files}
    entries |= {
        entry.path: entry.length
        for piece in kept
        for entry in piece.manifest.relations
        if new.trimmed.get(entry.relation, 0) >= piece.last_commit
    }
    was_gone = {
        entry.path
        for piece in [*gone, *kept]
        for entry in piece.manifest.relations
        if before.trimmed.get(entry.relation, 0) >= piece.last_commit
    }
    entries |= {
        entry.path: entry.length for name, entry in before.tables.items() if new.tables[name] != entry
    }
    entries = {path: length for path, length in entries.items() if path not in was_gone}
    paths = [folder / path for path in entries] + [folder / SEALED / piece.manifest.name for piece in gone]
    changed = {name: at for name, at in new.trimmed.items() if at != before.trimmed.get(name)}
    told = Trimmed(sum(entries.values()) - came_bytes, len(paths), changed, new.upto_commit)
    return Trimming(new, kept, paths, told)
