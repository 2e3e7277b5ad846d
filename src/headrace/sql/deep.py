"""Room for deep trees: DuckDB takes expressions 1000 levels deep, Python's usual stack does not."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FRAMES_MAX = 50_000
_STACK_BYTES = 512 * 1024 * 1024
_ONE_AT_A_TIME = threading.Lock()


def with_room(work: Callable[[], T]) -> T:
    """Return what `work` returns; where it runs out of frames, it starts again on a larger stack.

    `work` must be free to start twice.
    """
    try:
        return work()
    except RecursionError:
        with _ONE_AT_A_TIME:
            return _in_a_deep_thread(work)


def _in_a_deep_thread(work: Callable[[], T]) -> T:
    answers: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:  # noqa: BLE001  (handed to the caller)
            errors.append(error)

    frames, size = sys.getrecursionlimit(), threading.stack_size(_STACK_BYTES)
    sys.setrecursionlimit(max(frames, _FRAMES_MAX))
    try:
        thread = threading.Thread(target=run, name="headrace-plan")
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(frames)
        threading.stack_size(size)
    if errors:
        raise errors[0]
    return answers[0]
