"""Bodies from strangers: too large, too slow, torn, bombs; memory stays bounded, the answer is clear."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import zlib
from collections.abc import Iterator

import pytest
from tests.serve.conftest import Shop, order, serving

from headrace.errors import BadRequest, BodyTooLarge, Busy, UnsupportedBody
from headrace.serve.answers import ARROW
from headrace.serve.bodies import Flight, rows_of, unpacked
from headrace.serve.pool import Pool

MIB = 1 << 20


def test_gzip_is_unpacked_also_in_several_members() -> None:
    assert unpacked(gzip.compress(b"ab") + gzip.compress(b"cd"), 100) == b"abcd"
    assert unpacked(zlib.compress(b"ab"), 100) == b"ab"
    assert unpacked(gzip.compress(b""), 100) == b""


def test_a_gzip_bomb_is_cut_off_where_it_grows_too_large() -> None:
    bomb = gzip.compress(b"\0" * (40 * MIB))
    assert len(bomb) < MIB
    with pytest.raises(BodyTooLarge):
        unpacked(bomb, 10 * MIB)
    with pytest.raises(BodyTooLarge):
        unpacked(gzip.compress(b"x" * 60) * 10, 500)


@pytest.mark.parametrize("body", [b"not gzip", gzip.compress(b"x" * 1000, mtime=0)[:-9], b"\x1f\x8b"])
def test_torn_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest):
        unpacked(body, 10_000)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1,]", b"\xff\xfe", b'"text"', b"5", b"null", b"NaN", b"[" * 5_000, b'{"a":' * 5_000],
)
def test_json_that_is_none(body: bytes) -> None:
    with pytest.raises(BadRequest):
        rows_of(body, "application/json", MIB)


@pytest.mark.parametrize(
    "kind", ["text/csv", "application/x-www-form-urlencoded", "multipart/form-data", "text/plain"]
)
def test_types_that_are_not_taken(kind: str) -> None:
    with pytest.raises(UnsupportedBody):
        rows_of(b"{}", kind, MIB)


def test_a_charset_in_the_type_does_no_harm() -> None:
    assert rows_of(b"{}", "Application/JSON; charset=utf-8", MIB) == [{}]
    assert rows_of(b"[]", "", MIB) == []


def test_json_of_countless_parts_is_refused_before_it_is_parsed() -> None:
    for body in (b"[" + b"{}," * 600_000 + b"[],".replace(b",", b"") * 600_000, b"[[]]" * 600_000):
        for kind in ("application/json", "application/x-ndjson"):
            with pytest.raises(BodyTooLarge):
                rows_of(body, kind, MIB)


def test_bytes_in_flight_are_counted() -> None:
    flight = Flight(100)
    flight.take(60)
    with pytest.raises(Busy):
        flight.take(41)
    flight.give_back(60)
    flight.take(100)
    assert flight.bytes_held == 100


def test_a_pool_refuses_what_finds_its_queue_full() -> None:
    async def main() -> None:
        pool = Pool("test", 1, 1)
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wait() -> None:
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result()

        first = asyncio.create_task(pool.run(wait))
        second = asyncio.create_task(pool.run(lambda: None))
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await pool.run(lambda: None)
        gate.set()
        await asyncio.gather(first, second)
        assert await pool.run(lambda: 7) == 7
        assert pool.active == 0
        pool.close()

    asyncio.run(main())


def test_who_is_cancelled_keeps_his_place_while_a_thread_works_for_him() -> None:
    began, go_on = threading.Event(), threading.Event()

    def work() -> None:
        began.set()
        go_on.wait(100)

    async def main() -> None:
        pool = Pool("test", 1, 1)
        running = asyncio.create_task(pool.run(work))
        assert await asyncio.to_thread(began.wait, 100)
        waiting = asyncio.create_task(pool.run(lambda: None))
        await asyncio.sleep(0)
        for task in (waiting, running):
            task.cancel()
        for task in (waiting, running):
            with pytest.raises(asyncio.CancelledError):
                await task
        assert pool.active == 1
        go_on.set()
        assert await pool.run(lambda: 7) == 7
        assert pool.active == 0
        pool.close()

    asyncio.run(main())


@pytest.fixture(scope="module")
def narrow() -> Iterator[Shop]:
    with serving(body_bytes_max=10_000, decoded_bytes_max=50_000, flight_bytes_max=60_000) as shop:
        yield shop


def test_large_bodies_get_413(narrow: Shop) -> None:
    rows = [order(number) for number in range(500)]
    assert narrow.post("/v1/streams/orders", rows, status=413)["error"]["code"] == "request.too_large"

    def parts() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 1_000

    headers = {"Content-Type": "application/json"}
    assert narrow.http.post("/v1/streams/orders", content=parts(), headers=headers).status_code == 413


def test_bombs_get_413_and_leave_nothing_in_flight(narrow: Shop) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    bomb = gzip.compress(b" " * 5_000_000)
    for _ in range(3):
        assert narrow.http.post("/v1/streams/orders", content=bomb, headers=headers).status_code == 413
    assert narrow.service.flight.bytes_held == 0


def test_unknown_encodings_get_415(narrow: Shop) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "br"}
    assert narrow.http.post("/v1/streams/orders", content=b"[]", headers=headers).status_code == 415


def test_a_form_gets_415_and_a_hint_for_curl(narrow: Shop) -> None:
    answer = narrow.http.post("/v1/streams/orders", data={"a": "b"})
    assert answer.status_code == 415
    assert "curl" in answer.json()["error"]["hint"]


def test_a_body_that_never_ends_gets_408() -> None:
    with (
        serving(body_timeout_s=0.5) as shop,
        socket.create_connection(("127.0.0.1", shop.port), timeout=60) as line,
    ):
        head = "POST /v1/streams/orders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"
        line.sendall(head.encode())
        assert b"408" in line.recv(1_000).split(b"\r\n")[0]
        assert shop.service.flight.bytes_held == 0


def test_arrow_over_http_that_is_none(narrow: Shop) -> None:
    answer = narrow.http.post("/v1/streams/orders", content=b"nothing", headers={"Content-Type": ARROW})
    assert answer.status_code == 400


def test_deep_json_over_http(narrow: Shop) -> None:
    body = b'[{"order_id": ' + b"[" * 900 + b"]" * 900 + b"}]"
    answer = narrow.http.post(
        "/v1/streams/orders", content=body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 200
    assert answer.json()["rejected"] == 1
