"""The methods of a run over HTTP, compared with the run itself: the same answers, the same errors."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from tests.serve.conftest import NOON, Shop, order, serving

import headrace as hr
from headrace.client import RemoteRun
from headrace.errors import HeadraceError
from headrace.results import RowStatus


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with serving() as served:
        yield served


@pytest.fixture(scope="module")
def remote(shop: Shop) -> Iterator[RemoteRun]:
    with hr.connect(shop.url) as client:
        yield client


def test_rows_of_python_values(shop: Shop, remote: RemoteRun) -> None:
    rows = [
        {
            "order_id": 100,
            "category": "tea",
            "amount": Decimal("1.50"),
            "placed_at": datetime(2026, 1, 1, 12, tzinfo=UTC),
        },
        {"order_id": 101, "category": None, "amount": "2", "placed_at": NOON},
        {"order_id": "x"},
        {"order_id": 100, "category": "tea", "amount": Decimal("1.50"), "placed_at": NOON},
    ]
    result = remote.append("orders", rows)
    accepted, rejected, repeated = RowStatus.ACCEPTED, RowStatus.REJECTED, RowStatus.REPEATED
    assert result.statuses.tolist() == [accepted, accepted, rejected, repeated]
    assert result.rejections[0].field == "order_id"
    version = remote.wait_for(result.commit or 0)
    assert version.commit >= (result.commit or 0)
    found = remote.query("SELECT amount FROM all_orders WHERE order_id IN (100, 101) ORDER BY 1")
    assert found.to_pylist() == [{"amount": Decimal("1.50")}, {"amount": Decimal("2.00")}]


def test_rows_of_arrow_and_models(remote: RemoteRun) -> None:
    table = pa.table(
        {
            "order_id": [200, 201],
            "category": ["a", "b"],
            "amount": pa.array([Decimal("1.00"), None], pa.decimal128(18, 2)),
            "placed_at": pa.array([datetime(2026, 1, 1, 12)] * 2, pa.timestamp("us")),  # noqa: DTZ001
        }
    )
    assert remote.append("orders", table).accepted == 2

    class Click(hr.Event):
        """One click."""

        url: str

    assert remote.append("clicks", [Click(url="x"), Click(url="y")]).accepted == 2


def test_thousands_of_bad_rows_keep_their_places(remote: RemoteRun) -> None:
    rows = [{"url": "x"} if number % 3 else {"nope": 1} for number in range(6_000)]
    result = remote.append("clicks", rows)
    assert result.rejected == 2_000
    assert [int(status) for status in result.statuses[:4]] == [3, 0, 0, 3]


def test_tables_and_transactions(remote: RemoteRun) -> None:
    assert remote.upsert("customers", [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Bob"}]).accepted == 2
    with remote.transaction() as transaction:
        transaction.upsert("customers", [{"id": 3, "name": "Cyd"}])
        transaction.delete("customers", [{"id": 1}])
        transaction.append("orders", pa.table({"order_id": [300], "placed_at": [NOON]}))
    assert len({result.commit for result in transaction.results}) == 1
    remote.advance()
    assert remote.query("SELECT id FROM customers ORDER BY id").column(0).to_pylist() == [2, 3]


def test_a_transaction_that_fails_sends_nothing(remote: RemoteRun) -> None:
    def attempt() -> None:
        with remote.transaction() as transaction:
            transaction.upsert("customers", [{"id": 50, "name": "Eve"}])
            raise KeyError("something else")

    with pytest.raises(KeyError):
        attempt()
    remote.advance()
    assert remote.query("SELECT * FROM customers WHERE id = 50").num_rows == 0


def test_an_empty_transaction_is_nothing(remote: RemoteRun) -> None:
    before = remote.status()["commit"]
    with remote.transaction() as transaction:
        pass
    assert transaction.results == ()
    assert remote.status()["commit"] == before


def test_what_is_read_equals_what_the_run_reads(shop: Shop, remote: RemoteRun) -> None:
    remote.append("orders", [order(400 + n, f"c{n % 3}") for n in range(50)])
    remote.advance()
    for view in ("gmv", "by_category", "all_orders", "customers", "orders__rejected"):
        here, there = shop.run.read(view), remote.read(view)
        assert there.schema == here.schema
        assert sorted(map(str, there.table.to_pylist())) == sorted(map(str, here.table.to_pylist()))
        assert there.version == here.version
        assert there.freshness.quiet


def test_long_listings_come_in_pages(remote: RemoteRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.client.remote.PAGE_ROWS", 7)
    remote.append("orders", [order(500 + n) for n in range(30)])
    remote.advance()
    version, table = remote.snapshot("all_orders")
    assert table.num_rows == remote.query("SELECT count(*) FROM orders").column(0)[0].as_py()
    assert version == remote.version


def test_types_survive_the_way(remote: RemoteRun) -> None:
    answer = remote.answer("SELECT 1::HUGEINT AS h, ?::DATE AS d, '{}'::JSON AS j", ["2026-01-01"])
    assert [column.sql_type for column in answer.schema] == ["HUGEINT", "DATE", "JSON"]
    named = remote.query(
        "SELECT $big AS big, $price::DECIMAL(9,2) AS price", {"big": 2**60, "price": Decimal("1.10")}
    )
    assert named.to_pylist() == [{"big": 2**60, "price": Decimal("1.10")}]


def test_changes_equal_those_of_the_run(shop: Shop, remote: RemoteRun) -> None:
    start = remote.advance()
    for number in range(3):
        remote.append("orders", [order(600 + number)])
        remote.advance()
    here = [table.to_pylist() for table in shop.run.changes("gmv", since=start)]
    there = [table.to_pylist() for table in remote.changes("gmv", since=start)]
    assert there == here
    assert len(there) == 3
    assert [t.to_pylist() for t in remote.changes("gmv")] == [t.to_pylist() for t in shop.run.changes("gmv")]
    assert list(remote.changes("gmv", since=remote.version)) == []


def test_following_waits_for_more(remote: RemoteRun) -> None:
    start = remote.advance()
    seen: list[Any] = []

    def follow() -> None:
        for table in remote.changes("gmv", since=start, follow=True):
            seen.append(table)
            if len(seen) == 2:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    for number in range(2):
        remote.append("orders", [order(700 + number)])
        remote.advance()
    follower.join(30)
    assert len(seen) == 2


def test_names_and_plans(shop: Shop, remote: RemoteRun) -> None:
    here, there = shop.run.relations(), remote.relations()
    assert [(info.name, info.kind, info.schema.names, info.key) for info in there] == [
        (info.name, info.kind, info.schema.names, info.key) for info in here
    ]
    assert remote.relation("GMV").schema == shop.run.relation("gmv").schema
    plan = remote.explain("gmv")
    assert str(plan) == str(shop.run.explain("gmv"))
    assert remote.freshness.pending_commits == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.query("SELEC 1"),
        lambda run: run.query("SELECT * FROM nothing"),
        lambda run: run.query("FROM gmv AT (VERSION => 1000000)"),
        lambda run: run.read("nothing"),
        lambda run: run.relation("nothing"),
        lambda run: run.append("nothing", []),
        lambda run: run.append("customers", [{"id": 1}]),
        lambda run: run.append("orders", [{"order_id": "x"}], on_reject="raise"),
        lambda run: run.append("orders", 5),
        lambda run: list(run.changes("nothing")),
    ],
    ids=range(10),
)
def test_errors_are_those_of_the_run(shop: Shop, remote: RemoteRun, call: Any) -> None:
    with pytest.raises(HeadraceError) as here:
        call(shop.run)
    with pytest.raises(HeadraceError) as there:
        call(remote)
    assert there.type is here.type


def test_idempotency_keys(remote: RemoteRun) -> None:
    first = remote.append("clicks", [{"url": "x"}], idempotency_key="client-1")
    again = remote.append("clicks", [{"url": "x"}], idempotency_key="client-1")
    assert (first.commit, again.commit, again.replayed) == (first.commit, first.commit, True)
    with pytest.raises(hr.IdempotencyConflict):
        remote.append("clicks", [{"url": "y"}], idempotency_key="client-1")


def test_values_without_json_are_refused_before_they_are_sent(remote: RemoteRun) -> None:
    for rows in ([{"url": object()}], "text", {"url": "x"}):
        with pytest.raises(hr.RowsRejected):
            remote.append("clicks", rows)
    with pytest.raises(hr.RowsRejected):
        remote.query("SELECT ?", [object()])


def test_named_queries_and_sources() -> None:
    with serving() as shop, hr.connect(shop.url) as remote:
        commit = remote.upsert("customers", [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Bo"}]).commit
        remote.wait_for(commit or 0)
        for asked in (remote, shop.run):
            assert asked.ask("names", {"least": 2}).table.to_pylist() == [{"name": "Bo"}]
            assert asked.receive("letters", b"dear all") == ()
            with pytest.raises(hr.UnknownName, match="names"):
                asked.ask("name")
            with pytest.raises(hr.UnknownName, match="letters"):
                asked.receive("letter", b"dear all")


def test_what_a_source_makes_of_a_delivery_is_told_row_by_row() -> None:
    app = hr.App("post")
    app.table("notes", "id BIGINT, text TEXT", key="id")

    def receive(delivery: hr.Delivery) -> list[hr.Put]:
        rows = [{"id": word, "text": delivery.params["by"]} for word in delivery.body.decode().split()]
        return [hr.Put("upsert", "notes", rows), hr.Put("delete", "notes", [{"id": 99}])]

    app.source("numbers", receive)
    with serving(app) as shop, hr.connect(shop.url) as remote:
        for asked in (remote, shop.run):
            put, gone = asked.receive("numbers", b"1 two 3", params={"by": "Ada"})
            assert (put.rejected, len(put.statuses), put.rejections[0].field) == (1, 3, "id")
            assert gone.rejected == 1
