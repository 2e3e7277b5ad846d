"""What bounds of inputs say of the rows of unions, windows and joins; and what EXPLAIN says of a plan."""

from __future__ import annotations

import pytest
from tests.engine.world import schema

from headrace.engine.engine import Engine
from headrace.engine.frontier import JoinFrontier, differences, hop_bounds, kept, renamed, smallest
from headrace.engine.operators.base import OperatorInfo
from headrace.sql.plan import Equality, Expr, Hop, Scan
from headrace.sql.planner import plan_view

MINUTE = 60_000_000
EVENTS = schema(id="BIGINT", t="TIMESTAMP", v="INTEGER")
NAMES = schema(id="BIGINT", name="VARCHAR")


def test_bounds_are_picked_renamed_and_united() -> None:
    assert kept({"a": 1, "b": 2}, ("b", "c")) == {"b": 2}
    assert renamed({"a": 1, "b": 2}, ("a", "x", "b"), ("p", "q", "r")) == {"p": 1, "r": 2}
    assert smallest([{"a": 3, "b": 1}, {"a": 2}]) == {"a": 2}
    assert smallest([]) == {}


@pytest.mark.parametrize(
    ("slide", "size", "bound", "end"),
    [
        (1, 1, 0, 1),  # a row at 00:00 goes to [00:00, 00:01)
        (1, 1, 1, 2),  # at the end of a window it is closed
        (1, 5, 10, 11),  # [6, 11) holds minute 10, [5, 10) does not
        (2, 3, 10, 11),  # windows start at even minutes: [8, 11)
        (5, 2, 13, 17),  # minute 13 is in no window; [15, 17) comes next
    ],
)
def test_windows_that_can_still_get_a_row(slide: int, size: int, bound: int, end: int) -> None:
    columns = schema(t="TIMESTAMP", window_start="TIMESTAMP", window_end="TIMESTAMP")
    scan = Scan(columns.select(["t"]), "s", ("t",))
    node = Hop(columns, scan, "t", slide * MINUTE, size * MINUTE)
    found = hop_bounds(node, {"t": bound * MINUTE})
    assert found == {"t": bound * MINUTE, "window_start": (end - size) * MINUTE, "window_end": end * MINUTE}
    assert hop_bounds(node, {}) == {}


def test_differences_come_from_anded_comparisons() -> None:
    text = '(("a" BETWEEN ("b" - INTERVAL 1 MINUTE) AND "b") AND ("c" > "a") AND (("d" <= "a") OR ("x" = 1)))'
    assert differences(Expr(text, ("a", "b", "c", "d", "x"), "BOOLEAN")) == [
        ("a", "b", -MINUTE),
        ("b", "a", 0),
        ("c", "a", 0),
    ]
    assert differences(None) == []


def test_a_join_reaches_back_as_far_as_its_condition_lets_it() -> None:
    same = (Equality(0, "t", 1, "u"),)
    assert JoinFrontier([["t"], ["u"]], same).output([{"t": 5}, {"u": 7}]) == {"t": 5, "u": 5}
    assert JoinFrontier([["t"], ["u"]], same).output([{"t": 5}, {}]) == {}
    near = [("t", "u", -3), ("u", "t", 0)]
    assert JoinFrontier([["t"], ["u"]], (), near).output([{"t": 5}, {"u": 7}]) == {"t": 4, "u": 5}
    one_way = JoinFrontier([["t"], ["u"]], (), [("t", "u", -3)])
    assert one_way.output([{"t": 5}, {"u": 7}]) == {"t": 4}
    assert one_way.beyond_reach([{"t": 5}, {"u": 7}]) == [{"t": 4}, {}]
    assert one_way.beyond_reach([{}, {"u": 7}]) == [{"t": 4}, {}]
    assert JoinFrontier([["t"], ["u"]], same).beyond_reach([{"t": 5}, {"u": 7}]) == [{"t": 7}, {"u": 5}]


def notes(info: OperatorInfo) -> dict[str, str | None]:
    """Return what each operator says of freeing, by its name; the lowest of a name counts."""
    found = {info.name: info.can_free}
    for below in info.inputs:
        found |= notes(below)
    return found


def explained(sql: str) -> dict[str, str | None]:
    engine = Engine()
    engine.add_relation("e", EVENTS, append_only=True, event_time="t")
    engine.add_relation("f", EVENTS, append_only=True, event_time="t")
    engine.add_relation("n", NAMES)
    catalog = {"e": EVENTS, "f": EVENTS, "n": NAMES}
    engine.add_view(plan_view("x", sql, catalog), lambda _: iter(()))
    try:
        return notes(engine.explain("x"))
    finally:
        engine.close()


def test_explain_says_what_is_freed_and_why_not() -> None:
    rolled = explained("SELECT window_end, count(*) FROM TUMBLE(e, t, '1m') GROUP BY window_end")
    assert rolled["aggregate"] == "frees state by window_end"
    assert rolled["scan"] is None
    assert explained("SELECT v, count(*) FROM e GROUP BY v")["aggregate"] == (
        "keeps all: no key follows event time"
    )
