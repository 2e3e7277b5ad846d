"""The server as a whole: probes, metrics, errors nobody foresaw, a clean and quick end."""

from __future__ import annotations

import re
import threading
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from tests.serve.conftest import Shop, declared, order, serving
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from headrace.serve import ServerSettings, create_server
from headrace.serve.metrics import Text


def test_probes(shop: Shop) -> None:
    assert shop.get("/healthz") == {"status": "ok"}
    assert shop.get("/readyz") == {"status": "ready"}


def test_a_closed_run_is_not_ready_and_says_so() -> None:
    with serving() as shop:
        shop.run.close()
        assert shop.get("/healthz") == {"status": "ok"}
        assert shop.get("/readyz", 503)["error"]["code"] == "closed"
        assert shop.get("/v1/views/gmv", 503)["error"]["code"] == "closed"
        assert shop.post("/v1/streams/orders", [order(1)], 503)["error"]["code"] == "closed"


def test_status(shop: Shop) -> None:
    status = shop.get("/v1/status")
    assert status["app"] == "shop"
    assert status["pending_commits"] >= 0


LINE = re.compile(r'^headrace_[a-z_]+(\{([a-z]+="(\\.|[^"\\])*",?)*\})? -?[0-9.e+-]+$')


def test_metrics_are_prometheus_text(shop: Shop) -> None:
    shop.post("/v1/streams/clicks", [{"url": "1"}, {"nope": 1}])
    shop.run.advance()
    answer = shop.http.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    assert [line for line in lines if not line.startswith("#") and not LINE.match(line)] == []
    names = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    wanted = {
        "version",
        "commits_total",
        "steps_total",
        "step_seconds",
        "freshness_seconds",
        "viewers",
        "rows_total",
    }
    assert {f"headrace_{name}" for name in wanted} <= names
    assert len(names) == sum(line.startswith("# TYPE") for line in lines)
    rejected = next(line for line in lines if 'name="clicks"' in line and 'status="rejected"' in line)
    assert int(rejected.split()[-1]) >= 1


def test_histograms_add_up_and_labels_are_escaped() -> None:
    text = Text()
    text.histogram("x_seconds", "About.", [({"route": 'a"\\\n'}, {0.1: 2, 0.01: 1, float("inf"): 1}, 0.5)])
    label = 'route="a\\"\\\\\\n"'
    assert text.render().splitlines()[2:] == [
        f'headrace_x_seconds_bucket{{{label},le="0.01"}} 1',
        f'headrace_x_seconds_bucket{{{label},le="0.1"}} 3',
        f'headrace_x_seconds_bucket{{{label},le="+Inf"}} 4',
        f"headrace_x_seconds_sum{{{label}}} 0.5",
        f"headrace_x_seconds_count{{{label}}} 4",
    ]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/v1/sql", 405)])
def test_errors_of_the_router_have_the_same_model(shop: Shop, method: str, path: str, status: int) -> None:
    answer = shop.http.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]["problem"]


def test_an_unforeseen_error_tells_a_stranger_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        """A run with a fault."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def relation(self, name: str, **_: Any) -> Any:
            raise RuntimeError("the secret is 42")

    with serving(run=Broken(declared().open(None, auto=True))) as shop:
        answer = shop.http.get("/v1/views/gmv")
        assert answer.status_code == 500
        assert "42" not in answer.text
        assert "42" in caplog.text


def test_pages_can_be_added_before_and_after() -> None:
    async def page(_: Request) -> Response:
        return PlainTextResponse("a page")

    with declared().open(None) as run:
        app = create_server(run, ServerSettings(), routes=[Route("/page", page)])
        app.router.routes.append(Route("/other", page))
        transport = httpx.ASGITransport(app)
        assert transport is not None
        paths = [getattr(route, "path", "") for route in app.router.routes]
    assert paths.index("/page") < paths.index("/v1/sql") < paths.index("/other")


def test_the_end_is_calm_with_readers_and_events_open(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as shop, connect(f"ws://127.0.0.1:{shop.port}/v1/views/gmv/changes") as line:
        line.recv(timeout=60)
        events = threading.Thread(target=_listen, args=(shop,))
        events.start()
        while shop.get("/v1/status")["viewers"].get("gmv", 0) < 2:
            pass
        shop.server.should_exit = True
        shop.thread.join(60)
        assert not shop.thread.is_alive()
        with pytest.raises(ConnectionClosed):
            _drain(line)
        events.join()
    assert "Cancelled" not in caplog.text


def _drain(line: ClientConnection) -> None:
    while True:
        line.recv(timeout=60)


def _listen(shop: Shop) -> None:
    headers = {"Accept": "text/event-stream"}
    try:
        with httpx.stream("GET", f"{shop.url}/v1/views/gmv/changes", headers=headers) as answer:
            for _ in answer.iter_lines():
                pass
    except httpx.HTTPError:
        pass
