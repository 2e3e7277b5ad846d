"""TUMBLE, HOP, CUMULATE and SESSION: table functions over a stream, written out as plain DuckDB SQL.

Windows are half open and aligned to the Unix epoch. A row whose time is NULL or infinite is in no window.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import duckdb

from headrace.contracts.schema import Schema
from headrace.sql.duck import Duck, column, quote
from headrace.sql.errors import Text
from headrace.sql.render import Renderer
from headrace.sql.tree import Tree, string_value

HOP_KEY = "headrace_hop"
"""In a FROM item: the relation, time column and sizes of the window function that its SQL spells out."""

NAMES = ("tumble", "hop", "cumulate", "session")

_USAGE = {
    "tumble": "TUMBLE(stream, time, size)",
    "hop": "HOP(stream, time, slide, size)",
    "cumulate": "CUMULATE(stream, time, step, size)",
    "session": "SESSION(stream, time, gap, key, …)",
}
_PARAMETERS = {
    "tumble": ("stream", "time", "size"),
    "hop": ("stream", "time", "slide", "size"),
    "cumulate": ("stream", "time", "step", "size"),
    "session": ("stream", "time", "gap"),
}
_UNITS_US = {
    "us": 1, "ms": 1_000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000,
    "d": 86_400_000_000, "w": 604_800_000_000,
}  # fmt: skip

SchemaOf = Callable[[str], Schema | None]


def is_window(tree: Tree) -> bool:
    """Whether a FROM item is a call of TUMBLE, HOP, CUMULATE or SESSION."""
    return tree.get("type") == "TABLE_FUNCTION" and str(tree["function"]["function_name"]).lower() in NAMES


class WindowCallText:
    """The arguments of one TUMBLE, HOP, CUMULATE or SESSION, checked.

    Args:
        duck: the scratch database.
        text: the view's SQL, for errors.
        tree: the FROM item.
        schema_of: answers the columns of a relation or common table expression, None where there is none.
    """

    def __init__(self, duck: Duck, text: Text, tree: Tree, schema_of: SchemaOf) -> None:
        self.duck = duck
        self.text = text
        self.call = tree["function"]
        self.place = tree
        self.name = str(self.call["function_name"]).lower()
        given, keys = self._given()
        self.relation = self._identifier(given["stream"], "the name of a stream, table or view")
        schema = schema_of(self.relation)
        if schema is None:
            raise text.at(given["stream"], f"there is no stream, table or view named {self.relation!r}")
        self.schema = schema
        self.time, self.bound_type = self._time(given["time"])
        sizes = [name for name in ("size", "slide", "step", "gap") if name in given]
        widths = {name: self._width(given[name], name) for name in sizes}
        self.size_us = widths.get("size", 0)
        self.slide_us = widths.get("slide", widths.get("step", self.size_us))
        self.gap_us = widths.get("gap", 0)
        self.keys = [self._column(key) for key in keys]
        if self.name == "cumulate" and self.size_us % self.slide_us:
            problem = "the size of CUMULATE must be a whole number of its steps"
            raise text.at(given["size"], problem, expected="such as steps of 10 minutes, a size of 1 hour")
        for label in ("window_start", "window_end"):
            if label in schema:
                raise text.at(self.place, f"{self.relation!r} already has a column {label!r}")

    def _given(self) -> tuple[dict[str, Tree], list[Tree]]:
        names = _PARAMETERS[self.name]
        given: dict[str, Tree] = {}
        positional: list[Tree] = []
        for item in self.call["arguments"]:
            if not item.get("name"):
                positional.append(item["expression"])
                continue
            label = str(item["name"]).lower()
            if label not in names or label in given:
                raise self._usage(item["expression"], f"{self.name.upper()} has no argument {label!r}")
            given[label] = item["expression"]
        free = [name for name in names if name not in given]
        given |= dict(zip(free, positional, strict=False))
        extra = positional[len(free) :]
        if any(name not in given for name in names) or (extra and self.name != "session"):
            raise self._usage(self.place, f"{self.name.upper()} takes {len(names)} arguments")
        return given, extra

    def _usage(self, tree: Tree, problem: str) -> Exception:
        return self.text.at(
            tree, problem, expected=_USAGE[self.name] + ", such as INTERVAL '1 minute' or '1m' for times"
        )

    def _identifier(self, tree: Tree, what: str) -> str:
        if tree.get("class") == "COLUMN_REF":
            return str(tree["column_names"][-1])
        text = string_value(tree)
        if text is not None:
            return text
        raise self._usage(tree, f"{self.name.upper()} needs {what} here")

    def _column(self, tree: Tree) -> str:
        name = self._identifier(tree, f"a column of {self.relation!r}")
        if name not in self.schema:
            listed = ", ".join(self.schema.names)
            raise self.text.at(
                tree, f"{self.relation!r} has no column {name!r}", expected=f"one of: {listed}"
            )
        return self.schema[name].name

    def _time(self, tree: Tree) -> tuple[str, str]:
        name = self._column(tree)
        sql_type = self.schema[name].sql_type
        if sql_type == "TIMESTAMP WITH TIME ZONE":
            return name, sql_type
        if sql_type == "DATE" or sql_type.startswith("TIMESTAMP"):
            return name, "TIMESTAMP"
        raise self.text.at(
            tree, f"{name!r} is {sql_type}", expected="a TIMESTAMP, TIMESTAMPTZ or DATE column"
        )

    def _width(self, tree: Tree, name: str) -> int:
        """Return a width in microseconds."""
        short = re.fullmatch(r"\s*(\d+)\s*(us|ms|s|m|h|d|w)\s*", string_value(tree) or "")
        width = int(short[1]) * _UNITS_US[short[2]] if short else self._interval(tree, name)
        if width <= 0:
            raise self.text.at(tree, f"the {name} of {self.name.upper()} must be above zero")
        return width

    def _interval(self, tree: Tree, name: str) -> int:
        try:
            sql = f"CAST({Renderer(self.duck)(tree)} AS INTERVAL)"
            months, days, micros = self.duck.con.execute(
                f"SELECT date_part('year', i) * 12 + date_part('month', i), date_part('day', i), "
                f"date_part('hour', i) * 3600000000 + date_part('minute', i) * 60000000 "
                f"+ date_part('microsecond', i) "
                f"FROM (SELECT {sql} AS i)"
            ).fetchall()[0]
        except duckdb.Error as error:
            raise self._usage(
                tree, f"the {name} of {self.name.upper()} must be a constant interval"
            ) from error
        if months is None:
            raise self.text.at(tree, f"the {name} of {self.name.upper()} is NULL")
        if months:
            raise self.text.at(
                tree,
                f"the {name} of {self.name.upper()} has months, which differ in length",
                expected="weeks, days, hours, minutes or seconds",
                hint="GROUP BY date_trunc('month', …) for calendar months",
            )
        return int(days) * _UNITS_US["d"] + int(micros)

    @property
    def output(self) -> Schema:
        """The columns that the call answers."""
        bounds = (column(label, self.bound_type) for label in ("window_start", "window_end"))
        return Schema.of([*self.schema, *bounds])

    # as SQL

    def sql(self) -> str:
        """Return the windowed rows as a DuckDB query over the relation."""
        if self.name == "session":
            return self._session_sql()
        time = f"epoch_us({quote(self.time)})"
        source = f"FROM {quote(self.relation)} WHERE isfinite({quote(self.time)})"
        if self.slide_us == self.size_us:
            start = f"({time} - {_modulo(time, self.size_us)})"
            rows = f"SELECT *, {start} AS __start {source}"
        elif self.name == "cumulate":
            return self._cumulate_sql(time, source)
        else:
            low = f"({time} - {self.size_us})"
            first = f"({low} - {_modulo(low, self.slide_us)} + {self.slide_us})"
            rows = f"SELECT *, unnest(range({first}, {time} + 1, {self.slide_us})) AS __start {source}"
        start, end = self._bound("__start"), self._bound(f"__start + {self.size_us}")
        return f"SELECT * EXCLUDE (__start), {start} AS window_start, {end} AS window_end FROM ({rows})"

    def _cumulate_sql(self, time: str, source: str) -> str:
        begin = f"({time} - {_modulo(time, self.size_us)})"
        pane = f"({time} - {_modulo(time, self.slide_us)})"
        ends = f"range({pane} + {self.slide_us}, {begin} + {self.size_us} + 1, {self.slide_us})"
        rows = f"SELECT *, {begin} AS __start, unnest({ends}) AS __end {source}"
        bounds = f"{self._bound('__start')} AS window_start, {self._bound('__end')} AS window_end"
        return f"SELECT * EXCLUDE (__start, __end), {bounds} FROM ({rows})"

    def _bound(self, micros: str) -> str:
        zone = " AT TIME ZONE 'UTC'" if self.bound_type == "TIMESTAMP WITH TIME ZONE" else ""
        return f"make_timestamp({micros}){zone}"

    def _session_sql(self) -> str:
        time, keys = quote(self.time), ", ".join(quote(key) for key in self.keys)
        by = f"PARTITION BY {keys} " if keys else ""
        ids = f"PARTITION BY {keys + ', ' if keys else ''}__session"
        order = f"{by}ORDER BY epoch_us({time})"
        before = f"lag(epoch_us({time})) OVER ({order})"
        new = f"CASE WHEN epoch_us({time}) - {before} > {self.gap_us} THEN 1 ELSE 0 END"
        rows = f"SELECT *, {new} AS __new FROM {quote(self.relation)} WHERE isfinite({time})"
        numbered = f"SELECT *, sum(__new) OVER ({order} RANGE UNBOUNDED PRECEDING) AS __session FROM ({rows})"
        start = self._bound(f"min(epoch_us({time})) OVER ({ids})")
        end = self._bound(f"max(epoch_us({time})) OVER ({ids}) + {self.gap_us}")
        bounds = f"{start} AS window_start, {end} AS window_end"
        return f"SELECT * EXCLUDE (__new, __session), {bounds} FROM ({numbered})"

    def subquery(self, alias: str) -> Tree:
        """Return the FROM item that replaces the call; `HOP_KEY` says what it is where a rule exists."""
        select = f"SELECT * FROM ({self.sql()}) AS {quote(alias or self.relation)}"
        item: Tree = self.duck.parse(select)["statements"][0]["node"]["from_table"]
        spec: Tree = {"relation": self.relation, "time": self.time, "type": self.bound_type}
        if self.name == "session":
            return item | {HOP_KEY: spec | {"gap_us": self.gap_us, "keys": self.keys}}
        sizes = {"slide_us": self.slide_us, "size_us": self.size_us}
        return item | {HOP_KEY: spec | sizes | {"is_cumulative": self.name == "cumulate"}}


def _modulo(micros: str, width: int) -> str:
    """Return the distance to the multiple of `width` at or before, also for times before 1970."""
    return f"((({micros} % {width}) + {width}) % {width})"
