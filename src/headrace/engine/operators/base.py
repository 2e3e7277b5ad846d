"""What every operator of a circuit is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from time import perf_counter_ns
from typing import ClassVar

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.duck import Duck
from headrace.engine.explained import tree_lines
from headrace.engine.monotone import Bounds

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BEFORE_ALL = -(2**63) + 1


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step knows beside the changes.

    Attributes:
        duck: for what kernels cannot.
        clock: the engine's clock, UTC, or None while history is loaded.
        watermarks: per stream, UTC.
        bounds: per relation in lower case, the bounds of its columns as of the end of this step.
        recompute_rows_max: input rows beyond which nothing is recomputed at every step; None: no limit.
    """

    duck: Duck
    clock: datetime | None = None
    watermarks: Mapping[str, datetime] = field(default_factory=dict)
    bounds: Mapping[str, Bounds] = field(default_factory=dict)
    recompute_rows_max: int | None = None

    @property
    def clock_us(self) -> int:
        """The clock in microseconds since 1970; before all times where there is none."""
        return _BEFORE_ALL if self.clock is None else (self.clock - _EPOCH) // _MICROSECOND


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """One operator as `explain` shows it.

    Attributes:
        name: the operator, such as `aggregate`.
        rule: how it takes changes: `linear`, `delta join`, `match counts`, `ordered range`, `distinct set`,
            `accumulators`, `touched groups`, `recomputed` and others.
        detail: keys, columns or expressions.
        state_rows: rows kept.
        state_bytes: bytes kept.
        last_step_us: time of its last step that had something to do, microseconds.
        rows_in: rows taken in so far.
        rows_out: rows given out so far.
        reason: why this rule and no cheaper one, or None.
        inputs: the operators below.
        can_free: whether watermarks free its state: by which columns, or why not; None where it keeps none.
        relation: of a scan, what it reads.
        late_rows: of a scan, rows of the streams behind it that came too late and are in no view.
    """

    name: str
    rule: str
    detail: str
    state_rows: int
    state_bytes: int
    last_step_us: int
    rows_in: int
    rows_out: int
    reason: str | None
    inputs: tuple[OperatorInfo, ...] = ()
    can_free: str | None = None
    relation: str | None = None
    late_rows: int = 0

    def __str__(self) -> str:
        """Return the tree as text."""
        return "\n".join(tree_lines(asdict(self)))


class Operator(ABC):
    """Turns changes of its inputs into the change of its output.

    Attributes:
        schema: the output columns.
        append_only: the output never takes a row back.
        consolidated: no row stands twice in one change of the output, none with weight 0.
    """

    name: ClassVar[str]
    rule: str = "linear"
    reason: str | None = None

    def __init__(self, schema: Schema, *, append_only: bool = False) -> None:
        self.schema = schema
        self.arrow = schema.arrow
        self.append_only = append_only
        self.consolidated = False
        self.rows_in = 0
        self.rows_out = 0
        self.last_step_us = 0

    def start(self, context: StepContext) -> Change:  # noqa: ARG002
        """Return the output over empty inputs."""
        return Change.empty(self.arrow)

    def run(self, inputs: Sequence[Change], context: StepContext) -> Change:
        """Call `step` and keep the counters."""
        started = perf_counter_ns()
        output = self.step(inputs, context)
        self.last_step_us = (perf_counter_ns() - started) // 1000
        self.rows_in += sum(len(change) for change in inputs)
        self.rows_out += len(output)
        return output

    @abstractmethod
    def step(self, inputs: Sequence[Change], context: StepContext) -> Change:
        """Return the change of the output; at least one input is not empty."""

    # --- time
    # --------------------------------------------------------------------------------------------------
    @property
    def due_us(self) -> int | None:
        """When the output changes by itself as the clock passes, or None."""
        return None

    def is_due(self, context: StepContext) -> bool:
        """Whether there is something to do though no input has changed."""
        due_us = self.due_us
        return due_us is not None and due_us <= context.clock_us

    def bounds(self, inputs: Sequence[Bounds]) -> Bounds:  # noqa: ARG002
        """Return the bounds of the output columns, given those of each input.

        A bound promises that no later change of the output, insertion or retraction, holds a smaller value
        in that column; NULLs are outside of it. Only what surely holds may be promised: the columns by which
        the operator keeps rows apart, where they have bounds in every input that can reach them. See
        `engine.frontier`.
        """
        return {}

    def forget(self, inputs: Sequence[Bounds]) -> None:  # noqa: B027
        """Free state that no later change can reach; called after every step.

        `inputs` has, per input, the smallest values in microseconds that its columns may still hold, in
        insertions and in retractions. Rows below are final: no change of the output will concern them, so
        what is kept for them alone may go; rows with NULL stay. It may be done later, and must cost little
        when there is little to free (see `engine.sweep`).
        """

    def can_free(self, inputs: Sequence[Bounds]) -> str | None:  # noqa: ARG002
        """Return by which columns state is freed, or why it is not; None where none is kept.

        `inputs` has an entry for every column that can have a bound.
        """
        return None if self.rule == "linear" else "keeps all: this operator has no rule for freeing"

    @property
    def error(self) -> str | None:
        """Why the output has no answer at present, or None; it goes on taking changes meanwhile."""
        return None

    @property
    def detail(self) -> str:
        """Keys, columns or expressions, for people."""
        return ""

    @property
    def state_rows(self) -> int:
        """Rows kept."""
        return 0

    @property
    def state_bytes(self) -> int:
        """Bytes kept."""
        return 0
