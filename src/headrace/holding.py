"""A change of a few rows that derives very many: held back, computed aside, and put in place in one version.

One row of settings may weigh or derive a million rows of its tenant anew. In a step that would take seconds,
and the events of all other tenants would wait for it. So the commit is held back: it is durable and
acknowledged, and the versions that follow say that they do not have it yet (`Version.held`). A copy of the
views that it moves takes it beside the steps (`definitions.twin`); when the copy has seen all that the
running views have, the two are traded, and one version has the change in every view.

    commits     1  2  3*  4  5         * reaches a million rows
    versions    a: 1 2      b: 1 2 4 (held 3)      c: 1 2 4 5 (held 3)      d: 1 2 3 4 5

What may be held back is a commit of a few rows of keyed tables, and nothing else: such changes may enter the
views in any order, as long as those of one key stay in theirs. So a later change of the same key is held back
too; a commit that has more than that beside such a key makes all after it wait, as before, and so does one
that finds too much held back already: rows that wait are what senders are told to come later for. A crash
loses nothing: the log has the commit, and the records of the versions say which of them have it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headrace.change import Change
from headrace.definitions.twin import Twin
from headrace.engine.engine import Engine
from headrace.errors import HeadraceError
from headrace.functions import PythonFunction
from headrace.log.records import Commit, merged, rows_of
from headrace.points import reach
from headrace.results import HeldChange

if TYPE_CHECKING:
    from headrace.stepper import Stepper

logger = logging.getLogger("headrace")

COMMIT_ROWS_MAX = 1_000
"""Rows of a commit that may be held back; larger ones load data and set nothing."""
HELD_ROWS_MAX = 100_000
"""Rows that all commits held back may have; the next one that is to be waits, and all after it."""
CATCH_UP_ROWS = 2_000
"""Rows that the copy may lack when the steps are stopped for the trade."""
Offered = tuple[Commit, float]
"""A commit, and when it came (monotonic seconds)."""


@dataclass(slots=True)
class _Held:
    """A commit that is held back."""

    commit: Commit
    since_s: float
    rows: int
    keys: dict[str, set[tuple[Any, ...]]] = field(default_factory=dict)


class Holding:
    """Decides which commits are held back, and computes them aside in a thread of its own.

    Args:
        engine: the running engine; touched under the gate.
        keyed: the tables with a key, and their side tables, by lower-case name: the key columns, none for
            side tables. Asked again at every need.
        functions: the declared Python functions by name.
        rows_max: rows that a change may reach in a step.
    """

    def __init__(
        self, engine: Engine, keyed: Callable[[], Mapping[str, tuple[str, ...]]],
        functions: Callable[[], Mapping[str, PythonFunction]], rows_max: int,
    ) -> None:  # fmt: skip
        self._engine = engine
        self._keyed = keyed
        self._functions = functions
        self._rows_max = rows_max
        self._moved = threading.Condition()
        self._held: list[_Held] = []
        self._computing: tuple[int, ...] = ()
        self._released = 0
        self._ended = False
        self._stepper: Stepper | None = None
        self._thread = threading.Thread(target=self._loop, name="headrace-aside", daemon=True)

    def start(self, stepper: Stepper) -> None:
        """Begin to hold back."""
        self._stepper = stepper
        self._thread.start()

    def close(self) -> None:
        """Stop; what is held back stays in the log, and is computed at the next opening."""
        with self._moved:
            self._ended = True
            self._moved.notify_all()
        if self._thread.ident is not None:
            self._thread.join()

    # --- what is held back
    # ----------------------------------------------------------------------------------------------
    def numbers(self, upto: int) -> tuple[int, ...]:
        """Return the commits that are held back, up to one."""
        return tuple(one.commit.number for one in self._held if one.commit.number <= upto)

    @property
    def oldest_s(self) -> float | None:
        """When the first of them came, monotonic seconds; None: nothing is held back."""
        held = tuple(self._held)
        return held[0].since_s if held else None

    def __len__(self) -> int:
        return len(self._held)

    def status(self) -> tuple[HeldChange, ...]:
        """Return what is held back, in order."""
        now, computing = time.monotonic(), self._computing
        return tuple(
            HeldChange(
                one.commit.number, tuple(one.commit.changes), one.rows, (now - one.since_s) * 1000.0,
                "computing" if one.commit.number in computing else "waiting",
            )
            for one in tuple(self._held)
        )  # fmt: skip

    # --- deciding, under the gate
    # ----------------------------------------------------------------------------------------------
    def sift(
        self, commits: Sequence[Commit], offered: Sequence[Offered]
    ) -> tuple[list[Commit], Sequence[Offered]]:
        """Return which commits the next step takes, and what it must leave, with all after that; the others
        are held back.

        Args:
            commits: in the present columns of their relations.
            offered: the same as they came.
        """
        if self._stepper is None or self._ended or not (self._held or self._may_reach(commits)):
            return list(commits), ()
        taken: list[Commit] = []
        for at, commit in enumerate(commits):
            keys = self._keys(commit)
            clashes = self._clashes(commit)
            if clashes and keys is None:
                return taken, offered[at:]
            rows = 0 if keys is None else self._engine.reach(commit.changes, self._rows_max)
            if keys is not None and (clashes or rows > self._rows_max):
                if sum(rows_of(one.commit) for one in self._held) >= HELD_ROWS_MAX:
                    return taken, offered[at:]
                self._hold(_Held(*offered[at], rows, keys))
            else:
                taken.append(commit)
        return taken, ()

    def _may_reach(self, commits: Sequence[Commit]) -> bool:
        """Whether all commits that could be held back reach too far together."""
        light = [commit for commit in commits if self._is_light(commit)]
        names = {name.lower() for commit in light for name in commit.changes}
        if not light or self._engine.joined_rows(names) <= self._rows_max:
            return False
        return self._engine.reach(merged(light), self._rows_max) > self._rows_max

    def _is_light(self, commit: Commit) -> bool:
        if commit.number <= self._released or commit.watermarks or rows_of(commit) > COMMIT_ROWS_MAX:
            return False
        keyed = self._keyed()
        return all(name.lower() in keyed for name in commit.changes)

    def _keys(self, commit: Commit) -> dict[str, set[tuple[Any, ...]]] | None:
        """Return the keys that a commit changes, by table; None: it cannot be held back."""
        if not self._is_light(commit):
            return None
        keyed = self._keyed()
        return {name.lower(): _values(change, keyed[name.lower()]) for name, change in commit.changes.items()}

    def _clashes(self, commit: Commit) -> bool:
        """Whether a commit changes a key of which an earlier change is held back."""
        keyed = self._keyed()
        for name, change in commit.changes.items():
            held = [one.keys[name.lower()] for one in self._held if one.keys.get(name.lower())]
            if held and not set().union(*held).isdisjoint(_values(change, keyed.get(name.lower(), ()))):
                return True
        return False

    def _hold(self, held: _Held) -> None:
        with self._moved:
            self._held.append(held)
            self._moved.notify_all()
        logger.info("commit %d reaches %d rows or more: it is computed aside", held.commit.number, held.rows)

    # --- computing aside
    # ----------------------------------------------------------------------------------------------
    def _loop(self) -> None:
        while True:
            with self._moved:
                self._moved.wait_for(lambda: self._held or self._ended)
                if self._ended:
                    return
            try:
                self._compute()
            except Exception as error:  # noqa: BLE001 - a step can do what cannot be done aside
                problem = error.problem if isinstance(error, HeadraceError) else repr(error)
                logger.warning("a change cannot be computed aside, so a step takes it: %s", problem)
                self._release()

    def _compute(self) -> None:
        """Compute what is held back now, and put it in place."""
        stepper = self._stepper
        assert stepper is not None
        with stepper.gate:
            batch = tuple(self._held)
            self._computing = tuple(one.commit.number for one in batch)
            change = merged(stepper.fitted(one.commit) for one in batch)
            now = stepper.version
            assert now.clock is not None
            twin = Twin(self._engine, change, now.clock, now.watermarks, self._functions())
        try:
            twin.build()
            twin.catch_up()
            while twin.waiting_rows > CATCH_UP_ROWS and not self._ended:
                twin.catch_up()
            reach("aside computed")
            with stepper.gate:
                if twin.is_current and not self._ended:
                    twin.catch_up()
                    self._put(stepper, twin, batch)
        finally:
            self._computing = ()
            twin.close()

    def _put(self, stepper: Stepper, twin: Twin, batch: tuple[_Held, ...]) -> None:
        """Trade the views and publish the version that has the change; under the gate."""
        difference = twin.difference()
        with self._moved:
            self._held = self._held[len(batch) :]
        now = stepper.version
        assert now.clock is not None
        clock, watermarks = now.clock, now.watermarks
        try:
            stepper.admit(
                [one.commit for one in batch], lambda: twin.trade(difference, clock, watermarks), difference
            )
        except BaseException:
            with self._moved:
                self._held = [*batch, *self._held]
            raise

    def _release(self) -> None:
        """Have the next step take what is held back."""
        stepper = self._stepper
        assert stepper is not None
        with stepper.gate, self._moved:
            offered = [(one.commit, one.since_s) for one in self._held]
            self._released = max([self._released, *(commit.number for commit, _ in offered)])
            self._held = []
            stepper.take_back(offered)


def _values(change: Change, columns: Sequence[str]) -> set[tuple[Any, ...]]:
    """Return the values of some columns in the rows of a change."""
    if not columns:
        return set()
    found = [change.rows.column(name).to_pylist() for name in columns]
    return set(zip(*found, strict=True))
