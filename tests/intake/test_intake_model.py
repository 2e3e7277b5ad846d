"""The intake against a model in plain Python, through failing disks, restarts and jumping clocks.

Ids, keys, words and times come from small ranges, so that repeats, conflicts, late rows and ids that ran
out of their window happen all the time. After every step the sum of what the log holds must be what the
model holds, because that is all that the engine ever sees.
"""

from __future__ import annotations

import copy
import errno
import json
import shutil
import tempfile
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.conftest import Torture
from tests.intake.model import REJECTED, ModelBag, ModelStream, ModelTable, Row, told
from tests.intake.samples import (
    ORDERS,
    SECOND_US,
    START,
    START_US,
    STREAMS,
    TABLES,
    Clock,
    call,
    plain,
)
from tests.log.faulty import FaultyFiles

from headrace.errors import IdempotencyConflict, RowsRejected, StorageError
from headrace.intake import Call, Intake
from headrace.log import Commit, Log, Record, Step

Calls = list[tuple[str, str, list[Row]]]
SEEDS = st.integers(0, 2**32)
"""Rows are drawn from a seed: Hypothesis chooses and shrinks what happens, not each value of each row."""


def draw_calls(seed: int, base_us: int) -> Calls:
    """Return one to three calls with rows from small ranges, times around `base_us`."""
    random = Random(seed)
    calls: Calls = []
    for _ in range(random.choice([1, 1, 2, 3])):
        kind = random.choice(["append", "append", "upsert", "upsert", "delete"])
        names = ["orders", "orders", "plain"] if kind == "append" else ["keyed", "sequenced", "bag"]
        one = draw_event if kind == "append" else draw_row
        rows = [one(random, base_us) for _ in range(random.randrange(10))]
        calls.append((kind, random.choice(names), rows))
    return calls


def draw_event(random: Random, base_us: int) -> Row:
    away = random.choice([random.randint(-3, 3), random.randint(-40, 40), random.randint(-4000, 4000)])
    at = None if random.random() < 0.03 else (base_us // SECOND_US // 5 * 5 + away) * SECOND_US
    number = None if random.random() < 0.03 else random.randrange(40)
    return {"id": number, "at": at, "word": random.choice("xxxy")}


def draw_row(random: Random, _: int) -> Row:
    a = None if random.random() < 0.03 else random.randrange(4)
    b = None if random.random() < 0.03 else random.choice("pq")
    seq = None if random.random() < 0.03 else random.randrange(4)
    return {"a": a, "b": b, "seq": seq, "word": random.choice(["x", "y", None])}


class Model:
    """All relations, and the clock."""

    def __init__(self) -> None:
        self.clock_us = START_US
        self.commits = 0
        self.orders = ModelStream(10 * SECOND_US, 60 * SECOND_US, 3600 * SECOND_US, 300 * SECOND_US)
        self.plain: list[Row] = []
        self.tables = {"keyed": ModelTable(False), "sequenced": ModelTable(True)}
        self.bag = ModelBag()

    def submit(self, calls: Calls, *, keyed: bool) -> tuple[list[list[int]], bool]:
        """Return the statuses of each call, and whether something had to be written."""
        before = self._size()
        watermark_us = self.orders.watermark(self.clock_us)
        heard: list[Row] = []
        answers: list[list[int]] = []
        for kind, relation, rows in calls:
            answers.append(self._call(kind, relation, rows, watermark_us))
            if relation == "orders":
                heard.extend(rows)
        order_statuses = [
            s for (_, name, _), a in zip(calls, answers, strict=True) if name == "orders" for s in a
        ]
        self.orders.hear(self.clock_us, heard, order_statuses)
        written = keyed or self._size() != before
        self.commits += written
        return answers, written

    def _size(self) -> tuple[int, ...]:
        """What grows with every change, also with those that take each other back within a commit."""
        tables: list[ModelTable | ModelBag] = [*self.tables.values(), self.bag]
        orders = self.orders
        side = [len(orders.rejected), *(len(table.rejected) for table in tables)]
        rows = [len(orders.rows), len(orders.late), len(self.plain)]
        return (*rows, *side, *(table.changes for table in tables))

    def _call(self, kind: str, relation: str, rows: list[Row], watermark_us: int | None) -> list[int]:
        if relation == "orders":
            return self.orders.append(rows, self.clock_us, watermark_us)
        if relation == "plain":
            self.plain.extend(rows)
            return [0] * len(rows)
        table: ModelTable | ModelBag = self.bag if relation == "bag" else self.tables[relation]
        return table.delete(rows) if kind == "delete" else table.upsert(rows)

    def content(self) -> dict[str, Counter[str]]:
        """Return the rows of every relation."""
        orders, keyed, sequenced = self.orders, self.tables["keyed"], self.tables["sequenced"]
        return {
            "orders": Counter(map(told, orders.rows)),
            "orders__late": Counter(map(told, orders.late)),
            "orders__rejected": Counter(orders.rejected),
            "plain": Counter(map(told, self.plain)),
            "keyed": Counter(map(told, keyed.held.values())),
            "keyed__rejected": Counter(keyed.rejected),
            "sequenced": Counter(map(told, sequenced.held.values())),
            "sequenced__rejected": Counter(sequenced.rejected),
            "bag": +self.bag.held,
            "bag__rejected": Counter(self.bag.rejected),
        }


def from_text(text: str) -> str:
    """A rejected row's JSON text as the model tells it: times in microseconds."""
    value: dict[str, Any] = json.loads(text)
    if isinstance(value.get("at"), str):
        moment = datetime.fromisoformat(value["at"]).astimezone(UTC)
        value["at"] = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return told(value)


class IntakeAgainstModel(RuleBasedStateMachine):
    """Submits the same calls to both."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.files = FaultyFiles()
        self.clock = Clock()
        self.model = Model()
        self.keys: dict[str, tuple[list[Any], list[list[int]], int]] = {}
        self.steps = 0
        self._open()

    def _open(self) -> None:
        self.log = Log.open(self.folder, files=self.files, segment_bytes=4_000)
        self.intake = Intake(STREAMS, TABLES, self.log, self.clock)
        self.held: dict[str, Counter[str]] = {}
        for record in self.log.records():
            self.intake.recover(record)
            self._hear(record)
        self._read_clock()
        self.intake._read_clock()  # a clock that goes back before it is first read was never seen
        self.log.on_durable(self._hear)

    def _hear(self, record: Record) -> None:
        """Add up what the log says is durable, as the engine does."""
        for relation, change in record.changes.items() if isinstance(record, Commit) else ():
            held = self.held.setdefault(relation, Counter())
            if relation.endswith("__rejected"):
                texts = [from_text(text) for text in change.rows.column("row").to_pylist()]
            else:
                texts = [told(row) for row in plain(change.rows)]
            for text, weight in zip(texts, change.weights.tolist(), strict=True):
                held[text] += weight
                assert held[text] >= 0 or weight > 0

    def teardown(self) -> None:
        self.log.close()
        shutil.rmtree(self.folder)

    def _draw(self, seed: int) -> Calls:
        self._read_clock()
        return draw_calls(seed, self.model.clock_us)

    def _read_clock(self) -> None:
        now_us = START_US + (self.clock.now - START) // timedelta(microseconds=1)
        self.model.clock_us = max(self.model.clock_us, now_us)

    @staticmethod
    def _calls(calls: Calls) -> list[Call]:
        return [call(kind, name, rows) for kind, name, rows in calls]  # type: ignore[arg-type]

    # --- rules --------------------------------------------------------------------------------------
    @rule(seed=SEEDS, fails=st.booleans(), strict=st.booleans())
    def submit(self, seed: int, fails: bool, strict: bool) -> None:
        calls = self._draw(seed)
        after = copy.deepcopy(self.model)
        expected, written = after.submit(calls, keyed=False)
        refused = strict and any(REJECTED in statuses for statuses in expected)
        if fails and written and not refused:
            self._fail(calls)
        on_reject = "raise" if strict else "keep"
        if refused:
            with pytest.raises(RowsRejected):
                self.intake.submit(self._calls(calls), on_reject=on_reject)
            return
        results = self.intake.submit(self._calls(calls), on_reject=on_reject)
        self.model = after
        assert [result.statuses.tolist() for result in results] == expected
        assert {result.commit for result in results} == {after.commits if written else None}
        assert all(len(result.rejections) == result.rejected for result in results)

    def _fail(self, calls: Calls) -> None:
        """Submit while the disk fails: nothing may come of it."""
        self.files.failing["sync"] = errno.EIO
        for _ in range(2):
            with pytest.raises(StorageError):
                self.intake.submit(self._calls(calls))
        self.files.failing.clear()

    @rule(seed=SEEDS, key=st.sampled_from(["k1", "k2", "k3", "k4"]))
    def submit_with_a_key(self, seed: int, key: str) -> None:
        calls = self._draw(seed)
        if key in self.keys:
            first, expected, commit = self.keys[key]
            with pytest.raises(IdempotencyConflict):
                self.intake.submit([*self._calls(first), call("append", "plain", [])], idempotency_key=key)
            results = self.intake.submit(self._calls(first), idempotency_key=key)
            assert all(result.replayed for result in results)
            assert {result.commit for result in results} == {commit}
        else:
            expected, _ = self.model.submit(calls, keyed=True)
            results = self.intake.submit(self._calls(calls), idempotency_key=key)
            assert not any(result.replayed for result in results)
            self.keys[key] = (calls, expected, self.model.commits)
        assert [result.statuses.tolist() for result in results] == expected

    @rule(seed=SEEDS)
    def repeat(self, seed: int) -> None:
        """The same rows again, as a client sends them that did not hear the first answer."""
        calls = self._draw(seed)
        for _ in range(2):
            expected, written = self.model.submit(calls, keyed=False)
            results = self.intake.submit(self._calls(calls))
            assert [result.statuses.tolist() for result in results] == expected
            assert {result.commit for result in results} == {self.model.commits if written else None}

    @rule(seconds=st.sampled_from([0.5, 5, 30, 70, 300, -100]))
    def time_passes(self, seconds: float) -> None:
        self.clock.forward(seconds)

    @rule()
    def tick(self) -> None:
        self._read_clock()
        orders = self.model.orders
        moved_us = orders.watermark(self.model.clock_us)
        moved = self.intake.tick()
        stood = [us for us in (orders.base_us, orders.floor_us) if us is not None]
        if moved_us is not None and moved_us > max(stood):
            assert moved == {"orders": START + timedelta(microseconds=moved_us - START_US)}
            orders.floor_us = moved_us
            self.steps += 1
            self.log.append(Step(self.steps, self.model.commits, self.intake.clock, moved)).wait()
        else:
            assert moved == {}

    @rule(crashed=st.booleans())
    def restart(self, crashed: bool) -> None:
        if crashed:
            self.files.failing["sync"] = errno.EIO
            with pytest.raises(StorageError):
                self.intake.submit([call("append", "plain", [{"id": 1, "at": None, "word": "lost"}])])
            self.files.failing.clear()
        self.clock.now = max(self.clock.now, START + timedelta(microseconds=self.model.clock_us - START_US))
        self.log.close()
        self._open()

    # --- what must hold -----------------------------------------------------------------------------
    @invariant()
    def the_log_holds_what_the_model_holds(self) -> None:
        for relation, expected in self.model.content().items():
            held = self.held.get(relation, Counter())
            assert min(held.values(), default=0) >= 0
            assert +held == expected, relation

    @invariant()
    def tables_show_what_the_log_holds(self) -> None:
        content = self.model.content()
        for name in TABLES:
            table = self.intake.contents(name)
            held = Counter(told(row) for row in table.to_pylist())
            assert held == content[name]

    @invariant()
    def watermarks_agree(self) -> None:
        clock_us = START_US + (self.intake.clock - START) // timedelta(microseconds=1)
        expected = self.model.orders.watermark(clock_us)
        shown = self.intake.watermarks.get(ORDERS.name)
        assert shown == (None if expected is None else START + timedelta(microseconds=expected - START_US))


TestIntakeAgainstModel = IntakeAgainstModel.TestCase
TestIntakeAgainstModel.settings = settings(stateful_step_count=40)


@pytest.mark.torture(weight=0.5)
def test_many_long_lives(torture: Torture) -> None:
    # Without making it small, which has no bound on its time: the seed tells the program again.
    long = settings(
        max_examples=20, stateful_step_count=80, deadline=None, database=None, phases=[Phase.generate]
    )

    def case(number: int) -> None:
        lives = type("Lives", (IntakeAgainstModel,), {})
        run_state_machine_as_test(seed(number)(lives), settings=long)

    torture.play(case, worth=20)
