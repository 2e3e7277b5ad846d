"""An explanation of a view as text: the tree of its operators, outputs above inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def tree_lines(
    facts: Mapping[str, Any], *, shown: Callable[[str], str] = str, first: str = "", rest: str = ""
) -> Iterator[str]:
    """Yield the lines of a tree: operator, rule and counters, then what it does, why, and what it frees.

    Args:
        facts: the fields of an `OperatorInfo`, `inputs` the same again.
        shown: makes a detail fit.
        first: what stands before the first line.
        rest: what stands before all others.
    """
    yield first + _headline(facts)
    below = list(facts.get("inputs") or ())
    bar = rest + ("│  " if below else "   ")
    if facts.get("detail"):
        yield bar + shown(str(facts["detail"]))
    if facts.get("reason"):
        yield f"{bar}because {facts['reason']}"
    if facts.get("can_free"):
        yield f"{bar}{facts['can_free']}"
    if facts.get("late_rows"):
        many = facts["late_rows"] != 1
        yield f"{bar}{facts['late_rows']:,} late row{'s are' if many else ' is'} not in it"
    for number, entry in enumerate(below, start=1):
        last = number == len(below)
        head, bar = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from tree_lines(entry, shown=shown, first=rest + head, rest=rest + bar)


def _headline(facts: Mapping[str, Any]) -> str:
    rows, kept = facts.get("state_rows", 0), facts.get("state_bytes", 0)
    state = f" · {rows:,} row{'' if rows == 1 else 's'} kept, {_size(kept)}" if rows else ""
    return f"{facts['name']} · {facts['rule']}{state} · last step {facts.get('last_step_us', 0):,} µs"


def _size(size: int) -> str:
    """Return bytes as a person reads them.

    >>> _size(812), _size(12_400), _size(3_900_000_000)
    ('812 B', '12.4 kB', '3,900.0 MB')
    """
    if size < 1_000:
        return f"{size} B"
    return f"{size / 1e3:,.1f} kB" if size < 1_000_000 else f"{size / 1e6:,.1f} MB"
