"""The document is complete and true: every route is in it, every path is served, its models are kept."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.routing import Route
from tests.serve.conftest import Shop

from headrace.serve import models
from headrace.serve.operations import OPERATIONS


@pytest.fixture(scope="module")
def document(shop: Shop) -> dict[str, Any]:
    found: dict[str, Any] = shop.get("/openapi.json")
    return found


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*(references(child) for child in part.values()))
    return set().union(*(references(child) for child in part)) if isinstance(part, list) else set()


def test_every_route_is_described(shop: Shop, document: dict[str, Any]) -> None:
    app: Any = shop.server.config.app
    routes = {
        (method, route.path)
        for route in app.router.routes
        if isinstance(route, Route) and route.path != "/openapi.json"
        for method in route.methods or ()
        if method != "HEAD"
    }
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert routes <= told
    assert {(op.method, op.path) for op in OPERATIONS} == routes


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    defined = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) - defined == set()


def test_operation_ids_are_unique(document: dict[str, Any]) -> None:
    found = [facts["operationId"] for methods in document["paths"].values() for facts in methods.values()]
    assert len(set(found)) == len(found)


def test_the_apps_own_names_are_there_with_their_columns(document: dict[str, Any]) -> None:
    assert {"/v1/streams/orders", "/v1/tables/customers/upsert", "/v1/views/gmv"} <= document["paths"].keys()
    row = document["components"]["schemas"]["row.orders"]
    assert row["properties"]["amount"]["x-sql-type"] == "DECIMAL(18,2)"


def test_every_path_without_a_name_is_served(shop: Shop, document: dict[str, Any]) -> None:
    for path, methods in document["paths"].items():
        if "get" in methods and "{" not in path:
            assert shop.http.get(path).status_code in (200, 409), path


def test_every_operation_says_its_errors_with_one_model(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for facts in methods.values():
            for status, answer in facts["responses"].items():
                if status != "200":
                    content = answer["content"]["application/json"]["schema"]
                    assert content == {"$ref": "#/components/schemas/ErrorAnswer"}


def test_every_model_is_in_the_document(document: dict[str, Any]) -> None:
    assert {model.__name__ for model in models.MODELS} <= document["components"]["schemas"].keys()


def settle(shop: Shop) -> None:
    """Leave no change on its way: another case may have begun one."""
    change = shop.run.change
    if change is not None and change.wait().state == "ready":
        shop.http.post("/v1/definitions/cancel")
        change.wait(settled=True)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda op: f"{op.method} {op.path}")
def test_answers_keep_their_models(shop: Shop, operation: Any) -> None:
    if operation.answer is None:
        return
    names = {"streams": "clicks", "queries": "names", "sources": "letters"}
    name = names.get(operation.path.removeprefix("/v1/").partition("/")[0], "customers")
    bodies: dict[str, Any] = {
        "/v1/streams/{name}": [{"url": "1"}, {"nope": 1}],
        "/v1/tables/{name}/upsert": [{"id": 1, "name": "Ada"}],
        "/v1/tables/{name}/delete": [{"id": 1}],
        "/v1/transactions": {"changes": [{"append": "clicks", "rows": [{"url": "1"}]}]},
        "/v1/sql": {"sql": "SELECT 1 AS x"},
        "/v1/difference": {"view": "customers", "since": 0},
        "/v1/definitions/apply": {"preview": True},
        "/v1/definitions/views": {"action": "create", "name": "few", "sql": "SELECT 1 AS one"},
    }
    if operation.path.endswith("explain"):
        name = "gmv"
    if operation.path.startswith("/v1/definitions"):
        settle(shop)
    if operation.path in ("/v1/definitions/cancel", "/v1/definitions/rollback"):
        preview = operation.path.endswith("cancel")
        shop.http.post("/v1/definitions/apply", json={"preview": preview})
        change = shop.run.change
        assert change is not None
        change.wait(settled=not preview)
    path = operation.path.replace("{name}", name)
    answer = shop.http.request(operation.method, path, json=bodies.get(operation.path))
    assert answer.status_code == 200, answer.text
    operation.answer.model_validate(answer.json())
