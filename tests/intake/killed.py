"""A program that sends rows until it is killed, and tells on stdout which were acknowledged.

Each of three threads sends its own numbers in order, each number as an event and as a row of a table, from
the first number on: what an earlier life has sent is sent once more.
"""

from __future__ import annotations

import os
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from tests.intake.samples import STREAMS, TABLES, call, event, row

from headrace.intake import Intake
from headrace.log import Log

THREADS = 3


def main(folder: str) -> None:
    """Send until killed; a line `kind number status` for each answer, written at once."""
    log = Log.open(Path(folder), segment_bytes=30_000, seal_bytes=60_000)
    intake = Intake(STREAMS, TABLES, log, lambda: datetime.now(UTC))
    for record in log.records():
        intake.recover(record)

    def work(first: int) -> None:
        number = first
        while True:
            calls = [call("append", "orders", [event(number)]), call("upsert", "keyed", [row(number)])]
            results = intake.submit(calls, idempotency_key=f"k{number}" if number % 2 else None)
            told = "".join(str(int(result.statuses[0])) for result in results)
            os.write(1, f"{number} {told}\n".encode())
            number += THREADS

    for thread in range(THREADS):
        threading.Thread(target=work, args=(thread,)).start()


if __name__ == "__main__":
    main(sys.argv[1])
