"""How torture tests share the time: by weights, what one leaves over the others get; the account is true."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.torture import SEEDS, Torture, TorturePlugin, account, share


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


def test_the_heaviest_come_first() -> None:
    session = SimpleNamespace(items=[])
    item("light", session)
    item("heavy", session, weight=9)
    TorturePlugin().pytest_collection_modifyitems(session.items)
    assert [one.nodeid for one in session.items] == ["heavy", "light"]


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
