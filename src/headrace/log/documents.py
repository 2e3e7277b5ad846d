"""Small files that are there as a whole or not at all: one JSON document behind its own digest."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from headrace.errors import FormatTooNew
from headrace.log.files import Files, read_exactly, write_all
from headrace.log.frames import damaged

DRAFT = ".tmp"


def write_draft(files: Files, path: Path, data: bytes | memoryview) -> Path:
    """Write a file on stable storage under a draft's name, for `Files.rename`; return that name."""
    draft = path.with_name(path.name + DRAFT)
    descriptor = files.create(draft)
    try:
        write_all(files, descriptor, data)
        files.sync(descriptor)
    finally:
        files.close(descriptor)
    return draft


def place_file(files: Files, path: Path, data: bytes | memoryview) -> None:
    """Put a file under its name, in place of the one that has it, in one step; durable when it returns.

    Raises:
        OSError: the disk refuses; the file that had the name still has it, or the new one.
    """
    try:
        files.rename(write_draft(files, path, data), path)
    except OSError:
        with suppress(OSError):
            files.remove(path.with_name(path.name + DRAFT))
        raise
    files.sync_folder(path.parent)


def place_document(files: Files, path: Path, document: dict[str, Any]) -> None:
    """Put a document under its name, as `place_file` does."""
    text = orjson.dumps(document)
    place_file(files, path, _digest(text) + b"\n" + text)


def read_document(files: Files, path: Path, format_max: int) -> dict[str, Any]:
    """Return a document that `place_document` wrote.

    Raises:
        LogDamaged: it is not what was written.
        FormatTooNew: its `format` is above `format_max`.
    """
    data = read_file(files, path)
    digest, _, text = data.partition(b"\n")
    if _digest(text) != digest:
        raise damaged(path, 0, len(data), "the file fails its checksum")
    document: dict[str, Any] = orjson.loads(text)
    if document["format"] > format_max:
        raise FormatTooNew(
            f"the file has format {document['format']}",
            where=str(path),
            expected=f"format {format_max} or older",
            hint="open the folder with the version of Headrace that wrote it, or a newer one",
            format=document["format"],
        )
    return document


def read_file(files: Files, path: Path) -> bytes:
    """Return a file's bytes."""
    descriptor = files.open_read(path)
    try:
        return read_exactly(files, descriptor, files.size(path), 0)
    finally:
        files.close(descriptor)


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()
