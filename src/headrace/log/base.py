"""The base: what stands in for history that has been trimmed, in one small document.

    log/base.json

It says up to which commit the rows of which relation are gone, and where a table's rows as of such a commit
lie; up to `upto_commit` nothing else is kept, and the few records that still matter stand in the base itself.
Files that it makes superfluous are removed after it stands, or at the next opening.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headrace.change import Change
from headrace.log.codec import commit_from_json, commit_json, step_from_json, step_json
from headrace.log.columns import read_sample, sample_of
from headrace.log.documents import place_document, read_document
from headrace.log.files import Files
from headrace.log.parquet_files import FileEntry, RelationSource
from headrace.log.records import Commit, Declared, Record, Step

FORMAT = 1
NAME = "base.json"


@dataclass(frozen=True, slots=True)
class Base:
    """What has been trimmed, and what is there instead.

    Attributes:
        number: grows with every trimming.
        upto_commit: whole stretches up to here are gone; 0: none.
        last_segment: name and length of the last segment that is gone.
        records: those of the stretches that are gone which still matter, in order; their changes are empty.
        trimmed: per relation the commit up to which its rows are gone.
        clocks_us: per relation the append clock of that commit.
        tables: per table its rows as of that commit.
        rewrites: what was done to rows of tables since.
    """

    number: int = 0
    upto_commit: int = 0
    last_segment: tuple[str, int] | None = None
    records: tuple[Record, ...] = ()
    trimmed: Mapping[str, int] = field(default_factory=dict)
    clocks_us: Mapping[str, int] = field(default_factory=dict)
    tables: Mapping[str, FileEntry] = field(default_factory=dict)
    rewrites: tuple[dict[str, Any], ...] = ()

    @property
    def last_step(self) -> Step | None:
        """The last step that the base itself holds."""
        return next((record for record in reversed(self.records) if isinstance(record, Step)), None)

    @property
    def last_declared(self) -> Declared | None:
        """The last declarations that the base itself holds."""
        return next((record for record in reversed(self.records) if isinstance(record, Declared)), None)

    def table(self, files: Files, folder: Path, relation: str) -> Change | None:
        """Return a table's rows as of the commit up to which its changes are gone; None: there are none."""
        entry = self.tables.get(relation)
        return None if entry is None else RelationSource(files, folder, entry).take(entry.rows)


def write_base(files: Files, folder: Path, base: Base) -> None:
    """Put a base in force; the files that it names are on stable storage."""
    document = {
        "format": FORMAT,
        "number": base.number,
        "upto_commit": base.upto_commit,
        "last_segment": list(base.last_segment) if base.last_segment else None,
        "records": [_record_json(record) for record in base.records],
        "trimmed": dict(base.trimmed),
        "clocks": dict(base.clocks_us),
        "tables": {name: entry.as_json() for name, entry in base.tables.items()},
        "rewrites": list(base.rewrites),
    }
    place_document(files, folder / NAME, document)


def read_base(files: Files, folder: Path) -> Base:
    """Return the base of a log; one that says nothing where there is none.

    Raises:
        LogDamaged, FormatTooNew: it cannot be read.
    """
    if NAME not in files.names(folder):
        return Base()
    facts = read_document(files, folder / NAME, FORMAT)
    last = facts["last_segment"]
    return Base(
        facts["number"], facts["upto_commit"], (last[0], last[1]) if last else None,
        tuple(_record(found) for found in facts["records"]), facts["trimmed"], facts["clocks"],
        {name: FileEntry.from_json(entry) for name, entry in facts["tables"].items()},
        tuple(facts["rewrites"]),
    )  # fmt: skip


def _record_json(record: Record) -> dict[str, Any]:
    match record:
        case Step():
            return {"step": step_json(record)}
        case Declared():
            return {"declared": record.declarations}
        case Commit():
            samples = {
                name: base64.b64encode(sample_of(change.rows)).decode()
                for name, change in record.changes.items()
            }
            return {"commit": commit_json(record, []), "samples": samples}


def _record(facts: dict[str, Any]) -> Record:
    if "step" in facts:
        return step_from_json(facts["step"])
    if "declared" in facts:
        return Declared(facts["declared"])
    none = np.empty(0, dtype=np.int64)
    changes = {
        name: Change(read_sample(base64.b64decode(sample)), none) for name, sample in facts["samples"].items()
    }
    return commit_from_json(facts["commit"], changes)
