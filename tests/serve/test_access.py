"""Who may ask: foreign names, foreign pages and missing tokens are turned away on every route."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from tests.serve.conftest import Shop, declared, serving
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from headrace.errors import AccessDenied
from headrace.serve import ServerSettings, create_server
from headrace.serve.access import COOKIE, SECURITY_HEADERS, host_name
from headrace.serve.operations import OPERATIONS
from headrace.serve.settings import is_loopback

TOKEN = "correct-horse-battery-staple"
PATHS = [(op.method, op.path.replace("{name}", "gmv")) for op in OPERATIONS] + [
    ("GET", "/openapi.json"),
    ("GET", "/"),
]
OPEN = {"/healthz", "/readyz"}


@pytest.fixture(scope="module")
def locked() -> Iterator[Shop]:
    with serving(token=TOKEN, allowed_origins="https://shop.example") as shop:
        shop.http.headers.pop("Authorization")
        yield shop


def bearer(token: str = TOKEN) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def socket_status(shop: Shop, view: str = "gmv", **headers: str) -> int:
    """The status of a WebSocket handshake; 101 where it succeeds."""
    extra = {name.replace("_", "-"): value for name, value in headers.items() if name != "Origin"}
    origin: Any = headers.get("Origin")
    try:
        with connect(
            f"ws://127.0.0.1:{shop.port}/v1/views/{view}/changes", additional_headers=extra, origin=origin
        ) as line:
            line.recv(timeout=60)
            return 101
    except InvalidStatus as error:
        return error.response.status_code


# --- the Host header: DNS rebinding ---------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda pair: " ".join(pair))
def test_foreign_host_names_are_refused_on_every_route(shop: Shop, path: tuple[str, str]) -> None:
    answer = shop.http.request(*path, headers={"Host": "evil.example"})
    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "access"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "",
        "[::1",
        "[::1]x",
        "a:b:c",
        "@127.0.0.1",
    ],
)
def test_host_headers_that_are_not_ours(shop: Shop, host: str) -> None:
    assert shop.http.get("/healthz", headers={"Host": host}).status_code in (400, 403)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:1", "[::1]:8080", "localhost."]
)
def test_names_of_this_machine_are_served(shop: Shop, host: str) -> None:
    assert shop.http.get("/healthz", headers={"Host": host}).status_code == 200


def test_two_host_headers_are_refused(shop: Shop) -> None:
    with socket.create_connection(("127.0.0.1", shop.port), timeout=60) as line:
        line.sendall(
            b"GET /v1/views HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        )
        assert line.recv(100).split(b" ")[1] in (b"400", b"403")


def test_allowed_hosts_are_served() -> None:
    with serving(allowed_hosts="shop.example, other.example") as shop:
        assert shop.http.get("/healthz", headers={"Host": "shop.example:80"}).status_code == 200
        assert shop.http.get("/healthz", headers={"Host": "evil.example"}).status_code == 403


def test_foreign_hosts_are_refused_on_sockets(shop: Shop) -> None:
    assert socket_status(shop, Host="evil.example") == 403
    assert socket_status(shop) == 101


# --- the Origin header: pages of other sites ------------------------------------------------------


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example", "file://", "x"],
)
@pytest.mark.parametrize(
    "path", [("POST", "/v1/streams/orders"), ("POST", "/v1/sql"), ("GET", "/v1/views/gmv")]
)
def test_foreign_origins_are_refused(shop: Shop, origin: str, path: tuple[str, str]) -> None:
    answer = shop.http.request(*path, headers={"Origin": origin}, content=b"[]")
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_foreign_origins_are_refused_on_sockets_and_events(shop: Shop, origin: str) -> None:
    assert socket_status(shop, Origin=origin) == 403
    headers = {"Origin": origin, "Accept": "text/event-stream"}
    assert shop.http.get("/v1/views/gmv/changes", headers=headers).status_code == 403


def test_our_own_pages_may_call(shop: Shop) -> None:
    assert shop.http.get("/v1/views/gmv", headers={"Origin": shop.url}).status_code == 200
    assert socket_status(shop, Origin=shop.url) == 101


def test_requests_that_browsers_send_for_other_sites_are_refused(shop: Shop) -> None:
    cross = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
    assert shop.http.get("/v1/views/gmv", headers=cross).status_code == 403
    clicked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert shop.http.get("/v1/views/gmv", headers=clicked).status_code == 200


def test_an_allowed_origin_may_call_with_a_token(locked: Shop) -> None:
    page = {"Origin": "https://shop.example"}
    before = locked.http.request("OPTIONS", "/v1/sql", headers=page)
    assert before.status_code == 204
    assert "Authorization" in before.headers["Access-Control-Allow-Headers"]
    assert locked.http.get("/v1/views/gmv", headers=page).status_code == 401
    answer = locked.http.get("/v1/views/gmv", headers={**page, **bearer()})
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == "https://shop.example"
    assert "Origin" in answer.headers["Vary"]


# --- tokens ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS, ids=lambda pair: " ".join(pair))
def test_without_the_token_every_route_but_the_probes_is_closed(locked: Shop, path: tuple[str, str]) -> None:
    answer = locked.http.request(*path)
    assert answer.status_code == (200 if path[1] in OPEN else 401)
    if answer.status_code == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer",
        "Bearer wrong",
        f"Basic {TOKEN}",
        TOKEN,
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        "Bearer \xe9",
    ],
)
def test_wrong_tokens(locked: Shop, authorization: str) -> None:
    headers = {"Authorization": authorization.encode("latin-1")}
    assert locked.http.get("/v1/views", headers=headers).status_code == 401  # type: ignore[arg-type]


def test_the_right_token(locked: Shop) -> None:
    assert locked.http.get("/v1/views", headers=bearer()).status_code == 200
    assert locked.http.get("/v1/views", headers={"Authorization": f"bearer  {TOKEN}"}).status_code == 200


def test_sockets_want_the_token_too(locked: Shop) -> None:
    assert socket_status(locked) == 401
    assert socket_status(locked, Authorization="Bearer wrong") == 401
    assert socket_status(locked, Authorization=f"Bearer {TOKEN}") == 101
    assert socket_status(locked, Cookie=f"{COOKIE}={TOKEN}") == 101


def test_a_browser_trades_the_token_in_the_address_for_a_cookie(locked: Shop) -> None:
    answer = locked.http.get("/", params={"token": TOKEN, "theme": "dark"})
    assert answer.status_code == 303
    assert answer.headers["Location"] == "/?theme=dark"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    locked.http.cookies.clear()
    assert locked.http.get("/v1/views", headers={"Cookie": f"{COOKIE}={TOKEN}"}).status_code == 200
    assert locked.http.get("/v1/views", headers={"Cookie": f"{COOKIE}=wrong"}).status_code == 401
    assert locked.http.get("/v1/views", headers={"Cookie": f'{COOKIE}="; ={TOKEN}'}).status_code == 401


def test_a_wrong_token_in_the_address_gets_no_cookie(locked: Shop) -> None:
    for query in ("?token=wrong", "?token=", f"?token={TOKEN}&token=x"):
        answer = locked.http.get(f"/{query}")
        assert answer.status_code == 401
        assert "Set-Cookie" not in answer.headers
    assert locked.http.post("/v1/sql", params={"token": TOKEN}, json={"sql": "SELECT 1"}).status_code == 401


def test_the_way_to_the_cookie_never_leads_to_another_site(locked: Shop) -> None:
    with socket.create_connection(("127.0.0.1", locked.port), timeout=60) as line:
        line.sendall(f"GET //evil.example/x?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        head = line.recv(2_000).decode().lower()
    assert "location: /evil.example/x\r\n" in head


def test_several_tokens() -> None:
    with serving(tokens="one, two") as shop:
        assert [
            shop.http.get("/v1/views", headers=bearer(t)).status_code for t in ("one", "two", "three")
        ] == [
            200,
            200,
            401,
        ]


# --- paths and headers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/v1/views/../../etc/passwd",
        "/v1/views/..%2f..%2fetc%2fpasswd",
        "/v1/views/%2e%2e/schema",
        "/v1/views/gmv%00",
        "/v1/views/gmv%22%3B%20SELECT%201",
        "/v1/streams/",
        "//v1/views",
        "/v1/views/gmv/nothing",
        "/static/../../../etc/passwd",
        "/v1/views/" + "x" * 5_000,
    ],
)
def test_paths_that_lead_nowhere(shop: Shop, path: str) -> None:
    with socket.create_connection(("127.0.0.1", shop.port), timeout=60) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        status = line.recv(100).split(b" ")[1]
    assert status in (b"404", b"405", b"307")


def test_security_headers_stand_on_every_answer(shop: Shop) -> None:
    for path in ("/v1/views/gmv", "/nothing", "/healthz"):
        headers = shop.http.get(path).headers
        assert {name: headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert "server" not in shop.http.get("/healthz").headers


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "shop.example", ""])
def test_a_host_beyond_loopback_needs_a_token(host: str) -> None:
    with declared().open(None) as run:
        with pytest.raises(AccessDenied) as caught:
            create_server(run, ServerSettings(host=host))
        assert "HEADRACE_TOKEN" in str(caught.value)
        create_server(run, ServerSettings(host=host, token=SecretStr(TOKEN)))


def test_an_empty_token_is_no_token() -> None:
    with pytest.raises(AccessDenied):
        ServerSettings(host="0.0.0.0", token=SecretStr(""), tokens=(SecretStr(""),)).check_exposed()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "localhost", "::1", "[::1]", "LocalHost"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_PORT", "9090")
    monkeypatch.setenv("HEADRACE_TOKENS", "a,b")
    monkeypatch.setenv("HEADRACE_ALLOWED_HOSTS", "shop.example")
    settings = ServerSettings()
    assert (settings.port, settings.secrets, settings.allowed_hosts) == (9090, ("a", "b"), ("shop.example",))
    assert "'a'" not in repr(settings)


@pytest.mark.parametrize(
    ("host", "name"),
    [("a:1", "a"), ("[::1]:1", "::1"), ("::1", "::1"), ("A.B", "a.b"), ("a:b:c", ""), ("[x", ""), ("", "")],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name(host) == name
