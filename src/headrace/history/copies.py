"""A data folder copied while a run goes on: its newest checkpoint, the past, and the log, in that order.

Each is younger than what was copied before it, so that the copy opens as after a crash at the moment at which
the log was copied: from the checkpoint, with the past up to its last version and what the log has behind it.
What goes while it is copied (segments that are sealed or merged, packs and rows that nobody needs any longer)
makes that piece begin again.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from headrace.errors import StorageError
from headrace.history.store import CHAPTERS, FOLDER, SEGMENT_NAME
from headrace.log.copies import LOG, Copied, copy_file, copy_log, refuse_occupied
from headrace.log.files import Files
from headrace.log.finding import find
from headrace.state.checkpoint import Checkpoints, Facts

TRIES_MAX = 5


@dataclass(frozen=True, slots=True)
class CopiedFolder(Copied):
    """What a copy of a data folder holds.

    Attributes:
        version: of its checkpoint; None: it has none, and opens from the log.
        past: how many files of the past it has.
    """

    version: int | None = None
    past: int = 0


def copy_folder(folder: Path, target: Path) -> CopiedFolder:
    """Copy a data folder, which may be in use; everything is read back.

    Args:
        folder: the data folder, or a copy of one.
        target: a folder that is missing or empty.

    Raises:
        StorageError: there is no log, or the target holds something, or a file cannot be copied.
        LogDamaged: what was copied is not whole.
    """
    refuse_occupied(folder, target)
    for _ in range(TRIES_MAX):
        try:
            facts = Checkpoints(folder).copy(target) if (folder / "state").is_dir() else None
            past = _copy_past(Files(), folder / FOLDER, target / FOLDER)
        except OSError as error:
            raise StorageError(f"the copy failed: {error.strerror or error}", where=str(target)) from error
        copied = copy_log(folder, target)
        if facts is None or not _has_lost(target, facts):
            version = None if facts is None else facts.version
            sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
            return CopiedFolder(len(sizes), sum(sizes), copied.last_commit, version, past)
        shutil.rmtree(target, ignore_errors=True)
    raise StorageError("rows that the checkpoint needs went again and again", hint="try again")


def _has_lost(target: Path, facts: Facts) -> bool:
    """Whether rows are gone from the log that came after the checkpoint."""
    trimmed = find(Files(), target / LOG).base.trimmed
    return max(trimmed.values(), default=0) > min(facts.commit, facts.intake_commit)


def _copy_past(files: Files, past: Path, target: Path) -> int:
    """Copy the segments of the past as they stand at one moment; return how many files that are."""
    for _ in range(TRIES_MAX):
        found = _past_files(files, past)
        try:
            files.make_folder(target)
            for path, _ in found:
                copy_file(files, path, target / path.name)
            if found == _past_files(files, past):
                files.sync_folder(target)
                return len(found)
        except FileNotFoundError:
            pass
        shutil.rmtree(target, ignore_errors=True)
    raise StorageError("the past was merged again and again while it was copied", hint="try again")


def _past_files(files: Files, past: Path) -> list[tuple[Path, int]]:
    """Return the files of the past, each with what changes when another takes its place."""
    names = files.names(past) if past.is_dir() else []
    paths = [past / name for name in names if SEGMENT_NAME.fullmatch(name) or name == CHAPTERS]
    return [(path, path.stat().st_ino) for path in paths]
