"""CSV and TSV through DuckDB, Parquet and Arrow through pyarrow."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from headrace.errors import StorageError
from headrace.sources.registry import BadLine, BadLines, Chunk, Format, ReadOptions, register_format

BAD_LINES_PER_CHUNK = 10_000
ENCODINGS = {"utf-8": "utf-8", "utf8": "utf-8", "latin-1": "latin-1", "latin1": "latin-1", "utf-16": "utf-16"}


def read_csv(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the rows of a CSV, every value as text, then the lines that are none (too few columns, …).

    An empty value that is not quoted is NULL. Quoted values may hold line breaks.
    """
    con = duckdb.connect()
    try:
        con.execute("SET threads = 1")
        with _told(path):
            scan = con.sql(_csv_sql(options), params=_csv_parameters(path, options))
            for batch in cast(Any, scan.to_arrow_reader(options.batch_rows)):
                if batch.num_rows:
                    yield batch
        yield from _csv_rejects(con)
    finally:
        con.close()


def read_tsv(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the rows of a file with tabs between the columns, as `read_csv` does."""
    tabs = ReadOptions(
        delimiter="\t", header=options.header, encoding=options.encoding, batch_rows=options.batch_rows
    )
    return read_csv(path, tabs)


def _csv_sql(options: ReadOptions) -> str:
    return (
        "SELECT * FROM read_csv($path, all_varchar = true, header = $header, store_rejects = true, "
        "rejects_limit = 0, quote = '\"', escape = '\"', parallel = false, encoding = $encoding"
        + (", delim = $delimiter)" if options.delimiter else ")")
    )


def _csv_parameters(path: Path, options: ReadOptions) -> dict[str, object]:
    known = ENCODINGS.get(options.encoding.lower(), options.encoding)
    parameters: dict[str, object] = {"path": str(path), "header": options.header, "encoding": known}
    return parameters | ({"delimiter": options.delimiter} if options.delimiter else {})


def _csv_rejects(con: duckdb.DuckDBPyConnection) -> Iterator[BadLines]:
    found = con.execute(
        "SELECT line, any_value(error_message), any_value(csv_line) "
        "FROM reject_errors GROUP BY line ORDER BY line"
    )
    while rows := found.fetchmany(BAD_LINES_PER_CHUNK):
        yield BadLines(tuple(BadLine(int(line), problem, text or "") for line, problem, text in rows))


def read_parquet(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file, with its own types."""
    with _told(path), pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=options.batch_rows)


def read_arrow(path: Path, options: ReadOptions) -> Iterator[Chunk]:
    """Yield the rows of an Arrow IPC file or stream, with their own types."""
    with _told(path), _opened(path) as raw:
        for batch in _arrow_batches(raw):
            for start in range(0, batch.num_rows, options.batch_rows):
                yield batch.slice(start, options.batch_rows)


def _arrow_batches(raw: IO[bytes]) -> Iterator[pa.RecordBatch]:
    is_file = raw.read(6) == b"ARROW1"
    raw.seek(0)
    if is_file:
        reader = pa.ipc.open_file(raw)
        yield from (reader.get_batch(number) for number in range(reader.num_record_batches))
    else:
        with pa.ipc.open_stream(raw) as stream:
            yield from stream


def _opened(path: Path) -> IO[bytes]:
    if path.suffix.lower() == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    return path.open("rb")


class _told:  # noqa: N801 - reads as a verb
    """Turns what the readers raise into an error that names the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise StorageError in place of a reader's error."""
        if isinstance(error, (duckdb.Error, pa.ArrowException, OSError, EOFError)):
            first = str(error).strip().splitlines()
            raise StorageError(
                f"the file cannot be read: {first[0] if first else type(error).__name__}",
                where=str(self.path),
                hint="--format names another format, --delimiter and --encoding say how a CSV is written",
            ) from error


register_format(
    Format("csv", (".csv", ".txt"), "columns with a delimiter between them, read as text", read_csv)
)
register_format(Format("tsv", (".tsv", ".tab"), "columns with a tab between them, read as text", read_tsv))
register_format(Format("parquet", (".parquet", ".pq"), "Apache Parquet", read_parquet))
register_format(
    Format("arrow", (".arrow", ".arrows", ".feather", ".ipc"), "an Arrow IPC file or stream", read_arrow)
)
