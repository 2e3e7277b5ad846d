"""The past over HTTP, through the client, compared with the run itself; moments that make no sense."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.serve.conftest import Shop, order, serving

import headrace as hr
from headrace.client import RemoteRun


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    with serving() as served:
        for number in range(1, 4):
            with served.run.transaction() as together:
                together.append("orders", [order(number, "tea", f"{number}.00")])
                together.upsert("customers", [{"id": 1, "name": f"Ada {number}"}])
            served.run.advance()
        yield served


@pytest.fixture(scope="module")
def remote(shop: Shop) -> Iterator[RemoteRun]:
    with hr.connect(shop.url) as client:
        yield client


def first(shop: Shop) -> int:
    """The version that has one order."""
    for version in range(shop.run.version.number + 1):
        if shop.run.query("SELECT orders FROM gmv", as_of=version).to_pylist()[0]["orders"] == 1:
            return version
    raise AssertionError("no version has one order")


def test_sql_as_of_a_version_or_a_time(shop: Shop) -> None:
    then = first(shop)
    clock = shop.run.answer("FROM gmv", as_of=then).version.clock
    assert clock is not None
    for as_of in (then, str(then), clock.isoformat()):
        body = shop.http.post("/v1/sql", json={"sql": "SELECT orders FROM gmv", "as_of": as_of}).json()
        assert body["rows"] == [{"orders": 1}]
        assert body["version"] == then
        assert body["freshness_ms"] > 0
    body = shop.http.post("/v1/sql", json={"sql": f"SELECT orders FROM gmv AT (VERSION => {then})"}).json()
    assert body["rows"] == [{"orders": 1}]
    assert body["version"] == shop.run.version.number


def test_a_view_as_of_a_version_in_pages(shop: Shop) -> None:
    then = first(shop)
    body = shop.http.get(f"/v1/views/gmv?as_of={then}").json()
    assert (body["rows"][0]["orders"], body["version"]) == (1, then)
    name = shop.http.get(f"/v1/views/customers?as_of={then}").json()["rows"][0]["name"]
    assert name == "Ada 1"
    later = then + 1
    page = shop.http.get(f"/v1/views/all_orders?as_of={later}&limit=1").json()
    assert page["row_count"] == len(shop.run.query("FROM all_orders", as_of=later))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"sql": "FROM gmv", "as_of": 10**9}, "version.ahead"),
        ({"sql": "FROM gmv", "as_of": -1}, "version.gone"),
        ({"sql": "FROM gmv", "as_of": "yesterday"}, "request"),
        ({"sql": "FROM gmv", "as_of": "2999-01-01"}, "version.ahead"),
        ({"sql": "FROM gmv", "as_of": True}, "request"),
        ({"sql": "FROM gmv", "as_of": [1]}, "request"),
        ({"sql": "FROM gmv", "as_of": "x" * 1000}, "request"),
    ],
)
def test_moments_that_make_no_sense(shop: Shop, body: dict[str, Any], code: str) -> None:
    answer = shop.http.post("/v1/sql", json=body)
    assert answer.json()["error"]["code"] == code
    assert 400 <= answer.status_code < 500


def test_the_client_reads_the_past_as_the_run_does(shop: Shop, remote: RemoteRun) -> None:
    then = first(shop)
    clock = shop.run.answer("FROM gmv", as_of=then).version.clock
    assert clock is not None
    for as_of in (then, hr.Version(then), clock, clock.isoformat()):
        assert remote.query("FROM gmv", as_of=as_of).equals(shop.run.query("FROM gmv", as_of=as_of))
    assert remote.read("customers", as_of=then).table.equals(shop.run.read("customers", as_of=then).table)
    version, rows = remote.snapshot("gmv", as_of=then)
    assert (version.number, rows.num_rows) == (then, 1)


def test_a_difference_comes_whole(shop: Shop, remote: RemoteRun) -> None:
    then = first(shop)
    mine = shop.run.difference("gmv", then, causes={"people": ["customers"]})
    theirs = remote.difference("gmv", then, causes={"people": "customers"})
    assert theirs.table.equals(mine.table)
    assert theirs.totals == mine.totals
    assert theirs.whole == mine.whole
    assert theirs.schema == mine.schema
    assert theirs.text() == mine.text()
    people = shop.run.difference("customers", then)
    assert remote.difference("customers", then).inputs == people.inputs
    assert people.inputs["customers"].num_rows > 0
    body = shop.http.post("/v1/difference", json={"view": "gmv", "since": then}).json()
    assert body["whole"]["sums"]["orders"] == str(mine.whole.sums["orders"])
    assert body["text"] == shop.run.difference("gmv", then).text()


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"view": 5, "since": 1}, {"view": "gmv"}, {"view": "gmv", "since": 1, "x": 1},
        {"view": "gmv", "since": [1]}, {"view": "gmv", "since": 1, "causes": ["orders"]},
        {"view": "gmv", "since": 1, "causes": {"x": "orders"}}, {"view": "gmv", "since": 10**9},
        {"view": "nothing", "since": 1}, {"view": "gmv", "since": 1, "causes": {"x": ["nothing"]}},
    ],
)  # fmt: skip
def test_questions_that_make_no_sense(shop: Shop, body: Any) -> None:
    answer = shop.http.post("/v1/difference", json=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["problem"]
