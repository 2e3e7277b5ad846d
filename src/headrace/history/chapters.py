"""Chapters: the stretches of versions over which a view has one set of columns and its changes add up.

A view begins a chapter when it is created and when its columns change. What happens when the columns stay,
such as another definition, is a change like any other. A chapter also begins where the changes before it are
not known to lead there, as after a start under another version of the program.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

from headrace.contracts.schema import Schema
from headrace.contracts.types import column


@dataclass(frozen=True, slots=True)
class Described:
    """A view as it is at one version.

    Attributes:
        name: as the engine knows it; lower case finds it.
        schema: its columns.
        definition: a digest of everything that decides what it shows; None: unknown, so nothing is reused.
        kept_ms: how long its past is kept at least; 0: not at all.
        key: columns that identify a row, where known.
        order: the ORDER BY list of its own SQL, or None.
        sql: its SQL, or None.
    """

    name: str
    schema: Schema
    definition: str | None
    kept_ms: int
    key: tuple[str, ...] | None = None
    order: str | None = None
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Chapter:
    """A stretch of versions of one view.

    Attributes:
        view: the view, as it was at the end of the stretch so far.
        first: the first version that it answers.
        starts_empty: whether it has no row at `first`.
        last: the last version that it answers; None: it goes on.
    """

    view: Described
    first: int
    starts_empty: bool
    last: int | None = None

    @property
    def name(self) -> str:
        """The view's name in lower case."""
        return self.view.name.lower()

    @property
    def id(self) -> tuple[str, int]:
        """What tells it from all others."""
        return self.name, self.first

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        view = self.view
        columns = [[item.name, item.sql_type, item.nullable, item.privacy] for item in view.schema]
        return {
            "name": view.name, "columns": columns, "definition": view.definition, "kept_ms": view.kept_ms,
            "key": None if view.key is None else list(view.key), "order": view.order, "sql": view.sql,
            "first": self.first, "starts_empty": self.starts_empty, "last": self.last,
        }  # fmt: skip


def chapter_of(facts: Mapping[str, Any]) -> Chapter:
    """Return the chapter that `as_dict` wrote."""
    schema = Schema.of(
        column(name, sql_type, nullable=nullable, privacy=privacy)
        for name, sql_type, nullable, privacy in facts["columns"]
    )
    key = None if facts["key"] is None else tuple(facts["key"])
    view = Described(
        facts["name"], schema, facts["definition"], facts["kept_ms"], key, facts["order"], facts["sql"]
    )
    return Chapter(view, facts["first"], facts["starts_empty"], facts["last"])


class Chapters:
    """All chapters, by view. They change under the run's gate, and are told as written by whoever writes."""

    def __init__(self, chapters: Iterable[Chapter] = ()) -> None:
        self._lock = Lock()
        self._by_name: dict[str, list[Chapter]] = {}
        self.touched: dict[tuple[str, int], Chapter] = {}
        for chapter in chapters:
            self.put(chapter)
        self.touched = {}

    def copy(self) -> Chapters:
        """Return chapters that stay as these are now."""
        copy = Chapters()
        with self._lock:
            copy._by_name, copy.touched = dict(self._by_name), dict(self.touched)
        return copy

    def put(self, chapter: Chapter) -> None:
        """Add a chapter, or replace the one with its id."""
        with self._lock:
            mine = [known for known in self._by_name.get(chapter.name, []) if known.first != chapter.first]
            self._by_name[chapter.name] = sorted([*mine, chapter], key=lambda known: known.first)
            self.touched[chapter.id] = chapter

    def written(self, chapters: Iterable[Chapter]) -> None:
        """Say that chapters are on disk as they were; those that have changed since are not."""
        with self._lock:
            for chapter in chapters:
                if self.touched.get(chapter.id) == chapter:
                    del self.touched[chapter.id]

    def all(self) -> list[Chapter]:
        """Return all of them."""
        return [chapter for mine in self._by_name.values() for chapter in mine]

    def of(self, name: str) -> list[Chapter]:
        """Return the chapters of a view, oldest first."""
        return list(self._by_name.get(name.lower(), ()))

    def open(self, name: str) -> Chapter | None:
        """Return the chapter of a view that goes on, or None."""
        mine = self._by_name.get(name.lower())
        return mine[-1] if mine and mine[-1].last is None else None

    def at(self, name: str, version: int) -> Chapter | None:
        """Return the newest chapter of a view that answers a version, or None."""
        for chapter in reversed(self._by_name.get(name.lower(), ())):
            if chapter.first <= version and (chapter.last is None or version <= chapter.last):
                return chapter
        return None

    def begin(self, view: Described, version: int, *, is_empty: bool) -> None:
        """Begin a chapter at a version; the one before it ends just before."""
        self.end(view.name, version - 1)
        self.put(Chapter(view, version, is_empty))

    def go_on(self, view: Described) -> None:
        """Say that a view goes on under what may be another definition."""
        chapter = self.open(view.name)
        if chapter is not None and chapter.view != view:
            self.put(replace(chapter, view=view))

    def end(self, name: str, version: int) -> None:
        """End the open chapter of a view, if there is one, with a version; one without versions goes."""
        chapter = self.open(name)
        if chapter is None:
            return
        if version < chapter.first:
            self.drop(chapter)
        else:
            self.put(replace(chapter, last=version))

    def drop(self, chapter: Chapter) -> None:
        """Forget a chapter."""
        with self._lock:
            mine = [known for known in self._by_name.get(chapter.name, []) if known.first != chapter.first]
            self._by_name[chapter.name] = mine
            self.touched.pop(chapter.id, None)
