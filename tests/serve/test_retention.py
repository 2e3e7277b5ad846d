"""Over HTTP: an answer says from when on it is whole, and an append what the stream promises."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.intake.samples import Clock
from tests.serve.conftest import serving

import headrace as hr
from headrace.log.log import Log
from headrace.retention import compact
from headrace.runtime import Run
from headrace.serve.models import CommitAnswer, RowsAnswer

BEGAN = datetime.now(UTC) - timedelta(days=9)


def app() -> hr.App:
    shop = hr.App("shop")
    shop.stream("visits", "customer BIGINT", retention="2d", delivery="at_most_once")
    shop.table("customers", "id BIGINT, name VARCHAR", key="id")
    shop.view("visitors", "SELECT count(*) AS n FROM visits", history_from="kept")
    shop.view("beside", "SELECT n + 1 AS m FROM visitors")
    shop.view("names", "SELECT count(*) AS n FROM customers")
    return shop


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    clock = Clock(BEGAN)
    with Run(app(), tmp_path, clock=clock) as run:
        for _ in range(9):
            clock.forward(86_400)
            run.append("visits", [{"customer": 1}])
            run._log.flush()
            run.advance()
            run._log.seal()
    with Log.open(tmp_path) as log:
        assert compact(log, None, clock.now).relations
    return tmp_path


def test_answers_say_from_when_on_they_are_whole(folder: Path) -> None:
    with serving(run=app().open(folder, auto=True)) as shop:
        begun = shop.run.history_from("beside")
        assert begun is not None
        text = begun.isoformat().replace("+00:00", "Z")
        for name in ("visitors", "beside"):
            answer = shop.get(f"/v1/views/{name}")
            RowsAnswer.model_validate(answer)
            assert answer["history_from"] == text
            assert shop.post("/v1/sql", {"sql": f"FROM {name}"})["history_from"] == text
        plain = shop.http.get("/v1/views/visitors", params={"format": "csv"})
        assert plain.headers["Headrace-History-From"] == text
        assert "history_from" not in shop.get("/v1/views/names")
        with hr.connect(shop.url) as remote:
            assert remote.answer("FROM visitors").history_from == begun
            assert remote.read("visitors").history_from == begun
            assert remote.read("names").history_from is None


def test_an_append_says_what_the_stream_promises() -> None:
    with serving(app()) as shop:
        answer = shop.post("/v1/streams/visits", [{"customer": 1}])
        CommitAnswer.model_validate(answer)
        assert answer["delivery"] == "at_most_once"
        assert shop.post("/v1/tables/customers/upsert", [{"id": 1}])["delivery"] == "exactly_once"
        with hr.connect(shop.url) as remote:
            assert remote.append("visits", [{"customer": 2}]).delivery == "at_most_once"
        assert shop.rows("visitors") == [{"n": 2}]
