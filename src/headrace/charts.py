"""From a panel to a Vega-Lite chart: the one place that decides what a chart looks like.

A specification holds no data, no size and no colours of a theme: data stand in the named set `rows`, colours
as `$accent`, `$bad`, … (`colour` fills them in). So one specification moves on a page and is printed to PNG.

The rows of a chart have fixed column names whatever the view calls its own; times are milliseconds since 1970
in UTC, numbers are numbers, `label` is the exact value as text, `at` the x as text, `i` counts the rows:

    line, area, bar   x, y, s (series, or the name of the value column), label; with `partial` also
                      last (x is the newest) and tail (x is the newest or the one before); of money in minor
                      units y is in whole ones, and unit how many minor units one of them has
    heat              x, y (strip), v, label
    funnel            stage, v, label, share (text)
    waterfall         x, y, total, label, short (the label where there is little room); y as of bars
    curve of a tile   x, y
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from headrace.contracts.schema import Schema
from headrace.panel_words import Format, parse_duration_ms, parse_format, parse_thresholds
from headrace.panels import Area, Bar, Funnel, Heat, Line, Panel, Tile, Waterfall
from headrace.themes import Theme, vega_config

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
SYMBOLS = {"GBP": "£", "USD": "$", "EUR": "€", "JPY": "¥", "CNY": "¥", "INR": "₹", "KRW": "₩", "BRL": "R$"}
VALUE_WIDTH_PX = 74
"""Room at the right edge for a bar's number."""
BY_PLACE = {"field": "i", "op": "min"}
"""Categories stand in the order of the rows, also after rows have changed places."""
LEGEND_ENTRY_PX = 88
"""Width that one name of a legend is given before the next line begins; a legend has two lines at most."""
STRIP_FONT = {"expr": "clamp(bandwidth('y') * 0.92, 6, 11)"}
CELL_VALUE_PX = 27
"""A cell of a heat table has its value written in it where it is as wide as this; else its colour tells."""
CELL_IS_DARK = "luminance(scale('color', datum.v)) < 0.179"
"""White is easier to read on a cell of that luminance than black; either way its contrast is 4.5 or more."""
"""The type of a strip's name and value shrinks with the strip, so that neighbours never overlap."""
TIME_LABEL = (
    "utchours(datum.value) == 0 && utcminutes(datum.value) == 0 && utcseconds(datum.value) == 0"
    " ? utcFormat(datum.value, utcdate(datum.value) == 1 ? '%b %Y' : '%d %b')"
    " : utcFormat(datum.value, utcseconds(datum.value) == 0 ? '%H:%M' : '%H:%M:%S')"
)
"""A tick of a time axis: a clock of 24 hours in UTC, the day at midnight, the month at its first day."""


EXTENT_PX = 26
"""What the labels of an axis of values have at least: they grow with the data, and would be cut."""
WATERFALL_TEXT = "width < 56 * length(data('rows')) && isValid(datum.short) ? datum.short : datum.label"
"""What stands at a bar: the exact amount, or the short one where bars are narrow."""


def step_of_x(step: str | None) -> list[Spec]:
    """Return transforms that give every row the end of its time bucket, `x2`.

    Args:
        step: the length of a bucket, or None: the smallest gap between two times.
    """
    if step is not None:
        return [{"calculate": f"datum.x + {parse_duration_ms(step)}", "as": "x2"}]
    same = "datum.before == null || datum.before == datum.x"
    return [
        {"window": [{"op": "lag", "field": "x", "as": "before"}], "sort": [{"field": "x"}]},
        {"calculate": f"{same} ? null : datum.x - datum.before", "as": "gap"},
        {"joinaggregate": [{"op": "min", "field": "gap", "as": "step"}]},
        {"calculate": "datum.x + (isValid(datum.step) ? datum.step : 60000)", "as": "x2"},
    ]


def spec_of(panel: Panel, schema: Schema) -> Spec | None:
    """Return the Vega-Lite specification of a panel, or None where it is no chart (tile, table, text).

    Args:
        panel: a declared panel.
        schema: the columns of the panel's view.
    """
    if isinstance(panel, Line | Area):
        return _plot(panel, schema)
    if isinstance(panel, Bar):
        return _bars(panel, schema)
    if isinstance(panel, Heat):
        return _heat(panel, schema)
    if isinstance(panel, Funnel):
        return _funnel()
    if isinstance(panel, Waterfall):
        return _waterfall(panel)
    return None


def curve_spec(panel: Tile) -> Spec | None:
    """Return the specification of the small curve behind a tile's number, or None."""
    if panel.curve is None:
        return None
    return _frame(
        mark={
            "type": "area",
            "line": {"color": "$accent", "strokeWidth": 1.5},
            "color": "$accent",
            "opacity": 0.14,
        },
        encoding={
            "x": {"field": "x", "type": "temporal", "scale": {"type": "utc"}, "axis": None},
            "y": {
                "field": "y",
                "type": "quantitative",
                "axis": None,
                "scale": {"zero": False, "nice": False},
            },
        },
    )


def colour(spec: Spec, theme: Theme) -> Spec:
    """Fill in the colours of a theme, and its configuration."""
    filled: Spec = _fill(copy.deepcopy(spec), theme.tokens())
    return filled | {"config": vega_config(theme)}


def _fill(node: Any, tokens: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _fill(value, tokens) for key, value in node.items()}
    if isinstance(node, list):
        return [_fill(value, tokens) for value in node]
    if isinstance(node, str) and node.startswith("$"):
        return tokens.get(node[1:], node)
    return node


def is_time(kind: pa.DataType) -> bool:
    """Tell whether a column of that type is a time axis."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _frame(**parts: Any) -> Spec:
    return {
        "$schema": SCHEMA,
        "data": {"name": "rows", "values": []},
        "autosize": {"type": "fit", "contains": "padding", "resize": True},
    } | parts


def _plot(panel: Line | Area, schema: Schema) -> Spec:
    several = panel.series is not None or len(panel.ys) > 1
    stacked = isinstance(panel, Area) and panel.stack and several
    encoding: Spec = {"x": _x_axis(schema[panel.x].arrow), "y": _y_axis(panel, schema)}
    encoding["y"]["stack"] = "zero" if stacked else None
    encoding["tooltip"] = _tooltip(several)
    if several:
        encoding["color"] = _series(panel)
    layers = _plot_layers(panel, encoding, stacked=stacked)
    if not stacked:
        layers.append(_newest_points(encoding))
    minor = _is_minor(panel)
    layers += [_rule(rule.level, rule.value, minor=minor) for rule in parse_thresholds(panel.thresholds)]
    return _frame(layer=layers)


def _plot_layers(panel: Line | Area, encoding: Spec, *, stacked: bool) -> list[Spec]:
    mark = _plot_mark(panel, stacked=stacked)
    if not panel.partial:
        return [{"mark": mark, "encoding": encoding}]
    whole = {"transform": [{"filter": "!datum.last"}], "mark": mark, "encoding": encoding}
    faint = mark | ({"strokeDash": [2, 3]} if isinstance(panel, Line) else {"opacity": 0.1})
    return [whole, {"transform": [{"filter": "datum.tail"}], "mark": faint, "encoding": encoding}]


def _newest_points(encoding: Spec) -> Spec:
    """A dot at the newest point of each series; also the only thing to see while there is but one."""
    return {
        "transform": [
            {"joinaggregate": [{"op": "max", "field": "x", "as": "newest"}], "groupby": ["s"]},
            {"filter": "datum.x == datum.newest"},
        ],
        "mark": {"type": "point", "filled": True, "size": 26, "opacity": 1},
        "encoding": encoding,
    }


def _plot_mark(panel: Line | Area, *, stacked: bool) -> Spec:
    if isinstance(panel, Line):
        return {"type": "line", "interpolate": "linear"}
    if stacked:
        return {"type": "area", "opacity": 0.85}
    return {"type": "area", "line": True, "opacity": 0.16}


def _x_axis(kind: pa.DataType) -> Spec:
    if is_time(kind):
        axis = {"title": None, "tickCount": {"expr": "max(2, floor(width / 90))"}, "labelExpr": TIME_LABEL}
        return {"field": "x", "type": "temporal", "scale": {"type": "utc"}, "axis": axis}
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return {"field": "x", "type": "quantitative", "axis": {"title": None, "grid": False}}
    return {"field": "x", "type": "ordinal", "sort": BY_PLACE, "axis": {"title": None, "labelAngle": 0}}


def _y_axis(panel: Line | Area | Bar, schema: Schema) -> Spec:
    axis: Spec = {"title": None, "tickCount": {"expr": "max(2, floor(height / 38))"}, "minExtent": EXTENT_PX}
    if all(pa.types.is_integer(schema[name].arrow) for name in panel.ys):
        axis["tickMinStep"] = 1
    label = _axis_label(parse_format(panel.format) if panel.format else None)
    return {
        "field": "y",
        "type": "quantitative",
        "scale": {"zero": panel.zero, "nice": True},
        "axis": axis | {"labelExpr": label},
    }


def _axis_label(shown: Format | None) -> str:
    """Return the Vega expression that writes a tick: short, with the symbol of its currency or unit."""
    short = "replace(format(datum.value, '~s'), 'G', 'B')"
    plain = f"abs(datum.value) >= 1000 ? {short} : format(datum.value, ',~g')"
    if shown is None or shown.kind in ("number", "integer"):
        unit = _quoted(
            f" {shown.unit}" if shown and shown.unit and shown.unit != "%" else (shown and shown.unit) or ""
        )
        return f"({plain}) + {unit}"
    if shown.kind == "money":
        symbol = SYMBOLS.get(shown.currency or "", f"{shown.currency} " if shown.currency else "")
        return f"{_quoted(symbol)} + ({plain})"
    if shown.kind == "percent":
        return "format(datum.value, '~%')"
    if shown.kind == "bytes":
        return f"replace({short}, 'B', 'G') + 'B'"
    if shown.kind == "duration":
        return f"({plain}) + {_quoted(' ' + (shown.unit or 'ms'))}"
    return "datum.label"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _tooltip(several: bool) -> list[Spec]:
    series = [{"field": "s", "type": "nominal", "title": "series"}] if several else []
    return [{"field": "at", "type": "nominal", "title": "at"}, *series, {"field": "label", "title": "value"}]


def _series(panel: Line | Area | Bar) -> Spec:
    """Colour by series; the value columns keep their declared order, series are in order of their names."""
    scale: Spec = {}
    if panel.series is None:
        scale = {"domain": [panel.labels.get(name, name) for name in panel.ys]}
    columns = f"max(1, floor(width / {LEGEND_ENTRY_PX}))"
    shown = {"title": None, "columns": {"expr": columns}, "symbolLimit": {"expr": f"2 * {columns}"}}
    legend = shown if panel.legend else None
    return {"field": "s", "type": "nominal", "scale": scale, "legend": legend}


def _is_minor(panel: Line | Area | Bar) -> bool:
    """Tell whether the column counts minor units, while the axis counts whole ones."""
    shown = parse_format(panel.format) if panel.format else None
    return shown is not None and shown.minor


def _rule(level: str, value: float, *, minor: bool) -> Spec:
    rule: Spec = {
        "mark": {"type": "rule", "color": f"${level}", "strokeDash": [4, 3], "strokeWidth": 1},
        "encoding": {"y": {"field": "limit", "type": "quantitative"}},
    }
    if not minor:
        return rule | {"data": {"values": [{"limit": value}]}}
    one = {"aggregate": [{"op": "max", "field": "unit", "as": "unit"}]}
    return rule | {"transform": [one, {"calculate": f"{value} / datum.unit", "as": "limit"}]}


def _bars(panel: Bar, schema: Schema) -> Spec:
    over_time = is_time(schema[panel.x].arrow)
    lying = panel.horizontal if panel.horizontal is not None else not over_time
    if over_time and not lying:
        return _bars_over_time(panel, schema)
    return _lying_bars(panel) if lying else _standing_bars(panel, schema)


def _bar_colour(panel: Bar) -> Spec:
    """Colour by series, or by the level that the value has."""
    if panel.series is not None or len(panel.ys) > 1:
        return _series(panel)
    rules = parse_thresholds(panel.thresholds)
    limit = " / datum.unit" if _is_minor(panel) else ""
    conditions = [
        {"test": f"datum.y {rule.operator} {rule.value}{limit}", "value": f"${rule.level}"}
        for rule in reversed(rules)
    ]
    return {"condition": conditions, "value": "$accent"} if conditions else {"value": "$accent"}


def _bars_over_time(panel: Bar, schema: Schema) -> Spec:
    several = panel.series is not None or len(panel.ys) > 1
    return _frame(
        transform=[
            *step_of_x(panel.step),
            {"stack": "y", "groupby": ["x"], "sort": [{"field": "s"}], "as": ["y0", "y1"]},
        ],
        mark={"type": "rect", "stroke": "$panel", "strokeWidth": 0.6},
        encoding={
            "x": _x_axis(pa.timestamp("us")),
            "x2": {"field": "x2"},
            "y": _y_axis(panel, schema) | {"field": "y0"},
            "y2": {"field": "y1"},
            "color": _bar_colour(panel),
            "tooltip": _tooltip(several),
        },
    )


def _standing_bars(panel: Bar, schema: Schema) -> Spec:
    several = panel.series is not None or len(panel.ys) > 1
    axis = {"title": None, "labelAngle": 0, "labelLimit": 90, "labelOverlap": True}
    return _frame(
        mark={"type": "bar", "width": {"band": 0.78}},
        encoding={
            "x": {"field": "x", "type": "ordinal", "sort": BY_PLACE, "axis": axis},
            "y": _y_axis(panel, schema),
            "color": _bar_colour(panel),
            "tooltip": _tooltip(several),
        },
    )


def _lying_bars(panel: Bar) -> Spec:
    several = panel.series is not None or len(panel.ys) > 1
    room = f"max(30, width - {VALUE_WIDTH_PX})" if panel.values and not several else "width"
    axis = {"title": None, "labelColor": "$ink", "labelFontSize": 12, "labelLimit": 176, "labelPadding": 8}
    category = {"field": "x", "type": "nominal", "sort": BY_PLACE, "axis": axis}
    number = {
        "field": "y",
        "type": "quantitative",
        "axis": None,
        "scale": {"zero": True, "nice": False, "range": [0, {"expr": room}]},
    }
    bars = {
        "mark": {"type": "bar", "height": {"band": 0.56}, "cornerRadiusEnd": 1},
        "encoding": {"x": number, "color": _bar_colour(panel), "tooltip": _tooltip(several)},
    }
    layers = [bars]
    if panel.values and not several:
        layers.append(_right_text("label", "$ink"))
    return _frame(encoding={"y": category}, layer=layers)


def _right_text(field: str, ink: str, *, inset_px: int = 0) -> Spec:
    """A column of text along the right edge."""
    return {
        "mark": {"type": "text", "align": "right", "color": ink, "x": {"expr": f"width - {inset_px}"}},
        "encoding": {"text": {"field": field, "type": "nominal"}},
    }


def _heat(panel: Heat, schema: Schema) -> Spec:
    over_time = is_time(schema[panel.x].arrow)
    scale: Spec = {"domain": list(panel.domain), "clamp": True} if panel.domain else {"zero": True}
    shade: Spec = {"field": "v", "type": "quantitative", "scale": scale, "legend": None}
    limit = {"expr": "width < 500 ? 120 : 240"}
    axis: Spec = {"title": None, "labelColor": "$ink", "labelLimit": limit, "labelPadding": 6}
    axis["labelFontSize"] = STRIP_FONT
    strip = {"field": "y", "type": "nominal", "sort": BY_PLACE, "axis": axis}
    if over_time:
        return _heat_over_time(panel, strip, shade)
    return _heat_table(panel, strip, shade)


def _level_text(panel: Heat) -> Spec:
    rules = parse_thresholds(panel.thresholds)
    conditions = [
        {"test": f"datum.v {rule.operator} {rule.value}", "value": f"${rule.level}"}
        for rule in reversed(rules)
    ]
    return {"condition": conditions, "value": "$ink"} if conditions else {"value": "$ink"}


def _heat_over_time(panel: Heat, strip: Spec, shade: Spec) -> Spec:
    room = "max(40, width - 52)" if panel.values else "width"
    axis = _x_axis(pa.timestamp("us"))
    axis["scale"] = {"type": "utc", "nice": False, "range": [0, {"expr": room}]}
    cells: Spec = {
        "mark": {"type": "rect", "height": {"band": 0.82}},
        "encoding": {
            "x": axis,
            "x2": {"field": "x2"},
            "color": shade,
            "tooltip": [{"field": "y", "title": "of"}, {"field": "at", "title": "at"}, {"field": "label"}],
        },
    }
    layers = [cells]
    if panel.values:
        newest = _right_text("label", "$ink")
        newest["mark"]["fontSize"] = STRIP_FONT
        newest["transform"] = [
            {"joinaggregate": [{"op": "max", "field": "x", "as": "newest"}], "groupby": ["y"]},
            {"filter": "datum.x == datum.newest"},
        ]
        newest["encoding"]["color"] = _level_text(panel)
        layers.append(newest)
    return _frame(transform=step_of_x(panel.step), encoding={"y": strip}, layer=layers)


def _heat_table(panel: Heat, strip: Spec, shade: Spec) -> Spec:
    column = {
        "field": "x",
        "type": "ordinal",
        "sort": BY_PLACE,
        "axis": {"title": None, "labelAngle": 0, "orient": "top", "labelOverlap": True},
    }
    tooltip = [
        {"field": "y", "title": "of"},
        {"field": "x", "title": "at"},
        {"field": "label", "title": "value"},
    ]
    layers: list[Spec] = [{"mark": {"type": "rect"}, "encoding": {"color": shade, "tooltip": tooltip}}]
    if panel.values:
        room = {"expr": f"bandwidth('x') < {CELL_VALUE_PX} ? 0 : 1"}
        text: Spec = {"mark": {"type": "text", "fontSize": STRIP_FONT, "opacity": room}}
        written = {"condition": {"test": CELL_IS_DARK, "value": "$pale"}, "value": "$deep"}
        text["encoding"] = {"text": {"field": "label"}, "color": written}
        layers.append(text)
    return _frame(encoding={"x": column, "y": strip}, layer=layers)


def _funnel() -> Spec:
    axis = {"title": None, "labelColor": "$ink", "labelFontSize": 12, "labelLimit": 130, "labelPadding": 8}
    stage = {"field": "stage", "type": "nominal", "sort": BY_PLACE, "axis": axis}
    number = {
        "field": "v",
        "type": "quantitative",
        "axis": None,
        "scale": {"zero": True, "nice": False, "range": [0, {"expr": "max(30, width - 124)"}]},
    }
    tooltip = [{"field": "stage", "title": "step"}, {"field": "label", "title": "count"}, {"field": "share"}]
    return _frame(
        encoding={"y": stage},
        layer=[
            {
                "mark": {"type": "bar", "height": {"band": 0.6}, "cornerRadiusEnd": 1, "color": "$accent"},
                "encoding": {"x": number, "tooltip": tooltip},
            },
            _right_text("label", "$ink", inset_px=52),
            _right_text("share", "$muted"),
        ],
    )


def _waterfall(panel: Waterfall) -> Spec:
    label = _axis_label(parse_format(panel.format) if panel.format else None)
    size = {"expr": "max(9, min(11, width / max(1, length(data('rows'))) / 5.2))"}
    category = {
        "field": "x",
        "type": "ordinal",
        "sort": BY_PLACE,
        "axis": {
            "title": None,
            "labelAngle": {"expr": "width < 56 * length(data('rows')) ? -40 : 0"},
            "labelAlign": {"expr": "width < 56 * length(data('rows')) ? 'right' : 'center'"},
            "labelBaseline": "top",
            "labelColor": "$ink",
            "labelLimit": 110,
            "labelFontSize": size,
        },
    }
    number = {
        "field": "low",
        "type": "quantitative",
        "scale": {"zero": False, "nice": True},
        "axis": {"title": None, "labelExpr": label, "tickCount": {"expr": "max(2, floor(height / 38))"}},
    }
    shade = {
        "condition": [
            {"test": "datum.total", "value": "$accent"},
            {"test": "datum.y < 0", "value": "$bad"},
        ],
        "value": "$good",
    }
    tooltip = [{"field": "x", "title": "step"}, {"field": "label", "title": "amount"}]
    bars = {
        "mark": {"type": "bar", "width": {"band": 0.7}, "cornerRadius": 1},
        "encoding": {"y": number, "y2": {"field": "high"}, "color": shade, "tooltip": tooltip},
    }
    text = {
        "mark": {"type": "text", "baseline": "bottom", "dy": -3, "color": "$ink", "fontSize": size},
        "encoding": {"y": number | {"field": "top"}, "text": {"field": "written", "type": "nominal"}},
    }
    return _frame(
        transform=[
            {"calculate": WATERFALL_TEXT, "as": "written"},
            {"calculate": "datum.total ? (datum.i == 0 ? datum.y : 0) : datum.y", "as": "moved"},
            {"window": [{"op": "sum", "field": "moved", "as": "after"}], "sort": [{"field": "i"}]},
            {"calculate": "datum.total ? 0 : datum.after - datum.y", "as": "low"},
            {"calculate": "datum.total ? datum.y : datum.after", "as": "high"},
            {"calculate": "max(datum.low, datum.high)", "as": "top"},
        ],
        encoding={"x": category},
        layer=[bars, text] if panel.values else [bars],
    )
