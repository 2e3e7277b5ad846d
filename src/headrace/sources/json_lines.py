"""NDJSON: one JSON object a line. Values keep their JSON types; nested ones stay nested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from headrace.sources.registry import BadLine, BadLines, Chunk, Format, ReadOptions, register_format
from headrace.sources.text_lines import numbered_lines


def read_ndjson(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the objects of an NDJSON file, and the lines that are none."""
    rows: list[dict[str, Any]] = []
    bad: list[BadLine] = []
    for number, line in numbered_lines(path):
        parsed = _parsed(number, line)
        if isinstance(parsed, BadLine):
            bad.append(parsed)
        else:
            rows.append(parsed)
        if len(rows) + len(bad) >= options.batch_rows:
            yield from _chunks(rows, bad)
            rows, bad = [], []
    yield from _chunks(rows, bad)


def _chunks(rows: list[dict[str, Any]], bad: list[BadLine]) -> Iterator[Chunk]:
    if rows:
        yield rows
    if bad:
        yield BadLines(tuple(bad))


def _parsed(number: int, line: bytes) -> dict[str, Any] | BadLine:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return BadLine(number, f"not JSON ({error})", line.decode(errors="replace"))
    if isinstance(value, dict):
        return value
    return BadLine(number, "not a JSON object", line.decode(errors="replace"))


register_format(Format("ndjson", (".ndjson", ".jsonl", ".json"), "one JSON object a line", read_ndjson))
