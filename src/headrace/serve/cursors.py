"""Questions whose version is kept for a while, so that all pages of one listing are of one version."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

import pyarrow as pa

from headrace.contracts.schema import Schema
from headrace.errors import VersionGone
from headrace.serve.answers import Stamp


@dataclass(frozen=True, slots=True)
class Listing:
    """One question to one version of a view, of which pages are read.

    Attributes:
        view: the view's name, lower case.
        table: all rows of the view at that version.
        schema: its columns.
        sql: the question, without LIMIT.
        params: its values.
        row_count: rows of the whole answer.
        stamp: how fresh it was.
    """

    view: str
    table: pa.Table
    schema: Schema
    sql: str
    params: tuple[str, ...]
    row_count: int
    stamp: Stamp


class Cursors:
    """Keeps listings by an unguessable name. Thread-safe; the least recently used go first.

    Args:
        seconds: how long one is kept after its last page was read.
        bytes_max: Arrow bytes of all together; one that is larger alone is kept as the only one.
    """

    def __init__(self, seconds: float, bytes_max: int) -> None:
        self._seconds = seconds
        self._bytes_max = bytes_max
        self._kept: OrderedDict[str, tuple[float, Listing]] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, listing: Listing) -> str:
        """Keep a listing and return its name."""
        name = secrets.token_urlsafe(12)
        with self._lock:
            self._kept[name] = (time.monotonic(), listing)
            self._trim()
        return name

    def find(self, name: str, view: str) -> Listing:
        """Return a listing of that view.

        Raises:
            VersionGone: it is not kept any more.
        """
        with self._lock:
            self._trim()
            entry = self._kept.pop(name, None)
            if entry is not None and entry[1].view == view.lower():
                self._kept[name] = (time.monotonic(), entry[1])
                return entry[1]
        raise VersionGone(
            "this listing is not kept any more",
            where=view,
            expected=f"the next page within {self._seconds:g} s",
            hint="begin again without a cursor; the first page is of the present version",
        )

    def drop(self, name: str) -> None:
        """Let a listing go, as after its last page."""
        with self._lock:
            self._kept.pop(name, None)

    def _trim(self) -> None:
        now = time.monotonic()
        size = sum(listing.table.nbytes for _, listing in self._kept.values())
        while self._kept:
            name, (used_at, listing) = next(iter(self._kept.items()))
            too_much = size > self._bytes_max and len(self._kept) > 1
            if now - used_at <= self._seconds and not too_much:
                return
            del self._kept[name]
            size -= listing.table.nbytes
