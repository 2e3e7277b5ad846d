"""`headrace import`: files find their tables by name, or go through a source."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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


@pytest.fixture
def lists(files: Path) -> Path:
    """Files of which the third is no text, so that the source of the app fails at it."""
    folder = files.parent / "lists"
    folder.mkdir()
    for name, body in (("a", b"tea"), ("b", b"mug jar"), ("c", b"\xff"), ("d", b"pot"), ("e", b"cup")):
        (folder / f"{name}.txt").write_bytes(body)
    return folder


def test_where_a_file_fails_what_is_in_and_what_was_not_tried_is_told(lists: Path, invoke: Invoke) -> None:
    given = ("import", str(lists), "--source", "lines", "--param", "shop=north")
    told = invoke(*given)
    assert told.code == 1
    assert told.out == "a.txt into lines: 1 accepted\nb.txt into lines: 2 accepted\n"
    failed, left, problem = told.err.splitlines()[:3]
    assert (failed, left) == ("failed: c.txt into lines", "not tried: d.txt, e.txt")
    assert "utf-8" in problem
    kept = invoke("query", "-c", "SELECT product FROM products ORDER BY product", "--csv")
    assert kept.out.split() == ["product", "north/jar", "north/mug", "north/tea"]

    told = invoke(*given, "--json")
    assert told.code == 1
    facts = json.loads(told.out)
    states = [(one["file"], one["state"]) for one in facts]
    assert states == [("a.txt", "taken"), ("b.txt", "taken"), ("c.txt", "failed"),
                      ("d.txt", "not tried"), ("e.txt", "not tried")]  # fmt: skip
    assert "utf-8" in facts[2]["error"]["problem"]
    assert [one["error"] for one in facts[:2]] == [None, None]


def test_a_file_of_rows_that_fails_leaves_the_others_told(files: Path, invoke: Invoke) -> None:
    (files / "products.csv").rename(files / "products.parquet")
    told = invoke("import", str(files))
    assert told.code == 4
    assert told.out == "orders.ndjson into orders: 1 accepted\n"
    assert told.err.startswith("failed: products.parquet into products\nerror ")


def test_only_some_of_many_that_were_not_tried_are_named(lists: Path, invoke: Invoke) -> None:
    for number in range(15):
        (lists / f"f{number:02}.txt").write_text("jug")
    told = invoke("import", str(lists), "--source", "lines", "--param", "shop=north")
    assert "not tried: d.txt, e.txt, f00.txt, " in told.err
    assert told.err.splitlines()[1].endswith("f07.txt and 7 more")


def test_a_file_for_a_source_tells_what_is_waited_for(
    lists: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []

    @contextmanager
    def progress(name: str) -> Iterator[Callable[[str], None]]:
        yield lambda text: told.append(f"{name}: {text}")

    monkeypatch.setattr("headrace.cli.import_.progress_text", progress)
    took = invoke("import", str(lists / "b.txt"), "--source", "lines", "--param", "shop=north")
    assert took.code == 0, took.err
    first, second, third = told
    assert (first, second) == ("b.txt: reading", "b.txt: 7 bytes given to lines, waiting for the answer")
    assert third.endswith(": waiting until it is in the views")


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
