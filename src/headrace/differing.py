"""The difference of a view between two moments, told apart by cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from threading import Event, Lock
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from headrace.change import WEIGHT, Change
from headrace.contracts.schema import Column, Schema
from headrace.declarations import StreamDecl
from headrace.definitions.changeover import Definition
from headrace.definitions.compare import plan_fingerprint
from headrace.definitions.shadow import Pace
from headrace.engine.zset import consolidate
from headrace.errors import DeclarationError, UnknownName
from headrace.history.causes import (
    DEFINITION,
    KNOWN,
    LISTED,
    NEW,
    OTHER,
    TIME,
    Relation,
    Sorted,
    named_causes,
    sort,
)
from headrace.history.contents import apart
from headrace.history.difference import CAUSE, COMMIT, Difference, difference_of
from headrace.history.play import Played, Source
from headrace.log.records import Commit, Declared, Step
from headrace.past import Moment, as_time
from headrace.relations import KEPT_PREFIX, RelationInfo
from headrace.results import Version
from headrace.sql.plan import ViewPlan

if TYPE_CHECKING:
    from headrace.runtime import Run

INPUT_ROWS_MAX = 10_000
"""Input rows that are told per relation."""
SHARE, FREE_S = 0.5, 1.0
"""Of one core, for telling causes apart, after the first so many seconds: somebody waits for the answer."""
_one_at_a_time = Lock()


@dataclass(frozen=True, slots=True)
class Defined:
    """Definitions in force at a version.

    Attributes:
        definition: all of them.
        bases: streams, tables and side tables, by lower-case name.
    """

    definition: Definition
    bases: Mapping[str, RelationInfo]

    def closure(self, view: str) -> list[ViewPlan]:
        """Return a view and all views that it reads, inputs first; none where there is no such view."""
        wanted, waiting = set(), [view.lower()]
        while waiting:
            name = waiting.pop()
            plan = self.definition.plans.get(name)
            if plan is not None and name not in wanted:
                wanted.add(name)
                waiting.extend(below.lower() for below in plan.relations)
        return [plan for name, plan in self.definition.plans.items() if name in wanted]

    def read(self, view: str) -> list[str]:
        """Return the base relations that a view reads in the end; itself where it is one."""
        if view.lower() in self.bases:
            return [view.lower()]
        names = chain.from_iterable(plan.relations for plan in self.closure(view))
        return sorted({name.lower() for name in names if name.lower() in self.bases})

    def fingerprint(self, view: str) -> tuple[str, ...]:
        """Return what decides what a view shows."""
        return tuple(plan_fingerprint(plan) for plan in self.closure(view))

    def relation(self, name: str) -> Relation:
        """Return what sorting must know of a base relation."""
        app, info = self.definition.app, self.bases[name]
        for decl in [*app.streams.values(), *app.tables.values()]:
            if isinstance(decl, StreamDecl):
                if decl.name.lower() == name:
                    return Relation(name, decl.event_time)
                if decl.late_name.lower() == name:
                    return Relation(name, is_late=True)
            elif decl.name.lower() == name:
                return Relation(name, decl.effective, decl.key)
            elif decl.effective is not None and decl.versions_name.lower() == name:
                return Relation(name, "_valid_from", decl.key, versions=True)
        return Relation(info.name.lower())


class Differing:
    """Tells causes apart for one run.

    Args:
        run: the run.
        view: the view, table or side table.
        since: the first moment.
        until: the second; None: now.
        causes: relations by the cause that the caller names.
        where: values by column: only rows that have them are looked at, in every relation with the columns.
    """

    def __init__(
        self, run: Run, view: str, since: Moment, until: Moment | None,
        causes: Mapping[str, Sequence[str] | str] | None, where: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._run = run
        self._past = run._past
        self.since = self._past.moment(since)
        self.until = run.version if until is None else self._past.moment(until)
        if self.until.number < self.since.number:
            raise DeclarationError(
                f"until (version {self.until.number}) is before since (version {self.since.number})",
                expected="the later moment in until",
            )
        self._told = since if isinstance(since, str | datetime) else None
        self._named = named_causes(causes)
        self._declared = Declarations(run)
        self._before = self._declared.at(self.since)
        self._view = view
        self._where = {name.lower(): value for name, value in (where or {}).items()}
        self._check_names(causes or {})

    def _check_names(self, causes: Mapping[str, Any]) -> None:
        known = self._run._bases
        for name in self._named:
            if name not in known:
                raise UnknownName.of("stream or table", name, [info.name for info in known.values()])
        for cause in causes:
            if cause in (TIME, OTHER, "whole"):
                raise DeclarationError(f"{cause!r} is a cause of its own", where="causes")
        for name, cause in list(self._named.items()):  # a table's versions go with it
            self._named.setdefault(f"{name}__versions", cause)

    @property
    def _moment(self) -> datetime | None:
        """The first moment as a time: the one that was asked for, else the version's clock."""
        told = self._told
        if isinstance(told, str) and not told.strip().isdigit():
            told = as_time(told)
        if isinstance(told, datetime):
            return told if told.tzinfo else told.replace(tzinfo=self._run._clock().tzinfo)
        return self.since.clock

    # --- the whole --------------------------------------------------------------------------------
    def difference(self) -> Difference:
        """Return the difference; see `Run.difference`."""
        recall = self._run._recall(("view", "table", "stream", "side"))
        old, old_schema = recall.at(self._view, self.since)
        new, new_schema = recall.at(self._view, self.until)
        shape = united(old_schema, new_schema)
        self._check_where(old_schema, new_schema)
        old, new = self._only(old), self._only(new)
        fit = partial(fitted, shape=shape)
        whole = apart(fit(old), fit(new))
        sorted_, rows = self._sorted()
        found = self._causes(old, whole, sorted_, fit)
        left = consolidate(
            Change.concat([whole, *(change.negated() for _, change in found)])
        )  # what the last cause, or none, explains
        last = self._last(sorted_)
        if len(left):
            found.append((last, left))
        inputs, cut = self._inputs(sorted_)
        merged = _merged([*found, (last, Change.empty(whole.schema))])
        played = rows if found[:-1] and self._before.closure(self._view) else 0
        return difference_of(
            self._name, self.since, self.until, shape, merged, inputs, inputs_cut=cut, rows_played=played
        )

    @property
    def _name(self) -> str:
        info = self._run._bases.get(self._view.lower())
        plan = self._run._plans.get(self._view.lower())
        return info.name if info is not None else plan.name if plan is not None else self._view

    # --- input ------------------------------------------------------------------------------------
    def _sorted(self) -> tuple[dict[str, Sorted], int]:
        """Return the input between the two moments by relation, sorted into causes, and its rows."""
        wanted = self._before.read(self._view)
        for name in wanted:
            if name in self._before.bases:
                self._run._log.refuse_trimmed(self._before.bases[name].name, self.since.commit)
        parts: dict[str, list[tuple[int, Change]]] = {}
        if self.until.commit > self.since.whole_commit:
            for record in self._run._log.records(self.since.whole_commit + 1):
                if isinstance(record, Commit):
                    if record.number > self.until.commit:
                        break
                    is_between = self.until.has(record.number) and not self.since.has(record.number)
                    for name, change in record.changes.items():
                        if name.lower() in wanted and is_between:
                            mine = self._only_of(self._in_columns(name.lower(), change))
                            if len(mine):
                                parts.setdefault(name.lower(), []).append((record.number, mine))
        found, moment = {}, self._moment
        for name, changes in parts.items():
            relation = self._before.relation(name)
            since = moment or datetime.min.replace(tzinfo=self._run._clock().tzinfo)
            known = self._content(name)
            found[name] = sort(relation, changes, since, known, self._named.get(name))
        return found, sum(len(change) for item in parts.values() for _, change in item)

    def _content(self, name: str) -> Iterator[Change]:
        """Yield the rows of a base relation at the first moment."""
        info = self._before.bases[name]
        if info.is_logged or name not in self._run._bases:
            for change in self._run._log.history(
                info.name, upto_commit=self.since.commit, without=self.since.held
            ):
                yield self._only_of(self._in_columns(name, change))
            return
        _, rows = self._past.content(KEPT_PREFIX + name, self.since)
        for batch in self._only(rows).to_batches():
            yield Change.inserts(batch)

    # --- a part of it -----------------------------------------------------------------------------
    def _check_where(self, *schemas: Schema) -> None:
        for schema in schemas:
            missing = self._where.keys() - {name.lower() for name in schema.names}
            if missing:
                raise DeclarationError(
                    f"{self._view} has no column {sorted(missing)[0]!r}", where="where",
                    expected="columns that the view has itself, such as that of the tenant",
                )  # fmt: skip

    def _mask(self, names: Sequence[str], columns: Sequence[Any]) -> Any:
        """Return which rows have the wanted values, in the columns that there are; None: all."""
        mask: Any = None
        for name, column in zip(names, columns, strict=True):
            if name.lower() not in self._where:
                continue
            value = self._where[name.lower()]
            if value is None:
                same = pc.is_null(column)
            else:
                same = pc.fill_null(pc.equal(column, pa.scalar(value).cast(column.type)), False)
            mask = same if mask is None else pc.and_(mask, same)
        return mask

    def _only(self, rows: pa.Table) -> pa.Table:
        mask = self._mask(rows.column_names, rows.columns)
        return rows if mask is None else rows.filter(mask)

    def _only_of(self, change: Change) -> Change:
        mask = self._mask(change.rows.schema.names, change.rows.columns)
        if mask is None:
            return change
        return change.take(np.flatnonzero(mask.to_numpy(zero_copy_only=False)))

    def _in_columns(self, name: str, change: Change) -> Change:
        """Return a change of a base relation in the columns that it had at the first moment."""
        schema = self._before.bases[name].schema
        if change.schema.names == list(schema.names) and change.schema.types == schema.arrow.types:
            return change
        columns = []
        for column in schema:
            at = change.schema.get_field_index(column.name)
            known = change.rows.column(at).cast(column.arrow) if at >= 0 else None
            columns.append(pa.nulls(len(change), column.arrow) if known is None else known)
        return Change(pa.RecordBatch.from_arrays(columns, schema=schema.arrow), change.weights)

    def _inputs(self, found: Mapping[str, Sorted]) -> tuple[dict[str, pa.Table], bool]:
        """Return the rows behind late data and corrections."""
        tables, cut = {}, False
        for name, item in found.items():
            parts = []
            for cause in LISTED:
                if cause in item.listed and cause in item.net:
                    change, commits = item.listed[cause]
                    cut |= len(change) > INPUT_ROWS_MAX
                    parts.append(_input(cause, change, commits))
            if parts:
                tables[self._before.bases[name].name] = pa.concat_tables(parts)
        return tables, cut

    # --- causes -----------------------------------------------------------------------------------
    def _order(self, found: Mapping[str, Sorted]) -> list[str]:
        """Return the causes that there are in the input, in the order in which they are played."""
        there = {cause for item in found.values() for cause in item.net}
        named = list(dict.fromkeys(self._named.values()))
        return [cause for cause in dict.fromkeys([*KNOWN, *named]) if cause in there]

    @property
    def _is_redefined(self) -> bool:
        after = self._declared.at(self.until)
        return after.fingerprint(self._view) != self._before.fingerprint(self._view)

    @property
    def _feels_time(self) -> bool:
        plans = self._before.closure(self._view)
        return any(plan.reads_clock or plan.emit == "final" for plan in plans)

    def _last(self, found: Mapping[str, Sorted]) -> str:
        """Return the cause that explains what is left when all others have been played."""
        if any(plan.refresh is not None for plan in self._before.closure(self._view)):
            return OTHER
        if self._is_redefined:
            return DEFINITION
        if self._feels_time:
            return TIME
        order = self._order(found)
        return order[-1] if order else OTHER

    def _causes(
        self, old: pa.Table, whole: Change, found: Mapping[str, Sorted], fit: Callable[[pa.Table], pa.Table]
    ) -> list[tuple[str, Change]]:
        """Return the change of every cause but the last."""
        order = self._order(found)
        plans = self._before.closure(self._view)
        last = self._last(found)
        steps = [cause for cause in order if cause != last]
        if not plans:
            return self._of_base(found, steps, fit)
        is_timed = self._feels_time and last != TIME
        if not len(whole) or (not steps and not is_timed) or last == OTHER:
            return []
        with _one_at_a_time, self._played(plans) as played:
            shown = partial(_fitted_change, fit=fit)
            begun = shown(played.content())
            known = Change.concat([Change.empty(whole.schema), *map(Change.inserts, fit(old).to_batches())])
            drift = consolidate(Change.concat([begun, known.negated()]))
            told = [(OTHER, drift.negated())] if len(drift) else []
            for cause in steps:
                changes = {name: item.net[cause] for name, item in found.items() if cause in item.net}
                told.append((cause, shown(played.play(cause, changes))))
            if is_timed:
                told.append((TIME, shown(played.pass_time(self.until))))
            return told

    def _of_base(
        self, found: Mapping[str, Sorted], steps: Sequence[str], fit: Callable[[pa.Table], pa.Table]
    ) -> list[tuple[str, Change]]:
        """Return the change of every cause but the last, for a table itself."""
        item = found.get(self._view.lower())
        if item is None:
            return []
        return [(cause, _fitted_change(item.net[cause], fit=fit)) for cause in steps if cause in item.net]

    def _played(self, plans: Sequence[ViewPlan]) -> Played:
        pace = Pace(SHARE, Event().wait, free_s=FREE_S)
        return Played(
            self._view, plans, [self._source(name) for name in self._before.read(self._view)], self.since,
            pace, self._run._engine.memory, self.until.clock,
        )  # fmt: skip

    def _source(self, name: str) -> Source:
        info = self._before.bases[name]
        append_only = info.kind != "table"
        return Source(name, info.schema, append_only, partial(self._content, name))


class Declarations:
    """Which declarations were in force at a version, as the log has them.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._now = Defined(run._definition, dict(run._bases))
        self._known: dict[int, Defined] = {}

    def at(self, version: Version) -> Defined:
        """Return what was in force at a version."""
        if version.number not in self._known:
            self._known[version.number] = self._found(version)
        return self._known[version.number]

    def _found(self, version: Version) -> Defined:
        if not self._changed_after(version):
            return self._now
        last: Declared | None = None
        for record in self._run._log.records():
            if isinstance(record, Step) and record.version > version.number:
                break
            last = record if isinstance(record, Declared) else last
        return self._now if last is None else self._defined(last.declarations)

    def _changed_after(self, version: Version) -> bool:
        """Whether declarations were recorded after a version."""
        seen = False
        for record in self._run._log.records(max(1, version.commit)):
            seen |= isinstance(record, Step) and record.version >= version.number
            if seen and isinstance(record, Declared):
                return True
        return False

    def _defined(self, facts: Mapping[str, Any]) -> Defined:
        app = self._run.app._as_declared(facts)
        definition = self._run._definitions.definition(app, dict(facts.get("created", {})))
        return Defined(definition, dict(self._run._base_relations(app)))


def united(old: Schema, new: Schema) -> Schema:
    """Return the columns of both; one that is of another type now stands there twice, `name__before` too."""
    columns = list(new)
    for column in old:
        known = next((have for have in new if have.name.lower() == column.name.lower()), None)
        if known is None:
            columns.append(column)
        elif known.sql_type != column.sql_type:
            columns.append(Column(f"{column.name}__before", column.sql_type, column.arrow))
    return Schema(tuple(columns))


def fitted(table: pa.Table, shape: Schema) -> pa.Table:
    """Return a table in the columns of `united`; those that it does not have are NULL."""
    names = {name.lower(): at for at, name in enumerate(table.column_names)}
    columns = []
    for column in shape:
        at = names.get(column.name.lower().removesuffix("__before"))
        if at is not None and table.column(at).type == column.arrow:
            columns.append(table.column(at))
        else:
            columns.append(pa.chunked_array([pa.nulls(table.num_rows, column.arrow)]))
    return pa.table(columns, schema=shape.arrow)


def _fitted_change(change: Change, fit: Callable[[pa.Table], pa.Table]) -> Change:
    table = fit(pa.Table.from_batches([change.rows])).combine_chunks()
    batches = table.to_batches()
    rows = batches[0] if batches else Change.empty(table.schema).rows
    return Change(rows, change.weights)


def _input(cause: str, change: Change, commits: np.ndarray[Any, np.dtype[np.int64]]) -> pa.Table:
    table = pa.Table.from_batches([change.rows]).slice(0, INPUT_ROWS_MAX)
    count = table.num_rows
    table = table.add_column(0, WEIGHT, pa.array(change.weights[:count]))
    table = table.add_column(0, COMMIT, pa.array(commits[:count]))
    return table.add_column(0, CAUSE, pa.array([cause] * count, pa.string()))


def _merged(found: Sequence[tuple[str, Change]]) -> list[tuple[str, Change]]:
    """Return one consolidated change per cause, in the order in which they first stand there."""
    by_cause: dict[str, list[Change]] = {}
    for cause, change in found:
        by_cause.setdefault(cause, []).append(change)
    return [(cause, consolidate(Change.concat(parts))) for cause, parts in by_cause.items()]


__all__ = ["NEW", "Declarations", "Differing"]
