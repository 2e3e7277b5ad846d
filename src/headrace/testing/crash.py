"""A process that ends on cue, as `kill -9` ends it: at the n-th visit of a named point."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from headrace import points
from headrace.log.files import Files


def end_process() -> None:
    """End this process at once; nothing is flushed, closed or told."""
    os.kill(os.getpid(), signal.SIGKILL)


class CrashOnCue:
    """Ends the process at the n-th visit of a point.

    Points are those of `headrace.points`, such as `version recorded`, and those of the file system: `before`,
    `after` or (half-way through a write) `inside`, an operation of `headrace.log.files.Files`, and what it
    works on by folder and kind, such as `before sync log/*.seg` or `after rename state/*.json`.

    Args:
        point: where to end; None: nowhere, points are only counted.
        visit: at which visit, from 1.
        end: how; the default kills the process.

    Attributes:
        visits: how often each point has been reached.
        files: a file system that reports to it; give it to `headrace.runtime.open_run(…, files=…)`.
    """

    def __init__(
        self, point: str | None = None, visit: int = 1, end: Callable[[], None] = end_process
    ) -> None:
        self.visits: Counter[str] = Counter()
        self.files: Files = _PointFiles(self._reached)
        self._cue = (point, visit)
        self._end = end
        self._lock = Lock()

    @contextmanager
    def armed(self) -> Iterator[None]:
        """Listen inside the block."""
        points.listen(self._reached)
        try:
            yield
        finally:
            points.listen(None)

    def _reached(self, point: str) -> None:
        with self._lock:
            self.visits[point] += 1
            is_cue = (point, self.visits[point]) == self._cue
        if is_cue:
            self._end()


class _PointFiles(Files):
    """Files that say what they do, before and after."""

    def __init__(self, reached: Callable[[str], None]) -> None:
        self._reached = reached
        self._paths: dict[int, Path] = {}

    def _kind_of(self, descriptor: int) -> str:
        path = self._paths.get(descriptor)
        return "?" if path is None else _kind(path)

    @contextmanager
    def _around(self, operation: str, kind: str) -> Iterator[None]:
        self._reached(f"before {operation} {kind}")
        yield
        self._reached(f"after {operation} {kind}")

    def create(self, path: Path) -> int:
        with self._around("create", _kind(path)):
            descriptor = super().create(path)
        self._paths[descriptor] = path
        return descriptor

    def open_append(self, path: Path) -> int:
        descriptor = super().open_append(path)
        self._paths[descriptor] = path
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        kind = self._kind_of(descriptor)
        with self._around("write", kind):
            half = len(data) // 2
            taken = super().write(descriptor, data[:half])
            self._reached(f"inside write {kind}")
            return taken + super().write(descriptor, data[half:]) if taken == half else taken

    def sync(self, descriptor: int) -> None:
        with self._around("sync", self._kind_of(descriptor)):
            super().sync(descriptor)

    def truncate(self, path: Path, length: int) -> None:
        with self._around("truncate", _kind(path)):
            super().truncate(path, length)

    def close(self, descriptor: int) -> None:
        self._paths.pop(descriptor, None)
        super().close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        with self._around("rename", _kind(target)):
            super().rename(source, target)
        self._paths = {at: target if path == source else path for at, path in self._paths.items()}

    def remove(self, path: Path) -> None:
        with self._around("remove", _kind(path)):
            super().remove(path)

    def sync_folder(self, folder: Path) -> None:
        with self._around("sync", f"{folder.name}/"):
            super().sync_folder(folder)


def _kind(path: Path) -> str:
    return f"{path.parent.name}/*{path.suffix}"
