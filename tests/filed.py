"""State that lies in files, however small its parts are, for tests of few rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from headrace import runtime
from headrace.engine import growable, memory

SIZES = (
    (memory, "SMALLEST_BYTES"),
    (growable, "SMALLEST_BYTES"),
    (growable, "_FILED_BYTES"),
    (growable, "_MAPPED_BYTES"),
)
"""How many bytes state has at least until it lies in files where there is no room in memory."""


@contextmanager
def nothing_in_memory() -> Iterator[None]:
    """Have apps that are opened inside the block hold no state in memory."""
    with ExitStack() as patches:
        for module, name in SIZES:
            patches.enter_context(patch.object(module, name, 1))
        patches.enter_context(patch.object(runtime, "Memory", _without_room))
        yield


def _without_room(_: int | None, folder: Path | None) -> memory.Memory:
    return memory.Memory(1, folder)
