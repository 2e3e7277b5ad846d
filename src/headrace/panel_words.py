"""The small texts inside a panel: formats, filters, orders, windows and thresholds, parsed into plain data.

They are text because a dashboard is written by hand, in Python or YAML, and should read like SQL or speech:

    format="money GBP"          where="level = 'ERROR' AND requests > 100"
    order="revenue DESC, sku"   window="30m"           thresholds={"warn": 70, "bad": "> 90"}

Every parser raises `ValueError` with a sentence; the models turn it into a `DeclarationError` with the place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

KINDS = ("number", "integer", "money", "percent", "bytes", "duration", "time", "date", "datetime", "text")
"""What a value can be shown as."""
LEVELS = ("good", "warn", "bad")
"""What a threshold can say about a value; each has a colour and a sign of its own."""
DURATION_UNITS = ("us", "ms", "s", "min", "h")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "!=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
}
_FLIPPED = {"=": "=", "!=": "!=", ">": "<", ">=": "<=", "<": ">", "<=": ">="}


@dataclass(frozen=True, slots=True)
class Format:
    """How a value is shown.

    Attributes:
        kind: one of `KINDS`.
        digits: digits after the point, or None for what suits the kind.
        currency: ISO 4217 code of money, or None.
        currency_column: column of the same row that holds the code, or None.
        minor: money arrives in minor units (cents), as payment systems send it.
        compact: 1.2 M instead of 1,234,567.
        unit: text behind the number; for durations the unit that the value arrives in.
    """

    kind: str
    digits: int | None = None
    currency: str | None = None
    currency_column: str | None = None
    minor: bool = False
    compact: bool = False
    unit: str | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a filter: `operator` is =, !=, <, <=, >, >=, (not) in, is (not) null, like."""

    column: str
    operator: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Ordering:
    """One column of an order."""

    column: str
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Threshold:
    """The level that a value has when it compares so: operator is <, <=, > or >=."""

    level: str
    operator: str
    value: float


def parse_format(text: str) -> Format:
    """Read a format: a kind and its words, in any order.

    `number 2`, `integer`, `integer compact`, `money GBP`, `money GBP 0 compact`, `money @currency` (the code
    is in that column), `money USD minor` (cents), `percent 1` (0.031 is 3.1 %), `number 1 unit:%`, `bytes`,
    `duration ms` (what the value arrives in: us, ms, s, min, h), `time`, `date`, `datetime`, `text`.
    """
    kind, *words = text.split() or [""]
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no format{_close(kind, KINDS)}; the formats are {', '.join(KINDS)}")
    facts: dict[str, Any] = {}
    for word in words:
        facts |= _format_word(kind, word)
    if kind == "money" and not facts.keys() & {"currency", "currency_column"}:
        raise ValueError(
            "money needs its currency, as in 'money GBP', or its column, as in 'money @currency'"
        )
    return Format(kind, **facts)


def _format_word(kind: str, word: str) -> dict[str, Any]:
    if word.isdigit() and int(word) <= 12:
        return {"digits": int(word)}
    if word in ("compact", "minor"):
        return {word: True}
    if kind == "money" and re.fullmatch(r"[A-Z]{3}", word):
        return {"currency": word}
    if kind == "money" and word.startswith("@") and len(word) > 1:
        return {"currency_column": word[1:]}
    if kind == "duration" and word in DURATION_UNITS:
        return {"unit": word}
    if word.startswith("unit:"):
        return {"unit": word.removeprefix("unit:")}
    raise ValueError(
        f"the word {word!r} means nothing in a {kind} format{_close(word, ('compact', 'minor'))}; "
        "words are digits (0 to 12), compact, minor, unit:TEXT, a currency for money, a unit for duration"
    )


def parse_where(text: str) -> tuple[Condition, ...]:
    """Read a filter: comparisons of a column with literals, IN, LIKE, BETWEEN, IS NULL, joined by AND."""
    try:
        tree = sqlglot.parse_one(text, read="duckdb", into=exp.Condition)
    except SqlglotError as error:
        raise ValueError(f"{text!r} is not a filter: {str(error).splitlines()[0]}") from None
    found: list[Condition] = []
    for part in tree.flatten() if isinstance(tree, exp.And) else [tree]:
        found.extend(_conditions(part, text))
    return tuple(found)


def _conditions(node: exp.Expr, text: str) -> list[Condition]:
    node = node.unnest()
    if isinstance(node, exp.And):
        return [found for part in node.flatten() for found in _conditions(part.unnest(), text)]
    if type(node) in _OPERATORS:
        return [_comparison(node, _OPERATORS[type(node)], text)]
    if isinstance(node, exp.Between):
        column = _column(node.this, text)
        low, high = _literal(node.args["low"], text), _literal(node.args["high"], text)
        return [Condition(column, ">=", low), Condition(column, "<=", high)]
    if isinstance(node, exp.Not):
        return [_negated(node.this.unnest(), text)]
    return [_single(node, text)]


def _comparison(node: exp.Expr, operator: str, text: str) -> Condition:
    left, right = node.this.unnest(), node.expression.unnest()
    if isinstance(right, exp.Column) and not isinstance(left, exp.Column):
        return Condition(_column(right, text), _FLIPPED[operator], _literal(left, text))
    return Condition(_column(left, text), operator, _literal(right, text))


def _negated(node: exp.Expr, text: str) -> Condition:
    inner = _single(node, text)
    flipped = {"in": "not in", "is null": "is not null"}.get(inner.operator)
    if flipped is None:
        raise _beyond(text)
    return Condition(inner.column, flipped, inner.value)


def _single(node: exp.Expr, text: str) -> Condition:
    if isinstance(node, exp.In) and node.expressions:
        return Condition(
            _column(node.this, text), "in", tuple(_literal(item, text) for item in node.expressions)
        )
    if isinstance(node, exp.Is) and isinstance(node.expression, exp.Null):
        return Condition(_column(node.this, text), "is null")
    if isinstance(node, exp.Like):
        return Condition(_column(node.this, text), "like", _literal(node.expression, text))
    raise _beyond(text)


def _column(node: exp.Expr, text: str) -> str:
    if isinstance(node, exp.Column) and not node.table:
        return str(node.name)
    raise _beyond(text)


def _literal(node: exp.Expr, text: str) -> Any:
    if isinstance(node, exp.Neg):
        value = _literal(node.this, text)
        if isinstance(value, int | float):
            return -value
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Literal):
        if node.is_string:
            return str(node.this)
        return float(node.this) if re.search(r"[.eE]", node.this) else int(node.this)
    raise _beyond(text)


def _beyond(text: str) -> ValueError:
    return ValueError(
        f"{text!r} is more than a panel can filter by: comparisons of a column with a value, joined by AND "
        "(=, !=, <, <=, >, >=, IN, LIKE, BETWEEN, IS NULL); put the rest into the view"
    )


def parse_order(text: str) -> tuple[Ordering, ...]:
    """Read an order: columns, each with an optional ASC or DESC, joined by commas."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r'\s*(?:"([^"]+)"|(\w+))(?:\s+(asc|desc))?\s*', part, re.IGNORECASE)
        if match is None:
            raise ValueError(f"{part.strip()!r} is not an order; write it as in 'revenue DESC, sku'")
        found.append(Ordering(match[1] or match[2], (match[3] or "").lower() == "desc"))
    return tuple(found)


def parse_duration_ms(text: str) -> int:
    """Read a length of time such as `30m`, `1h 30m`, `10s`, `7d`; milliseconds."""
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d|w)\b", text.strip())
    rest = re.sub(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d|w)\b", "", text).strip()
    if not parts or rest:
        raise ValueError(f"{text!r} is not a length of time; write it as in '30m', '10s', '1h 30m' or '7d'")
    length_ms = round(sum(float(number) * _SECONDS[unit] for number, unit in parts) * 1000)
    if length_ms <= 0:
        raise ValueError(f"{text!r} must be longer than nothing")
    return length_ms


def parse_thresholds(levels: Mapping[str, float | str]) -> tuple[Threshold, ...]:
    """Read `{"warn": 70, "bad": "> 90"}`; a bare number means *at least*; the last that holds wins."""
    found = []
    for level, rule in levels.items():
        if level not in LEVELS:
            raise ValueError(
                f"{level!r} is no level{_close(level, LEVELS)}; the levels are {', '.join(LEVELS)}"
            )
        match = re.fullmatch(r"\s*(<=|>=|<|>)?\s*(-?\d+(?:\.\d+)?)\s*", str(rule))
        if match is None or isinstance(rule, bool):
            raise ValueError(f"{rule!r} is no threshold; write a number, or a comparison as in '< 0.02'")
        found.append(Threshold(level, match[1] or ">=", float(match[2])))
    return tuple(found)


def _close(word: str, known: tuple[str, ...]) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""
