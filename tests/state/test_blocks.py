"""A checkpoint costs what changed, and a start maps what it wrote: large columns with few changes, at random.

Columns are larger than many blocks, because that is where blocks are patched, runs of blocks are mapped, and
a write into a map must not reach the file. Whatever lies on disk is damaged, cut or taken away in turn.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from headrace.errors import StorageError
from headrace.log.files import Files
from headrace.state import checkpoint, mapping
from headrace.state.blocks import BLOCK_BYTES
from headrace.state.checkpoint import Checkpoints, Facts, Written
from headrace.state.frozen import outline
from headrace.state.patches import LINE_BYTES, LINES_MAX, patch, patch_of

VALUES = 8 * BLOCK_BYTES
"""So many numbers of 8 bytes are 64 blocks."""


class CountingFiles(Files):
    """Files that count the maps, and may refuse them."""

    def __init__(self, *, maps: bool = True) -> None:
        self.maps = maps
        self.laid = 0

    def lay(self, descriptor: int, address: int, length: int, offset: int) -> bool:
        done = self.maps and super().lay(descriptor, address, length, offset)
        self.laid += done
        return done


@pytest.fixture(params=["copied", "forked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "forked":
        monkeypatch.setattr(checkpoint, "COPY_BYTES_MAX", -1)
    found: str = request.param
    return found


def taken(checkpoints: Checkpoints, **state: Any) -> Written:
    checkpoints.prepare()
    held = checkpoints.hold({name: outline(value) for name, value in state.items()})
    try:
        return checkpoints.write(Facts(1, 1, 1, None, {}, {}, {}), held)
    finally:
        held.close()


def newest(folder: Path, files: Files | None = None) -> tuple[Checkpoints, dict[str, Any]]:
    checkpoints = Checkpoints(folder, files)
    return checkpoints, next(iter(checkpoints.newest()))[1]


def numbers(seed: int = 1) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.random.default_rng(seed).integers(0, 1 << 60, VALUES)


def never_changing() -> pa.Array:
    """Numbers in memory that nobody may write to."""
    return pa.Array.from_buffers(pa.int64(), VALUES, [None, pa.py_buffer(numbers(2).tobytes())])


@pytest.mark.parametrize("lines", [0, 1, LINES_MAX])
def test_a_patch_makes_the_block_of_its_base(lines: int) -> None:
    base = bytearray(np.random.default_rng(2).bytes(BLOCK_BYTES))
    now = bytearray(base)
    for line in np.random.default_rng(3).choice(BLOCK_BYTES // LINE_BYTES, lines, replace=False):
        now[int(line) * LINE_BYTES + 63] ^= 1
    change = patch_of(memoryview(now), bytes(base))
    assert change is not None
    assert len(change) == lines * (LINE_BYTES + 2)
    patch(memoryview(base), change)
    assert base == now


def test_what_differs_too_much_or_has_another_length_has_no_patch() -> None:
    base, now = bytes(BLOCK_BYTES), bytearray(BLOCK_BYTES)
    for line in range(LINES_MAX + 1):
        now[line * LINE_BYTES] = 1
    assert patch_of(memoryview(now), base) is None
    assert patch_of(memoryview(base), base[:-LINE_BYTES]) is None
    assert patch_of(memoryview(base[:100]), base[:100]) is None


def test_scattered_changes_cost_what_changed(tmp_path: Path, way: str) -> None:
    checkpoints, values, chance = Checkpoints(tmp_path), numbers(), np.random.default_rng(4)
    assert taken(checkpoints, values=values).new_bytes >= values.nbytes
    for _ in range(4):
        values[chance.integers(0, VALUES, 100)] = -1
        assert taken(checkpoints, values=values).new_bytes < 100 * BLOCK_BYTES // 10
        assert (newest(tmp_path)[1]["values"] == values).all()
    values[:] = numbers(2)
    assert taken(checkpoints, values=values).new_bytes >= values.nbytes
    assert (newest(tmp_path)[1]["values"] == values).all()


def test_a_block_of_which_much_has_changed_is_written_anew(tmp_path: Path, way: str) -> None:
    checkpoints, values = Checkpoints(tmp_path), numbers()
    taken(checkpoints, values=values)
    for first in range(0, 3 * LINES_MAX, 16):
        values[first * 8 : (first + 16) * 8 : 8] = first
        written = taken(checkpoints, values=values)
        assert written.new_bytes < 2 * BLOCK_BYTES
    assert (newest(tmp_path)[1]["values"] == values).all()


def test_a_base_that_was_damaged_meanwhile_is_not_built_upon(tmp_path: Path, way: str) -> None:
    checkpoints, values = Checkpoints(tmp_path), numbers()
    taken(checkpoints, values=values)
    pack = next((tmp_path / "state").glob("*.pack"))
    with pack.open("r+b") as file:
        file.seek(20)
        file.write(b"damaged")
    values[0] = 7
    taken(checkpoints, values=values)
    assert (newest(tmp_path)[1]["values"] == values).all()


def test_a_start_maps_and_what_is_written_stays_out_of_the_files(tmp_path: Path) -> None:
    values, fixed = numbers(), never_changing()
    taken(Checkpoints(tmp_path), values=values, fixed=fixed)
    files = CountingFiles()
    _, parts = newest(tmp_path, files)
    assert files.laid == 2
    parts["values"][:] = 0
    assert parts["fixed"].equals(fixed)
    assert not parts["fixed"].buffers()[1].is_mutable
    assert (newest(tmp_path)[1]["values"] == values).all()


def test_where_nothing_can_be_mapped_it_is_read(tmp_path: Path) -> None:
    checkpoints, values = Checkpoints(tmp_path), numbers()
    taken(checkpoints, values=values)
    values[:: VALUES // 50] = 5
    taken(checkpoints, values=values)
    files = CountingFiles(maps=False)
    assert (newest(tmp_path, files)[1]["values"] == values).all()
    assert files.laid == 0


@pytest.mark.parametrize("share", [1, 10**9])
def test_patches_on_maps_and_on_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, share: int
) -> None:
    monkeypatch.setattr(mapping, "PATCHED_SHARE", share)
    checkpoints, values = Checkpoints(tmp_path), numbers()
    taken(checkpoints, values=values)
    values[:: VALUES // 20] = 5
    taken(checkpoints, values=values)
    files = CountingFiles()
    assert (newest(tmp_path, files)[1]["values"] == values).all()
    assert files.laid == (share == 1)


def test_the_first_checkpoint_after_a_start_costs_what_changed_too(tmp_path: Path, way: str) -> None:
    taken(Checkpoints(tmp_path), values=numbers(), fixed=never_changing())
    checkpoints, parts = newest(tmp_path)
    assert taken(checkpoints, **parts).new_bytes < BLOCK_BYTES
    parts["values"][::1000] = 1
    assert taken(checkpoints, **parts).new_bytes < VALUES * 8
    parts["values"][5] = 2
    assert taken(checkpoints, **parts).new_bytes < BLOCK_BYTES
    assert (newest(tmp_path)[1]["values"] == parts["values"]).all()


def test_packs_that_are_gone_stay_in_memory(tmp_path: Path) -> None:
    values = numbers()
    taken(Checkpoints(tmp_path), values=values)
    _, parts = newest(tmp_path)
    for pack in (tmp_path / "state").iterdir():
        pack.unlink()
    assert (parts["values"] == values).all()


@pytest.mark.parametrize("length", [1, 5 * BLOCK_BYTES + 100, 64 * BLOCK_BYTES - 1])
def test_a_pack_that_was_cut_is_told_before_anybody_touches_it(tmp_path: Path, length: int) -> None:
    taken(Checkpoints(tmp_path), values=numbers())
    pack = next((tmp_path / "state").glob("*.pack"))
    pack.write_bytes(pack.read_bytes()[:length])
    assert list(Checkpoints(tmp_path).newest()) == []


@pytest.mark.parametrize("block", [0, 31, 63])
def test_a_byte_that_is_not_what_it_was_is_found(
    tmp_path: Path, block: int, caplog: pytest.LogCaptureFixture
) -> None:
    taken(Checkpoints(tmp_path), values=numbers())
    pack = next((tmp_path / "state").glob("*.pack"))
    data = bytearray(pack.read_bytes())
    data[block * BLOCK_BYTES + 77] ^= 0x10
    pack.write_bytes(data)
    assert list(Checkpoints(tmp_path).newest()) == []
    assert "a block of a checkpoint is damaged" in caplog.text


def test_a_place_that_is_wrong_is_refused(tmp_path: Path) -> None:
    from headrace.state.blocks import PackReader

    reader = PackReader(Files(), tmp_path)
    with pytest.raises(StorageError, match="cannot be read"):
        reader.block((7, 0, 10, "", 0))
