"""File systems of their own for tests: small ones, read-only ones, and one whose power can fail.

Mounts need root; where they are not allowed, a test that asks for one is skipped and says so.
"""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_SHUTDOWN = 0x8004587D
"""`FS_IOC_SHUTDOWN` of Linux."""
_NO_LOG_FLUSH = 2


def run(*words: str) -> None:
    """Run a command of the system; where it may not, skip the test."""
    try:
        subprocess.run(words, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", b"") or b""
        pytest.skip(f"this machine does not allow `{' '.join(words)}`: {error} {said.decode().strip()}")


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount an empty file system of that size (`4m`) in memory."""
    place.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place))
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


class PoweredDisk:
    """An ext4 in a file, on a machine of its own as far as power goes."""

    def __init__(self, folder: Path, options: str = "defaults") -> None:
        self.place = folder / "disk"
        self._options = options
        self._image = folder / "image"
        self.place.mkdir(parents=True)
        with self._image.open("wb") as image:
            image.truncate(64 << 20)
        run("mkfs.ext4", "-q", str(self._image))
        self.mount()

    def mount(self) -> None:
        """Start the machine."""
        run("mount", "-o", f"loop,{self._options}", str(self._image), str(self.place))

    def meet_an_error(self) -> None:
        """Let the system find an error on the disk."""
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        device = next(words[0] for words in mounts if words[1] == str(self.place))
        trigger = Path("/sys/fs/ext4") / Path(device).name / "trigger_fs_error"
        if not trigger.exists():
            pytest.skip(f"this machine has no {trigger}")
        trigger.write_text("1")

    def unmount(self) -> None:
        """Let go of the disk."""
        subprocess.run(["umount", str(self.place)], check=True)


def shut_down(place: str) -> None:
    """Cut the power of the file system that is mounted there: what is not on its disk now is lost."""
    descriptor = os.open(place, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
    finally:
        os.close(descriptor)
