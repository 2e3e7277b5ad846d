"""Opening a log: its pieces found and held against each other, and what a crash left behind removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from headrace.log.base import Base, read_base
from headrace.log.documents import DRAFT
from headrace.log.files import Files
from headrace.log.frames import damaged
from headrace.log.sealed import MANIFEST_NAME, RECORDS, ROWS, SEALED, Manifest, read_manifest
from headrace.log.segments import SEGMENT_NAME, Segment, join, join_segments, open_segment


@dataclass(frozen=True, slots=True)
class Found:
    """What a folder `log` holds.

    Attributes:
        base: what stands in for what was trimmed.
        manifests: of the sealed stretches, in order.
        segments: behind them, in order; empty in a new log.
    """

    base: Base
    manifests: list[Manifest]
    segments: list[Segment]


def find(files: Files, folder: Path) -> Found:
    """Return the pieces of a log, without a gap; drafts, and files that others have replaced, are removed.

    Raises:
        LogDamaged: a head or manifest is damaged, or a piece is missing or too short.
        FormatTooNew: a later version wrote one of them.
    """
    for name in files.names(folder):
        if name.endswith(DRAFT):
            files.remove(folder / name)
    base = read_base(files, folder)
    manifests = _manifests(files, folder, base)
    ended = manifests[-1].last_commit if manifests else base.upto_commit
    segments: list[Segment] = []
    gone: list[Path] = []
    for name in _numbered(files, folder, ".seg"):
        path = folder / name
        if int(path.stem) <= ended:
            gone.append(path)
        else:
            segments.append(open_segment(files, path))
    _check_joints(folder, base, manifests, segments)
    _remove(files, folder, [*gone, *_strays(files, folder, base, manifests)])
    return Found(base, manifests, segments)


def _numbered(files: Files, folder: Path, suffix: str) -> list[str]:
    pattern = SEGMENT_NAME if suffix == ".seg" else MANIFEST_NAME
    return sorted((name for name in files.names(folder) if pattern.fullmatch(name)), key=_number)


def _number(name: str) -> int:
    return int(name.partition(".")[0])


def _manifests(files: Files, folder: Path, base: Base) -> list[Manifest]:
    """Return the manifests in force; those that another one, or the base, has replaced are removed."""
    place = folder / SEALED
    if not place.is_dir():
        return []
    found: list[Manifest] = []
    for name in files.names(place):
        if name.endswith(DRAFT):
            files.remove(place / name)
    for name in _numbered(files, place, ".json"):
        manifest = read_manifest(files, folder, name)
        ended = found[-1].last_commit if found else base.upto_commit
        if manifest.last_commit <= ended:
            files.remove(place / name)
        else:
            found.append(manifest)
    return found


def _check_joints(
    folder: Path, base: Base, manifests: Sequence[Manifest], segments: Sequence[Segment]
) -> None:
    ended, segment = base.upto_commit, base.last_segment
    for manifest in manifests:
        _check_first(folder / SEALED / manifest.name, manifest.first_commit, ended)
        ended, segment = manifest.last_commit, manifest.last_segment
    if segments:
        _check_first(segments[0].path, segments[0].first_commit, ended)
        if segment is not None:
            join(segment, segments[0])
    elif segment is not None:
        raise damaged(folder, 0, 0, f"the segments after commit {ended} are missing")
    for before, after in pairwise(segments):
        join_segments(before, after)


def _check_first(path: Path, first_commit: int, ended: int) -> None:
    if first_commit != ended + 1:
        missing = f"the segments before commit {first_commit} are missing"
        raise damaged(path, 0, 0, missing if first_commit > ended else f"commit {first_commit} stands twice")


def wanted(base: Base, manifests: Sequence[Manifest]) -> set[str]:
    """Return the files below the folder `log` that base and manifests need."""
    paths = {entry.path for entry in base.tables.values()}
    for manifest in manifests:
        paths.add(manifest.records.path)
        paths |= {
            entry.path
            for entry in manifest.relations
            if base.trimmed.get(entry.relation, 0) < manifest.last_commit
        }
    return paths


def _strays(files: Files, folder: Path, base: Base, manifests: Sequence[Manifest]) -> Iterator[Path]:
    """Yield the files that nothing names (any more)."""
    kept = wanted(base, manifests)
    for path in parquet_files(files, folder):
        if path.relative_to(folder).as_posix() not in kept:
            yield path


def _remove(files: Files, folder: Path, paths: Sequence[Path]) -> None:
    """Remove files, once what takes their place is surely on stable storage."""
    if paths:
        for place in (folder / SEALED, folder):
            if place.is_dir():
                files.sync_folder(place)
    for path in paths:
        files.remove(path)


def parquet_files(files: Files, folder: Path) -> Iterator[Path]:
    """Yield the files in the folders that sealed stretches use, drafts among them."""
    places = [folder / RECORDS]
    rows = folder / ROWS
    if rows.is_dir():
        places += [rows / name for name in files.names(rows)]
    for place in places:
        if place.is_dir():
            yield from (
                place / name for name in files.names(place) if name.endswith((".parquet", f".parquet{DRAFT}"))
            )
