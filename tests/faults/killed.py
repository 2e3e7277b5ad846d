"""A data folder as the death of its process would leave it, while the process lives."""

from __future__ import annotations

import shutil
from pathlib import Path


def killed(folder: Path, target: Path) -> Path:
    """Copy a folder in which nobody writes rows, without its lock, and return the copy.

    A thread that tidies up (the note of a change that is over goes, a checkpoint's draft gets its name) may
    do so while files are copied one by one; what has files of before and of after is no moment's folder, so
    it is copied again.
    """
    while True:
        names = _names(folder)
        try:
            shutil.copytree(folder, target, ignore=shutil.ignore_patterns("lock"))
        except shutil.Error:
            if _names(folder) == names:
                raise  # nothing vanished
        else:
            if _names(folder) == names:
                return target
        shutil.rmtree(target)


def _names(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("*")}
