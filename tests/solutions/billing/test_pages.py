"""The pages of billing analytics: every panel has its columns, every page draws, in both themes."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import yaml
from playwright.sync_api import Route
from tests.browser import PHONE, WALL, OpenPage, Watched
from tests.browser import chromium as chromium
from tests.browser import open_page as open_page
from tests.serve.conftest import Shop, start

from headrace.console import attach
from headrace.dashboards import load_dashboards
from headrace.panels import Table
from headrace.solutions.billing import settings
from headrace.solutions.billing.app import HERE, app
from headrace.solutions.billing.presets import PRESETS
from headrace.solutions.billing.prove import round_of
from headrace.solutions.billing.simulate.history import make_world

FIELDS = [
    "preset", "subtract_recurring_discounts", "subtract_once_discounts", "active_from", "churn_at",
    "count_past_due", "refunds",
]  # fmt: skip
"""The form's first fields that are chosen, in their order."""
PAGES = sorted(path.stem for path in (HERE / "dashboards").glob("*.yaml"))


@pytest.fixture(scope="module")
def served() -> Iterator[Shop]:
    run = app.open(None, auto=True)
    world = make_world(seed=2, merchants=2, customers=20, years=2, until=datetime.now(UTC))
    for name, rows in world.rows.take().items():
        (run.append if name in app.streams else run.upsert)(name, rows)
    run.advance()
    round_of(run, random.Random(1), customers=3)
    run.advance()
    shop = start(run=run)
    attach(shop.server.config.app, run, load_dashboards(HERE / "dashboards"))  # type: ignore[arg-type]
    yield shop
    shop.stop()


def test_every_preset_fills_the_form_with_what_it_means() -> None:
    page = yaml.safe_load((HERE / "dashboards" / "settings.yaml").read_text(encoding="utf-8"))
    fields = {field["column"]: field for field in page["panels"][0]["fields"]}
    assert fields["preset"]["fills"] == {name: dict(values) for name, values in PRESETS.items()}
    assert set().union(*PRESETS.values()) <= fields.keys()


def test_a_number_of_one_currency_leads_to_what_is_of_that_currency() -> None:
    pages = {page.name: page for page in load_dashboards(HERE / "dashboards")}
    per_currency = ("slices", "usage_revenue", "payment_recovery", "involuntary_churn")
    panels = [one for page in pages.values() for one in page.panels if isinstance(one, Table)]
    tables = [one for one in panels if one.view in per_currency]
    links = [cell.link for one in tables for cell in one.cells if cell.link and cell.column != "part"]
    assert len(tables) == len(per_currency)
    for link in links:
        assert "of_currency={currency}" in link
        assert "of_currency" in [one.name for one in pages[urlsplit(link).path.split("/")[-1]].parameters]


@pytest.mark.browser
@pytest.mark.parametrize(("theme", "size"), [("light", WALL), ("dark", PHONE)])
def test_every_page_draws_without_a_problem(
    served: Shop, open_page: OpenPage, theme: str, size: tuple[int, int]
) -> None:
    for name in PAGES:
        page = open_page(f"{served.url}/dashboards/{name}", theme=theme, size=size)
        page.until("[...headracePage.feeds.values()].every(feed => feed.loaded)")
        page.until("headracePage.marked.size === 0 && !headracePage.drawing")
        assert page.js("[...document.querySelectorAll('.problem')].map(one => one.textContent)") == [], name
        assert page.js("document.documentElement.scrollWidth") <= size[0], name


@pytest.mark.browser
def test_a_preview_is_compared_and_put_in_force(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/settings")
    page.until("document.querySelector('.form select')?.value === 'stripe'")
    page.page.select_option(".form select", "baremetrics")
    assert page.js("headracePage.panels[0].inputs.get('churn_at').value") == "cancellation"
    page.page.click("text=Preview")
    page.until("document.querySelector('.form .message').textContent.startsWith('Preview: written')")
    page.until("document.querySelector('select[name=other]').value === 'preview'")
    page.until("headracePage.panels[1].feed.asked?.includes('other=preview')")
    page.until("headracePage.panels[1].feed.rows.select({}).some(row => row.includes('preview'))")
    page.until("document.querySelectorAll('.panel')[2].textContent.includes('churn_at')")
    page.page.on("dialog", lambda dialog: dialog.accept())
    later = open_page(f"{served.url}/dashboards/settings?other=preview")
    later.page.on("dialog", lambda dialog: dialog.accept())
    later.page.fill(".form label:nth-last-child(2) input", "Ada")
    later.page.click("text=Put in force what is compared")
    later.until("document.querySelector('.form .message').textContent.includes('compared: written')")
    served.run.advance()
    last = "SELECT preset, changed_by FROM settings WHERE scenario = 'live' AND merchant_id <> 'shared'"
    assert served.run.query(last).to_pylist() == [{"preset": "baremetrics", "changed_by": "Ada"}]
    page.page.click("text=Roll back")
    page.until("document.querySelector('.form .message').textContent.startsWith('Roll back: not written')")
    told = page.js("document.querySelector('.form .message').textContent")
    assert "Churn at is cancellation, was end of period" in told
    assert "changed by Ada at 20" in told
    page.page.click("text=Roll back")
    page.until("document.querySelector('.form .message').textContent.startsWith('Roll back: written')")
    page.page.select_option(".form select", "baremetrics")
    page.page.click("text=Put in force")
    page.until("document.querySelector('.form .message').textContent.startsWith('Put in force: written')")
    page.until("document.querySelector('.panel.form .version').textContent.includes('set ')")
    served.run.advance()
    live = "SELECT churn_at, preset FROM settings WHERE scenario = 'live' AND merchant_id <> 'shared'"
    assert served.run.query(live).to_pylist() == [{"churn_at": "cancellation", "preset": "baremetrics"}]
    page.page.click("text=Roll back")
    page.until("document.querySelector('.form .message').textContent.startsWith('Roll back: written')")
    page.page.click("text=Discard preview")
    page.until("document.querySelector('.form .message').textContent.startsWith('Discard preview: written')")
    served.run.advance()
    assert served.run.query(live).to_pylist() == [{"churn_at": "period_end", "preset": "stripe"}]
    previews = "SELECT * FROM settings WHERE scenario = 'preview' AND merchant_id <> 'shared'"
    assert served.run.query(previews).num_rows == 0


@pytest.mark.browser
def test_nobody_takes_back_unseen_what_another_put_in_force(served: Shop, open_page: OpenPage) -> None:
    message = "document.querySelector('.form .message').textContent"
    live = (
        "SELECT churn_at, refunds, reactivation_days AS days FROM settings "
        "WHERE merchant_id = 'shared' AND scenario = 'live'"
    )
    served.run.upsert("merchants", [{"merchant_id": "shared", "name": "Shared"}])
    served.run.advance()
    address = f"{served.url}/dashboards/settings?merchant=shared"
    first, second = open_page(address), open_page(f"{address}&other=preview")
    for one, words in ((first, ("churn_at", "cancellation")), (second, ("refunds", "subtract"))):
        one.page.on("dialog", lambda dialog: dialog.accept())
        one.until("document.querySelector('.form select')?.value === 'stripe'")
        one.page.select_option(f".form select >> nth={FIELDS.index(words[0])}", words[1])
    first.page.fill(".form label:nth-last-child(2) input", "Ada")
    first.page.click("text=Put in force")
    first.until(f"{message}.startsWith('Put in force: written')")

    second.page.click(".buttons button:text-is('Preview')")
    second.until(f"{message}.startsWith('Preview: not written')")
    assert "Churn at is cancellation, was end of period, changed by Ada at 20" in second.js(message)
    assert second.js(message).endswith("Look at it again, then press again.")
    second.page.click(".buttons button:text-is('Preview')")
    second.until(f"{message}.startsWith('Preview: written')")
    served.run.advance()
    settings.change(served.run, "shared", by="Bo", reactivation_days=30)
    served.run.advance()
    second.until("headracePage.panels[0].row.includes(30)")
    second.page.reload()
    second.until("document.querySelector('.form select') && headracePage.panels[0].row?.includes(30)")
    second.until("[...headracePage.feeds.values()].every(feed => feed.loaded)")
    second.page.click("text=Put in force what is compared")
    second.until(f"{message}.startsWith('Put in force what is compared: not written')")
    assert "changed after what it writes was made, by Bo at 20" in second.js(message)
    served.run.advance()
    kept = {"churn_at": "cancellation", "refunds": "ignore", "days": 30}
    assert served.run.query(live).to_pylist() == [kept]

    def meanwhile(route: Route) -> None:
        settings.change(served.run, "shared", by="Cy", reactivation_days=60)
        route.continue_()

    second.page.route("**/v1/tables/settings/upsert*", meanwhile)
    second.page.click(".buttons button:text-is('Put in force')")
    second.until(f"{message}.startsWith('Put in force: not written')")
    second.expect("422")
    served.run.advance()
    assert served.run.query(live).to_pylist() == [{**kept, "days": 60}]


@pytest.mark.browser
def test_a_number_is_opened_down_to_its_events(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/movements?since=2020-01-01")
    page.until("document.querySelectorAll('tbody tr').length > 3")
    address = page.js("document.querySelectorAll('tbody tr')[0].cells[5].querySelector('a').href")
    page.page.goto(address)
    rows = "[...(document.querySelectorAll('.panel')[2]?.querySelectorAll('tbody tr') ?? [])]"
    page.until(f"{rows}.length > 0")
    relations = page.js(f"{rows}.map(row => row.cells[0].textContent)")
    assert set(relations) & {"subscriptions", "subscription_items", "prices", "discounts", "invoices"}


@pytest.mark.browser
def test_all_vendors_are_compared_by_one_button_with_the_reasons(served: Shop, open_page: OpenPage) -> None:
    served.run.upsert("merchants", [{"merchant_id": "alone", "name": "Alone"}])
    served.run.advance()
    page = open_page(f"{served.url}/dashboards/definitions?merchant=alone")
    rows = "document.querySelectorAll('.panel.table')[0].querySelectorAll('tbody tr')"
    page.until(f"{rows}.length === 1")
    page.page.fill(".form input", "Ada")
    page.page.click("text=Compare all vendors")
    page.until(f"{rows}.length === 5")
    reasons = "document.querySelectorAll('.panel.table')[1].textContent"
    page.until(f"{reasons}.includes('asked to leave') && {reasons}.includes('introductory offer')")
    served.run.advance()
    by = "SELECT scenario, changed_by FROM settings WHERE merchant_id = 'alone' ORDER BY scenario"
    assert served.run.query(by).to_pylist() == [
        {"scenario": name, "changed_by": "Ada"} for name in sorted(PRESETS)
    ]
    page.page.click("text=Take the vendors away")
    page.until(f"{rows}.length === 1")


@pytest.mark.browser
def test_every_number_of_a_period_leads_to_what_it_is_made_of(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/overview")
    table = "[...document.querySelectorAll('.panel.table')].find(one => one.textContent.startsWith('Period'))"
    page.until(f"{table}.querySelectorAll('tbody tr').length > 3")
    cells = f"[...{table}.querySelectorAll('tbody tr')].flatMap(row => [...row.cells].slice(2, 7))"
    shown = page.js(f"{cells}.map(one => [one.textContent, one.firstElementChild.href])")
    text, address = next(one for one in shown if any(digit in one[0] for digit in "123456789"))
    page.page.goto(address)
    page.until("document.querySelectorAll('tbody tr').length > 0")
    kinds = page.js("[...document.querySelectorAll('tbody tr')].map(row => row.cells[1].textContent)")
    assert len(set(kinds)) == 1, text
    assert f"type={kinds[0]}" in address


def overview(served: Shop, open_page: OpenPage, kind: str) -> Watched:
    """Open the overview; return it once all of it is drawn, a chart of that kind too."""
    page = open_page(f"{served.url}/dashboards/overview")
    page.until("[...headracePage.feeds.values()].every(feed => feed.loaded)")
    page.until("headracePage.marked.size === 0 && !headracePage.drawing")
    page.until(f"document.querySelector('.panel.{kind}.drawn canvas')")
    return page


@pytest.mark.browser
def test_a_bar_leads_to_the_movements_that_it_is_made_of(served: Shop, open_page: OpenPage) -> None:
    page = overview(served, open_page, "waterfall")
    page.js("""(() => {
        const panel = headracePage.panels.find((one) => one.told.type === "waterfall");
        const at = panel.chart.shown.findIndex((one) => one.x === "new");
        panel.chart.clicked({}, { mark: { marktype: "rect" }, datum: { i: at } });
    })()""")
    page.until("location.pathname === '/dashboards/movements'")
    page.until("document.querySelector('select[name=type]')?.value === 'new'")


@pytest.mark.browser
def test_a_chart_is_opened_by_keys(served: Shop, open_page: OpenPage) -> None:
    page = overview(served, open_page, "waterfall")
    chart = page.page.locator(".panel.waterfall .chart")
    assert (chart.get_attribute("aria-label") or "").startswith("Roll-forward: start ")
    mark = "document.querySelector('.panel.waterfall .mark').textContent"
    chart.press("End")
    assert page.js(mark).startswith("end · ")
    chart.press("ArrowRight")
    assert page.js(mark).startswith("end · ")
    chart.blur()
    assert page.js(mark) == ""
    for key in ("ArrowRight", "ArrowRight"):
        chart.press(key)
    assert page.js(mark).startswith("new · ")
    chart.press("Enter")
    page.until("location.pathname === '/dashboards/movements'")
    page.until("document.querySelector('select[name=type]')?.value === 'new'")


@pytest.mark.browser
def test_the_point_of_a_line_next_to_the_click_is_meant(served: Shop, open_page: OpenPage) -> None:
    page = overview(served, open_page, "line")
    day = page.js("""(() => {
        const { chart, feed } = headracePage.panels.find((one) => one.told.title === "Churn");
        const one = chart.shown.findLast((shown) => shown.y !== null);
        const box = chart.box.querySelector("canvas").getBoundingClientRect();
        const [left, top] = chart.view.origin();
        const x = box.left + left + chart.view.scale("x")(one.x);
        const y = box.top + top + chart.view.scale("y")(one.y);
        chart.clicked({ clientX: x + 2, clientY: y - 2 }, null);
        return one.row[feed.rows.position("last_day")];
    })()""")
    page.until("location.pathname === '/dashboards/movements'")
    assert f"until={day}" in page.page.url


YEN = b"""customer,amount,currency,interval,start,end,product
Akagi,1200000,JPY,month,2026-01-05,,basic
Bandai,500000,JPY,month,2026-02-05,2026-04-05,pro
"""
FIGURES = """(() => {
    const found = (title, type) => headracePage.panels.find(one =>
        one.told.title.startsWith(title) && one.told.type === type);
    const rows = title => [...found(title, 'table').root.querySelectorAll('tbody tr')];
    const digits = text => text.replace(/[^0-9]/g, '');
    const most = one => one.chart.view.scale('y').domain()[1];
    const heads = [...found('Period', 'table').root.querySelectorAll('th')].map(th => th.textContent);
    return {
        tile: digits(found('MRR', 'tile').number.textContent),
        period: digits(rows('Period')[0].cells[heads.indexOf('MRR')].textContent),
        slices: rows('Slices, which').map(one => +digits(one.lastChild.textContent)),
        end: digits(found('Roll', 'waterfall').chart.shown.at(-1).label),
        axes: [most(found('MRR', 'area')), most(found('Roll', 'waterfall'))],
    };
})()"""


@pytest.mark.browser
def test_figures_agree_in_a_currency_without_minor_units_zoomed_and_on_a_phone(
    served: Shop, open_page: OpenPage
) -> None:
    served.run.receive("sheet", YEN, params={"merchant": "yen"})
    served.run.advance()
    asked = "merchant=yen&since=2026-01-01&until=2026-06-30"
    page = open_page(f"{served.url}/dashboards/overview?{asked}", size=(720, 450))  # 1440 x 900 at 200 %
    page.until(
        "[...headracePage.feeds.values()].every(feed => feed.loaded) && headracePage.marked.size === 0"
    )
    page.until("headracePage.panels.every(one => !one.chart || one.told.type === 'line' || one.chart.view)")
    answered = served.run.ask(
        "metrics", {"merchant": "yen", "since": "2026-01-01", "until": "2026-06-30"}
    ).table
    mrr = answered["mrr"].to_pylist()[-1]
    found = page.js(FIGURES)
    assert mrr == 1_200_000 == sum(found["slices"])
    assert [found[name] for name in ("tile", "period", "end")] == [str(mrr)] * 3
    assert all(mrr <= most < 2 * mrr for most in found["axes"])  # of yen, not of their hundredths
    state, choices = (
        f"document.querySelector('{one}').getBoundingClientRect()" for one in ("#overall", ".choices")
    )
    assert page.js(f"{state}.bottom") <= page.js(f"{choices}.top")
    page.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.page.goto(f"{served.url}/dashboards/why?{asked}")
    page.until("document.body.dataset.ready === 'yes'")
    here = page.js("document.querySelector('.tabs [aria-current]').getBoundingClientRect().toJSON()")
    assert here["left"] >= 0
    assert here["right"] <= PHONE[0]


@pytest.mark.browser
def test_a_mistyped_moment_is_told_at_its_field_and_nowhere_else(served: Shop, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/usage?as_of=yesterdy")
    page.until("document.querySelector('.choice .problem')?.textContent.includes('yesterdy')")
    page.until("[...headracePage.feeds.values()].every(feed => feed.loaded)")
    page.expect("400")
    assert page.js("[...document.querySelectorAll('.panel .problem')].length") == 0
    assert "as_of" not in page.page.url
    page.page.fill("input[name=as_of]", str(served.run.version.number))
    page.page.press("input[name=as_of]", "Enter")
    page.until("location.search.includes('as_of=')")
    page.until("!document.querySelector('.choice .problem')")
    served.run.upsert("merchants", [{"merchant_id": "later", "name": "Later"}])
    served.run.advance()
    now = page.js("performance.now()")
    page.until(f"[...headracePage.feeds.values()].every(feed => feed.heard > {now} && feed.loaded)")
    assert set(page.js("[...headracePage.feeds.values()].map(feed => feed.freshness_ms)")) == {0}  # not stale
    assert page.text(".panel header .state").startswith("as known")
    other = open_page(f"{served.url}/dashboards/usage?merchant=nobody")
    other.until(
        "document.querySelector('.choice .problem')?.textContent.startsWith('there is no nobody; shown')"
    )
    other.page.select_option("select[name=merchant]", "later")
    other.until("!document.querySelector('.choice .problem') && location.search.includes('merchant=later')")


@pytest.mark.browser
def test_what_was_reported_is_opened_from_the_overview_and_its_moment_typed(
    served: Shop, open_page: OpenPage
) -> None:
    page = open_page(f"{served.url}/dashboards/overview")
    page.until("document.querySelector('td a[href*=\"/dashboards/why\"]')")
    page.page.goto(page.js("document.querySelector('td a[href*=\"/dashboards/why\"]').href"))
    page.until("document.querySelector('.panel.table').textContent.includes('nothing is asked yet')")
    page.page.fill("input[name=reported]", "yesterdy")
    page.page.press("input[name=reported]", "Enter")
    page.until("document.querySelector('.choice .problem')?.textContent.includes('yesterdy')")
    page.expect("400")
    assert page.js("[...document.querySelectorAll('.panel .problem')].length") == 0
    page.page.fill("input[name=reported]", "0")
    page.page.press("input[name=reported]", "Enter")
    page.until("!document.querySelector('.choice .problem')")
    rows = "[...document.querySelectorAll('.panel.table')[0].querySelectorAll('tbody tr')]"
    page.until(f"{rows}.length >= 2")
    assert page.js(f"{rows}.map(row => row.cells[0].textContent)[0]") == "reported"
    assert page.js(f"{rows}.at(-1).cells[0].textContent") == "now"
    asked = len([one for one in page.requests if "/v1/queries/why" in one])
    served.run.upsert("merchants", [{"merchant_id": "other", "name": "Other"}])
    served.run.advance()
    page.page.fill("input[name=reported]", str(served.run.version.number))
    page.page.press("input[name=reported]", "Enter")
    page.until(f"{rows}.length === 2")
    assert len([one for one in page.requests if "/v1/queries/why" in one]) == asked + 1
