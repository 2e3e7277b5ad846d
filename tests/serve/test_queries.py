"""`/v1/queries`: parameters in the address, formats, what is unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest
from tests.serve.conftest import Shop, start

import headrace as hr

MRR = """-- MRR per day.
-- $merchant TEXT: whose
-- $since DATE = 2026-01-02: the first day
SELECT day, mrr FROM mrr WHERE merchant_id = $merchant AND day >= $since ORDER BY day
"""


@pytest.fixture
def books() -> Iterator[Shop]:
    app = hr.App("books")
    app.table("mrr", "merchant_id TEXT, day DATE, mrr DECIMAL(18,2)", key=("merchant_id", "day"))
    app.query("mrr_per_day", MRR)
    app.query("hours", "SELECT now() AS at")
    shop = start(app)
    days = [{"merchant_id": "a", "day": date(2026, 1, day), "mrr": day * 10} for day in (1, 2, 3)]
    shop.run.upsert("mrr", days)
    shop.run.advance()
    yield shop
    shop.stop()


def test_what_there_is(books: Shop) -> None:
    first = books.get("/v1/queries")["queries"][0]
    assert first["name"] == "mrr_per_day"
    assert first["help"] == "MRR per day."
    assert first["parameters"][1] == {
        "name": "since", "type": "DATE", "is_required": False, "default": "2026-01-02",
        "help": "the first day",
    }  # fmt: skip


def test_the_address_carries_the_parameters(books: Shop) -> None:
    answer = books.get("/v1/queries/mrr_per_day?merchant=a&since=2026-01-01")
    assert [row["mrr"] for row in answer["rows"]] == ["10.00", "20.00", "30.00"]
    assert answer["version"] == books.run.version.number
    text = books.http.get("/v1/queries/mrr_per_day?merchant=a&format=csv").text
    assert text.splitlines() == ['"day","mrr"', '"2026-01-02","20.00"', '"2026-01-03","30.00"']


def test_nothing_is_sent_twice_while_nothing_is_published(books: Shop) -> None:
    asked = "/v1/queries/mrr_per_day?merchant=a"
    tag = books.http.get(asked).headers["ETag"]
    same = {"If-None-Match": tag}
    assert books.http.get(asked, headers=same).status_code == 304
    books.run.upsert("mrr", [{"merchant_id": "a", "day": date(2026, 1, 4), "mrr": 40}])
    books.run.advance()
    assert books.http.get(asked, headers=same).json()["row_count"] == 3


def test_a_query_that_asks_for_the_time_is_asked_anew(books: Shop) -> None:
    tag = books.http.get("/v1/queries/hours").headers["ETag"]
    assert books.http.get("/v1/queries/hours", headers={"If-None-Match": tag}).status_code == 200


def test_wrong_questions(books: Shop) -> None:
    assert "wants $merchant" in books.get("/v1/queries/mrr_per_day", 400)["error"]["problem"]
    assert "no parameter 'x'" in books.get("/v1/queries/mrr_per_day?merchant=a&x=1", 400)["error"]["problem"]
    books.get("/v1/queries/mrr_per_day?merchant=a&since=soon", 400)
    books.get("/v1/queries/nothing", 404)


def test_a_query_is_asked_as_of_then(books: Shop) -> None:
    then = books.run.version.number
    books.run.upsert("mrr", [{"merchant_id": "a", "day": date(2026, 1, 2), "mrr": 77}])
    books.run.advance()
    asked = "/v1/queries/mrr_per_day?merchant=a"
    assert books.get(asked)["rows"][0]["mrr"] == "77.00"
    answer = books.get(f"{asked}&as_of={then}")
    assert answer["rows"][0]["mrr"] == "20.00"
    assert answer["version"] == then
    assert books.run.ask("mrr_per_day", {"merchant": "a"}, as_of=then).table.column("mrr")[0].as_py() == 20
