"""Rewriting: the rows of one relation are put down anew, so that one person's columns can be erased.

Every row keeps its place: its commit, its clock and its weight, so that offsets stay valid and a reader
counts as before. Stretch by stretch a new file is written under a new name, the manifest that names it takes
the place of the old one, with a note of the rewrite, and then the old file goes. A crash leaves some
stretches rewritten and others not; the same call again does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.errors import DeclarationError
from headrace.log.base import Base, write_base
from headrace.log.codec import to_us
from headrace.log.columns import PLAIN, stored_schema, to_stored
from headrace.log.files import Files
from headrace.log.parquet_files import FileEntry, ParquetSink, RelationSource, checksums, is_same_key, key_of
from headrace.log.sealed import Manifest, Sealed, write_manifest
from headrace.log.sealing import free_name, put_files

Transform = Callable[[pa.RecordBatch], pa.RecordBatch]
"""Returns as many rows of the same columns."""


@dataclass(frozen=True, slots=True)
class Rewritten:
    """What a rewrite did.

    Attributes:
        files: written anew; those that the transform left alone stay.
        rows: in them.
    """

    files: int = 0
    rows: int = 0


def rewritten_entry(
    files: Files, folder: Path, entry: FileEntry, transform: Transform, mark: str
) -> tuple[FileEntry, memoryview] | None:
    """Return a file with its rows transformed, not yet written; None: the transform changes nothing.

    Raises:
        DeclarationError: the transform returns other columns, or another number of rows.
    """
    source = RelationSource(files, folder, entry)
    sink: ParquetSink | None = None
    is_changed = False
    for (change, _), ours in zip(source.groups(), source.ours(), strict=True):
        rows = transform(change.rows)
        if rows.num_rows != len(change) or not is_same_key(key_of(rows), key_of(change.rows)):
            raise DeclarationError(
                "the rewrite would change columns or the number of rows", where=entry.relation,
                expected="as many rows, in the same columns and types",
            )  # fmt: skip
        is_changed = is_changed or not rows.equals(change.rows)
        if sink is None:
            stored = stored_schema(rows.schema, entry.encodings)
            sink = ParquetSink(pa.schema([*stored, *ours.schema]), {"headrace.relation": entry.relation})
        columns = [
            to_stored(column, entry.encodings.get(name, PLAIN))
            for name, column in zip(rows.schema.names, rows.columns, strict=True)
        ]
        sink.add([*columns, *ours.columns])
    if sink is None or not is_changed:
        return None
    data = sink.finish()
    stem = entry.path.removesuffix(".parquet").partition(".r")[0]
    path = free_name(folder, f"{stem}.{mark}.parquet")
    return replace(entry, path=path, length=len(data), checksums=checksums(data)), data


def rewrite_stretch(
    files: Files, folder: Path, piece: Sealed, relation: str, transform: Transform, trimmed: int,
    note: dict[str, Any],
) -> tuple[Sealed, list[FileEntry]] | None:  # fmt: skip
    """Put a stretch with transformed rows in force; return it and the files that it no longer needs.

    Raises:
        OSError: the disk refuses; the stretch is as it was.
    """
    manifest: Manifest = piece.manifest
    mark = f"r{len(manifest.rewrites) + 1}"
    entries, old = list(manifest.relations), []
    contents: dict[str, memoryview] = {}
    for at, entry in enumerate(manifest.relations):
        if entry.relation != relation or trimmed >= manifest.last_commit:
            continue
        found = rewritten_entry(files, folder, entry, transform, mark)
        if found is not None:
            entries[at], contents[found[0].path] = found
            old.append(entry)
    if not old:
        return None
    told = {"relation": relation, "rows": sum(entry.rows for entry in old), "at": _now_us(), **note}
    changed = replace(manifest, relations=tuple(entries), rewrites=(*manifest.rewrites, told))
    put_files(files, folder, contents)
    write_manifest(files, folder, changed)
    return Sealed(files, folder, changed), old


def rewrite_base(
    files: Files, folder: Path, base: Base, relation: str, transform: Transform, note: dict[str, Any]
) -> tuple[Base, FileEntry] | None:
    """Put a base with a table's rows transformed in force; return it and the file that it no longer needs.

    Raises:
        OSError: the disk refuses; the base is as it was.
    """
    entry = base.tables.get(relation)
    if entry is None:
        return None
    found = rewritten_entry(files, folder, entry, transform, f"r{len(base.rewrites) + 1}")
    if found is None:
        return None
    told = {"relation": relation, "rows": entry.rows, "at": _now_us(), **note}
    changed = replace(
        base, number=base.number + 1, tables={**base.tables, relation: found[0]},
        rewrites=(*base.rewrites, told),
    )  # fmt: skip
    put_files(files, folder, {found[0].path: found[1]})
    write_base(files, folder, changed)
    return changed, entry


def _now_us() -> int:
    return to_us(datetime.now(UTC))


def rewrites(base: Base, sealed: list[Sealed]) -> Iterator[dict[str, Any]]:
    """Yield what has been rewritten: relation, rows, when (microseconds since 1970), and the note of it."""
    yield from base.rewrites
    for piece in sealed:
        yield from piece.manifest.rewrites
