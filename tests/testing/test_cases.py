"""The harness itself: case files that cannot be read, and cases that must fail.

A harness that lets a wrong answer pass is worse than none, so each way of comparing is given something wrong.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.errors import DeclarationError
from headrace.runtime import Run
from headrace.testing import Case, MismatchError, parse_cases, play, read_cases
from headrace.testing.oracle import Oracle

HEAD = """
case totals
table t key=k
  k INTEGER, x DOUBLE
stream s event_time=ts lateness=10s
  id INTEGER, ts TIMESTAMP
view total
  SELECT sum(x) AS s FROM t
upsert t
  [1, 1.5]
  [2, 2]
advance
"""


def case(text: str) -> Case:
    return parse_cases(HEAD + text)[0]


@pytest.mark.parametrize(
    "text",
    [
        "expect total\n  [3.5]",
        "expect total\n  [3.5000000000001]",
        "expect total (s)\n  [3.5]",
        'expect t\n  {"k": 1, "x": 1.5}\n  [2, 2.0]',
        "expect total by duckdb",
        "changes total\n  -1 [null]\n  +1 [3.5]",
        "check\nquery",
        "upsert t -> repeated 1, accepted 1\n  [1, 1.5]\n  [1, 2.5]\n  [2, 2]",
        "delete t -> accepted 1, rejected 1\n  [1]\n  [9]",
        "refuse v -> nowhere\n  SELECT * FROM nowhere",
        "create v\n  SELECT k FROM t\nexpect v\n  [1]\n  [2]\ndrop v",
        "begin\ndelete t\n  [1]\nupsert t\n  [1, 0.5]\ncommit\nadvance\nexpect total\n  [2.5]",
        "reopen\nexpect total\n  [3.5]",
        'upsert t -> accepted 1, rejected 1\n  ["x", 1]\n  [3, 4.0]\nsides\nreopen\nsides',
        "check\nupsert t\n  [3, 4.0]\nadvance\ncheck\ndelete t\n  [1]\nreopen\npast",
        "check\nreplace total\n  SELECT k FROM t\npast",
    ],
)
def test_what_is_right_passes(text: str) -> None:
    if "repeated" in text:
        text = "upsert t -> repeated 1, accepted 1\n  [1, 1.5]\n  [3, 2.5]"
    play(case(text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("expect total\n  [3.6]", "only left"),
        ("expect total", "only left"),
        ("expect total\n  [3.5]\n  [3.5]", "only right"),
        ("expect t in order\n  [2, 2.0]\n  [1, 1.5]", "in order"),
        ("changes total\n  +1 [3.5]", "changes are"),
        ("upsert t -> accepted 2\n  [1, 1.5]\n  [3, 2.5]", "rows are accepted"),
        ("expect total error", "not in error"),
        ("create v\n  SELECT CAST('x' || k AS INTEGER) AS n FROM t\nexpect v error -> zebra", "but not with"),
        ("refuse v\n  SELECT k FROM t", "not refused"),
        ("refuse v -> elsewhere\n  SELECT * FROM nowhere", "refused, but"),
        ("upsert nowhere\n  [1]", "KeyError"),
    ],
)
def test_what_is_wrong_fails_and_prints_the_case(text: str, problem: str) -> None:
    wrong = case(text)
    with pytest.raises((MismatchError, KeyError)) as caught:
        play(wrong)
    if problem != "KeyError":
        assert problem in str(caught.value)
        assert wrong.text() in str(caught.value)


def test_a_view_that_lags_behind_duckdb_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Oracle.upsert
    monkeypatch.setattr(
        Oracle, "upsert", lambda self, table, rows: original(self, table, [*rows, rows[0]])[:-1]
    )
    with pytest.raises(MismatchError):
        play(case("upsert t\n  [1, 7.0]\n  [1, 8.0]\nadvance\ncheck"))


LATE = """append s
  [1, "2026-01-01T00:10:00Z"]
append s -> late 1
  [2, "2026-01-01T00:00:00Z"]
sides"""


def test_a_late_row_that_is_not_kept_aside_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    play(case(LATE))
    monkeypatch.setattr(Oracle, "late", lambda *_: [])
    with pytest.raises(MismatchError, match="came late"):
        play(case(LATE))


def test_a_rejected_row_that_is_not_kept_aside_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Run.snapshot

    def forgetful(self: Run, view: str, **options: Any) -> Any:
        version, rows = original(self, view, **options)
        return version, rows.slice(1) if view == "t__rejected" else rows

    monkeypatch.setattr(Run, "snapshot", forgetful)
    with pytest.raises(MismatchError, match="t__rejected holds 1 rows, 2 were rejected"):
        play(case('upsert t\n  ["x", 1]\n  ["y", 1]\nsides'))


PAST = "check\nupsert t\n  [3, 4.0]\nadvance\ncheck\nupsert t\n  [4, 1.0]\nadvance\npast"


def test_a_past_that_is_not_as_it_was_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    original = Run.snapshot
    play(case(PAST))
    monkeypatch.setattr(Run, "snapshot", lambda self, view, **_: original(self, view))
    with pytest.raises(MismatchError, match="total is read of version 1 otherwise than it was"):
        play(case(PAST))


def test_changes_that_do_not_lead_from_the_past_to_the_present_are_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = Run.changes

    def shortened(self: Run, view: str, since: Any = None, **options: Any) -> Any:
        tables = list(original(self, view, since, **options))
        return tables[:-1] if len(tables) > 1 or since == 1 else tables

    monkeypatch.setattr(Run, "changes", shortened)
    with pytest.raises(MismatchError, match="of version 1 and its changes are not its rows"):
        play(case("check\nupsert t\n  [3, 4.0]\npast"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("table t\n  k INTEGER", "before the first case"),
        ("case a\nsmell t", "unknown word 'smell'"),
        ("case a\ntable t\n  k INTEGER\nupsert t\n  [1", "not JSON"),
    ],
)
def test_a_file_that_cannot_be_read_names_the_line(text: str, problem: str, tmp_path: Path) -> None:
    file = tmp_path / "one.case"
    file.write_text(text, encoding="utf-8")

    def read_and_play() -> None:
        for found in read_cases(file):
            play(found)

    with pytest.raises(DeclarationError, match=problem) as caught:
        read_and_play()
    assert "line" in str(caught.value)


def test_a_case_keeps_its_marks_in_its_text() -> None:
    text = "case a\n  Prose.\nxfail other -> not yet\nstart 2026-03-01T00:00:00Z\nalways check\n"
    [found] = parse_cases(text)
    assert found.xfail == {"other": "not yet"}
    assert found.always
    assert found.text() == text
