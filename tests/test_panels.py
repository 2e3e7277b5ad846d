"""Panels: which columns they read, and errors that name the field and what was meant."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.errors import DeclarationError
from headrace.panels import PANELS, Bar, Cell, Curve, Fact, Funnel, Heat, Line, Table, Tile, build_panel


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "the panel has no type"),
        ({"type": "tlie"}, "did you mean 'tile'"),
        ("tile", "a panel is a mapping"),
        (
            {"type": "tile", "view": "v", "valeu": "x"},
            r"tile 'v', field 'valeu'.*\n.*\n.*did you mean 'value'",
        ),
        ({"type": "tile", "view": "v"}, r"field 'value': 'value' is missing\n  expected: value: the column"),
        ({"type": "tile", "view": "", "value": "x"}, "field 'view'"),
        ({"type": "tile", "view": "v", "value": "x", "width": 0}, "field 'width': 0 should be greater"),
        ({"type": "tile", "view": "v", "value": "x", "curve": {"view": "w", "x": "a"}}, "field 'curve.y'"),
        (
            {
                "type": "tile",
                "view": "v",
                "value": "x",
                "curve": {"view": "w", "x": "a", "y": "b", "windw": 1},
            },
            r"'curve.windw'[^¶]*did you mean 'window'",
        ),
        (
            {"type": "line", "view": "v", "x": "a", "y": ["b", "c"], "series": "d"},
            "by series or by several y",
        ),
        ({"type": "line", "view": "v", "x": "a", "y": []}, "y names no column"),
        (
            {"type": "table", "view": "v", "columns": ["a", {"column": "b", "format": "x"}]},
            "'columns.1.format'",
        ),
        (
            {"type": "table", "view": "v", "columns": [{"column": "b", "levels": {"E": "red"}}]},
            "columns.0.levels",
        ),
        ({"type": "funnel", "view": "v"}, "a funnel has either steps"),
        ({"type": "funnel", "view": "v", "steps": ["a"], "stage": "b", "value": "c"}, "a funnel has either"),
        ({"type": "bar", "view": "v", "x": "a", "y": "b", "where": "a = 1 OR b = 2"}, "field 'where'"),
        ({"type": "heat", "view": "v", "x": "a", "y": "b", "value": "c", "domain": [1]}, "field 'domain"),
        ({"type": "text"}, "field 'text'"),
    ],
)
def test_errors_name_the_field(fields: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        build_panel(fields)


def test_a_panel_is_built_by_its_type() -> None:
    for name, panel in PANELS.items():
        assert panel.model_fields["type"].default == name
    assert isinstance(build_panel({"type": "bar", "view": "v", "x": "a", "y": "b"}), Bar)


def test_a_panel_names_every_column_that_it_reads() -> None:
    tile = Tile(
        view="v",
        value="a",
        rate="minute",
        compare="b",
        where="c = 1",
        order="d DESC",
        format="money @e",
        facts=[Fact(value="f"), Fact(value="g", view="w")],
        curve=Curve(view="x", x="h", y="i", where="j > 2"),
    )
    found = {(use.field, use.view, use.column, use.numeric) for use in tile.uses()}
    assert found == {
        ("value", "v", "a", True),
        ("compare", "v", "b", True),
        ("where", "v", "c", False),
        ("order", "v", "d", False),
        ("format", "v", "e", False),
        ("facts.0.value", "v", "f", False),
        ("facts.1.value", "w", "g", False),
        ("curve.x", "x", "h", False),
        ("curve.y", "x", "i", True),
        ("curve.where", "x", "j", False),
    }
    assert tile.views == ("v", "x", "w")


def test_charts_and_tables_name_their_columns() -> None:
    line = Line(view="v", x="t", y=["a", "b"])
    assert [(use.column, use.numeric) for use in line.uses()] == [("t", False), ("a", True), ("b", True)]
    heat = Heat(view="v", x="t", y="h", value="n")
    assert [(use.column, use.numeric) for use in heat.uses()] == [("t", False), ("h", False), ("n", True)]
    table = Table(view="v", columns=["a", Cell(column="b", bar=True)])
    assert [(use.column, use.numeric) for use in table.uses()] == [("a", False), ("b", True)]
    funnel = Funnel(view="v", steps=["a", "b"])
    assert [(use.column, use.numeric) for use in funnel.uses()] == [("a", True), ("b", True)]


def test_sizes_come_from_the_type_unless_they_are_given() -> None:
    assert Tile(view="v", value="a").size == (3, 2)
    assert Tile(view="v", value="a", width=6).size == (6, 2)
    assert Bar(view="v", x="a", y="b", height=5).size == (4, 5)
