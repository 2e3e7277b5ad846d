"""Parquet and Arrow files, with their own types."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from headrace.errors import StorageError
from headrace.sources.registry import Chunk, Format, ReadOptions, register_format


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
        if isinstance(error, (pa.ArrowException, OSError, EOFError)):
            first = str(error).strip().splitlines()
            raise StorageError(
                f"the file cannot be read: {first[0] if first else type(error).__name__}",
                where=str(self.path),
                hint="--format names another format",
            ) from error


register_format(Format("parquet", (".parquet", ".pq"), "Apache Parquet", read_parquet))
register_format(
    Format("arrow", (".arrow", ".arrows", ".feather", ".ipc"), "an Arrow IPC file or stream", read_arrow)
)
