"""What a verb says: data on stdout, messages on stderr, colours on terminals only, never with NO_COLOR."""

from __future__ import annotations

import csv
import os
import shutil
import sys
import traceback
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

import orjson
from rich.console import Console
from rich.text import Text

from headrace.errors import HeadraceError

INTEGER_MAX_IN_JSON = 2**53
CELL_WIDTH_MAX = 60
COLUMN_GAP = "  "


def messages() -> Console:
    """Return the console for people: stderr."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def note(text: str, style: str = "") -> None:
    """Write one message to stderr."""
    messages().print(Text(text, style=style))


def complain(error: HeadraceError) -> None:
    """Write an error to stderr: one fact a line, and the traceback only when it is wanted."""
    if os.environ.get("HEADRACE_DEBUG", "") not in ("", "0"):
        traceback.print_exc()
    first, *rest = error.render().splitlines()
    console = messages()
    console.print(Text.assemble(("error ", "bold red"), (f"[{error.code}] ", "dim"), first))
    for line in rest:
        console.print(Text(line))


def say(text: str = "") -> None:
    """Write one line of data to stdout."""
    sys.stdout.write(text + "\n")


def jsonable(value: Any) -> Any:
    """Return a value as JSON carries it: decimals and integers beyond 2^53 as strings, bytes in hex."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= INTEGER_MAX_IN_JSON else str(value)
    if isinstance(value, dict):
        return {str(key): jsonable(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(entry) for entry in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return format(value, "f")
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value if isinstance(value, float) else str(value)


def say_json(value: Any) -> None:
    """Write a value to stdout as indented JSON."""
    say(orjson.dumps(jsonable(value), option=orjson.OPT_INDENT_2).decode())


def say_csv(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows to stdout as CSV with a header; NULL is an empty field."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        writer.writerow(["" if value is None else as_text(value) for value in row])


def as_text(value: Any) -> str:
    """Return a value as a person reads it."""
    if value is None:
        return "NULL"
    if isinstance(value, dict | list | tuple):
        return orjson.dumps(jsonable(value)).decode()
    if isinstance(value, Decimal | bytes):
        return str(jsonable(value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def printable(text: str) -> str:
    """Return text without control characters, so that data cannot steer the terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def width_of(text: str) -> int:
    """Return how many terminal columns a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def fitted(text: str, width: int) -> str:
    """Return the text, cut with an ellipsis where it is wider than `width`."""
    if width_of(text) <= width:
        return text
    while text and width_of(text) > width - 1:
        text = text[:-1]
    return text + "…"


def say_table(
    names: Sequence[str], rows: Sequence[Sequence[Any]], right: Sequence[bool] | None = None
) -> None:
    """Write rows to stdout as an aligned table.

    Args:
        names: the column names.
        rows: the rows, one value per column.
        right: per column, whether to align it to the right (numbers); None: none.
    """
    cut = CELL_WIDTH_MAX if sys.stdout.isatty() else sys.maxsize
    flags = right or [False] * len(names)
    cells = [[fitted(printable(as_text(value)), cut) for value in row] for row in rows]
    heads = [fitted(printable(name), cut) for name in names]
    widths = [max(map(width_of, column)) for column in zip(heads, *cells, strict=True)] if heads else []

    def line(values: Sequence[str]) -> str:
        padded = []
        for text, width, to_right in zip(values, widths, flags, strict=True):
            space = " " * (width - width_of(text))
            padded.append(space + text if to_right else text + space)
        return COLUMN_GAP.join(padded).rstrip()

    bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    head = fitted(line(heads), limit)
    say(f"\x1b[1m{head}\x1b[0m" if bold else head)
    say(fitted(COLUMN_GAP.join("─" * width for width in widths), limit))
    for values in cells:
        say(fitted(line(values), limit))
