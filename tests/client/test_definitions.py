"""Views created, replaced and dropped over HTTP: the same as inside, and errors are the same errors."""

from __future__ import annotations

import pytest
from tests.serve.conftest import order, serving

import headrace as hr


def test_views_come_change_and_go_over_http() -> None:
    with serving() as shop, hr.connect(shop.url) as remote:
        shop.run.append("orders", [order(1), order(2, "book")])
        shop.run.advance()
        remote.create_view("few", "SELECT order_id FROM orders WHERE order_id < 2")
        assert remote.query("FROM few").num_rows == 1
        remote.replace_view("few", "SELECT order_id FROM orders")
        assert remote.query("FROM few").num_rows == 2
        assert remote.definitions()["state"] == "switched"
        remote.rollback()
        assert remote.query("FROM few").num_rows == 1
        with pytest.raises(hr.DeclarationError, match="taken"):
            remote.create_view("few", "SELECT 1 AS one")
        with pytest.raises(hr.SqlError):
            remote.create_view("bad", "SELECT nothing FROM orders")
        with pytest.raises(hr.DeclarationError, match="the app declares"):
            remote.drop_view("gmv")
        remote.drop_view("few")
        with pytest.raises(hr.UnknownName):
            remote.query("FROM few")


NO_WISHES: list[dict[str, object]] = [
    {},
    {"action": "make"},
    {"action": "drop", "name": "x", "sql": "y"},
    {"action": "create", "name": 1},
]


def test_a_body_without_meaning_is_refused() -> None:
    with serving() as shop:
        for body in NO_WISHES:
            assert shop.http.post("/v1/definitions/views", json=body).status_code == 400
