"""From the file's columns to the stream's: which goes where, and how times are written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import duckdb
import orjson
import pyarrow as pa

from headrace.contracts.scratch import scratch
from headrace.errors import DeclarationError, SqlError, UnknownName

EPOCH_UNITS_US = {"epoch": 1_000_000, "epoch_ms": 1_000, "epoch_us": 1}
"""Time formats that are numbers: microseconds in one unit."""


TRY_CAST = "TRY_CAST(x AS INT) is NULL where x does not fit: such a row alone is put aside, or has a NULL"
"""What is told of a conversion that fails."""
LATEST_US = 253_402_300_800_000_000
"""The end of the year 9999."""


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Read `--map`: each entry is `column=source`, or several with commas between them.

    The source is a column of the file, or any SQL expression over its columns; a text is split at its commas
    only when each piece is of the form `name=name`, so that expressions may hold commas.

    Raises:
        DeclarationError: an entry without `=`.
    """
    mapping: dict[str, str] = {}
    for text in pairs:
        pieces = text.split(",")
        simple = all(len(piece.split("=")) == 2 and _is_name(piece.split("=")[1]) for piece in pieces)
        for piece in pieces if simple else [text]:
            column, equals, source = piece.partition("=")
            if not equals or not column.strip() or not source.strip():
                raise DeclarationError(
                    f"{piece!r} maps nothing",
                    where="--map",
                    expected="column=source, as in placed_at=InvoiceDate",
                )
            mapping[column.strip()] = source.strip()
    return mapping


def _is_name(text: str) -> bool:
    return text.strip().replace("_", "a").replace(" ", "a").replace("-", "a").isalnum()


@dataclass
class Columns:
    """Turns chunks with the file's columns into chunks with the stream's.

    Attributes:
        wanted: the stream's columns; None: all of the file's.
        mapping: per column of the stream, a column of the file or a SQL expression over its columns. What
            is not named here is taken from the file's column of the same name, without regard to case.
        time_columns: columns of the stream that `time_format` is about.
        time_format: as `strptime` of DuckDB reads it, or `epoch`, `epoch_ms`, `epoch_us`; None: ISO 8601.
    """

    wanted: Sequence[str] | None = None
    mapping: Mapping[str, str] = field(default_factory=dict)
    time_columns: Sequence[str] = ()
    time_format: str | None = None
    left_out: set[str] = field(default_factory=set)
    """Columns of the file that go nowhere, as far as it has been read."""

    def __post_init__(self) -> None:
        if self.wanted is not None:
            known = {name.lower(): name for name in self.wanted}
            for name in self.mapping:
                if name.lower() not in known:
                    raise UnknownName.of("column", name, self.wanted)
            self.mapping = {known[name.lower()]: source for name, source in self.mapping.items()}
        self._con: duckdb.DuckDBPyConnection | None = None
        self._plans: dict[tuple[str, ...], str] = {}

    def rows(self, chunk: pa.RecordBatch | list[dict[str, Any]]) -> pa.RecordBatch | list[dict[str, Any]]:
        """Return the rows of a chunk with the stream's columns.

        Raises:
            UnknownName: a column of the mapping is not in the file.
            SqlError: an expression of the mapping does not work.
        """
        if isinstance(chunk, list):
            if not self._needs_sql():
                return self._renamed(chunk)
            chunk = as_text(chunk)
        return self._projected(chunk)

    def _needs_sql(self) -> bool:
        return self.time_format is not None or not all(_is_name(source) for source in self.mapping.values())

    def _renamed(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.wanted is None and not self.mapping:
            return rows
        plans: dict[tuple[str, ...], list[tuple[str, str]]] = {}
        answer = []
        for row in rows:
            names = tuple(row)
            if names not in plans:
                plans[names] = [
                    (name, source) for name, source in self._sources(names).items() if source in row
                ]
            answer.append({name: row[source] for name, source in plans[names]})
        return answer

    def _projected(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        names = tuple(batch.schema.names)
        if names not in self._plans:
            self._plans[names] = self._sql(names)
        if self._con is None:
            self._con = scratch()
        self._con.register("file_rows", pa.Table.from_batches([batch]))
        try:
            table = cast(pa.Table, self._con.sql(self._plans[names]).to_arrow_table())
        except duckdb.Error as error:
            raise SqlError(
                str(error).splitlines()[0],
                where="--map" if self.time_format is None else "--map, or --time-format",
                expected=_expectation(names),
                hint=TRY_CAST if isinstance(error, duckdb.ConversionException) else None,
            ) from None
        finally:
            self._con.unregister("file_rows")
        return (
            pa.concat_batches(table.to_batches())
            if table.num_rows
            else pa.RecordBatch.from_pylist([], table.schema)
        )

    def _sources(self, names: Sequence[str]) -> dict[str, str]:
        """Per column of the stream, the file's column or the expression."""
        here = {name.lower(): name for name in names}
        taken = {column: here.get(source.lower(), source) for column, source in self.mapping.items()}
        for name in self.wanted if self.wanted is not None else names:
            if name not in taken and name.lower() in here:
                taken[name] = here[name.lower()]
        used = " ".join(taken.values()).lower()
        self.left_out |= {name for name in names if name.lower() not in used}
        return taken

    def _sql(self, names: Sequence[str]) -> str:
        columns = []
        times = {name.lower() for name in self.time_columns}
        for column, source in self._sources(names).items():
            expression = _quoted(source) if source in names else _expression(source, names)
            if self.time_format and column.lower() in times:
                expression = time_sql(expression, self.time_format)
            columns.append(f"{expression} AS {_quoted(column)}")
        if not columns:
            raise UnknownName(
                "the file has none of the stream's columns",
                where="--map",
                expected=f"one of: {', '.join(self.wanted or ())}",
                hint=f"the file has {', '.join(names)}: say --map column=source",
            )
        return f"SELECT {', '.join(columns)} FROM file_rows"


def _expression(source: str, names: Sequence[str]) -> str:
    if source.isidentifier():
        raise UnknownName.of("column in the file", source, names)
    return f"({source})"


def _expectation(names: Iterable[str]) -> str:
    return f"a SQL expression over the file's columns: {', '.join(names)}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def time_sql(expression: str, time_format: str) -> str:
    """Return SQL that writes a time as ISO 8601 in UTC; what does not fit the format stays as it is."""
    if time_format in EPOCH_UNITS_US:
        unit_us = EPOCH_UNITS_US[time_format]
        number = f"CAST(round(TRY_CAST(({expression}) AS DECIMAL(28,6)) * {unit_us}) AS BIGINT)"
        fits = f"abs(TRY_CAST(({expression}) AS DOUBLE)) * {unit_us} < {LATEST_US}"
        moment = f"CASE WHEN {fits} THEN make_timestamp({number}) END"
    else:
        literal = "'" + time_format.replace("'", "''") + "'"
        moment = f"make_timestamp(epoch_us(try_strptime(CAST({expression} AS VARCHAR), {literal})))"
    return f"coalesce(strftime({moment}, '%Y-%m-%dT%H:%M:%S.%f'), CAST({expression} AS VARCHAR))"


def as_text(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    """Return JSON objects as columns of text: texts as they are, NULL as NULL, everything else as JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.RecordBatch.from_pydict(
        {name: pa.array([_text(row.get(name)) for row in rows], type=pa.string()) for name in names}
    )


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
