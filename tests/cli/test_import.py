"""`headrace import`: files find their tables by name, or go through a source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.cli.conftest import Invoke

APP = """
import headrace as hr

app = hr.App("shop")
app.stream("orders", "order_id BIGINT NOT NULL, product TEXT, amount DECIMAL(18,2)", event_id="order_id")
app.table("products", "product TEXT, price DECIMAL(18,2)", key="product")
app.view("gmv", "SELECT sum(amount) AS gmv FROM orders")


def receive(delivery):
    name = delivery.params["shop"]
    rows = [{"product": f"{name}/{line}", "price": "1.00"} for line in delivery.body.decode().split()]
    return [hr.Put("upsert", "products", rows)]


app.source("lines", receive)
"""


@pytest.fixture
def files(project: Path) -> Path:
    (project / "app.py").write_text(APP)
    folder = project / "files"
    folder.mkdir()
    (folder / "products.csv").write_text("product,price,colour\ntea,4.90,green\ntea,5.00,green\nmug,free,\n")
    (folder / "orders.ndjson").write_text('{"order_id": 1, "product": "tea", "amount": "5.00"}\n')
    (folder / "_notes.csv").write_text("nothing\n")
    (folder / "notes.md").write_text("nothing\n")
    return folder


def test_a_folder_goes_into_the_tables_of_its_files(files: Path, invoke: Invoke) -> None:
    told = invoke("import", str(files), "--json")
    assert told.code == 0, told.err
    found = {one["into"]: (one["accepted"], one["repeated"], one["rejected"]) for one in json.loads(told.out)}
    assert found == {"orders": (1, 0, 0), "products": (2, 0, 1)}
    assert "colour" in told.err
    asked = invoke("query", "-c", "SELECT * FROM products", "--json")
    assert json.loads(asked.out) == [{"product": "tea", "price": "5.00"}]

    again = invoke("import", str(files / "products.csv"))
    assert again.out.startswith("products.csv into products: ")
    assert "1 rejected" in again.out


def test_another_name_and_other_columns(files: Path, invoke: Invoke) -> None:
    (files / "wares.csv").write_text("ware;cost\ncup;2\n")
    words = ("--into", "products", "--map", "product=ware", "--map", "price=cost::INT * 2")
    told = invoke("import", str(files / "wares.csv"), *words)
    assert told.out == "wares.csv into products: 1 accepted\n", told.err
    asked = invoke("query", "-c", "SELECT * FROM products", "--csv")
    assert asked.out == "product,price\ncup,4.00\n"


def test_a_sheet_without_a_head(files: Path, invoke: Invoke) -> None:
    (files / "products.csv").write_text("cup,2.50\npot,9.00\n")
    words = ("--no-header", "--map", "product=column0", "--map", "price=column1")
    told = invoke("import", str(files / "products.csv"), *words)
    assert told.out == "products.csv into products: 2 accepted\n", told.err
    asked = invoke("query", "-c", "SELECT * FROM products ORDER BY product", "--csv")
    assert asked.out == "product,price\ncup,2.50\npot,9.00\n"


def test_a_sheet_for_a_source_is_counted_in_its_own_lines(files: Path, invoke: Invoke) -> None:
    (files / "a.csv").write_text('name\ntea\n\n"mug\nblue"\n')
    told = invoke("import", str(files / "a.csv"), "--source", "lines", "--param", "shop=north")
    assert told.out.startswith("a.csv into lines: 2 lines; rows of tables: "), told.err


def test_a_source_takes_files_as_they_are(files: Path, invoke: Invoke) -> None:
    (files / "a.txt").write_text("tea mug")
    told = invoke("import", str(files / "a.txt"), "--source", "lines", "--param", "shop=north")
    assert told.out == "a.txt into lines: 2 accepted\n", told.err
    asked = invoke("query", "-c", "SELECT product FROM products ORDER BY product", "--csv")
    assert asked.out == "product\nnorth/mug\nnorth/tea\n"


@pytest.mark.parametrize(
    ("words", "code", "problem"),
    [
        (("nowhere",), 3, "no such file or folder"),
        (("orders.csv", "--into", "order"), 3, "did you mean 'orders'"),
        (("app.py",), 3, "--into NAME"),
        (("orders.csv", "--source", "line"), 3, "did you mean 'lines'"),
        (("orders.csv", "--param", "a=1"), 1, "--source"),
        (("orders.csv", "--source", "lines", "--param", "a"), 1, "NAME=VALUE"),
    ],
)
def test_what_cannot_be_is_told(
    files: Path, invoke: Invoke, words: tuple[str, ...], code: int, problem: str
) -> None:
    told = invoke("import", *words)
    assert (told.code, told.out) == (code, ""), told.err
    assert problem in told.err
