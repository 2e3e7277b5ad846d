"""The pages' own scripts, function by function, in the browser that runs them: formats, filters, orders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.browser import OpenPage, Watched
from tests.console.stub import Stub

pytestmark = pytest.mark.browser


@pytest.fixture
def page(open_page: OpenPage) -> Iterator[Watched]:
    with Stub({}) as stub:
        yield open_page(stub.url)


def call(page: Watched, module: str, expression: str) -> Any:
    """Evaluate an expression in which `m` is one of the pages' modules."""
    return page.js(f"import('/console/static/{module}').then(m => ({expression}))")


SHOWN = [
    ("null", None, "number", "–"),
    ('"12345678901234567890.10"', None, "number", "12,345,678,901,234,567,890.10"),
    (
        '"12345678901234567890.125"',
        {"kind": "money", "currency": "GBP"},
        "number",
        "£12,345,678,901,234,567,890.13",
    ),
    ('"-0.5"', {"kind": "money", "currency": "GBP", "digits": 0}, "number", "-£1"),
    ("1999", {"kind": "money", "currency": "GBP", "minor": True}, "number", "£19.99"),
    ('"-5"', {"kind": "money", "currency": "GBP", "minor": True}, "number", "-£0.05"),
    ("1500", {"kind": "money", "currency": "JPY", "minor": True}, "number", "JP¥1,500"),
    ("1234567", {"kind": "money", "currency": "USD", "compact": True}, "number", "US$1.2m"),
    ("-19950", {"kind": "money", "currency": "EUR", "minor": True, "compact": True}, "number", "-€199.50"),
    ("5", {"kind": "money", "currency_column": "currency"}, "number", "€5.00"),
    ("0.0313", {"kind": "percent", "digits": 1}, "number", "3.1%"),
    ("1234.5678", None, "number", "1,234.57"),
    ("42", {"kind": "number", "digits": 1, "unit": "%"}, "number", "42.0%"),
    ("42", {"kind": "integer", "unit": "orders"}, "number", "42 orders"),
    ("1536000", {"kind": "bytes"}, "number", "1.5 MB"),
    ("90500", {"kind": "duration", "unit": "ms"}, "number", "2 min"),
    ("1.5", {"kind": "duration", "unit": "s"}, "number", "1.5 s"),
    ('"2025-11-11T09:05:03.123456"', {"kind": "time"}, "time", "09:05:03"),
    ('"2025-11-11 09:05:03"', None, "time", "2025-11-11 09:05:03"),
    ('"2025-11-11"', None, "date", "2025-11-11"),
    ('"2025-11-11T23:30:00+02:00"', {"kind": "datetime"}, "time", "2025-11-11 21:30:00"),
    ('"NaN"', None, "number", "NaN"),
    ("true", None, "bool", "true"),
    ('{"a": [1, null]}', None, "json", '{"a":[1,null]}'),
    ('"<b>"', None, "text", "<b>"),
]


def test_values_are_shown_exactly(page: Watched) -> None:
    row = "name => ({currency: 'EUR'})[name]"
    for value, shown, kind, expected in SHOWN:
        expression = f"m.show({value}, {json.dumps(shown)} ?? undefined, {kind!r}, {row})"
        assert (value, call(page, "format.js", expression)) == (value, expected)


COLUMNS = json.dumps(
    [
        {"name": "name", "kind": "text"},
        {"name": "n", "kind": "number"},
        {"name": "at", "kind": "time"},
    ]
)
ROWS = [
    ["a", "10.10", "2025-01-01T00:00:00"],
    ["b", "9.5", "2025-01-01T00:10:00"],
    ["c", None, "2025-01-01T00:20:00"],
    ["a", "100000000000000000000.2", "2025-01-01T00:30:00"],
    ["a", "100000000000000000000.1", "2025-01-01T00:30:00"],
]


def selected(page: Watched, asked: dict[str, Any], rows: list[list[Any]] | None = None) -> list[Any]:
    added = json.dumps(ROWS if rows is None else rows)
    expression = (
        f"(() => {{ const held = new m.Rows({COLUMNS}); for (const row of {added}) held.add(row, 1);"
        f" return held.select({json.dumps(asked)}); }})()"
    )
    found: list[Any] = call(page, "rows.js", expression)
    return found


def test_rows_are_filtered_ordered_and_limited(page: Watched) -> None:
    def numbers(**asked: Any) -> list[Any]:
        return [row[1] for row in selected(page, asked)]

    ascending = ["9.5", "10.10", "100000000000000000000.1", "100000000000000000000.2", None]
    assert numbers(order=[{"column": "N", "descending": False}]) == ascending
    assert numbers(order=[{"column": "n", "descending": True}]) == [*ascending[-2::-1], None]
    assert numbers(order=[{"column": "n", "descending": True}], limit=1) == ["100000000000000000000.2"]
    assert numbers(where=[{"column": "n", "operator": ">=", "value": 10}], limit=1) == ["10.10"]
    assert numbers(where=[{"column": "n", "operator": "is null", "value": None}]) == [None]
    assert numbers(where=[{"column": "name", "operator": "in", "value": ["b", "c"]}]) == ["9.5", None]
    assert numbers(where=[{"column": "name", "operator": "not in", "value": ["a", "c"]}]) == ["9.5"]
    assert numbers(
        where=[
            {"column": "name", "operator": "like", "value": "_"},
            {"column": "name", "operator": "!=", "value": "a"},
        ]
    ) == ["9.5", None]
    assert numbers(window_ms=600_001, x="at", where=[{"column": "name", "operator": "!=", "value": "a"}]) == [
        "9.5",
        None,
    ]


def test_the_first_rows_of_many_are_those_of_the_whole_order(page: Watched) -> None:
    rows = [[f"r{(n * 37) % 101}", str((n * 53) % 101), None] for n in range(101)]
    top = selected(page, {"order": [{"column": "n", "descending": True}], "limit": 5}, rows)
    assert [row[1] for row in top] == ["100", "99", "98", "97", "96"]


def test_weights_add_up_and_the_bound_holds(page: Watched) -> None:
    expression = f"""(() => {{
        const held = new m.Rows({COLUMNS}, 2);
        const [a, b, c] = [["a", "1", null], ["b", "2", null], ["c", "3", null]];
        held.add(a, 2); held.add(a, -1); held.add(b, 1); held.add(b, -1); held.add(b, 3);
        held.add(c, 1);
        return [held.select({{}}).map(row => row[0]).join(""), held.overflow];
    }})()"""
    assert call(page, "rows.js", expression) == ["abbb", True]


WORDS = """# A <b>

- *x*
- `y`

[ok](/views/a) [no](//evil.example) [js](javascript:alert(1)) <img src=x>"""


def test_words_are_never_markup(page: Watched) -> None:
    box = "document.createElement('div')"
    expression = f"(box => {{ box.append(m.words({json.dumps(WORDS)})); return box.innerHTML; }})({box})"
    assert call(page, "words.js", expression) == (
        "<h3>A &lt;b&gt;</h3><ul><li><em>x</em></li><li><code>y</code></li></ul>"
        '<p><a href="/views/a">ok</a> [no](//evil.example) [js](javascript:alert(1)) &lt;img src=x&gt;</p>'
    )
