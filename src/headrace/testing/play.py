"""Plays a conformance case: feeds a run and the oracle alike, and compares what both say.

After every call the fate of each row is compared with the oracle's; after an `advance`, where the case says
`always check`, every view with DuckDB's answer and the sum of its changes with the view.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from headrace.app import App
from headrace.change import VERSION, WEIGHT
from headrace.contracts.durations import duration
from headrace.contracts.schema import Schema
from headrace.contracts.types import sql_type
from headrace.declarations import StreamDecl, TableDecl
from headrace.errors import DeclarationError, HeadraceError, VersionGone, ViewInError
from headrace.results import RowStatus
from headrace.testing.cases import Block, Case
from headrace.testing.clock import ManualClock
from headrace.testing.compare import PlainRow, bag, bag_difference, plain, plain_rows
from headrace.testing.oracle import ExpectedError, Oracle, utc
from headrace.testing.values import read_value

_EXPECTED_COMPLAINT = "a checkpoint of other declarations is passed over"
Opener = Callable[[App, Path | None, ManualClock], Any]
"""Opens an app in a folder, or in memory, under a clock; what it returns has the methods of `hr.Run`."""
Prepare = Callable[[App, Case], None]
"""Declares on the app of a case what a case cannot say, such as Python functions."""


class MismatchError(AssertionError):
    """A case did not go as it says: the step, the difference and the whole case, ready to be kept."""


@dataclass(frozen=True, slots=True)
class Runner:
    """Something that runs apps.

    Attributes:
        name: what `xfail` lines of a case call it.
        open: opens an app.
    """

    name: str
    open: Opener


def embedded() -> Runner:
    """Return the runner of this process: `App.open`."""
    return Runner("embedded", lambda app, folder, clock: app.open(folder, clock=clock))


def build(case: Case) -> App:
    """Return the app that a case declares.

    Raises:
        DeclarationError: a declaration makes no sense.
    """
    app = App(case.name)
    for block in case.declared:
        options: dict[str, Any] = dict(block.options)
        if block.word == "view":
            app.view(block.name, block.sql, **options)
        elif block.word == "stream":
            app.stream(block.name, block.sql, **options)
        else:
            key = options.pop("key", None)
            app.table(block.name, block.sql, key=key.split(",") if key else None, **options)
    return app


def play(
    case: Case,
    runner: Runner | None = None,
    *,
    prepare: Prepare | None = None,
    folders: Path | None = None,
) -> None:
    """Play a case to its end.

    Args:
        case: what to play.
        runner: on what; None: in this process.
        prepare: called with the app before it is opened, to declare the Python functions that the case calls.
        folders: where the folder of a case is made that checkpoints or opens again; None: where the system
            has its temporary files.

    Raises:
        MismatchError: something is not as the case, the oracle or DuckDB says.
    """
    with ExitStack() as stack:
        complaints = stack.enter_context(_complaints())
        player = Player(case, runner or embedded(), stack, prepare, folders)
        for block in case.steps:
            try:
                player.step(block)
            except (MismatchError, DeclarationError):
                raise
            except HeadraceError as error:
                raise player.failed(block, f"{type(error).__name__}: {error}") from error
            if complaints:
                raise player.failed(block, f"the log complains: {complaints[0]}")


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Collect what Headrace logs as a warning or worse: a view that was built anew looks right afterwards.

    That a checkpoint of other declarations is passed over is as it should be after a change.
    """
    found: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.addFilter(lambda record: not record.getMessage().startswith(_EXPECTED_COMPLAINT))
    handler.emit = lambda record: found.append(logging.Formatter().format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("headrace")
    logger.addHandler(handler)
    try:
        yield found
    finally:
        logger.removeHandler(handler)


class Player:
    """One case at play.

    Args:
        case: what to play.
        runner: on what.
        stack: closes the run and the folder.
        prepare: declares what the case cannot say.
        folders: where a folder is made, if the case needs one.
    """

    def __init__(
        self,
        case: Case,
        runner: Runner,
        stack: ExitStack,
        prepare: Prepare | None = None,
        folders: Path | None = None,
    ) -> None:
        self.case = case
        self.app = build(case)
        if prepare is not None:
            prepare(self.app, case)
        self.clock = ManualClock(datetime.fromisoformat(case.start))
        self.oracle = stack.enter_context(Oracle(self.app))
        self._runner = runner
        self._folder: Path | None = None
        if any(block.word in ("reopen", "checkpoint") for block in case.steps):
            self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=folders)))
        self.run = runner.open(self.app, self._folder, self.clock)
        stack.callback(lambda: self.run.close())
        self.oracle.open(self.clock())
        self._moment = self.clock()
        self._transaction: ExitStack | None = None
        self._sums: dict[str, Counter[PlainRow]] = {}
        self._seen: dict[str, int] = {}
        self._told: dict[str, int] = {}
        self._rejected: Counter[str] = Counter()
        self._past: dict[int, dict[str, Counter[PlainRow]]] = {}
        self._answers: dict[str, pa.Table | ExpectedError] | None = None
        self._pending: list[tuple[Block, list[RowStatus]]] = []

    def failed(self, block: Block, problem: str) -> MismatchError:
        """Return the error of a step."""
        return MismatchError(f"line {block.line}, {block.word} {block.name}: {problem}\n\n{self.case.text()}")

    def step(self, block: Block) -> None:
        """Do what one block says."""
        getattr(self, f"_do_{block.word}")(block)

    # --- rows in ------------------------------------------------------------------------------------

    def _rows(self, block: Block, schema: Schema) -> list[dict[str, Any]]:
        names = schema.names
        return [row if isinstance(row, dict) else dict(zip(names, row, strict=False)) for row in block.rows()]

    def _do_append(self, block: Block) -> None:
        rows = self._rows(block, self.app.streams[block.name].schema)
        self._call(block, rows, self.oracle.append(block.name, rows, self.clock()))

    def _do_upsert(self, block: Block) -> None:
        rows = self._rows(block, self.app.tables[block.name].schema)
        self._call(block, rows, self.oracle.upsert(block.name, rows))

    def _do_delete(self, block: Block) -> None:
        decl = self.app.tables[block.name]
        keyed = decl.schema.select(decl.key) if decl.key else decl.schema
        rows = [
            row if isinstance(row, dict) else dict(zip(decl.schema.names, row, strict=False))
            for row in block.rows()
        ]
        if decl.effective:
            read = (*keyed.names, decl.sequence, decl.effective)
            rows = [{name: value for name, value in row.items() if name in read} for row in rows]
        elif decl.key:
            rows = [{name: row.get(name) for name in keyed.names} for row in rows]
        self._call(block, rows, self.oracle.delete(block.name, rows, self.clock()))

    def _call(self, block: Block, rows: list[dict[str, Any]], expected: list[RowStatus]) -> None:
        self._answers = None
        if self._transaction is not None:
            getattr(self._open, block.word)(block.name, rows)
            self._pending.append((block, expected))
            return
        self._compare_fates(block, getattr(self.run, block.word)(block.name, rows), expected)

    def _compare_fates(self, block: Block, answer: Any, expected: list[RowStatus]) -> None:
        got = [RowStatus(int(status)) for status in answer.statuses]
        self._rejected[block.name] += expected.count(RowStatus.REJECTED)
        if got != expected:
            shown = [f"row {at}: {g.name}, the oracle says {e.name}" for at, (g, e) in
                     enumerate(zip(got, expected, strict=True)) if g != e]  # fmt: skip
            reasons = "; ".join(f"row {r.index}: {r.reason}" for r in answer.rejections)
            raise self.failed(block, "; ".join([*shown, reasons]))
        for word, count in _counts(block.answer):
            if getattr(answer, word) != count:
                raise self.failed(block, f"{getattr(answer, word)} rows are {word}, not {count}")

    def _do_begin(self, _: Block) -> None:
        self._transaction = ExitStack()
        self._transaction.enter_context(self.oracle.commit(self.clock()))
        self._open = self._transaction.enter_context(self.run.transaction())

    def _do_commit(self, _: Block) -> None:
        assert self._transaction is not None
        self._transaction.close()
        self._transaction = None
        for (call, expected), answer in zip(self._pending, self._open.results, strict=True):
            self._compare_fates(call, answer, expected)
        self._pending = []

    # --- time ---------------------------------------------------------------------------------------

    def _do_advance(self, block: Block) -> None:
        self.run.advance()
        self._answers, self._moment = None, self.clock()
        self.oracle.advance(self._moment)
        if self.case.always:
            self._do_check(block)

    def _do_clock(self, block: Block) -> None:
        self._answers = None
        if block.rest.startswith("+"):
            self.clock.advance(duration(block.rest[1:]))
        else:
            self.clock.set(utc(datetime.fromisoformat(block.rest)))

    def _do_reopen(self, _: Block) -> None:
        self.run.close()
        self.run = self._runner.open(self.app, self._folder, self.clock)
        self._answers = None
        self.oracle.open(self.clock())

    def _do_checkpoint(self, _: Block) -> None:
        self.run.checkpoint()

    # --- definitions --------------------------------------------------------------------------------

    def _do_create(self, block: Block) -> None:
        self.run.create_view(block.name, block.sql, **dict(block.options))
        self._defined(block)

    def _do_replace(self, block: Block) -> None:
        self.run.replace_view(block.name, block.sql, **dict(block.options))
        self._defined(block)

    def _defined(self, block: Block) -> None:
        self.oracle.define(block.name, block.sql)
        self._forget_past(block.name)
        self._answers = None
        self._sums.clear()
        self._seen.clear()

    def _do_drop(self, block: Block) -> None:
        self.run.drop_view(block.name)
        self.oracle.drop(block.name)
        self._forget_past(block.name)

    def _do_refuse(self, block: Block) -> None:
        try:
            self.run.create_view(block.name, block.sql, **dict(block.options))
        except HeadraceError as error:
            if (block.answer or "") not in str(error):
                raise self.failed(block, f"refused, but not with {block.answer!r}: {error}") from None
            return
        raise self.failed(block, "the view is not refused")

    # --- what must be seen --------------------------------------------------------------------------

    def _do_expect(self, block: Block) -> None:
        if block.rest.startswith("error"):
            self._expect_error(block)
        elif block.rest == "by duckdb":
            self._expect_duckdb(block, block.name)
        else:
            self._expect_rows(block)

    def _expect_error(self, block: Block) -> None:
        try:
            self.run.read(block.name)
        except ViewInError as error:
            if (block.answer or "") not in str(error):
                raise self.failed(block, f"in error, but not with {block.answer!r}: {error}") from None
            return
        raise self.failed(block, "the view is not in error")

    def _expect_rows(self, block: Block) -> None:
        schema = self.run.relation(block.name).schema
        if block.rest == "in order":
            table = self.run.read(block.name).table
        else:
            table = self.run.snapshot(block.name)[1]
        if block.rest.startswith("("):
            schema = schema.select(re.findall(r"\w+", block.rest))
        got = list(plain_rows(table.select(list(schema.names))))
        wanted = [_expected_row(schema, row) for row in self._rows(block, schema)]
        if block.rest == "in order" and got != wanted:
            raise self.failed(block, f"in order it holds {got}, not {wanted}")
        wrong = bag_difference(Counter(got), Counter(wanted))
        if wrong is not None:
            raise self.failed(block, f"the view (left) is not what the case says (right)\n{wrong}")

    def _do_changes(self, block: Block) -> None:
        """Compare what changed since the last such step, added up."""
        summed: Counter[PlainRow] = Counter()
        for table in self.run.changes(block.name, since=self._told.get(block.name, 0)):
            _add(summed, table)
        self._told[block.name] = int(self.run.version)
        schema = self.run.relation(block.name).schema
        wanted: Counter[PlainRow] = Counter()
        for line in block.body:
            weight, _, row = line.partition(" ")
            rows = self._rows(Block(block.word, body=(row,), line=block.line), schema)
            wanted[_expected_row(schema, rows[0])] += int(weight)
        if _alive(summed) != _alive(wanted):
            raise self.failed(block, f"the changes are {dict(_alive(summed))}, not {dict(_alive(wanted))}")

    def _do_check(self, block: Block) -> None:
        for view in self.oracle.views:
            self._expect_duckdb(block, view)

    def _do_query(self, block: Block) -> None:
        """Compare every view as SQL reads it with the view as it is kept."""
        for view in self.oracle.views:
            with suppress(ViewInError):
                wrong = bag_difference(bag(self.run.query(f'FROM "{view}"')), bag(self.run.snapshot(view)[1]))
                if wrong is not None:
                    raise self.failed(block, f"{view} is read otherwise (left) than kept (right)\n{wrong}")

    def _do_sides(self, block: Block) -> None:
        """Compare what was put aside with what the oracle says: late rows, and how many were rejected."""
        self._do_advance(block)
        for name, decl in self.app.streams.items():
            names = decl.schema.names
            late = self.run.snapshot(decl.late_name)[1].select(list(names))
            wanted = (tuple(plain(row[column]) for column in names) for row in self.oracle.late(name))
            wrong = bag_difference(bag(late), Counter(wanted))
            if wrong is not None:
                raise self.failed(block, f"{decl.late_name} (left) is not what came late (right)\n{wrong}")
        bases: list[StreamDecl | TableDecl] = [*self.app.streams.values(), *self.app.tables.values()]
        for base in bases:
            count, wanted_count = len(self.run.snapshot(base.rejected_name)[1]), self._rejected[base.name]
            if count != wanted_count:
                problem = f"{base.rejected_name} holds {count} rows, {wanted_count} were rejected"
                raise self.failed(block, problem)

    def _do_past(self, block: Block) -> None:
        """Read every version that was checked once more, and add to it what has changed since."""
        self._do_advance(block)
        for number, views in self._past.items():
            for view, then in views.items():
                with suppress(VersionGone):
                    self._check_past(block, view, number, then)

    def _check_past(self, block: Block, view: str, number: int, then: Counter[PlainRow]) -> None:
        rows = bag(self.run.snapshot(view, as_of=number)[1])
        if rows != then:
            wrong = f"{dict(rows - then)} too many, {dict(then - rows)} too few"
            raise self.failed(block, f"{view} is read of version {number} otherwise than it was: {wrong}")
        try:
            now = bag(self.run.snapshot(view)[1])
        except ViewInError:
            return
        summed = Counter(then)
        for table in self.run.changes(view, since=number):
            _add(summed, table)
        if _alive(summed) != now:
            wrong = f"{dict(_alive(summed) - now)} too many, {dict(now - _alive(summed))} too few"
            raise self.failed(block, f"{view} of version {number} and its changes are not its rows: {wrong}")

    def _forget_past(self, view: str) -> None:
        """Forget what a view was under another definition."""
        for views in self._past.values():
            views.pop(view, None)

    def _expect_duckdb(self, block: Block, view: str) -> None:
        if self._answers is None:
            self._answers = self.oracle.answers(clock=self._moment)
        expected = self._answers[view]
        if isinstance(expected, ExpectedError):
            if expected.is_limit:
                return
            with suppress(ViewInError):
                self.run.snapshot(view)
                raise self.failed(block, f"{view} has an answer, where DuckDB has an error: {expected}")
            return
        try:
            got = bag(self.run.snapshot(view)[1])
        except ViewInError as error:
            raise self.failed(block, f"{view} is in error, DuckDB has an answer\n{error}") from None
        wrong = bag_difference(got, bag(expected))
        if wrong is not None:
            raise self.failed(block, f"{view} (left) is not DuckDB's answer (right)\n{wrong}")
        self._check_sum(block, view, got)
        self._past.setdefault(int(self.run.version), {})[view] = got

    def _check_sum(self, block: Block, view: str, got: Counter[PlainRow]) -> None:
        for table in self._changes(view):
            _add(self._sums[view], table)
        self._seen[view] = int(self.run.version)
        summed = _alive(self._sums[view])
        if summed != got:
            wrong = f"{dict(summed - got)} too many, {dict(got - summed)} too few"
            raise self.failed(block, f"the changes of {view} do not add up to it: {wrong}")
        self._sums[view] = summed

    def _changes(self, view: str) -> Iterator[pa.Table]:
        self._sums.setdefault(view, Counter())
        try:
            yield from list(self.run.changes(view, since=self._seen.get(view)))
        except VersionGone:
            self._sums[view] = Counter()
            yield from self.run.changes(view, since=None)


def _counts(answer: str | None) -> list[tuple[str, int]]:
    """Return what stands after `->` of a call, such as `accepted 2, late 1`."""
    if not answer:
        return []
    found = re.findall(r"(accepted|repeated|late|rejected) (\d+)", answer)
    if not found:
        raise DeclarationError(f"{answer!r} says no counts", expected="such as: accepted 2, late 1")
    return [(word, int(count)) for word, count in found]


def _expected_row(schema: Schema, row: dict[str, Any]) -> PlainRow:
    values = (read_value(sql_type(column.sql_type), row.get(column.name)) for column in schema)
    return tuple(plain(value) for value in values)


def _add(sums: Counter[PlainRow], table: pa.Table) -> None:
    weights: Sequence[int] = table.column(WEIGHT).to_pylist()
    for row, weight in zip(plain_rows(table.drop_columns([WEIGHT, VERSION])), weights, strict=True):
        sums[row] += weight


def _alive(sums: Counter[PlainRow]) -> Counter[PlainRow]:
    return Counter({row: weight for row, weight in sums.items() if weight})
