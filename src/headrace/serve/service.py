"""What all routes share: the run, the settings, the threads, the broadcast and the counters."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from headrace.errors import BadRequest, Busy
from headrace.runtime import Run
from headrace.serve.bodies import Flight
from headrace.serve.broadcast import Broadcast
from headrace.serve.cursors import Cursors
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
    reads: Pool
    flight: Flight
    broadcast: Broadcast
    stamper: Stamper
    cursors: Cursors
    counters: Counters
    started_at: float

    @classmethod
    def of(cls, run: Run, settings: ServerSettings) -> Service:
        """Put the parts together; nothing listens or runs yet."""
        stamper = Stamper(run)
        return cls(
            run,
            settings,
            Pool("ingest", settings.ingest_threads, settings.waiting_max),
            Pool("read", settings.read_threads, settings.waiting_max),
            Flight(settings.flight_bytes_max),
            Broadcast(run, settings, stamper),
            stamper,
            Cursors(settings.cursor_seconds, settings.cursor_bytes_max),
            Counters(),
            time.time(),
        )

    async def reach(self, after: str | None) -> None:
        """Wait until a commit is in the published version.

        Raises:
            BadRequest: it is not a number.
            Busy: the time is up.
        """
        if after is None:
            return
        if not after.isdigit() or len(after) > 18:
            raise BadRequest(f"after={after!r} is not a commit number"[:100], expected="after=COMMIT")
        commit = int(after)
        try:
            async with asyncio.timeout(self.settings.after_timeout_s):
                await self.broadcast.reached(commit)
        except TimeoutError:
            raise Busy(
                f"commit {commit} is not in the views yet; they are at commit {self.run.version.commit}",
                expected=f"within {self.settings.after_timeout_s:g} s",
                hint="is it the commit that an append answered?",
            ) from None

    def close(self) -> None:
        """Stop the threads and the broadcast."""
        self.broadcast.close()
        self.ingest.close()
        self.reads.close()
