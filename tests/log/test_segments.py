"""What opening a log makes of a folder that was cut, torn or damaged.

A log of several groups is written, copied while it is open (as a crash leaves it) or after a clean close,
changed byte by byte, and opened. A tail that was never acknowledged is cut; anything else that is missing
must be told with file and offset, never skipped.
"""

from __future__ import annotations

import shutil
import struct
import zlib
from pathlib import Path

import pytest
from tests.log.faulty import QuickFiles
from tests.log.samples import commit, same

from headrace.errors import FormatTooNew, HeadraceError, LogDamaged
from headrace.log import Commit, Log, Ticket
from headrace.log.finding import find
from headrace.log.frames import COMMIT, PREFIX, FrameReader, read_prefix
from headrace.log.segments import read_tail

FLIP_EVERY = 13
"""Every so many bytes one is changed; coprime to 8, so that each place within a word has its turn."""


def write(folder: Path, commits: int, *, segment_bytes: int = 1 << 20) -> None:
    with Log.open(folder, files=QuickFiles(), segment_bytes=segment_bytes) as log:
        for number in range(1, commits + 1):
            log.append(commit(number)).wait()


def damage_in(folder: Path, count: int) -> HeadraceError | None:
    """Return what opening and reading says, or None where all commits are there and right."""
    try:
        check(read(folder), count)
    except (LogDamaged, FormatTooNew) as error:
        return error
    return None


def crashed_copy(folder: Path, target: Path, commits: int) -> Path:
    """Write a log and copy it before it is closed; return its last segment."""
    with Log.open(folder, files=QuickFiles()) as log:
        for number in range(1, commits + 1):
            log.append(commit(number)).wait()
        shutil.copytree(folder, target)
    return segments(target)[-1]


def segments(folder: Path) -> list[Path]:
    return sorted((folder / "log").glob("*.seg"))


def frame_ends(path: Path) -> list[int]:
    """Offsets behind the head and behind each frame."""
    data = path.read_bytes()
    ends = [PREFIX.size]
    with FrameReader(QuickFiles(), path, read_prefix(data[: PREFIX.size], path), len(data)) as reader:
        ends.extend(frame.end for frame in reader.frames(PREFIX.size))
    return ends[1:]


def read(folder: Path) -> list[Commit]:
    with Log.open(folder, files=QuickFiles()) as log:
        return [record for record in log.records() if isinstance(record, Commit)]


def check(commits: list[Commit], count: int) -> None:
    assert [record.number for record in commits] == list(range(1, count + 1))
    assert all(same(record, commit(record.number)) for record in commits)


def test_every_cut_of_the_tail_leaves_the_whole_commits(tmp_path: Path) -> None:
    last = crashed_copy(tmp_path / "whole", tmp_path / "cut", 3)
    data, ends = last.read_bytes(), frame_ends(last)
    assert len(ends) == 4
    for length in range(ends[2], len(data) + 1):
        last.write_bytes(data[:length])
        whole = sum(end <= length for end in ends[1:])
        (segment,) = find(QuickFiles(), last.parent).segments
        assert read_tail(QuickFiles(), segment).last_commit == whole
        assert segment.end == ends[whole]
        if length % 41 == 0:
            check(read(tmp_path / "cut"), whole)


def test_a_log_goes_on_behind_its_cut_tail(tmp_path: Path) -> None:
    last = crashed_copy(tmp_path / "whole", tmp_path / "cut", 3)
    last.write_bytes(last.read_bytes()[:-50])
    with Log.open(tmp_path / "cut") as log:
        assert log.last_commit == 2
        assert log.stats()["cut_bytes"] > 0
        log.append(commit(3)).wait()
        log.append(commit(4)).wait()
    check(read(tmp_path / "cut"), 4)


@pytest.mark.parametrize("junk", [bytes(100), b"\xff" * 4096, b"\xf3\x48\x52\x9d" * 64])
def test_junk_behind_the_last_frame_is_cut(tmp_path: Path, junk: bytes) -> None:
    last = crashed_copy(tmp_path / "whole", tmp_path / "cut", 3)
    last.write_bytes(last.read_bytes() + junk)
    check(read(tmp_path / "cut"), 3)


def test_a_flipped_bit_is_found_or_harmless(tmp_path: Path) -> None:
    """After a clean close every byte counts: a flip is damage, except in padding or the sign of the close."""
    write(tmp_path / "log", 3)
    (path,) = segments(tmp_path / "log")
    data = path.read_bytes()
    told = 0
    for at in range(0, len(data), FLIP_EVERY):
        changed = bytearray(data)
        changed[at] ^= 1 << (at % 8)
        path.write_bytes(changed)
        error = damage_in(tmp_path / "log", 3)
        if error is not None:
            told += 1
            assert str(path) in str(error)
        path.write_bytes(data)
    assert told > len(data) / FLIP_EVERY * 0.8


def test_a_flipped_bit_in_an_acknowledged_group_is_damage_also_after_a_crash(tmp_path: Path) -> None:
    last = crashed_copy(tmp_path / "whole", tmp_path / "log", 3)
    data, ends = last.read_bytes(), frame_ends(last)
    told = 0
    for at in range(ends[0], ends[2] - 8, FLIP_EVERY):
        changed = bytearray(data)
        changed[at] ^= 0x10
        last.write_bytes(changed)
        error = damage_in(tmp_path / "log", 3)
        if isinstance(error, LogDamaged):
            told += 1
            assert error.details["file"] == str(last)
            assert error.details["offset"] <= at < error.details["end"]
    assert told > (ends[2] - ends[0]) / FLIP_EVERY * 0.8


def test_a_torn_group_is_cut_even_if_its_later_frames_are_whole(tmp_path: Path) -> None:
    """Blocks of one write may reach the disk in any order; none of the group had been acknowledged."""
    gate = QuickFiles()
    with Log.open(tmp_path / "log", files=gate) as log:
        log.append(commit(1)).wait()
        tickets = _one_group(log, [2, 3, 4])
        for ticket in tickets:
            ticket.wait()
        shutil.copytree(tmp_path / "log", tmp_path / "torn")
        assert log.stats()["groups"] == 2
    (path,) = segments(tmp_path / "torn")
    data, ends = bytearray(path.read_bytes()), frame_ends(path)
    data[ends[1] + 60] ^= 0xFF  # commit 2, the first frame of the second group
    path.write_bytes(data)
    check(read(tmp_path / "torn"), 1)


def _one_group(log: Log, numbers: list[int]) -> list[Ticket]:
    """Queue commits so that the writer finds them together."""
    with log._wake:
        tickets = []
        for number in numbers:
            ticket = Ticket(commit(number), log._store.encode(commit(number)))
            log._next_commit = number + 1
            log._queue.append(ticket)
            tickets.append(ticket)
        log._wake.notify()
    return tickets


def test_a_damaged_sealed_segment_is_told_when_it_is_read(tmp_path: Path) -> None:
    write(tmp_path / "log", 12, segment_bytes=3_000)
    paths = segments(tmp_path / "log")
    assert len(paths) > 2
    data = bytearray(paths[1].read_bytes())
    data[-100] ^= 1
    paths[1].write_bytes(data)
    with Log.open(tmp_path / "log") as log:
        seen: list[int] = []
        with pytest.raises(LogDamaged) as caught:
            seen.extend(record.number for record in log.records() if isinstance(record, Commit))
        assert seen == list(range(1, len(seen) + 1))
        assert caught.value.details["file"] == str(paths[1])
        assert log.commit(1) is not None
        with pytest.raises(LogDamaged):
            list(log.history("orders"))


def test_a_shortened_sealed_segment_is_refused_at_opening(tmp_path: Path) -> None:
    write(tmp_path / "log", 12, segment_bytes=3_000)
    first = segments(tmp_path / "log")[0]
    first.write_bytes(first.read_bytes()[:-8])
    with pytest.raises(LogDamaged, match="8 bytes too early"):
        Log.open(tmp_path / "log")


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_segment_is_refused_at_opening(tmp_path: Path, missing: int) -> None:
    write(tmp_path / "log", 12, segment_bytes=3_000)
    segments(tmp_path / "log")[missing].unlink()
    with pytest.raises(LogDamaged):
        Log.open(tmp_path / "log")


def test_bytes_beyond_the_length_that_the_next_segment_tells_do_not_count(tmp_path: Path) -> None:
    write(tmp_path / "log", 12, segment_bytes=3_000)
    first = segments(tmp_path / "log")[0]
    first.write_bytes(first.read_bytes() + b"left by a write that failed")
    check(read(tmp_path / "log"), 12)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "log", 1)
    (path,) = segments(tmp_path / "log")
    data = bytearray(path.read_bytes())
    data[8:12] = struct.pack("<I", 2)
    data[16:20] = struct.pack("<I", zlib.crc32(data[:16]))
    path.write_bytes(data)
    with pytest.raises(FormatTooNew, match="format 2"):
        Log.open(tmp_path / "log")


@pytest.mark.parametrize("content", [b"", b"HEADRACE", b"no segment at all, but long enough for a prefix"])
def test_a_file_that_is_no_segment_is_refused(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "log", 1)
    (path,) = segments(tmp_path / "log")
    path.write_bytes(content)
    with pytest.raises(LogDamaged):
        Log.open(tmp_path / "log")


def test_a_draft_left_by_a_crash_is_removed_and_foreign_files_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "log", 2)
    (tmp_path / "log/log/000000000003.tmp").write_bytes(b"half a head")
    (tmp_path / "log/log/notes.txt").write_text("mine")
    check(read(tmp_path / "log"), 2)
    assert not (tmp_path / "log/log/000000000003.tmp").exists()
    assert (tmp_path / "log/log/notes.txt").exists()


def test_text_of_a_user_never_passes_for_a_frame(tmp_path: Path) -> None:
    """The bytes of a whole frame, sent as a row, stand in a torn tail without being taken for one."""
    last = crashed_copy(tmp_path / "a", tmp_path / "b", 2)
    stolen = last.read_bytes()[frame_ends(last)[0] :]
    crash = crashed_copy(tmp_path / "c", tmp_path / "d", 1)
    crash.write_bytes(crash.read_bytes() + bytes(8) + stolen)
    check(read(tmp_path / "d"), 1)


def test_a_repeated_commit_number_is_damage(tmp_path: Path) -> None:
    last = crashed_copy(tmp_path / "a", tmp_path / "b", 2)
    data, ends = last.read_bytes(), frame_ends(last)
    last.write_bytes(data + data[ends[1] : ends[2]])
    with pytest.raises(HeadraceError, match="commit 2 follows commit 2"):
        Log.open(tmp_path / "b")


def test_frames_know_their_kind_and_number(tmp_path: Path) -> None:
    last = crashed_copy(tmp_path / "a", tmp_path / "b", 2)
    data = last.read_bytes()
    with FrameReader(QuickFiles(), last, read_prefix(data[: PREFIX.size], last), len(data)) as reader:
        frames = list(reader.frames(PREFIX.size))
    assert [(frame.kind, frame.number) for frame in frames[1:]] == [(COMMIT, 1), (COMMIT, 2)]
    assert [frame.group for frame in frames[1:]] == [frames[1].offset, frames[2].offset]
