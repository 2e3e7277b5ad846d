"""The harness itself: case files that cannot be read, and cases that must fail.

A harness that lets a wrong answer pass is worse than none, so each way of comparing is given something wrong.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.errors import DeclarationError
from headrace.testing import Case, MismatchError, parse_cases, play, read_cases

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
    from headrace.testing.oracle import Oracle

    original = Oracle.upsert
    monkeypatch.setattr(
        Oracle, "upsert", lambda self, table, rows: original(self, table, [*rows, rows[0]])[:-1]
    )
    with pytest.raises(MismatchError):
        play(case("upsert t\n  [1, 7.0]\n  [1, 8.0]\nadvance\ncheck"))


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
