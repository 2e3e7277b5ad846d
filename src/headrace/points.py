"""Named instants of a run at which a test may end the process; at any other time they cost one comparison.

`headrace.testing.CrashOnCue` is what listens. The file system has points of its own, before and after each
operation; those here lie between two of them, where the state in memory and the state on the disk part:

- `commit durable`: a commit is on the disk, and nobody has been told;
- `version computed`: the views have moved, and the log does not know of the version;
- `version recorded`: the log knows, and no reader does;
- `version shown`: readers and followers see it, and the outlets do not;
- `checkpoint frozen`: a checkpoint has been taken, and nothing of it is written;
- `aside computed`: a change that was held back is computed, and no view that answers has it;
- `aside recorded`: the log knows of the version that has it, and the old views still answer;
- `aside exchanged`: the views that have it are in place, and no version shows them;
- `definitions declared`: other definitions are on the disk, and the old views still answer;
- `definitions exchanged`: the new views are in place, and no version shows them;
- `definitions shown`: readers see them, and whoever asked for the change has no answer.
"""

from __future__ import annotations

from collections.abc import Callable

POINTS = (
    "commit durable",
    "version computed",
    "version recorded",
    "version shown",
    "checkpoint frozen",
    "aside computed",
    "aside recorded",
    "aside exchanged",
    "definitions declared",
    "definitions exchanged",
    "definitions shown",
)
_listener: Callable[[str], None] | None = None


def reach(point: str) -> None:
    """Say that a point is reached."""
    if _listener is not None:
        _listener(point)


def listen(listener: Callable[[str], None] | None) -> None:
    """Call `listener` with every point that is reached, on the thread that reaches it; None: nobody."""
    global _listener
    _listener = listener
