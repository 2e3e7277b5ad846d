"""Cutting SQL at semicolons: the same text must come out, whatever stands in strings, names and comments."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.cli.statements import is_finished, split_statements

CUTS = [
    ("", []),
    ("  \n ; ;; ", []),
    ("select 1", ["select 1"]),
    ("select 1;", ["select 1"]),
    ("select 1; select 2", ["select 1", "select 2"]),
    ("select ';' ; select 2", ["select ';'", "select 2"]),
    ("select 'it''s; fine';", ["select 'it''s; fine'"]),
    ('select "a;b" from t; x', ['select "a;b" from t', "x"]),
    ("select 1 -- not; here\n; select 2", ["select 1 -- not; here", "select 2"]),
    ("select /* a;b */ 1; -- the end", ["select /* a;b */ 1"]),
    ("select $$a;b$$; select 2", ["select $$a;b$$", "select 2"]),
    ("select 5/2; select 5-2", ["select 5/2", "select 5-2"]),
    ("select 'never ends; ", ["select 'never ends;"]),
]


@pytest.mark.parametrize(("text", "statements"), CUTS)
def test_cuts(text: str, statements: list[str]) -> None:
    assert split_statements(text) == statements


@given(st.text(alphabet="ab ;'\"-/*$\n", max_size=40))
def test_nothing_is_lost_but_semicolons_space_and_comments(text: str) -> None:
    joined = "".join(split_statements(text))
    assert set(joined) <= set(text)
    letters = [c for c in joined if c in "ab"]
    assert len(letters) <= sum(c in "ab" for c in text)
    if not any(c in text for c in "'\"-/*$"):
        assert letters == [c for c in text if c in "ab"]


ENTER = [
    ("", True),
    (".tables", True),
    ("select 1;", True),
    ("select 1", True),
    ("select * from gmv", True),
    ("select", False),
    ("select a,", False),
    ("select count(", False),
    ("select 'open", False),
    ("select * from gmv where", False),
    ("select * from gmv where\n", True),
    ("select /* open", False),
    ("select ';", False),
    ("select as_of", True),
]


@pytest.mark.parametrize(("text", "finished"), ENTER)
def test_enter_sends_what_is_finished(text: str, finished: bool) -> None:
    assert is_finished(text) is finished
