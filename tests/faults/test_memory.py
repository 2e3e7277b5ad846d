"""Memory runs out: whoever asked for too much is refused, and nobody else; what was acknowledged stays.

`MemoryError` is raised once at every place where a call, a step or a checkpoint needs room, in the middle of
what each of them does, and the run is compared with what DuckDB makes of the accepted rows. At the end a
process of its own is given little address space and fed until the system itself refuses.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import headrace as hr
from headrace import stepper, ways_in
from headrace.console.overview import overview_json
from headrace.engine.circuit import Circuit
from headrace.engine.engine import Engine
from headrace.errors import OutOfMemory, StorageError, ViewInError
from headrace.feed import Feed
from headrace.intake.intake import Intake
from headrace.intake.streams import StreamState
from headrace.intake.tables import KeyedTable
from headrace.log import log
from headrace.log.file_store import FileStore
from headrace.log.log import Log
from headrace.log.records import Step
from headrace.query import Reader
from headrace.state import checkpoint
from headrace.state.blocks import PackWriter
from headrace.testing import ManualClock

VIEWS = {
    "per_shop": "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY shop",
    "per_country": "SELECT country, sum(amount) AS amount FROM orders JOIN shops USING (shop) "
    "GROUP BY country",
    "large": "SELECT * FROM per_shop WHERE n > 2",
}


def shop() -> hr.App:
    app = hr.App("shop")
    app.stream("orders", "id BIGINT, shop TEXT, amount BIGINT", event_id="id")
    app.table("shops", "shop TEXT, country TEXT", key="shop")
    for name, sql in VIEWS.items():
        app.view(name, sql)
    return app


def orders(first: int, last: int) -> list[dict[str, Any]]:
    return [{"id": n, "shop": f"s{n % 7}", "amount": n % 11} for n in range(first, last)]


SHOPS = [{"shop": f"s{n}", "country": "DK" if n % 2 else "PT"} for n in range(7)]


@pytest.fixture(params=["memory", "disk"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[hr.Run]:
    with shop().open(tmp_path if request.param == "disk" else None, clock=ManualClock()) as run:
        run.upsert("shops", SHOPS)
        run.append("orders", orders(0, 50))
        run.advance()
        yield run


@contextmanager
def starved(
    owner: Any, name: str, *, after: bool = False, times: int = 1, only: Callable[..., bool] | None = None
) -> Iterator[list[int]]:
    """Have a function find no memory, before or after its work, so many times."""
    whole, met = getattr(owner, name), [0]

    def short(*arguments: Any, **named: Any) -> Any:
        is_meant = met[0] < times and (only is None or only(*arguments))
        found = whole(*arguments, **named) if after or not is_meant else None
        if is_meant:
            met[0] += 1
            raise MemoryError
        return found

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(owner, name, short)
        yield met
    assert met[0] > 0


def check(run: hr.Run) -> None:
    """Compare every view with DuckDB, and what followers were told with the views."""
    for name, sql in VIEWS.items():
        assert run.query(f"FROM {name} ORDER BY ALL") == run.query(f"FROM ({sql}) ORDER BY ALL")
        told: dict[tuple[Any, ...], int] = {}
        for table in run.changes(name, since=0):
            for row in table.drop_columns(["_version"]).to_pylist():
                weight = row.pop("_weight")
                told[tuple(row.values())] = told.get(tuple(row.values()), 0) + weight
        there = {tuple(row.values()): 1 for row in run.query(f"FROM {name}").to_pylist()}
        assert {row: weight for row, weight in told.items() if weight} == there


# --- a call -----------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        (ways_in, "validate", False),
        (StreamState, "decide", False),
        (StreamState, "decide", True),
        (Intake, "_hear", True),
        (Log, "append", False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_an_append_is_refused_whole_and_the_next_is_not(
    run: hr.Run, owner: Any, name: str, after: bool
) -> None:
    if not hasattr(owner, name):
        pytest.fail(f"{owner} has no {name}")
    with starved(owner, name, after=after), pytest.raises(OutOfMemory, match="no row was taken in"):
        run.append("orders", orders(50, 60))
    result = run.append("orders", orders(50, 70))
    assert (result.accepted, result.repeated) == (20, 0)
    run.advance()
    assert run.query("SELECT count(*) AS n FROM orders").to_pylist() == [{"n": 70}]
    check(run)


@pytest.mark.parametrize("after", [False, True])
def test_a_transaction_is_refused_whole(run: hr.Run, after: bool) -> None:
    def changed() -> None:
        with run.transaction() as transaction:
            transaction.append("orders", orders(50, 60))
            transaction.upsert("shops", [{"shop": "s1", "country": "SE"}])
            transaction.delete("shops", [{"shop": "s2"}])

    with starved(KeyedTable, "delete", after=after), pytest.raises(OutOfMemory):
        changed()
    run.advance()
    check(run)
    assert run.query("SELECT count(*) AS n FROM shops").to_pylist() == [{"n": 7}]
    changed()
    run.advance()
    check(run)
    assert run.query("SELECT count(*) AS n FROM shops").to_pylist() == [{"n": 6}]


def test_a_log_that_finds_no_memory_refuses_and_goes_on(tmp_path: Path) -> None:
    with shop().open(tmp_path, clock=ManualClock()) as run:
        with starved(FileStore, "write"), pytest.raises(StorageError, match="no memory left"):
            run.append("orders", orders(0, 10))
        assert run.append("orders", orders(0, 10)).accepted == 10
        run.advance()
        check(run)


def test_a_commit_that_is_durable_reaches_the_views(run: hr.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MEMORY_PAUSE_S", 0.001)
    with starved(stepper, "rows_of", times=3):
        assert run.append("orders", orders(50, 60)).accepted == 10
    with starved(Log, "_take"):
        assert run.append("orders", orders(60, 70)).accepted == 10
    run.advance()
    assert run.query("SELECT count(*) AS n FROM orders").to_pylist() == [{"n": 70}]
    check(run)


# --- a step -----------------------------------------------------------------------------------------
def test_a_view_that_finds_no_memory_is_in_error_and_heals_by_itself(run: hr.Run) -> None:
    clock = run._clock
    assert isinstance(clock, ManualClock)
    run.append("orders", orders(50, 60))
    with starved(Circuit, "step", only=lambda circuit, *_: circuit is run._engine._views["per_shop"].circuit):
        run.advance()
    with pytest.raises(ViewInError, match="MemoryError"):
        run.query("FROM per_shop")
    with pytest.raises(ViewInError):
        run.query("FROM large")
    assert run.query("SELECT sum(amount) AS a FROM per_country").to_pylist()[0]["a"] > 0
    run.advance()
    with pytest.raises(ViewInError):
        run.query("FROM per_shop")
    clock.advance(timedelta(seconds=11))
    run.advance()
    check(run)


@pytest.mark.parametrize(
    ("owner", "name", "after"),
    [
        (Intake, "tick", False),
        (stepper, "merged", False),
        (Engine, "compute", False),
        (Engine, "compute", True),
        (Engine, "_take", False),
        (Engine, "_take", True),
        (Log, "fitted", False),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_step_that_finds_no_memory_is_tried_again(run: hr.Run, owner: Any, name: str, after: bool) -> None:
    before = run.version.number, run.query("FROM per_shop ORDER BY ALL")
    for first in range(50, 90, 10):
        run.append("orders", orders(first, first + 10))
    run.upsert("shops", [{"shop": "s1", "country": "SE"}])
    with starved(owner, name, after=after), pytest.raises(OutOfMemory, match="the views stand"):
        run.advance()
    assert (run.version.number, run.query("FROM per_shop ORDER BY ALL")) == before
    assert run.trouble is not None
    assert "there is no memory left" in run.stats()["trouble"]
    assert overview_json(run, [])["trouble"] == run.trouble.problem
    run.advance()
    assert run.trouble is None
    assert run.query("SELECT sum(n) AS n FROM per_shop").to_pylist() == [{"n": 90}]
    check(run)


@pytest.mark.parametrize(
    ("owner", "name", "only"),
    [
        (Log, "append", lambda _, record: isinstance(record, Step)),
        (Engine, "show", None),
        (Feed, "push", None),
    ],
    ids=["record", "show", "feed"],
)
def test_a_version_that_is_computed_is_shown_once_there_is_memory(
    run: hr.Run, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, only: Any
) -> None:
    monkeypatch.setattr(stepper, "RETRY_S", 0.001)
    run.append("orders", orders(50, 90))
    with starved(owner, name, only=only, times=2):
        run.advance()
    assert run.trouble is None
    check(run)


def test_a_run_that_steps_by_itself_goes_on_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stepper, "RETRY_S", 0.01)
    is_short = threading.Event()
    is_short.set()
    with shop().open(tmp_path, auto=True) as run:
        run.upsert("shops", SHOPS)
        run.advance()
        with starved(stepper, "merged", times=10**9, only=lambda *_: is_short.is_set()) as met:
            for first in range(0, 90, 10):
                run.append("orders", orders(first, first + 10))
            while met[0] < 3:
                is_short.wait(0.01)
            assert run.trouble is not None
            assert run.query("FROM per_shop").num_rows == 0
            is_short.clear()
            run.advance()
        assert run.trouble is None
        assert run.query("SELECT sum(n) AS n FROM per_shop").to_pylist() == [{"n": 90}]
        check(run)


# --- a query, a checkpoint --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("owner", "name"), [(Reader, "run"), (Reader, "mentioned"), (pa.Table, "from_batches")]
)
def test_a_query_fails_alone(run: hr.Run, owner: Any, name: str) -> None:
    if owner is pa.Table:
        from headrace.engine.heap import Snapshot as owner  # noqa: N813

        name = "table"
    with starved(owner, name), pytest.raises(OutOfMemory, match="not answered"):
        run.query("FROM per_shop")
    check(run)


def test_a_checkpoint_that_finds_no_memory_leaves_those_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headrace import keeper

    with shop().open(tmp_path, clock=ManualClock()) as run:
        run.append("orders", orders(0, 50))
        run.advance()
        run.checkpoint()
        with starved(keeper, "outline"), pytest.raises(StorageError, match="no memory left"):
            run.checkpoint()
        monkeypatch.setattr(checkpoint, "COPY_BYTES_MAX", -1)
        with (
            starved(PackWriter, "add"),
            pytest.raises(StorageError, match=r"no memory left|allocate memory"),
        ):
            run.checkpoint()
        run.append("orders", orders(50, 60))
        run.advance()
        assert run.checkpoint().new_bytes > 0
        check(run)
    with shop().open(tmp_path, clock=ManualClock()) as run:
        check(run)


# --- the system refuses -----------------------------------------------------------------------------
ROWS = 8_000
LIMITED = """
    import os, resource, sys
    from pathlib import Path
    import pyarrow as pa
    import headrace as hr
    from tests.faults.test_memory import limited

    def told(word):
        print(word, flush=True)

    run = limited().open(Path(sys.argv[1]))
    run.append("orders", [{"id": -1, "note": "first"}])
    run.advance()
    run.query("SELECT count(*) FROM per_id")
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + (32 << 20), most))
    refused = 0
    for call in range(100):
        ids = range(call * ROWS, (call + 1) * ROWS)
        try:
            run.append("orders", pa.table({"id": ids, "note": [f"{at} " + "x" * 500 for at in ids]}))
            told("taken")
            run.advance()
            run.query("SELECT count(*) FROM per_id")
        except hr.HeadraceError as error:
            assert "memory" in str(error).lower(), error
            refused += 1
            if refused == 3:
                break
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    assert run.append("orders", [{"id": -2, "note": "last"}]).accepted == 1
    told("went on")
    os._exit(0)  # threads that libraries could not begin are waited for otherwise
"""


def limited() -> hr.App:
    app = hr.App("limited")
    app.stream("orders", "id BIGINT, note TEXT", event_id="id")
    app.view("per_id", "SELECT id, max(note) AS note, count(*) AS n FROM orders GROUP BY id")
    return app


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux bounds the address space so")
def test_a_process_without_room_refuses_and_loses_nothing(tmp_path: Path) -> None:
    """A library may not survive what we do: then the process dies, as any process may."""
    program = textwrap.dedent(LIMITED).replace("ROWS", str(ROWS))
    done = subprocess.run(
        ["timeout", "-s", "KILL", "60", sys.executable, "-c", program, str(tmp_path)],
        capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    words = done.stdout.split("\n")
    taken, went_on = words.count("taken"), words.count("went on")
    assert went_on or done.returncode in (-6, -7, -9, -11, 134, 135, 137, 139), done.stderr
    with limited().open(tmp_path) as run:
        run.advance()
        rows = run.query("SELECT count(*) AS n, sum(n) AS times FROM per_id").to_pylist()[0]
        assert rows["n"] == rows["times"]
        assert rows["n"] in (taken * ROWS + 1 + went_on, (taken + 1) * ROWS + 1 + went_on)
