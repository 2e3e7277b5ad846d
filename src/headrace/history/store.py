"""The past on disk: segments of changes in a folder, found by version and by time, merged as they age.

Every segment holds the changes of all views over a range of versions, view by view, so that one view's past
is read without the others'. Small segments are merged by tiers, eight of a tier into one of the next;
segments whose versions nobody keeps any longer are removed. `base` blocks hold the whole content of a view at
one version: they bound how many changes lie between a version and the next content that is known.
"""

from __future__ import annotations

import json
import logging
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import orjson
import pyarrow as pa

from headrace.change import VERSION, WEIGHT, Change
from headrace.errors import HeadraceError, StorageError
from headrace.history.chapters import Chapter, Chapters, chapter_of
from headrace.history.segment import BlockReader, Place, SegmentWriter, read_footer
from headrace.log.codec import from_us, to_us
from headrace.log.files import Files
from headrace.results import Version

logger = logging.getLogger("headrace")
T = TypeVar("T")

FOLDER = "history"
MERGED = 8
"""So many segments of one tier become one of the next."""
SEGMENT_BYTES_MAX = 64 << 20
"""Segments that would be larger together are not merged."""
BLOCK_ROWS = 65_536
"""Blocks of a view are joined up to about so many rows."""
SEGMENT_NAME = re.compile(r"(\d{12})-(\d{12})(?:-\d+)?\.past")
CHAPTERS = "chapters"
"""The file that tells which columns a view had when."""
_VERSIONS = pa.schema([("clock_us", pa.int64()), ("commit", pa.int64()), ("watermarks", pa.string())])


@dataclass(frozen=True, slots=True)
class Block:
    """Where changes of one chapter lie: those after `first - 1` up to `last`."""

    chapter: tuple[str, int]
    first: int
    last: int
    rows: int
    place: Place


@dataclass(frozen=True, slots=True)
class Base:
    """Where the whole content of a chapter lies, at one version."""

    chapter: tuple[str, int]
    version: int
    rows: int
    place: Place


@dataclass(frozen=True, slots=True)
class Segment:
    """One file.

    Attributes:
        path: of the file.
        first: its first version.
        last: its last version; `first - 1` where it holds none, only contents or chapters.
        tier: how often its content has been merged.
        size: bytes.
        before: the version before the first.
        newest: the last version.
        versions: where clock, commit and watermarks of each version lie; None where there is none.
        blocks: changes.
        bases: contents.
        without: views whose changes are not kept here, by lower-case name.
        failing: views that had no answer at `before`, by lower-case name, and why.
        failed: `[version, view, why]` where a view lost its answer, `[version, view, None]` where it came
        back.
        chapters: those that began, ended or went on otherwise in it.
    """

    path: Path
    first: int
    last: int
    tier: int
    size: int
    before: Version
    newest: Version
    versions: Place | None
    blocks: tuple[Block, ...]
    bases: tuple[Base, ...]
    without: frozenset[str]
    failing: Mapping[str, str]
    failed: tuple[tuple[int, str, str | None], ...]
    chapters: tuple[Chapter, ...]

    def footer(self) -> dict[str, Any]:
        """Return what the file's footer says."""
        return {
            "first": self.first, "last": self.last, "tier": self.tier,
            "before": version_facts(self.before), "newest": version_facts(self.newest),
            "versions": self.versions,
            "blocks": [[*b.chapter, b.first, b.last, b.rows, *b.place] for b in self.blocks],
            "bases": [[*b.chapter, b.version, b.rows, *b.place] for b in self.bases],
            "without": sorted(self.without), "failing": dict(self.failing),
            "failed": [list(item) for item in self.failed],
            "chapters": [chapter.as_dict() for chapter in self.chapters],
        }  # fmt: skip


def segment_of(path: Path, size: int, facts: Mapping[str, Any]) -> Segment:
    """Return the segment that `footer` described."""
    versions = facts["versions"]
    return Segment(
        path, facts["first"], facts["last"], facts["tier"], size, version_of(facts["before"]),
        version_of(facts["newest"]), None if versions is None else _place(versions),
        tuple(Block((b[0], b[1]), b[2], b[3], b[4], _place(b[5:])) for b in facts["blocks"]),
        tuple(Base((b[0], b[1]), b[2], b[3], _place(b[4:])) for b in facts["bases"]),
        frozenset(facts["without"]), facts["failing"],
        tuple((at, name, why) for at, name, why in facts["failed"]),
        tuple(chapter_of(item) for item in facts["chapters"]),
    )  # fmt: skip


def _place(found: Sequence[Any]) -> Place:
    return int(found[0]), int(found[1]), str(found[2])


def version_facts(version: Version) -> list[Any]:
    """Return a version as JSON values."""
    clock = None if version.clock is None else to_us(version.clock)
    watermarks = {name: to_us(at) for name, at in version.watermarks.items()}
    facts = [version.number, version.commit, clock, watermarks]
    return [*facts, list(version.held)] if version.held else facts


def version_of(facts: Sequence[Any]) -> Version:
    """Return the version that `version_facts` gave."""
    number, commit, clock, watermarks, *held = facts
    return Version(
        number, commit, None if clock is None else from_us(clock),
        {name: from_us(at) for name, at in watermarks.items()}, tuple(held[0]) if held else (),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to become a segment.

    Attributes:
        before: the version before the first.
        versions: in order, one after the other; none where only contents or chapters are told.
        changes: per chapter, a table of its changes with `_weight` and `_version`, in order.
        bases: whole contents: chapter, version, rows.
        without, failing, failed, chapters: as for `Segment`.
    """

    before: Version
    versions: Sequence[Version]
    changes: Mapping[tuple[str, int], pa.Table]
    bases: Sequence[tuple[tuple[str, int], int, pa.Table]]
    without: frozenset[str]
    failing: Mapping[str, str]
    failed: tuple[tuple[int, str, str | None], ...]
    chapters: tuple[Chapter, ...]


class History:
    """The segments of one data folder. One thread writes, any thread reads.

    Args:
        folder: the data folder.
        files: the file system; tests give one with faults.

    Raises:
        OSError: the folder cannot be read.
    """

    def __init__(self, folder: Path, files: Files | None = None) -> None:
        self._files = files or Files()
        self._folder = folder / FOLDER
        self._files.make_folder(self._folder)
        self._lock = Lock()
        self._versions_read: tuple[Path, pa.Table] | None = None
        self.chapters = Chapters()
        self._segments: tuple[Segment, ...] = ()
        self._left_alone: set[Path] = set()
        self._load()

    # --- opening ----------------------------------------------------------------------------------
    def _load(self) -> None:
        found: list[Segment] = []
        unread: list[tuple[int, int, Path]] = []
        for name in self._files.names(self._folder):
            path = self._folder / name
            match = SEGMENT_NAME.fullmatch(name)
            if match is None:
                if name.endswith(".tmp"):
                    self._files.remove(path)
                continue
            try:
                found.append(segment_of(path, self._files.size(path), read_footer(self._files, path)))
            except (HeadraceError, OSError, LookupError, TypeError, ValueError) as error:
                reason = error.problem if isinstance(error, HeadraceError) else str(error)
                logger.warning("a segment of the past is passed over: %s: %s", path, reason)
                unread.append((int(match[1]), int(match[2]), path))
        found.sort(key=lambda part: (part.first, part.last >= part.first, -part.last, -part.tier))
        kept: list[Segment] = []
        for segment in found:
            if kept and segment.first <= segment.last <= kept[-1].last:
                self._files.remove(segment.path)  # what a merge had already taken over
            else:
                kept.append(segment)
        for first, last, path in unread:
            if any(segment.first <= first and last <= segment.last for segment in kept):
                self._files.remove(path)
        self._segments = tuple(kept)
        self._read_chapters()

    def _read_chapters(self) -> None:
        for facts in self._chapters_file():
            self.chapters.put(chapter_of(facts))
        for segment in self._segments:
            for chapter in segment.chapters:
                self.chapters.put(chapter)
        self.chapters.touched = {}

    def _chapters_file(self) -> list[dict[str, Any]]:
        path = self._folder / CHAPTERS
        try:
            return list(read_footer(self._files, path)["chapters"])
        except FileNotFoundError:
            return []
        except (HeadraceError, OSError) as error:
            logger.warning("the chapters of the past are passed over: %s: %s", path, error)
            return []

    def forget(self) -> None:
        """Remove everything: it belongs to another log."""
        for name in self._files.names(self._folder):
            if name == CHAPTERS or SEGMENT_NAME.fullmatch(name):
                self._files.remove(self._folder / name)
        self._segments = ()
        self.chapters = Chapters()

    # --- what there is ----------------------------------------------------------------------------
    @property
    def newest(self) -> Version | None:
        """The last version on disk; None where nothing is."""
        return self._segments[-1].newest if self._segments else None

    @property
    def oldest(self) -> Version | None:
        """The first version from which unbroken changes lead to the newest; None where nothing is."""
        segments = self._segments
        if not segments:
            return None
        at = len(segments) - 1
        while at > 0 and segments[at - 1].last == segments[at].first - 1:
            at -= 1
        return segments[at].before

    def stats(self) -> dict[str, Any]:
        """Return bytes, segments, and which versions there are."""
        oldest, newest = self.oldest, self.newest
        return {
            "bytes": sum(segment.size for segment in self._segments), "segments": len(self._segments),
            "oldest": None if oldest is None else oldest.number,
            "newest": None if newest is None else newest.number,
        }  # fmt: skip

    def version(self, number: int) -> Version | None:
        """Return a version, or None where it is not kept.

        Raises:
            StorageError: the segment is damaged.
        """
        return self._unmoved(lambda: self._version(number))

    def _version(self, number: int) -> Version | None:
        for segment in self._segments:
            if number == segment.before.number:
                return segment.before
            if segment.first <= number <= segment.last:
                return self._version_in(segment, number - segment.first)
        return None

    def newest_at(self, clock_us: int) -> Version | None:
        """Return the newest version that is not younger, or None where all kept ones are.

        Raises:
            StorageError: the segment is damaged.
        """
        return self._unmoved(lambda: self._newest_at(clock_us))

    def _newest_at(self, clock_us: int) -> Version | None:
        found: Version | None = None
        for segment in self._segments:
            if segment.before.clock is None or to_us(segment.before.clock) <= clock_us:
                found = segment.before
            else:
                break
            if segment.last < segment.first:
                continue
            if segment.newest.clock is not None and to_us(segment.newest.clock) <= clock_us:
                found = segment.newest
                continue
            clocks = self._versions_of(segment).column("clock_us").to_pylist()
            at = bisect_right(clocks, clock_us)
            return self._version_in(segment, at - 1) if at else found
        return found

    def _version_in(self, segment: Segment, at: int) -> Version:
        row = self._versions_of(segment).slice(at, 1).to_pylist()[0]
        told = {} if row["watermarks"] is None else json.loads(row["watermarks"])
        watermarks, *held = told if isinstance(told, list) else [told]
        return version_of([segment.first + at, row["commit"], row["clock_us"], watermarks, *held])

    def _versions_of(self, segment: Segment) -> pa.Table:
        known = self._versions_read
        if known is not None and known[0] == segment.path:
            return known[1]
        assert segment.versions is not None
        table = self._read(segment, segment.versions)
        self._versions_read = (segment.path, table)
        return table

    def _unmoved(self, ask: Callable[[], T]) -> T:
        """Return an answer; where a segment goes while it is read, merged or aged, ask those of then."""
        while True:
            segments = self._segments
            try:
                return ask()
            except FileNotFoundError as error:
                if self._segments is segments:
                    raise StorageError(
                        "a segment of the past is missing", where=str(error.filename)
                    ) from None

    def _read(self, segment: Segment, place: Place) -> pa.Table:
        try:
            with BlockReader(self._files, segment.path) as reader:
                return reader.table(place)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StorageError(f"the past cannot be read: {error}", where=str(segment.path)) from error

    def failing(self, name: str, version: int) -> str | None:
        """Return why a view had no answer at a version on disk, or None."""
        for segment in self._segments:
            if segment.before.number <= version <= segment.last:
                why = segment.failing.get(name)
                for at, view, reason in segment.failed:
                    if view == name and at <= version:
                        why = reason
                return why
        return None

    # --- reading ----------------------------------------------------------------------------------
    def bases(self, chapter: Chapter) -> list[Base]:
        """Return the contents of a chapter that are on disk."""
        return [base for at in self._segments for base in at.bases if base.chapter == chapter.id]

    def content(self, base: Base) -> pa.Table:
        """Return a content.

        Raises:
            StorageError: it is damaged, or no longer there.
        """
        return self._unmoved(lambda: self._content(base))

    def _content(self, base: Base) -> pa.Table:
        for segment in self._segments:
            for known in segment.bases:
                if (known.chapter, known.version) == (base.chapter, base.version):
                    return self._read(segment, known.place)
        raise StorageError(f"the content at version {base.version} is no longer there", where=base.chapter[0])

    def rows_between(self, chapter: Chapter, after: int, upto: int) -> int | None:
        """Return about how many rows changed after one version and up to another; None: they are not kept."""
        rows, reached = 0, after
        for segment in self._segments:
            if segment.last <= after or segment.last < segment.first:
                continue
            if reached >= upto:
                break
            if segment.first > reached + 1 or chapter.name in segment.without:
                return None
            reached = segment.last
            for block in segment.blocks:
                if block.chapter == chapter.id and block.last > after and block.first <= upto:
                    rows += block.rows
        return rows if reached >= upto else None

    def changes(self, chapter: Chapter, after: int, upto: int) -> Iterator[pa.Table]:
        """Yield the changes after one version and up to another, in order, with `_weight` and `_version`.

        Raises:
            StorageError: they are damaged, or no longer there.
        """
        while after < upto:
            segment = next(
                (found for found in self._segments if found.first <= after + 1 <= found.last), None
            )
            if segment is None or chapter.name in segment.without:
                raise StorageError(
                    f"the changes after version {after} are no longer there", where=chapter.name
                )
            try:
                reader = BlockReader(self._files, segment.path)
            except FileNotFoundError:
                if segment in self._segments:
                    raise StorageError("a segment of the past is missing", where=str(segment.path)) from None
                continue  # it has just been merged
            except OSError as error:
                raise StorageError(f"the past cannot be read: {error}", where=str(segment.path)) from error
            with reader:
                for block in segment.blocks:
                    if block.chapter == chapter.id and block.last > after and block.first <= upto:
                        yield between(reader.table(block.place), after, upto)
            after = segment.last

    def check(self) -> int:
        """Read every block; return how many versions there are.

        Raises:
            StorageError: one is damaged.
        """
        versions = 0
        for segment in self._segments:
            versions += segment.last - segment.first + 1
            places = [block.place for block in segment.blocks] + [base.place for base in segment.bases]
            try:
                with BlockReader(self._files, segment.path) as reader:
                    for place in [*places, *([segment.versions] if segment.versions else [])]:
                        reader.table(place)
            except OSError as error:
                raise StorageError(f"the past cannot be read: {error}", where=str(segment.path)) from error
        return versions

    # --- writing ----------------------------------------------------------------------------------
    def write(self, draft: Draft) -> Segment:
        """Make versions durable.

        Raises:
            OSError: the disk refuses; what was there stays.
        """
        first = draft.before.number + 1
        last = draft.before.number + len(draft.versions)
        path = self._path(first, last)
        writer = SegmentWriter(self._files, path)
        try:
            segment = self._written(writer, path, draft, first, last)
        finally:
            writer.give_up()
        with self._lock:
            self._segments = (*self._segments, segment)
        self.chapters.written(draft.chapters)
        return segment

    def _path(self, first: int, last: int) -> Path:
        """Return a name that no segment has; several may hold the same versions, or none."""
        taken = {segment.path.name for segment in self._segments}
        names = (f"{first:012d}-{last:012d}{f'-{n}' if n else ''}.past" for n in count())
        return self._folder / next(name for name in names if name not in taken)

    def _written(self, writer: SegmentWriter, path: Path, draft: Draft, first: int, last: int) -> Segment:
        blocks = []
        for chapter, table in draft.changes.items():
            numbers = table.column(VERSION)
            place = writer.add(table)
            blocks.append(Block(chapter, numbers[0].as_py(), numbers[-1].as_py(), table.num_rows, place))
        bases = [Base(id_, at, rows.num_rows, writer.add(rows)) for id_, at, rows in draft.bases]
        versions = writer.add(_versions_table(draft.versions)) if draft.versions else None
        newest = draft.versions[-1] if draft.versions else draft.before
        segment = Segment(
            path, first, last, 0, 0, draft.before, newest, versions, tuple(blocks), tuple(bases),
            draft.without, draft.failing, draft.failed, draft.chapters,
        )  # fmt: skip
        size = writer.finish(segment.footer())
        return segment_of(path, size, orjson.loads(orjson.dumps(segment.footer())))

    # --- ageing -----------------------------------------------------------------------------------
    def tend(self, is_kept: Callable[[str, Version], bool]) -> None:
        """Merge what has grown many, and remove what nobody keeps. Damaged segments stay as they are:
        what can be read of them can be read on.

        Args:
            is_kept: of a view's lower-case name and the last version of a segment: whether that is within
                the range that the view keeps. The name `""` asks for whatever keeps longest.

        Raises:
            OSError: the disk refuses; what was there stays.
        """
        self._trim(is_kept)
        while run := self._mergeable():
            try:
                self._merge(run, is_kept)
            except (StorageError, FileNotFoundError) as error:
                self._leave_alone(run, error)

    def _leave_alone(self, run: Sequence[Segment], error: StorageError | FileNotFoundError) -> None:
        """Never again merge the segment that cannot be read; where it is not known, none of the run."""
        place = error.where if isinstance(error, StorageError) else error.filename
        damaged = {segment.path for segment in run if str(segment.path) == str(place)}
        self._left_alone |= damaged or {segment.path for segment in run}
        logger.warning("a segment of the past stays as it is: %s", error)

    def _trim(self, is_kept: Callable[[str, Version], bool]) -> None:
        gone = 0
        for segment in self._segments[:-1]:
            if is_kept("", segment.newest):
                break
            gone += 1
        if not gone:
            return
        removed = self._segments[:gone]
        self._save_chapters(self._segments[gone].before.number)
        with self._lock:
            self._segments = self._segments[gone:]
        for segment in removed:
            self._files.remove(segment.path)

    def _save_chapters(self, floor: int) -> None:
        """Write down the chapters that segments may not tell of any longer."""
        for chapter in self.chapters.all():
            if chapter.last is not None and chapter.last < floor:
                self.chapters.drop(chapter)
        unwritten = self.chapters.touched
        kept = [chapter for chapter in self.chapters.all() if chapter.id not in unwritten]
        writer = SegmentWriter(self._files, self._folder / "chapters")
        try:
            writer.finish({"chapters": [chapter.as_dict() for chapter in kept]})
        finally:
            writer.give_up()

    def _mergeable(self) -> tuple[Segment, ...]:
        run: list[Segment] = []
        for segment in reversed(self._segments):
            if segment.path in self._left_alone:
                run = []
                continue
            if run and (segment.tier != run[-1].tier or segment.last != run[-1].first - 1):
                run = []
            run.append(segment)
            if len(run) == MERGED:
                if sum(part.size for part in run) <= SEGMENT_BYTES_MAX:
                    return tuple(reversed(run))
                run = []
        return ()

    def _merge(self, run: Sequence[Segment], is_kept: Callable[[str, Version], bool]) -> None:
        first, last = run[0].first, run[-1].last
        path = self._path(first, last)
        without = frozenset().union(*(segment.without for segment in run)) | {
            name
            for name in {block.chapter[0] for segment in run for block in segment.blocks}
            if not is_kept(name, run[-1].newest)
        }
        writer = SegmentWriter(self._files, path)
        try:
            blocks = self._merged_blocks(writer, run, without)
            bases = self._merged_bases(writer, run, without)
            tables = [self._versions_of(segment) for segment in run if segment.versions is not None]
            versions = writer.add(pa.concat_tables(tables)) if tables else None
            merged = Segment(
                path, first, last, run[0].tier + 1, 0, run[0].before, run[-1].newest, versions, blocks, bases,
                without, run[0].failing, tuple(item for segment in run for item in segment.failed),
                tuple({c.id: c for segment in run for c in segment.chapters}.values()),
            )  # fmt: skip
            size = writer.finish(merged.footer())
        finally:
            writer.give_up()
        merged = segment_of(path, size, orjson.loads(orjson.dumps(merged.footer())))
        with self._lock:
            at = self._segments.index(run[0])
            self._segments = (*self._segments[:at], merged, *self._segments[at + len(run) :])
        for segment in run:
            self._files.remove(segment.path)

    def _merged_blocks(
        self, writer: SegmentWriter, run: Sequence[Segment], without: frozenset[str]
    ) -> tuple[Block, ...]:
        by_chapter: dict[tuple[str, int], list[tuple[Segment, Block]]] = {}
        for segment in run:
            for block in segment.blocks:
                if block.chapter[0] not in without:
                    by_chapter.setdefault(block.chapter, []).append((segment, block))
        found: list[Block] = []
        for parts in by_chapter.values():
            waiting: list[tuple[Segment, Block]] = []
            for part in parts:
                if waiting and sum(b.rows for _, b in waiting) + part[1].rows > BLOCK_ROWS:
                    found.append(self._joined(writer, waiting))
                    waiting = []
                waiting.append(part)
            found.append(self._joined(writer, waiting))
        return tuple(found)

    def _joined(self, writer: SegmentWriter, parts: Sequence[tuple[Segment, Block]]) -> Block:
        one, last = parts[0][1], parts[-1][1]
        if len(parts) == 1:
            place = self._copied(writer, parts[0][0], one.place)
        else:
            place = writer.add(pa.concat_tables([self._read(at, block.place) for at, block in parts]))
        return Block(one.chapter, one.first, last.last, sum(block.rows for _, block in parts), place)

    def _merged_bases(
        self, writer: SegmentWriter, run: Sequence[Segment], without: frozenset[str]
    ) -> tuple[Base, ...]:
        return tuple(
            Base(base.chapter, base.version, base.rows, self._copied(writer, segment, base.place))
            for segment in run
            for base in segment.bases
            if base.chapter[0] not in without
        )

    def _copied(self, writer: SegmentWriter, segment: Segment, place: Place) -> Place:
        with BlockReader(self._files, segment.path) as reader:
            return writer.add_bytes(reader.bytes_of(place))


def _versions_table(versions: Iterable[Version]) -> pa.Table:
    rows: dict[str, list[Any]] = {"clock_us": [], "commit": [], "watermarks": []}
    for version in versions:
        _, commit, clock, watermarks, *held = version_facts(version)
        told = [watermarks, *held] if held else watermarks
        rows["clock_us"].append(clock)
        rows["commit"].append(commit)
        rows["watermarks"].append(json.dumps(told, separators=(",", ":")) if told else None)
    return pa.table(rows, schema=_VERSIONS)


def between(table: pa.Table, after: int, upto: int) -> pa.Table:
    """Return the rows of a table of changes that lie after one version and up to another."""
    import numpy as np

    numbers = table.column(VERSION).to_numpy()
    first, end = np.searchsorted(numbers, after, side="right"), np.searchsorted(numbers, upto, side="right")
    return table.slice(int(first), int(end - first))


def as_change(table: pa.Table) -> Change:
    """Return a table of changes as one change; versions are left out."""
    return Change.from_table(table.drop_columns([VERSION]))


__all__ = ["WEIGHT", "Base", "Block", "Draft", "History", "Segment", "as_change", "between"]
