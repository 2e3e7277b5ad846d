"""Reads a file as rows for a stream, lazily, with every line that is no row kept apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from headrace.sources.columns import Columns
from headrace.sources.patterns import APACHE_TIME
from headrace.sources.registry import BadLines, Chunk, Format, ReadOptions, format_of, must_exist

TIME_FORMATS = {"apache-common": APACHE_TIME, "apache-combined": APACHE_TIME}
"""How a format writes its times, where that is fixed."""


@dataclass(frozen=True)
class FileSource:
    """A file, and how its rows become rows of a stream.

    Attributes:
        path: CSV, TSV, NDJSON, Parquet, Arrow or a log; text may be gzipped.
        format: a registered format; None: by the file's name (a pattern alone means `pattern`).
        options: how the file is written.
        mapping: per column of the stream, a column of the file or SQL over its columns.
        wanted: the stream's columns; None: all of the file's.
        time_columns: columns that `time_format` is about.
        time_format: as `strptime`, or `epoch`, `epoch_ms`, `epoch_us`; None: as the format has it.
    """

    path: Path
    format: str | None = None
    options: ReadOptions = field(default_factory=ReadOptions)
    mapping: Mapping[str, str] = field(default_factory=dict)
    wanted: Sequence[str] | None = None
    time_columns: Sequence[str] = ()
    time_format: str | None = None

    def found_format(self) -> Format:
        """Return the format to read with.

        Raises:
            UnknownName: there is none of that name, or the file's name tells none.
        """
        return format_of(self.path, self.format or ("pattern" if self.options.pattern else None))

    def columns(self) -> Columns:
        """Return what turns the file's columns into the stream's."""
        time_format = self.time_format or TIME_FORMATS.get(self.found_format().name)
        return Columns(self.wanted, self.mapping, self.time_columns, time_format)

    def chunks(self, columns: Columns | None = None) -> Iterator[Chunk]:
        """Yield rows with the stream's columns, and bad lines, in the file's order as far as it is known.

        Raises:
            StorageError: the file cannot be read.
            UnknownName, SqlError, DeclarationError: format, mapping or pattern make no sense.
        """
        columns = columns or self.columns()
        for chunk in self.found_format().read(must_exist(self.path), self.options):
            yield chunk if isinstance(chunk, BadLines) else columns.rows(chunk)


def read_file(
    path: str | Path,
    format: str | None = None,  # noqa: A002 - the word users know from the command line
    mapping: Mapping[str, str] | None = None,
    pattern: str | None = None,
    time_format: str | None = None,
    *,
    time_columns: Sequence[str] = (),
    wanted: Sequence[str] | None = None,
    options: ReadOptions | None = None,
) -> Iterator[Chunk]:
    """Read a file, lazily, in chunks of about 50,000 rows; see `FileSource` for the arguments.

    Raises:
        StorageError: the file cannot be read.
        UnknownName, SqlError, DeclarationError: format, mapping or pattern make no sense.
    """
    options = options or ReadOptions()
    options = replace(options, pattern=pattern) if pattern else options
    source = FileSource(Path(path), format, options, mapping or {}, wanted, time_columns, time_format)
    return source.chunks()
