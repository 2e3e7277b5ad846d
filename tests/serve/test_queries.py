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
-- $order TEXT = up IN (up, down)
-- $rows INTEGER = 100 BETWEEN 0 AND 1000
-- $currency TEXT = NULL IN (all, {currencies}): of one only
SELECT day, mrr FROM mrr
WHERE merchant_id = $merchant AND day >= $since AND $currency IS NULL
ORDER BY CASE $order WHEN 'up' THEN 1 ELSE -1 END * epoch(day)
LIMIT $rows
"""


@pytest.fixture
def books() -> Iterator[Shop]:
    app = hr.App("books")
    app.table("mrr", "merchant_id TEXT, day DATE, mrr DECIMAL(18,2)", key=("merchant_id", "day"))
    app.query("mrr_per_day", MRR)
    app.query("currencies", "SELECT 'eur' AS currency")
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
        "help": "the first day", "choices": [], "choices_of": None, "least": None, "most": None,
    }  # fmt: skip
    assert first["parameters"][2]["choices"] == ["up", "down"]
    assert (first["parameters"][3]["least"], first["parameters"][3]["most"]) == ("0", "1000")
    assert first["parameters"][4]["choices_of"] == "currencies"


def test_the_document_says_what_a_query_takes(books: Shop) -> None:
    asking = books.get("/openapi.json")["paths"]["/v1/queries/mrr_per_day"]["get"]
    told = {one["name"]: one for one in asking["parameters"]}
    assert told["merchant"]["required"]
    assert told["order"]["schema"]["enum"] == ["up", "down"]
    assert told["since"]["schema"]["format"] == "date"
    assert told["rows"]["schema"]["default"] == 100
    assert "0 to 1000" in told["rows"]["description"]
    assert "all, or what /v1/queries/currencies answers" in told["currency"]["description"]
    assert {"as_of", "format"} < told.keys()


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("merchant=a&order=sideways", ["order", "sideways", "up, down"]),
        ("merchant=a&rows=-1", ["rows", "-1", "0 to 1000"]),
        ("merchant=a&since=soon", ["since", "soon", "DATE"]),
        ("merchant=a&currency=franc", ["currency", "franc", "all, eur"]),
        ("merchant=", ["merchant", "whose"]),
    ],
)
def test_what_it_cannot_be_asked_is_told(books: Shop, asked: str, said: list[str]) -> None:
    answer = books.http.get(f"/v1/queries/mrr_per_day?{asked}")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "request"
    for word in said:
        assert word in error["problem"] + error["expected"]


def test_what_is_empty_in_an_address_is_left_out(books: Shop) -> None:
    answer = books.get("/v1/queries/mrr_per_day?merchant=a&since=&order=&rows=&currency=")
    assert [row["mrr"] for row in answer["rows"]] == ["20.00", "30.00"]


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
