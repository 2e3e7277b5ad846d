"""What was sent and what became of it, kept in files, so that the tally can be made by another process."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from headrace.solutions.promotions.dirt import Batch, Intent
from headrace.solutions.promotions.tally import Taken
from headrace.solutions.promotions.wire import ACCEPTED, LATE, REJECTED, REPEATED, STATUS_NAMES

INTENT = "_intent"
STATUS = "_status"


class Journal:
    """Writes one Arrow file per stream into a folder: the rows, what was meant, what was answered."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._writers: dict[str, pa.RecordBatchStreamWriter] = {}

    def note(self, batch: Batch, statuses: npt.NDArray[np.uint8]) -> None:
        """Write down a batch and the outcome of each of its rows."""
        rows = batch.rows.append_column(INTENT, pa.array(batch.intents))
        rows = rows.append_column(STATUS, pa.array(statuses))
        if batch.stream not in self._writers:
            path = self.folder / f"{batch.stream}.arrows"
            self._writers[batch.stream] = pa.ipc.new_stream(str(path), rows.schema)
        self._writers[batch.stream].write_batch(rows)

    def close(self) -> None:
        """Finish the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers.clear()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_journal(folder: Path) -> tuple[Taken, list[str]]:
    """Read a journal.

    Returns:
        What the platform took in, and sentences about answers that cannot be right, in whatever order the
        requests arrived: a broken row that was not rejected, a clean one that was, a repeated one accepted.
    """
    accepted: dict[str, list[dict[str, Any]]] = {}
    counts: dict[str, npt.NDArray[np.int64]] = {}
    wrong: list[str] = []
    for path in sorted(folder.glob("*.arrows")):
        with pa.ipc.open_stream(str(path)) as reader:
            table = reader.read_all()
        status = table.column(STATUS).to_numpy()
        wrong += _misjudged(path.stem, table.column(INTENT).to_numpy(), status)
        rows = table.drop_columns([INTENT, STATUS]).filter(pa.array(status == ACCEPTED))
        accepted[path.stem] = rows.to_pylist()
        counts[path.stem] = np.bincount(status, minlength=4)
    rejected = {stream: int(count[REJECTED]) for stream, count in counts.items()}
    return Taken(accepted, rejected, {stream: int(count[LATE]) for stream, count in counts.items()}), wrong


def _misjudged(stream: str, intent: npt.NDArray[np.uint8], status: npt.NDArray[np.uint8]) -> list[str]:
    possible = {
        Intent.CLEAN: (ACCEPTED, LATE),
        Intent.REPEATED: (REPEATED, LATE),
        Intent.BROKEN: (REJECTED,),
    }
    found = []
    for meant, allowed in possible.items():
        strange = (intent == meant) & ~np.isin(status, allowed)
        for code in np.unique(status[strange]).tolist():
            rows = int((strange & (status == code)).sum())
            found.append(f"{stream}: {rows} {meant.name.lower()} rows were answered {STATUS_NAMES[code]}")
    return found


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write the simulator's closing words beside its journal."""
    (folder / "summary.json").write_text(json.dumps(summary, indent=2))
