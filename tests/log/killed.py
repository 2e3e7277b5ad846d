"""A program that appends until it is killed, and tells on stdout which commits were acknowledged."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from tests.log.samples import commit

from headrace.log import Log


def main(folder: str) -> None:
    """Append from four threads at once; one line for each acknowledged commit, written at once."""
    log = Log.open(Path(folder), segment_bytes=4_000, seal_bytes=8_000)
    turn = threading.Lock()
    upcoming = log.last_commit + 1

    def work() -> None:
        nonlocal upcoming
        while True:
            with turn:
                number = upcoming
                upcoming += 1
                ticket = log.append(commit(number, number % 7 + 1))
            ticket.wait()
            os.write(1, b"%d\n" % number)

    for _ in range(4):
        threading.Thread(target=work).start()


if __name__ == "__main__":
    main(sys.argv[1])
