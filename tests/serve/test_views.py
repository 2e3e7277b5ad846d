"""Reading views over HTTP: filters, order, pages of one version, formats, and the stamps on every answer."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest
from tests.serve.conftest import Shop, order, serving

from headrace.contracts.schema import Column, Schema
from headrace.errors import BadRequest, UnknownName, VersionGone
from headrace.results import Freshness, Version
from headrace.serve.answers import Stamp, iso, wanted_format
from headrace.serve.cursors import Cursors, Listing
from headrace.serve.filters import listed, order_by
from headrace.serve.models import ExplainAnswer, RelationAnswer, RelationsAnswer, RowsAnswer


@pytest.fixture(scope="module")
def stocked() -> Iterator[Shop]:
    """A shop whose orders stay as they are."""
    with stocked_shop() as shop:
        yield shop


@pytest.fixture(scope="module")
def moving() -> Iterator[Shop]:
    """A shop of the same stock, to which tests add orders from 1,000 on."""
    with stocked_shop() as shop:
        yield shop


@contextlib.contextmanager
def stocked_shop() -> Iterator[Shop]:
    with serving() as shop:
        rows = [order(n, ["tea", "jam", "salt"][n % 3], f"{n}.25") for n in range(30)]
        rows.append(order(99) | {"category": None, "amount": None})
        shop.post("/v1/streams/orders", rows)
        shop.post("/v1/tables/customers/upsert", [{"id": 2**60 + 1, "name": "Ä 'x' \"y\" ☃"}])
        shop.run.advance()
        yield shop


def ids(answer: dict[str, Any]) -> list[int]:
    return [row["order_id"] for row in answer["rows"]]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("order_id=7", [7]),
        ("ORDER_ID=7", [7]),
        ("order_id__lt=3", [0, 1, 2]),
        ("order_id__gte=28&order_id__lt=99", [28, 29]),
        ("order_id__in=3,1,2", [1, 2, 3]),
        ("category=jam&order_id__lte=7", [1, 4, 7]),
        ("category__ne=tea&order_id__lt=4", [1, 2]),
        ("category__null=true", [99]),
        ("category__null=false&order_id__gt=27", [28, 29]),
        ("category__like=s%25&order_id__lt=6", [2, 5]),
        ("category__ilike=TE_&order_id__lt=4", [0, 3]),
        ("amount__gt=28.25", [29]),
        ("placed_at__gte=2026-01-01T12:00:00Z&order_id=5", [5]),
        ("placed_at__gt=2026-01-01T12:00:00Z", []),
        ("order=-order_id&limit=2", [99, 29]),
        ("order=category,-amount&limit=2", [28, 25]),
        ("order=-category&limit=1", [0]),
        ("category=%27%3B DROP TABLE orders--", []),
    ],
)
def test_filters_and_order(stocked: Shop, query: str, expected: list[int]) -> None:
    answer = stocked.get(f"/v1/views/all_orders?{query}")
    RowsAnswer.model_validate(answer)
    assert ids(answer) == expected


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("nope=1", 404, "unknown"),
        ("nope__gt=1", 404, "unknown"),
        ("amount__above=1", 400, "request"),
        ("order=nope", 404, "unknown"),
        ("order=amount DESC", 404, "unknown"),
        ('order="amount"', 404, "unknown"),
        ("columns=amount,nope", 404, "unknown"),
        ("limit=0", 400, "request"),
        ("limit=-1", 400, "request"),
        ("limit=x", 400, "request"),
        ("limit=99999999999", 400, "request"),
        ("order_id=x", 400, "sql"),
        ("placed_at=yesterday", 400, "sql"),
        ("after=x", 400, "request"),
        ("cursor=x", 400, "request"),
        ("cursor=x.1", 410, "version.gone"),
        ("format=xml", 406, "request.format"),
        ("order_id__in=" + ",".join(["1"] * 2_000), 400, "request"),
        ("&".join(["order_id=1"] * 100), 400, "request"),
    ],
)
def test_questions_that_make_no_sense(stocked: Shop, query: str, status: int, code: str) -> None:
    assert stocked.get(f"/v1/views/all_orders?{query}", status)["error"]["code"] == code


def test_a_view_that_names_an_order_is_listed_in_it(stocked: Shop) -> None:
    assert [row["category"] for row in stocked.get("/v1/views/ranking")["rows"]] == [
        "salt",
        "jam",
        "tea",
        None,
    ]
    assert stocked.get("/v1/views/ranking?order=category&limit=1")["rows"][0]["category"] == "jam"


def test_columns_can_be_chosen(stocked: Shop) -> None:
    answer = stocked.get("/v1/views/all_orders?columns=amount,Order_Id&order_id=3")
    assert answer["rows"] == [{"amount": "3.25", "order_id": 3}]


def test_numbers_beyond_json_are_text(stocked: Shop) -> None:
    assert stocked.get("/v1/views/customers")["rows"] == [{"id": str(2**60 + 1), "name": "Ä 'x' \"y\" ☃"}]
    assert len(stocked.get(f"/v1/views/customers?id={2**60 + 1}")["rows"]) == 1


def test_pages_are_of_one_version_while_the_view_moves(moving: Shop) -> None:
    page = moving.get("/v1/views/all_orders?limit=7&order=-order_id&order_id__lt=1000")
    seen, version, pages = ids(page), page["version"], 1
    while page["next"]:
        moving.post("/v1/streams/orders", [order(1_000 + pages)])
        moving.run.advance()
        page = moving.get(f"/v1/views/all_orders?limit=7&order=-order_id&cursor={page['next']}")
        assert page["version"] == version
        seen += ids(page)
        pages += 1
    assert seen == [99, *range(29, -1, -1)]
    assert page["row_count"] == 31


def test_large_views_are_not_sorted_unless_asked_and_their_pages_are_whole(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.serve.views.SORTED_ROWS_MAX", 5)
    page = stocked.get("/v1/views/all_orders?limit=4&order_id__lt=1000")
    seen = ids(page)
    assert page["row_count"] == 31
    while page["next"]:
        page = stocked.get(f"/v1/views/all_orders?limit=4&order_id__lt=1000&cursor={page['next']}")
        seen += ids(page)
    assert sorted(seen) == [*range(30), 99]
    assert ids(stocked.get("/v1/views/all_orders?limit=2&order=-order_id")) == [99, 29]


def test_the_next_page_stands_in_the_headers_too(stocked: Shop) -> None:
    answer = stocked.http.get("/v1/views/all_orders?limit=1&order_id__lt=5&format=ndjson")
    assert answer.headers["Headrace-Next"]
    link = answer.headers["Link"]
    assert link.endswith('; rel="next"')
    following = stocked.http.get(link[1 : link.index(">")])
    assert (
        following.text
        == '{"order_id":1,"category":"jam","amount":"1.25","placed_at":"2026-01-01T12:00:00Z"}\n'
    )


def test_a_cursor_of_another_view_is_no_use(stocked: Shop) -> None:
    page = stocked.get("/v1/views/all_orders?limit=1")
    stocked.get(f"/v1/views/orders?cursor={page['next']}", 410)


def test_arrow_and_csv(stocked: Shop) -> None:
    answer = stocked.http.get(
        "/v1/views/all_orders?order_id=3", headers={"Accept": "application/vnd.apache.arrow.stream"}
    )
    table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    assert table.column("amount").type == pa.decimal128(18, 2)
    assert table.schema.field("amount").metadata == {b"sql_type": b"DECIMAL(18,2)"}
    text = stocked.http.get("/v1/views/all_orders?order_id__in=3,99", headers={"Accept": "text/csv"}).text
    assert text.splitlines()[0] == '"order_id","category","amount","placed_at"'
    assert text.splitlines()[2] == '"99",,,"2026-01-01T12:00:00Z"'


def test_streams_and_side_tables_can_be_read(moving: Shop) -> None:
    moving.post("/v1/streams/orders", [{"order_id": "bad"}, order(5_000, placed_at="1999-01-01")])
    moving.run.advance()
    assert moving.get("/v1/views/orders__rejected")["rows"][0]["field"] == "order_id"
    assert ids(moving.get("/v1/views/orders__late")) == [5_000]
    assert ids(moving.get("/v1/views/orders?order_id=3")) == [3]


def test_reading_after_a_commit(moving: Shop) -> None:
    commit = moving.post("/v1/streams/orders", [order(6_000)])["commit"]
    assert ids(moving.get(f"/v1/views/all_orders?order_id=6000&after={commit}")) == [6_000]
    late = moving.http.get(f"/v1/views/gmv?after={commit + 1_000}&after_s=0.05")
    assert late.status_code == 429
    assert late.headers["Retry-After"]


def test_a_reader_waits_until_its_commit_is_there() -> None:
    with serving() as shop:
        found: list[Any] = []
        reader = threading.Thread(target=lambda: found.append(shop.get("/v1/views/gmv?after=1")["rows"]))
        reader.start()
        shop.post("/v1/streams/orders", [order(1)])
        reader.join()
        assert found == [[{"gmv": "1.50", "orders": 1}]]


def test_the_catalogue(stocked: Shop) -> None:
    every = stocked.get("/v1/views")
    RelationsAnswer.model_validate(every)
    assert {"orders", "orders__late", "customers", "gmv"} <= {one["name"] for one in every["views"]}
    only = stocked.get("/v1/views?kind=view")["views"]
    assert {one["kind"] for one in only} == {"view"}
    one = stocked.get("/v1/views/GMV/schema")
    RelationAnswer.model_validate(one)
    assert one["name"] == "gmv"
    plan = stocked.get("/v1/views/gmv/explain")
    ExplainAnswer.model_validate(plan)
    assert plan["text"]


def test_watermarks_follow_the_lineage(stocked: Shop) -> None:
    assert stocked.get("/v1/views/gmv")["watermark"] == "2026-01-01T11:00:00Z"
    assert stocked.get("/v1/views/customers")["watermark"] is None


# --- parts ----------------------------------------------------------------------------------------

SCHEMA = Schema(
    (
        Column("limit", "BIGINT", pa.int64()),
        Column('we"ird', "VARCHAR", pa.string()),
        Column("a__b", "DECIMAL(9,2)", pa.decimal128(9, 2)),
    )
)


def test_columns_named_like_words_of_the_grammar_take_an_operator() -> None:
    found = listed(
        "v",
        SCHEMA,
        [("limit__eq", "5"), ("limit", "7"), ('we"ird', "x"), ("a__b", "1"), ("a__b__gt", "2")],
        None,
        100,
    )
    assert found.limit == 7
    assert found.params == ["5", "x", "1", "2"]
    assert '"limit" = CAST(? AS BIGINT)' in found.sql
    assert '"we""ird" = CAST(? AS VARCHAR)' in found.sql
    assert '"a__b" > CAST(? AS DECIMAL(9,2))' in found.sql


def test_the_order_is_always_total() -> None:
    rest = '"limit" ASC NULLS LAST, "we""ird" ASC NULLS LAST, "a__b" ASC NULLS LAST'
    assert order_by(SCHEMA, None) == rest
    assert order_by(SCHEMA, "-a__b") == f'"a__b" DESC NULLS LAST, {rest}'
    assert order_by(SCHEMA, None, '"a__b" DESC NULLS LAST') == f'"a__b" DESC NULLS LAST, {rest}'
    assert order_by(SCHEMA, None, None, is_small=False) == ""
    assert order_by(SCHEMA, "-a__b", None, is_small=False) == f'"a__b" DESC NULLS LAST, {rest}'
    with pytest.raises(UnknownName):
        order_by(SCHEMA, "nope")


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html, application/xhtml+xml, */*;q=0.1", "application/json"),
        ("text/csv;q=0.5, application/json;q=0.9", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("APPLICATION/JSON", "application/json"),
        ("application/vnd.apache.arrow.stream, */*;q=0.1", "application/vnd.apache.arrow.stream"),
    ],
)
def test_the_accept_header(accept: str, kind: str) -> None:
    assert wanted_format(accept) == kind


@pytest.mark.parametrize("accept", ["image/png", "application/json;q=0", "x", "application/json;q=abc"])
def test_accept_headers_that_cannot_be_served(accept: str) -> None:
    with pytest.raises(BadRequest):
        wanted_format(accept)


def listing(rows: int = 10) -> Listing:
    table = pa.table({"a": list(range(rows))})
    return Listing("v", table, Schema(()), "SELECT 1", (), rows, Stamp(Version(1), Freshness(0.0, 0)))


def test_listings_are_kept_for_a_while_and_within_bounds() -> None:
    cursors = Cursors(seconds=100, bytes_max=250)
    first, second = cursors.keep(listing()), cursors.keep(listing())
    assert first != second
    assert cursors.find(first, "V").table.num_rows == 10
    third, fourth = cursors.keep(listing()), cursors.keep(listing())
    with pytest.raises(VersionGone):
        cursors.find(second, "v")
    assert cursors.find(fourth, "v")
    cursors.drop(fourth)
    with pytest.raises(VersionGone):
        cursors.find(fourth, "v")
    assert cursors.find(third, "v")
    with pytest.raises(VersionGone):
        cursors.find("nothing", "v")


def test_a_listing_larger_than_the_bound_is_kept_alone() -> None:
    cursors = Cursors(seconds=100, bytes_max=10)
    first = cursors.keep(listing(1_000))
    assert cursors.find(first, "v")
    second = cursors.keep(listing(1_000))
    with pytest.raises(VersionGone):
        cursors.find(first, "v")
    assert cursors.find(second, "v")


def test_old_listings_go() -> None:
    cursors = Cursors(seconds=0, bytes_max=1_000_000)
    name = cursors.keep(listing())
    with pytest.raises(VersionGone):
        cursors.find(name, "v")


def test_moments_are_told_in_utc() -> None:
    assert iso(None) is None
    assert iso(datetime(2026, 1, 1, 12, tzinfo=UTC)) == "2026-01-01T12:00:00Z"
    assert iso(datetime(2026, 1, 1, 12)) == "2026-01-01T12:00:00Z"  # noqa: DTZ001 - naive on purpose
