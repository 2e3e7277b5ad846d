"""Requests that survive a server that is gone, busy, restarted or somebody else; errors of their class."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.serve.conftest import Shop, declared, serving, start

import headrace as hr
from headrace.client.transport import Transport, classes_by_code, split_url
from headrace.client.wire import append_result
from headrace.errors import ConnectError, HeadraceError

Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def scripted(answer: Callable[[int, Any], Answer | None]) -> Iterator[str]:
    """A server that answers the n-th request as `answer` says; None hangs up without a word."""

    class Handler(BaseHTTPRequestHandler):
        count = 0

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            Handler.count += 1
            found = answer(Handler.count, self)
            if found is None:
                self.close_connection = True
                self.connection.close()
                return
            status, headers, body = found
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - the name that http.server calls

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ValueError):
                self.close_connection = True

        def finish(self) -> None:
            with suppress(OSError, ValueError):
                super().finish()

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


OK: Answer = (200, {}, b"{}")
BUSY: Answer = (
    429,
    {"Retry-After": "0.01"},
    b'{"error":{"code":"busy","problem":"full","retry_after_s":0.01}}',
)


def test_a_lost_answer_is_asked_for_again_with_the_same_key() -> None:
    keys = []

    def answer(count: int, request: Any) -> Answer | None:
        keys.append(request.headers["Idempotency-Key"])
        return None if count < 3 else (200, {}, b'{"commit":1,"statuses":"AA==","rows":[],"replayed":false}')

    with scripted(answer) as url:
        remote = hr.client.RemoteRun(Transport(url, None, 10))
        assert remote.append("orders", [{"a": 1}]).commit == 1
        remote.close()
    assert len(keys) == 3
    assert len(set(keys)) == 1


@pytest.mark.parametrize(
    "failing", [BUSY, (503, {}, b'{"error":{"code":"closed","problem":"x"}}'), (502, {}, b"proxy")]
)
def test_a_busy_or_absent_server_is_waited_for(failing: Answer) -> None:
    with scripted(lambda count, _: failing if count < 3 else OK) as url:
        transport = Transport(url, None, 10)
        assert transport.send("GET", "/x").status_code == 200
        transport.close()


def test_patience_ends() -> None:
    with scripted(lambda *_: BUSY) as url:
        transport = Transport(url, None, 0.05)
        with pytest.raises(hr.Busy) as caught:
            transport.send("GET", "/x")
        assert caught.value.retry_after_s == 0.01
        transport.close()


def test_nobody_there() -> None:
    with pytest.raises(ConnectError) as caught:
        hr.connect("http://127.0.0.1:9", patience_s=0)
    assert caught.value.hint or caught.value.expected


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"error": 5}', b'{"other": {}}', b'{"error": {"code": 1}}']
)
def test_a_server_that_is_somebody_elses(body: bytes) -> None:
    with scripted(lambda *_: (404, {}, body)) as url, pytest.raises(ConnectError):
        hr.connect(url, patience_s=0)


def test_an_answer_that_is_no_json() -> None:
    with scripted(lambda *_: (200, {}, b"<html>")) as url, pytest.raises(ConnectError):
        hr.connect(url, patience_s=0)


def test_tokens() -> None:
    with serving(token="secret") as shop:
        for wrong in (None, "other"):
            with pytest.raises(hr.AccessDenied):
                hr.connect(shop.url, token=wrong)
        with hr.connect(shop.url, token="secret") as remote:
            assert remote.version.number == 0
        with hr.connect(f"{shop.url}/?token=secret") as remote:
            assert remote.url == shop.url


@pytest.mark.parametrize("code", sorted(classes_by_code()))
def test_every_error_comes_back_as_its_class(code: str) -> None:
    cls = classes_by_code()[code]
    body = (
        b'{"error":{"code":"%s","problem":"p","where":"w","expected":"e","hint":"h","extra":1}}'
        % code.encode()
    )
    with scripted(lambda *_: (400, {}, body)) as url:
        transport = Transport(url, None, 0)
        with pytest.raises(HeadraceError) as caught:
            transport.send("GET", "/x")
        transport.close()
    assert caught.type is cls
    error = caught.value
    assert (error.problem, error.where, error.expected, error.hint) == ("p", "w", "e", "h")
    assert error.details["extra"] == 1


def test_a_code_of_a_newer_server_is_an_error_all_the_same() -> None:
    body = b'{"error":{"code":"new.thing","problem":"p"}}'
    with scripted(lambda *_: (400, {}, body)) as url:
        transport = Transport(url, None, 0)
        with pytest.raises(HeadraceError, match="p"):
            transport.send("GET", "/x")
        transport.close()


@pytest.mark.parametrize(
    ("url", "base", "token"),
    [
        ("http://h:1", "http://h:1", None),
        ("h:1", "http://h:1", None),
        ("https://h/base/", "https://h/base", None),
        ("http://h:1/?token=a%20b", "http://h:1", "a b"),
    ],
)
def test_addresses(url: str, base: str, token: str | None) -> None:
    assert split_url(url) == (base, token)


@pytest.mark.parametrize(
    "url",
    ["", "ftp://h", "http://", "file:///x", "http://h:port", "http://h:70000", "h:0", "http://[x"],
)
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(ConnectError):
        hr.connect(url, patience_s=0)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"commit": 1, "rows": [{"index": 9, "status": "late"}], "replayed": False},
        {"commit": 1, "rows": [], "statuses": "AAA=", "replayed": False},
        {"commit": 1, "rows": [{"index": 0, "status": "odd"}], "replayed": False},
    ],
)
def test_answers_about_other_rows_are_not_believed(facts: dict[str, Any]) -> None:
    with pytest.raises(ConnectError):
        append_result(facts, 1)


def test_a_restart_is_survived(tmp_path: Path) -> None:
    first = start(run=declared().open(tmp_path, auto=True))
    with hr.connect(first.url) as remote:
        remote.append("clicks", [{"url": "before"}], idempotency_key="one")
        first.stop()
        served: list[Shop] = []
        back = threading.Timer(0.3, lambda: served.append(start_again(first.port, tmp_path)))
        back.start()
        again = remote.append("clicks", [{"url": "before"}], idempotency_key="one")
        back.join()
        assert again.replayed
        remote.advance()
        assert remote.query("SELECT count(*) AS n FROM clicks").to_pylist() == [{"n": 1}]
    served[0].stop()


def start_again(port: int, folder: Path) -> Shop:
    """Serve the folder again at the same port."""
    return start(run=declared().open(folder, auto=True), port=port)
