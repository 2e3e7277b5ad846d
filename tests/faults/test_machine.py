"""Anything after anything: rows, time, definitions, crashes, backups, in every order, against the oracle.

Hypothesis looks for the shortest sequence of happenings after which a view is not what DuckDB answers over
the accepted rows, a row has another fate than plain Python gives it, a version goes back, or the past has
changed. `make torture` plays long random lives instead, one for each seed.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from tests.conftest import Torture
from tests.faults.world import HAPPENINGS, World

EXAMPLES = 8
STEPS = 20
LIFE = (30, 120)
"""How many things happen in one life in torture."""
WEIGHTS = {
    "append": 6,
    "upsert": 4,
    "delete": 3,
    "transact": 3,
    "advance": 8,
    "move_clock": 3,
    "look_back": 3,
}


class Machine(RuleBasedStateMachine):
    """A world to which anything may happen; at its end all is compared once more."""

    def __init__(self) -> None:
        super().__init__()
        self._place = tempfile.TemporaryDirectory()
        self.world = World(Path(self._place.name))

    def teardown(self) -> None:
        try:
            self.world.check()
        finally:
            self.world.end()
            self._place.cleanup()

    @rule(what=st.sampled_from(sorted(HAPPENINGS)), chance=st.randoms(use_true_random=False))
    def something_happens(self, what: str, chance: random.Random) -> None:
        HAPPENINGS[what](self.world, chance)

    @rule(what=st.sampled_from(sorted(WEIGHTS)), chance=st.randoms(use_true_random=False))
    def something_common_happens(self, what: str, chance: random.Random) -> None:
        HAPPENINGS[what](self.world, chance)


def test_anything_after_anything() -> None:
    run_state_machine_as_test(Machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=STEPS))


def live(folder: Path, seed: int) -> World:
    """Live one long random life; return the world, ended."""
    chance = random.Random(seed)
    names = [name for name in HAPPENINGS for _ in range(WEIGHTS.get(name, 1))]
    world = World(folder)
    done: list[str] = []
    try:
        for _ in range(chance.randrange(*LIFE)):
            done.append(chance.choice(names))
            HAPPENINGS[done[-1]](world, chance)
        world.check()
    except Exception as error:
        error.add_note(f"after {' '.join(done)}")
        raise
    finally:
        world.end()
    return world


def test_a_long_life(tmp_path: Path) -> None:
    world = live(tmp_path, 4)
    assert world.checks > 10
    assert len(world.journal) > 20


@pytest.mark.torture(weight=5, least=120)
def test_many_long_lives(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        live(tmp_path / str(seed), seed)

    torture.play(case)
