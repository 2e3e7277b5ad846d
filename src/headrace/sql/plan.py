"""The logical plan: what the SQL room hands to the engine room.

Every node names its output columns (unique within the node, compared exactly) and their types in `schema`.
Scalar work stands in `Project` and `Filter` only: keys, arguments, order columns of other nodes are plain
columns of their input. A scalar expression is DuckDB SQL over the input's columns, so that DuckDB can always
answer it; the engine may answer it with a kernel where tests prove the two equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from headrace.contracts.schema import Schema
from headrace.functions import PythonFunction
from headrace.sql.clock import at_moment


@dataclass(frozen=True, slots=True)
class Expr:
    """A scalar expression.

    Attributes:
        sql: DuckDB SQL over the input node's columns, every identifier quoted.
        columns: the input columns it reads.
        sql_type: DuckDB's type of the result.
    """

    sql: str
    columns: tuple[str, ...]
    sql_type: str


@dataclass(frozen=True, slots=True)
class Node:
    """Base of all plan nodes."""

    schema: Schema

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The nodes that this one reads."""
        return ()

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, inputs first."""
        for child in self.inputs:
            yield from child.walk()
        yield self


@dataclass(frozen=True, slots=True)
class Scan(Node):
    """The rows of a stream, table, side table (`orders__late`) or other view; only needed columns."""

    relation: str
    columns: tuple[str, ...]
    """Column names in the relation; `schema` has their (possibly other) names in the plan, same order."""


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """Rows that depend on nothing: DuckDB's answer to `sql`, columns by position."""

    sql: str


@dataclass(frozen=True, slots=True)
class Filter(Node):
    """Rows for which the predicate is TRUE (not FALSE, not NULL)."""

    input: Node
    predicate: Expr

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class NowFilter(Node):
    """Rows whose time has come and not gone, by the engine's clock N (UTC).

    A row is there while, for each (column, offset in microseconds) of `begins`, N ≥ column + offset, and for
    each of `ends`, N < column + offset. A NULL in one of these columns: never. Times without a zone are UTC,
    a DATE is its midnight.
    """

    input: Node
    begins: tuple[tuple[str, int], ...]
    ends: tuple[tuple[str, int], ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Final(Node):
    """Only rows that no later change can concern: those whose `column` has passed the watermark."""

    input: Node
    column: str

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Refreshed(Node):
    """Rows that are computed beside the steps, every so many microseconds, and handed over."""

    every_us: int


@dataclass(frozen=True, slots=True)
class Project(Node):
    """One expression for each output column, in the order of `schema`."""

    input: Node
    exprs: tuple[Expr, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Hop(Node):
    """Each row once per window that contains it: the input's columns, then `window_start`, `window_end`.

    Windows are half open, [start, start + size), aligned to the Unix epoch (1970-01-01 00:00 UTC). TUMBLE is
    slide = size. CUMULATE is `is_cumulative`: in each span of `size`, windows from its start that end after
    one, two, … slides, up to the whole size, which is a multiple of the slide. Rows whose time is NULL or
    infinite are in no window.
    """

    input: Node
    time: str
    slide_us: int
    size_us: int
    is_cumulative: bool = False

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Session(Node):
    """Each row with the bounds of its session: the input's columns, then `window_start`, `window_end`.

    The rows of a key (NULL equals NULL) in order of time form sessions; a distance of more than `gap_us`
    starts a new one. `window_start` is the time of the first row, `window_end` that of the last plus the gap.
    Rows whose time is NULL or infinite are in none. Without keys all rows are of one key.
    """

    input: Node
    time: str
    keys: tuple[str, ...]
    gap_us: int

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class UnionAll(Node):
    """The rows of all inputs; column i of the output is column i of each input, types already equal."""

    parts: tuple[Node, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.parts


@dataclass(frozen=True, slots=True)
class SetOp(Node):
    """INTERSECT or EXCEPT of two inputs, whose columns count by position and have equal types; NULL equals
    NULL.

    Attributes:
        parts: left and right.
        kind: `intersect` or `except`.
        is_all: a row comes as often as ALL has it (the smaller weight, or the difference), else once.
    """

    parts: tuple[Node, ...]
    kind: str
    is_all: bool

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.parts


@dataclass(frozen=True, slots=True)
class Unnest(Node):
    """Each row once per element of its lists, which go side by side, shorter ones filled up with NULL.

    Output: the input's columns but for the lists, then one element column per list, then the ordinality.

    Attributes:
        lists: LIST columns of the input.
        ordinality: the last column, BIGINT from 1, or None.
        keeps_empty: a row whose lists are all empty or NULL stays, with NULLs.
    """

    input: Node
    lists: tuple[str, ...]
    ordinality: str | None = None
    keeps_empty: bool = False

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)

    @property
    def made(self) -> int:
        """How many columns it adds at the end."""
        return len(self.lists) + (self.ordinality is not None)


@dataclass(frozen=True, slots=True)
class Recursive(Node):
    """What `WITH RECURSIVE` means: the base, and again and again the step over what came last.

    `step` is a plan of its own, whose scans read `name` (the rows that came last) and `aliases` (one per
    part). It is monotone and linear in `name`: filters, projections, joins, unions. So the answer without ALL
    is the smallest set that holds the base and its own step; with ALL the sum of all rounds, which must end.

    Attributes:
        base: the rows of the first round.
        parts: what else the step reads.
        aliases: one relation name per part, in `step`.
        step: the rows of the next round.
        name: the relation name of the last round, in `step`.
        is_all: UNION ALL, else UNION.
    """

    base: Node
    parts: tuple[Node, ...]
    aliases: tuple[str, ...]
    step: Node
    name: str
    is_all: bool

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.base, *self.parts)


@dataclass(frozen=True, slots=True)
class Equality:
    """`inputs[left].left_column = inputs[right].right_column`; both of one SQL type; NULL equals nothing."""

    left: int
    left_column: str
    right: int
    right_column: str


@dataclass(frozen=True, slots=True)
class Join(Node):
    """Inner join of N inputs on equalities; output columns are those of all inputs in order, names unique.

    `residual`, if any, is a predicate over the output columns. Inputs that no equality connects are crossed.
    """

    parts: tuple[Node, ...]
    equalities: tuple[Equality, ...]
    residual: Expr | None = None

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.parts


@dataclass(frozen=True, slots=True)
class Range:
    """`low <= point <= high`: a column of one side of a join lies between two of the other, or beyond one.

    All have one SQL type, whose values are told apart by an eight-byte order word: integers, floats, dates,
    times, timestamps, decimals of at most 18 digits.

    Attributes:
        point: the column that lies between.
        point_is_right: whether it is a column of the right side.
        low: the lower end, None where there is none.
        high: the upper end, None where there is none.
        low_is_open: the lower end itself is out.
        high_is_open: the upper end itself is out.
        sql: the condition as it was found, for people and for what it says about time.
    """

    point: str
    point_is_right: bool
    low: str | None
    high: str | None
    low_is_open: bool
    high_is_open: bool
    sql: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns compared."""
        return tuple(name for name in (self.point, self.low, self.high) if name is not None)


@dataclass(frozen=True, slots=True)
class MatchJoin(Node):
    """A join of two inputs in which it counts whether a row has a match (LEFT, FULL, SEMI, ANTI), or which
    finds its pairs by a range (these and inner).

    A left and a right row match when all equalities hold (NULL equals nothing), the range holds and the
    residual is TRUE. No equality at all: all rows have the same key. Output of `left`, `full` and `inner`:
    the columns of both, in order, NULLs where a row has no match; of `semi` and `anti`: the left columns.
    RIGHT is LEFT with its sides exchanged.

    Attributes:
        kind: `left`, `full`, `semi`, `anti` or `inner`.
        equalities: pairs of a left and a right column, both of one SQL type.
        residual: a predicate over the columns of both sides.
        range: how the rows of one key are found without looking at all of them.
    """

    left: Node
    right: Node
    kind: str
    equalities: tuple[tuple[str, str], ...]
    residual: Expr | None = None
    range: Range | None = None

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.left, self.right)


@dataclass(frozen=True, slots=True)
class AggCall:
    """One aggregate of an `Aggregate`.

    Attributes:
        name: output column.
        func: lower case, as DuckDB names it: `sum`, `count`, `count_star`, `avg`, `quantile_cont`, …
        args: input columns; constants (the fraction of a quantile) stand in `sql` only.
        distinct: `count(DISTINCT x)`.
        filter: a BOOLEAN input column, or None.
        sql: the whole call as DuckDB SQL over the input's columns: the meaning, and what runs without a rule.
        sql_type: DuckDB's type of the result.
        params: constant arguments after the columns, such as the fraction of a quantile, as SQL literals.
        order: ORDER BY inside the call; the call reads `args`, `filter` and the columns of `order`.
    """

    name: str
    func: str
    args: tuple[str, ...]
    distinct: bool
    filter: str | None
    sql: str
    sql_type: str
    params: tuple[str, ...] = ()
    order: tuple[OrderKey, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every input column that the call reads."""
        kept = (self.filter,) if self.filter is not None else ()
        return tuple(dict.fromkeys((*self.args, *(key.column for key in self.order), *kept)))


@dataclass(frozen=True, slots=True)
class Aggregate(Node):
    """GROUP BY: output is the keys, then one column per call. No keys: one row, also over no input."""

    input: Node
    keys: tuple[str, ...]
    calls: tuple[AggCall, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Distinct(Node):
    """Each row of the input once."""

    input: Node

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class OrderKey:
    """One ORDER BY column of the input."""

    column: str
    descending: bool = False
    nulls_first: bool = False


@dataclass(frozen=True, slots=True)
class TopN(Node):
    """The first rows of each partition in order; ties break by the remaining columns ascending, NULLs last.

    `order` already ends with the tie-breaking columns when `rank` is `row_number` or None: total up to equal
    rows. `rank` adds `rank_column` (BIGINT) as the last column: `row_number`, `rank` or `dense_rank` over
    the declared keys (`rank_keys` of them); rows with rank <= limit stay. Without `rank`: LIMIT and OFFSET.
    `limit` is None for OFFSET alone.
    """

    input: Node
    partition: tuple[str, ...]
    order: tuple[OrderKey, ...]
    limit: int | None
    offset: int = 0
    rank: str | None = None
    rank_column: str | None = None
    rank_keys: int = 0

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Frame:
    """From where to where the rows of a window function lie, seen from its own row.

    Attributes:
        unit: `rows` or `range`.
        start: None for UNBOUNDED PRECEDING, 0 for CURRENT ROW, −n for n PRECEDING, n for n FOLLOWING: rows,
            or (with `range`) units of the order column, microseconds where it is a time.
        end: the same; None for UNBOUNDED FOLLOWING.
    """

    unit: str
    start: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class OverCall:
    """One window function of an `Over`.

    Attributes:
        name: output column.
        func: lower case, such as `sum`, `lag`, `row_number`.
        args: input columns; `params` are the constants after them, as SQL.
        frame: None where it is none that `Frame` can say, or the call says more than this (DISTINCT, EXCLUDE,
            IGNORE NULLS, an order of its own): `sql` alone has the meaning.
        filter: a BOOLEAN input column, or None.
        peers: rows that agree in so many of the node's first order columns are peers.
        sql: the whole call with its OVER as DuckDB SQL over the input's columns.
        sql_type: DuckDB's type of the result.
        columns: every input column that the call reads.
        ignore_nulls: whether `first_value` and `last_value` pass over NULLs.
        near: how far `sql` looks at most, where that is bounded; None: nobody can tell.
        near_sql: with `near`, the call partitioned by `SEGMENT_COLUMN` too.
    """

    name: str
    func: str
    args: tuple[str, ...]
    params: tuple[str, ...]
    frame: Frame | None
    filter: str | None
    peers: int
    sql: str
    sql_type: str
    columns: tuple[str, ...]
    ignore_nulls: bool = False
    near: Frame | None = None
    near_sql: str | None = None


@dataclass(frozen=True, slots=True)
class Over(Node):
    """Window functions over one partitioning: the input's columns, then one for each call.

    The order of each call is a prefix of `order`; rows that agree in all of it stand in any order.
    """

    input: Node
    partition: tuple[str, ...]
    order: tuple[OrderKey, ...]
    calls: tuple[OverCall, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Succession(Node):
    """Each version of a key, until the smallest start among those that come after it in their order.

    Output: the input's other columns, `start` where it is not one of them already, and the end.

    Attributes:
        keys: whose versions they are.
        order: BIGINT, the place of a version among those of its key.
        deleted: BOOLEAN, whether it only ends the others; of two with the same place it comes last.
        start: TIMESTAMP.
        is_strict: no two versions of a key are alike in all columns.
    """

    input: Node
    keys: tuple[str, ...]
    order: str
    deleted: str
    start: str
    is_strict: bool = False

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class Recompute(Node):
    """DuckDB's answer over the whole of the inputs: correct, and it costs their size at every step.

    `sql` reads the inputs under `aliases`, one table name per part; `reason` names the SQL without a rule.
    """

    parts: tuple[Node, ...]
    aliases: tuple[str, ...]
    sql: str
    reason: str

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.parts


@dataclass(frozen=True, slots=True)
class AsofJoin(Node):
    """Each left row with the nearest right row of its key: the last one before it, or the first one after it.

    Nearest among the right rows for which `left_column` `op` `right_column` holds: the greatest
    `right_column` for `>=` and `>`, the smallest for `<=` and `<`. NULL matches nothing. Of right rows that
    are equally near, the first by all columns ascending, NULLs last. Output: the columns of both, in order.

    Attributes:
        kind: `inner`, or `left`: left rows without a match stay, with NULLs.
        equalities: pairs of a left and a right column, both of one SQL type.
        op: `>=`, `>`, `<=` or `<`.
    """

    left: Node
    right: Node
    kind: str
    equalities: tuple[tuple[str, str], ...]
    left_column: str
    op: str
    right_column: str

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.left, self.right)


KEY_COLUMN = "_key"
"""The number of a row's key, in what `Touched` reads and answers."""
SEGMENT_COLUMN = "_segment"
"""The number of a stretch of rows, in what the calls of an `Over` read that DuckDB answers."""
PLACE_COLUMN = "_place"
"""Beside it, the place of each row: what tells rows apart that are alike in all else."""


@dataclass(frozen=True, slots=True)
class Touched(Node):
    """DuckDB's answer key by key: a change costs the rows of the keys that it touches.

    The engine numbers the distinct keys (NULL equals NULL) and shows each part under its alias with one
    more column before its own: `_key` BIGINT, the number of the row's key. `sql` answers `_key` and then the
    columns of `schema`; what it answers under a key must depend on the rows of that key alone. A key without
    rows in any part has no answer, so without key columns nothing is answered over empty parts.

    Attributes:
        parts: the inputs.
        keys: per part its key columns; as many for each, of the same types.
        aliases: one table name per part.
        sql: the query over those tables.
        reason: names the SQL without a better rule.
    """

    parts: tuple[Node, ...]
    keys: tuple[tuple[str, ...], ...]
    aliases: tuple[str, ...]
    sql: str
    reason: str

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.parts


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """One call of a Python function over columns: the output column's name, the function, its arguments."""

    name: str
    function: PythonFunction
    args: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        """Every input column that the call reads."""
        return self.args

    @property
    def sql(self) -> str:
        """The call as SQL."""
        return f"{self.function.name}({', '.join(self.args)})"


@dataclass(frozen=True, slots=True)
class PythonCall(Node):
    """The input's columns, then the answer of each call; equal arguments have one answer while rows hold
    them.
    """

    input: Node
    calls: tuple[FunctionCall, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return (self.input,)


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """A view, ready for the engine.

    Attributes:
        name: the view's name.
        sql: as the user wrote it.
        reference_sql: the same meaning in plain DuckDB SQL over tables named like the relations.
        root: the plan; `root.schema` has the user's column names.
        relations: every relation that is read, lower case.
        order: ORDER BY of the outermost query, kept for presentation only (a view is a bag).
        unique_key: output columns that identify a row when the plan guarantees it (group keys), else None.
        event_time_columns: output columns that are monotone in a stream's event time (window bounds).
        emit: `final`: only rows that no later change can concern; None: every row as it is now.
        refresh: how often the view is computed anew beside the steps; None: it moves with every step.
    """

    name: str
    sql: str
    reference_sql: str
    root: Node
    relations: tuple[str, ...]
    order: tuple[OrderKey, ...] = ()
    unique_key: tuple[str, ...] | None = None
    event_time_columns: tuple[str, ...] = field(default_factory=tuple)
    emit: str | None = None
    refresh: timedelta | None = None

    @property
    def schema(self) -> Schema:
        """The view's columns."""
        return self.root.schema

    @property
    def reads_clock(self) -> bool:
        """Whether rows come or go as time passes."""
        return any(isinstance(node, NowFilter) for node in self.root.walk())

    def reference_at(self, clock: datetime) -> str:
        """Return the reference SQL with now() read as a moment."""
        return at_moment(self.reference_sql, clock) if self.reads_clock else self.reference_sql
