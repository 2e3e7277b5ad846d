"""Numbers that an app adds to `/metrics`."""

from __future__ import annotations

import pytest
from tests.serve.conftest import start

import headrace as hr
from headrace.errors import DeclarationError


def test_each_row_is_a_sample_and_a_failure_stays_alone() -> None:
    app = hr.App("shop")
    app.table("waiting", "shop TEXT, orders BIGINT, code TEXT", key="shop")
    app.metric("waiting", "-- Orders that wait.\nSELECT shop, orders AS value FROM waiting ORDER BY shop")
    app.metric("broken", "SELECT CAST(code AS INTEGER) AS value FROM waiting")
    served = start(app)
    try:
        rows = [{"shop": 'a"b', "orders": 3, "code": "x"}, {"shop": "c", "orders": None, "code": "x"}]
        served.run.upsert("waiting", rows)
        served.run.advance()
        text = served.http.get("/metrics").text
    finally:
        served.stop()
    assert "# HELP headrace_app_waiting Orders that wait." in text
    assert r'headrace_app_waiting{shop="a\"b"} 3' in text
    assert 'headrace_app_waiting{shop="c"}' not in text
    assert 'headrace_app_metric_failed{metric="broken"} 1' in text
    assert 'headrace_app_metric_failed{metric="waiting"} 0' in text
    assert "headrace_version" in text


def test_nobody_gives_a_metrics_parameters() -> None:
    with pytest.raises(DeclarationError, match="nobody gives"):
        hr.App("x").metric("m", "-- $a TEXT\nSELECT $a AS value")
