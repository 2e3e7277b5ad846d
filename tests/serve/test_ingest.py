"""Ways in: what becomes of rows is told row by row, and a repeat counts once."""

from __future__ import annotations

import base64
import gzip
import io
from decimal import Decimal
from typing import Any

import orjson
import pyarrow as pa
import pytest
from tests.serve.conftest import Shop, declared, order, serving

from headrace.errors import Busy
from headrace.serve.answers import ARROW, NDJSON
from headrace.serve.models import CommitAnswer, ErrorAnswer, TransactionAnswer


def ipc(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def counts(answer: dict[str, Any]) -> tuple[int, int, int, int]:
    return answer["accepted"], answer["repeated"], answer["late"], answer["rejected"]


def test_an_array_and_a_single_object(shop: Shop) -> None:
    answer = shop.post("/v1/streams/orders", [order(100), order(101)])
    CommitAnswer.model_validate(answer)
    assert counts(answer) == (2, 0, 0, 0)
    assert answer["rows"] == []
    single = shop.post("/v1/streams/orders", order(102))
    assert counts(single) == (1, 0, 0, 0)
    assert single["commit"] > answer["commit"]


def test_what_becomes_of_each_row_is_told(shop: Shop) -> None:
    shop.post("/v1/streams/orders", [order(200)])
    rows = [order(200), order(201) | {"amount": "abc"}, order(202, placed_at="2020-01-01"), 7, order(203)]
    answer = shop.post("/v1/streams/orders", rows)
    CommitAnswer.model_validate(answer)
    assert counts(answer) == (1, 1, 1, 2)
    told = {row["index"]: row for row in answer["rows"]}
    assert {index: row["status"] for index, row in told.items()} == {
        0: "repeated",
        1: "rejected",
        2: "late",
        3: "rejected",
    }
    assert (told[1]["field"], told[1]["value"]) == ("amount", "abc")
    assert told[1]["reason"]


def test_the_list_is_bounded_and_the_statuses_are_not(shop: Shop) -> None:
    bad: list[Any] = [{"nope": 1}] * 1_500
    answer = shop.post("/v1/streams/orders", bad, params={"statuses": "true"})
    CommitAnswer.model_validate(answer)
    assert answer["rejected"] == 1_500
    assert len(answer["rows"]) == 1_000
    assert answer["rows_truncated"]
    assert len(base64.b64decode(answer["statuses"])) == 1_500


def test_strictness_refuses_the_whole_call(shop: Shop) -> None:
    rows = [order(300), order(301) | {"amount": "abc"}]
    answer = shop.post("/v1/streams/orders", rows, status=422, params={"on_reject": "raise"})
    ErrorAnswer.model_validate(answer)
    assert answer["error"]["code"] == "rows.rejected"
    assert shop.rows("all_orders", order_id=300) == []


def test_ndjson_with_a_torn_line(shop: Shop) -> None:
    lines = [orjson.dumps(order(400)), b"", b'{"order_id": 401, "amou', orjson.dumps(order(402)), b"  "]
    answer = shop.http.post(
        "/v1/streams/orders", content=b"\r\n".join(lines), headers={"Content-Type": NDJSON}
    )
    assert counts(answer.json()) == (2, 0, 0, 1)
    assert answer.json()["rows"][0]["index"] == 1
    assert len(shop.rows("all_orders", order_id__gte=400, order_id__lt=410)) == 2


def test_arrow_and_gzip(shop: Shop) -> None:
    table = pa.table(
        {
            "order_id": [500, 501],
            "category": ["tea", None],
            "amount": pa.array([Decimal("1.25"), Decimal("2.00")], pa.decimal128(18, 2)),
            "placed_at": pa.array([1_767_268_800_000_000] * 2, pa.timestamp("us")),
        }
    )
    for number, (body, extra) in enumerate(
        [(ipc(table), {}), (gzip.compress(ipc(table)), {"Content-Encoding": "gzip"})]
    ):
        answer = shop.http.post("/v1/streams/orders", content=body, headers={"Content-Type": ARROW, **extra})
        assert answer.status_code == 200, answer.text
        assert counts(answer.json()) == ((2, 0, 0, 0), (0, 2, 0, 0))[number]


def test_an_idempotency_key_gets_the_first_answer_again(shop: Shop) -> None:
    headers = {"Idempotency-Key": "monday-1"}
    first = shop.post("/v1/streams/clicks", [{"url": "1"}, {"url": 2}, {"nope": 1}], headers=headers)
    again = shop.post("/v1/streams/clicks", [{"url": "1"}, {"url": 2}, {"nope": 1}], headers=headers)
    stamped = {"version", "watermark", "freshness_ms", "replayed"}
    assert {k: v for k, v in again.items() if k not in stamped} == {
        k: v for k, v in first.items() if k not in stamped
    }
    assert (first["replayed"], again["replayed"]) == (False, True)
    conflict = shop.post("/v1/streams/clicks", [{"url": "other"}], status=409, headers=headers)
    assert conflict["error"]["code"] == "idempotency.conflict"


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\tinside"])
def test_keys_that_do_not_fit(shop: Shop, key: str) -> None:
    assert shop.post("/v1/streams/clicks", [], status=400, headers={"Idempotency-Key": key})["error"][
        "expected"
    ]


def test_tables_by_key(shop: Shop) -> None:
    people = [{"id": 1, "name": "Ada"}, {"id": 2, "name": "Bob"}, {"id": 1, "name": "Eve"}]
    assert shop.post("/v1/tables/customers/upsert", people)["commit"]
    assert shop.rows("customers", id__lte=2) == [{"id": 1, "name": "Eve"}, {"id": 2, "name": "Bob"}]
    CommitAnswer.model_validate(shop.post("/v1/tables/customers/delete", {"id": 1}))
    assert shop.rows("customers", id__lte=2) == [{"id": 2, "name": "Bob"}]


def test_a_transaction_is_one_commit(shop: Shop) -> None:
    changes = [
        {"upsert": "customers", "rows": [{"id": 70, "name": "Ada"}]},
        {"append": "orders", "rows": order(700)},
        {"delete": "customers", "rows": [{"id": 71}]},
    ]
    answer = shop.post("/v1/transactions", {"changes": changes})
    TransactionAnswer.model_validate(answer)
    assert {result["commit"] for result in answer["results"]} == {answer["commit"]}
    assert [result["accepted"] for result in answer["results"]][:2] == [1, 1]


def test_a_transaction_with_a_bad_row_keeps_nothing_when_it_is_strict(shop: Shop) -> None:
    changes = [{"append": "orders", "rows": [order(800)]}, {"upsert": "customers", "rows": [{"id": None}]}]
    shop.post("/v1/transactions", {"changes": changes}, status=422, params={"on_reject": "raise"})
    assert shop.rows("all_orders", order_id=800) == []


@pytest.mark.parametrize(
    "body",
    [
        5,
        {},
        {"changes": []},
        {"changes": [5]},
        {"changes": [{"append": "orders"}]},
        {"changes": [{"append": 5, "rows": []}]},
        {"changes": [{"append": "orders", "upsert": "customers", "rows": []}]},
        {"changes": [{"drop": "orders", "rows": []}]},
        {"changes": [{"append": "orders", "rows": [], "more": 1}]},
        {"changes": [{"append": "orders", "rows": "text"}]},
    ],
)
def test_transactions_that_make_no_sense(shop: Shop, body: Any) -> None:
    assert shop.post("/v1/transactions", body, status=400)["error"]["code"] == "request"


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("/v1/streams/order", "did you mean 'orders'?"),
        ("/v1/streams/customers", "use upsert for it"),
        ("/v1/tables/orders/upsert", "use append for it"),
        ("/v1/streams/gmv", None),
        ("/v1/streams/orders__late", None),
    ],
)
def test_names_that_take_no_rows(shop: Shop, path: str, hint: str | None) -> None:
    error = shop.post(path, [], status=404)["error"]
    assert error["code"] == "unknown"
    assert hint is None or error["hint"] == hint


def test_every_answer_is_stamped(shop: Shop) -> None:
    answer = shop.http.post("/v1/streams/clicks", json=[{"url": "1"}])
    body = answer.json()
    assert int(answer.headers["Headrace-Version"]) == body["version"]
    assert float(answer.headers["Headrace-Freshness-Ms"]) >= 0
    assert answer.headers["Cache-Control"] == "no-store"


def test_a_busy_run_is_told_as_429() -> None:
    class Full:
        """A run that has too much to do."""

        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

        def begin_append(self, *_: Any, **__: Any) -> Any:
            raise Busy("full", retry_after_s=0.25)

    with serving(run=Full(declared().open(None, auto=True))) as busy:
        answer = busy.http.post("/v1/streams/clicks", json=[{"url": "1"}])
        assert answer.status_code == 429
        assert answer.headers["Retry-After"] == "0.25"
        assert answer.json()["error"]["code"] == "busy"
