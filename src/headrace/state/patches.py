"""What differs between a block of memory and the block on disk that it was: a patch of short lines.

State that is found by hash changes a few bytes here and there. So a block in which little has changed is not
written again: the lines of it that differ are, and the block on disk stays its base. A patch always starts
from the base, never from another patch; when it has grown to a 32nd of the block, the block is written anew.
With n lines of 64 bytes allowed, a change costs n/2 lines of patch and its share 1/n of a block: that sum is
the smallest at about n = 64 for blocks of 128 KiB.

A patch is the numbers of the lines (16 bits each, little-endian), then the lines.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

LINE_BYTES = 64
LINES_MAX = 64
"""Lines that a patch has at most."""
_WORDS = LINE_BYTES // 8
_ENTRY_BYTES = LINE_BYTES + 2


def patch_of(now: memoryview, base: bytes) -> bytes | None:
    """Return what makes `now` of `base`; None where they are of different lengths, or differ too much."""
    if now.nbytes != len(base) or now.nbytes % LINE_BYTES:
        return None
    new, old = _lines(now), _lines(base)
    changed = np.flatnonzero((new != old).any(axis=1))
    if len(changed) > LINES_MAX:
        return None
    return changed.astype("<u2").tobytes() + new[changed].tobytes()


def patch(base: memoryview, change: bytes | bytearray) -> None:
    """Make of a base, in place, what it was when `change` was written."""
    count = len(change) // _ENTRY_BYTES
    at = np.frombuffer(change, dtype="<u2", count=count)
    _lines(base)[at] = np.frombuffer(change, dtype=np.uint64, offset=2 * count).reshape(-1, _WORDS)


def _lines(block: memoryview | bytes) -> npt.NDArray[np.uint64]:
    return np.frombuffer(block, dtype=np.uint64).reshape(-1, _WORDS)
