"""Dashboards: from Python and YAML, compared with the views, with errors that name file, panel and field."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from headrace.contracts.schema import Column, Schema
from headrace.dashboards import Dashboard, Parameter, check, load_dashboard, load_dashboards, with_choices
from headrace.errors import DeclarationError
from headrace.named_queries import named_query
from headrace.panels import Bar, Curve, Panel, Table, Tile

SCHEMAS = {
    "gmv": Schema.of(
        [Column("gmv", "DECIMAL(18,2)", pa.decimal128(18, 2)), Column("note", "VARCHAR", pa.string())]
    ),
    "Top_Products": Schema.of(
        [Column("product", "VARCHAR", pa.string()), Column("revenue", "DOUBLE", pa.float64())]
    ),
}
WALL = """
title: Promotion day
panels:
  - {type: tile, view: gmv, value: gmv, format: money GBP}
  - type: bar
    view: top_products
    x: product
    y: revenue
    order: revenue DESC
    limit: 5
"""


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_and_python_declare_the_same(tmp_path: Path) -> None:
    loaded = load_dashboard(write(tmp_path, "wall.yaml", WALL))
    declared = Dashboard(
        name="wall",
        title="Promotion day",
        panels=[
            Tile(view="gmv", value="gmv", format="money GBP"),
            Bar(view="top_products", x="product", y="revenue", order="revenue DESC", limit=5),
        ],
    )
    assert loaded == declared
    assert loaded.views == ("gmv", "top_products")
    check(loaded, SCHEMAS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"wall.yaml: the file holds no mapping"),
        ("- a", r"wall.yaml: the file holds no mapping"),
        ("panels: [", r"wall.yaml: the file is not YAML"),
        ("title: x", r"wall.yaml: dashboard 'wall', field 'panels': 'panels' is missing"),
        ("panels: []", r"field 'panels'"),
        ("panels: {a: 1}", r"field 'panels'"),
        ("panels: [{type: text, text: a}]\nnam: x", r"field 'nam'[^¶]*did you mean 'name'"),
        (
            "panels: [{type: text, text: a}, {type: text, txt: b}]",
            r"wall.yaml: dashboard 'wall': panel 2: text",
        ),
        ("name: a b\npanels: [{type: text, text: a}]", r"field 'name'"),
        ("name: ../etc\npanels: [{type: text, text: a}]", r"field 'name'"),
        ("name: 3\npanels: [{type: text, text: a}]", r"field 'name'"),
        ("panels: !!python/object/apply:os.system ['true']", r"the file is not YAML"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        load_dashboard(write(tmp_path, "wall.yaml", text))


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"none.yaml: the file cannot be read"):
        load_dashboard(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(DeclarationError, match=r"bytes.yaml: the file cannot be read"):
        load_dashboard(tmp_path / "bytes.yaml")


def test_a_folder_is_read_in_order_of_name(tmp_path: Path) -> None:
    write(tmp_path, "b.yaml", WALL)
    write(tmp_path, "a.yml", WALL)
    write(tmp_path, "notes.txt", "no dashboard")
    assert [one.name for one in load_dashboards(tmp_path)] == ["a", "b"]
    write(tmp_path, "c.yaml", "name: a\n" + WALL)
    with pytest.raises(DeclarationError, match="two dashboards named 'a'"):
        load_dashboards(tmp_path)


@pytest.mark.parametrize(
    ("panel", "said"),
    [
        (
            Tile(view="gmw", value="gmv"),
            r"panel 1: tile 'gmw', field 'view': there is no view named 'gmw'[^¶]*'gmv'",
        ),
        (Table(view="none"), r"panel 1: table 'none', field 'view': there is no view named 'none'"),
        (
            Tile(view="gmv", value="gmw"),
            r"field 'value': the view 'gmv' has no column 'gmw'[^¶]*did you mean 'gmv'",
        ),
        (
            Tile(view="gmv", value="note", rate="minute"),
            r"column 'note' of 'gmv' is VARCHAR[^¶]*a column of numbers",
        ),
        (Tile(view="gmv", value="gmv", where="nota = 1"), r"field 'where'"),
        (Tile(view="gmv", value="gmv", format="money @currency"), r"field 'format'"),
        (Tile(view="gmv", value="gmv", curve=Curve(view="gmv", x="at", y="note")), r"field 'curve.x'"),
        (Tile(view="gmv", value="gmv", width=13), r"13 columns wide, the dashboard has 12"),
        (Bar(view="TOP_products", x="product", y="product"), r"field 'y': the column 'product'"),
    ],
)
def test_a_dashboard_is_compared_with_the_views(panel: Panel, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        check(Dashboard(name="wall", panels=[panel]), SCHEMAS)


def test_all_problems_are_counted_and_told() -> None:
    dashboard = Dashboard(name="wall", panels=[Tile(view="a", value="b"), Tile(view="gmv", value="c")])
    with pytest.raises(DeclarationError, match="and 1 more in this dashboard") as caught:
        check(dashboard, SCHEMAS)
    problems = caught.value.details["problems"]
    assert len(problems) == 2
    assert "panel 2" in problems[1]


LISTED = """-- $kind TEXT = NULL IN (paid, failed)
-- $period TEXT = month IN (day, month)
-- $of TEXT = NULL IN (paid, {kinds})
-- $find TEXT = NULL
SELECT $kind AS kind, $period AS period, $of AS whose, $find AS find
"""
SHOWN = Schema.of([Column("kind", "VARCHAR", pa.string())])


def asking(*parameters: Parameter) -> Dashboard:
    return Dashboard(name="asking", panels=[Table(view="listed")], parameters=list(parameters))


def test_a_page_offers_what_its_query_takes() -> None:
    page = asking(*(Parameter(name=name) for name in ("kind", "period", "of", "find")))
    told = with_choices(page, {"Listed": named_query("Listed", LISTED)}).parameters
    assert {one.name: (one.choices, one.default) for one in told} == {
        "kind": ([("", "all"), "paid", "failed"], None),
        "period": (["day", "month"], "month"),
        "of": ((), None),
        "find": ((), None),
    }
    own = asking(Parameter(name="period", choices=["day"]), Parameter(name="kind", default="paid"))
    told = with_choices(own, {"listed": named_query("listed", LISTED)}).parameters
    assert (list(told[0].choices), told[0].default, told[1].default) == (["day"], None, "paid")


def test_a_page_that_offers_what_its_query_does_not_take_is_refused() -> None:
    queries = {"listed": named_query("listed", LISTED)}
    page = asking(Parameter(name="kind", choices=[("", "all"), "paid"]), Parameter(name="of", choices=["x"]))
    check(page, {"listed": SHOWN}, queries)
    with pytest.raises(DeclarationError, match="offers 'lost' as 'kind', which the query 'listed'"):
        check(asking(Parameter(name="kind", choices=["paid", ("lost", "gone")])), {"listed": SHOWN}, queries)
