"""Every operator's state can be written down and read back, in the middle of its life.

The conformance cases are played once more; after every step, all state of engine and intake goes through its
written form and back, and the run goes on with what came back. Whatever an operator forgets to write down, or
holds twice and gets back as two, makes a later step wrong.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from tests.oracle.functions import declare_called

from headrace.errors import StorageError
from headrace.functions import PythonFunction
from headrace.state import frozen
from headrace.state.frozen import freeze, outline, thaw
from headrace.testing import Case, Runner, play, read_cases

CASES = read_cases(Path(__file__).parents[1] / "conformance")


def copied(value: Any, functions: Mapping[str, PythonFunction] = MappingProxyType({})) -> Any:
    frozen = freeze(value)
    return thaw(frozen.shape, [bytearray(column) for column in frozen.columns], functions)


class WrittenDown:
    """A run whose state is replaced by its written form after every step."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def __getattr__(self, name: str) -> Any:
        return getattr(self._run, name)

    def advance(self) -> Any:
        version = self._run.advance()
        state = copied(self._run._engine.state(), self._run.app.functions)
        self._run._engine.restore(state, self._run._history)
        intake = self._run._intake
        _, memory = intake.frozen(copied)
        intake.restore(memory)
        return version


RUNNER = Runner("written down", lambda app, folder, clock: WrittenDown(app.open(folder, clock=clock)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.path.stem}: {case.name}")
def test_case(case: Case) -> None:
    play(case, RUNNER, prepare=declare_called)


class Evil:
    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> Any:
        return getattr, (self.__class__, self.name)


@pytest.mark.parametrize("value", [Path, eval, Evil("name")])
def test_what_is_none_of_ours_is_not_read(value: Any) -> None:
    with pytest.raises(StorageError, match="none of ours"):
        thaw(pickle.dumps(value, protocol=5), [])


@pytest.mark.parametrize("named", [b"headrace.engine.memory\nos.system", b"headrace.engine.memory\nmkstemp"])
def test_what_our_modules_import_is_none_of_ours(named: bytes) -> None:
    with pytest.raises(StorageError):
        thaw(b"c" + named + b"\n.", [])


def test_what_is_no_pickle_is_told() -> None:
    with pytest.raises(StorageError, match="cannot be read back"):
        thaw(b"\x80\x05nonsense", [])


def test_what_cannot_be_written_down_is_told() -> None:
    with pytest.raises(StorageError, match="cannot be written down"):
        freeze(lambda: None)


def test_columns_are_copied_where_they_lie_in_one_of_many_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each column is looked at once, however many files are mapped: with thousands of both, a checkpoint
    held everything still for half a minute.
    """
    arrays = [np.arange(20_000) + at for at in range(4)]
    arrays[3].flags.writeable = False
    held = outline(arrays)
    asked: list[memoryview] = []
    place_of = frozen.address

    def address(column: memoryview) -> int:
        asked.append(column)
        return place_of(column)

    monkeypatch.setattr(frozen, "address", address)
    places = [array.ctypes.data for array in arrays]
    shared = [(place, place + 8) for place in (places[0], places[2], places[3])]
    held.copy(sorted([*shared, *((at, at + 1) for at in range(1_000))]))
    assert len(asked) == 3
    for array in arrays:
        array.flags.writeable = True
        array[:] = -1
    told = [int(np.frombuffer(column, dtype=np.int64)[0]) for column in held.columns]
    assert told == [0, -1, 2, -1]
