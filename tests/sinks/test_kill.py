"""Kills inside a shipment: what each kind of sink holds then, and that the next start makes it whole.

There is one test per row of the table of guarantees in docs/guides/sinks.md:

- *exactly once*: after the kill the sink holds one version of the view, the one that its position names;
- *idempotent*: rows of the version under way may be there already; the next start writes them again;
- *at least once*: lines of the version under way may be there twice; equal lines are one.

After the next start every kind holds the view. The kill comes at the 5th to 7th shipment, so that there are
rows that change and go, and a position, before it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from tests.conftest import Torture
from tests.sinks.killed import VERSIONS
from tests.sinks.shop import URLS, content, orders, shop, wanted
from tests.torture import SEEDS

from headrace.sinks.duck import DuckTable
from headrace.sinks.files import read_mark
from headrace.sinks.registry import Target
from headrace.sinks.sqlite import SqliteTable

ROOT = Path(__file__).resolve().parents[2]
EXACTLY = [
    ("duckdb", "after TableSink.place", 5),
    ("changes", "after TableSink.note", 5),
    ("sqlite", "after SqliteTable.delete", 5),
    ("parquet", "before mark", 7),
]
TABLES, TIMES = ("duckdb", "sqlite", "changes"), ("before", "after")
MORE = [
    *((kind, f"{when} TableSink.note", 6) for kind in TABLES for when in TIMES),
    *((kind, f"{when} TableSink.commit", 6) for kind in TABLES for when in TIMES),
    ("duckdb", "after DuckTable.delete", 4), ("duckdb", "after DuckTable.insert", 6),
    ("parquet", "before ParquetFiles.draft", 6), ("parquet", "after ParquetFiles.draft", 6),
    ("parquet", "after mark", 6), ("duckdb", "after TableSink.make", 1),
]  # fmt: skip


def kill(folder: Path, kind: str, point: str, nth: int) -> None:
    """Run the program until it kills itself."""
    command = [sys.executable, "-m", "tests.sinks.killed", str(folder), kind, point, str(nth)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == -9, done.stderr[-2000:]


@cache
def states() -> dict[int, Counter[tuple[str, ...]]]:
    """The rows of the view at every version that the program publishes."""
    with shop(Path(), None).open(None) as run:
        found = {run.version.number: wanted(run, "turnover")}
        for at in range(VERSIONS):
            run.append("orders", orders(at))
            number = run.advance().number
            found[number] = wanted(run, "turnover")
    return found


def position(folder: Path, kind: str) -> int | None:
    target = Target("out", "turnover", URLS[kind], {}, folder)
    if kind == "parquet":
        from headrace.sinks.parquet import ParquetFiles

        at = ParquetFiles(target).position()
    else:
        sink = SqliteTable(target) if kind == "sqlite" else DuckTable(target)
        at = sink.position()
        sink.close()
    return None if at is None else at.version


def resumed(folder: Path, kind: str) -> None:
    """The next start: the sink is whole, and goes on."""
    with shop(folder, kind).open(folder / "data") as run:
        assert run.deliver()
        assert content(folder, kind) == wanted(run, "turnover")
        run.append("orders", orders(100))
        run.advance()
        assert run.deliver()
        assert content(folder, kind) == wanted(run, "turnover")


def exactly_once(folder: Path, kind: str, point: str, nth: int) -> None:
    kill(folder, kind, point, nth)
    at = position(folder, kind)
    if at is not None:
        assert content(folder, kind) == states()[at]
    resumed(folder, kind)


@pytest.mark.parametrize(("kind", "point", "nth"), EXACTLY)
def test_exactly_once_a_kill_leaves_a_whole_version(kind: str, point: str, nth: int, tmp_path: Path) -> None:
    exactly_once(tmp_path, kind, point, nth)


@pytest.mark.torture(weight=2, least=30)
def test_exactly_once_at_every_point(tmp_path: Path, torture: Torture) -> None:
    """Every point in its turn, at other shipments each time round; the first ones have no rows."""

    def case(seed: int) -> None:
        kind, point, nth = MORE[seed % len(MORE)]
        again = seed % SEEDS // len(MORE)
        exactly_once(tmp_path / str(seed), kind, point, nth if nth == 1 else 3 + (nth - 3 + again) % 5)
        shutil.rmtree(tmp_path / str(seed))

    torture.play(case)


def test_no_version_is_appended_twice_or_left_out(tmp_path: Path) -> None:
    import duckdb

    kill(tmp_path, "changes", "after DuckChanges.place", 6)
    resumed(tmp_path, "changes")
    with duckdb.connect(str(tmp_path / "changes.duckdb")) as con:
        twice = con.execute("SELECT *, count(*) FROM turnover GROUP BY ALL HAVING count(*) > 1").fetchall()
    assert twice == []


@pytest.mark.parametrize("point", ["after KeyFolder.put", "after KeyFolder.remove"])
def test_idempotent_a_repeat_changes_nothing(point: str, tmp_path: Path) -> None:
    kill(tmp_path, "keyvalue", point, 6 if "put" in point else 1)
    resumed(tmp_path, "keyvalue")


@pytest.mark.parametrize("point", ["half JsonLines.add", "after JsonLines.add"])
def test_at_least_once_equal_lines_are_one(point: str, tmp_path: Path) -> None:
    kill(tmp_path, "ndjson", point, 6)
    mark = read_mark(tmp_path / "out.ndjson.position")
    assert mark is not None
    assert mark.version > 0
    resumed(tmp_path, "ndjson")


def test_a_kill_right_after_the_first_open_leaves_a_folder_that_opens(tmp_path: Path) -> None:
    kill(tmp_path, "duckdb", "before TableSink.begin", 1)
    resumed(tmp_path, "duckdb")
