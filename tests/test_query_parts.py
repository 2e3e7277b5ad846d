"""Parts of named queries: what stands in their place, whose their parameters are, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

import headrace as hr
from headrace.errors import DeclarationError, UnknownName
from headrace.named_queries import NamedQuery, named_query
from headrace.query_parts import QueryPart, query_part

PEOPLE = (
    "-- Who there is.\n-- $merchant TEXT: whose\nSELECT name, country FROM people WHERE merchant = $merchant;"
)
SLICED = "-- $by TEXT = NULL: by what\nCASE $by WHEN 'country' THEN country ELSE name END"
CHOSEN = "-- $only TEXT = NULL: only these\n$only IS NULL OR {sliced} = $only"


def parts(**texts: str) -> Mapping[str, QueryPart]:
    return {name: query_part(name, sql) for name, sql in texts.items()}


def query(sql: str, **texts: str) -> NamedQuery:
    return named_query("q", sql, parts=parts(people=PEOPLE, sliced=SLICED, chosen=CHOSEN, **texts))


def test_a_part_stands_in_parentheses_where_it_is_named() -> None:
    found = query("SELECT {sliced} AS slice, '{sliced}' AS text FROM {people} AS p -- {nobody}")
    assert found.text == (
        "SELECT (CASE CAST($by AS VARCHAR) WHEN 'country' THEN country ELSE name END) AS slice, "
        "'{sliced}' AS text FROM "
        "(SELECT name, country FROM people WHERE merchant = CAST($merchant AS VARCHAR)) AS p -- {nobody}"
    )
    assert [(one.name, one.default, one.is_required) for one in found.parameters] == [
        ("by", None, False),
        ("merchant", None, True),
    ]
    assert [one.name for one in found.parts] == ["sliced", "people"]
    assert found.parts[1].help == "Who there is."


def test_braces_that_name_nothing_are_those_of_sql() -> None:
    sql = "SELECT {'a': 1}, {a: 1} FROM {people}"
    assert query(sql).text.startswith("SELECT {'a': 1}, {a: 1} FROM (SELECT")


def test_what_a_part_is_given_stands_for_its_parameter() -> None:
    found = query(
        "-- $other TEXT\nSELECT {sliced(by => $other)}, {sliced(by => lower({chosen}))} FROM {people}"
    )
    assert "CASE CAST($other AS VARCHAR) WHEN" in found.text
    assert "CASE (lower((CAST($only AS VARCHAR) IS NULL OR" in found.text
    assert [one.name for one in found.parameters] == ["other", "only", "by", "merchant"]
    assert "by" not in {one.name for one in query("SELECT {sliced(by => 'name')}").parameters}


def test_what_the_query_says_itself_goes_before_the_part() -> None:
    found = query("-- $by TEXT = country: by this\nSELECT {sliced} FROM {people} WHERE {chosen}")
    assert [(one.name, one.default, one.help) for one in found.parameters] == [
        ("by", "country", "by this"),
        ("merchant", None, "whose"),
        ("only", None, "only these"),
    ]


def test_a_query_may_use_what_its_parts_want() -> None:
    found = query("SELECT {sliced}, $by || lower($by), {sliced(by => $by)}")
    assert (
        "CAST($by AS VARCHAR) || lower(CAST($by AS VARCHAR)), (CASE CAST($by AS VARCHAR) WHEN" in found.text
    )
    with pytest.raises(DeclarationError, match=r"\$bye is not described") as caught:
        query("SELECT {sliced},\n $bye")
    assert caught.value.where == "query 'q', line 2"


def test_clocks_in_parts_are_seen() -> None:
    assert query("SELECT {sliced}").is_timeless
    assert not query("SELECT {then}", then="now() - INTERVAL 1 DAY").is_timeless


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT {loop}", "the part 'loop' names itself: loop → pool → loop"),
        ("SELECT {sliced(bye => 1)}", "has no parameter 'bye'"),
        ("SELECT {sliced(by = 1)}", "cannot be read"),
        ("SELECT {sliced()}", "cannot be read"),
        ("SELECT {sliced(by => )}", "cannot be read"),
        ("SELECT {sliced(by => 1", "cannot be read"),
        ("SELECT {sliced}, {other}", r"\$by is described differently"),
        ("-- $by DATE\nSELECT {sliced}, $by", r"\$by is described differently in the query"),
        ("SELECT {idle}", r"\$x is described, but not used"),
        ("SELECT {bare}", r"\$y is not described"),
        ("SELECT {long}", "too long by its parts"),
    ],
)
def test_what_is_wrong_is_told_when_the_query_is_declared(sql: str, problem: str) -> None:
    texts = {
        "loop": "1 + {pool}", "pool": "{loop}", "other": "-- $by TEXT = name\n$by", "idle": "-- $x TEXT\n1",
        "bare": "$y", "long": "{wide} || {wide}", "wide": f"'{'x' * 600_000}'",
    }  # fmt: skip
    with pytest.raises(DeclarationError, match=problem):
        query(sql, **texts)


def test_a_part_that_is_not_there_is_told_with_its_place() -> None:
    with pytest.raises(UnknownName, match="no query part named 'slicd'") as caught:
        query("SELECT 1,\n {slicd}")
    assert caught.value.where == "query 'q', line 2"
    assert caught.value.hint == "did you mean 'sliced'?"
    with pytest.raises(UnknownName, match="no query part named 'people'") as caught:
        named_query("q", "FROM {people}")
    assert "before the queries" in str(caught.value.hint)


def test_parts_are_declared_in_any_order_of_a_folder_and_answer(tmp_path: Path) -> None:
    app = hr.App("shop")
    app.table("people", "merchant TEXT, name TEXT, country TEXT", key=("merchant", "name"))
    for name, sql in {"people": PEOPLE, "sliced": SLICED, "chosen": CHOSEN}.items():
        (tmp_path / f"{name}.sql").write_text(sql, encoding="utf-8")
    assert [one.name for one in app.query_parts(tmp_path)] == ["chosen", "people", "sliced"]
    app.query(
        "slices", "SELECT {sliced} AS slice, count(*) AS n FROM {people} AS p WHERE {chosen} GROUP BY 1"
    )
    with app.open(None) as run:
        rows = [("a", "Ada", "GB"), ("a", "Bo", "SE"), ("a", "Cy", "SE"), ("b", "Di", "SE")]
        run.upsert("people", [dict(zip(("merchant", "name", "country"), row, strict=True)) for row in rows])
        run.advance()
        asked = {"merchant": "a", "by": "country", "only": "SE"}
        assert run.ask("slices", asked).table.to_pylist() == [{"slice": "SE", "n": 2}]


def test_a_wrong_part_is_told_when_it_is_declared_and_none_of_its_folder_is_kept(tmp_path: Path) -> None:
    app = hr.App("shop")
    (tmp_path / "good.sql").write_text("1", encoding="utf-8")
    (tmp_path / "wrong.sql").write_text("{good} + {nobody}", encoding="utf-8")
    with pytest.raises(UnknownName, match="nobody"):
        app.query_parts(tmp_path)
    with pytest.raises(UnknownName, match="good"):
        app.query("q", "SELECT {good}")
    with pytest.raises(DeclarationError, match="has no SQL"):
        app.query_part("empty", "-- nothing")
    app.query_part("good", "1")
    with pytest.raises(DeclarationError, match="taken"):
        app.query_part("good", "2")
    with pytest.raises(DeclarationError, match="names itself"):
        app.query_part("self", "{self}")


def test_what_a_part_holds_a_parameter_to_is_the_querys() -> None:
    held = "-- $by TEXT = NULL IN (name, country): by what\n$by IS NULL"
    (one,) = query("-- $by TEXT = name\nSELECT {held}", held=held).parameters
    assert (one.default, one.choices, one.help) == ("name", ("name", "country"), "by what")
    (one,) = query("-- $by TEXT = name IN (name)\nSELECT {held}", held=held).parameters
    assert one.choices == ("name",)
    with pytest.raises(DeclarationError, match="described differently"):
        query("SELECT {held}, {sliced} FROM {people}", held=held)
