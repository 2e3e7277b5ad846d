"""`headrace query`, `replay` and `explain` on a folder that no server holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.cli.conftest import Invoke

from headrace.cli.server_file import ServerAddress, announced


def test_from_a_file_to_an_answer(project: Path, invoke: Invoke) -> None:
    fed = invoke("replay", "orders.csv", "--stream", "orders", "--json")
    assert fed.code == 0, fed.err
    counts = json.loads(fed.out)
    assert {name: counts[name] for name in ("rows", "accepted", "repeated", "rejected")} == {
        "rows": 4,
        "accepted": 2,
        "repeated": 1,
        "rejected": 1,
    }
    assert "orders__rejected" in fed.err

    asked = invoke("query", "-c", "SELECT * FROM gmv", "--json")
    assert json.loads(asked.out) == [{"gmv": "16.90", "orders": 2}]
    assert "1 row · version" in asked.err

    as_csv = invoke("query", "SELECT order_id, amount FROM orders ORDER BY order_id", "--csv")
    assert as_csv.out == "order_id,amount\n1,4.90\n2,12.00\n"

    several = invoke("query", "-", stdin="SELECT 1 AS a; SELECT 2 AS b")
    assert several.out.split() == ["a", "─", "1", "b", "─", "2"]

    explained = invoke("explain", "gmv")
    assert explained.code == 0
    assert "aggregate · accumulators" in explained.out
    tree = json.loads(invoke("explain", "gmv", "--json").out)
    assert tree["inputs"]


def test_answers_that_fail(project: Path, invoke: Invoke) -> None:
    wrong = invoke("query", "-c", "SELECT gmw FROM gmv")
    assert (wrong.code, wrong.out) == (1, "")
    assert "gmw" in wrong.err

    unknown = invoke("query", "-c", "SELECT * FROM gvm")
    assert unknown.code == 3
    assert "gmv" in unknown.err

    nothing = invoke("explain", "gvm")
    assert nothing.code == 3
    assert "did you mean 'gmv'?" in nothing.err

    stops = invoke("query", "-", stdin="SELECT 1 AS a; SELECT nope; SELECT 2 AS b")
    assert stops.code == 1
    assert stops.out.split() == ["a", "─", "1"]


def test_a_wrong_command_line(project: Path, invoke: Invoke) -> None:
    assert invoke("query", "-c", "SELECT 1", "--json", "--csv").code == 2
    assert invoke("replay", "orders.csv").code == 2


def test_what_is_not_there(project: Path, invoke: Invoke, tmp_path: Path) -> None:
    assert invoke("replay", "nothing.csv", "--stream", "orders").code == 3
    assert "that is a folder" in invoke("replay", "views", "--stream", "orders").err
    assert invoke("replay", "orders.csv", "--stream", "ordres").code == 3
    nowhere = invoke("query", "-c", "SELECT 1", "--project", str(tmp_path))
    assert nowhere.code == 3
    assert "--project" in nowhere.err


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "127.0.0.1:1", "http://127.0.0.1:1/?token=secret"])
def test_a_server_that_does_not_answer_is_out_of_reach(
    project: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.delattr("headrace.connect")  # whose patience nobody at a terminal has
    told = invoke("query", "-c", "SELECT 1", "--url", url)
    assert told.code == 4
    assert "http://127.0.0.1:1" in told.err
    assert "secret" not in told.err


def test_a_server_that_is_no_address_is_told(project: Path, invoke: Invoke) -> None:
    told = invoke("query", "-c", "SELECT 1", "--url", "http://127.0.0.1:port")
    assert told.code == 4
    assert "is no address" in told.err


def test_a_server_that_was_killed_does_not_stand_in_the_way(project: Path, invoke: Invoke) -> None:
    (project / "data").mkdir()
    address = ServerAddress("http://127.0.0.1:1", os.getpid())  # alive, but no server
    with announced(project / "data", address):
        told = invoke("query", "-c", "SELECT count(*) AS n FROM orders", "--csv")
    assert told.out == "n\n0\n", told.err


def test_a_view_that_does_not_plan_is_told_with_its_file_or_name(project: Path, invoke: Invoke) -> None:
    (project / "views" / "gmv.sql").write_text("SELECT sum(amuont) AS gmv FROM orders")
    told = invoke("query", "-c", "SELECT 1")
    assert told.code == 1
    assert "gmv" in told.err
    assert "amuont" in told.err
