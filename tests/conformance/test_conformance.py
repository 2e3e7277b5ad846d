"""Every case of this folder on every runner.

A case is a plain file: declarations, what happens, what must be seen (`docs/reference/conformance.md`).
What a runner cannot do yet stands in the case as `xfail RUNNER -> reason`, and the marker is strict: a case
that passes all the same makes the test fail until the line is gone.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.oracle.functions import declare_called

from headrace.engine import sweep
from headrace.testing import Case, Runner, embedded, parse_cases, play, read_cases

FOLDER = Path(__file__).parent
RUNNERS = [embedded()]
"""Where another runner joins: it opens an app and answers the methods of `hr.Run`."""
CASES = read_cases(FOLDER)


def label(case: Case) -> str:
    assert case.path is not None
    return f"{case.path.relative_to(FOLDER).with_suffix('')}: {case.name}"


def marked(case: Case, runner: Runner) -> object:
    marks = [pytest.mark.xfail(reason=case.xfail[runner.name])] if runner.name in case.xfail else []
    return pytest.param(case, runner, id=f"{runner.name} {label(case)}", marks=marks)


@pytest.mark.parametrize(("case", "runner"), [marked(case, runner) for runner in RUNNERS for case in CASES])
def test_case(case: Case, runner: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Play a case; state is looked through for what can go as soon as any is held."""
    monkeypatch.setattr(sweep, "SWEEP_ROWS_MIN", 1)
    play(case, runner, prepare=declare_called)


def test_names_are_unique() -> None:
    names = [label(case) for case in CASES]
    assert len(set(names)) == len(names) > 0


@pytest.mark.parametrize("case", CASES, ids=label)
def test_a_case_reads_back_as_written(case: Case) -> None:
    again = parse_cases(case.text())[0]
    assert again.text() == case.text()
    assert [block.body for block in again.steps] == [block.body for block in case.steps]
