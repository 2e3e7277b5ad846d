"""From versions to viewers: an outlet that costs the step thread nothing, and one thread that encodes.

Each change of a view is encoded once for all who watch it in the same form, and only when somebody does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from headrace.change import Change
from headrace.errors import Busy, Closed, HeadraceError
from headrace.results import Version
from headrace.runtime import Run
from headrace.serve.answers import Stamp
from headrace.serve.channel import Channel, ChannelKey, Part
from headrace.serve.messages import Message
from headrace.serve.settings import ServerSettings
from headrace.serve.stamps import Stamper
from headrace.serve.viewer import Viewer

logger = logging.getLogger("headrace")

TURN_WAIT_S = 0.1
"""How long the encoder waits for its turn."""
SENDING_S = 0.01
"""How long the encoder keeps its turn while the event loop sends what it has encoded."""
DRAIN_MAX = 1_000
"""Versions that the encoder takes at once."""
WAITING_MAX = 10_000
"""Versions that may wait for the encoder; beyond, readers get new snapshots instead."""
Arrived = Sequence[tuple[Version, Mapping[str, Change]]]
Batches = list[tuple[Sequence[Part], Stamp]]
Delivery = list[tuple[Channel, list[Message]]]


GONE = "there is no such view any more"


class Broadcast:
    """All channels of one server. Attach it with `start` on the event loop; end it with `close`.

    Args:
        run: what is followed.
        settings: bounds.
        stamper: tells version, watermark and freshness.
    """

    def __init__(self, run: Run, settings: ServerSettings, stamper: Stamper) -> None:
        self._run = run
        self._settings = settings
        self._stamper = stamper
        self._channels: dict[ChannelKey, Channel] = {}
        self._queue: queue.SimpleQueue[tuple[Version, Mapping[str, Change]] | None] = queue.SimpleQueue()
        self._waiters: set[tuple[Callable[[Version], bool], asyncio.Future[None]]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._beats: asyncio.Task[None] | None = None
        self._detach: Callable[[], None] | None = None
        self._ending = False
        self._handing = threading.Lock()
        self._place: threading.Event | None = None
        self.messages_encoded = 0
        self.encode_busy_s = 0.0
        self.losses = 0

    # --- life ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to listen; call it on the event loop that serves."""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._encode_loop, name="headrace-encode", daemon=True)
        self._thread.start()
        self._beats = self._loop.create_task(self._beat_loop())
        self._detach = self._run.attach(self)

    def close(self) -> None:
        """Stop listening and end every viewer. Idempotent."""
        if self._detach is not None:
            self._detach()
            self._detach = None
        if self._beats is not None:
            self._beats.cancel()
        self.end_viewers()
        with self._handing:  # nobody takes a place that the encoder does not come for
            self._channels = {}
            self._queue.put(None)
        for _, future in list(self._waiters):
            future.cancel()

    def end_viewers(self) -> None:
        """Tell every viewer that the server stops; none is taken any more."""
        self._ending = True
        for channel in self._channels.values():
            for viewer in channel.viewers:
                viewer.close()

    # --- the step thread -----------------------------------------------------------------------------

    def publish(self, version: Version, changes: Mapping[str, Change]) -> None:
        """Take a version's changes; returns at once, and does nothing where nobody listens.

        Its caller has the turn, and the encoder is to have the next one.
        """
        if self._waiters:
            self._on_loop(self._wake_waiters, version)
        with self._handing:
            if not self._channels:
                return
            if self._queue.qsize() < WAITING_MAX:
                if self._place is None:
                    self._place = self._run.turns.place_ahead()
                self._queue.put((version, changes))
                return
        self._on_loop(self._lose_all)

    def _on_loop(self, call: Callable[..., None], *args: object) -> None:
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended: nobody is left to tell
                loop.call_soon_threadsafe(call, *args)

    # --- the encoder's thread ------------------------------------------------------------------------

    def _encode_loop(self) -> None:
        while True:
            arrived: list[tuple[Version, Mapping[str, Change]]] | None = []
            began = time.perf_counter()
            try:
                arrived = self._next_batch()
                began = time.perf_counter()
                self._encode(arrived or (), self._taken_place())
            except Exception:
                logger.exception("a change could not be encoded; its viewers get a new snapshot")
                self._give_place_back()
                self._on_loop(self._lose_all)
            if arrived is None:
                return
            self.encode_busy_s += time.perf_counter() - began

    def _taken_place(self) -> threading.Event | None:
        """Return the place in the line that the step thread has taken for this one, once."""
        with self._handing:
            place, self._place = self._place, None
            return place

    def _give_place_back(self) -> None:
        """Keep nobody waiting behind a place that was not come for."""
        place = self._taken_place()
        if place is not None:
            self._run.turns.leave(place)

    def _next_batch(self) -> list[tuple[Version, Mapping[str, Change]]] | None:
        due = min((channel.due_at() for channel in self._channels.values()), default=float("inf"))
        wait_s = None if due == float("inf") else max(0.0, due - time.monotonic())
        batch: list[tuple[Version, Mapping[str, Change]]] = []
        try:
            item = self._queue.get(timeout=wait_s)
            while item is not None:
                batch.append(item)
                if len(batch) >= DRAIN_MAX:
                    return batch
                item = self._queue.get_nowait()
        except queue.Empty:
            return batch
        return None

    def _encode(self, arrived: Arrived, place: threading.Event | None) -> None:
        """Encode what is due and see it sent, in one turn: who reads is served before more rows are read."""
        due: list[tuple[Channel, Batches]] = []
        try:
            due = self._due(arrived)
        finally:
            if place is not None and not due:
                self._run.turns.leave(place)
        if not due:
            return
        with self._run.turns.turn(TURN_WAIT_S, place):
            delivery = [
                (channel, [channel.message(parts, stamp) for parts, stamp in batches])
                for channel, batches in due
            ]
            self.messages_encoded += sum(len(encoded) for _, encoded in delivery)
            sent = threading.Event()
            self._on_loop(self._deliver, delivery, sent)
            sent.wait(SENDING_S)

    def _due(self, arrived: Arrived) -> list[tuple[Channel, Batches]]:
        """Return what each channel is to send now; it may wait for a step, so it comes before the turn."""
        now = time.monotonic()
        due = []
        for channel in tuple(self._channels.values()):
            source = channel.source
            parts = [
                Part(version, changes[source])
                for version, changes in arrived
                if source in changes and channel.concerns(changes[source])
            ]
            batches = channel.batches(parts, now)
            if batches:
                due.append((channel, batches))
        return due

    # --- the event loop ------------------------------------------------------------------------------

    def join(self, key: ChannelKey) -> tuple[Channel, Viewer]:
        """Add a viewer.

        Raises:
            UnknownName: there is no such view.
            Busy: too many viewers.
            Closed: the server stops.
        """
        if self._ending:
            raise Closed("the server stops")
        if self.viewer_count >= self._settings.subscribers_max:
            raise Busy(
                "too many readers follow views", expected=f"at most {self._settings.subscribers_max:,}"
            )
        channel = self._channels.get(key)
        if channel is None:
            channel = Channel(self._run, key, self._stamper, self._settings.live_rows_max)
            self._channels = {**self._channels, key: channel}
        viewer = Viewer(self._settings.viewer_queue_bytes_max, channel.delivered)
        channel.viewers.add(viewer)
        return channel, viewer

    def leave(self, channel: Channel, viewer: Viewer) -> None:
        """Remove a viewer; a channel without viewers ends."""
        self.losses += viewer.losses
        viewer.losses = 0
        channel.viewers.discard(viewer)
        if not channel.viewers:
            self._channels = {key: kept for key, kept in self._channels.items() if kept is not channel}

    @property
    def viewer_count(self) -> int:
        """Readers at present."""
        return sum(len(channel.viewers) for channel in self._channels.values())

    def viewers_by_view(self) -> dict[str, int]:
        """Return the number of readers of each view that has any."""
        counts: dict[str, int] = {}
        for channel in self._channels.values():
            counts[channel.info.name] = counts.get(channel.info.name, 0) + len(channel.viewers)
        return counts

    async def reached(self, commit: int) -> None:
        """Wait until `commit` is in the published version."""
        await self._until(lambda version: version.has(commit))

    async def moved_beyond(self, number: int) -> None:
        """Wait for a version after `number`."""
        await self._until(lambda version: version.number > number)

    async def _until(self, holds: Callable[[Version], bool]) -> None:
        if holds(self._run.version):
            return
        waiter = (holds, asyncio.get_running_loop().create_future())
        self._waiters.add(waiter)
        try:
            if not holds(self._run.version):
                await waiter[1]
        finally:
            self._waiters.discard(waiter)

    def _wake_waiters(self, version: Version) -> None:
        for holds, future in list(self._waiters):
            if holds(version) and not future.done():
                future.set_result(None)

    def _deliver(self, delivery: Delivery, sent: threading.Event) -> None:
        for channel, encoded in delivery:
            for message in encoded:
                channel.deliver(message)
        assert self._loop is not None
        self._loop.call_soon(sent.set)  # behind the viewers that this has woken

    def _lose_all(self) -> None:
        number = self._run.version.number
        for channel in self._channels.values():
            for viewer in channel.viewers:
                viewer.lose(number)

    async def _beat_loop(self) -> None:
        while True:
            await asyncio.sleep(self._settings.heartbeat_s)
            if not self._channels:
                continue
            try:
                errors = await asyncio.to_thread(self._errors)
            except (HeadraceError, MemoryError):  # the next beat tells
                continue
            for channel in tuple(self._channels.values()):
                channel.note_error(errors.get(channel.info.name, GONE))
                channel.beat()

    def _errors(self) -> dict[str, str | None]:
        return self._run.relation_errors()
