"""Join: the inner equi-join of N inputs.

    Δ(A ⋈ B ⋈ …) = ΔA ⋈ B ⋈ … + A' ⋈ ΔB ⋈ … + …        (A' = A + ΔA)

A delta join: the change of each input in turn probes the arrangements of all others, already updated for the
inputs before it, not yet for those after it; then it is added to its own. Nothing is kept but the inputs,
arranged by each set of columns that is probed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, Bools, equal, group_keys, nonzero, take, view, views
from headrace.engine.frontier import JoinFrontier, differences
from headrace.engine.hashing import hash_views
from headrace.engine.heap import Heap
from headrace.engine.key_table import KeyTable
from headrace.engine.levels import side_by_side
from headrace.engine.monotone import Bounds
from headrace.engine.normal import is_one_pattern
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.operators.filter import FilterOperator
from headrace.engine.runs import Arrangement
from headrace.engine.sides import PAIRS_MAX
from headrace.engine.sweep import Sweep, described
from headrace.engine.zset import consolidate
from headrace.errors import ViewInError
from headrace.sql.plan import Join

Bound = tuple[int, str]
"""A column of an input: (number of the input, column)."""


Reached = tuple[int, pa.RecordBatch | None]
"""How many rows a change reaches, and the known columns of what comes out; None: nothing is known of that."""


@dataclass(frozen=True, slots=True)
class Probe:
    """One leg of a delta join: look up input `target` by `columns`, with the values of `sources`.

    `near` are the same values, of the changed input's own columns where those are equal by now: they are at
    hand. `checks` are further equalities between the target and what is bound already.
    """

    target: int
    columns: tuple[str, ...]
    sources: tuple[Bound, ...]
    checks: tuple[tuple[str, Bound], ...]
    near: tuple[Bound, ...] = ()


class Index:
    """One input arranged by some of its columns; rows whose key has a NULL are left out, they match
    nothing.
    """

    def __init__(
        self, columns: tuple[str, ...], keys: KeyTable, schema: pa.Schema, *, append_only: bool
    ) -> None:
        self.columns = columns
        self.keys = keys
        told = [name for name in columns if is_one_pattern(schema.field(name).type)]
        self.rows = Arrangement(schema, append_only=append_only, told=told)

    def slots(self, change: Change) -> I64:
        """Return the slot of each row of the input, new ones added, −1 where a key column is NULL."""
        arrays = [change.rows.column(name) for name in self.columns]
        if not arrays:
            return np.zeros(len(change), dtype=np.int64)
        return _without_nulls(arrays, self.keys.place(group_keys(arrays), change.ids)[0])

    def insert(self, change: Change, slots: I64) -> None:
        """Add a change of the input, under the slots of its rows."""
        if (slots < 0).any():
            kept = nonzero(slots >= 0)
            slots, change = slots[kept], change.take(kept)
        self.rows.insert(slots, change.rows, change.weights, change.hashes)

    def slots_of(self, arrays: list[pa.Array], count: int) -> I64:
        """Return the slot of each row of key columns, −1 where nothing lies under it."""
        if not arrays:
            return np.zeros(count, dtype=np.int64)
        columns = views(group_keys(arrays), exact=False)
        return _without_nulls(arrays, self.keys.find(columns, hash_views(columns, count)))


def _without_nulls(arrays: list[pa.Array], slots: I64) -> I64:
    nulls = _any_null(arrays)
    return slots if nulls is None else np.where(nulls, -1, slots)


def _any_null(arrays: list[pa.Array]) -> Bools | None:
    found: Bools | None = None
    for array in arrays:
        if array.null_count:
            nulls = array.is_null().to_numpy(zero_copy_only=False)
            found = nulls if found is None else found | nulls
    return found


@dataclass(frozen=True, slots=True)
class Source:
    """Where the columns of a bound input come from: rows of a batch, or of a heap by number; `at` per
    tuple.
    """

    rows: pa.RecordBatch | Heap
    at: I64 | None

    def take(self, positions: I64) -> Source:
        """Return the source of some of the tuples."""
        return Source(self.rows, positions if self.at is None else self.at[positions])

    def columns(self, names: Sequence[str]) -> list[pa.Array]:
        """Return columns, one value per tuple."""
        if isinstance(self.rows, Heap):
            assert self.at is not None
            places = [self.rows.schema.get_field_index(name) for name in names]
            return list(self.rows.gather(self.at, places).columns)
        picked = self.rows.select(list(names))
        return list((picked if self.at is None else take(picked, self.at)).columns)


class Tuples:
    """Partly joined rows: for each bound input the row of it that each tuple takes."""

    def __init__(self, number: int, change: Change) -> None:
        self.parts: dict[int, Source] = {number: Source(change.rows, None)}
        self.weights = change.weights

    def column(self, bound: Bound) -> pa.Array:
        """Return a bound column, one value per tuple."""
        return self.parts[bound[0]].columns([bound[1]])[0]

    def extend(self, number: int, positions: I64, source: Source, weights: I64) -> None:
        """Bind one more input: tuple `positions[i]` goes on with row i of the source."""
        if len(positions) == len(self.weights) and (positions == np.arange(len(positions))).all():
            self.weights = self.weights * weights
        else:
            self.parts = {other: part.take(positions) for other, part in self.parts.items()}
            self.weights = self.weights[positions] * weights
        self.parts[number] = source

    def keep(self, chosen: Bools) -> None:
        """Keep only some tuples."""
        if chosen.all():
            return
        rows = nonzero(chosen)
        self.parts = {other: part.take(rows) for other, part in self.parts.items()}
        self.weights = self.weights[rows]


class JoinOperator(Operator):
    """Arrangements of the inputs, and for each input the order in which the others are probed."""

    name = "join"
    rule = "delta join"

    def __init__(self, node: Join, *, append_only_inputs: Sequence[bool]) -> None:
        super().__init__(node.schema, append_only=all(append_only_inputs))
        self._node = node
        self._append_only = tuple(append_only_inputs)
        names = [part.schema.names for part in node.parts]
        self._frontier = JoinFrontier(names, node.equalities, differences(node.residual))
        self._residual: FilterOperator | None = None
        self._residual_columns: frozenset[str] = frozenset()
        if node.residual is not None:
            self._residual_columns = frozenset(node.residual.columns)
            self._residual = FilterOperator(node.residual, node.schema, append_only=self.append_only)
        self._legs = [plan_probes(node, number) for number in range(len(node.parts))]
        self._indexes: dict[tuple[int, tuple[str, ...]], Index] = {}
        self._keys: dict[tuple[object, ...], KeyTable] = {}
        self._sweep = Sweep()
        classes = column_classes(node)
        self._bound = {name: (number, name) for number, part in enumerate(names) for name in part}
        self._same = same_columns(node, classes)
        for leg in self._legs:
            for probe in leg:
                self._add_index(probe.target, probe.columns, classes)

    def _add_index(self, number: int, columns: tuple[str, ...], classes: dict[Bound, int]) -> None:
        if (number, columns) in self._indexes:
            return
        part = self._node.parts[number]
        shared = tuple((classes[number, column], part.schema[column].arrow) for column in columns)
        keys = self._keys.setdefault(shared, KeyTable([part.schema[column].arrow for column in columns]))
        self._indexes[number, columns] = Index(
            columns, keys, part.schema.arrow, append_only=self._append_only[number]
        )

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        outputs: list[Change] = []
        for number, change in enumerate(inputs):
            if len(change) == 0:
                continue
            change = self._prepared(number, change)
            own = [index for (target, _), index in self._indexes.items() if target == number]
            slots = _slots_in(own, change)
            joined = partial(self._joined, number, change, context, own, slots)
            added = [partial(index.insert, change, under) for index, under in zip(own, slots, strict=True)]
            jobs: list[Callable[[], list[Change] | None]] = [joined, *added]  # none reads what is added to
            outputs += side_by_side(jobs, [len(change)] * len(jobs))[0] or []
        outputs = [part for part in outputs if len(part)]
        return Change.concat(outputs) if outputs else Change.empty(self.arrow)

    def _joined(
        self, number: int, change: Change, context: StepContext, own: list[Index], slots: list[I64]
    ) -> list[Change]:
        """Return the join of one input's change with all other inputs, in blocks; `slots` of its rows in its
        own indexes.
        """
        return [
            self._delta(number, part, context, zip(own, slots, strict=True) if part is change else ())
            for part in self._in_blocks(number, change)
        ]

    def _prepared(self, number: int, change: Change) -> Change:
        """Return the change added up, without rows that miss an equality of the input with itself."""
        for one in self._node.equalities:
            if one.left == number == one.right:
                left, right = change.rows.column(one.left_column), change.rows.column(one.right_column)
                change = change.filter(_equal_not_null(left, right))
        if self._append_only[number]:
            return change
        whole = consolidate(change)
        return replace(whole, ids=change.ids) if len(whole) == len(change) else whole  # the same rows

    def _in_blocks(self, number: int, change: Change) -> Iterator[Change]:
        """Yield a change in parts of which each makes about `PAIRS_MAX` pairs where all rows are crossed."""
        pairs = 1
        for probe in self._legs[number]:
            if not probe.columns:
                pairs *= max(self._indexes[probe.target, probe.columns].rows.row_count, 1)
        block = max(PAIRS_MAX // pairs, 1)
        if pairs == 1 or len(change) <= block:
            yield change
            return
        for first in range(0, len(change), block):
            yield change.take(np.arange(first, min(first + block, len(change))))

    def _delta(
        self, number: int, change: Change, context: StepContext, known: Iterable[tuple[Index, I64]]
    ) -> Change:
        """Return the join of one input's change with all other inputs as they are now.

        `known` are slots of its rows in its own indexes, some of which share their keys with those probed.
        """
        tuples = Tuples(number, change)
        found = {(id(own.keys), own.columns): slots for own, slots in known}
        for probe in self._legs[number]:
            index = self._indexes[probe.target, probe.columns]
            slots = _slots(tuples, number, probe, index, found)
            positions, numbers, weights = index.rows.probe(slots)
            if len(positions) == 0:
                return Change.empty(self.arrow)
            tuples.extend(probe.target, positions, Source(index.rows.heap, numbers), weights)
            for column, bound in probe.checks:
                tuples.keep(_equal_not_null(tuples.column((probe.target, column)), tuples.column(bound)))
        return self._finished(tuples, context)

    def reach(self, inputs: Sequence[pa.RecordBatch | None], rows_max: int) -> Reached:
        """Return how many rows lie under the keys of changed rows of which only some columns are known, and
        the known columns of what would come out; nothing is moved.
        """
        found: list[pa.RecordBatch] = []
        rows = 0
        for number, changed in enumerate(inputs):
            if changed is None or changed.num_rows == 0:
                continue
            count, joined = self._reached(number, changed, rows_max - rows)
            rows += count
            if rows > rows_max or joined is None:
                return rows, None
            found.append(joined)
        return rows, found[0] if len(found) == 1 else None

    def _reached(self, number: int, changed: pa.RecordBatch, rows_max: int) -> Reached:
        tuples = Tuples(number, Change(changed, np.ones(changed.num_rows, dtype=np.int64)))
        rows = 0
        for probe in self._legs[number]:
            if any(part == number and name not in changed.schema.names for part, name in probe.sources):
                return rows, None
            index = self._indexes[probe.target, probe.columns]
            slots = index.slots_of([tuples.column(one) for one in probe.sources], len(tuples.weights))
            firsts = np.unique(slots, return_index=True)[1]
            rows = int(index.rows.sizes(slots[firsts]).sum())
            if rows > rows_max:
                return rows, None
            positions, numbers, weights = index.rows.probe(slots[firsts])
            tuples.extend(probe.target, firsts[positions], Source(index.rows.heap, numbers), weights)
        names, columns = [], []
        for at, part in enumerate(self._node.parts):
            known = [name for name in part.schema.names if at != number or name in changed.schema.names]
            names += known
            columns += tuples.parts[at].columns(known) if known else []
        return rows, pa.RecordBatch.from_arrays(columns, names=names)

    def _finished(self, tuples: Tuples, context: StepContext) -> Change:
        """Return the joined rows for which the residual holds; only its columns are read for the others."""
        if self._residual is None:
            return self._whole(tuples)
        read = [name for name in self.arrow.names if name in self._residual_columns]
        if not read:
            return self._residual.step([self._whole(tuples)], context)
        narrow = pa.RecordBatch.from_arrays(self._columns(tuples, read), names=read)
        try:
            keep = self._residual.holds(narrow, context.duck)
        except ViewInError:
            return self._residual.step([self._whole(tuples)], context)
        tuples.keep(keep)
        return self._whole(tuples)

    def _columns(self, tuples: Tuples, names: Sequence[str]) -> list[pa.Array]:
        """Return output columns in order; of those that are equal, one is put together and stands for all."""
        taken = self._sources(tuples, names)
        wanted: dict[int, list[str]] = {}
        for number, column in dict.fromkeys(taken):
            wanted.setdefault(number, []).append(column)
        jobs = [partial(tuples.parts[number].columns, mine) for number, mine in wanted.items()]
        made: dict[Bound, pa.Array] = {}
        found = side_by_side(jobs, [len(tuples.weights)] * len(jobs))
        for (number, mine), columns in zip(wanted.items(), found, strict=True):
            made.update(zip([(number, name) for name in mine], columns, strict=True))
        return [made[bound] for bound in taken]

    def _sources(self, tuples: Tuples, names: Sequence[str]) -> list[Bound]:
        """Return for each output column the column of an input that it is taken from: of those that are equal
        one of a batch, which is at hand, before one of a heap.
        """
        bounds = [self._bound[name] for name in names]
        known: dict[tuple[int, pa.DataType], Bound] = {}
        for bound in sorted(bounds, key=lambda one: isinstance(tuples.parts[one[0]].rows, Heap)):
            if bound in self._same:
                known.setdefault(self._same[bound], bound)
        return [known[self._same[bound]] if bound in self._same else bound for bound in bounds]

    def _whole(self, tuples: Tuples) -> Change:
        columns = self._columns(tuples, self.arrow.names)
        return Change(pa.RecordBatch.from_arrays(columns, schema=self.arrow), tuples.weights)

    @override
    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:
        return self._frontier.output(inputs)

    @override
    def forget(self, inputs: Sequence[Bounds]) -> None:
        """Give up rows that no change can reach any more, and keys without rows."""
        if not self._sweep.is_due(self.state_rows):
            return
        below = self._frontier.beyond_reach(inputs)
        for (number, _), index in self._indexes.items():
            for column, bound_us in below[number].items():
                index.rows.drop_below(column, bound_us)
        for keys in self._keys.values():
            if keys.size == 0:  # every pair: all rows lie under slot 0, which is no key's
                continue
            held = keys.free()
            for index in self._indexes.values():
                if index.keys is keys:
                    held |= index.rows.held(keys.size)
            keys.release(nonzero(~held))
        self._sweep.done(self.state_rows)

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        missing = "the inputs are not held together in event time"
        freed = {name: low for one in self._frontier.beyond_reach(inputs) for name, low in one.items()}
        return described(freed, self.schema.names, missing)

    @property
    @override
    def error(self) -> str | None:
        return None if self._residual is None else self._residual.error

    @property
    @override
    def detail(self) -> str:
        keys = " and ".join(f"{one.left_column} = {one.right_column}" for one in self._node.equalities)
        rest = "" if self._node.residual is None else f" where {self._node.residual.sql}"
        return (keys or "every pair") + rest

    @property
    @override
    def state_rows(self) -> int:
        return sum(index.rows.row_count for index in self._indexes.values())

    @property
    @override
    def state_bytes(self) -> int:
        rows = sum(index.rows.nbytes for index in self._indexes.values())
        return rows + sum(keys.nbytes for keys in self._keys.values())


def _slots_in(own: Sequence[Index], change: Change) -> list[I64]:
    """Return the slots of an input's rows in each of its indexes, side by side where none shares its keys."""
    jobs = [partial(index.slots, change) for index in own]
    if len({id(index.keys) for index in own}) < len(own):
        return [job() for job in jobs]
    return side_by_side(jobs, [len(change)] * len(jobs))


def _slots(
    tuples: Tuples, start: int, probe: Probe, index: Index, known: Mapping[tuple[int, tuple[str, ...]], I64]
) -> I64:
    """Return the slot of each tuple in what is probed: where the changed rows alone tell it, each of those is
    looked up once, unless its slot is known.
    """
    rows, at = tuples.parts[start].rows, tuples.parts[start].at
    own = all(number == start for number, _ in probe.near)
    if not own or isinstance(rows, Heap) or (at is not None and len(at) < rows.num_rows):
        return index.slots_of([tuples.column(one) for one in probe.near], len(tuples.weights))
    names = tuple(column for _, column in probe.near)
    slots = known.get((id(index.keys), names))
    if slots is None:
        slots = index.slots_of([rows.column(name) for name in names], rows.num_rows)
    return slots if at is None else slots[at]


def _equal_not_null(one: pa.Array, other: pa.Array) -> Bools:
    rows = np.arange(len(one), dtype=np.int64)
    same = equal(view(one, exact=False), rows, view(other, exact=False), rows)
    nulls = _any_null([one])
    return same if nulls is None else same & ~nulls


def column_classes(node: Join) -> dict[Bound, int]:
    """Return a number for each compared column; columns that must be equal have the same."""
    classes: dict[Bound, int] = {}
    for number, one in enumerate(node.equalities):
        left, right = (one.left, one.left_column), (one.right, one.right_column)
        mine, theirs = classes.setdefault(left, 2 * number), classes.setdefault(right, 2 * number + 1)
        for bound, found in classes.items():
            if found == theirs:
                classes[bound] = mine
    return classes


def same_columns(node: Join, classes: dict[Bound, int]) -> dict[Bound, tuple[int, pa.DataType]]:
    """Return for each compared column whose equal values have the same bits what it shares with those that
    stand for it in a joined row.
    """
    types = {bound: node.parts[bound[0]].schema[bound[1]].arrow for bound in classes}
    return {
        bound: (number, types[bound]) for bound, number in classes.items() if is_one_pattern(types[bound])
    }


def plan_probes(node: Join, start: int) -> list[Probe]:
    """Return the order in which a change of input `start` probes the others: always the most equalities
    first.
    """
    bound = {start}
    probes = []
    while len(bound) < len(node.parts):
        rest = [number for number in range(len(node.parts)) if number not in bound]
        links = {number: _links(node, number, bound) for number in rest}
        target = max(rest, key=lambda number: (len({column for column, _ in links[number]}), -number))
        probe = _probe(target, links[target])
        probes.append(replace(probe, near=_near(node, start, bound, probe.sources)))
        bound.add(target)
    return probes


def _links(node: Join, target: int, bound: set[int]) -> list[tuple[str, Bound]]:
    """Return the equalities between an input and those bound: its column, the bound one."""
    links: list[tuple[str, Bound]] = []
    for one in node.equalities:
        if one.left == target and one.right in bound:
            links.append((one.left_column, (one.right, one.right_column)))
        elif one.right == target and one.left in bound:
            links.append((one.right_column, (one.left, one.left_column)))
    return sorted(set(links))


def _near(node: Join, start: int, bound: set[int], sources: Sequence[Bound]) -> tuple[Bound, ...]:
    """Return for each bound column one of input `start` that is surely equal to it, bit by bit, once those
    inputs are bound; itself where there is none.
    """
    held = tuple(one for one in node.equalities if one.left in bound and one.right in bound)
    same = same_columns(node, column_classes(replace(node, equalities=held)))
    own = {same[column]: column for column in same if column[0] == start}
    return tuple(own.get(same[source], source) if source in same else source for source in sources)


def _probe(target: int, links: list[tuple[str, Bound]]) -> Probe:
    keys: dict[str, Bound] = {}
    checks = []
    for column, source in links:
        if column in keys:
            checks.append((column, source))
        else:
            keys[column] = source
    return Probe(target, tuple(keys), tuple(keys.values()), tuple(checks))
