"""What a statement reads of the past: every relation at a version, under the columns that it had then."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import pyarrow as pa

from headrace.contracts.schema import Schema
from headrace.errors import UnknownName
from headrace.log.log import Log
from headrace.past import Moment, Past
from headrace.relations import KEPT_PREFIX, RelationInfo
from headrace.results import Freshness, Version


class Recall:
    """The relations of one run as they were.

    Args:
        past: of its views, tables and side tables.
        log: has the rows of streams.
        bases: streams, tables and side tables, by lower-case name.
        infos: all that can be read now.
        kinds: which kinds of relations may be read.
    """

    def __init__(
        self, past: Past, log: Log, bases: Mapping[str, RelationInfo], infos: Sequence[RelationInfo],
        kinds: Sequence[str],
    ) -> None:  # fmt: skip
        self._past = past
        self._log = log
        self._bases = bases
        self._present = {info.name: info.schema for info in infos if info.kind in kinds}
        self._hidden = {info.name.lower() for info in infos} - {name.lower() for name in self._present}
        self._views = "view" in kinds
        self._names: list[str] | None = None

    def names(self) -> list[str]:
        """Return every name that is or was."""
        if self._names is None:
            known = {name.lower() for name in self._present} | self._hidden
            was = self._past.names() if self._views else []
            gone = [name for name in was if name.lower() not in known and not name.startswith(KEPT_PREFIX)]
            self._names = [*self._present, *gone]
        return self._names

    def refuse_unknown(self, names: Sequence[str]) -> None:
        """Raise UnknownName for a name that is no longer there, but only was."""
        for name in names:
            if name not in self._present:
                raise UnknownName.of("stream, table or view", name, self._present)

    def at(self, name: str, version: Version) -> tuple[pa.Table, Schema]:
        """Return the rows of a relation at a version, and its columns then.

        Raises:
            VersionGone: they are no longer kept, or there was no such relation.
            ViewInError: it had no answer then.
        """
        info = self._bases.get(name.lower())
        if info is not None and info.is_logged:
            self._log.refuse_trimmed(info.name, version.commit)
            history = self._log.history(info.name, upto_commit=version.commit, without=version.held)
            batches = [change.rows for change in history]
            return pa.Table.from_batches(batches, schema=info.schema.arrow), info.schema
        view, rows = self._past.content(name if info is None else KEPT_PREFIX + name.lower(), version)
        return rows, view.schema

    def at_moment(self, name: str, moment: Moment) -> tuple[pa.Table, Schema]:
        """Return `at` of the version that is meant by a moment."""
        return self.at(name, self._past.moment(moment))

    def tables(
        self, names: Sequence[str], version: Version
    ) -> tuple[dict[str, Callable[[], pa.Table]], dict[str, Schema]]:
        """Return rows and columns of several relations at a version; those that are only named have none."""
        schemas: dict[str, Schema] = {name: self._present.get(name, Schema(())) for name in self.names()}
        tables: dict[str, Callable[[], pa.Table]] = {}
        for name in names:
            rows, schemas[name] = self.at(name, version)
            tables[name] = partial(_itself, rows)
        return tables, schemas


def _itself(rows: pa.Table) -> pa.Table:
    return rows


def freshness_at(
    version: Version, now: Version, following: Version | None, last_commit: int, clock: datetime
) -> Freshness:
    """Return how old an answer of the past is.

    Args:
        version: what was read.
        now: the published version.
        following: the version right after it, or None where there is none.
        last_commit: the last durable commit.
        clock: the present time.
    """
    if following is None or following.clock is None:
        return Freshness(0.0, max(0, last_commit - now.commit))
    age_ms = (clock - following.clock).total_seconds() * 1000.0
    return Freshness(max(0.0, age_ms), max(0, last_commit - version.commit))
