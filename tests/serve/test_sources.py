"""Deliveries in another language: what a source makes of one is one commit; what it raises is answered."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pytest
from tests.serve.conftest import Shop, declared, order, serving

import headrace as hr
from headrace.errors import BadRequest

TOKEN = "correct-horse-battery-staple"


def receive(delivery: hr.Delivery) -> Sequence[hr.Put]:
    try:
        number = json.loads(delivery.body)["number"]
    except (ValueError, KeyError) as error:
        raise BadRequest("not an order", expected='{"number": …}') from error
    if number == 0:
        return []
    if delivery.headers.get("x-mood") == "bad":
        raise hr.AccessDenied("not in this mood", hint=delivery.params.get("why"))
    customer = {"id": number, "name": delivery.received_at.tzname()}
    return [hr.Put("append", "orders", [order(number)]), hr.Put("upsert", "customers", [customer])]


@pytest.fixture(scope="module")
def locked() -> Iterator[Shop]:
    app = declared()
    app.source("old_shop", receive, signed=True)
    app.source("inner", receive)
    with serving(app, token=TOKEN) as shop:
        yield shop


def test_a_delivery_is_one_commit_on_disk(locked: Shop) -> None:
    answer = locked.post("/v1/sources/old_shop", {"number": 7})
    assert [result["accepted"] for result in answer["results"]] == [1, 1]
    assert locked.rows("customers", id=7) == [{"id": 7, "name": "UTC"}]
    again = locked.post("/v1/sources/old_shop", {"number": 7})
    assert [result["repeated"] for result in again["results"]] == [1, 1]


def test_a_delivery_may_mean_nothing(locked: Shop) -> None:
    answer = locked.post("/v1/sources/old_shop", {"number": 0})
    assert (answer["commit"], answer["results"]) == (None, [])


def test_what_a_source_raises_is_answered(locked: Shop) -> None:
    assert locked.post("/v1/sources/old_shop", {}, 400)["error"]["problem"] == "not an order"
    headers = {"X-Mood": "bad"}
    refused = locked.post("/v1/sources/old_shop?why=rain", {"number": 1}, 403, headers=headers)
    assert refused["error"]["hint"] == "rain"
    assert locked.post("/v1/sources/new_shop", {}, 404)["error"]["problem"].endswith("'new_shop'")


def test_only_a_signed_source_needs_no_token(locked: Shop) -> None:
    headers = {"Authorization": ""}
    locked.post("/v1/sources/old_shop", {"number": 8}, headers=headers)
    locked.post("/v1/sources/inner", {"number": 9}, 401, headers=headers)
    locked.post("/v1/sources/inner", {"number": 9})
    locked.post("/v1/sources/unknown", {"number": 9}, 401, headers=headers)
    foreign = {"Host": "evil.example"}
    locked.post("/v1/sources/old_shop", {"number": 9}, 403, headers=foreign)


def test_a_source_is_declared_once_and_can_be_called() -> None:
    app = declared()
    app.source("one", receive)
    with pytest.raises(hr.DeclarationError, match="one"):
        app.source("one", receive)
    with pytest.raises(hr.DeclarationError, match="cannot be called"):
        app.source("two", "receive")  # type: ignore[arg-type]
    with pytest.raises(hr.DeclarationError, match="no change"):
        hr.Put("insert", "orders", [])  # type: ignore[arg-type]
