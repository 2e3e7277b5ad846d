"""The panels of a dashboard: what they show, declared over views, in Python or YAML.

    tile    one number, large, with its rate, its change and a curve
    line    numbers over time or over another column, one line per column or per series
    area    the same, filled, stacked where there are several
    bar     numbers by category (longest first) or by time
    table   rows
    heat    a strip of coloured cells per category, over time
    funnel  steps and what share of each goes on to the next
    waterfall  how one total becomes another, step by step
    form    one row of a table, to change
    text    words

A panel reads one view, or one named query; `where`, `order`, `limit` and `window` narrow it. Everything else
is SQL.
Columns are named as the view names them. `headrace.panel_words` explains the small texts (`format`, …).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from headrace.errors import DeclarationError
from headrace.panel_words import (
    parse_duration_ms,
    parse_format,
    parse_order,
    parse_thresholds,
    parse_where,
)


def _must_parse(parser: Any) -> AfterValidator:
    def parsed(value: Any) -> Any:
        parser(value)
        return value

    return AfterValidator(parsed)


def _page_address(value: str) -> str:
    if not re.fullmatch(r"/(?!/)[^\s\\]*", value):
        raise ValueError("a link leads to a page of this server, as in /dashboards/customer?id={customer_id}")
    return value


LinkText = Annotated[str, AfterValidator(_page_address)]
"""An address on this server; `{name}` is a column of the row, or a parameter of the page."""
FormatText = Annotated[str, _must_parse(parse_format)]
WhereText = Annotated[str, _must_parse(parse_where)]
OrderText = Annotated[str, _must_parse(parse_order)]
DurationText = Annotated[str, _must_parse(parse_duration_ms)]
Thresholds = Annotated[dict[str, float | str], _must_parse(parse_thresholds)]
ColumnName = Annotated[str, Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Use:
    """One column that a panel reads: the field that names it, and whether it must be a number."""

    field: str
    view: str
    column: str
    numeric: bool = False


class Part(BaseModel):
    """Base of everything that stands inside a panel: no unknown fields, nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Curve(Part):
    """The small curve behind a tile's number.

    Attributes:
        view: the view with the points, such as one row per minute.
        x: its time column.
        y: its number.
        window: how far back from the newest point, as in `1h`; None: everything the view holds.
        where: a filter.
    """

    view: str
    x: ColumnName
    y: ColumnName
    window: DurationText | None = None
    where: WhereText | None = None


class Fact(Part):
    """A second, small number on a tile, with its label.

    Attributes:
        value: the column.
        label: what it is called; None: the column's name.
        format: how it is shown.
        view: another view than the tile's, read at its first row.
    """

    value: ColumnName
    label: str | None = None
    format: FormatText | None = None
    view: str | None = None


class Cell(Part):
    """One column of a table panel.

    Attributes:
        column: the view's column.
        title: its heading; None: the column's name.
        format: how it is shown.
        bar: draw the number's share of the largest one behind it.
        thresholds: levels by value.
        levels: levels by text, as in `{"ERROR": "bad"}`.
        grow: give this column the spare width (long texts).
        optional: leave the column out while no row has a value in it.
        link: where the cell leads, as in `/dashboards/customer?id={customer_id}`.
    """

    column: ColumnName
    title: str | None = None
    format: FormatText | None = None
    bar: bool = False
    thresholds: Thresholds = {}
    levels: dict[str, Literal["good", "warn", "bad"]] = {}
    grow: bool = False
    optional: bool = False
    link: LinkText | None = None


class FunnelStep(Part):
    """One step of a funnel that stands in one row: its column and its label (None: the column's name)."""

    column: ColumnName
    label: str | None = None


class WaterfallStep(Part):
    """One bar of a waterfall that stands in one row.

    Attributes:
        column: the view's column.
        label: what it is called; None: the column's name.
        total: it stands on the ground.
        open: where this bar leads, instead of the panel's `open`.
    """

    column: ColumnName
    label: str | None = None
    total: bool = False
    open: LinkText | None = None


class FormField(Part):
    """One value of a form.

    Attributes:
        column: the table's column.
        label: what it is called; None: the column's name.
        help: what it does, one sentence.
        choices: the values that it may have, or pairs of value and text; empty: any, typed in.
        fills: by value, what other fields are filled with when it is chosen.
    """

    column: ColumnName
    label: str | None = None
    help: str = ""
    choices: Sequence[str | bool | tuple[str | bool, str]] = ()
    fills: dict[str, dict[str, str | int | bool | None]] = {}


class FormAction(Part):
    """One button of a form: it writes the row.

    Attributes:
        label: on the button.
        set: values of columns that are not in the form: text, or `$now` (the time), `$sequence` (a number
            that grows with the time), `$next` (a number after all that rows of this key ever had; of two who
            write at one moment one is refused), `$name` (a parameter of the page).
        confirm: what is asked before; None: nothing.
        delete: take the row out of the table instead.
        view: write the first row of this view or named query, instead of the form's; what it lacks and the
            form asks for, such as who does it, is the form's.
        every: write all rows of `view`, in one commit.
        choose: what the page's parameters are set to afterwards.
        keep: what was typed stays in the form, for another button to write.
        unless_changed: write only if nobody has changed, since the reader saw it, the row that filled the
            form or those of `view`; and not over what was changed after the rows of `view` were made.
    """

    label: Annotated[str, Field(min_length=1)]
    set: dict[str, str | int | bool | None] = {}
    confirm: str | None = None
    delete: bool = False
    view: str | None = None
    every: bool = False
    choose: dict[str, str] = {}
    keep: bool = False
    unless_changed: bool = False

    @model_validator(mode="after")
    def _rows_of_a_view(self) -> FormAction:
        if self.every and self.view is None:
            raise ValueError("every row of what? `every` wants a view")
        return self


_PARTS: dict[str, type[BaseModel]] = {
    "curve": Curve,
    "facts": Fact,
    "columns": Cell,
    "steps": FunnelStep,
    "fields": FormField,
    "actions": FormAction,
}


class Panel(BaseModel):
    """What all panels have in common.

    Attributes:
        type: which panel it is.
        title: the heading; empty: the view's name.
        help: the definition of what is shown, one or two sentences; shown on request.
        link: where the heading leads, as in `/dashboards/usage`.
        width: in columns of the dashboard's grid.
        height: in rows of the grid.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    default_size: ClassVar[tuple[int, int]] = (3, 2)

    type: str
    title: str = ""
    help: str = ""
    link: LinkText | None = None
    width: int | None = Field(default=None, ge=1, le=24)
    height: int | None = Field(default=None, ge=1, le=24)

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise declaration_error(error, type(self), _label(type(self), fields)) from None

    @property
    def size(self) -> tuple[int, int]:
        """Width in columns and height in rows, as declared or as the panel's type has it."""
        width, height = self.default_size
        return self.width or width, self.height or height

    def uses(self) -> Iterator[Use]:
        """Name every column that the panel reads."""
        return iter(())

    @property
    def views(self) -> tuple[str, ...]:
        """The views that the panel reads, each once; the first is the one it is about."""
        return ()

    def label(self) -> str:
        """Return how messages call this panel."""
        return _label(type(self), {"title": self.title, "view": getattr(self, "view", "")})


class ViewPanel(Panel):
    """A panel over a view.

    Attributes:
        view: the view it reads, or the named query that it asks with the page's parameters.
        params: values of a named query's parameters, instead of what the page has for them; `$name` is a
            parameter of the page under another name.
        where: comparisons joined by AND, as in `level = 'ERROR' AND requests > 100`.
        order: as in `revenue DESC, sku`.
        limit: at most so many rows, after the order.
        window: how far back from the newest time (`x`), as in `30m`.
        format: how its numbers are shown, as in `money GBP`.
        thresholds: levels by value, as in `{"warn": 70, "bad": 90}` or `{"bad": "< 0.01"}`.
        stamp: a column whose first value is shown beside the version, such as the number of a definition.
        export: where the same is had as a file, as in `/v1/queries/sales?format=spreadsheet&shop={shop}`.
        open: (charts) where a bar, point or cell leads when it is clicked; `{column}` is one of its row, and
            `{series}` the column that a line is of.
        empty: what is said where there are no rows; empty: `no rows`.
        reason: a column that says why a value is NULL; it is shown in the value's place.
    """

    view: Annotated[str, Field(min_length=1)]
    params: dict[str, str] = {}
    where: WhereText | None = None
    order: OrderText | None = None
    limit: int | None = Field(default=None, ge=1, le=10_000)
    window: DurationText | None = None
    format: FormatText | None = None
    thresholds: Thresholds = {}
    stamp: ColumnName | None = None
    export: LinkText | None = None
    open: LinkText | None = None
    empty: str = ""
    reason: ColumnName | None = None

    def uses(self) -> Iterator[Use]:
        """Name every column that the panel reads."""
        if self.stamp:
            yield Use("stamp", self.view, self.stamp)
        if self.reason:
            yield Use("reason", self.view, self.reason)
        for condition in parse_where(self.where) if self.where else ():
            yield Use("where", self.view, condition.column)
        for ordering in parse_order(self.order) if self.order else ():
            yield Use("order", self.view, ordering.column)
        if self.format and (column := parse_format(self.format).currency_column):
            yield Use("format", self.view, column)
        for field, column, numeric in self._columns():
            yield Use(field, self.view, column, numeric)

    @property
    def views(self) -> tuple[str, ...]:
        """The views that the panel reads, each once, its own first."""
        return tuple(dict.fromkeys([self.view, *(use.view for use in self.uses())]))

    def _columns(self) -> Iterator[tuple[str, str, bool]]:
        """Name the panel's own columns: field, column, whether it must be a number."""
        return iter(())


class Tile(ViewPanel):
    """One value, large: the first row of the view (after `where` and `order`).

    Attributes:
        value: the column.
        rate: show how fast the value grows, per second, minute or hour, as seen on the page's last minute.
        compare: a column with an earlier value of the same kind; the change since then is shown in percent.
        good: whether more or less is better, for the colour of the change; None: no colour.
        curve: a small curve behind the number.
        facts: further small numbers.
    """

    default_size: ClassVar[tuple[int, int]] = (3, 2)
    type: Literal["tile"] = "tile"
    value: ColumnName
    rate: Literal["second", "minute", "hour"] | None = None
    compare: ColumnName | None = None
    good: Literal["more", "less"] | None = None
    curve: Curve | None = None
    facts: Sequence[Fact] = ()

    def _columns(self) -> Iterator[tuple[str, str, bool]]:
        yield "value", self.value, self.rate is not None or self.compare is not None
        if self.compare:
            yield "compare", self.compare, True
        for number, fact in enumerate(self.facts):
            if fact.view is None:
                yield f"facts.{number}.value", fact.value, False

    def uses(self) -> Iterator[Use]:
        """Name every column that the panel reads, those of the curve and of the facts too."""
        yield from super().uses()
        if self.curve:
            yield Use("curve.x", self.curve.view, self.curve.x)
            yield Use("curve.y", self.curve.view, self.curve.y, numeric=True)
            for condition in parse_where(self.curve.where) if self.curve.where else ():
                yield Use("curve.where", self.curve.view, condition.column)
        for number, fact in enumerate(self.facts):
            if fact.view is not None:
                yield Use(f"facts.{number}.value", fact.view, fact.value)


class _Plot(ViewPanel):
    """A chart with axes.

    Attributes:
        x: the column along the bottom, mostly a time.
        y: a number, or several, each a line of its own.
        series: a column whose values split the rows into series (with one `y`).
        labels: what columns are called in the legend.
        zero: whether the value axis starts at zero.
        legend: whether the series are named.
        partial: the newest x is still filling, as the current minute is; its piece of the line is dashed.
    """

    default_size: ClassVar[tuple[int, int]] = (4, 3)
    x: ColumnName
    y: ColumnName | Sequence[ColumnName]
    series: ColumnName | None = None
    labels: dict[str, str] = {}
    zero: bool = True
    legend: bool = True
    partial: bool = False

    @property
    def ys(self) -> tuple[str, ...]:
        """The value columns."""
        return (self.y,) if isinstance(self.y, str) else tuple(self.y)

    @model_validator(mode="after")
    def _one_way_to_split(self) -> _Plot:
        if not self.ys:
            raise ValueError("y names no column")
        if self.series and len(self.ys) > 1:
            raise ValueError("a chart splits by series or by several y, not by both; drop one")
        return self

    def _columns(self) -> Iterator[tuple[str, str, bool]]:
        yield "x", self.x, False
        for column in self.ys:
            yield "y", column, True
        if self.series:
            yield "series", self.series, False


class Line(_Plot):
    """Lines over `x`; thresholds are drawn as rules."""

    type: Literal["line"] = "line"


class Area(_Plot):
    """Filled lines over `x`; `stack` puts the series on top of each other."""

    type: Literal["area"] = "area"
    stack: bool = True


class Bar(_Plot):
    """Bars: `x` is the category or time, `y` the number.

    Attributes:
        horizontal: bars lie, with the category to the left; None: lie for categories, stand for times.
        values: write each bar's number at its end.
        step: over time, the length of one bar, as in `1m`; None: the smallest gap between two.
    """

    type: Literal["bar"] = "bar"
    horizontal: bool | None = None
    values: bool = True
    step: DurationText | None = None


class Table(ViewPanel):
    """Rows; new and changed ones are marked for a moment.

    Attributes:
        columns: column names or `Cell`s; empty: all columns.
    """

    default_size: ClassVar[tuple[int, int]] = (4, 3)
    type: Literal["table"] = "table"
    columns: Sequence[ColumnName | Cell] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """The columns, each as a `Cell`."""
        return tuple(Cell(column=one) if isinstance(one, str) else one for one in self.columns)

    def _columns(self) -> Iterator[tuple[str, str, bool]]:
        for number, cell in enumerate(self.cells):
            yield f"columns.{number}", cell.column, cell.bar
            if cell.format and (column := parse_format(cell.format).currency_column):
                yield f"columns.{number}.format", column, False


class Heat(ViewPanel):
    """One strip of coloured cells for each `y`, along `x`.

    Attributes:
        x: the column along the strip, mostly a time bucket.
        y: the column that names the strips.
        value: the number that is coloured.
        domain: the values of the palest and the strongest colour; None: what the data spans.
        values: write the newest value at the end of each strip (in every cell where `x` is no time).
        step: over time, the length of one cell, as in `1m`; None: the smallest gap between two.
    """

    default_size: ClassVar[tuple[int, int]] = (4, 3)
    type: Literal["heat"] = "heat"
    x: ColumnName
    y: ColumnName
    value: ColumnName
    domain: tuple[float, float] | None = None
    values: bool = True
    step: DurationText | None = None

    def _columns(self) -> Iterator[tuple[str, str, bool]]:
        yield "x", self.x, False
        yield "y", self.y, False
        yield "value", self.value, True


class Funnel(ViewPanel):
    """Steps, each with its share of the first and of the one before.

    Either `steps` (columns of the view's first row) or `stage` and `value` (one row per step, in `order`).
    """

    default_size: ClassVar[tuple[int, int]] = (4, 3)
    type: Literal["funnel"] = "funnel"
    steps: Sequence[FunnelStep | ColumnName] = ()
    stage: ColumnName | None = None
    value: ColumnName | None = None

    @property
    def parts(self) -> tuple[FunnelStep, ...]:
        """The steps, each as a `FunnelStep`."""
        return tuple(FunnelStep(column=one) if isinstance(one, str) else one for one in self.steps)

    @model_validator(mode="after")
    def _one_shape(self) -> Funnel:
        rows = self.stage is not None and self.value is not None
        if bool(self.steps) == rows or (self.stage is None) != (self.value is None):
            raise ValueError(
                "a funnel has either steps (columns of one row) or stage and value (a row per step)"
            )
        return self

    def _columns(self) -> Iterator[tuple[str, str, bool]]:
        for number, step in enumerate(self.parts):
            yield f"steps.{number}", step.column, True
        if self.stage and self.value:
            yield "stage", self.stage, False
            yield "value", self.value, True


class Waterfall(ViewPanel):
    """How one total becomes another: bars that hang where the one before ended.

    Either `steps` (columns of the view's first row), or `x` and `y` (one row per step, in `order`).

    Attributes:
        steps: column names or `WaterfallStep`s.
        x: the column that names the steps.
        y: the number: of a step, what it adds or takes; of a total, what stands there.
        total: a column that is true where the row is a total and stands on the ground.
        values: write each number at its bar.
    """

    default_size: ClassVar[tuple[int, int]] = (6, 4)
    type: Literal["waterfall"] = "waterfall"
    steps: Sequence[WaterfallStep | ColumnName] = ()
    x: ColumnName | None = None
    y: ColumnName | None = None
    total: ColumnName | None = None
    values: bool = True

    @property
    def parts(self) -> tuple[WaterfallStep, ...]:
        """The steps, each as a `WaterfallStep`."""
        return tuple(WaterfallStep(column=one) if isinstance(one, str) else one for one in self.steps)

    @model_validator(mode="after")
    def _one_shape(self) -> Waterfall:
        rows = self.x is not None and self.y is not None
        if bool(self.steps) == rows or (self.x is None) != (self.y is None):
            raise ValueError("a waterfall has either steps (columns of one row) or x and y (a row per step)")
        return self

    def _columns(self) -> Iterator[tuple[str, str, bool]]:
        for number, step in enumerate(self.parts):
            yield f"steps.{number}", step.column, True
        if self.x and self.y:
            yield "x", self.x, False
            yield "y", self.y, True
        if self.total:
            yield "total", self.total, False


class Form(ViewPanel):
    """One row, to look at and to change: the first row of the view, written to a table by a button.

    Columns of the view's row that the table has, and that no field and no `set` names, are written as they
    stand.

    Attributes:
        table: what is written.
        fields: what may be changed.
        actions: the buttons.
        by: column of the table that says who wrote a row, told to a reader whose button is refused.
        at: column of the table that says when; with it, what is newer is not written over.
    """

    default_size: ClassVar[tuple[int, int]] = (4, 6)
    type: Literal["form"] = "form"
    table: Annotated[str, Field(min_length=1)]
    fields: Annotated[Sequence[FormField], Field(min_length=1)]
    actions: Annotated[Sequence[FormAction], Field(min_length=1)]
    by: ColumnName | None = None
    at: ColumnName | None = None

    @property
    def views(self) -> tuple[str, ...]:
        """The views that rows are read from; the table is only written."""
        others = [action.view for action in self.actions if action.view is not None]
        return tuple(dict.fromkeys([self.view, *others]))

    def _columns(self) -> Iterator[tuple[str, str, bool]]:
        for number, field in enumerate(self.fields):
            yield f"fields.{number}", field.column, False

    def uses(self) -> Iterator[Use]:
        """Name every column that the panel reads or writes."""
        yield from super().uses()
        for number, field in enumerate(self.fields):
            yield Use(f"fields.{number}", self.table, field.column)
        for number, action in enumerate(self.actions):
            for column in action.set:
                yield Use(f"actions.{number}.set", self.table, column)
        for name, told in (("by", self.by), ("at", self.at)):
            if told is not None:
                yield Use(name, self.table, told)


class Text(Panel):
    """Words: paragraphs, `- lists`, `## headings`, **bold**, *italic*, `code`, [links](/views/a); no HTML."""

    default_size: ClassVar[tuple[int, int]] = (4, 1)
    type: Literal["text"] = "text"
    text: str


AnyPanel = Tile | Line | Area | Bar | Table | Heat | Funnel | Waterfall | Form | Text
PANELS: dict[str, type[Panel]] = {
    "tile": Tile,
    "line": Line,
    "area": Area,
    "bar": Bar,
    "table": Table,
    "heat": Heat,
    "funnel": Funnel,
    "waterfall": Waterfall,
    "form": Form,
    "text": Text,
}
"""Every panel by its `type`."""


def build_panel(fields: Any) -> Panel:
    """Build the panel that a mapping describes (`type` says which).

    Raises:
        DeclarationError: naming the field and what was expected.
    """
    if isinstance(fields, Panel):
        return fields
    if not isinstance(fields, dict):
        raise DeclarationError(
            "a panel is a mapping with a type", expected=f"type: one of {', '.join(PANELS)}"
        )
    kind = fields.get("type")
    if kind not in PANELS:
        close = get_close_matches(str(kind), PANELS, n=1, cutoff=0.5)
        raise DeclarationError(
            f"there is no panel of type {kind!r}" if kind else "the panel has no type",
            where="field 'type'",
            expected=f"one of: {', '.join(PANELS)}",
            hint=f"did you mean {close[0]!r}?" if close else None,
        )
    return PANELS[kind](**{str(name): value for name, value in fields.items()})


def declaration_error(error: ValidationError, model: type[BaseModel], label: str) -> DeclarationError:
    """Turn pydantic's findings into one `DeclarationError` that names the field."""
    found = error.errors(include_url=False, include_context=False)
    first = max(found, key=lambda one: (one["type"] == "extra_forbidden", len(one["loc"])))
    path = [str(step) for step in first["loc"] if not _is_branch(step)]
    where = f"{label}, field {'.'.join(path)!r}" if path else label
    inner = _PARTS.get(path[0], model) if len(path) > 1 else model
    if first["type"] == "extra_forbidden":
        return _unknown_field(path[-1], inner, where)
    if first["type"] == "missing":
        return DeclarationError(f"{path[-1]!r} is missing", where=where, expected=_meaning(inner, path[-1]))
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if first["type"] == "value_error":
        return DeclarationError(message, where=where)
    return DeclarationError(
        f"{first['input']!r:.80} {message}", where=where, expected=_meaning(inner, path[-1])
    )


def _unknown_field(field: str, model: type[BaseModel], where: str) -> DeclarationError:
    known = [name for name in model.model_fields if name != "type"]
    close = get_close_matches(field, known, n=1, cutoff=0.6)
    return DeclarationError(
        f"there is no field {field!r}",
        where=where,
        expected=f"one of: {', '.join(known)}",
        hint=f"did you mean {close[0]!r}?" if close else None,
    )


def _is_branch(step: Any) -> bool:
    """Tell whether a step of pydantic's path is the name of a union's branch, not of a field."""
    return (isinstance(step, str) and not re.fullmatch(r"[a-z][a-z_]*", step)) or step in (
        "str",
        "float",
        "int",
    )


def _meaning(model: type[BaseModel], field: str) -> str | None:
    """Return the line of the docstring of a model, or of what it descends from, that explains a field."""
    for base in model.__mro__:
        for line in (base.__doc__ or "").splitlines():
            if line.strip().startswith(f"{field}: "):
                return line.strip()
    return None


def _label(model: type[BaseModel], fields: dict[str, Any]) -> str:
    kind = model.__name__.lower()
    name = fields.get("title") or fields.get("view")
    return f"{kind} {str(name)!r}" if name else kind
