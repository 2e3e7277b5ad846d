"""Plays random cases for as long as wanted and keeps what fails, made small, as files.

    python -m tests.oracle.hunt --seed 7 --minutes 10 --into found/

The same cases as `make torture`: a seed is a case. State is looked through for what can go as soon as any is
held, where an app waits for some thousand rows; in every third case two rows are as many as thousands are
to an app: they go side by side, are found by their ids, and wait to go into contents; and in every fifth no
state may lie in memory, however small its parts are.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

from tests.filed import nothing_in_memory
from tests.torture import seldom_collected

from headrace.engine import circuit, columns, hints, levels, store, sweep
from headrace.engine.operators import over
from headrace.errors import HeadraceError, UnsupportedSql
from headrace.testing import Case, MismatchError, play

from .functions import declare_called
from .generator import random_case
from .shrink import shrink

QUICK = Path("/dev/shm")
"""Where folders lie in memory: what a disk does to them is asked by the tests of kills and power cuts."""
ROOM_BYTES = 2 << 30
LEAST = (
    (levels, "WORTH_ROWS"),
    (circuit, "WORTH_ROWS"),
    (levels, "SPLIT_ROWS"),
    (columns, "COPIED_ROWS"),
    (hints, "ROWS_MIN"),
    (over, "APART_ROWS_MIN"),
    (store, "LARGE_ROWS"),
)
"""How many rows it takes at least until they are treated otherwise than a few are."""


def folders() -> Path | None:
    """Return where the folders of cases are made; None: where temporary files lie."""
    return QUICK if QUICK.is_dir() and shutil.disk_usage(QUICK).free > ROOM_BYTES else None


@contextmanager
def bounds_for_few_rows(case: Case) -> Iterator[None]:
    """Have a case of few rows meet what an app does only where there are many."""
    with ExitStack() as patches:
        patches.enter_context(patch.object(sweep, "SWEEP_ROWS_MIN", 1))
        number = sum(map(ord, case.name))
        if number % 3 == 0:
            for module, name in LEAST:
                patches.enter_context(patch.object(module, name, 2))
        if number % 5 == 0:
            patches.enter_context(nothing_in_memory())
        yield


def outcome(case: Case) -> str | None:
    """Return why a case fails, or None; a view that cannot be planned is no case."""
    try:
        with bounds_for_few_rows(case):
            play(case, prepare=declare_called, folders=folders())
    except MismatchError as error:
        is_refused = isinstance(error.__cause__, UnsupportedSql)
        return f"refused: UnsupportedSql: {error.__cause__}" if is_refused else str(error)
    except HeadraceError as error:
        return f"refused: {type(error).__name__}: {error}"
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a find
        return f"{type(error).__name__}: {error}"
    return None


def kind_of(why: str | None) -> str | None:
    """Return what makes two failures alike: the words of the first line, without names and numbers."""
    if why is None:
        return None
    head = next((part for part in why.splitlines() if part.strip()), "").partition(":")
    words = "add up" if "do not add up" in why else "not DuckDB" if "is not DuckDB's" in why else ""
    words = words or ("in error" if "is in error, DuckDB" in why else "")
    return words or (head[0] if not why.startswith("line ") else why.partition(": ")[2][:40])


def fails_alike(kind: str | None, case: Case) -> bool:
    """Return whether a case fails in a way of that kind."""
    return kind_of(outcome(case)) == kind


def main(arguments: list[str] | None = None, say: Callable[[str], object] = sys.stdout.write) -> int:
    """Hunt; returns the number of finds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--finds", type=int, default=10)
    parser.add_argument("--into", type=Path, default=None)
    options = parser.parse_args(arguments)
    end, seed, found, refused = time.monotonic() + options.minutes * 60, options.seed * 1_000_000, 0, 0
    began, cpu = seed, time.process_time()
    with seldom_collected() as collect:
        while time.monotonic() < end and found < options.finds:
            case = random_case(random.Random(seed), f"seed {seed}")
            why = outcome(case)
            seed += 1
            collect()
            if why is not None and why.startswith("refused: "):
                refused += 1
                say(f"{case.name}: {why.splitlines()[0]}\n")
            elif why is not None:
                found += 1
                small = shrink(case, partial(fails_alike, kind_of(why)))
                why = f"# {outcome(small)}".partition("\n\ncase ")[0].replace("\n", "\n# ")
                text = f"{why}\n{small.text()}"
                say(text + "\n")
                if options.into is not None:
                    options.into.mkdir(parents=True, exist_ok=True)
                    (options.into / f"{small.name.replace(' ', '-')}.case").write_text(text, encoding="utf-8")
    rate = (seed - began) / max(time.process_time() - cpu, 1e-9)
    say(f"{seed - began} cases, {rate:.1f} a second of CPU, {refused} refused, {found} found\n")
    return found


if __name__ == "__main__":
    sys.exit(min(main(), 1))
