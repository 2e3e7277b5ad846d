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

import pytest
from tests.oracle.functions import declare_called

from headrace.errors import StorageError
from headrace.functions import PythonFunction
from headrace.state.frozen import freeze, thaw
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
