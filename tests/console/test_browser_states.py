"""Pages in a browser, on a server whose states the test sets: stale is not quiet, hostile rows stay text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.browser import PHONE, WALL, OpenPage
from tests.console.stub import Stub, View, schema

from headrace.dashboards import Dashboard
from headrace.panels import Area, Bar, Cell, Curve, Fact, Funnel, Heat, Line, Panel, Table, Text, Tile

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=\"document.body.dataset.pwned='yes'\">"
PANELS: list[Panel] = [
    Tile(
        view="gmv",
        title="GMV",
        value="gmv",
        format="money GBP",
        rate="minute",
        width=4,
        help="**All** orders",
        curve=Curve(view="minutes", x="minute", y="gmv"),
        facts=[Fact(value="orders", format="integer")],
    ),
    Tile(view="gmv", title="Orders", value="orders", format="integer", thresholds={"warn": 5}, width=2),
    Line(view="minutes", title=HOSTILE, x="minute", y=["gmv", "net"], partial=True, width=6),
    Area(view="hosts", title="Area", x="minute", y="cpu", series="host", width=3),
    Bar(view="minutes", title="Bars over time", x="minute", y="gmv", width=3),
    Bar(view="top", title="Top", x="name", y="n", order="n DESC", limit=3, width=3),
    Heat(view="hosts", title="CPU", x="minute", y="host", value="cpu", domain=(0, 100), width=3),
    Funnel(view="funnel", title="Funnel", steps=["seen", "bought"], width=3),
    Table(view="top", title="Table", columns=["name", Cell(column="n", bar=True)], order="n DESC", width=3),
    Table(view="broken", title="Broken", width=3),
    Text(text=f"# Note\n\n{HOSTILE} **bold** [views](/views/top) [bad](javascript:alert(1))", width=3),
]


SALES: list[Panel] = [
    Tile(
        view="sums", value="n", width=3,
        facts=[Fact(value="n", label="so counted"), Fact(value="n", label="otherwise counted, that is")],
    ),
    Table(
        view="sales", order="shop",
        columns=[
            "shop", Cell(column="amount", format="money @currency minor", bar=True),
            Cell(column="slice", optional=True), Cell(column="note", grow=True), "currency", "tale",
        ],
    ),
    Heat(view="kept", x="month", y="cohort", value="share", order="cohort, month", height=4),
]  # fmt: skip


def views() -> dict[str, View]:
    minutes = [f"2025-11-11T09:{minute:02d}:00" for minute in range(20)]
    return {
        "gmv": View(schema("gmv DECIMAL(18,2), orders BIGINT"), [["90071992547409931.07", 3]]),
        "minutes": View(
            schema("minute TIMESTAMP, gmv DECIMAL(18,2), net DECIMAL(18,2)"),
            [[minute, f"{100 + 7 * at}.10", f"{90 + 5 * at}.00"] for at, minute in enumerate(minutes)],
        ),
        "hosts": View(
            schema("minute TIMESTAMP, host VARCHAR, cpu DOUBLE"),
            [[minute, host, 10.0 + at] for at, minute in enumerate(minutes) for host in ("a", "b", HOSTILE)],
        ),
        "top": View(schema("name VARCHAR, n BIGINT"), [[HOSTILE, 30], ["b", 20], [None, 10], ["d", 5]]),
        "funnel": View(schema("seen BIGINT, bought BIGINT"), [[200, 50]]),
        "broken": View(schema("a BIGINT"), error="Conversion Error: 'x' is no INTEGER"),
        "sums": View(schema("n BIGINT"), [[1234567]]),
        "sales": View(
            schema(
                "shop VARCHAR, amount BIGINT, slice VARCHAR, note VARCHAR, currency VARCHAR, tale VARCHAR"
            ),
            [
                [f"{code}{n}", (n + 1) * unit, None, "n" * 99, code, "t" * 99]
                for code, unit in (("JPY", 9000), ("KWD", 20))
                for n in range(3)
            ],
        ),
        "kept": View(
            schema("cohort VARCHAR, month BIGINT, share DOUBLE"),
            [[f"c{n:02d}", month, 0.5] for n in range(60) for month in range(24)],
        ),
    }


@pytest.fixture
def stub() -> Iterator[Stub]:
    scrolling = Dashboard(name="sales", title="Sales", panels=SALES, fit=False)
    with Stub(views(), [Dashboard(name="wall", title="Wall", panels=PANELS), scrolling]) as stub:
        yield stub


def wall(stub: Stub) -> str:
    return f"{stub.url}/dashboards/wall"


NUMBER = ".tile .number"
STATES = "Array.from(document.querySelectorAll('.panel'), one => one.dataset.state).filter(Boolean)"


def drawn(title: str) -> str:
    """An expression: how many pixels of the chart in the panel of that title are painted."""
    return f"""(() => {{
        const panel = Array.from(document.querySelectorAll('.panel')).find(
            one => one.querySelector('h2')?.textContent === {title!r});
        const canvas = panel?.querySelector('canvas');
        if (!canvas || !canvas.width) return 0;
        const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
        let count = 0;
        for (let at = 3; at < data.length; at += 4) if (data[at] > 0) count += 1;
        return count;
    }})()"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WALL, PHONE])
def test_every_panel_draws_in_both_themes_and_sizes(
    stub: Stub,
    open_page: OpenPage,
    theme: str,
    size: tuple[int, int],
) -> None:
    page = open_page(wall(stub), theme=theme, size=size)
    page.until("document.querySelector('.tile .number').textContent.includes('90,071,992,547,409,931.07')")
    for title in ("Area", "Bars over time", "Top", "CPU", "Funnel", HOSTILE):
        page.until(drawn(title) + " > 300")
    assert page.js("document.documentElement.scrollWidth") <= size[0]
    if size == WALL:
        assert page.js("document.documentElement.scrollHeight") <= size[1]
    ground = page.js("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(243, 244, 246)", "dark": "rgb(12, 15, 19)"}[theme]


def test_hostile_rows_and_titles_are_text(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(wall(stub))
    page.until("document.querySelectorAll('td').length > 5")
    assert page.js("document.querySelectorAll('main img, main script').length") == 0
    assert page.js("document.body.dataset.pwned") is None
    assert page.text("tbody td") == HOSTILE
    assert page.js("Array.from(document.querySelectorAll('.text a'), one => one.getAttribute('href'))") == [
        "/views/top"
    ]


def test_numbers_move_and_the_exact_digits_are_kept(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(wall(stub))
    page.until(f"document.querySelector('{NUMBER}').textContent.endsWith('931.07')")
    for cents in ("08", "09", "10"):
        stub.replace("gmv", [[f"90071992547409931.{cents}", 4]])
        page.until(f"document.querySelector('{NUMBER}').textContent.endsWith('931.{cents}')")
    assert page.text(".tile .fact") == "4 orders"
    stub.replace("gmv", [["-0.10", 7]])
    page.until(f"document.querySelector('{NUMBER}').textContent === '-£0.10'")
    page.until("document.querySelectorAll('.tile .number')[1].classList.contains('warn')")


def test_bars_stand_in_order_also_after_they_changed_places(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(wall(stub))
    panel = "window.headracePage.panels.find(one => one.told.title === 'Top')"
    order = f"{panel}.chart.view?.scale('y').domain().join()"
    page.until(f"{order} === {HOSTILE + ',b,–'!r}")
    stub.replace("top", [["d", 50], ["b", 60], ["a", 55], ["c", 1]])
    page.until(f"{order} === 'b,a,d'")


def test_a_page_that_scrolls_is_read_at_every_width_by_keys_and_on_paper(
    stub: Stub, open_page: OpenPage
) -> None:
    page = open_page(f"{stub.url}/dashboards/sales", theme="dark", size=(1440, 900))
    drawn_all = "headracePage.panels.every(one => one.root.classList.contains('drawn'))"
    page.until(f"{drawn_all} && document.querySelector('canvas')")
    assert page.js("document.querySelectorAll('.panel .info').length") == len(SALES)  # none has a help
    bars = "[...document.querySelectorAll('td.share')].map(one => one.style.getPropertyValue('--share'))"
    shares = page.js(bars)
    assert [round(float(one.rstrip("%"))) for one in shares] == [
        33,
        67,
        100,
    ] * 2  # yen beside yen, dinars beside dinars
    table = "document.querySelector('.panel.table')"
    assert page.js(f"[...{table}.querySelectorAll('th')].filter(one => !one.hidden).length") == 5
    assert page.js(f"{table}.offsetHeight") < 260  # six rows, where room for more was declared
    stub.replace("sales", [["JPY0", 9000, "north", "n", "JPY", "t"]])
    page.until(f"[...{table}.querySelectorAll('th')].every(one => !one.hidden)")
    stub.replace("sales", views()["sales"].rows)
    page.until(f"{table}.querySelectorAll('tbody tr').length === 6")
    stub.replace("sales", [[f"{n:03d}", n, None, "n", "JPY", "t"] for n in range(1203)])
    page.until(f"{table}.querySelector('.cut').textContent === 'the first 200 of 1,203 rows'")
    stub.replace("sales", views()["sales"].rows)
    page.until(f"{table}.querySelector('.cut').textContent === ''")
    chart = "document.querySelector('.chart')"
    assert (
        page.js(f"{chart}.querySelector('canvas').offsetHeight / 60") >= 15
    )  # of 60 strips none is squeezed
    assert page.js(f"{chart}.scrollHeight > {chart}.clientHeight && {chart}.tabIndex === 0")
    stub.replace("kept", [[f"c{n:02d}", month, 0.5] for n in range(60) for month in range(101)])
    page.until("document.querySelector('.heat .left').textContent === 'the first 6000 of 6060 cells'")
    stub.replace("kept", [["c00", month, 0.5] for month in range(24)])
    page.until(
        f"{chart}.querySelector('canvas').offsetHeight < {chart}.clientHeight / 2"
    )  # nor is one a block
    page.page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    page.until(f"{table}.querySelector('.scroll').tabIndex === 0")
    assert page.js("document.documentElement.scrollWidth") <= PHONE[0]
    facts = "[...document.querySelectorAll('.tile .fact')].map(one => one.getBoundingClientRect().bottom)"
    assert max(page.js(facts)) <= page.js(
        "document.querySelector('.tile .body').getBoundingClientRect().bottom"
    )
    page.page.focus(".panel.table .scroll")
    page.page.keyboard.press("ArrowRight")
    page.until(f"{table}.querySelector('.scroll').scrollLeft > 0")
    left = "getBoundingClientRect().left"
    assert (
        page.js(f"{table}.querySelector('tbody td').{left} - {table}.{left}") < 5
    )  # what a row is about stays
    page.page.emulate_media(media="print")
    assert page.js("getComputedStyle(document.body).color") == "rgb(20, 24, 29)"
    assert page.js(f"getComputedStyle({table}.querySelector('.scroll')).overflowX") == "visible"


def test_stale_looks_different_from_quiet(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(wall(stub))
    page.until(f"{STATES}.filter(one => one === 'quiet').length >= 9")
    opacity = "getComputedStyle(document.querySelector('.tile .body')).opacity"
    assert page.js(opacity) == "1"
    problem = "document.querySelector('.panel[data-state=error] .problem')?.textContent"
    page.until(f"{problem} === \"broken: Conversion Error: 'x' is no INTEGER\"")
    stub.freshness_ms = 5000
    page.until("document.querySelector('.tile').dataset.state === 'behind'")
    stub.freshness_ms = 60_000
    page.until("document.querySelector('.tile').dataset.state === 'stale'")
    assert page.js(opacity) < "0.5"
    stub.freshness_ms = 0
    page.until("document.querySelector('.tile').dataset.state === 'quiet'")
    stub.silent = True
    page.until("document.querySelector('.tile').dataset.state === 'stale'")
    assert page.js("document.body.dataset.state") in ("stale", "error")


def test_it_reconnects_after_a_restart_of_the_server(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(wall(stub))
    page.until(f"document.querySelector('{NUMBER}').textContent.endsWith('931.07')")
    stub.stop()
    page.until("document.querySelector('.tile').dataset.state === 'stale'")
    changed = views()
    changed["gmv"].rows = [["5.00", 1]]
    with Stub(changed, [Dashboard(name="wall", panels=PANELS)], port=stub.port):
        page.until(f"document.querySelector('{NUMBER}').textContent === '£5.00'")
        page.until("document.querySelector('.tile').dataset.state !== 'stale'")
    page.expect("WebSocket")


def test_a_page_follows_when_a_view_gets_other_columns(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(f"{stub.url}/views/funnel")
    heads = "Array.from(document.querySelectorAll('.explorer th'), one => one.textContent).join()"
    page.until(f"{heads} === 'seen,bought'")
    stub.stop()
    changed = views()
    changed["funnel"] = View(schema("seen BIGINT, asked BIGINT, bought BIGINT"), [[3, 2, 1]])
    with Stub(changed, port=stub.port):
        page.until(f"{heads} === 'seen,asked,bought'")
        page.until("document.querySelectorAll('.explorer td')[1]?.textContent === '2'")
    page.expect("WebSocket")


def test_keys_move_maximise_and_explain(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(wall(stub))
    focused = "document.activeElement.querySelector('h2')?.textContent"
    keys = page.page.keyboard
    keys.press("j")
    assert page.js(focused) == "GMV"
    keys.press("ArrowRight")
    assert page.js(focused) == "Orders"
    keys.press("ArrowDown")
    assert page.js(focused) in ("Area", "Bars over time")
    keys.press("ArrowUp")
    keys.press("k")
    keys.press("Enter")
    assert page.js("document.querySelectorAll('.panel.max').length") == 1
    keys.press("Escape")
    assert page.js("document.querySelectorAll('.panel.max').length") == 0
    page.page.locator(".tile").first.focus()
    keys.press("i")
    assert page.text("dialog h2") == "GMV"
    assert page.text("dialog strong") == "All"
    keys.press("Escape")
    keys.press("?")
    assert "panel to panel" in page.text("dialog[open]")
    keys.press("Escape")
    page.until("document.querySelector('dialog') === null")


def test_the_theme_is_chosen_by_key_and_kept(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(wall(stub), theme="light")
    page.page.keyboard.press("t")
    dark = "getComputedStyle(document.body).backgroundColor === 'rgb(12, 15, 19)'"
    assert page.js(dark)
    page.page.reload()
    page.until("document.body.dataset.ready === 'yes'")
    assert page.js(dark)


def test_a_view_has_a_page_that_sorts_and_filters(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(f"{stub.url}/views/top")
    cells = (
        "Array.from(document.querySelectorAll('.explorer tbody tr'), one => one.cells[1].textContent).join()"
    )
    page.until(f"{cells} === '5,20,10,30' || {cells}.length > 8")
    page.page.locator("th[data-column=n] button").click()
    page.until(f"{cells} === '5,10,20,30'")
    page.page.locator("th[data-column=n] button").click()
    page.until(f"{cells} === '30,20,10,5'")
    page.page.keyboard.press("/")
    page.page.keyboard.type("ONERROR")
    page.until(f"{cells} === '30'")
    stub.change("top", [[HOSTILE, 30]], [[HOSTILE, 31]])
    page.until(f"{cells} === '31'")
    page.until(drawn("n by name") + " > 300")


def test_the_first_page_lists_everything(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(stub.url)
    assert page.js("document.querySelector('a.card').getAttribute('href')") == "/dashboards/wall"
    assert "in error: Conversion Error" in page.text("main")
    stub.replace("top", [["only", 1]])
    line = "Array.from(document.querySelectorAll('tr')).find(one => one.cells[0].textContent === 'top')"
    page.until(f"{line}.cells[1].textContent === '1'")


def test_buttons_and_regions_have_names(stub: Stub, open_page: OpenPage) -> None:
    page = open_page(wall(stub))
    nameless = """Array.from(document.querySelectorAll('button, input, section, [role=img]')).filter(one =>
        !one.getAttribute('aria-label') && !one.getAttribute('aria-labelledby') && !one.textContent.trim())"""
    assert page.js(f"{nameless}.length") == 0
    assert page.js("document.querySelectorAll('[aria-live=polite]').length") >= 2
    assert page.js("document.querySelectorAll('main').length") == 1
    assert page.js("document.documentElement.lang") == "en"
