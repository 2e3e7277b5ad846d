"""What somebody has asked for and is not in force yet, on disk, so that a crash does not forget it.

The file `change.json` stands in the data folder from the beginning of a change to its end. The switch itself
is one record of the log, and needs no file. At an opening:

- declarations in force that are the wanted ones: the change was switched, and the file is a leftover;
- declarations of the program that are the wanted ones: the change begins again, beside the ones in force;
- any other declarations of the program: the change is undone, and whoever asks is told so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from headrace.log.documents import place_file, read_file
from headrace.log.files import Files

NAME = "change.json"


@dataclass(frozen=True, slots=True)
class Intent:
    """A change that has begun.

    Attributes:
        declarations: that it leads to, as the log has them.
        began: when, ISO text in UTC.
        preview: it stops before the switch.
        undoes: it leads back to what was before the last one.
    """

    declarations: Mapping[str, Any]
    began: str
    preview: bool = False
    undoes: bool = False

    def leads_to(self, facts: Mapping[str, Any]) -> bool:
        """Whether declarations, as `App.fingerprint` gives them, are the wanted ones."""
        return all(self.declarations.get(kind) == found for kind, found in facts.items())


class IntentFile:
    """The file in a data folder; in memory nothing is written.

    Args:
        folder: the data folder, or None.
        files: the file system; tests give one with faults.
    """

    def __init__(self, folder: Path | None, files: Files | None = None) -> None:
        self._path = None if folder is None else folder / NAME
        self._files = files or Files()

    def read(self) -> Intent | None:
        """Return the change that had begun; None: none, or the file cannot be read, which undoes it."""
        if self._path is None or not self._path.exists():
            return None
        try:
            return Intent(**orjson.loads(read_file(self._files, self._path)))
        except (OSError, orjson.JSONDecodeError, TypeError):
            return None

    def write(self, intent: Intent) -> None:
        """Put the file in place as a whole, durable when it returns.

        Raises:
            OSError: the disk refuses.
        """
        if self._path is not None:
            place_file(self._files, self._path, orjson.dumps(asdict(intent)))

    def remove(self) -> None:
        """Forget the change.

        Raises:
            OSError: the disk refuses.
        """
        if self._path is not None and self._path.exists():
            self._files.remove(self._path)
            self._files.sync_folder(self._path.parent)
