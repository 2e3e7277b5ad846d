"""What all routes share: the run, the settings, the threads, the broadcast and the counters."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from headrace.app import App
from headrace.errors import BadRequest, Busy
from headrace.query import Reader
from headrace.runtime import Run
from headrace.serve.bodies import Flight
from headrace.serve.broadcast import Broadcast
from headrace.serve.cursors import Cursors
from headrace.serve.groups import Groups
from headrace.serve.metrics import Counters
from headrace.serve.pool import Pool
from headrace.serve.settings import ServerSettings
from headrace.serve.stamps import Stamper


@dataclass
class Service:
    """One server's parts; handlers get it from `request.app.state.service`."""

    run: Run
    settings: ServerSettings
    ingest: Pool
    groups: Groups
    reads: Pool
    flight: Flight
    broadcast: Broadcast
    stamper: Stamper
    cursors: Cursors
    reader: Reader
    counters: Counters
    started_at: float
    declarations: Callable[[], App] | None = None
    """Reads the project's files anew."""

    @classmethod
    def of(cls, run: Run, settings: ServerSettings, declarations: Callable[[], App] | None = None) -> Service:
        """Put the parts together; nothing listens or runs yet."""
        stamper = Stamper(run)
        return cls(
            run,
            settings,
            Pool("ingest", settings.ingest_threads, settings.waiting_max),
            Groups(run.begin_append, run.turns, settings.waiting_max),
            Pool("read", settings.read_threads, settings.waiting_max),
            Flight(settings.flight_bytes_max),
            Broadcast(run, settings, stamper),
            stamper,
            Cursors(settings.cursor_seconds, settings.cursor_bytes_max),
            Reader(),
            Counters(),
            time.time(),
            declarations,
        )

    async def reach(self, params: Mapping[str, str]) -> None:
        """Wait until the commit in `?after=` is in the published version, at most `?after_s=` seconds.

        Raises:
            BadRequest: it is not a number.
            Busy: the time is up.
        """
        after = params.get("after")
        if after is None:
            return
        longest_s = seconds_of(params, "after_s", self.settings.after_timeout_s)
        if not after.isdigit() or len(after) > 18:
            raise BadRequest(f"after={after!r} is not a commit number"[:100], expected="after=COMMIT")
        commit = int(after)
        try:
            async with asyncio.timeout(longest_s):
                await self.broadcast.reached(commit)
        except TimeoutError:
            raise Busy(
                f"commit {commit} is not in the views yet; they are at commit {self.run.version.commit}",
                expected=f"within {longest_s:g} s",
                hint="is it the commit that an append answered?",
            ) from None

    def close(self) -> None:
        """Stop the threads and the broadcast."""
        self.broadcast.close()
        self.ingest.close()
        self.groups.close()
        self.reads.close()
        self.reader.close()


def seconds_of(params: Mapping[str, str], name: str, most_s: float) -> float:
    """Return a number of seconds in the address, at most `most_s`, which it is where nothing is given.

    Raises:
        BadRequest: it is no number.
    """
    value = params.get(name)
    if value is None:
        return most_s
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", value):
        return min(float(value), most_s)
    raise BadRequest(f"{name}={value!r} is not a number of seconds"[:100], expected=f"0 to {most_s:g}")
