"""Named queries: what the comments declare, what is refused, and the answers by program and by address."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import headrace as hr
from headrace.errors import BadRequest, DeclarationError, UnknownName
from headrace.named_queries import named_query

MRR = """-- MRR at the end of each day,
-- in one currency.
-- $merchant TEXT: whose
-- $since DATE = 2026-01-02: the first day
-- $least DECIMAL(18,2) = NULL
SELECT day, mrr, '$merchant' AS text FROM mrr -- $none
WHERE merchant_id = $merchant AND day >= $since AND ($least IS NULL OR mrr >= $least) ORDER BY day;
"""


def shop() -> hr.App:
    app = hr.App("shop")
    app.table("mrr", "merchant_id TEXT, day DATE, mrr DECIMAL(18,2)", key=("merchant_id", "day"))
    app.query("mrr_per_day", MRR)
    return app


def filled(run: hr.Run) -> None:
    rows = [("a", date(2026, 1, day), day * 10) for day in (1, 2, 3)] + [("b", date(2026, 1, 2), 5)]
    run.upsert("mrr", [{"merchant_id": who, "day": day, "mrr": mrr} for who, day, mrr in rows])
    run.advance()


def test_the_comments_say_what_it_wants() -> None:
    query = named_query("mrr", MRR)
    assert query.help == "MRR at the end of each day, in one currency."
    assert [(one.name, one.type, one.is_required, one.default, one.help) for one in query.parameters] == [
        ("merchant", "VARCHAR", True, None, "whose"),
        ("since", "DATE", False, "2026-01-02", "the first day"),
        ("least", "DECIMAL(18,2)", False, None, ""),
    ]
    assert "CAST($since AS DATE)" in query.text
    assert "'$merchant' AS text" in query.text
    assert query.text.endswith("ORDER BY day")


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("SELECT $a", "$a is not described"),
        ("-- $a TEXT\nSELECT 1", "described, but not used"),
        ("-- $a\nSELECT $a", "describes no parameter"),
        ("-- $a NONSENSE\nSELECT $a", "is no type"),
        ("-- $a TEXT\n-- $a TEXT\nSELECT $a", "described twice"),
        ("-- $a TEXT IN ()\nSELECT $a", "is no type"),
        ("-- $a TEXT IN (b,, c)\nSELECT $a", "cannot be read"),
        ("-- $a TEXT IN ({b}, {c})\nSELECT $a", "cannot be read"),
        ("-- $a TEXT = d IN (b, c)\nSELECT $a", "the default of $a is none of its choices"),
        ("  ;", "has no SQL"),
        ("SELECT 'open", "cannot be read"),
    ],
)
def test_what_is_wrong_is_told_when_it_is_declared(sql: str, problem: str) -> None:
    with pytest.raises(DeclarationError, match=problem.replace("$", r"\$")):
        named_query("q", sql)


def test_a_default_may_hold_any_text() -> None:
    query = named_query(
        "q", "-- $a TIMESTAMP = '2026-01-01 10:30:00': when: exactly\n-- $b TEXT = 'it''s'\nSELECT $a, $b"
    )
    assert [one.default for one in query.parameters] == ["2026-01-01 10:30:00", "it's"]
    assert query.parameters[0].help == "when: exactly"


def test_text_is_cast_and_defaults_stand_in() -> None:
    with shop().open(None) as run:
        filled(run)
        assert run.ask("mrr_per_day", {"merchant": "a"}).table.column("mrr").to_pylist() == [20, 30]
        answer = run.ask("MRR_per_day", {"merchant": "a", "since": "2026-01-01", "least": "20.01"})
        assert answer.table.num_rows == 1
        assert answer.version == run.version
        assert run.ask("mrr_per_day", {"merchant": "a' OR 1=1 --"}).table.num_rows == 0
        assert run.asked_schema("mrr_per_day").names == ("day", "mrr", "text")


def test_a_wrong_question_is_told() -> None:
    with shop().open(None) as run:
        filled(run)
        with pytest.raises(BadRequest, match=r"wants \$merchant"):
            run.ask("mrr_per_day")
        with pytest.raises(BadRequest, match="no parameter 'merchnt'") as caught:
            run.ask("mrr_per_day", {"merchnt": "a"})
        assert caught.value.hint == "did you mean 'merchant'?"
        with pytest.raises(UnknownName, match="mrr_per_dy"):
            run.ask("mrr_per_dy")
        with pytest.raises(BadRequest, match=r"cannot be asked with \$since = 'soon'"):
            run.ask("mrr_per_day", {"merchant": "a", "since": "soon"})


HELD = """-- $plan TEXT = NULL IN (none, 'pay as you go', {plans}): which plan
-- $period TEXT = month IN (day, month)
-- $rows INTEGER = 10 BETWEEN 1 AND 100: how many
-- $shop TEXT = a
SELECT $plan AS plan, $period AS period, $rows AS rows, $shop AS shop
"""


def held() -> hr.App:
    app = hr.App("held")
    app.table("plans_sold", "shop TEXT, plan TEXT", key=("shop", "plan"))
    app.query("held", HELD)
    app.query(
        "plans", "-- $shop TEXT = a\nSELECT plan FROM plans_sold WHERE shop = $shop UNION ALL SELECT NULL"
    )
    app.python_query("told", lambda _, asked: [asked], columns="rows INTEGER",
                     wants="-- $rows INTEGER = 10 BETWEEN 1 AND 100")  # fmt: skip
    return app


def test_what_values_are_held_to_is_declared() -> None:
    plan, period, rows, shop = named_query("held", HELD).parameters
    assert (plan.choices, plan.choices_of) == (("none", "pay as you go"), "plans")
    assert (period.choices, period.default) == (("day", "month"), "month")
    assert (rows.least, rows.most, rows.help, rows.default) == ("1", "100", "how many", "10")
    assert not any(shop.limits)


@pytest.mark.parametrize(
    ("asked", "problem", "expected"),
    [
        ({"period": "fortnight"}, "period = 'fortnight'", "one of: day, month"),
        ({"period": ""}, "period = ''", "one of: day, month"),
        ({"rows": "0"}, "rows = '0'", "1 to 100"),
        ({"rows": 101}, "rows = '101'", "1 to 100"),
        ({"rows": "99999999999"}, "rows = '99999999999'", "a value of the type INTEGER"),
        ({"plan": "silver"}, "plan = 'silver'", "one of: none, pay as you go, gold"),
        ({"plan": "gold", "shop": "b"}, "plan = 'gold'", "one of: none, pay as you go, tin"),
    ],
)
def test_a_value_that_is_no_choice_is_told(asked: Mapping[str, Any], problem: str, expected: str) -> None:
    with held().open(None) as run:
        run.upsert("plans_sold", [{"shop": "a", "plan": "gold"}, {"shop": "b", "plan": "tin"}])
        run.advance()
        with pytest.raises(BadRequest) as caught:
            run.ask("held", asked)
        assert problem in caught.value.problem
        assert caught.value.expected == expected
        if list(asked) == ["rows"]:
            with pytest.raises(BadRequest):
                run.ask("told", asked)


def test_a_query_that_should_tell_choices_and_is_not_there_is_told() -> None:
    app = hr.App("lone")
    app.query("lone", "-- $plan TEXT = NULL IN ({plans})\nSELECT $plan AS plan")
    with app.open(None) as run, pytest.raises(UnknownName, match="plans"):
        run.asked_schema("lone")


def test_a_choice_is_taken() -> None:
    with held().open(None) as run:
        run.upsert("plans_sold", [{"shop": "a", "plan": "gold"}])
        before = run.advance()
        run.upsert("plans_sold", [{"shop": "a", "plan": "iron"}])
        run.advance()
        for plan in ("none", "pay as you go", "gold", "iron", None):
            found = run.ask("held", {"plan": plan, "rows": 100, "period": "day"}).table.to_pylist()
            assert found == [{"plan": plan, "period": "day", "rows": 100, "shop": "a"}]
        with pytest.raises(BadRequest):
            run.ask("held", {"plan": "iron"}, as_of=before)  # there was none then


def test_names_are_shared_with_views(tmp_path: Path) -> None:
    app = shop()
    with pytest.raises(DeclarationError, match="taken by the query"):
        app.view("mrr_per_day", "SELECT 1 AS a")
    (tmp_path / "total.sql").write_text("SELECT sum(mrr) AS mrr FROM mrr", encoding="utf-8")
    assert [query.name for query in app.queries(tmp_path)] == ["total"]
    with app.open(None) as run:
        filled(run)
        assert run.ask("total").table.column("mrr").to_pylist() == [65]


def mean(run: hr.Run, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows = run.query("SELECT mrr FROM mrr WHERE day >= $since", {"since": asked["since"]}).to_pylist()
    return [{"days": len(rows), "since": asked["since"], "left_out": "is dropped"}]


WANTS = "-- How many days.\n-- $since DATE = 2026-01-02: the first day"


def test_a_python_function_answers_under_a_name() -> None:
    app = shop()
    query = app.python_query("days", mean, columns="days BIGINT, since DATE", wants=WANTS)
    assert (query.help, [one.name for one in query.parameters]) == ("How many days.", ["since"])
    app.python_query("one", lambda *_: pa.table({"a": [1]}), columns="a BIGINT")
    with app.open(None) as run:
        filled(run)
        answer = run.ask("days", {"since": "2026-01-03"})
        assert answer.table.to_pylist() == [{"days": 1, "since": date(2026, 1, 3)}]
        assert answer.version == run.version
        assert run.asked_schema("days").names == ("days", "since") == answer.schema.names
        assert run.ask("one").table.to_pylist() == [{"a": 1}]
        with pytest.raises(BadRequest, match=r"cannot be asked with \$since = 'soon'"):
            run.ask("days", {"since": "soon"})
        with pytest.raises(BadRequest, match="of the present only"):
            run.ask("days", as_of=1)


def test_what_is_wrong_with_a_python_query_is_told() -> None:
    app = shop()
    with pytest.raises(DeclarationError, match="taken by the query"):
        app.python_query("mrr_per_day", mean, columns="a BIGINT")
    with pytest.raises(DeclarationError, match="cannot be called"):
        app.python_query("q", "mean", columns="a BIGINT")  # type: ignore[arg-type]
    with pytest.raises(DeclarationError, match="describes no parameter"):
        app.python_query("q", mean, columns="a BIGINT", wants="-- $since")
    app.python_query("text", lambda *_: [{"a": "text"}], columns="a BIGINT")
    app.python_query("other", lambda *_: pa.table({"b": [1]}), columns="a BIGINT")
    with app.open(None) as run:
        for name in ("text", "other"):
            with pytest.raises(DeclarationError, match="other columns than declared"):
                run.ask(name)
