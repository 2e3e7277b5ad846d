"""Recursive: WITH RECURSIVE by semi-naive iteration over the step's own circuit.

The step S takes the rows of the last round one by one, so rounds add up. With UNION ALL the answer is the sum
R = base + S(R), and a change goes round until nothing is left:

    δ₀ = Δbase + ΔS(R)      δₙ₊₁ = S(δₙ)      ΔR = δ₀ + δ₁ + …

With UNION it is the smallest set that holds the base and its own step. Each row has the count of its
derivations, from the base and by one step from rows of the set. What falls in count is taken out first, with
all that it led to (it may have held itself up in a circle); then whatever still has a derivation, or has a
new one, comes in, and again what follows from it:

    from 1 over the edges 1→2, 2→3, 3→2         R = {1, 2, 3}
    − edge 1→2                                  2 falls from 2 to 1: out; so 3 falls: out; so 2 falls to 0
    − edge 1→2 where also 1→4→2                 2 and 3 go out; 4 still leads to 2: both come in again, and
                                                nothing is said

(Gupta, Mumick, Subrahmanian, "Maintaining Views Incrementally", SIGMOD 1993: delete and re-derive.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
from typing_extensions import override

from headrace.change import Change
from headrace.engine.columns import I64, group_keys, nonzero, views
from headrace.engine.growable import Growable
from headrace.engine.hashing import hash_views
from headrace.engine.key_table import KeyTable
from headrace.engine.monotone import Bounds
from headrace.engine.operators.base import Operator, StepContext
from headrace.engine.zset import consolidate
from headrace.errors import ViewInError
from headrace.sql.plan import Recursive

ROUNDS_MAX = 10_000
"""Rounds that one step may take; a recursion that goes on is taken to have no end."""


class Steps(Protocol):
    """The circuit of the step."""

    def start(self, context: StepContext) -> Change:
        """Begin with nothing."""
        ...

    def step(self, changes: Mapping[str, Change], context: StepContext) -> Change:
        """Return the change of the next round."""
        ...

    @property
    def error(self) -> str | None:
        """Why there is no answer, or None."""
        ...

    @property
    def stages(self) -> Sequence[Stage]:
        """Its operators."""
        ...


class Stage(Protocol):
    """One operator of the step."""

    @property
    def operator(self) -> Operator:
        """The operator."""
        ...


class RecursiveOperator(Operator):
    """Runs the step round and round; without ALL it keeps every row with the count of its derivations."""

    name = "recursive"

    def __init__(self, node: Recursive, steps: Steps) -> None:
        super().__init__(node.schema)
        self.consolidated = True
        self.rule = "rounds of changes"
        if not node.is_all:
            self.reason = "rows that lose a derivation are taken out with what follows, then derived again"
        self._node = node
        self._steps = steps
        self._rounds = 0
        self.rows = KeyTable([column.arrow for column in node.schema])
        self.counts: Growable[np.int64] = Growable(np.int64)
        self.inside: Growable[np.bool_] = Growable(np.bool_)

    @override
    def start(self, context: StepContext) -> Change:
        self._steps.start(context)
        return super().start(context)

    @override
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        self._rounds = 0
        parts = [consolidate(change) for change in inputs]
        return self._sum(parts, context) if self._node.is_all else self._closure(parts, context)

    # rounds

    def _derived(self, inputs: Sequence[Change], context: StepContext) -> Change:
        """Return the rows that the base and one step over changed parts give and take."""
        changes = dict(zip(self._node.aliases, inputs[1:], strict=True))
        return self._joined([self._named(inputs[0]), self._stepped(changes, context)])

    def _stepped(self, changes: Mapping[str, Change], context: StepContext) -> Change:
        some = {name: change for name, change in changes.items() if len(change)}
        return self._named(self._steps.step(some, context)) if some else Change.empty(self.arrow)

    def _round(self, rows: Change, context: StepContext) -> Change:
        """Return what follows from the rows of the last round."""
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            raise ViewInError(
                f"the recursion did not end after {ROUNDS_MAX:,} rounds",
                hint="bound it in its WHERE, such as `depth < 100`",
            )
        return self._stepped({self._node.name: rows}, context)

    def _named(self, change: Change) -> Change:
        return Change(pa.RecordBatch.from_arrays(change.rows.columns, schema=self.arrow), change.weights)

    def _joined(self, changes: Sequence[Change]) -> Change:
        return consolidate(Change.concat(changes))

    # UNION ALL

    def _sum(self, inputs: Sequence[Change], context: StepContext) -> Change:
        rounds = [self._derived(inputs, context)]
        while len(rounds[-1]):
            rounds.append(consolidate(self._round(rounds[-1], context)))
        return self._joined(rounds)

    # UNION

    def _closure(self, inputs: Sequence[Change], context: StepContext) -> Change:
        gone = [change.filter(change.weights < 0) for change in inputs]
        come = [change.filter(change.weights > 0) for change in inputs]
        seen = _Seen(self)
        if any(len(change) for change in gone):
            fallen = seen.counted(self._derived(gone, context))
            while len(out := seen.leaving(fallen)):
                fallen = seen.counted(self._round(out, context))
        seen.counted(self._derived(come, context))
        into = seen.entering(seen.everything())
        while len(into):
            into = seen.entering(seen.counted(self._round(into, context)))
        return seen.moved()

    @property
    @override
    def error(self) -> str | None:
        return self._steps.error

    @property
    @override
    def detail(self) -> str:
        return "union all" if self._node.is_all else "union"

    @override
    def can_free(self, inputs: Sequence[Bounds]) -> str | None:
        return "keeps all: a row that comes may lead on to any that is kept, however old"

    @property
    @override
    def state_rows(self) -> int:
        return self.rows.size + sum(stage.operator.state_rows for stage in self._steps.stages)

    @property
    @override
    def state_bytes(self) -> int:
        own = self.rows.nbytes + self.counts.nbytes + self.inside.nbytes
        return own + sum(stage.operator.state_bytes for stage in self._steps.stages)


class _Seen:
    """The rows whose derivations one step has touched, and what became of them."""

    def __init__(self, owner: RecursiveOperator) -> None:
        self._owner = owner
        self._rows: list[pa.RecordBatch] = []
        self._slots: list[I64] = []
        self._before: dict[int, bool] = {}

    def counted(self, change: Change) -> Change:
        """Add derivations; return the rows once each, their slots as ids, weighted by the change in count."""
        owner = self._owner
        keys = group_keys(change.rows.columns)
        columns = views(keys, exact=False)
        slots, _ = owner.rows.find_or_add(columns, hash_views(columns, len(change)))
        owner.counts.resize(owner.rows.size)
        owner.inside.resize(owner.rows.size)
        np.add.at(owner.counts.data, slots, change.weights)
        touched, firsts, places = np.unique(slots, return_index=True, return_inverse=True)
        weights = np.zeros(len(touched), dtype=np.int64)
        np.add.at(weights, places, change.weights)
        rows = pa.RecordBatch.from_arrays(keys, schema=owner.arrow).take(pa.array(firsts))
        self._rows.append(rows)
        self._slots.append(touched)
        for slot in touched.tolist():
            self._before.setdefault(slot, bool(owner.inside.data[slot]))
        return Change(rows, weights, touched)

    def leaving(self, fallen: Change) -> Change:
        """Take out the rows of the set that lost a derivation."""
        assert fallen.ids is not None
        at = nonzero((fallen.weights < 0) & self._owner.inside.data[fallen.ids])
        self._owner.inside.data[fallen.ids[at]] = False
        return Change(fallen.rows.take(pa.array(at)), np.full(len(at), -1, dtype=np.int64))

    def entering(self, risen: Change) -> Change:
        """Take in the rows outside that have a derivation."""
        assert risen.ids is not None
        at = nonzero((self._owner.counts.data[risen.ids] > 0) & ~self._owner.inside.data[risen.ids])
        self._owner.inside.data[risen.ids[at]] = True
        return Change.inserts(risen.rows.take(pa.array(at)))

    def everything(self) -> Change:
        """Return every touched row once, its slot as its id."""
        slots = np.concatenate(self._slots)
        touched, firsts = np.unique(slots, return_index=True)
        rows = pa.concat_batches(self._rows).take(pa.array(firsts))
        return Change(rows, np.ones(len(touched), dtype=np.int64), touched)

    def moved(self) -> Change:
        """Return the rows that were not in the set before and are now, or the other way round."""
        touched = self.everything()
        slots = touched.ids
        assert slots is not None
        before = np.array([self._before[slot] for slot in slots.tolist()], dtype=np.bool_)
        after = self._owner.inside.data[slots]
        at = nonzero(before != after)
        weights = np.where(after[at], 1, -1).astype(np.int64)
        return Change(touched.rows.take(pa.array(at)), weights, slots[at])
