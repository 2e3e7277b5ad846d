"""Erasing: rows are put down anew in the log, and whatever was computed from them as they were is forgotten.

What stands in views, in the state of their operators and in the past follows from rows in ways that only the
views know: a name may be a group, a sum may tell an amount. So it is not searched for the person: checkpoints
and the past go as a whole, first, and the next start computes the views from the rewritten log. After a crash
the same call does the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headrace.errors import StorageError
from headrace.history.store import FOLDER
from headrace.log.files import Files
from headrace.log.log import Log
from headrace.log.rewriting import Rewritten, Transform
from headrace.state.checkpoint import Checkpoints


def erase(folder: Path, relation: str, transform: Transform, *, note: dict[str, Any]) -> Rewritten:
    """Put the rows of a relation down anew in a data folder that nobody has open, such as without one
    person's columns.

    A stream's late and rejected rows are relations of their own. Backups, and what sinks have been given, are
    not reached. Counts of rows that a retention has let go are lost with the checkpoints that carried them.

    Args:
        folder: the data folder.
        relation: a stream, table or side table, by its exact name.
        transform: is given rows and returns as many, in the same columns.
        note: JSON values that say why; the log keeps them.

    Raises:
        FolderLocked: somebody has the folder.
        DeclarationError: the transform returns something else.
        StorageError: the disk refuses; the same call again does the rest.
        LogDamaged: what has to be read is damaged.
    """
    with Log.open(folder) as log:
        try:
            _forget(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise StorageError(f"what was computed cannot be removed: {reason}", where=str(folder)) from error
        return log.rewrite(relation, transform, note=note)


def _forget(folder: Path) -> None:
    """Remove the checkpoints and the past, whether they can be read or not."""
    files, past = Files(), folder / FOLDER
    Checkpoints(folder, files).clear()
    if past.is_dir():
        for name in files.names(past):
            files.remove(past / name)
        files.sync_folder(past)
