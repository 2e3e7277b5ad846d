"""Lines of text files, plain or gzipped, with their numbers."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from headrace.errors import StorageError

LINE_BYTES_MAX = 16 * 1024 * 1024
"""A longer line is no line of a log or of JSON; it is refused before it fills the memory."""


def numbered_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number from 1, without the line break; empty lines are left out.

    Raises:
        StorageError: the file cannot be read, or a line is longer than 16 MB.
    """
    try:
        with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as file:
            number = 0
            while line := file.readline(LINE_BYTES_MAX + 1):
                number += 1
                if len(line) > LINE_BYTES_MAX:
                    raise StorageError(
                        "the line is too long", where=f"{path}, line {number}", expected="at most 16 MB"
                    )
                stripped = line.rstrip(b"\r\n")
                if stripped.strip():
                    yield number, stripped
    except (OSError, EOFError, zlib.error) as error:
        raise StorageError(f"the file cannot be read: {error}", where=str(path)) from error
