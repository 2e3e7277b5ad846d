"""Requests that append to one stream at the same time share one commit.

A request of a hundred rows costs mostly what it would cost with one row: kernels begin, a commit is
written, threads change places. So requests that come while others are on their way form groups, one every few
milliseconds; a request that finds nobody before it never waits.

To its sender a group looks as if the request had come alone: it is told about its own rows, by their own
indexes. Only a request that may refuse the whole commit, or that names a key under which its answer is kept,
needs a commit of its own and does not come here.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from headrace.errors import Busy, Closed, StorageError
from headrace.results import AppendResult, RowStatus
from headrace.serve.pool import waits_too_long
from headrace.turns import Turns

T = TypeVar("T")
Begin = Callable[[str, list[Any]], Callable[[], AppendResult]]
"""Decides about rows of a stream at once; what it returns waits until they are durable."""
GROUP_BYTES_MAX = 4 << 20
"""Bodies of one group; one that is larger by itself is a group alone."""
TURN_WAIT_S = 0.1
"""How long a group waits for its turn."""
GROUP_PAUSE_S = 0.02
"""Pause after a group was decided, while there is something on its way: a step begins in between."""
_REPEATED = int(RowStatus.REPEATED)
THREADS = 2
"""Groups on their way at a time: one is decided while the other waits for the disk."""


@dataclass(slots=True, eq=False)
class Waiting:
    """One request in the queue.

    Attributes:
        stream: where its rows go.
        size: bytes of the body.
        read: returns its rows, or raises what is wrong with the body.
        told: makes the answer of the request's own result.
        future: gets the answer, on the event loop.
    """

    stream: str
    size: int
    read: Callable[[], list[Any]]
    told: Callable[[AppendResult], Any]
    future: asyncio.Future[Any]


Outcome = tuple[asyncio.Future[Any], Any, BaseException | None]
Read = tuple[Waiting, list[Any]]
Finish = Callable[[], AppendResult]


class Groups:
    """The queue of appends and the threads that empty it.

    Args:
        begin: `Run.begin_append`.
        turns: groups are decided in turn with steps.
        waiting_max: requests that may wait; one more is told to come back.
    """

    def __init__(self, begin: Begin, turns: Turns, waiting_max: int) -> None:
        self._begin = begin
        self._turns = turns
        self._waiting_max = waiting_max
        self._queue: deque[Waiting] = deque()
        self._wake = threading.Condition()
        self._gathering = threading.Lock()
        self._under_way = 0
        self._next_at = 0.0
        self._closing = False
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None

    async def append(
        self, stream: str, size: int, read: Callable[[], list[Any]], told: Callable[[AppendResult], T]
    ) -> T:
        """Append one request's rows and return what `told` makes of its result; call it from the event loop.

        Args:
            stream: its name.
            size: bytes of the body.
            read: returns the rows; called on another thread.
            told: called on another thread.

        Raises:
            Busy: too many wait already.
            Closed: the server stops.
            HeadraceError: what `read` or the append says of these rows.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._wake:
            if self._closing:
                raise Closed("the server stops")
            if len(self._queue) >= self._waiting_max:
                raise waits_too_long(self._waiting_max)
            self._start(loop)
            self._queue.append(Waiting(stream.lower(), size, read, told, future))
            self._wake.notify()
        return await future

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is None:
            self._loop = loop
            self._threads = [
                threading.Thread(target=self._work, name=f"headrace-group_{n}", daemon=True)
                for n in range(THREADS)
            ]
            for thread in self._threads:
                thread.start()

    def close(self) -> None:
        """Take nothing more; what waits is still done."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()

    # --- the threads ----------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._gathering:
                with self._wake:
                    if not self._wait_for_turn():
                        return
                with self._turns.turn(TURN_WAIT_S):
                    with self._wake:  # with all that came while others had their turn
                        group = self._take()
                        self._under_way += len(group)
                    begun = self._decided(group)
                with self._wake:
                    self._next_at = time.monotonic() + GROUP_PAUSE_S
            try:
                outcomes = self._ended(*begun)
            except BaseException as error:  # noqa: BLE001 - told to all: nobody is left waiting
                outcomes = [(waiting.future, None, error) for waiting in group]
            with self._wake:
                self._under_way -= len(group)
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(_resolve, outcomes)
            except RuntimeError:  # the loop has ended: nobody is left to tell
                return

    def _wait_for_turn(self) -> bool:
        """Wait until a group may begin; False where all is done and nothing more will come."""
        while True:
            self._wake.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return False
            left_s = self._next_at - time.monotonic()
            if self._closing or left_s <= 0 or self._under_way + len(self._queue) < 2:
                return True
            self._wake.wait(left_s)

    def _take(self) -> list[Waiting]:
        """Take the first request and all that wait for the same stream, up to a bound, in order."""
        group = [self._queue.popleft()]
        size = group[0].size
        rest: deque[Waiting] = deque()
        while self._queue and size < GROUP_BYTES_MAX:
            waiting = self._queue.popleft()
            if waiting.stream == group[0].stream and size + waiting.size <= GROUP_BYTES_MAX:
                group.append(waiting)
                size += waiting.size
            else:
                rest.append(waiting)
        self._queue.extendleft(reversed(rest))
        return group

    def _decided(self, group: Sequence[Waiting]) -> tuple[list[Outcome], list[Read], Finish | None]:
        """Read and decide; return what is known already, and what waits for the disk."""
        outcomes: list[Outcome] = []
        read: list[Read] = []
        for waiting in group:
            try:
                read.append((waiting, waiting.read()))
            except BaseException as error:  # noqa: BLE001 - told to the one whose body it is
                outcomes.append((waiting.future, None, error))
        return outcomes, read, self._begun(read) if read else None

    def _ended(self, outcomes: list[Outcome], read: Sequence[Read], finish: Finish | None) -> list[Outcome]:
        return outcomes if finish is None else outcomes + self._appended(read, finish)

    def _begun(self, read: Sequence[Read]) -> Finish:
        """Decide about all rows, and return what waits for the disk; it raises what went wrong."""
        try:
            return self._begin(read[0][0].stream, [row for _, rows in read for row in rows])
        except BaseException as error:  # noqa: BLE001 - raised again, where it is told
            return partial(_raise, error)

    def _appended(self, read: Sequence[Read], finish: Finish) -> list[Outcome]:
        try:
            result = finish()
        except (Busy, StorageError, Closed) as error:  # nothing was kept, and it is nobody's own fault
            return [(waiting.future, None, error) for waiting, _ in read]
        except BaseException as error:  # noqa: BLE001 - told to its sender, and only to him
            if len(read) == 1:
                return [(read[0][0].future, None, error)]
            return [outcome for one in read for outcome in self._appended([one], self._begun([one]))]
        parts = shared_out(result, [len(rows) for _, rows in read])
        return [_told(waiting, part) for (waiting, _), part in zip(read, parts, strict=True)]


def _raise(error: BaseException) -> AppendResult:
    raise error


def _told(waiting: Waiting, part: AppendResult) -> Outcome:
    try:
        return waiting.future, waiting.told(part), None
    except BaseException as error:  # noqa: BLE001 - told to its sender
        return waiting.future, None, error


def shared_out(result: AppendResult, counts: Sequence[int]) -> list[AppendResult]:
    """Return one result for each sender of a joint append.

    Args:
        result: of all rows together.
        counts: rows of each sender, in order.
    """
    if len(counts) == 1:
        return [result]
    parts = []
    start = at = 0
    rejections = result.rejections
    for count in counts:
        end, first = start + count, at
        while at < len(rejections) and rejections[at].index < end:
            at += 1
        own = tuple(replace(given, index=given.index - start) for given in rejections[first:at])
        statuses = result.statuses[start:end]
        is_written = bool((statuses != _REPEATED).any())
        commit = result.commit if is_written else None
        parts.append(AppendResult(commit, statuses, own, delivery=result.delivery))
        start = end
    return parts


def _resolve(outcomes: Sequence[Outcome]) -> None:
    for future, answer, error in outcomes:
        if future.done():  # its sender went away
            continue
        if error is None:
            future.set_result(answer)
        else:
            future.set_exception(error)
