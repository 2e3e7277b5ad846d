"""Log files: Apache's access formats, and lines after a pattern of the caller's."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from headrace.errors import DeclarationError
from headrace.sources.patterns import APACHE_COMBINED, APACHE_COMMON, REQUEST, compile_pattern
from headrace.sources.registry import BadLine, BadLines, Chunk, Format, ReadOptions, register_format
from headrace.sources.text_lines import numbered_lines

Values = dict[str, str | None]
NOTHING = "-"
"""What Apache writes where there is no value."""


def read_pattern(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the lines that match the pattern as rows of text, a column per named group; the others as bad.

    Raises:
        DeclarationError: there is no pattern, or it makes no sense.
    """
    if not options.pattern:
        raise DeclarationError(
            "this format needs a pattern",
            where="--format pattern",
            hint='--pattern "%{TIMESTAMP_ISO8601:at} %{LOGLEVEL:level} %{GREEDYDATA:message}"',
        )
    pattern = compile_pattern(options.pattern)
    return _matched(path, options, pattern, tuple(pattern.groupindex), dict)


def read_apache_common(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the lines of an access log in the Common Log Format as rows of text; `-` is NULL."""
    return _apache(path, options, APACHE_COMMON)


def read_apache_combined(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the lines of an access log in the combined format (referer, user agent); `-` is NULL."""
    return _apache(path, options, APACHE_COMBINED)


def _apache(path: Path, options: ReadOptions, text: str) -> Iterator[Chunk]:
    pattern = re.compile(text)
    columns = (*pattern.groupindex, *REQUEST.groupindex)
    return _matched(path, options, pattern, columns, _apache_values)


def _apache_values(groups: dict[str, str]) -> Values:
    values: Values = {name: None if value == NOTHING else value for name, value in groups.items()}
    request = REQUEST.fullmatch(groups["request"])
    return values | (request.groupdict() if request else dict.fromkeys(REQUEST.groupindex))


def _matched(
    path: Path,
    options: ReadOptions,
    pattern: re.Pattern[str],
    columns: tuple[str, ...],
    values: Callable[[dict[str, str]], Values],
) -> Iterator[Chunk]:
    schema = pa.schema([(name, pa.string()) for name in columns])
    rows: list[Values] = []
    bad: list[BadLine] = []
    for number, raw in numbered_lines(path):
        try:
            line = raw.decode(options.encoding)
        except UnicodeDecodeError:
            bad.append(BadLine(number, f"not {options.encoding}", raw.decode("utf-8", errors="replace")))
            continue
        match = pattern.fullmatch(line)
        if match is None:
            bad.append(BadLine(number, "does not match the pattern", line))
        else:
            rows.append(values(match.groupdict()))
        if len(rows) + len(bad) >= options.batch_rows:
            yield from _chunks(rows, bad, schema)
            rows, bad = [], []
    yield from _chunks(rows, bad, schema)


def _chunks(rows: list[Values], bad: list[BadLine], schema: pa.Schema) -> Iterator[Chunk]:
    if rows:
        yield pa.RecordBatch.from_pylist(rows, schema=schema)
    if bad:
        yield BadLines(tuple(bad))


register_format(Format("pattern", (".log",), "lines after --pattern", read_pattern))
register_format(
    Format(
        "apache-common",
        (),
        "Apache access log: host, ident, user, time, request, status, bytes, method, path, protocol",
        read_apache_common,
    )
)
register_format(Format("apache-combined", (), "the same with referer and user_agent", read_apache_combined))
