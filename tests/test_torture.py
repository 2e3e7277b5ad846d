"""How torture tests share the time: by weights, what one leaves over the others get; the account is true."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest
from tests.torture import SEEDS, STRETCH, Torture, TorturePlugin, account, enough, scope_of, share


def item(name: str, session: Any, at: int | None = 0, **mark: Any) -> Any:
    """Return what the plugin looks at of a test."""
    marks = {"torture": pytest.mark.torture(**mark).mark}
    made = SimpleNamespace(
        nodeid=name,
        session=session,
        get_closest_marker=marks.get,
        callspec=SimpleNamespace(params={"torture": at}),
    )
    session.items.append(made)
    return made


def test_the_time_goes_by_weights_and_what_is_left_over_to_those_that_follow() -> None:
    session = SimpleNamespace(items=[])
    one, other = item("one", session), item("other", session, weight=3)
    item("elsewhere", session, at=1, weight=100)
    assert share(one, 100.0, set()) == 25.0
    assert share(other, 90.0, {"one"}) == 90.0
    assert share(other, -5.0, {"one"}) == 0.0


def test_the_heaviest_is_last_and_workers_begin_elsewhere_among_the_others() -> None:
    session = SimpleNamespace(items=[])
    weights = {"heavy": 90, "a": 4, "b": 3, "c": 2, "d": 1}
    for at in range(2):
        for name in reversed(weights):
            item(f"{name}{at}", session, at=at, weight=weights[name])
    plain = SimpleNamespace(nodeid="plain", get_closest_marker=lambda _: None)
    session.items.insert(3, plain)
    TorturePlugin().pytest_collection_modifyitems(session.items)
    assert " ".join(one.nodeid for one in session.items) == "plain a0 b0 c0 d0 heavy0 c1 d1 a1 b1 heavy1"


def test_a_test_ends_when_it_has_played_its_least_number(monkeypatch: pytest.MonkeyPatch) -> None:
    session = SimpleNamespace(items=[])
    one, last = item("one", session, least=100), item("last", session, weight=9, least=1_000)
    item("none named", session, at=1)
    monkeypatch.setenv("HEADRACE_TORTURE_MINUTES", "10")
    assert enough(one, set(), 3) == 34
    monkeypatch.setenv("HEADRACE_TORTURE_MINUTES", "90")
    assert enough(one, set(), 3) == 67
    assert enough(last, {"one"}, 3) is None  # it has nobody to leave its time to
    assert enough(session.items[-1], set(), 3) is None
    torture = Torture(share_s=60.0, enough=5)
    assert len(list(torture.seeds())) == 5


def test_what_has_not_played_enough_may_take_longer_than_its_share_but_not_for_ever() -> None:
    long_ago = time.monotonic() - 10.0
    assert Torture(share_s=9.0, began=long_ago).is_over
    assert not Torture(share_s=9.0, enough=1, began=long_ago).is_over
    assert Torture(share_s=9.0, enough=0, began=long_ago).is_over
    assert Torture(share_s=9.0 / STRETCH, enough=1, began=long_ago).is_over


def test_slices_play_every_seed_once_and_at_least_one_case() -> None:
    played = [list(Torture(seed=3, share_s=0.0, slice=at, slices=2).seeds()) for at in range(2)]
    assert played == [[3 * SEEDS], [3 * SEEDS + 1]]


def test_a_case_that_fails_is_told_with_its_seed_and_does_not_end_the_test() -> None:
    said: list[str] = []
    torture = Torture(seed=1, share_s=60.0, say=said.append)
    played = []

    def case(seed: int) -> None:
        played.append(seed)
        if len(played) in (2, 4):
            raise ValueError(f"the {len(played)}th")
        torture.share_s = 0.0 if len(played) == 5 else 60.0

    with pytest.raises(AssertionError, match=r"2 of 5 cases failed\s+seed 1000001: ValueError: the 2th"):
        torture.play(case)
    assert len(played) == torture.cases == 5
    assert said == ["seed 1000001: ValueError: the 2th", "seed 1000003: ValueError: the 4th"]


def test_a_shortfall_is_said_in_plain_words() -> None:
    slices = [
        {"cases": 70, "seconds": 5.0, "least": 150, "note": ""},
        {"cases": 60, "seconds": 5.0, "least": 150, "note": "x"},
    ]
    text = "\n".join(account({"some test": slices}, took_s=60.0))
    assert "130 cases" in text
    assert "150 cases reached: NO, only 130" in text
    slices[0]["cases"] = 100
    assert "150 cases reached: yes" in "\n".join(account({"some test": slices}, took_s=60.0))


def test_a_slice_stays_on_one_worker() -> None:
    """Each worker knows only its own tests: what others ran would have a share of its time for ever."""
    ids = ["a.py::t[slice0]", "a.py::t[slice1]", "b.py::u[slice0]", "b.py::plain[x]"]
    assert [scope_of(one) for one in ids] == ["slice0", "slice1", "slice0", "b.py::plain[x]"]


def test_workers_take_slices_whole(root: Path, tmp_path: Path) -> None:
    """The scheduler is xdist's, asked by a real run of two workers."""
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_configure\n", encoding="utf-8")
    text = """
        import os
        import pytest

        @pytest.mark.torture(weight={weight})
        def test_{name}(torture):
            torture.share_s = 0.0
            torture.play(lambda seed: None)
            with open({told!r}, "a", encoding="utf-8") as told:
                told.write(f"{{torture.slice}} {{os.environ['PYTEST_XDIST_WORKER']}} {name}\\n")
    """
    told = tmp_path / "told.txt"
    for weight, name in enumerate("abcd", start=1):
        body = dedent(text.format(weight=weight, name=name, told=str(told)))
        (tmp_path / f"test_{name}.py").write_text(body, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:randomly"]
    environment = os.environ | {"PYTHONPATH": str(root), "HEADRACE_TORTURE_MINUTES": "1"}
    ended = subprocess.run(
        [*command, "-o", "markers=torture", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", str(tmp_path)],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "8 passed" in ended.stdout, ended.stdout + ended.stderr
    lines = [line.split() for line in told.read_text(encoding="utf-8").splitlines()]
    of_slice = {at: [(worker, name) for number, worker, name in lines if number == at] for at in "01"}
    assert [name for _, name in of_slice["0"]] == ["c", "b", "a", "d"]
    assert [name for _, name in of_slice["1"]] == ["b", "a", "c", "d"]
    assert all(len({worker for worker, _ in found}) == 1 for found in of_slice.values())
