"""Charts: Vega-Lite accepts and draws what panels become, whatever the columns and rows hold."""

from __future__ import annotations

import json
import re
from typing import Any

import pyarrow as pa
import pytest
import vl_convert

from headrace.charts import colour, curve_spec, spec_of
from headrace.contracts.schema import Column, Schema
from headrace.panels import Area, Bar, Curve, Funnel, Heat, Line, Panel, Table, Text, Tile, Waterfall
from headrace.themes import DARK, LIGHT, THEMES, Theme

SCHEMA = Schema.of(
    [
        Column("at", "TIMESTAMP", pa.timestamp("us")),
        Column("day", "DATE", pa.date32()),
        Column("name.[0]'\"", "VARCHAR", pa.string()),
        Column("n", "BIGINT", pa.int64()),
        Column("x", "DOUBLE", pa.float64()),
        Column("price", "DECIMAL(18,2)", pa.decimal128(18, 2)),
    ]
)
NAME = SCHEMA.names[2]
MINUTE_MS = 60_000
PLOT_ROWS = [
    {
        "x": minute * MINUTE_MS,
        "y": minute * 3.5,
        "s": s,
        "label": "£1",
        "at": "then",
        "last": minute == 9,
        "tail": minute > 7,
    }
    for minute in range(10)
    for s in ("a", "</text><script>")
]
BAR_ROWS = [{"x": f"<b>{n}", "y": n, "s": "y", "label": f"{n}", "at": ""} for n in range(5)]
HEAT_ROWS = [
    {"x": minute * MINUTE_MS, "y": host, "v": minute * 10, "label": "10%", "at": "then", "strong": False}
    for minute in range(6)
    for host in ("a", "b")
]
TABLE_ROWS = [{"x": f"M{m}", "y": "c", "v": m, "label": f"{m}", "at": "", "strong": m > 2} for m in range(5)]
FUNNEL_ROWS = [{"stage": "seen", "v": 10, "label": "10", "share": "100%"}]

CASES: dict[str, tuple[Panel, list[dict[str, Any]]]] = {
    "line": (Line(view="v", x="at", y=["n", "x"], labels={"n": "count"}, thresholds={"warn": 20}), PLOT_ROWS),
    "line of series": (
        Line(view="v", x="day", y="price", series=NAME, format="money GBP", partial=True),
        PLOT_ROWS,
    ),
    "line over numbers": (Line(view="v", x="n", y="x", zero=False, format="percent"), PLOT_ROWS),
    "area": (Area(view="v", x="at", y="n", format="bytes", partial=True), PLOT_ROWS),
    "stacked area": (Area(view="v", x="at", y="n", series=NAME, legend=False), PLOT_ROWS),
    "bars over time": (Bar(view="v", x="at", y="n", series=NAME), PLOT_ROWS),
    "lying bars": (Bar(view="v", x=NAME, y="price", thresholds={"bad": "> 3"}), BAR_ROWS),
    "lying bars of series": (Bar(view="v", x=NAME, y=["n", "x"]), BAR_ROWS),
    "standing bars": (Bar(view="v", x=NAME, y="n", horizontal=False, format="duration ms"), BAR_ROWS),
    "heat": (Heat(view="v", x="at", y=NAME, value="x", domain=(0, 100), thresholds={"bad": 40}), HEAT_ROWS),
    "heat table": (Heat(view="v", x="n", y=NAME, value="x"), TABLE_ROWS),
    "funnel": (Funnel(view="v", steps=["n", "x"]), FUNNEL_ROWS),
}


def filled(panel: Panel, rows: list[dict[str, Any]], theme: Theme = LIGHT) -> dict[str, Any]:
    spec = spec_of(panel, SCHEMA)
    assert spec is not None
    numbered = [{**row, "i": number} for number, row in enumerate(rows)]
    return colour(spec, theme) | {"width": 300, "height": 160, "data": {"name": "rows", "values": numbered}}


@pytest.mark.parametrize("name", CASES)
def test_every_chart_draws_its_rows(name: str) -> None:
    panel, rows = CASES[name]
    drawn = vl_convert.vegalite_to_svg(filled(panel, rows))
    empty = vl_convert.vegalite_to_svg(filled(panel, []))
    assert drawn.count("<path") > empty.count("<path")
    assert "<script" not in drawn


@pytest.mark.parametrize("name", CASES)
def test_no_colour_of_a_theme_is_left_open(name: str) -> None:
    panel, rows = CASES[name]
    for theme in THEMES.values():
        assert '"$' not in json.dumps({**filled(panel, rows, theme), "$schema": ""}).replace('"$schema"', "")


@pytest.mark.parametrize(("step", "width_ms"), [(None, 2 * MINUTE_MS), ("1m", MINUTE_MS)])
def test_a_bucket_is_as_wide_as_the_smallest_gap_or_as_declared(step: str | None, width_ms: int) -> None:
    rows = [
        {"x": minute * MINUTE_MS, "y": 1, "s": s, "label": "", "at": ""}
        for minute, s in [(0, "a"), (6, "a"), (8, "b")]
    ]
    drawn = vl_convert.vegalite_to_svg(filled(Bar(view="v", x="at", y="n", step=step), rows))
    bar_px, plot_px = sorted(
        {round(float(px), 3) for px in re.findall(r"M[\d.]+,[\d.]+h([\d.]+)v[\d.]+h-", drawn)}
    )
    assert bar_px / plot_px == pytest.approx(width_ms / (8 * MINUTE_MS + width_ms), abs=0.01)


def test_a_specification_holds_names_of_no_column() -> None:
    panel = Line(view="v", x="at", y="price", series=NAME)
    assert "name.[0]" not in json.dumps(spec_of(panel, SCHEMA))


def test_an_axis_of_minor_units_counts_whole_ones_whatever_the_currency() -> None:
    rows = [
        {"x": day, "y": y, "s": "n", "unit": 1, "label": "", "at": ""} for day, y in ((0, 0), (9e7, 300_000))
    ]
    line = Line(view="v", x="day", y="n", format="money @name minor", thresholds={"warn": 200_000})
    drawn = vl_convert.vegalite_to_svg(filled(line, rows))
    assert ">300k<" in drawn  # yen; cents and fils are whole before they are drawn
    assert f'stroke="{LIGHT.warn}"' in drawn
    bars = Bar(view="v", x=NAME, y="n", format="money @name minor", thresholds={"bad": "> 300"})
    cells = [{"x": f"{y}", "y": y, "unit": 100, "s": "n", "label": "", "at": ""} for y in (2, 4)]
    drawn = vl_convert.vegalite_to_svg(filled(bars, cells))
    assert drawn.count(f'fill="{LIGHT.bad}"') == drawn.count(f'fill="{LIGHT.accent}"') == 1


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_every_value_on_a_cell_can_be_read(theme: Theme) -> None:
    cells = [{"x": f"{v}", "y": "c", "v": v, "label": f"v{v}", "at": ""} for v in range(0, 105, 5)]
    spec = filled(Heat(view="v", x=NAME, y=NAME, value="x", domain=(0, 100)), cells, theme) | {"width": 900}
    drawn = vl_convert.vegalite_to_svg(spec)
    shades = re.findall(r'aria-label="[^"]*value: v(\d+)"[^>]*fill="rgb\((\d+), (\d+), (\d+)\)"', drawn)
    written = {value: ink for ink, value in re.findall(r'<text[^>]*fill="(#\w+)"[^>]*>v(\d+)</text>', drawn)}
    assert len(shades) == len(written) == len(cells)
    for value, *parts in shades:
        shade = "#" + "".join(f"{int(part):02x}" for part in parts)
        assert contrast(written[value], shade) >= 4.5, value


def test_values_are_written_where_they_have_room() -> None:
    cells = [{"x": f"{n}", "y": "c", "v": n, "label": f"v{n}", "at": ""} for n in range(24)]
    heat = filled(Heat(view="v", x=NAME, y=NAME, value="x"), cells)
    assert 'opacity="0"' in vl_convert.vegalite_to_svg(heat)
    assert 'opacity="0"' not in vl_convert.vegalite_to_svg(heat | {"width": 1200})
    steps = [
        {"x": f"s{n}", "y": 1500, "total": n == 0, "label": "€1,500.00", "short": "1.5k"} for n in range(9)
    ]
    waterfall = filled(Waterfall(view="v", x=NAME, y="n"), steps)
    assert ">1.5k<" in vl_convert.vegalite_to_svg(waterfall)
    assert ">€1,500.00<" in vl_convert.vegalite_to_svg(waterfall | {"width": 900})


def test_the_curve_of_a_tile_is_a_chart_too() -> None:
    spec = curve_spec(Tile(view="v", value="n", curve=Curve(view="v", x="at", y="n")))
    assert spec is not None
    rows = [{"x": minute * MINUTE_MS, "y": minute} for minute in range(5)]
    drawn = vl_convert.vegalite_to_svg(
        colour(spec, DARK) | {"width": 100, "height": 30, "data": {"name": "rows", "values": rows}}
    )
    assert DARK.accent in drawn
    assert curve_spec(Tile(view="v", value="n")) is None


def test_tiles_tables_and_texts_are_no_charts() -> None:
    for panel in (Tile(view="v", value="n"), Table(view="v"), Text(text="a")):
        assert spec_of(panel, SCHEMA) is None


def test_a_chart_prints_to_png() -> None:
    panel, rows = CASES["lying bars"]
    assert vl_convert.vegalite_to_png(filled(panel, rows)).startswith(b"\x89PNG")


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("ground", ["panel", "ground", "raised"])
@pytest.mark.parametrize("ink", ["ink", "muted", "accent", "good", "warn", "bad"])
def test_text_can_be_read(theme: Theme, ground: str, ink: str) -> None:
    tokens = theme.tokens()
    assert contrast(tokens[ink], tokens[ground]) >= 4.5


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2.2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour_text: str) -> float:
    parts = [int(colour_text[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
