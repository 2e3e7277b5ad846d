"""Definitions change and nothing else does: previews stand beside, are applied in one step and taken back;
each setting flipped forth and back restores every number; other merchants see nothing of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from tests.solutions.billing.test_metrics import put, told

from headrace.errors import BadRequest
from headrace.solutions import billing
from headrace.solutions.billing import settings
from headrace.solutions.billing.app import app
from headrace.solutions.billing.models import Setting
from headrace.solutions.billing.presets import PRESETS
from headrace.testing import difference

MERCHANT = "First payment"
"""A merchant with a customer who pays later and one who never does."""
FLIPS: list[dict[str, Any]] = [
    {"subtract_recurring_discounts": False},
    {"subtract_once_discounts": True},
    {"active_from": "first_payment"},
    {"churn_at": "cancellation"},
    {"count_past_due": False},
    {"reactivation_days": 0},
    {"refunds": "subtract"},
    {"reporting_currency": "jpy"},
    {"rate_rule": "latest"},
    {"time_zone": "Pacific/Auckland"},
    {"week_start": "sunday"},
    {"churn_formula": "common"},
]
SEQUENCE = count(2001)
NUMBERS = [view for view in app.view_decls if view not in ("scenarios", "mrr_selected", "customer_mrr")]
"""Views of numbers; the others show the settings themselves, or the clock."""


@pytest.fixture(scope="module")
def books() -> Iterator[Any]:
    with app.open(None) as run:
        for name, row in told():
            if name != "settings":
                put(run, name, row)
        run.advance()
        yield run


def numbers(run: Any, but: str | None = None) -> dict[str, pa.Table]:
    """Every view; without one merchant's rows where `but` names it."""
    run.advance()
    found = {}
    for view in NUMBERS:
        rows = run.snapshot(view)[1]
        if but is not None and "merchant_id" in rows.column_names:
            rows = rows.filter(pa.compute.not_equal(rows.column("merchant_id"), but))
        found[view] = rows
    return found


def same(one: dict[str, pa.Table], other: dict[str, pa.Table]) -> None:
    for view in one:
        assert difference(one[view], other[view]) is None, view


@pytest.mark.parametrize("flip", FLIPS, ids=lambda flip: next(iter(flip)))
def test_a_setting_forth_and_back_restores_every_number(books: Any, flip: dict[str, Any]) -> None:
    before = numbers(books)
    for values in ({}, flip, {}):
        set_all(books, values)
        books.advance()
    same(before, numbers(books))


def set_all(run: Any, values: dict[str, Any]) -> None:
    """Give every merchant the default settings, and these."""
    merchants = [row["merchant_id"] for row in run.query("SELECT merchant_id FROM merchants").to_pylist()]
    seq = next(SEQUENCE)
    rows = [{**values, "merchant_id": one, "valid_at": f"{seq}-01-01", "seq": seq} for one in merchants]
    run.upsert("settings", rows, on_reject="raise")


def test_a_preview_stands_beside_and_changes_nothing_in_force(books: Any) -> None:
    others, own = numbers(books, but=MERCHANT), mrr(books)
    settings.preview(books, MERCHANT, by="ada", active_from="first_payment", note="what if")
    same(others, numbers(books, but=MERCHANT))
    assert mrr(books) == own == {"a": 1000, "never": 1000}
    assert mrr(books, settings.PREVIEW) == {"a": 1000}
    asked = {"merchant": MERCHANT, "day": "2026-02-01", "other": settings.PREVIEW}
    largest = books.ask("scenario_difference", asked).table.to_pylist()
    assert [(row["customer_id"], row["difference"]) for row in largest] == [("never", -1000)]

    versions = books.version.number
    settings.apply(books, MERCHANT, by="bo")
    books.advance()
    assert books.version.number == versions + 1
    assert mrr(books) == {"a": 1000}
    with pytest.raises(BadRequest, match="preview"):
        mrr(books, settings.PREVIEW)
    with pytest.raises(KeyError):
        settings.apply(books, MERCHANT, by="bo")

    settings.roll_back(books, MERCHANT, by="cleo")
    books.advance()
    assert mrr(books) == own
    settings.roll_back(books, MERCHANT, by="cleo")
    books.advance()
    assert mrr(books) == {"a": 1000}
    settings.roll_back(books, MERCHANT, by="cleo")
    same(others, numbers(books, but=MERCHANT))
    said = books.ask("settings_history", {"merchant": MERCHANT, "scenario": "live"}).table.to_pylist()
    assert [row["changed_by"] for row in said][-4:] == ["bo", "cleo", "cleo", "cleo"]


def mrr(books: Any, scenario: str = settings.LIVE) -> dict[str, int]:
    asked = {"merchant": MERCHANT, "scenario": scenario, "day": "2026-02-01"}
    rows = books.ask("customers_by_mrr", asked).table.to_pylist()
    return {row["customer_id"]: row["mrr"] for row in rows}


def test_presets_side_by_side(books: Any) -> None:
    settings.compare(books, MERCHANT, by="ada")
    books.advance()
    asked = {"merchant": MERCHANT, "day": "2026-02-01"}
    rows = books.ask("compare_scenarios", asked).table.to_pylist()
    held = {row["scenario"]: row["mrr"] for row in rows}
    assert held.keys() == {"live", *PRESETS}
    assert (held["stripe"], held["profitwell"], held["baremetrics"]) == (2000, 2000, 2000)
    assert held["chartmogul"] == 1000
    for name in PRESETS:
        settings.discard(books, MERCHANT, name)
    books.advance()
    rows = books.ask("compare_scenarios", asked).table.to_pylist()
    assert [row["scenario"] for row in rows] == ["live"]


def test_the_presets_of_the_page_are_those_of_python(books: Any) -> None:
    settings.compare(books, MERCHANT, by="ada")
    books.advance()
    by_python = {name: settings.current(books, MERCHANT, name) for name in PRESETS}
    for name in PRESETS:
        settings.discard(books, MERCHANT, name)
    asked = books.ask("preset_settings", {"merchant": MERCHANT}).table.to_pylist()
    at = {"valid_at": datetime.now(UTC), "seq": 2_000_000_000_000_000}
    assert not books.upsert("settings", [row | at for row in asked]).rejected
    books.advance()
    assert {name: settings.current(books, MERCHANT, name) for name in PRESETS} == by_python
    for name in PRESETS:
        settings.discard(books, MERCHANT, name)
    books.advance()  # whoever changes settings next must see how far their sequence is


def test_every_setting_that_differs_has_its_reason(books: Any) -> None:
    others: dict[str, Any] = {
        "subtract_recurring_discounts": False,
        "subtract_once_discounts": True,
        "active_from": "first_payment",
        "churn_at": "cancellation",
        "count_past_due": False,
        "reactivation_days": 90,
        "reporting_currency": "eur",
        "rate_rule": "latest",
        "time_zone": "Asia/Tokyo",
        "week_start": "sunday",
        "churn_formula": "common",
        "refunds": "subtract",
    }
    settings.preview(books, MERCHANT, by="ada", **others)
    books.advance()
    rows = books.ask("scenario_reasons", {"merchant": MERCHANT, "other": settings.PREVIEW}).table.to_pylist()
    assert [row["setting"] for row in rows] == list(others)
    said = [str(value).lower() if isinstance(value, bool) else str(value) for value in others.values()]
    assert [row["value"] for row in rows] == said
    assert all(row["reason"] and row["moves"] and row["in_force"] != row["value"] for row in rows)
    assert others.keys() == Setting.model_fields.keys() - KEYS
    settings.discard(books, MERCHANT)
    books.advance()
    assert books.ask("scenario_reasons", {"merchant": MERCHANT}).table.num_rows == 0


KEYS = {"merchant_id", "scenario", "preset", "valid_at", "seq", "changed_by", "note"}


def test_what_is_no_setting_is_refused(books: Any) -> None:
    with pytest.raises(ValueError, match="no setting 'churn'"):
        settings.preview(books, MERCHANT, by="ada", churn="never")
    with pytest.raises(
        ValueError, match=r"churn_at cannot be 'cancelation': .*'cancellation' or 'period_end'"
    ):
        settings.preview(books, MERCHANT, by="ada", churn_at="cancelation")
    with pytest.raises(ValueError, match="reactivation_days cannot be -1"):
        settings.change(books, MERCHANT, by="ada", reactivation_days=-1)
    with pytest.raises(ValueError, match=r"reactivation_days cannot be 36501: .*36500"):
        settings.change(books, MERCHANT, by="ada", reactivation_days=36_501)
    with pytest.raises(ValueError, match=r"reporting_currency cannot be 'xyz': no such currency.* 'eur'"):
        settings.change(books, MERCHANT, by="ada", reporting_currency="xyz")
    with pytest.raises(
        ValueError, match=r"time_zone cannot be 'Berlin': no such time zone.* 'Europe/Berlin'"
    ):
        settings.change(books, MERCHANT, by="ada", time_zone="Berlin")
    with pytest.raises(ValueError, match="nothing to go back to"):
        settings.roll_back(books, "nobody", by="ada")
    with pytest.raises(ValueError, match="no preset 'acme'"):
        settings.preview(books, MERCHANT, by="ada", preset="acme")
    with pytest.raises(ValueError, match="a preview needs a name"):
        settings.preview(books, MERCHANT, by="ada", scenario="live")
    with pytest.raises(ValueError, match="not taken away"):
        settings.discard(books, MERCHANT, "live")
    with pytest.raises(KeyError):
        settings.discard(books, MERCHANT, "none")
    for field, value in (("reactivation_days", 10**12), ("reporting_currency", "xyz")):
        row = {"merchant_id": MERCHANT, "valid_at": "2026-01-01", "seq": 1, field: value}
        assert books.upsert("settings", [row]).rejections[0].field == field
    row = {"merchant_id": "m", "name": "M", "time_zone": "Mars/Olympus"}
    assert books.upsert("merchants", [row]).rejections[0].field == "time_zone"


def test_a_setting_may_be_written_as_people_write_it(books: Any) -> None:
    written = {"count_past_due": "no", "reactivation_days": "90", "reporting_currency": "EUR"}
    chosen = settings.preview(books, MERCHANT, by="ada", **written)
    wanted = {"count_past_due": False, "reactivation_days": 90, "reporting_currency": "eur"}
    assert wanted.items() <= chosen.items()
    books.advance()
    assert wanted.items() <= settings.current(books, MERCHANT, settings.PREVIEW).items()
    settings.discard(books, MERCHANT)
    books.advance()


def test_a_preview_that_does_not_know_the_last_change_is_not_put_in_force(books: Any) -> None:
    before = settings.current(books, MERCHANT)
    settings.preview(books, MERCHANT, by="ada", churn_at="cancellation")
    books.advance()
    settings.change(books, MERCHANT, by="bo", count_past_due=not before["count_past_due"])
    books.advance()
    with pytest.raises(ValueError, match=r"changed after 'preview' was made, by bo at .*preview again"):
        settings.apply(books, MERCHANT, by="ada")
    settings.preview(books, MERCHANT, by="ada", churn_at="cancellation")
    books.advance()
    both = settings.apply(books, MERCHANT, by="ada")
    assert both["churn_at"] == "cancellation"
    assert both["count_past_due"] is not before["count_past_due"]
    books.advance()
    for _ in range(2):
        settings.change(
            books, MERCHANT, by="ada", **{name: before[name] for name in before if name != "preset"}
        )
        books.advance()


class Slow:
    """Books of somebody who is overtaken between reading and writing, so many times."""

    def __init__(self, books: Any, overtaken: list[dict[str, Any]]) -> None:
        self._books = books
        self._overtaken = overtaken

    def __getattr__(self, name: str) -> Any:
        return getattr(self._books, name)

    def transaction(self, **how: Any) -> Any:
        if self._overtaken:
            settings.change(self._books, MERCHANT, by="bo", **self._overtaken.pop())
        return self._books.transaction(**how)


def test_of_two_changes_at_one_moment_both_count(books: Any) -> None:
    before = settings.current(books, MERCHANT)
    others = [{"refunds": "subtract"}, {"week_start": "saturday"}]
    chosen = settings.change(Slow(books, others), MERCHANT, by="ada", churn_formula="common")
    books.advance()
    wanted = {"refunds": "subtract", "week_start": "saturday", "churn_formula": "common"}
    assert wanted.items() <= chosen.items()
    assert settings.current(books, MERCHANT) == chosen
    settings.preview(books, MERCHANT, by="ada", churn_at="cancellation")
    books.advance()
    with pytest.raises(ValueError, match="at the same moment: look, and do it again"):
        settings.apply(Slow(books, [{"refunds": "ignore"}]), MERCHANT, by="ada")
    books.advance()
    assert settings.current(books, MERCHANT) == {**chosen, "refunds": "ignore"}
    settings.discard(books, MERCHANT)
    for _ in range(2):
        settings.change(
            books, MERCHANT, by="ada", **{name: before[name] for name in before if name != "preset"}
        )
        books.advance()


def test_the_form_fills_in_the_same_presets() -> None:
    page = yaml.safe_load((Path(billing.__file__).parent / "dashboards" / "settings.yaml").read_text())
    told = [one["fills"] for one in found(page, "fills")]
    assert told
    assert all(one == {name: dict(preset) for name, preset in PRESETS.items()} for one in told)


def found(part: Any, name: str) -> Iterator[dict[str, Any]]:
    """Every mapping with such a key in a page."""
    if isinstance(part, dict):
        if isinstance(part.get(name), dict):
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from found(one, name)


def test_every_view_costs_what_changed(books: Any) -> None:
    rules = {view: set(rules_of(books.explain(view))) for view in app.view_decls}
    assert {view for view, used in rules.items() if "recomputed" in used} == set()
    assert {view for view, used in rules.items() if "touched groups" in used} == {"discount_segments"}


def rules_of(info: Any) -> Iterator[str]:
    """The rules of a view's operators."""
    yield info.rule
    for part in info.inputs:
        yield from rules_of(part)


def test_settings_are_changed_on_the_command_line(
    books: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("headrace.connect", lambda _: nullcontext(books))

    def do(*words: str) -> str:
        assert settings.main(["http://127.0.0.1:1", MERCHANT, *words]) == 0
        books.advance()
        return capsys.readouterr().out

    before = do("show")
    assert "churn_at = cancellation" in do(
        "preview", "--by", "Ada", "churn_at=cancellation", "reactivation_days=90"
    )
    assert do("show") == before
    assert "reactivation_days = 90" in do("apply", "--by", "Ada", "--note", "as agreed")
    assert do("show") != before
    assert do("roll-back", "--by", "Ada") == before
    assert "count_past_due = False" in do("preview", "count_past_due=false")
    assert do("discard") == ""
    do("preview", "--by", "Ada", "count_past_due=false")
    assert settings.main(["http://127.0.0.1:1", MERCHANT, "preview", "--by", "Bo", "refunds=subtract"]) == 0
    assert "'preview', made by Ada at " in capsys.readouterr().err
    books.advance()
    do("discard")
    assert settings.main(["http://127.0.0.1:1", "nobody", "preview", "refunds=subtract"]) == 1
    assert "no merchant 'nobody'" in capsys.readouterr().err
    assert settings.main(["http://127.0.0.1:1", MERCHANT, "preview", "preset=chartmogul"]) == 1
    assert "write --preset chartmogul" in capsys.readouterr().err
    for words in (["preview", "no_such=1"], ["preview", "churn_at"], ["apply", "--scenario", "none"]):
        assert settings.main(["http://127.0.0.1:1", MERCHANT, *words]) == 1
        assert capsys.readouterr().err
