"""Version, watermark and freshness of an answer, from the streams that a view rests on."""

from __future__ import annotations

import time
from datetime import datetime
from functools import lru_cache

from headrace.errors import UnknownName
from headrace.results import Version
from headrace.runtime import Run
from headrace.serve.answers import Stamp
from headrace.sql import relations_of

KEPT_S = 1.0
"""How long the lineage of a view is believed before it is looked up again."""


class Stamper:
    """Tells how fresh answers are. Thread-safe.

    Args:
        run: what is read.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._timed = frozenset(name for name, decl in run.app.streams.items() if decl.event_time)
        self._kept: dict[str, tuple[float, frozenset[str]]] = {}

    def stamp(self, view: str | None = None, version: Version | None = None) -> Stamp:
        """Return the stamp of a version (the newest, if None is given) for one view or for all."""
        version = version or self._run.version
        refreshed = {} if view is None else self._run.refreshed(view)
        begun = None if view is None else self._run.history_from(view)
        return Stamp(version, self._run.freshness, self._watermark(view, version), refreshed, begun)

    def _watermark(self, view: str | None, version: Version) -> datetime | None:
        """Return the smallest watermark of the streams; None where there is none, or one has not begun."""
        if view is None:
            return min((w for name, w in version.watermarks.items() if name in self._timed), default=None)
        moments = [version.watermarks.get(name) for name in self.streams(view)]
        known = [moment for moment in moments if moment is not None]
        return min(known) if known and len(known) == len(moments) else None

    def streams(self, view: str) -> frozenset[str]:
        """Return the streams with event time that a relation rests on, through other views."""
        now, kept = time.monotonic(), self._kept.get(view)
        if kept is None or now - kept[0] > KEPT_S:
            if len(self._kept) > 10_000:
                self._kept.clear()
            kept = self._kept[view] = (now, self._find(view))
        return kept[1]

    def _find(self, view: str) -> frozenset[str]:
        found: set[str] = set()
        seen: set[str] = set()
        waiting = [view]
        while waiting:
            name = waiting.pop().lower()
            if name in seen:
                continue
            seen.add(name)
            try:
                info = self._run.relation(name)
            except UnknownName:
                continue
            if info.sql is None:
                found.add(info.name.removesuffix("__late").removesuffix("__rejected"))
            else:
                waiting.extend(_relations_of(info.sql))
        return frozenset(found) & self._timed


@lru_cache(maxsize=4_096)
def _relations_of(sql: str) -> tuple[str, ...]:
    return tuple(relations_of(sql))
