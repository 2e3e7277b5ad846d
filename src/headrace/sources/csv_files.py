"""CSV and TSV, parsed by pyarrow: every value as text, every row that does not fit kept as a bad line."""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any, cast

import pyarrow as pa
import pyarrow.csv as pc

from headrace.errors import StorageError
from headrace.sources.registry import BadLine, BadLines, Chunk, Format, ReadOptions, register_format

DELIMITERS = (",", ";", "\t", "|")
BLOCK_BYTES = 4 * 1024 * 1024
"""How much is parsed at a time; no row may be longer."""
HEADER_CHARS_MAX = 1024 * 1024
_QUOTED = re.compile(r'"[^"]*"')


def read_csv(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the rows of a CSV, every value as text, and the rows that are none (too few columns, …).

    An empty value that is not quoted is NULL. Quoted values may hold line breaks; lines may end
    in either way.
    """
    try:
        head = _Head(path, options)
        if head.is_empty:
            return
        yield from _Body(path, options, head).chunks()
    except (pa.ArrowException, OSError, EOFError, UnicodeError, LookupError, zlib.error, csv.Error) as error:
        first = str(error).strip().splitlines()
        raise StorageError(
            f"the file cannot be read: {first[0] if first else type(error).__name__}",
            where=str(path),
            hint="--format names another format, --delimiter and --encoding say how a CSV is written",
        ) from error


def read_tsv(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the rows of a file with tabs between the columns, as `read_csv` does."""
    return read_csv(path, replace(options, delimiter="\t"))


class _Head:
    """The first row: the delimiter, and the columns' names."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        encoding = "utf-8-sig" if options.encoding.lower() in ("utf-8", "utf8") else options.encoding
        # A first row in another encoding must not end the reading: its names then hold replacement signs.
        with _opened(path) as raw, TextIOWrapper(raw, encoding, errors="replace", newline="") as text:
            first = text.readline(HEADER_CHARS_MAX)
            self.delimiter = options.delimiter or _found_delimiter(first)
            rest = text.read(1)
        self.is_empty = not first.strip() or (options.header and not rest)
        cells = next(csv.reader([first], delimiter=self.delimiter), [])
        self.names = _unique(cells) if options.header else [f"column{n}" for n in range(len(cells))]


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


def _found_delimiter(first: str) -> str:
    """Return the delimiter that stands most often in the first row outside of quotes, else a comma."""
    bare = _QUOTED.sub("", first)
    return max(DELIMITERS, key=bare.count)


def _unique(cells: list[str]) -> list[str]:
    """Return names for the columns: none empty, none twice."""
    names: list[str] = []
    for number, cell in enumerate(cells):
        name = cell.strip() or f"column{number}"
        taken = sum(name == other or other.startswith(f"{name}_") for other in names)
        names.append(f"{name}_{taken + 1}" if name in names else name)
    return names


class _Body:
    """The rows, a block at a time."""

    def __init__(self, path: Path, options: ReadOptions, head: _Head) -> None:
        self._path = path
        self._options = options
        self._head = head
        self._misfits: list[BadLine] = []
        self._fitting_before: list[int] = []
        self._rows = 0

    def chunks(self) -> Iterator[Chunk]:
        """Yield rows and bad lines."""
        size = self._options.batch_rows
        compression = "gzip" if self._path.suffix.lower() == ".gz" else None
        with pa.input_stream(str(self._path), compression=compression) as raw, self._reader(raw) as reader:
            for batch in reader:
                rows, garbled = self._as_text(batch)
                for start in range(0, rows.num_rows, size):
                    yield rows.slice(start, size)
                yield from self._bad(garbled)
        yield from self._bad([])

    def _bad(self, garbled: list[BadLine]) -> Iterator[BadLines]:
        lines = sorted([*self._misfits, *garbled], key=lambda bad: bad.line)
        self._misfits.clear()
        if lines:
            yield BadLines(tuple(lines))

    def _reader(self, raw: Any) -> Any:
        return pc.open_csv(
            raw,
            read_options=pc.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=self._head.names,
                skip_rows_after_names=int(self._options.header),
                encoding=self._options.encoding,
            ),
            parse_options=pc.ParseOptions(
                delimiter=self._head.delimiter, newlines_in_values=True, invalid_row_handler=self._misfit
            ),
            convert_options=pc.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(self._head.names, pa.binary()),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                null_values=[""],
            ),
        )

    def _misfit(self, row: pc.InvalidRow) -> str:
        problem = f"expected {row.expected_columns} columns, found {row.actual_columns}"
        self._misfits.append(BadLine(row.number, problem, row.text))
        self._fitting_before.append(row.number - len(self._fitting_before))
        return "skip"

    def _as_text(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[BadLine]]:
        schema = pa.schema([(name, pa.string()) for name in batch.schema.names])
        first = self._rows
        self._rows += batch.num_rows
        try:
            return pa.RecordBatch.from_arrays([c.cast(pa.string()) for c in batch.columns], schema=schema), []
        except pa.ArrowInvalid:
            return self._sorted_out(batch, schema, first)

    def _sorted_out(
        self, batch: pa.RecordBatch, schema: pa.Schema, first: int
    ) -> tuple[pa.RecordBatch, list[BadLine]]:
        """Part the rows of a batch into those that are UTF-8 and the others."""
        good: list[dict[str, str | None]] = []
        garbled: list[BadLine] = []
        for number, row in enumerate(batch.to_pylist(), start=first):
            try:
                good.append({name: None if value is None else value.decode() for name, value in row.items()})
            except UnicodeDecodeError:
                values = ((value or b"").decode(errors="replace") for value in row.values())
                text = self._head.delimiter.join(values)
                garbled.append(BadLine(self._line(number), "not UTF-8 (say --encoding)", text))
        return pa.RecordBatch.from_pylist(good, schema=schema), garbled

    def _line(self, row: int) -> int:
        """Return where in the file the nth row that fits stands, given the misfits between them."""
        line = row + 1 + int(self._options.header)
        return line + bisect_right(self._fitting_before, line)


register_format(
    Format("csv", (".csv", ".txt"), "columns with a delimiter between them, read as text", read_csv)
)
register_format(Format("tsv", (".tsv", ".tab"), "columns with a tab between them, read as text", read_tsv))
