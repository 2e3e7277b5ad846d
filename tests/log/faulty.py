"""File systems that fail on cue: errors, short writes, and the loss of what was never fsynced."""

from __future__ import annotations

import errno
import random
from pathlib import Path

from headrace.log.files import Files


class QuickFiles(Files):
    """Files whose fsync returns at once: for tests that open thousands of folders."""

    def sync(self, descriptor: int) -> None:
        return

    def sync_folder(self, folder: Path) -> None:
        return


class FaultyFiles(QuickFiles):
    """Files with faults to be armed.

    Attributes:
        failing: per operation (`write`, `sync`, `create`, `truncate`, `rename`, `sync_folder`) the error
            number that it raises while it stands there.
        write_bytes_max: how many bytes one `write` takes at most.
        bytes_left: bytes until the disk is full, or None.
        synced_after_failure: set when a descriptor is fsynced or written again after its fsync had failed.
    """

    def __init__(self) -> None:
        self.failing: dict[str, int] = {}
        self.write_bytes_max = 1 << 30
        self.bytes_left: int | None = None
        self.broken: set[int] = set()
        self.synced_after_failure = False

    def _maybe(self, operation: str) -> None:
        if operation in self.failing:
            raise OSError(self.failing[operation], f"injected into {operation}")

    def create(self, path: Path) -> int:
        self._maybe("create")
        descriptor = super().create(path)
        self.broken.discard(descriptor)
        return descriptor

    def close(self, descriptor: int) -> None:
        self.broken.discard(descriptor)
        super().close(descriptor)

    def write(self, descriptor: int, data: memoryview) -> int:
        self.synced_after_failure |= descriptor in self.broken
        length = min(len(data), self.write_bytes_max)
        if self.bytes_left is not None:
            length = min(length, self.bytes_left)
            if length == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.bytes_left -= length
        taken = super().write(descriptor, data[:length])
        self._maybe("write")
        return taken

    def sync(self, descriptor: int) -> None:
        self.synced_after_failure |= descriptor in self.broken
        if "sync" in self.failing:
            self.broken.add(descriptor)
        self._maybe("sync")

    def truncate(self, path: Path, length: int) -> None:
        self._maybe("truncate")
        super().truncate(path, length)

    def rename(self, source: Path, target: Path) -> None:
        self._maybe("rename")
        super().rename(source, target)

    def sync_folder(self, folder: Path) -> None:
        self._maybe("sync_folder")


class PowerCutFiles(Files):
    """Files on a machine whose power fails at the n-th operation that changes something.

    From then on nothing has an effect. `settle` leaves the folder as the next start may find it: what was
    fsynced is there; of what was written since, any part may be missing or zero; a rename whose folder was
    not fsynced may be undone.
    """

    def __init__(self, operations: int, seed: int) -> None:
        self._left = operations
        self._random = random.Random(seed)
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, bytes] = {}
        self._renames: list[tuple[Path, Path, bytes | None]] = []

    @property
    def is_off(self) -> bool:
        return self._left <= 0

    def _spend(self) -> None:
        if self._left <= 0:
            raise OSError(errno.EIO, "the power is off")
        self._left -= 1

    def create(self, path: Path) -> int:
        self._spend()
        descriptor = super().create(path)
        self._paths[descriptor] = path
        self._synced[path] = b""
        return descriptor

    def open_append(self, path: Path) -> int:
        descriptor = super().open_append(path)
        self._paths[descriptor] = path
        self._synced.setdefault(path, path.read_bytes())
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        if self._left == 1:  # the power fails inside a write
            data = data[: self._random.randrange(len(data) + 1)]
            super().write(descriptor, data)
        self._spend()
        if self._left == 0:
            raise OSError(errno.EIO, "the power is off")
        return super().write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        self._spend()
        path = self._paths[descriptor]
        self._synced[path] = path.read_bytes()

    def truncate(self, path: Path, length: int) -> None:
        self._spend()
        super().truncate(path, length)

    def rename(self, source: Path, target: Path) -> None:
        self._spend()
        before = target.read_bytes() if target.exists() else None
        super().rename(source, target)
        self._renames.append((source, target, before))
        self._synced[target] = self._synced.pop(source)
        self._paths = {at: target if path == source else path for at, path in self._paths.items()}

    def remove(self, path: Path) -> None:
        self._spend()
        super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        self._spend()
        self._renames.clear()

    def settle(self) -> None:
        """Make the folder what a machine finds after the power is back."""
        self._left = 0
        for source, target, before in reversed(self._renames):
            if self._random.random() < 0.5:
                break
            source.write_bytes(target.read_bytes())
            self._synced[source] = self._synced.pop(target, b"")
            if before is None:
                target.unlink()
            else:
                target.write_bytes(before)
                self._synced[target] = before
        for path, synced in self._synced.items():
            if path.exists():
                path.write_bytes(self._torn(synced, path.read_bytes()))

    def _torn(self, synced: bytes, written: bytes) -> bytes:
        """Keep the fsynced bytes; of those written behind them keep, drop or zero blocks at random."""
        common = len(synced)
        if written[:common] != synced:
            return self._random.choice([synced, written])
        tail = bytearray(written[common:])
        for start in range(0, len(tail), 64):
            if self._random.random() < 0.4:
                tail[start : start + 64] = bytes(len(tail[start : start + 64]))
        return synced + bytes(tail[: self._random.randrange(len(tail) + 1)])
