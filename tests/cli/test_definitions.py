"""`plan`, `apply` and `rollback`: on a folder that nobody holds, and on a running server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Invoke
from tests.cli.test_run import rows, running, until

from headrace.cli.project import load_project
from headrace.definitions.intent import Intent, IntentFile

NET = "SELECT sum(amount) AS gmv, count(*) AS orders FROM orders WHERE product <> 'tea'\n"


@pytest.fixture
def loaded(project: Path, invoke: Invoke) -> Path:
    """A project whose data folder holds two orders."""
    assert invoke("replay", "orders.csv", "--stream", "orders").code == 0
    return project


def change(project: Path) -> None:
    (project / "views" / "gmv.sql").write_text(NET)


def test_a_plan_of_nothing(loaded: Path, invoke: Invoke) -> None:
    assert "nothing to change" in invoke("plan").out


def test_a_plan_names_the_view_and_its_rows(loaded: Path, invoke: Invoke) -> None:
    change(loaded)
    assert "~ view gmv: changed, reads 2 rows" in invoke("plan").out
    found = json.loads(invoke("plan", "--json").out)
    assert [item["name"] for item in found["items"]] == ["gmv"]
    assert found["breaking"] is False


def test_a_folder_under_other_definitions_is_refused_until_they_are_applied(
    loaded: Path, invoke: Invoke
) -> None:
    change(loaded)
    refused = invoke("query", "FROM gmv")
    assert refused.code == 4
    assert "headrace apply" in refused.err
    applied = invoke("apply")
    assert applied.code == 0
    assert "sum of orders: 2 becomes 1" in applied.out
    assert json.loads(invoke("query", "FROM gmv", "--json").out) == [{"gmv": "12.00", "orders": 1}]


def test_a_preview_without_a_server_is_a_difference_and_no_more(loaded: Path, invoke: Invoke) -> None:
    change(loaded)
    found = invoke("apply", "--preview", "--json")
    assert found.code == 0, found.err
    assert json.loads(found.out)["state"] == "compared"
    assert "nothing is kept of it" in found.err
    assert "sum of orders: 2 becomes 1" in invoke("apply", "--preview").out
    assert not list(loaded.rglob("change.json"))
    assert invoke("query", "FROM gmv").code == 4


def test_a_wrong_file_changes_nothing(loaded: Path, invoke: Invoke) -> None:
    (loaded / "views" / "gmv.sql").write_text("SELECT nope FROM orders\n")
    assert invoke("apply").code == 1
    assert "nope" in invoke("plan").err


def test_a_running_server_changes_and_goes_back(loaded: Path, invoke: Invoke) -> None:
    def gmv(url: str) -> Any:
        return (rows(url, "gmv") or [{}])[0].get("orders")

    with running(loaded) as (_, url):
        assert until(lambda: gmv(url)) == 2
        change(loaded)
        assert "~ view gmv: changed" in invoke("plan").out
        previewed = invoke("apply", "--preview")
        assert previewed.code == 0, previewed.err
        assert gmv(url) == 2
        assert rows(url, "gmv__new") == [{"gmv": "12.00", "orders": 1}]
        assert invoke("apply").code == 0
        assert until(lambda: gmv(url) == 1)
        assert invoke("rollback").code == 0
        assert until(lambda: gmv(url) == 2)
        assert invoke("rollback").code == 1


def test_a_folder_goes_back_without_a_server(loaded: Path, invoke: Invoke) -> None:
    before = (loaded / "views" / "gmv.sql").read_text()
    change(loaded)
    assert invoke("apply").code == 0
    assert invoke("rollback").code == 0
    (loaded / "views" / "gmv.sql").write_text(before)
    assert "nothing to change" in invoke("plan").out
    assert invoke("rollback").code != 0


def test_a_plan_says_that_a_change_was_interrupted(loaded: Path, invoke: Invoke) -> None:
    facts = load_project(loaded).app.fingerprint()
    IntentFile(loaded / "data").write(
        Intent({**facts, "views": {}, "created": {}}, "2026-01-01T00:00:00+00:00")
    )
    found = invoke("plan")
    assert "interrupted, and is undone" in found.err
    assert "nothing to change" in found.out
