"""Views that refresh apart: computed every few seconds beside the steps, from a consistent snapshot.

Such a view is as of an older version than the others, which every answer names. A refresh reads the snapshot
of a published version, asks DuckDB, finds the difference to its last answer, all without holding anybody up,
and hands that to the next step.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import pyarrow as pa

from headrace.engine.duck import fit
from headrace.engine.engine import Engine
from headrace.errors import Closed, HeadraceError, StepFailed
from headrace.results import Version
from headrace.sql.plan import ViewPlan
from headrace.stepper import Stepper

logger = logging.getLogger("headrace")
LOOK_S = 0.2
"""How often the thread looks whether something is due."""

Answers = Callable[[ViewPlan], tuple[Version, pa.Table]]
"""Of a plan: DuckDB's answer over the snapshot of the newest version, and which version that is."""


class Refresher:
    """Refreshes what is due.

    Args:
        engine: which views refresh apart, and where answers go; touched under the stepper's gate.
        stepper: publishes what has been refreshed.
        answers: asks DuckDB.
        clock: UTC.
        auto: refresh in a thread of its own; otherwise whenever `run_due` is called.
    """

    def __init__(
        self,
        engine: Engine,
        stepper: Stepper,
        answers: Answers,
        clock: Callable[[], datetime],
        *,
        auto: bool,
    ) -> None:
        self._engine = engine
        self._stepper = stepper
        self._answers = answers
        self._clock = clock
        self._last: dict[str, datetime] = {}
        self._busy = threading.Lock()
        self._closing = threading.Event()
        self.is_auto = auto
        self._thread = (
            threading.Thread(target=self._loop, name="headrace-refresh", daemon=True) if auto else None
        )

    def start(self) -> None:
        """Refresh everything once, and from then on what is due."""
        self.run_due()
        if self._thread is not None:
            self._thread.start()

    def after(self, version: Version) -> Version:
        """Refresh what is due once a step was asked for, unless a thread does; return the newest version."""
        return version if self.is_auto else self.run_due()

    def run_due(self) -> Version:
        """Refresh every view whose time has come; return the version that is published then."""
        with self._busy:
            now = self._clock()
            with self._stepper.gate:
                plans = self._engine.refreshing
            for plan in plans:
                assert plan.refresh is not None
                last = self._last.get(plan.name)
                if last is None or now - last >= plan.refresh or now < last:
                    self._refresh(plan)
                    self._last[plan.name] = now
        return self._stepper.version

    def _refresh(self, plan: ViewPlan) -> None:
        try:
            version, answer = self._answers(plan)
            content = pa.Table.from_batches([fit(answer, plan.schema)])
        except Closed:
            return
        except HeadraceError as error:
            with self._stepper.gate:
                self._engine.fail(plan.name, error.problem, self._stepper.version)
        else:
            operator = self._engine.refreshed(plan.name)
            difference = operator.difference(content)
            with self._stepper.gate:
                operator.offer(content, difference, version)
        self._stepper.step()

    def _loop(self) -> None:
        while not self._closing.wait(LOOK_S):
            try:
                self.run_due()
            except StepFailed:  # the views stand still, until a restart
                return
            except Exception:
                logger.exception("a view could not be refreshed; it is tried again when it is due")

    def close(self) -> None:
        """Stop; a refresh that is on its way is waited for."""
        self._closing.set()
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()


def as_of(engine: Engine, names: Sequence[str], plans: Mapping[str, ViewPlan]) -> dict[str, Version]:
    """Return the versions of which views that refresh apart are, among some views and all they read.

    Any thread may ask; it waits for nobody.
    """
    found: dict[str, Version] = {}
    if not engine.has_refreshing:
        return found
    seen: set[str] = set()
    waiting = [name.lower() for name in names]
    while waiting:
        name = waiting.pop()
        plan = plans.get(name)
        if name in seen or plan is None:
            continue
        seen.add(name)
        if plan.refresh is None:
            waiting.extend(relation.lower() for relation in plan.relations)
            continue
        version = engine.as_of(name)
        if version is not None:
            found[plan.name] = version
    return found
