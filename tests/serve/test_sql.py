"""The SQL door over HTTP: four formats, limits, and the attacks once more through the whole server."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pytest
from tests.query.test_guard import HOSTILE
from tests.serve.conftest import Shop, order, serving

from headrace.serve.models import ErrorAnswer, SqlAnswer


@pytest.fixture(scope="module")
def door() -> Iterator[Shop]:
    with serving(sql_rows_max=100) as shop:
        shop.post("/v1/streams/orders", [order(n, "tea" if n % 2 else "jam") for n in range(10)])
        shop.run.advance()
        yield shop


def ask(shop: Shop, sql: str, params: Any = None, status: int = 200, **kwargs: Any) -> Any:
    body = {"sql": sql} | ({"params": params} if params is not None else {})
    return shop.post("/v1/sql", body, status, **kwargs)


def test_an_answer(door: Shop) -> None:
    answer = ask(door, "SELECT category, n FROM by_category WHERE n > ? ORDER BY category", [1])
    SqlAnswer.model_validate(answer)
    assert answer["rows"] == [{"category": "jam", "n": 5}, {"category": "tea", "n": 5}]
    assert answer["columns"] == [{"name": "category", "type": "VARCHAR"}, {"name": "n", "type": "BIGINT"}]


def test_named_parameters_and_plain_sql(door: Shop) -> None:
    assert ask(door, "SELECT $a + 1 AS x", {"a": 1})["rows"] == [{"x": 2}]
    answer = door.http.post("/v1/sql", content="FROM gmv", headers={"Content-Type": "application/sql"})
    assert answer.json()["rows"] == [{"gmv": "15.00", "orders": 10}]


def test_what_there_is_can_be_asked_in_sql(door: Shop) -> None:
    assert {"name": "gmv"} in ask(door, "SHOW TABLES")["rows"]
    assert ask(door, "DESCRIBE gmv")["rows"][0]["column_type"] == "DECIMAL(38,2)"
    assert ask(door, "SELECT column_name FROM (SUMMARIZE gmv)")["row_count"] == 2


def test_values_that_json_cannot_hold_exactly_are_text(door: Shop) -> None:
    answer = ask(
        door, "SELECT 9007199254740993 AS i, 1.10::DECIMAL(9,2) AS d, 'NaN'::DOUBLE AS f, NULL AS n, 1 AS one"
    )
    assert answer["rows"] == [{"i": "9007199254740993", "d": "1.10", "f": "NaN", "n": None, "one": 1}]


def test_arrow_and_csv_and_ndjson(door: Shop) -> None:
    answer = door.http.post("/v1/sql?format=arrow", json={"sql": "SELECT 1::HUGEINT AS h, 'a' AS t"})
    table = pa.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    assert [field.metadata[b"sql_type"] for field in table.schema] == [b"HUGEINT", b"VARCHAR"]
    assert answer.headers["Headrace-Version"]
    lines = door.http.post(
        "/v1/sql", json={"sql": "FROM range(2)"}, headers={"Accept": "application/x-ndjson"}
    )
    assert lines.text == '{"range":0}\n{"range":1}\n'
    plain = door.http.post(
        "/v1/sql", json={"sql": "SELECT 'a,\"b' AS x, [1] AS l, NULL AS n"}, headers={"Accept": "text/csv"}
    )
    assert plain.text == '"x","l","n"\n"a,""b","[1]",\n'


FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1",
    "\uff201",
)
HARMLESS = ("Müller", "1=1", " =1", "'=1", "")


def test_a_spreadsheet_shows_names_as_they_are_and_computes_none(door: Shop) -> None:
    names = [*FORMULAS, *HARMLESS]
    asked = {"sql": 'SELECT unnest($names) AS "=name"', "params": {"names": names}}
    opened = door.http.post("/v1/sql?format=spreadsheet", json=asked)
    assert opened.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert opened.content.startswith(b"\xef\xbb\xbf")
    found = [row[0] for row in csv.reader(io.StringIO(opened.content.decode("utf-8-sig"), newline=""))]
    assert found == ["'=name", *(f"'{name}" for name in FORMULAS), *HARMLESS]
    exact = door.http.post("/v1/sql?format=csv", json=asked)
    assert [row[0] for row in csv.reader(io.StringIO(exact.text, newline=""))] == ["=name", *names]


def test_a_spreadsheet_has_numbers_and_times_unchanged(door: Shop) -> None:
    asked = {
        "sql": "SELECT -1 AS i, -1::HUGEINT AS h, -1.5::DECIMAL(9, 2) AS d, -0.5::DOUBLE AS f, TRUE AS b, "
        "DATE '-0044-03-15' AS day, NULL AS n"
    }
    opened = door.http.post("/v1/sql?format=spreadsheet", json=asked).content.decode("utf-8-sig")
    assert opened.splitlines()[1] == '"-1","-1","-1.50","-0.5","true","-0044-03-15",'
    assert opened == door.http.post("/v1/sql?format=csv", json=asked).text


@pytest.mark.parametrize("sql", HOSTILE)
def test_the_door_holds(door: Shop, sql: str) -> None:
    answer = door.http.post("/v1/sql", json={"sql": sql})
    assert answer.status_code in (400, 404), answer.text
    ErrorAnswer.model_validate(answer.json())


@pytest.fixture(scope="module")
def hurried() -> Iterator[Shop]:
    """A server of its own: what is to end on a slow machine too must not be asked where so little time is."""
    with serving(sql_timeout_s=0.3) as shop:
        yield shop


@pytest.mark.parametrize(
    "sql",
    [
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "SELECT count(*) FROM range(100000000) a, range(1000000) b WHERE a.range = b.range + 1",
    ],
)
def test_what_takes_too_long_is_stopped(hurried: Shop, sql: str) -> None:
    answer = hurried.http.post("/v1/sql", json={"sql": sql})
    body = answer.json()
    ErrorAnswer.model_validate(body)
    assert body["error"]["code"] == "query.stopped"
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("SELECT * FROM range(101)", "query.stopped"),
        ("SELECT * FROM range(1000000000000)", "query.stopped"),
        ("SELECT repeat('x', 1000000000)", "sql"),
        ("SELEC 1", "sql"),
        ("SELECT 'x'::INT", "sql"),
        ("FROM nothing", "unknown"),
        ("FROM gmv AT (VERSION => 1000000)", "version.ahead"),
        ("FROM gmv AT (VERSION => -1)", "version.gone"),
        ("FROM gmv AT (TIMESTAMP => 'x')", "request"),
        ("SELECT " + "(" * 1_000 + "1" + ")" * 1_000, "sql"),
    ],
)
def test_limits_and_mistakes(door: Shop, sql: str, code: str) -> None:
    answer = door.http.post("/v1/sql", json={"sql": sql})
    body = answer.json()
    ErrorAnswer.model_validate(body)
    assert body["error"]["code"] == code
    assert 400 <= answer.status_code < 500


@pytest.mark.parametrize(
    "body",
    [[], 5, {}, {"sql": 5}, {"sql": ""}, {"sql": "SELECT 1", "params": 5}, {"sql": "SELECT 1", "x": 1}],
)
def test_bodies_that_ask_nothing(door: Shop, body: Any) -> None:
    assert door.post("/v1/sql", body, status=400)["error"]["code"] == "request"


def test_formats_that_do_not_exist(door: Shop) -> None:
    assert (
        ask(door, "SELECT 1", status=406, headers={"Accept": "image/png"})["error"]["code"]
        == "request.format"
    )


def test_the_server_lives_on(door: Shop) -> None:
    assert ask(door, "SELECT count(*) AS n FROM orders")["rows"] == [{"n": 10}]
    assert door.get("/readyz") == {"status": "ready"}
