"""What every operator of a circuit is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter_ns
from typing import ClassVar

from headrace.change import Change
from headrace.contracts.schema import Schema
from headrace.engine.duck import Duck


@dataclass(frozen=True, slots=True)
class StepContext:
    """What a step knows beside the changes.

    Attributes:
        duck: for what kernels cannot.
        clock: the engine's clock, UTC, or None while history is loaded.
        watermarks: per stream, UTC.
    """

    duck: Duck
    clock: datetime | None = None
    watermarks: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OperatorInfo:
    """One operator as `explain` shows it.

    Attributes:
        name: the operator, such as `aggregate`.
        rule: how it takes changes: `linear`, `delta join`, `ordered range`, `distinct set`, `accumulators`,
            `touched groups` or `recomputed`.
        detail: keys, columns or expressions.
        state_rows: rows kept.
        state_bytes: bytes kept.
        last_step_us: time of its last step that had something to do, microseconds.
        rows_in: rows taken in so far.
        rows_out: rows given out so far.
        reason: why this rule and no cheaper one, or None.
        inputs: the operators below.
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
