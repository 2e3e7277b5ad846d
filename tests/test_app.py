"""Declaring an app: what it remembers, what it refuses at once, and that it runs nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BaseModel

import headrace as hr
from headrace.contracts.column_list import parse_columns
from headrace.contracts.models import model_schema


class Order(hr.Event):
    order_id: int
    amount: Annotated[int, hr.pii("money")] | None
    placed_at: Annotated[datetime, hr.event_time(lateness="10s", idle_after="1m")]


class Customer(hr.Table):
    customer_id: int
    name: str | None = None
    valid_at: datetime | None = None
    seq: int | None = None


def make() -> hr.App:
    return hr.App("shop")


def test_a_stream_takes_its_settings_from_the_model() -> None:
    app = make()
    declared = app.stream("orders", Order, event_id="ORDER_ID")
    assert app.streams["orders"] is declared
    assert (declared.event_id, declared.event_time) == ("order_id", "placed_at")
    assert (declared.lateness, declared.idle_after) == (timedelta(seconds=10), timedelta(minutes=1))
    assert declared.max_ahead == timedelta(hours=1)
    assert declared.event_id_window == timedelta(days=30)
    assert declared.model is Order
    assert declared.schema == model_schema(Order)


def test_arguments_override_the_model() -> None:
    declared = make().stream(
        "orders", Order, lateness="1m", max_ahead="0s", event_id="order_id", event_id_window="1d"
    )
    assert (declared.lateness, declared.max_ahead) == (timedelta(minutes=1), timedelta(0))
    assert declared.idle_after == timedelta(minutes=1)
    assert declared.event_id_window == timedelta(days=1)


def test_another_event_time_leaves_the_settings_of_the_annotated_one() -> None:
    class Two(hr.Event):
        a: Annotated[datetime, hr.event_time(lateness="10s")]
        b: datetime

    declared = make().stream("two", Two, event_time="b")
    assert (declared.event_time, declared.lateness) == ("b", None)


def test_event_id_and_event_time_refuse_null() -> None:
    declared = make().stream("clicks", "id UUID, at TIMESTAMPTZ, url TEXT", event_id="id", event_time="at")
    assert [column.nullable for column in declared.schema] == [False, False, True]
    assert declared.model is None


def test_tables_have_keys_or_are_bags() -> None:
    app = make()
    keyed = app.table("customers", Customer, key="customer_id", effective="valid_at", sequence="seq")
    assert (keyed.key, keyed.effective, keyed.sequence) == (("customer_id",), "valid_at", "seq")
    assert [column.nullable for column in keyed.schema] == [False, True, False, False]
    assert app.table("pairs", "a INT, b TEXT", key=["B", "a"]).key == ("b", "a")
    assert app.table("bag", "a INT").key is None
    assert list(app.tables) == ["customers", "pairs", "bag"]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"event_id": "x"}, "event_id='x' is not a column"),
        ({"event_time": "x"}, "event_time='x' is not a column"),
        ({"event_time": "n"}, "event_time='n' is a BIGINT"),
        ({"event_id": "f"}, "event_id='f' is a DOUBLE"),
        ({"lateness": "10s"}, "lateness without event time"),
        ({"idle_after": "10s"}, "idle_after without event time"),
        ({"event_id_window": "1d"}, "event_id_window without event_id"),
        ({"event_time": "at", "lateness": "10"}, "has no unit"),
        ({"event_time": "at", "lateness": -5}, "is not a duration"),
    ],
)
def test_a_stream_that_makes_no_sense_is_refused_at_once(settings: dict[str, Any], problem: str) -> None:
    app = make()
    with pytest.raises(hr.DeclarationError, match=problem) as caught:
        app.stream("s", "n BIGINT, f DOUBLE, at TIMESTAMP", **settings)
    assert (caught.value.where or "").startswith("stream 's'")
    assert app.streams == {}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"key": "x"}, "key='x' is not a column"),
        ({"key": []}, r"key=\[\] is no key"),
        ({"key": ["n", "N"]}, "is no key"),
        ({"key": "f"}, "key='f' is a DOUBLE"),
        ({"effective": "at"}, "effective without key"),
        ({"sequence": "n"}, "sequence without key"),
        ({"key": "n", "effective": "f"}, "effective='f' is a DOUBLE"),
        ({"key": "n", "sequence": "zz"}, "sequence='zz' is not a column"),
    ],
)
def test_a_table_that_makes_no_sense_is_refused_at_once(settings: dict[str, Any], problem: str) -> None:
    with pytest.raises(hr.DeclarationError, match=problem):
        make().table("t", "n BIGINT, f DOUBLE, at TIMESTAMP", **settings)


def test_names_are_unique_over_all_kinds_and_cases() -> None:
    app = make()
    app.stream("orders", Order)
    app.view("gmv", "SELECT 1")
    with pytest.raises(hr.DeclarationError, match="taken by the stream 'orders'"):
        app.table("Orders", "a INT")
    with pytest.raises(hr.DeclarationError, match="taken by the view 'gmv'"):
        app.view("GMV", "SELECT 2")
    assert app.view_decls["gmv"].sql == "SELECT 1"


@pytest.mark.parametrize("columns", [None, 5, dict, ["a INT"], "a NONSENSE", BaseModel])
def test_columns_that_make_no_sense_are_refused(columns: Any) -> None:
    with pytest.raises(hr.DeclarationError):
        make().stream("s", columns)


def test_a_schema_declares_too_but_not_what_cannot_be_stored() -> None:
    schema = parse_columns("a INT")
    assert make().stream("s", schema).schema == schema
    with pytest.raises(hr.DeclarationError, match="reserved"):
        make().stream("s", "_weight INT")


def test_a_view_needs_sql() -> None:
    for sql in ("", " ;\n", None):
        with pytest.raises(hr.DeclarationError, match="no SQL"):
            make().view("v", sql)  # type: ignore[arg-type]


def test_a_folder_holds_one_view_a_file(tmp_path: Path) -> None:
    folder = tmp_path / "views"
    folder.mkdir()
    (folder / "b.sql").write_text("SELECT 2")
    (folder / "a.sql").write_text("\ufeffSELECT 'ü'", encoding="utf-8")
    (folder / "notes.txt").write_text("no view")
    app = hr.App("shop", folder=tmp_path)
    assert [view.name for view in app.views("views")] == ["a", "b"]
    assert app.view_decls["a"].sql == "SELECT 'ü'"
    assert app.view_decls["b"].path == folder / "b.sql"


def test_a_folder_that_is_wrong_says_which_file(tmp_path: Path) -> None:
    app = hr.App("shop", folder=tmp_path)
    with pytest.raises(hr.ProjectError, match="there is no folder nowhere"):
        app.views("nowhere")
    (tmp_path / "bad name.sql").write_text("SELECT 1")
    with pytest.raises(hr.DeclarationError, match="not an identifier") as caught:
        app.views(".")
    assert "bad name.sql" in str(caught.value)
    (tmp_path / "bad name.sql").unlink()
    (tmp_path / "empty.sql").write_text("")
    with pytest.raises(hr.DeclarationError, match=r"empty\.sql: the view has no SQL"):
        app.views(tmp_path)
    (tmp_path / "empty.sql").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(hr.ProjectError, match="cannot be read"):
        app.views(tmp_path)


def test_relative_folders_start_from_the_file_that_makes_the_app(tmp_path: Path) -> None:
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "one.sql").write_text("SELECT 1")
    script = tmp_path / "shop.py"
    script.write_text(
        "import headrace as hr\napp = hr.App('shop')\napp.views('views')\nprint(list(app.view_decls))\n"
    )
    done = subprocess.run([sys.executable, str(script)], cwd="/", capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['one']"


def test_dashboards_are_kept_as_given(tmp_path: Path) -> None:
    app = hr.App("shop", folder=tmp_path)
    (tmp_path / "wall.yaml").write_text("title: Wall")
    board = object()
    assert app.dashboard(board) is board
    app.dashboard("wall.yaml")
    assert app.dashboards == [board, tmp_path / "wall.yaml"]
    with pytest.raises(hr.ProjectError, match="there is no file or folder"):
        app.dashboard("nothing.yaml")


def test_equal_declarations_have_equal_fingerprints_whatever_their_order() -> None:
    def declare(*order: str) -> hr.App:
        app = make()
        for step in order:
            match step:
                case "stream":
                    app.stream("orders", Order, event_id="order_id")
                case "table":
                    app.table("customers", Customer, key="customer_id")
                case _:
                    app.view(step, f"SELECT '{step}'")
        return app

    one = declare("stream", "table", "a", "b").fingerprint()
    assert one == declare("b", "a", "table", "stream").fingerprint()
    assert json.loads(json.dumps(one)) == one
    assert one["streams"]["orders"]["lateness_ms"] == 10_000
    assert one["tables"]["customers"]["key"] == ["customer_id"]
    assert one != declare("stream", "table", "a").fingerprint()


@pytest.mark.parametrize("name", ["", "  ", None])
def test_an_app_needs_a_name(name: Any) -> None:
    with pytest.raises(hr.DeclarationError, match="needs a name"):
        hr.App(name)


def test_the_declarations_cannot_be_changed_from_outside() -> None:
    app = make()
    with pytest.raises(TypeError):
        app.streams["x"] = app.stream("orders", Order)  # type: ignore[index]


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = "{'duckdb', 'pyarrow', 'polars', 'pydantic', 'numpy', 'fastapi'}"
    script = f"import sys, headrace; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(hr.__all__) <= set(dir(hr))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hr.nothing
