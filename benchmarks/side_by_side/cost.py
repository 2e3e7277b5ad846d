"""What one engine did with one query, and how outputs are consumed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Cost:
    """What a query cost, start-up excluded.

    Attributes:
        events: how many were read.
        cpu_s: CPU seconds of the process, all threads.
        wall_s: seconds from the first event to the last answer.
        peak_mb: the largest resident memory of the process.
    """

    events: int
    cpu_s: float
    wall_s: float
    peak_mb: float

    @property
    def per_cpu_s(self) -> float:
        """Events per CPU-second."""
        return self.events / max(self.cpu_s, 1e-9)

    @property
    def per_s(self) -> float:
        """Events per second."""
        return self.events / max(self.wall_s, 1e-9)


def consume(columns: Iterable[pa.Array]) -> int:
    """Read every byte of some columns once, as somebody who takes the output would: all words are added up.

    That costs what reading from memory costs, so that the reader is no part of what is measured.
    """
    check = 0
    for column in columns:
        for buffer in column.buffers():
            if buffer is not None and buffer.size:
                data = np.frombuffer(buffer, dtype=np.uint8)
                words = len(data) // 8 * 8
                check += int(np.add.reduce(data[:words].view(np.uint64)))
                check += int(np.add.reduce(data[words:], dtype=np.uint64))
    return check
