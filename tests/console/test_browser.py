"""The whole way in a browser: a real run behind the real server, numbers that move, a restart, every page."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import uvicorn
from tests.browser import PHONE, OpenPage

import headrace as hr
from headrace.console import attach
from headrace.dashboards import Dashboard
from headrace.panels import Bar, Curve, Line, Table, Tile
from headrace.serve import ServerSettings, create_server, server_config

pytestmark = pytest.mark.browser
NOON = datetime.now(UTC).replace(second=0, microsecond=0, tzinfo=None) - timedelta(minutes=30)
WALL = Dashboard(
    name="wall",
    title="Shop",
    panels=[
        Tile(
            view="gmv",
            title="GMV",
            value="gmv",
            format="money GBP",
            rate="minute",
            curve=Curve(view="per_minute", x="window_start", y="gmv"),
        ),
        Line(view="per_minute", x="window_start", y="gmv", width=5),
        Bar(view="top", x="product", y="gmv", order="gmv DESC", limit=5),
        Table(view="top", columns=["product", "gmv"], order="gmv DESC", width=12),
    ],
)


def shop() -> hr.App:
    app = hr.App("shop")
    app.stream(
        "orders",
        "order_id BIGINT, product VARCHAR, amount DECIMAL(18,2), placed_at TIMESTAMP",
        event_id="order_id",
        event_time="placed_at",
        lateness="1h",
    )
    app.view("gmv", "SELECT sum(amount) AS gmv, count(*) AS orders FROM orders")
    app.view("top", "SELECT product, sum(amount) AS gmv FROM orders GROUP BY product")
    app.view(
        "per_minute",
        "SELECT window_start, sum(amount) AS gmv FROM TUMBLE(orders, placed_at, INTERVAL 1 MINUTE) "
        "GROUP BY window_start",
    )
    return app


class Served:
    """A run and its server; `stop` and `start` are a restart on the same port and folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self.orders = 0

    def start(self) -> None:
        self.run = shop().open(self.folder, auto=True)
        settings = ServerSettings(port=self.port)
        app = create_server(self.run, settings)
        attach(app, self.run, [WALL])
        self.server = uvicorn.Server(server_config(app, settings))
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        while not self.server.started and self.thread.is_alive():
            self.thread.join(0.02)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        self.run.close()

    def order(self, product: str, amount: str) -> None:
        self.orders += 1
        at = NOON + timedelta(minutes=self.orders % 20)
        row = {"order_id": self.orders, "product": product, "amount": Decimal(amount), "placed_at": at}
        self.run.append("orders", [row])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path / "data")
    served.start()
    yield served
    served.stop()


def shows(text: str) -> str:
    return f"document.querySelector('.tile .number').textContent === {text!r}"


@pytest.mark.parametrize(("theme", "size"), [("dark", (1280, 720)), ("light", PHONE)])
def test_the_numbers_move(served: Served, open_page: OpenPage, theme: str, size: tuple[int, int]) -> None:
    page = open_page(f"{served.url}/dashboards/wall", theme=theme, size=size)
    page.until(shows("–"))
    for number in range(1, 6):
        served.order("cup", "2.50")
        page.until(shows(f"£{Decimal('2.50') * number}"))
    served.order("<b>pot</b>", "100.00")
    page.until("document.querySelector('tbody td').textContent === '<b>pot</b>'")
    page.until("document.querySelectorAll('canvas').length === 3")
    version = "Number(document.querySelector('.tile .version').textContent.slice(1))"
    assert page.js(version) >= 6
    assert page.js("document.documentElement.scrollWidth") <= size[0]


def test_a_restart_loses_nothing_and_shows_stale_meanwhile(served: Served, open_page: OpenPage) -> None:
    page = open_page(f"{served.url}/dashboards/wall")
    served.order("cup", "7.00")
    page.until(shows("£7.00"))
    served.stop()
    page.until("document.querySelector('.tile').dataset.state === 'stale'")
    served.start()
    served.order("cup", "1.00")
    page.until(shows("£8.00"))
    page.until("document.querySelector('.tile').dataset.state !== 'stale'")
    page.expect("WebSocket")


def settle(served: Served) -> None:
    served.order("cup", "7.00")
    served.run.append("orders", [{"order_id": "x", "product": "p", "amount": "1", "placed_at": NOON}])
    served.run.advance()


@pytest.mark.parametrize(
    ("path", "selector", "text"),
    [
        ("/", "main", "per_minute"),
        ("/views/gmv", ".explorer td", "7.00"),
        ("/views/per_minute", "main", "window_start"),
        ("/streams/orders", "main", "order_id"),
        ("/views/orders__rejected", ".explorer", "order_id"),
    ],
)
def test_every_generated_page_shows_what_there_is(
    served: Served, open_page: OpenPage, path: str, selector: str, text: str
) -> None:
    settle(served)
    page = open_page(served.url + path)
    page.until(f"document.querySelector({selector!r})?.textContent.includes({text!r})")
    assert page.js("document.querySelectorAll('.problem').length") == 0
