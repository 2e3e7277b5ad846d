"""A view's circuit: the operators of its plan, inputs first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import pyarrow as pa

from headrace.change import Change
from headrace.engine.adoption import Adoption, content_of
from headrace.engine.duck import quote
from headrace.engine.levels import WORTH_ROWS, side_by_side
from headrace.engine.monotone import Bounds
from headrace.engine.operators.aggregate import AggregateOperator
from headrace.engine.operators.asof_join import AsofJoinOperator
from headrace.engine.operators.base import Operator, OperatorInfo, StepContext
from headrace.engine.operators.constant import ConstantOperator
from headrace.engine.operators.distinct import DistinctOperator
from headrace.engine.operators.filter import FilterOperator
from headrace.engine.operators.final import FinalOperator
from headrace.engine.operators.hop import HopOperator
from headrace.engine.operators.join import JoinOperator
from headrace.engine.operators.match_join import MatchJoinOperator
from headrace.engine.operators.now_filter import NowFilterOperator
from headrace.engine.operators.over import over_operator, split_over
from headrace.engine.operators.project import ProjectOperator
from headrace.engine.operators.python_function import PythonFunctionOperator
from headrace.engine.operators.recompute import RecomputeOperator
from headrace.engine.operators.recursive import RecursiveOperator
from headrace.engine.operators.refreshed import RefreshedOperator
from headrace.engine.operators.rename import RenameOperator
from headrace.engine.operators.scan import ScanOperator
from headrace.engine.operators.session import SessionOperator
from headrace.engine.operators.session_aggregate import SessionAggregateOperator
from headrace.engine.operators.set_op import SetOpOperator
from headrace.engine.operators.succession import SuccessionOperator
from headrace.engine.operators.topn import TopNOperator
from headrace.engine.operators.topn_append import TopNAppendOperator, is_for
from headrace.engine.operators.touched import TouchedOperator
from headrace.engine.operators.union_all import UnionAllOperator
from headrace.engine.operators.unnest import UnnestOperator
from headrace.engine.session_shape import sessions_last, window_below
from headrace.engine.sharing import Signature, signature
from headrace.engine.zset import consolidate, settle
from headrace.errors import UnsupportedSql
from headrace.sql.plan import (
    Aggregate,
    AsofJoin,
    Constant,
    Distinct,
    Filter,
    Final,
    Hop,
    Join,
    MatchJoin,
    Node,
    NowFilter,
    Over,
    Project,
    PythonCall,
    Recompute,
    Recursive,
    Refreshed,
    Scan,
    Session,
    SetOp,
    Succession,
    TopN,
    Touched,
    UnionAll,
    Unnest,
    ViewPlan,
)

IsAppendOnly = Callable[[str], bool]
"""Of a relation's name: whether it never takes a row back."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One operator and the numbers of the stages it reads; a scan reads none."""

    operator: Operator
    inputs: tuple[int, ...]
    relation: str | None = None


class Circuit:
    """The operators of one plan; shared nodes of the plan are computed once."""

    def __init__(self, plan: ViewPlan, is_append_only: IsAppendOnly) -> None:
        self.plan = plan
        self._stages: list[Stage] = []
        self._numbers: dict[int, int] = {}
        self._made: list[Node] = []  # nodes are known by identity, so these must live as long as the circuit
        self._signed: dict[Signature, int] = {}
        self._time_unread = _hops_whose_time_nobody_reads(plan.root)
        self._root = self._add(plan.root, is_append_only)
        self._idle: frozenset[int] = frozenset()
        self._begun: tuple[int, Change] | None = None

    def _add(self, node: Node, is_append_only: IsAppendOnly) -> int:
        known = self._numbers.get(id(node))
        if known is not None:
            return known
        sign = signature(node, self._time_unread)
        if sign is not None and sign in self._signed:
            self._numbers[id(node)] = self._renamed(node, self._signed[sign])
            return self._numbers[id(node)]
        parts = _rewritten(node)
        if parts is not node:
            self._made.append(parts)
            self._numbers[id(node)] = self._add(parts, is_append_only)
            return self._numbers[id(node)]
        window = window_below(node) if isinstance(node, Aggregate) else None
        children = node.inputs if window is None else window.inputs
        inputs = tuple(self._add(child, is_append_only) for child in children)
        kept = all(self._stages[at].operator.append_only for at in inputs)
        if isinstance(node, Scan):
            operator: Operator = ScanOperator(node, append_only=is_append_only(node.relation))
            self._stages.append(Stage(operator, (), node.relation.lower()))
        elif isinstance(node, Join | MatchJoin | AsofJoin):
            flags = [self._stages[at].operator.append_only for at in inputs]
            self._stages.append(Stage(_join(node, flags), inputs))
        elif window is not None and isinstance(node, Aggregate):
            self._stages.append(Stage(SessionAggregateOperator(node, window, append_only=kept), inputs))
        else:
            operator = _operator(node, append_only=kept, time_is_read=id(node) not in self._time_unread)
            if isinstance(node, Filter | Hop):
                operator.consolidated = self._stages[inputs[0]].operator.consolidated
            self._stages.append(Stage(operator, inputs))
        self._numbers[id(node)] = len(self._stages) - 1
        if sign is not None:
            self._signed[sign] = self._numbers[id(node)]
        return self._numbers[id(node)]

    def _renamed(self, node: Node, number: int) -> int:
        """Return the stage that computes the node already, with the node's own column names."""
        below = self._stages[number].operator
        if below.schema.names == node.schema.names:
            return number
        self._stages.append(Stage(RenameOperator(node.schema, below), (number,)))
        return len(self._stages) - 1

    @property
    def append_only(self) -> bool:
        """Whether the view never takes a row back."""
        return self._stages[self._root].operator.append_only

    @property
    def root(self) -> Operator:
        """The operator that gives the view's rows."""
        return self._stages[self._root].operator

    def start(self, context: StepContext) -> Change:
        """Return the view over empty relations: the row of a global aggregate, what a recomputed query
        says.
        """
        outputs: list[Change] = []
        for number, stage in enumerate(self._stages):
            if number in self._idle:
                outputs.append(self._given(number))
                continue
            output = stage.operator.start(context)
            changes = [outputs[at] for at in stage.inputs]
            if any(len(change) for change in changes):
                output = consolidate(Change.concat([output, stage.operator.run(changes, context)]))
            outputs.append(output)
        return outputs[self._root]

    def step(self, changes: Mapping[str, Change], context: StepContext) -> Change:
        """Return the change of the view; `changes` by relation in lower case.

        It is consolidated, but where no row goes: there equal rows may stand side by side.
        """
        root = self._stages[self._root].operator
        self._note_limits(context)
        change = self._run(changes, context)
        return change if root.consolidated or root.append_only or change.is_append_only else settle(change)

    def _run(self, changes: Mapping[str, Change], context: StepContext) -> Change:
        outputs: dict[int, Change] = {}
        for number in range(len(self._stages)):
            if number in outputs:
                continue
            inputs = self._inputs(number, changes, outputs)
            rows = sum(map(len, inputs))
            if rows >= WORTH_ROWS:
                outputs.update(self._side_by_side(number, changes, outputs, context))
            else:
                outputs[number] = self._moved(number, inputs, rows, context)
        return outputs[self._root]

    def _moved(self, number: int, inputs: list[Change], rows: int, context: StepContext) -> Change:
        """Return what a stage gives out."""
        operator = self._stages[number].operator
        if number not in self._idle and (rows or operator.is_due(context)):
            return operator.run(inputs, context)
        return Change.empty(operator.arrow)

    def _inputs(
        self, number: int, changes: Mapping[str, Change], outputs: Mapping[int, Change]
    ) -> list[Change]:
        """Return the changes that a stage takes in."""
        stage = self._stages[number]
        if stage.relation is None:
            return [outputs[at] for at in stage.inputs]
        change = changes.get(stage.relation)
        return [] if change is None else [change]

    def _side_by_side(
        self, first: int, changes: Mapping[str, Change], outputs: Mapping[int, Change], context: StepContext
    ) -> dict[int, Change]:
        """Return what a stage gives out that takes in many rows, and those after it that do so too and wait
        for nothing either.
        """
        jobs: dict[int, Callable[[], Change]] = {}
        sizes = []
        for number in range(first, len(self._stages)):
            if number in outputs or not all(below in outputs for below in self._stages[number].inputs):
                continue
            inputs = self._inputs(number, changes, outputs)
            rows = sum(map(len, inputs))
            if rows >= WORTH_ROWS:
                jobs[number] = partial(self._moved, number, inputs, rows, context)
                sizes.append(rows)
        return dict(zip(jobs, side_by_side(list(jobs.values()), sizes), strict=True))

    # --- taking over what runs
    # --------------------------------------------------------------------------------------------------
    @property
    def stages(self) -> tuple[Stage, ...]:
        """The operators, inputs first."""
        return tuple(self._stages)

    @property
    def root_number(self) -> int:
        """The number of the root's stage."""
        return self._root

    def same_as(self, other: Circuit, number: int) -> int | None:
        """Return the stage that computes the same as a stage of another circuit; None: there is none."""
        return next((self._signed.get(sign) for sign, at in other._signed.items() if at == number), None)

    def adopt(self, found: Adoption, copies: Circuit, rows: pa.Table) -> None:
        """Take over operators with their state; until `loaded` they stand still, and what is above is fed
        what they have given out so far.

        Args:
            found: which.
            copies: a copy of the running circuit.
            rows: of the running view.
        """
        names = self._stages[found.at].operator.schema
        for mine, theirs in found.pairs:
            stage = self._stages[mine]
            self._stages[mine] = Stage(copies._stages[theirs].operator, stage.inputs, stage.relation)
        adopted = self._stages[found.at].operator
        self._idle = frozenset(mine for mine, _ in found.pairs)
        self._begun = (found.at, content_of(found, rows, adopted.arrow))
        if adopted.schema.names != names.names:
            self._insert(found.at + 1, Stage(RenameOperator(names, adopted), (found.at,)))

    def _insert(self, place: int, added: Stage) -> None:
        """Put a stage behind another one that it reads, and between it and its readers."""

        def moved(number: int) -> int:
            return number if number < place - 1 else number + 1

        later = [
            Stage(stage.operator, tuple(moved(at) for at in stage.inputs), stage.relation)
            for stage in self._stages[place:]
        ]
        self._stages[place:] = [added, *later]
        self._root = moved(self._root)
        self._signed = {sign: moved(at) if at >= place else at for sign, at in self._signed.items()}
        self._idle = frozenset(at if at < place else at + 1 for at in self._idle)

    def _given(self, number: int) -> Change:
        if self._begun is not None and self._begun[0] == number:
            return self._begun[1]
        return Change.empty(self._stages[number].operator.arrow)

    def is_fed(self, relation: str) -> bool:
        """Whether history of a relation is to be read for it."""
        places = [at for at, stage in enumerate(self._stages) if stage.relation == relation.lower()]
        return not places or any(at not in self._idle for at in places)

    def loaded(self) -> None:
        """Have the operators that were taken over go on."""
        self._idle, self._begun = frozenset(), None

    # --- time
    # --------------------------------------------------------------------------------------------------
    @property
    def due_us(self) -> int | None:
        """When the view changes by itself as the clock passes, or None."""
        times = [stage.operator.due_us for stage in self._stages]
        return min((time for time in times if time is not None), default=None)

    def is_due(self, context: StepContext) -> bool:
        """Whether the view changes though no relation has: by the clock, or by the watermarks."""
        self._note_limits(context)
        return any(stage.operator.is_due(context) for stage in self._stages)

    def _note_limits(self, context: StepContext) -> None:
        """Tell what waits for a bound where it stands at the end of this step."""

        def note(operator: Operator, below: list[Bounds]) -> None:
            if isinstance(operator, FinalOperator):
                operator.limit_us = operator.bounds(below).get(operator.column)

        if any(isinstance(stage.operator, FinalOperator) for stage in self._stages):
            self._bounded(context.bounds, note)

    def forget(self, relations: Mapping[str, Bounds]) -> Bounds:
        """Free what no later change can reach, and return the bounds of the view's columns.

        Args:
            relations: per relation in lower case, the bounds of its columns in lower case, as they stand
                after the last step.
        """
        return self._bounded(relations, lambda operator, below: operator.forget(below))[self._root]

    def bounds(self, relations: Mapping[str, Bounds]) -> Bounds:
        """Return the bounds of the view's columns and free nothing."""
        return self._bounded(relations, lambda _operator, _below: None)[self._root]

    def _bounded(
        self, relations: Mapping[str, Bounds], visit: Callable[[Operator, list[Bounds]], None]
    ) -> list[Bounds]:
        found: list[Bounds] = []
        for stage in self._stages:
            below = (
                [relations.get(stage.relation, {})] if stage.relation is not None
                else [found[at] for at in stage.inputs]
            )  # fmt: skip
            visit(stage.operator, below)
            found.append(stage.operator.bounds(below))
        return found

    @property
    def error(self) -> str | None:
        """Why the view has no answer at present, or None."""
        return next((stage.operator.error for stage in self._stages if stage.operator.error), None)

    def explain(self, relations: Mapping[str, Bounds] | None = None) -> OperatorInfo:
        """Return the tree of operators; `relations` has an entry for every column that can have a bound."""
        notes: list[str | None] = []
        self._bounded(relations or {}, lambda operator, below: notes.append(operator.can_free(below)))
        return self._info(self._root, notes)

    def _info(self, number: int, notes: list[str | None]) -> OperatorInfo:
        stage = self._stages[number]
        operator = stage.operator
        return OperatorInfo(
            operator.name, operator.rule, operator.detail, operator.state_rows, operator.state_bytes,
            operator.last_step_us, operator.rows_in, operator.rows_out, operator.reason,
            tuple(self._info(at, notes) for at in stage.inputs), notes[number], stage.relation,
        )  # fmt: skip


def _join(node: Join | MatchJoin | AsofJoin, append_only_inputs: list[bool]) -> Operator:
    if isinstance(node, AsofJoin):
        return AsofJoinOperator(node, append_only_inputs=append_only_inputs)
    if isinstance(node, MatchJoin):
        return MatchJoinOperator(node, append_only_inputs=append_only_inputs)
    return JoinOperator(node, append_only_inputs=append_only_inputs)


def _rewritten(node: Node) -> Node:
    """Return a node in the form that the cheapest operators take."""
    match node:
        case Over():
            return split_over(node)
        case Aggregate():
            moved = sessions_last(node)
            return node if window_below(moved) is None else moved
        case _:
            return node


def _operator(node: Node, *, append_only: bool, time_is_read: bool) -> Operator:
    match node:
        case Filter():
            return FilterOperator(node.predicate, node.schema, append_only=append_only)
        case NowFilter():
            return NowFilterOperator(node)
        case Refreshed():
            return RefreshedOperator(node)
        case Final():
            return FinalOperator(node)
        case Project():
            return ProjectOperator(node, append_only=append_only)
        case Hop():
            return HopOperator(node, append_only=append_only, time_is_read=time_is_read)
        case Session():
            return SessionOperator(node, append_only=append_only)
        case UnionAll():
            return UnionAllOperator(node, append_only=append_only)
        case Aggregate():
            return AggregateOperator(node, append_only_input=append_only)
        case Constant():
            return ConstantOperator(node)
        case _:
            return _further_operator(node, append_only=append_only)


def _further_operator(node: Node, *, append_only: bool) -> Operator:
    match node:
        case SetOp():
            return SetOpOperator(node, append_only=append_only)
        case Unnest():
            return UnnestOperator(node, append_only=append_only)
        case Distinct():
            return DistinctOperator(node, append_only=append_only)
        case TopN():
            return TopNAppendOperator(node) if append_only and is_for(node) else TopNOperator(node)
        case Touched():
            return TouchedOperator(node, append_only=append_only)
        case PythonCall():
            return PythonFunctionOperator(node, append_only=append_only)
        case Over():
            return over_operator(node, append_only=append_only)
        case Recursive():
            return RecursiveOperator(node, Circuit(_step_plan(node), lambda _: False))
        case Recompute():
            return RecomputeOperator(node)
        case Succession():
            return SuccessionOperator(node)
        case _:
            raise UnsupportedSql(f"the engine has no operator for {type(node).__name__}")


def _step_plan(node: Recursive) -> ViewPlan:
    """Return the step of a recursion as a plan of its own."""
    relations = (node.name, *node.aliases)
    return ViewPlan(node.name, "", "", node.step, tuple(name.lower() for name in relations))


def _hops_whose_time_nobody_reads(root: Node) -> set[int]:
    """Return the ids of window nodes that only an aggregate reads, which does not read the time column."""
    readers: dict[int, list[Node]] = {}
    seen: set[int] = set()
    for node in root.walk():
        if id(node) not in seen:
            seen.add(id(node))
            for child in node.inputs:
                readers.setdefault(id(child), []).append(node)
    found = set()
    for node in root.walk():
        above = readers.get(id(node), [])
        if not isinstance(node, Hop) or len(above) != 1:
            continue
        if isinstance(above[0], Aggregate) and not _reads_column(above[0], node.time):
            found.add(id(node))
    return found


def _reads_column(node: Aggregate, column: str) -> bool:
    if column in node.keys:
        return True
    return any(column in (*call.args, call.filter) or quote(column) in call.sql for call in node.calls)
