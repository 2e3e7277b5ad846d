"""Pages that ask: parameters in the address, named queries, a waterfall, a form that writes a row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.browser import PHONE, OpenPage
from tests.serve.conftest import Shop, start

import headrace as hr
from headrace.console import attach
from headrace.dashboards import Dashboard, Parameter, check
from headrace.errors import DeclarationError
from headrace.panels import Cell, Form, FormAction, FormField, Table, Tile, Waterfall, build_panel

MERCHANTS = "SELECT merchant_id, name FROM merchants ORDER BY name"
STEPS = """-- How MRR moved.
-- $merchant TEXT: whose
SELECT step, place, amount, is_total, 'definition 3' AS definition FROM steps
WHERE merchant_id = $merchant ORDER BY place
"""
RULES = """-- $merchant TEXT
SELECT * FROM rules WHERE merchant_id = $merchant AND scenario = 'live'
"""
KINDS = """-- $merchant TEXT
SELECT $merchant AS merchant_id, kind AS scenario, 'end' AS churn_at
FROM (VALUES ('early'), ('late')) AS kinds (kind)
"""
LINK = "/views/steps?at={place}&of={merchant}"
CHURN_AT: list[str | tuple[str, str]] = ["cancellation", ("end", "end of period")]
PAGE = Dashboard(
    name="mrr",
    title="MRR",
    fit=False,
    parameters=[
        Parameter(name="merchant", label="merchant", view="merchant_list", value="merchant_id", text="name")
    ],
    panels=[
        Tile(
            view="movements", title="Start", value="amount", format="money EUR", stamp="definition",
            link="/views/steps?of={merchant}&step={step}", width=3,
        ),
        Waterfall(
            view="movements", title="Roll-forward", help="How it moved.", x="step", y="amount",
            total="is_total", order="place", format="money EUR", width=9,
        ),
        Table(
            view="movements", columns=["step", Cell(column="amount", link=LINK)],
            order="place", width=6, export="/v1/queries/movements?merchant={merchant}&format=spreadsheet",
        ),
        Tile(view="movements", params={"merchant": "m2"}, title="Bolt", value="amount"),
        Form(
            view="rules_of", title="Rules", table="rules", width=6,
            fields=[
                FormField(column="churn_at", label="Churn at", choices=CHURN_AT),
                FormField(column="note", label="Note"),
            ],
            actions=[
                FormAction(label="Preview", set={"scenario": "preview"}),
                FormAction(label="Apply", set={"scenario": "live", "seq": "$sequence"}),
                FormAction(label="Both kinds", view="kinds", every=True, set={"seq": 7}),
                FormAction(label="No kinds", view="kinds", every=True, delete=True),
            ],
        ),
    ],
)  # fmt: skip

FOLLOWED = Dashboard(
    name="rules",
    panels=[
        Form(
            view="rules", table="rules", where="merchant_id = 'm2' AND scenario = 'live'", by="note",
            fields=[
                FormField(column="churn_at", label="Churn at", choices=CHURN_AT),
                FormField(column="note"),
            ],
            actions=[FormAction(label="Save", unless_changed=True, set={"seq": "$next"})],
        )
    ],
)  # fmt: skip


def books() -> hr.App:
    app = hr.App("books")
    app.table("merchants", "merchant_id TEXT, name TEXT", key="merchant_id")
    app.table(
        "steps", "merchant_id TEXT, place INT, step TEXT, amount DECIMAL(18,2), is_total BOOLEAN",
        key=("merchant_id", "place"),
    )  # fmt: skip
    app.table(
        "rules", "merchant_id TEXT, scenario TEXT, churn_at TEXT, note TEXT, seq BIGINT",
        key=("merchant_id", "scenario"),
    )  # fmt: skip
    app.query("merchant_list", MERCHANTS)
    app.query("movements", STEPS)
    app.query("rules_of", RULES)
    app.query("kinds", KINDS)
    return app


@pytest.fixture
def served() -> Iterator[Shop]:
    shop = start(books())
    attach(shop.server.config.app, shop.run, [PAGE, FOLLOWED])  # type: ignore[arg-type]
    run = shop.run
    run.upsert("merchants", [{"merchant_id": "m&1", "name": "Anvil"}, {"merchant_id": "m2", "name": "Bolt"}])
    steps: list[tuple[str, int, bool]] = [("start", 100, True), ("new", 40, False), ("churn", -25, False)]
    for who, factor in (("m&1", 1), ("m2", 10)):
        total = sum(amount for _, amount, _ in steps) * factor
        moved = [(name, amount * factor, is_total) for name, amount, is_total in steps]
        run.upsert(
            "steps",
            [
                {"merchant_id": who, "place": place, "step": name, "amount": amount, "is_total": is_total}
                for place, (name, amount, is_total) in enumerate([*moved, ("end", total, True)])
            ],
        )
        rule = {"merchant_id": who, "scenario": "live", "churn_at": "cancellation", "note": None, "seq": 1}
        run.upsert("rules", [rule])
    run.advance()
    yield shop
    shop.stop()


@pytest.mark.browser
def test_a_choice_is_asked_for_and_stands_in_the_address(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/mrr")
    page.until("document.querySelector('.tile .number')?.textContent === '€100.00'")
    assert (
        page.js("document.querySelector('select[name=merchant]').selectedOptions[0].textContent") == "Anvil"
    )
    assert "definition 3" in page.js("document.querySelector('.tile .version').textContent")
    page.page.select_option("select[name=merchant]", "m2")
    page.until("document.querySelector('.tile .number').textContent === '€1,000.00'")
    assert page.page.url.endswith("?merchant=m2")
    assert page.js("document.querySelectorAll('.tile .number')[1].textContent") == "1,000.00"
    other = open_page(f"{served.url}/dashboards/mrr?merchant=m2")
    other.until("document.querySelector('.tile .number')?.textContent === '€1,000.00'")
    other.until("document.querySelectorAll('td a').length > 1")
    links = other.js("[...document.querySelectorAll('td a')].map(a => a.getAttribute('href'))")
    assert links[1] == "/views/steps?at=1&of=m2"


@pytest.mark.browser
def test_what_is_written_elsewhere_appears(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/mrr?merchant=m2")
    page.until("document.querySelector('.tile .number')?.textContent === '€1,000.00'")
    served.run.upsert(
        "steps", [{"merchant_id": "m2", "place": 0, "step": "start", "amount": 7, "is_total": True}]
    )
    page.until("document.querySelector('.tile .number').textContent === '€7.00'")


@pytest.mark.browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_waterfall_hangs_its_steps(served: Shop, open_page: OpenPage, theme: str, tmp_path: Path) -> None:
    page = open_page(f"{served.url}/dashboards/mrr?merchant=m%261", theme=theme)
    page.until("headracePage.panels[1].chart?.view?.data('rows').length === 4")
    source = "headracePage.panels[1].chart.view"
    names = page.js(f"Object.keys({source}.getState({{data: () => true}}).data)")
    bars: list[dict[str, Any]] = []
    for name in names:
        rows = page.js(f"{source}.data({name!r}).map(r => ({{x: r.x, low: r.low, high: r.high}}))")
        if len(rows) == 4 and rows[0].get("high") is not None:
            bars = rows
    assert [(bar["x"], bar["low"], bar["high"]) for bar in bars] == [
        ("start", 0, 100), ("new", 100, 140), ("churn", 140, 115), ("end", 0, 115),
    ]  # fmt: skip


def test_a_waterfall_has_one_shape() -> None:
    with pytest.raises(DeclarationError, match="either steps"):
        Waterfall(view="v", x="a", y="b", steps=["c"])
    with pytest.raises(DeclarationError, match="either steps"):
        Waterfall(view="v", x="a")


@pytest.mark.browser
def test_days_are_counted_from_today(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/mrr")
    days = "['today', 'today - 1d', '2026-01-01']"
    ask = f"import('/console/static/parameters.js').then(m => {days}.map(m.dayOf))"
    today, before, fixed = page.js(ask)
    assert date.fromisoformat(today) - date.fromisoformat(before) == timedelta(days=1)
    assert fixed == "2026-01-01"
    with pytest.raises(DeclarationError, match="the default of a day"):
        Dashboard(
            name="x", panels=[Table(view="v")], parameters=[{"name": "d", "is_date": True, "default": "soon"}]
        )


@pytest.mark.browser
def test_a_form_writes_what_was_changed_and_what_its_button_sets(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/mrr?merchant=m%261", size=PHONE)
    page.until("document.querySelector('.form select')?.value === 'cancellation'")
    page.page.select_option(".form select", "end")
    page.page.fill(".form input", "from July")
    page.page.click("text=Preview")
    page.until("document.querySelector('.form .message').textContent.startsWith('Preview: written')")
    rows = "SELECT scenario, churn_at, note FROM rules WHERE merchant_id = 'm&1' ORDER BY scenario"
    served.run.advance()
    assert served.run.query(rows).to_pylist() == [
        {"scenario": "live", "churn_at": "cancellation", "note": None},
        {"scenario": "preview", "churn_at": "end", "note": "from July"},
    ]
    page.page.select_option(".form select", "end")
    page.page.click("text=Apply")
    page.until("document.querySelector('.form .message').textContent.startsWith('Apply: written')")
    served.run.advance()
    live = served.run.query(
        "SELECT churn_at, seq > 1 AS later FROM rules WHERE scenario = 'live' AND merchant_id = 'm&1'"
    )
    assert live.to_pylist() == [{"churn_at": "end", "later": True}]


@pytest.mark.browser
def test_a_form_does_not_write_over_what_its_reader_has_not_seen(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/rules")
    message = "document.querySelector('.form .message').textContent"
    page.until("headracePage.panels[0].row")
    page.page.fill(".form input", "from July")
    rule = {"merchant_id": "m2", "scenario": "live", "churn_at": "end", "note": "Ada", "seq": 2}
    served.run.upsert("rules", [rule])
    served.run.advance()
    page.page.click("text=Save")
    page.until(f"{message}.startsWith('Save: not written')")
    told = page.js(message)
    assert "Churn at is end of period, was cancellation" in told
    assert told.endswith("changed by Ada. Look at it again, then press again.")
    served.run.advance()
    live = "SELECT * FROM rules WHERE merchant_id = 'm2' AND scenario = 'live'"
    assert served.run.query(live).to_pylist() == [rule]
    page.page.click("text=Save")
    page.until(f"{message}.startsWith('Save: written')")
    served.run.advance()
    assert served.run.query(live).to_pylist() == [{**rule, "note": "from July", "seq": 10**15}]


def test_a_form_names_columns_of_its_table() -> None:
    with books().open(None) as run:
        schemas = {info.name: info.schema for info in run.relations()}
        form = FOLLOWED.panels[0].model_copy(update={"at": "written_at"})
        wrong = Dashboard(name="wrong", panels=[form])
        with pytest.raises(DeclarationError, match="written_at"):
            check(wrong, schemas, {})


@pytest.mark.browser
def test_a_button_writes_every_row_of_a_query_in_one_commit(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/mrr?merchant=m2")
    page.until("document.querySelector('.form select')?.value === 'cancellation'")
    before = served.run.version.number
    page.page.fill(".form input", "to compare")
    page.page.click("text=Both kinds")
    page.until("document.querySelector('.form .message').textContent.startsWith('Both kinds: written')")
    served.run.advance()
    assert served.run.version.number == before + 1
    beside = (
        "SELECT scenario, churn_at, note, seq FROM rules "
        "WHERE merchant_id = 'm2' AND scenario <> 'live' ORDER BY scenario"
    )
    assert served.run.query(beside).to_pylist() == [
        {"scenario": name, "churn_at": "end", "note": "to compare", "seq": 7} for name in ("early", "late")
    ]
    page.page.click("text=No kinds")
    page.until("document.querySelector('.form .message').textContent.startsWith('No kinds: written')")
    served.run.advance()
    assert served.run.query(beside).num_rows == 0
    with pytest.raises(ValueError, match="wants a view"):
        FormAction(label="b", every=True)


@pytest.mark.browser
def test_a_button_writes_the_rows_that_stand_there_now(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/mrr?merchant=m2")
    page.until("headracePage.feeds.get('kinds').loaded")
    feed = "headracePage.feeds.get('kinds')"
    page.js(f"clearTimeout({feed}.poll.timer), {feed}.rows.clear(), {feed}.text = ''")
    page.js(f"{feed}.rows.add(['m2', 'old', 'end'], 1)")
    page.page.click("text=Both kinds")
    page.until("document.querySelector('.form .message').textContent.startsWith('Both kinds: written')")
    served.run.advance()
    beside = "SELECT scenario FROM rules WHERE merchant_id = 'm2' AND scenario <> 'live' ORDER BY scenario"
    assert served.run.query(beside).column(0).to_pylist() == ["early", "late"]


@pytest.mark.browser
def test_a_number_leads_to_its_row_its_file_and_its_sql(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/mrr?merchant=m2")
    page.until("document.querySelector('.tile .number')?.textContent === '€1,000.00'")
    page.page.hover(".tile h2 a")
    assert (
        page.js("document.querySelector('.tile h2 a').getAttribute('href')")
        == "/views/steps?of=m2&step=start"
    )
    page.page.hover(".panel.table .export")
    address = page.js("document.querySelector('.panel.table .export').href")
    file = page.page.request.get(address).text()
    assert file.startswith("\ufeff")
    assert file.splitlines()[1:3] == [
        '"start","0","1000.00","true","definition 3"',
        '"new","1","400.00","false","definition 3"',
    ]
    page.page.click(".panel.waterfall .info")
    page.page.click("dialog summary")
    page.until("document.querySelector('dialog pre').textContent.includes('-- How MRR moved.')")
    assert "definition 3" in page.js("document.querySelector('dialog').textContent")


def test_a_page_that_does_not_ask_for_what_its_queries_want_is_refused() -> None:
    with books().open(None) as run:
        asked = {name: run.asked_schema(name) for name in run.app.named_queries}
        schemas = {info.name: info.schema for info in run.relations()} | asked
        check(PAGE, schemas, run.app.named_queries)
        bare = Dashboard(name="bare", panels=[Table(view="movements")])
        with pytest.raises(DeclarationError, match=r"wants \$merchant"):
            check(bare, schemas, run.app.named_queries)
        idle = Dashboard(
            name="idle", panels=[Table(view="merchant_list")], parameters=[Parameter(name="x", choices=["1"])]
        )
        with pytest.raises(DeclarationError, match="nothing on the page asks for the parameter 'x'"):
            check(idle, schemas, run.app.named_queries)


@pytest.mark.parametrize(
    "link", ["https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)", "/a b"]
)
def test_links_stay_on_the_server(link: str) -> None:
    with pytest.raises(DeclarationError, match="page of this server"):
        build_panel({"type": "table", "view": "v", "link": link})
