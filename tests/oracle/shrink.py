"""Makes a failing case small: leaves out steps, rows, views and relations for as long as it still fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from headrace.testing import Case

TRIES_MAX = 400


def shrink(case: Case, fails: Callable[[Case], bool]) -> Case:
    """Return a smaller case that still fails."""
    tries = 0
    changed = True
    while changed and tries < TRIES_MAX:
        changed = False
        for smaller in _smaller(case):
            tries += 1
            if tries > TRIES_MAX:
                break
            if fails(smaller):
                case, changed = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    for size in (8, 4, 2, 1):
        for at in range(len(case.steps) - size, -1, -1):
            yield replace(case, steps=case.steps[:at] + case.steps[at + size :])
    for at in range(len(case.declared) - 1, -1, -1):
        yield replace(case, declared=case.declared[:at] + case.declared[at + 1 :])
    for at, block in enumerate(case.steps):
        for line in range(len(block.body)):
            if len(block.body) > 1:
                body = block.body[:line] + block.body[line + 1 :]
                yield replace(
                    case, steps=(*case.steps[:at], replace(block, body=body), *case.steps[at + 1 :])
                )
