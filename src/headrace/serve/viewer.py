"""One live reader: a bounded queue, and the decision what it is sent next."""

from __future__ import annotations

import asyncio
from collections import deque

from headrace.serve.messages import Message


class Viewer:
    """A reader of one channel. Everything here happens on the event loop.

    It begins without a position and therefore wants a snapshot; changes that arrive meanwhile wait. When
    more than `bytes_max` waits, all of it is dropped and the reader wants a new snapshot: a slow reader
    misses steps, never the end, and never holds anybody else up.

    Args:
        bytes_max: what may wait.
        floor: the newest version that the channel had delivered before this reader joined.
    """

    def __init__(self, bytes_max: int, floor: int) -> None:
        self.version: int | None = None
        self.floor = floor
        self.losses = 0
        self.closed = False
        self._bytes_max = bytes_max
        self._waiting: deque[Message] = deque()
        self._bytes = 0
        self._beat: Message | None = None
        self._awake = asyncio.Event()

    @property
    def wants_snapshot(self) -> bool:
        """Whether it cannot go on without all rows."""
        return self.version is None

    def offer(self, message: Message) -> None:
        """Take a message from the channel: changes queue up, of heartbeats only the newest is kept."""
        if message.kind == "heartbeat":
            self._beat = message
        elif self._bytes + message.size > self._bytes_max:
            self.lose(message.version)
        else:
            self._waiting.append(message)
            self._bytes += message.size
        self._awake.set()

    def lose(self, version: int) -> None:
        """Forget the position and all that waits: only a snapshot at `version` or later helps now."""
        self.losses += self.version is not None
        self.version = None
        self.floor = max(self.floor, version, *(message.version for message in self._waiting))
        self._waiting.clear()
        self._bytes = 0
        self._awake.set()

    def close(self) -> None:
        """End it."""
        self.closed = True
        self._awake.set()

    def begin_at(self, version: int) -> bool:
        """Go on from a snapshot of `version`; False where changes after it have been dropped already."""
        if version < self.floor:
            return False
        self.version = version
        return True

    def next_message(self) -> Message | None:
        """Return what is to be sent now, or None; a gap in the numbers makes it want a snapshot."""
        while self._waiting and self.version is not None:
            message = self._waiting.popleft()
            self._bytes -= message.size
            if message.version <= self.version:
                continue
            if not message.previous <= self.version < message.first:
                self.lose(message.version)
                return None
            self.version = message.version
            return message
        return self.next_beat()

    def next_beat(self) -> Message | None:
        """Return the newest heartbeat that was not sent yet."""
        beat, self._beat = self._beat, None
        return beat

    async def wake(self) -> None:
        """Wait until something may have changed."""
        await self._awake.wait()
        self._awake.clear()
