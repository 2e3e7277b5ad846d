"""A shop that is really served: its own run, its own server, over real sockets."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn

import headrace as hr
from headrace.runtime import Run
from headrace.serve import ServerSettings, create_server, make_server

COLUMNS = "order_id BIGINT, category TEXT, amount DECIMAL(18,2), placed_at TIMESTAMP"
NOON = "2026-01-01T12:00:00Z"


def declared(gmv: str = "SELECT sum(amount) AS gmv, count(*) AS orders FROM orders") -> hr.App:
    """The shop: a stream, a keyed table, a bag, and views over them."""
    app = hr.App("shop")
    app.stream("orders", COLUMNS, event_id="order_id", event_time="placed_at", lateness="1h")
    app.stream("clicks", "url TEXT")
    app.table("customers", "id BIGINT, name TEXT", key="id")
    app.view("gmv", gmv)
    app.view(
        "by_category", "SELECT category, sum(amount) AS gmv, count(*) AS n FROM orders GROUP BY category"
    )
    app.view("ranking", "SELECT category, sum(amount) AS gmv FROM orders GROUP BY category ORDER BY gmv DESC")
    app.view("all_orders", "SELECT * FROM orders")
    app.view("numbers", "SELECT id, CAST(name AS INTEGER) AS number FROM customers WHERE id > 1000")
    app.source("letters", lambda _: [])
    app.query("names", "-- $least BIGINT = 0\nSELECT name FROM customers WHERE id >= $least ORDER BY id")
    return app


def order(number: int, category: str = "tea", amount: str = "1.50", placed_at: str = NOON) -> dict[str, Any]:
    """One order as JSON has it."""
    return {"order_id": number, "category": category, "amount": amount, "placed_at": placed_at}


class Shop:
    """A served run: `run` inside, `http` outside."""

    def __init__(self, run: Run, server: uvicorn.Server, thread: threading.Thread, token: str | None) -> None:
        self.run = run
        self.server = server
        self.thread = thread
        self.port = server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=self.url, headers=headers, timeout=100, trust_env=False)

    @property
    def service(self) -> Any:
        """The server's inner parts."""
        app: Any = self.server.config.app
        return app.state.service

    def get(self, path: str, status: int = 200, **kwargs: Any) -> Any:
        """GET and return the JSON body of an answer with that status."""
        answer = self.http.get(path, **kwargs)
        assert answer.status_code == status, answer.text
        return answer.json()

    def post(self, path: str, body: Any, status: int = 200, **kwargs: Any) -> Any:
        """POST JSON and return the JSON body of an answer with that status."""
        answer = self.http.post(path, json=body, **kwargs)
        assert answer.status_code == status, answer.text
        return answer.json()

    def rows(self, view: str, **params: Any) -> list[dict[str, Any]]:
        """The rows of a view once everything committed is in it."""
        self.run.advance()
        found: list[dict[str, Any]] = self.get(f"/v1/views/{view}", params=params)["rows"]
        return found

    def stop(self) -> None:
        """End the server, then the run."""
        self.http.close()
        self.server.should_exit = True
        self.thread.join(60)
        self.run.close()


def start(app: hr.App | None = None, run: Any = None, **settings: Any) -> Shop:
    """Serve an app (the shop's, if none is given) on any free port."""
    chosen = ServerSettings(**{"port": 0, **settings})
    run = run or (app or declared()).open(None, auto=True)
    server = make_server(create_server(run, chosen, declarations=declared), chosen)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    waiting = threading.Event()
    while not server.started and thread.is_alive():
        waiting.wait(0.005)
    return Shop(run, server, thread, chosen.secrets[0] if chosen.secrets else None)


@contextlib.contextmanager
def serving(app: hr.App | None = None, run: Any = None, **settings: Any) -> Iterator[Shop]:
    """Serve for the time of a block."""
    shop = start(app, run, **settings)
    try:
        yield shop
    finally:
        shop.stop()


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """One shop for a whole module: its tests use order numbers and names of their own."""
    with serving(heartbeat_s=0.2) as served:
        yield served
