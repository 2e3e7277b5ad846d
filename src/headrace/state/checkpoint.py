"""Checkpoints: the state at one commit, in a small manifest over blocks that are stored once.

A manifest `000000000012.json` is one JSON document behind its own digest. It appears under its name only when
its blocks are on stable storage, so it is whole or not there at all. The newest that is whole, and that was
written by this program for these declarations, is taken; any other is passed over with a word, down to the
log.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version as version_of
from pathlib import Path
from types import MappingProxyType
from typing import Any

import headrace
from headrace.errors import HeadraceError, StorageError
from headrace.functions import PythonFunction
from headrace.log.documents import place_document, read_document
from headrace.log.files import Files
from headrace.state import mapping
from headrace.state.beside import Beside, can_fork, fork, shared_ranges
from headrace.state.blocks import Laid, PackReader, PackWriter, Place, remove_packs
from headrace.state.frozen import Frozen, address, thaw

logger = logging.getLogger("headrace")

FORMAT = 2
KEPT = 2
"""Manifests that are kept; should the newest be damaged, the one before it serves."""
COPY_BYTES_MAX = 16 << 20
"""Bytes of columns that are copied in a few milliseconds; for more of them a copy of the process is made."""
NEVER = 1 << 62
FOLDER = "state"
_NAME = re.compile(r"\d{12}\.json")
_ROOMS = ("change.py", "contracts", "engine", "intake", "sql", "state")
_LIBRARIES = ("numpy", "pyarrow", "polars", "duckdb")


@cache
def program() -> str:
    """Return a digest of everything that decides how state looks: our own rooms, and the libraries under
    them.

    State that another program wrote is not read: it is computed again from the log.
    """
    digest = hashlib.blake2b(digest_size=16)
    root = Path(headrace.__file__).parent
    for room in _ROOMS:
        place = root / room
        for file in [place] if place.is_file() else sorted(place.rglob("*.py")):
            digest.update(file.read_bytes())
    digest.update(" ".join(version_of(name) for name in _LIBRARIES).encode())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Facts:
    """What a checkpoint was taken of.

    Attributes:
        version: number of the version.
        commit: the last commit in it.
        intake_commit: the last commit that the intake had decided.
        clock_us: the version's clock.
        watermarks_us: the version's watermarks.
        declarations: in force.
        rows: rows per relation in the log so far.
        held: commits up to `commit` that are not in it.
    """

    version: int
    commit: int
    intake_commit: int
    clock_us: int | None
    watermarks_us: dict[str, int]
    declarations: dict[str, Any]
    rows: dict[str, int]
    held: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """What writing one checkpoint cost.

    Attributes:
        number: of the checkpoint.
        state_bytes: bytes of the state.
        new_bytes: bytes that had to be written.
    """

    number: int
    state_bytes: int
    new_bytes: int


Seat = tuple[int, bool]
"""Where in memory a column lies, and whether it can never change."""


@dataclass(slots=True)
class Held:
    """State that no longer changes: its columns have been copied, or a copy of the process holds them.

    Attributes:
        parts: by name; of what a copy of the process holds, the columns that may change are let go.
        seats: by name where in memory each column lay, and whether it can never change.
        state_bytes: bytes in all.
        pack: where new blocks go.
        beside: the copy of the process that writes them, or None.
    """

    parts: Mapping[str, Frozen]
    seats: Mapping[str, list[Seat]]
    state_bytes: int
    pack: PackWriter
    beside: Beside | None = None

    def close(self) -> None:
        """Give back what it holds; a copy of the process that is still at work is ended."""
        if self.beside is not None:
            self.beside.end()
        self.pack.close()


@dataclass(frozen=True, slots=True)
class Stored:
    """Where the blocks of a checkpoint lie.

    Attributes:
        parts: by name where the shape lies, and each column.
        new_bytes: bytes that had to be written.
    """

    parts: dict[str, tuple[Laid, list[Laid]]]
    new_bytes: int


class Checkpoints:
    """The checkpoints of one data folder. Not thread-safe.

    Args:
        folder: the data folder.
        files: the file system; tests give one with faults.
        kept: how many manifests are kept.
        copy_bytes_max: bytes of changing columns that are copied while everything stands still; above it, a
            copy of the process writes them, where the system can do that.
    """

    def __init__(
        self,
        folder: Path,
        files: Files | None = None,
        *,
        kept: int = KEPT,
        copy_bytes_max: int | None = None,
    ) -> None:
        self._files = files or Files()
        self._folder = folder / FOLDER
        self._kept = kept
        self._copy_bytes_max = COPY_BYTES_MAX if copy_bytes_max is None else copy_bytes_max
        self._number = 0
        self._known: dict[str, Place] = {}
        self._same: dict[tuple[int, int], tuple[memoryview, Laid]] = {}
        self._before: dict[int, Laid] = {}
        self._files.make_folder(self._folder)

    # --- writing ----------------------------------------------------------------------------------
    def prepare(self) -> None:
        """Look at what is there; called before the state is held still."""
        self._number = max([0, *self._numbers(), *self._pack_numbers()]) + 1
        if not self._known:
            self._known = {place[3]: place for found in self._documents() for place in _places(found)}

    def hold(self, parts: Mapping[str, Frozen]) -> Held:
        """Take columns as they are now; called while nothing may change them, after `prepare`."""
        seats = {name: _seats(part) for name, part in parts.items()}
        held = Held(
            parts, seats, sum(part.nbytes for part in parts.values()),
            PackWriter(self._files, self._folder, self._number, self._known),
        )  # fmt: skip
        if sum(part.changing_bytes for part in parts.values()) > self._copy_bytes_max and can_fork():
            self._fork(held)
        if held.beside is None:
            for part in parts.values():
                part.copy()
        return held

    def _fork(self, held: Held) -> None:
        shared = shared_ranges()
        for part in held.parts.values():
            part.copy(shared)
        try:
            descriptor = held.pack.begin()
        except OSError:
            return
        held.beside = fork(lambda tell: self._stored(held, tell), {descriptor})
        if held.beside is not None:
            for part in held.parts.values():
                part.let_go()

    def write(self, facts: Facts, held: Held) -> Written:
        """Write a checkpoint and forget those that are no longer kept.

        Raises:
            OSError: the disk refuses; the checkpoints before it are as they were.
            StorageError: the copy of the process did not come to an end; neither is harmed.
        """
        try:
            stored = self._stored(held) if held.beside is None else held.beside.result()
        except StorageError:
            self._copy_bytes_max = NEVER  # what went wrong once is not tried again
            raise
        self._remember(held.parts, held.seats, stored.parts)
        document = {
            "format": FORMAT, "program": program(), "facts": asdict(facts),
            "parts": {name: {"shape": shape, "columns": columns} for name, (shape, columns) in
            stored.parts.items()},
        }  # fmt: skip
        place_document(self._files, self._path(self._number), document)
        self._collect()
        return Written(self._number, held.state_bytes, stored.new_bytes)

    def _stored(self, held: Held, tell: Callable[[], None] = lambda: None) -> Stored:
        parts = {}
        for name, part in held.parts.items():
            columns = []
            for column, (seat, is_fixed) in zip(part.columns, held.seats[name], strict=True):
                same = self._same.get((seat, column.nbytes)) if is_fixed else None
                before = self._before.get(seat)
                columns.append(held.pack.add(column, before, fixed=is_fixed) if same is None else same[1])
                tell()
            parts[name] = (held.pack.add(memoryview(part.shape)), columns)
        held.pack.finish()
        return Stored(parts, held.pack.written_bytes)

    def _remember(
        self, parts: Mapping[str, Frozen], seats: Mapping[str, list[Seat]],
        laid: Mapping[str, tuple[Laid, list[Laid]]],
    ) -> None:  # fmt: skip
        """Know the columns that can never change by their place in memory, which is theirs as long as they
        are held here; of all others, what was written last from that place: the next one may differ little.
        """
        self._same, self._before = {}, {}
        for name, part in parts.items():
            for column, (seat, is_fixed), one in zip(part.columns, seats[name], laid[name][1], strict=True):
                if is_fixed:
                    self._same[seat, column.nbytes] = (column, one)
                else:
                    self._before[seat] = one

    def _collect(self) -> None:
        """Delete old manifests, then the packs that none of the kept ones needs."""
        numbers = self._numbers()
        for number in numbers[: -self._kept]:
            self._files.remove(self._path(number))
        kept = [place for document in self._documents() for place in _places(document)]
        self._known = {place[3]: place for place in kept}
        remove_packs(self._files, self._folder, {place[0] for place in kept})

    # --- reading ----------------------------------------------------------------------------------
    def newest(
        self, functions: Mapping[str, PythonFunction] = MappingProxyType({})
    ) -> Iterator[tuple[Facts, dict[str, Any]]]:
        """Yield the whole checkpoints, newest first, each with its parts; what cannot be used is logged.

        Args:
            functions: the declared Python functions by name.
        """
        for number in reversed(self._numbers()):
            try:
                document = self._document(number)
                if document["program"] != program():
                    raise StorageError("another version of the program wrote it")
                yield Facts(**document["facts"]), self._parts(document, functions)
            except (HeadraceError, OSError, KeyError, TypeError) as error:
                reason = error.problem if isinstance(error, HeadraceError) else str(error)
                logger.warning("checkpoint %d is passed over: %s", number, reason)

    def _parts(self, document: dict[str, Any], functions: Mapping[str, PythonFunction]) -> dict[str, Any]:
        reader = PackReader(self._files, self._folder)
        laid = {name: _laid(part) for name, part in document["parts"].items()}
        try:
            with ThreadPoolExecutor(mapping.threads()) as pool:  # checks leave the interpreter to others
                frozen = {
                    name: Frozen(bytes(reader.read(shape.blocks)), mapping.columns(reader, columns, pool))
                    for name, (shape, columns) in laid.items()
                }
        finally:
            reader.close()
        self._remember(frozen, {name: _seats(part) for name, part in frozen.items()}, laid)
        return {name: thaw(part.shape, part.columns, functions) for name, part in frozen.items()}

    def copy(self, target: Path) -> Facts | None:
        """Copy the newest whole checkpoint into another data folder, its blocks checked and in one pack. It
        does not matter which program wrote it, nor whether it goes while it is copied; None: there is none.

        Raises:
            OSError: the target's disk refuses.
        """
        for number in reversed(self._numbers()):
            other = Checkpoints(target, self._files)
            try:
                document = self._document(number)
                other._take_over(document, PackReader(self._files, self._folder))
            except (StorageError, FileNotFoundError) as error:
                logger.warning("checkpoint %d is not copied: %s", number, error)
                other.clear()
                continue
            return Facts(**document["facts"])
        return None

    def _take_over(self, document: dict[str, Any], reader: PackReader) -> None:
        """Write a checkpoint of another folder, as the first of this one."""
        pack = PackWriter(self._files, self._folder, 1, {})
        try:
            parts = {}
            for name, part in document["parts"].items():
                shape, columns = _laid(part)
                shape, *columns = [pack.take_over(laid, reader) for laid in (shape, *columns)]
                parts[name] = {"shape": shape, "columns": columns}
            pack.finish()
            place_document(self._files, self._path(1), {**document, "parts": parts})
        finally:
            pack.close()
            reader.close()

    def clear(self) -> None:
        """Delete every checkpoint: the next start reads the log.

        Raises:
            OSError: the disk refuses.
        """
        for number in self._numbers():
            self._files.remove(self._path(number))
        self._known, self._same, self._before = {}, {}, {}
        remove_packs(self._files, self._folder, ())

    def needed_from(self) -> int | None:
        """Return the last commit of which the kept checkpoints need nothing; None: there are none."""
        facts = [document["facts"] for document in self._documents()]
        ends = [
            min(one["commit"], one["intake_commit"], *(at - 1 for at in one.get("held", ()))) for one in facts
        ]
        return min(ends, default=None)

    def _documents(self) -> Iterator[dict[str, Any]]:
        for number in self._numbers():
            try:
                yield self._document(number)
            except StorageError as error:
                logger.warning("checkpoint %d is damaged: %s", number, error.problem)

    def _document(self, number: int) -> dict[str, Any]:
        document = read_document(self._files, self._path(number), FORMAT)
        if document["format"] != FORMAT:
            raise StorageError(f"the manifest has format {document['format']}", expected=f"format {FORMAT}")
        return document

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:012d}.json"

    def _numbers(self) -> list[int]:
        return [int(name[:12]) for name in self._files.names(self._folder) if _NAME.fullmatch(name)]

    def _pack_numbers(self) -> list[int]:
        return [int(name[:12]) for name in self._files.names(self._folder) if name.endswith(".pack")]


def _seats(part: Frozen) -> list[Seat]:
    return [(address(column), column.readonly) for column in part.columns]


def _laid(part: Mapping[str, Any]) -> tuple[Laid, list[Laid]]:
    """Return where shape and columns of a part lie, from a manifest."""
    return Laid(**part["shape"]), [Laid(**column) for column in part["columns"]]


def _places(document: Mapping[str, Any]) -> Iterator[Any]:
    for part in document["parts"].values():
        shape, columns = _laid(part)
        for laid in (shape, *columns):
            yield from (tuple(place) for place in laid.places())
