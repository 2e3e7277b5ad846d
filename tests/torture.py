"""What `make torture SEED=… MINUTES=…` does: many random tests, one budget of time, a true account.

A torture test is a function with the mark and the fixture:

    @pytest.mark.torture(weight=2, least=1_000)
    def test_many_lives(torture: Torture) -> None:
        torture.play(live_through)

`play` calls `live_through(seed)` with one seed after another, and goes on after a case that fails; it tells
all of them at the end. Each test is made once per worker (a *slice*, with every n-th seed), and all tests of
a slice run one after the other on one worker, so that every worker is busy until the end.

A test's share is the time that is left, times its weight, over the weights of all that have yet to run on
that worker: what one leaves over the others get, what one takes too much they share, and a new test fits in
by itself. A test that names a least number ends when it has played so many cases (of `LEAST_MINUTES`, more in
a longer run), and may take up to `STRETCH` times its share to get there; one that names none ends with its
share. The heaviest test is the last of each worker and plays until the time is up: it has the smallest cases,
so no worker waits for another. The others come heaviest first, and each worker begins elsewhere among them,
so that tests which wait for kills and disks meet others that compute.

The summary tells for each test how many cases it played, and whether it reached its least number. Running out
of time is no failure, but it is said. Nobody has to wait for it: a case that fails is told on stderr at once,
with its seed, and how far a test has come every two minutes.
"""

from __future__ import annotations

import gc
import math
import os
import re
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

SEEDS = 1_000_000
"""Seeds that belong to one SEED: the n-th case of SEED s has the seed s * SEEDS + n, however many workers."""
SPARE_S = 600.0
"""How much longer than the whole budget one test may take before it counts as hanging."""
LEAST_MINUTES = 45.0
"""The least numbers are those of so many minutes, or fewer; a longer run plays more in proportion."""
STRETCH = 1.5
"""How many times its share a test may take to reach its least number."""
TELL_S = 120.0
"""How often a test tells how far it has come."""
COLLECT_S = 5.0
"""How often what refers to itself is collected between two cases."""
FINDS_MAX = 5
"""So many cases that fail end a test on one worker."""
_BEGAN = "HEADRACE_TORTURE_BEGAN"
_PROPERTY = "torture"
_SLICE = re.compile(r"(?<=\[)slice\d+(?=\])")


@dataclass
class Torture:
    """One torture test's part of the time, on one worker.

    Attributes:
        seed: what `make torture SEED=…` gave.
        share_s: seconds that this test may take, or `STRETCH` times as many while it has not played enough.
        enough: how many cases are enough on this worker; None: as many as it finds time for.
        slice: number of this worker.
        slices: how many workers there are.
        cases: how many cases were played.
        note: a remark for the summary.
        say: tells something while it runs.
    """

    seed: int = 1
    share_s: float = 600.0
    enough: int | None = None
    slice: int = 0
    slices: int = 1
    cases: int = 0
    note: str = ""
    say: Callable[[str], object] = field(default=lambda _: None)
    began: float = field(default_factory=time.monotonic)

    def seeds(self, worth: int = 1) -> Iterator[int]:
        """Yield the seeds of cases, at least one, until the time is up or it is enough.

        Args:
            worth: how many cases are played with one seed.
        """
        at = self.slice
        with seldom_collected() as collect:
            while at == self.slice or not self.is_over:
                yield self.seed * SEEDS + at
                self.cases += worth
                at += self.slices
                collect()

    def play(self, case: Callable[[int], object], *, worth: int = 1) -> None:
        """Play the cases of all seeds; go on after one that fails, until there are some.

        Raises:
            AssertionError: the seeds and errors of the cases that failed, from the first of them.
        """
        failed: list[tuple[int, Exception]] = []
        told = self.began
        for seed in self.seeds(worth):
            if time.monotonic() - told >= TELL_S:
                told = time.monotonic()
                self.say(f"{self.cases:,} cases, {len(failed)} of them failed")
            try:
                case(seed)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a find
                failed.append((seed, error))
                self.say(f"seed {seed}: {type(error).__name__}: {error}")
                if len(failed) >= FINDS_MAX:
                    break
        if failed:
            errors = "\n\n".join(f"seed {seed}: {type(error).__name__}: {error}" for seed, error in failed)
            raise AssertionError(f"{len(failed)} of {self.cases} cases failed\n\n{errors}") from failed[0][1]

    @property
    def is_over(self) -> bool:
        """Whether the time is up, or enough is played."""
        took_s = time.monotonic() - self.began
        if self.enough is None:
            return took_s >= self.share_s
        return self.cases >= self.enough or took_s >= STRETCH * self.share_s


@contextmanager
def seldom_collected() -> Iterator[Callable[[], None]]:
    """Let the collector of cycles pass over what was there before, and come seldom by itself; call what this
    yields between two cases. A worker of tests holds half a million objects that live to its end: going
    through them was a fifth of what a case cost.
    """
    usual, last = gc.get_threshold(), time.monotonic()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)

    def collect() -> None:
        nonlocal last
        if time.monotonic() - last >= COLLECT_S:
            gc.collect()
            last = time.monotonic()

    try:
        yield collect
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def minutes() -> float:
    """Return what `make torture MINUTES=…` gave."""
    return float(os.environ.get("HEADRACE_TORTURE_MINUTES", "10"))


def _mark(item: pytest.Item) -> dict[str, Any]:
    """Return what the mark of a torture test says."""
    mark = item.get_closest_marker("torture")
    return dict(mark.kwargs) if mark else {}


def _weight(item: pytest.Item) -> float:
    return float(_mark(item).get("weight", 1))


def _is_torture(item: pytest.Item) -> bool:
    return item.get_closest_marker("torture") is not None


def _slice_of(item: pytest.Item) -> int | None:
    callspec = getattr(item, "callspec", None)
    return callspec.params.get("torture") if callspec else None


def _waiting(item: pytest.Item, done: set[str]) -> list[pytest.Item]:
    """Return the tests of an item's slice that have yet to run, itself included."""
    mine = _slice_of(item)
    return [
        other
        for other in item.session.items
        if other.nodeid not in done and _slice_of(other) == mine and _is_torture(other)
    ]


def share(item: pytest.Item, left_s: float, done: set[str]) -> float:
    """Return the seconds of a test, of those that are left to it and the others of its slice."""
    weights = sum(_weight(other) for other in _waiting(item, done))
    return max(left_s, 0.0) * _weight(item) / max(weights, 1e-9)


def enough(item: pytest.Item, done: set[str], slices: int) -> int | None:
    """Return how many cases are enough for a test on one of so many workers; None: all it has time for.

    The last of a slice has nobody to leave its time to.
    """
    least = int(_mark(item).get("least", 0))
    if not least or len(_waiting(item, done)) == 1:
        return None
    return math.ceil(least * max(1.0, minutes() / LEAST_MINUTES) / slices)


def in_turn(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return tests in the order in which they run: the others, then those of torture, slice by slice."""
    tortures = sorted(filter(_is_torture, items), key=_weight, reverse=True)
    by_slice: dict[int | None, list[pytest.Item]] = defaultdict(list)
    for item in tortures:
        by_slice[_slice_of(item)].append(item)
    made = [item for item in items if not _is_torture(item)]
    made += by_slice.pop(None, [])
    for at, (heaviest, *rest) in sorted(by_slice.items()):
        first = (at or 0) * len(rest) // len(by_slice)
        made += [*rest[first:], *rest[:first], heaviest]
    return made


def _say(item: pytest.Item, text: str) -> None:
    """Write to stderr, past what captures it: also a worker's stderr is that of `make torture`."""
    capture = item.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {item.nodeid}: {text}\n")
        sys.stderr.flush()


def scope_of(nodeid: str) -> str:
    """Return what stays on one worker with a test: its slice, or itself alone."""
    found = _SLICE.search(nodeid)
    return found[0] if found else nodeid


class TorturePlugin:
    """The hooks: one slice per worker, shares of the time, the account at the end."""

    def __init__(self) -> None:
        os.environ.setdefault(_BEGAN, repr(time.time()))
        self._done: set[str] = set()
        self._told: dict[str, list[dict[str, Any]]] = defaultdict(list)

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if (
            "torture" not in metafunc.fixturenames
            or metafunc.definition.get_closest_marker("torture") is None
        ):
            return
        workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        slices = [pytest.param(at, id=f"slice{at}") for at in range(workers)]
        metafunc.parametrize("torture", slices, indirect=True)

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        if item.get_closest_marker("torture") is not None:
            item.add_marker(pytest.mark.timeout(minutes() * 60 + SPARE_S))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> object:
        """A slice stays on one worker, in its order; the groups of xdist 3.8 are lost under pytest 9."""
        if config.getvalue("dist") != "loadgroup":
            return None
        scheduler = LoadScopeScheduling(config, log)
        scheduler._split_scope = scope_of
        return scheduler

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """The heaviest is the last of its worker, the others begin elsewhere on each."""
        items[:] = in_turn(items)

    @pytest.fixture
    def torture(self, request: pytest.FixtureRequest) -> Iterator[Torture]:
        """The part of the time that a torture test has."""
        item = request.node
        left_s = float(os.environ[_BEGAN]) + minutes() * 60 - time.time()
        slices = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
        torture = Torture(
            seed=int(os.environ.get("HEADRACE_TORTURE_SEED", "1")),
            share_s=share(item, left_s, self._done),
            enough=enough(item, self._done, slices),
            slice=request.param,
            slices=slices,
            say=partial(_say, item),
        )
        self._done.add(item.nodeid)
        yield torture
        told = {
            "name": item.nodeid.partition("[")[0],
            "cases": torture.cases,
            "least": _mark(item).get("least", 0),
            "seconds": time.monotonic() - torture.began,
            "note": torture.note,
        }
        item.user_properties.append((_PROPERTY, told))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "teardown":
            for key, told in report.user_properties:
                if key == _PROPERTY and isinstance(told, dict):
                    self._told[told["name"]].append(told)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._told:
            terminalreporter.section("torture")
            for line in account(self._told, took_s=time.time() - float(os.environ[_BEGAN])):
                terminalreporter.write_line(line)


def account(told: dict[str, list[dict[str, Any]]], took_s: float) -> Iterator[str]:
    """Yield the lines of the summary: cases per test, and in plain words what was not reached."""
    seed = os.environ.get("HEADRACE_TORTURE_SEED", "1")
    yield f"seed {seed}, {minutes():g} minutes asked for, {took_s / 60:.1f} taken"
    for name, slices in sorted(told.items()):
        cases, seconds = sum(one["cases"] for one in slices), sum(one["seconds"] for one in slices)
        notes = "; ".join(dict.fromkeys(one["note"] for one in slices if one["note"]))
        yield f"{cases:>9,} cases {seconds:7.0f} s  {name}{'  ' + notes if notes else ''}"
        least = max(one["least"] for one in slices)
        if least:
            reached = "yes" if cases >= least else f"NO, only {cases:,} in its share of the time"
            yield f"{'':17}   {least:,} cases reached: {reached}"
