"""What answers say of time: views that refresh apart, late rows behind views, what an explanation tells."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.serve.conftest import serving

import headrace as hr
from headrace.serve.models import ExplainAnswer, RowsAnswer


def clock_app() -> hr.App:
    app = hr.App("stamped")
    app.stream("e", "id BIGINT, t TIMESTAMP", event_time="t", lateness="1s")
    app.view("plain", "SELECT count(*) AS n FROM e")
    app.view("apart", "SELECT n FROM plain", refresh="1h")
    app.view("reader", "SELECT n + 1 AS m FROM apart")
    return app


def test_answers_name_the_version_of_views_that_refresh_apart() -> None:
    with serving(clock_app()) as shop:
        now = datetime.now(UTC)
        shop.post("/v1/streams/e", [{"id": 1, "t": now.isoformat()}])
        shop.run.advance()
        answer = shop.get("/v1/views/reader")
        RowsAnswer.model_validate(answer)
        assert answer["refreshed"] == {"apart": 0}
        assert answer["rows"] == [{"m": 1}]
        assert shop.post("/v1/sql", {"sql": "SELECT * FROM apart, plain"})["refreshed"] == {"apart": 0}
        assert "refreshed" not in shop.get("/v1/views/plain")
        assert "refreshed" not in shop.post("/v1/sql", {"sql": "FROM plain"})


def test_late_rows_are_told_by_metrics_and_explanations() -> None:
    with serving(clock_app()) as shop:
        now = datetime.now(UTC)
        for back_s in (0, 5):
            row = {"id": back_s, "t": (now - timedelta(seconds=back_s)).isoformat()}
            shop.post("/v1/streams/e", [row])
        shop.run.advance()
        lines = shop.http.get("/metrics").text.splitlines()
        assert 'headrace_view_late_rows{view="plain",stream="e"} 1' in lines
        assert 'headrace_view_late_rows{view="reader",stream="e"} 1' in lines
        told = shop.get("/v1/views/plain/explain")
        ExplainAnswer.model_validate(told)
        assert told["plan"]["can_free"] == "keeps all: no key follows event time"
        assert told["plan"]["inputs"][0]["late_rows"] == 1
        assert told["text"].splitlines()[0].startswith("aggregate · accumulators")
