"""What the oracle knows of a table with a history: a list of versions, read anew for every question."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from headrace.contracts.schema import Column, Schema
from headrace.declarations import TableDecl
from headrace.results import RowStatus

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of one key.

    Attributes:
        key: whose.
        place: sequence, or number in order of acceptance; then whether it only comes after what has that.
        row: as given.
        starts: its effective time, UTC without a zone.
        is_deletion: it ends what holds.
        is_placed: its call said a sequence.
    """

    key: tuple[Any, ...]
    place: tuple[Any, bool]
    row: Row
    starts: datetime
    is_deletion: bool
    is_placed: bool


class Versions:
    """All versions of one table, and what follows from them."""

    def __init__(self, decl: TableDecl) -> None:
        assert decl.key is not None
        assert decl.effective is not None
        self._decl, self._key, self._effective = decl, decl.key, decl.effective
        self._all: list[Version] = []

    @property
    def schema(self) -> Schema:
        """The columns of the history."""
        columns = [replace(column, nullable=True) for column in self._decl.schema]
        added = [name for name in ("valid_from", "valid_to") if name not in self._decl.schema]
        return Schema.of([*columns, *(Column(name, "TIMESTAMP", pa.timestamp("us")) for name in added)])

    def upsert(self, rows: Iterable[Row | None]) -> list[RowStatus]:
        """Take rows, None for those that a column refuses, and return what becomes of each."""
        return [RowStatus.REJECTED if row is None else self._upsert(row) for row in rows]

    def _upsert(self, row: Row) -> RowStatus:
        if self._decl.sequence is not None:
            return self._place(row, row[self._effective], is_deletion=False)
        newest = self._newest(self._key_of(row))
        if newest is not None and not newest.is_deletion and repr(newest.row) == repr(row):
            return RowStatus.REPEATED
        return self._add(row, row[self._effective], (len(self._all), False))

    def delete(self, rows: list[Row | None], clock: datetime) -> list[RowStatus]:
        """Delete rows; those with a sequence come first."""
        statuses = [RowStatus.REJECTED] * len(rows)
        sequence = self._decl.sequence or ""
        placed = [row is not None and row.get(sequence) is not None for row in rows]
        for wanted in (True, False):
            for at, row in enumerate(rows):
                if row is not None and placed[at] is wanted:
                    statuses[at] = self._delete(row, row.get(self._effective) or clock, is_placed=wanted)
        return statuses

    def _delete(self, row: Row, starts: datetime, *, is_placed: bool) -> RowStatus:
        if is_placed:
            return self._place(row, starts, is_deletion=True)
        newest = self._newest(self._key_of(row))
        if newest is None or newest.is_deletion:
            return RowStatus.REJECTED
        place = newest.place[0] if self._decl.sequence is not None else len(self._all)
        return self._add(row, starts, (place, True), is_deletion=True, is_placed=False)

    def _place(self, row: Row, starts: datetime, *, is_deletion: bool) -> RowStatus:
        place = (row[self._decl.sequence or ""], False)
        for known in self._all:
            if known.key == self._key_of(row) and known.place == place and known.is_placed:
                same = known.is_deletion == is_deletion and repr(known.row) == repr(row)
                return RowStatus.REPEATED if same else RowStatus.REJECTED
        return self._add(row, starts, place, is_deletion=is_deletion)

    def _add(
        self, row: Row, starts: datetime, place: tuple[Any, bool], *, is_deletion: bool = False,
        is_placed: bool = True,
    ) -> RowStatus:  # fmt: skip
        plain = starts.astimezone(UTC).replace(tzinfo=None) if starts.tzinfo else starts
        self._all.append(Version(self._key_of(row), place, row, plain, is_deletion, is_placed))
        return RowStatus.ACCEPTED

    def _key_of(self, row: Row) -> tuple[Any, ...]:
        return tuple(row[name] for name in self._key)

    def _newest(self, key: tuple[Any, ...]) -> Version | None:
        versions = [version for version in self._all if version.key == key]
        return max(versions, key=lambda version: version.place, default=None)

    def held(self) -> list[Row]:
        """Return the present rows of the table."""
        newest = [self._newest(key) for key in dict.fromkeys(version.key for version in self._all)]
        return [version.row for version in newest if version is not None and not version.is_deletion]

    def history(self) -> list[Row]:
        """Return the rows of the history."""
        return [
            version.row | {"valid_from": version.starts, "valid_to": self._end(version)}
            for version in self._all
            if not version.is_deletion
        ]

    def _end(self, version: Version) -> datetime | None:
        after = [one for one in self._all if one.key == version.key and one.place > version.place]
        if not after:
            return None
        return max(version.starts, min(one.starts for one in after))
