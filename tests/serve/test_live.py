"""Views as they change, over real sockets: a snapshot, then changes that add up, whatever happens in between.

A reader is checked as a reader would check himself: he adds the changes to his snapshot, obeys the version
numbers, and must hold exactly the view's rows at the end. Gaps, slow readers, merging, errors are provoked.
"""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pyarrow as pa
import pytest
from tests.serve.conftest import Shop, declared, order, serving
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from headrace.serve import broadcast
from headrace.serve.models import ChangeMessage, ErrorMessage, HeartbeatMessage, SnapshotMessage

MODELS: dict[str, Any] = {
    "snapshot": SnapshotMessage,
    "change": ChangeMessage,
    "heartbeat": HeartbeatMessage,
    "error": ErrorMessage,
}


class Reader:
    """One who follows a view and believes only what the messages add up to."""

    def __init__(self, line: ClientConnection) -> None:
        self.line = line
        self.rows: Counter[str] = Counter()
        self.version = -1
        self.kinds: list[str] = []
        self.last: dict[str, Any] = {}

    def take(self, timeout_s: float = 20) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.line.recv(timeout=timeout_s))
        MODELS[message["type"]].model_validate(message)
        self.kinds.append(message["type"])
        self.last = message
        if message["type"] == "snapshot":
            self.rows = Counter(json.dumps(row) for row in message["rows"])
            self.version = message["version"]
        elif message["type"] == "change":
            assert message["previous"] <= self.version < message["version"]
            for row in message["rows"]:
                weight = row.pop("_weight")
                self.rows[json.dumps(row)] += weight
            self.rows = +self.rows
            self.version = message["version"]
        return message

    def until(self, kind: str) -> dict[str, Any]:
        for _ in range(200):
            message = self.take()
            if message["type"] == kind:
                return message
        raise AssertionError(f"no {kind} in {self.kinds[-10:]}")

    def until_rows(self, wanted: list[dict[str, Any]]) -> None:
        target = Counter(json.dumps(row) for row in wanted)
        for _ in range(500):
            if self.rows == target:
                return
            self.take()
        raise AssertionError(f"never got there: {self.rows} is not {target}")


@contextlib.contextmanager
def follow(shop: Shop, view: str, query: str = "") -> Iterator[ClientConnection]:
    with connect(f"ws://127.0.0.1:{shop.port}/v1/views/{view}/changes{query}", max_size=None) as line:
        yield line


@contextlib.contextmanager
def following(shop: Shop, targets: list[tuple[str, str]]) -> Iterator[list[Reader]]:
    """A reader for each (view, query)."""
    with contextlib.ExitStack() as stack:
        yield [Reader(stack.enter_context(follow(shop, view, query))) for view, query in targets]


def test_a_snapshot_then_changes_then_heartbeats(shop: Shop) -> None:
    shop.post("/v1/streams/orders", [order(1, "live-a")])
    shop.run.advance()
    with follow(shop, "by_category") as line:
        reader = Reader(line)
        first = reader.take()
        assert first["type"] == "snapshot"
        assert first["key"] == ["category"]
        assert [column["name"] for column in first["columns"]] == ["category", "gmv", "n"]
        shop.post("/v1/streams/orders", [order(2, "live-a"), order(3, "live-b")])
        change = reader.until("change")
        assert change["watermark"]
        reader.until_rows(shop.rows("by_category"))
        beat = reader.until("heartbeat")
        assert beat["version"] >= change["version"]
        assert beat["pending_commits"] == 0


def test_tables_can_be_followed(shop: Shop) -> None:
    with follow(shop, "customers") as line:
        reader = Reader(line)
        reader.take()
        shop.post("/v1/tables/customers/upsert", [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Bob"}])
        shop.post("/v1/tables/customers/upsert", [{"id": 1, "name": "Eve"}])
        shop.post("/v1/tables/customers/delete", [{"id": 2}])
        reader.until_rows([{"id": 1, "name": "Eve"}])


def test_names_are_compared_without_regard_to_case(shop: Shop) -> None:
    with follow(shop, "GMV") as line:
        assert Reader(line).take()["view"] == "gmv"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("nothing/changes", 404),
        ("orders/changes", 404),
        ("gmv/changes?every_ms=-1", 400),
        ("gmv/changes?every_ms=99999999", 400),
        ("gmv/changes?format=xml", 400),
    ],
)
def test_what_cannot_be_followed_is_refused_at_the_handshake(shop: Shop, path: str, status: int) -> None:
    with pytest.raises(InvalidStatus) as caught, connect(f"ws://127.0.0.1:{shop.port}/v1/views/{path}"):
        pass
    assert caught.value.response.status_code == status
    assert b'"error"' in (caught.value.response.body or b"")


def test_many_readers_under_load_all_end_with_the_same_rows(shop: Shop) -> None:
    targets = [(view, query) for view in ("by_category", "gmv") for query in ("", "?every_ms=30", "")]

    def send(start: int) -> None:
        for batch in range(15):
            shop.post("/v1/streams/orders", [order(start + batch * 10 + i, f"c{i % 7}") for i in range(10)])

    with following(shop, targets) as readers:
        senders = [threading.Thread(target=send, args=(10_000 * (n + 1),)) for n in range(3)]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
        for (view, _), reader in zip(targets, readers, strict=True):
            reader.until_rows(shop.rows(view))
    assert all(reader.kinds[0] == "snapshot" for reader in readers)


def test_readers_who_join_in_the_middle_miss_nothing(shop: Shop) -> None:
    stop = threading.Event()

    def send() -> None:
        number = 100_000
        while not stop.is_set():
            number += 1
            shop.post("/v1/streams/orders", [order(number, f"j{number % 5}")])

    with contextlib.ExitStack() as stack:
        sender = threading.Thread(target=send)
        sender.start()
        readers = [Reader(stack.enter_context(follow(shop, "by_category"))) for _ in range(12)]
        stop.set()
        sender.join()
        wanted = shop.rows("by_category")
        for reader in readers:
            reader.until_rows(wanted)


def test_coalesced_changes_are_fewer_and_add_up(shop: Shop) -> None:
    with following(shop, [("gmv", "?every_ms=500"), ("gmv", "")]) as readers:
        for reader in readers:
            reader.take()
        for number in range(20):
            shop.post("/v1/streams/orders", [order(200_000 + number)])
            shop.run.advance()
        wanted = shop.rows("gmv")
        for reader in readers:
            reader.until_rows(wanted)
        assert readers[0].kinds.count("change") < readers[1].kinds.count("change")


def test_a_slow_reader_gets_a_new_snapshot_and_holds_nobody_up() -> None:
    with serving(viewer_queue_bytes_max=20_000, heartbeat_s=0.2) as shop:
        with follow(shop, "all_orders") as line:
            reader = Reader(line)
            reader.take()
            for batch in range(60):
                rows = [order(batch * 200 + i, "x" * 100) for i in range(200)]
                shop.post("/v1/streams/orders", rows)
            shop.run.advance()
            reader.until_rows(shop.rows("all_orders", limit=20_000))
            assert reader.kinds.count("snapshot") > 1
        assert "headrace_viewer_losses_total" in shop.http.get("/metrics").text


def test_what_the_encoder_cannot_keep_up_with_is_shown_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(heartbeat_s=0.2) as shop, follow(shop, "by_category") as line:
        reader = Reader(line)
        reader.take()
        monkeypatch.setattr(broadcast, "WAITING_MAX", 0)
        shop.post("/v1/streams/orders", [order(1, "tea")])
        reader.until_rows(shop.rows("by_category"))
        assert "change" not in reader.kinds
        monkeypatch.undo()
        shop.post("/v1/streams/orders", [order(2, "mug")])
        reader.until_rows(shop.rows("by_category"))


def test_a_view_in_error_says_so_and_heals(shop: Shop) -> None:
    with follow(shop, "numbers") as line:
        reader = Reader(line)
        reader.take()
        shop.post("/v1/tables/customers/upsert", [{"id": 1_001, "name": "7"}])
        reader.until_rows([{"id": 1_001, "number": 7}])
        shop.post("/v1/tables/customers/upsert", [{"id": 1_002, "name": "seven"}])
        error = reader.until("error")
        assert error["error"]["code"] == "view.error"
        assert shop.get("/v1/views/numbers", 409)["error"]["code"] == "view.error"
        shop.post("/v1/tables/customers/delete", [{"id": 1_002}])
        reader.until_rows([{"id": 1_001, "number": 7}])
        shop.post("/v1/tables/customers/delete", [{"id": 1_001}])
        reader.until_rows([])


def test_a_snapshot_is_bounded_and_says_so() -> None:
    with serving(live_rows_max=5) as shop:
        shop.post("/v1/streams/orders", [order(n) for n in range(20)])
        shop.run.advance()
        with follow(shop, "all_orders") as line:
            first = Reader(line).take()
    assert (len(first["rows"]), first["row_count"], first["truncated"]) == (5, 20, True)


def test_arrow_comes_in_two_frames(shop: Shop) -> None:
    with follow(shop, "gmv", "?format=arrow") as line:
        head, body = json.loads(line.recv(timeout=60)), line.recv(timeout=60)
        assert isinstance(body, bytes)
        table = pa.ipc.open_stream(io.BytesIO(body)).read_all()
        assert head["type"] == "snapshot"
        assert "rows" not in head
        shop.post("/v1/streams/orders", [order(300_000)])
        message: dict[str, Any] = {}
        while message.get("type") != "change":
            message = json.loads(line.recv(timeout=60))
        frame = line.recv(timeout=60)
        assert isinstance(frame, bytes)
        change = pa.ipc.open_stream(io.BytesIO(frame)).read_all()
    assert table.schema.names == ["gmv", "orders"]
    assert change.column("_weight").to_pylist() == [-1, 1] or change.column("_weight").to_pylist() == [1, -1]


def test_a_replaced_view_gives_its_readers_a_new_snapshot() -> None:
    with serving(heartbeat_s=0.1) as shop:
        shop.run.create_view("top", "SELECT category, count(*) AS n FROM orders GROUP BY category")
        shop.post("/v1/streams/orders", [order(1)])
        shop.run.advance()
        with follow(shop, "top") as line:
            reader = Reader(line)
            assert [column["name"] for column in reader.take()["columns"]] == ["category", "n"]
            shop.run.replace_view(
                "top", "SELECT category, count(*) AS n, max(amount) AS high FROM orders GROUP BY category"
            )
            again = reader.until("snapshot")
            assert [column["name"] for column in again["columns"]] == ["category", "n", "high"]
            assert again["rows"] == [{"category": "tea", "n": 1, "high": "1.50"}]


def test_a_dropped_view_ends_its_readers() -> None:
    with serving(heartbeat_s=0.1, viewer_queue_bytes_max=1) as shop:
        shop.run.create_view("top", "SELECT count(*) AS n FROM orders")
        with follow(shop, "top") as line:
            reader = Reader(line)
            reader.take()
            shop.post("/v1/streams/orders", [order(1)])
            shop.run.advance()
            shop.run.drop_view("top")
            with pytest.raises(ConnectionClosed) as caught:
                reader.until("nothing more")
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 4404


def test_a_view_with_other_columns_is_shown_anew_though_no_row_changes() -> None:
    with serving(heartbeat_s=0.1) as shop:
        shop.run.append("orders", [order(1)])
        shop.run.advance()
        changed = declared("SELECT sum(amount) AS gmv, count(*) AS orders, 1 AS one FROM orders")
        with follow(shop, "gmv") as line:
            reader = Reader(line)
            assert reader.until("snapshot")["rows"] == [{"gmv": "1.50", "orders": 1}]
            shop.run.apply(changed)
            assert reader.until("snapshot")["rows"] == [{"gmv": "1.50", "orders": 1, "one": 1}]


def test_viewers_are_counted_and_forgotten(shop: Shop) -> None:
    with follow(shop, "gmv") as one, follow(shop, "gmv") as two:
        Reader(one).take()
        Reader(two).take()
        assert shop.get("/v1/status")["viewers"]["gmv"] == 2
    waiting = threading.Event()
    while shop.get("/v1/status")["viewers"]:  # each goes when the server notices, which no clock bounds
        waiting.wait(0.02)
    assert shop.get("/v1/status")["viewers"] == {}


def test_readers_beyond_the_limit_are_turned_away() -> None:
    with serving(subscribers_max=1) as shop, follow(shop, "gmv") as line:
        Reader(line).take()
        with pytest.raises(InvalidStatus) as caught, follow(shop, "gmv"):
            pass
        assert caught.value.response.status_code == 429


# --- server-sent events ---------------------------------------------------------------------------


def events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = ""
    for line in answer.iter_lines():
        if line.startswith("event: "):
            kind = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield kind, json.loads(line.removeprefix("data: "))


def test_the_same_as_server_sent_events(shop: Shop) -> None:
    with shop.http.stream("GET", "/v1/views/gmv/changes", headers={"Accept": "text/event-stream"}) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        told = events(answer)
        kind, first = next(told)
        assert kind == first["type"] == "snapshot"
        threading.Thread(target=lambda: shop.post("/v1/streams/orders", [order(400_000)])).start()
        seen = {kind for kind, _ in (next(told) for _ in range(6))}
        assert {"change", "heartbeat"} <= seen


def test_events_of_an_unknown_view_get_404(shop: Shop) -> None:
    answer = shop.http.get("/v1/views/nothing/changes", headers={"Accept": "text/event-stream"})
    assert answer.status_code == 404


# --- one answer -----------------------------------------------------------------------------------


def test_changes_after_a_version_in_one_answer(shop: Shop) -> None:
    shop.run.advance()
    before = shop.get("/v1/views/gmv/changes")
    shop.post("/v1/streams/orders", [order(500_000), order(500_001)])
    shop.run.advance()
    answer = shop.get("/v1/views/gmv/changes", params={"since": before["upto"]})
    assert sorted(row["_weight"] for row in answer["rows"]) == [-1, 1]
    nothing = shop.get("/v1/views/gmv/changes", params={"since": answer["upto"]})
    assert nothing["rows"] == []


def test_long_polling_waits_for_the_next_version(shop: Shop) -> None:
    upto = shop.get("/v1/views/gmv/changes")["upto"]
    sender = threading.Timer(0.2, lambda: shop.post("/v1/streams/orders", [order(600_000)]))
    sender.start()
    rows: list[Any] = []
    for _ in range(20):
        answer = shop.get("/v1/views/gmv/changes", params={"since": upto, "wait_s": 10})
        rows, upto = answer["rows"], answer["upto"]
        if rows:
            break
    sender.join()
    assert rows


@pytest.mark.parametrize(
    "query", ["since=x", "since=-1", "since=1&wait_s=x", "since=1&wait_s=nan", "since=99999999999999999999"]
)
def test_parameters_that_make_no_sense(shop: Shop, query: str) -> None:
    assert shop.get(f"/v1/views/gmv/changes?{query}", 400)["error"]["code"] == "request"
