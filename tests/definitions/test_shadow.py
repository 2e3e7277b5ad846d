"""How much of the machine building beside takes: what it rests after its work, told by a clock of its own."""

from __future__ import annotations

import pytest

from headrace.definitions.shadow import BuildingEnded, Pace


def test_it_rests_after_its_free_work_by_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    rested: list[float] = []

    def pause(seconds: float) -> bool:
        rested.append(seconds)
        now[0] += seconds
        return False

    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    pace = Pace(0.25, pause, free_s=1.0, _since=0.0)
    for work_s in (0.4, 0.8, 0.5):
        now[0] += work_s
        pace.rest()
    assert rested == pytest.approx([0.0, 0.6, 1.5])


def test_who_cancels_ends_it() -> None:
    with pytest.raises(BuildingEnded):
        Pace(0.5, lambda _: True).rest()
