"""One view on its way to all who watch it in one form."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from headrace.change import Change
from headrace.engine.zset import consolidate
from headrace.errors import HeadraceError, UnknownName
from headrace.relations import KEPT_PREFIX, RelationInfo
from headrace.results import Version
from headrace.runtime import Run
from headrace.serve import messages
from headrace.serve.answers import Stamp
from headrace.serve.messages import Message
from headrace.serve.stamps import Stamper
from headrace.serve.viewer import Viewer

MERGE_BEYOND = 4
"""So many versions may wait for the encoder before they are merged into one message."""
SNAPSHOT_AGE_S = 1.0
"""How long a snapshot serves further readers who join."""


@dataclass(frozen=True, slots=True)
class ChannelKey:
    """What readers share: the view, the pause between messages, and the encoding."""

    view: str
    every_ms: int = 0
    arrow: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What one version changed in one view."""

    version: Version
    change: Change


@dataclass(slots=True)
class Pending:
    """Changes that wait for the end of `every_ms`; touched by the encoder only."""

    parts: list[Part] = field(default_factory=list)
    sent_at: float = 0.0


class Channel:
    """Encodes each change once and hands it to its viewers.

    `batches` and `message` run on the encoder's thread, `take_snapshot` on a thread of the readers' pool,
    everything else on the event loop.

    Args:
        run: what is read.
        key: which view, and how.
        stamper: tells version, watermark and freshness.
        rows_max: most rows of a snapshot in JSON.
    """

    def __init__(self, run: Run, key: ChannelKey, stamper: Stamper, rows_max: int) -> None:
        self._run = run
        self._stamper = stamper
        self._rows_max = rows_max
        self.key = key
        self.info = followed(run, key.view)
        self._columns = (self.info, self.info.schema.arrow)
        self.source = source_of(self.info)
        self.viewers: set[Viewer] = set()
        self.delivered = run.version.number
        self._previous = self.delivered
        self.lock = asyncio.Lock()
        self.error: str | None = None
        self._pending = Pending()
        self._kept: tuple[float, Message] | None = None

    # --- changes: the encoder's thread ---------------------------------------------------------------

    def batches(self, parts: Sequence[Part], now: float) -> list[tuple[Sequence[Part], Stamp]]:
        """Return what each message that is due now will hold, and its stamp; with `every_ms`, nothing before
        the pause is over. May wait for a step.
        """
        if self.key.every_ms:
            self._pending.parts.extend(parts)
            if not self._pending.parts or now < self.due_at():
                return []
            parts, self._pending = self._pending.parts, Pending(sent_at=now)
            batches: list[Sequence[Part]] = [parts]
        elif len(parts) > MERGE_BEYOND:
            batches = [parts]
        else:
            batches = [[part] for part in parts]
        return [(batch, self._stamper.stamp(self.key.view, batch[-1].version)) for batch in batches]

    def due_at(self) -> float:
        """Return when what waits is to be sent (`time.monotonic`); infinity where nothing waits."""
        if not self._pending.parts:
            return float("inf")
        return self._pending.sent_at + self.key.every_ms / 1000

    def concerns(self, change: Change) -> bool:
        """Whether viewers must hear of a change: it holds rows, or says that the columns are others now."""
        return bool(len(change)) or self._is_of_others(change)

    def _is_of_others(self, change: Change) -> bool:
        """Whether a change has other columns than viewers know."""
        info = self.info
        if self._columns[0] is not info:
            self._columns = (info, info.schema.arrow)
        return bool(change.schema != self._columns[1])

    def message(self, parts: Sequence[Part], stamp: Stamp) -> Message:
        """Return one message for the changes of `batches`."""
        first, last = parts[0].version.number, parts[-1].version
        previous, self._previous = self._previous, last.number
        if any(self._is_of_others(part.change) for part in parts):
            return Message("redefined", last.number, "", None, first, previous)
        moved = Change.concat([part.change for part in parts])
        if len(parts) > 1:
            moved = consolidate(moved)
        return messages.change(self.info, moved, stamp, first, previous, arrow=self.key.arrow)

    # --- snapshots: a thread of the pool -------------------------------------------------------------

    def take_snapshot(self, floor: int) -> Message:
        """Return all rows at version `floor` or later, or the error that stands in their place."""
        kept = self._kept
        if kept and kept[1].version >= floor and time.monotonic() - kept[0] < SNAPSHOT_AGE_S:
            return kept[1]
        began = time.monotonic()
        try:
            message = self._snapshot()
        except HeadraceError as problem:
            stamp = self._stamper.stamp(self.key.view, self._run.version)
            message = messages.error(self.info.name, problem, stamp)
        self._kept = (began, message)
        return message

    def _snapshot(self) -> Message:
        while True:
            info = followed(self._run, self.key.view)
            version, table = self._run.snapshot(info.name)
            if fits(table, info):
                break
        self.info = info
        stamp = self._stamper.stamp(self.key.view, version)
        rows_max = None if self.key.arrow else self._rows_max
        return messages.snapshot(info, table, stamp, arrow=self.key.arrow, rows_max=rows_max)

    # --- viewers: the event loop ---------------------------------------------------------------------

    def deliver(self, message: Message) -> None:
        """Hand a message to every viewer; never waits."""
        if message.kind == "redefined":
            for viewer in self.viewers:
                viewer.lose(message.version)
        else:
            for viewer in self.viewers:
                viewer.offer(message)
        self.delivered = max(self.delivered, message.version)

    def note_error(self, error: str | None) -> None:
        """Learn whether the view has an answer; viewers of one that lost it ask for a snapshot and are
        told.
        """
        if error is not None and error != self.error:
            self._kept = None
            for viewer in self.viewers:
                viewer.lose(self._run.version.number)
        self.error = error

    def beat(self) -> None:
        """Hand a heartbeat to every viewer, and let go of an old snapshot."""
        stamp = self._stamper.stamp(self.key.view, self._run.version)
        message = messages.heartbeat(self.info.name, stamp)
        for viewer in self.viewers:
            viewer.offer(message)
        kept = self._kept
        if kept and time.monotonic() - kept[0] > SNAPSHOT_AGE_S:
            self._kept = None


def followed(run: Run, name: str) -> RelationInfo:
    """Return a relation that can be followed.

    Raises:
        UnknownName: there is none, or it is a stream.
    """
    info = run.relation(name)
    if info.is_logged:
        raise UnknownName(
            "a stream cannot be followed, only what is kept: views and tables",
            where=info.name,
            hint=f"create a view, such as SELECT * FROM {info.name}",
        )
    return info


def source_of(info: RelationInfo) -> str:
    """Return the name under which an outlet is told the changes of a relation."""
    lowered = info.name.lower()
    return KEPT_PREFIX + lowered if info.kind in ("table", "side") else lowered


def fits(table: pa.Table, info: RelationInfo) -> bool:
    """Whether rows and columns were read from the same definition."""
    return tuple(table.schema.names) == tuple(info.schema.names)
