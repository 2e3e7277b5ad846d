"""Every view as it was: by version and time, in SQL, over restarts, other definitions, errors and age.

`tests/test_past_crash.py` compares random lives with what was read; here stands one case for each thing that
can be asked or go wrong, small enough to be worked out by hand.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.faults.killed import killed

import headrace as hr
from headrace import past as past_room
from headrace.errors import BadRequest, ViewInError
from headrace.history import store
from headrace.history.segment import BlockReader
from headrace.log.codec import to_us
from headrace.testing import ManualClock

NINE = datetime(2026, 1, 5, 9, tzinfo=UTC)
TURNOVER = "SELECT shop, sum(amount) AS amount FROM orders GROUP BY shop"


def app(turnover: str = TURNOVER, **options: Any) -> hr.App:
    shop = hr.App("shop")
    shop.stream("orders", "id BIGINT, shop TEXT, amount BIGINT", event_id="id")
    shop.table("shops", "shop TEXT, country TEXT", key="shop")
    shop.view("turnover", turnover, **options)
    shop.view("Total", "SELECT sum(amount) AS amount, count(*) AS n FROM orders")
    return shop


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NINE)


@pytest.fixture
def run(clock: ManualClock) -> Iterator[hr.Run]:
    with app().open(None, clock=clock) as run:
        yield run


def sell(run: hr.Run, *ids: int, amount: int = 10) -> int:
    run.append("orders", [{"id": n, "shop": f"s{n % 2}", "amount": amount} for n in ids])
    return int(run.advance())


def total(run: hr.Run, **asked: Any) -> int:
    [row] = run.query("FROM total", **asked).to_pylist()
    return int(row["n"])


# --- versions and times ------------------------------------------------------------------------------


def test_every_relation_is_read_at_one_version(run: hr.Run) -> None:
    versions = []
    for n in range(5):
        run.upsert("shops", [{"shop": "s0", "country": f"c{n}"}])
        versions.append(sell(run, n))
    for n, version in enumerate(versions):
        answer = run.answer(
            "SELECT (SELECT n FROM total) AS n, (SELECT count(*) FROM orders) AS orders, "
            "(SELECT country FROM shops) AS country, (SELECT count(*) FROM shops__rejected) AS bad",
            as_of=version,
        )
        assert answer.table.to_pylist() == [{"n": n + 1, "orders": n + 1, "country": f"c{n}", "bad": 0}]
        assert answer.version.number == version
    assert total(run, as_of=0) == 0
    assert run.query("FROM orders", as_of=0).num_rows == 0
    assert run.read("turnover", as_of=versions[0]).table.to_pylist() == [{"shop": "s0", "amount": 10}]


def test_a_time_is_the_newest_version_that_is_not_younger(run: hr.Run, clock: ManualClock) -> None:
    for n in range(3):
        sell(run, n)
        clock.advance(timedelta(minutes=10))
    assert total(run, as_of=NINE - timedelta(seconds=1)) == 0
    assert total(run, as_of=NINE) == 1
    assert total(run, as_of=NINE + timedelta(minutes=10) - timedelta(microseconds=1)) == 1
    assert total(run, as_of="2026-01-05T09:10:00Z") == 2
    assert total(run, as_of="2026-01-05 10:15:00+01:00") == 2
    assert total(run, as_of=datetime(2026, 1, 5, 9, 15)) == 2  # noqa: DTZ001 - naive is UTC
    assert total(run, as_of=clock()) == 3


def test_at_stands_behind_one_relation(run: hr.Run) -> None:
    first, second = sell(run, 1), sell(run, 2, 3)
    sql = (
        "SELECT a.n AS a, b.n AS b, total.n AS now FROM total a AT (VERSION => $first), "
        "total b AT (VERSION => $first + 1), total"
    )
    assert run.query(sql, {"first": first}).to_pylist() == [{"a": 1, "b": 3, "now": 3}]
    assert run.query("FROM total AT (VERSION => ?) WHERE n > ?", [second, 2]).num_rows == 1
    assert run.query("FROM total AT (TIMESTAMP => ?)", [NINE]).to_pylist()[0]["n"] == 3
    mixed = run.query("SELECT t.n, o.n AS then FROM total t, total o AT (VERSION => 1)", as_of=second)
    assert mixed.to_pylist() == [{"n": 3, "then": 1}]


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("FROM total AT (VERSION => 99)", hr.VersionAhead),
        ("FROM total AT (VERSION => -1)", hr.VersionGone),
        ("FROM total AT (VERSION => 'x')", hr.SqlError),
        ("FROM total AT (VERSION => NULL)", hr.SqlError),
        ("FROM total AT (VERSION => n)", hr.SqlError),
        ("FROM total AT (TIMESTAMP => 'x')", BadRequest),
        ("FROM total AT (TIMESTAMP => TIMESTAMP '2999-01-01')", hr.VersionAhead),
        ("FROM nothing AT (VERSION => 1)", hr.UnknownName),
        ("FROM total AT (VERSION => (SELECT count(*) FROM secret))", hr.UnknownName),
    ],
)
def test_moments_that_are_not_there(run: hr.Run, sql: str, error: type[Exception]) -> None:
    sell(run, 1)
    with pytest.raises(error):
        run.query(sql)


def test_how_old_an_answer_of_the_past_is(run: hr.Run, clock: ManualClock) -> None:
    first = sell(run, 1)
    clock.advance(timedelta(minutes=1))
    sell(run, 2)
    clock.advance(timedelta(minutes=1))
    freshness = run.answer("FROM total", as_of=first).freshness
    assert (freshness.freshness_ms, freshness.pending_commits) == (60_000.0, 1)
    assert run.answer("FROM total", as_of=run.version).freshness.quiet


# --- definitions -------------------------------------------------------------------------------------


@pytest.mark.parametrize("on_disk", [False, True])
def test_before_a_switch_stand_the_old_columns(tmp_path: Path, clock: ManualClock, on_disk: bool) -> None:
    with app().open(tmp_path if on_disk else None, clock=clock) as run:
        before = sell(run, 1, 2)
        run.apply(app(TURNOVER.replace("GROUP", "WHERE shop = 's1' GROUP")))
        same_columns = run.version.number
        run.apply(app("SELECT shop, count(*) AS n FROM orders GROUP BY shop"))
        after = sell(run, 3)
        assert run.query("FROM turnover ORDER BY ALL", as_of=before).to_pylist() == [
            {"shop": "s0", "amount": 10}, {"shop": "s1", "amount": 10},
        ]  # fmt: skip
        assert run.query("FROM turnover", as_of=same_columns).to_pylist() == [{"shop": "s1", "amount": 10}]
        assert run.query("FROM turnover", as_of=after).column_names == ["shop", "n"]
        assert run.relation("turnover", as_of=before).schema.names == ("shop", "amount")
        told = [row for table in run.changes("turnover", since=after - 1) for row in table.to_pylist()]
        assert [(row["n"], row["_weight"]) for row in told] == [(1, -1), (2, 1)]
        with pytest.raises(hr.VersionGone, match="columns"):
            list(run.changes("turnover", since=before))


@pytest.mark.parametrize("on_disk", [False, True])
def test_views_that_came_and_went(tmp_path: Path, clock: ManualClock, on_disk: bool) -> None:
    with app().open(tmp_path if on_disk else None, clock=clock) as run:
        first = sell(run, 1)
        run.create_view("many", "SELECT count(*) AS n FROM orders")
        second = sell(run, 2)
        run.drop_view("many")
        third = sell(run, 3)
        run.create_view("many", "SELECT 'x' AS text, count(*) AS n FROM orders")
        fourth = run.version.number
        assert run.query("FROM many", as_of=second).to_pylist() == [{"n": 2}]
        assert run.query(f"FROM many AT (VERSION => {fourth})").to_pylist() == [{"text": "x", "n": 3}]
        for version in (first, third):
            with pytest.raises(hr.VersionGone, match="no many at version"):
                run.query("FROM many", as_of=version)
        run.drop_view("many")
        with pytest.raises(hr.UnknownName):
            run.query("FROM many")
        assert run.query(f"FROM many AT (VERSION => {second})").to_pylist() == [{"n": 2}]


def test_an_error_of_then_is_an_error_of_then(tmp_path: Path, clock: ManualClock) -> None:
    shop = app()
    shop.view("ids", "SELECT CAST(shop AS INTEGER) AS shop FROM shops")
    with shop.open(tmp_path, clock=clock) as run:
        versions = []
        for name in ("1", "x", "2"):
            run.upsert("shops", [{"shop": name}])
            versions.append(run.advance().number)
        run.delete("shops", [{"shop": "x"}])
        versions.append(run.advance().number)
    with shop.open(tmp_path, clock=clock) as run:
        assert run.query("FROM ids", as_of=versions[0]).num_rows == 1
        for version in versions[1:3]:
            with pytest.raises(ViewInError, match=f"version {version}"):
                run.query("FROM ids", as_of=version)
        assert run.query("FROM ids", as_of=versions[3]).num_rows == 2


def test_views_that_refresh_apart_have_versions_of_their_own(tmp_path: Path, clock: ManualClock) -> None:
    shop = app()
    shop.view("slow", "SELECT count(*) AS n FROM orders", refresh="10s")
    seen: dict[int, Any] = {}
    for life in range(2):
        with shop.open(tmp_path, clock=clock) as run:
            for n in range(4):
                clock.advance(timedelta(seconds=4))
                sell(run, life * 10 + n)
                seen[run.version.number] = run.query("FROM slow").to_pylist()
            for version, rows in seen.items():
                assert run.query("FROM slow", as_of=version).to_pylist() == rows
    assert len({rows[0]["n"] for rows in seen.values()}) > 2


# --- on disk -----------------------------------------------------------------------------------------


def test_changes_begin_at_any_kept_version_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    told: dict[int, list[dict[str, Any]]] = {}
    with app().open(tmp_path, clock=clock) as run:
        run.attach(_Noted(told))
        for n in range(6):
            sell(run, n)
    with app().open(tmp_path, clock=clock) as run:
        for since in range(6):
            found = [table.to_pylist() for table in run.changes("turnover", since=since)]
            assert [rows[0]["_version"] for rows in found] == list(range(since + 1, 7))
            for rows in found:
                want = told[rows[0]["_version"]]
                plain = [{k: v for k, v in row.items() if k != "_version"} for row in rows]
                assert sorted(map(repr, plain)) == sorted(map(repr, want))


class _Noted:
    def __init__(self, told: dict[int, list[dict[str, Any]]]) -> None:
        self._told = told

    def publish(self, version: hr.Version, changes: Any) -> None:
        self._told[version.number] = changes["turnover"].to_table().to_pylist()


@pytest.mark.parametrize("long_rows", [1, 1_000])
def test_long_changes_are_written_one_after_the_other(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, long_rows: int
) -> None:
    monkeypatch.setattr(past_room, "LONG_ROWS", long_rows)
    shop = app()
    shop.view("names", "SELECT DISTINCT shop || id AS name FROM orders")
    with shop.open(tmp_path, clock=clock) as run:
        ends = [sell(run, *range(first, first + 5)) for first in range(0, 20, 5)]
    with shop.open(tmp_path, clock=clock) as run:
        for count, version in enumerate(ends, 1):
            assert run.query("FROM names", as_of=version).num_rows == 5 * count
            assert total(run, as_of=version) == 5 * count
        told = list(run.changes("names", since=ends[0]))
        assert [len(table) for table in told] == [5, 5, 5]
        assert [set(table.column("_version").to_pylist()) for table in told] == [{end} for end in ends[1:]]


def test_what_was_not_written_is_computed_again(tmp_path: Path, clock: ManualClock) -> None:
    with app().open(tmp_path / "a", clock=clock) as run:
        versions = [sell(run, n) for n in range(3)]
        run._past.flush()
        versions += [sell(run, n) for n in range(3, 6)]
        folder = killed(tmp_path / "a", tmp_path / "b")
    with app().open(folder, clock=clock) as run:
        assert run.stats()["history"]["held_versions"] == 3
        assert [total(run, as_of=version) for version in versions] == [1, 2, 3, 4, 5, 6]
        assert len(list(run.changes("turnover", since=0))) == 6


def test_a_checkpoint_waits_for_the_past(tmp_path: Path, clock: ManualClock) -> None:
    with app().open(tmp_path / "a", clock=clock) as run:
        versions = [sell(run, n) for n in range(3)]
        run.checkpoint()
        versions.append(sell(run, 3))
        folder = killed(tmp_path / "a", tmp_path / "b")
    with app().open(folder, clock=clock) as run:
        assert [total(run, as_of=version) for version in versions] == [1, 2, 3, 4]


def test_many_segments_become_few_and_old_ones_go(tmp_path: Path, clock: ManualClock) -> None:
    declared = app(history="2h")
    declared.view("short", "SELECT count(*) AS n FROM orders", history="1h")
    declared.view("none", "SELECT count(*) AS n FROM orders", history="0")
    seen: dict[int, int] = {}
    with declared.open(tmp_path, clock=clock) as run:
        for n in range(200):
            seen[sell(run, n)] = n + 1
            if n % 2:
                run._past.flush()
    with declared.open(tmp_path, clock=clock) as run:
        assert run.stats()["history"]["segments"] < 20
        for version in list(seen)[::17]:
            assert total(run, as_of=version) == seen[version]
            assert run.query("FROM short", as_of=version).to_pylist() == [{"n": seen[version]}]
        with pytest.raises(hr.VersionGone):
            run.query("FROM none", as_of=50)
        assert run.query("FROM none").to_pylist() == [{"n": 200}]
        clock.advance(timedelta(days=8))
        sell(run, 1_000)
        run._past.flush()
        oldest = run.stats()["history"]["oldest"]
        assert oldest > 100
        with pytest.raises(hr.VersionGone, match="no longer kept"):
            total(run, as_of=oldest - 1)
        assert total(run, as_of=oldest) == seen[oldest]
    with declared.open(tmp_path, clock=clock) as run:
        assert total(run) == 201


def test_contents_are_written_down_so_that_no_read_adds_up_everything(
    tmp_path: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_room, "BASE_ROWS_MIN", 20)
    added: list[int] = []
    between = store.History.changes

    def counted(self: Any, *arguments: Any) -> Iterator[Any]:
        for table in between(self, *arguments):
            added.append(table.num_rows)
            yield table

    with app().open(tmp_path, clock=clock) as run:
        for n in range(60):
            sell(run, n)
            run._past.flush()
    monkeypatch.setattr(store.History, "changes", counted)
    with app().open(tmp_path, clock=clock) as run:
        for version in range(5, 60, 7):
            added.clear()
            assert total(run, as_of=version) == version
            assert sum(added) <= 40


@pytest.mark.parametrize("at", [10, 200, -5, -60])
def test_damage_is_told_and_concerns_the_past_alone(
    tmp_path: Path, clock: ManualClock, at: int, caplog: pytest.LogCaptureFixture
) -> None:
    with app().open(tmp_path, clock=clock) as run:
        for n in range(4):
            sell(run, n)
            run._past.flush()
    damaged = sorted((tmp_path / store.FOLDER).glob("*.past"))[2]
    data = bytearray(damaged.read_bytes())
    data[at] ^= 0xFF
    damaged.write_bytes(bytes(data))
    found = store.History(tmp_path)
    if "passed over" not in caplog.text:
        with pytest.raises(hr.StorageError):
            found.check()
    caplog.clear()
    with app().open(tmp_path, clock=clock) as run:
        assert total(run) == 4
        assert total(run, as_of=4) == 4
        told = "passed over" in caplog.text
        for version in range(4):
            try:
                assert total(run, as_of=version) == version
                assert run.query("FROM turnover", as_of=version).num_rows == min(version, 2)
            except (hr.VersionGone, hr.StorageError):
                told = True
        assert told
        sell(run, 9)
        assert total(run, as_of=4) == 4


def test_what_never_was_is_told_as_unknown(run: hr.Run) -> None:
    sell(run, 1)
    version = sell(run, 2)
    for asked in (1, version):
        with pytest.raises(hr.UnknownName, match="did you mean 'turnover'"):
            run.read("turnovr", as_of=asked)
        with pytest.raises(hr.UnknownName):
            run.difference("turnovr", since=asked)


def grown(folder: Path, clock: ManualClock, segments: int = store.MERGED - 1) -> list[Path]:
    """Leave a folder with so many segments of the past, one short of a merge; return them in order."""
    with app().open(folder, clock=clock) as run:
        for n in range(segments - 1):  # the first one is written at the opening
            sell(run, n)
            run._past.flush()
            clock.advance(timedelta(hours=1))
    return sorted((folder / store.FOLDER).glob("*.past"))


def test_a_damaged_segment_is_in_no_ones_way(tmp_path: Path, clock: ManualClock) -> None:
    """It cannot be merged with its neighbours; once, that failed every write of the past behind it, with that
    every checkpoint, and the closing, which left the folder locked."""
    damaged = grown(tmp_path, clock)[3]
    data = bytearray(damaged.read_bytes())
    data[200] ^= 0xFF
    damaged.write_bytes(bytes(data))
    with app().open(tmp_path, clock=clock) as run:
        for n in range(100, 130):
            version = sell(run, n)
            assert run._past.flush()
        run.checkpoint()
        assert total(run, as_of=version - 1) == total(run) - 1
        assert damaged.exists()
        assert run.stats()["history"]["segments"] < 20
    with app().open(tmp_path, clock=clock) as run:
        assert total(run, as_of=version - 1) == total(run) - 1


@pytest.mark.parametrize("asked", ["version", "time", "content"])
def test_segments_may_be_merged_while_they_are_read(
    tmp_path: Path, clock: ManualClock, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(past_room, "BASE_ROWS_MIN", 0)
    grown(tmp_path, clock, 5)
    with app().open(tmp_path, clock=clock) as run:
        history = run._past._history
        assert history is not None
        monkeypatch.setattr(store, "MERGED", 3)
        made: list[Path] = []

        def merging(files: Any, path: Path) -> Any:
            if not made:
                made.append(path)
                history.tend(lambda *_: True)
                assert not path.exists()
            return BlockReader(files, path)

        chapter = run._past._chapters.open("total")
        assert chapter is not None
        [base, *_] = history.bases(chapter)
        oldest = history.oldest
        assert oldest is not None
        monkeypatch.setattr(store, "BlockReader", merging)
        if asked == "version":
            assert history.version(oldest.number + 2) is not None
        elif asked == "time":
            found = history.newest_at(to_us(NINE + timedelta(minutes=90)))
            assert found is not None
            assert found.number == oldest.number + 2
        else:
            assert history.content(base).num_rows == base.rows
        assert made


def test_a_past_of_another_log_is_removed_as_a_whole(tmp_path: Path, clock: ManualClock) -> None:
    grown(tmp_path, clock)
    past = store.History(tmp_path)
    past._save_chapters(0)
    assert store.History(tmp_path).chapters.all()
    past.forget()
    assert list((tmp_path / store.FOLDER).iterdir()) == []
    assert store.History(tmp_path).chapters.all() == []


@pytest.mark.parametrize("versions", [1, 5])
def test_a_past_of_another_log_is_removed(tmp_path: Path, clock: ManualClock, versions: int) -> None:
    with app().open(tmp_path / "a", clock=clock) as run:
        for n in range(5):
            sell(run, n)
    with app().open(tmp_path / "b", clock=ManualClock(NINE + timedelta(hours=1))) as run:
        for n in range(versions):
            sell(run, n)
    shutil.rmtree(tmp_path / "b" / store.FOLDER)
    shutil.copytree(tmp_path / "a" / store.FOLDER, tmp_path / "b" / store.FOLDER)
    with app().open(tmp_path / "b", clock=clock) as run:
        assert total(run) == versions
        assert total(run, as_of=versions) == versions
        sell(run, 99)
        assert total(run, as_of=versions + 1) == versions + 1
        with pytest.raises(hr.VersionGone):
            total(run, as_of=0)


def test_without_its_folder_the_past_begins_anew(tmp_path: Path, clock: ManualClock) -> None:
    with app().open(tmp_path, clock=clock) as run:
        for n in range(3):
            sell(run, n)
    shutil.rmtree(tmp_path / store.FOLDER)
    with app().open(tmp_path, clock=clock) as run:
        assert total(run, as_of=3) == 3
        with pytest.raises(hr.VersionGone, match="no longer kept"):
            total(run, as_of=2)
        sell(run, 7)
        assert total(run, as_of=3) == 3


def test_how_long_the_past_is_kept_is_declared() -> None:
    assert "-- history: 30d" in app(history="30d").view_decls["turnover"].sql
    with pytest.raises(hr.DeclarationError):
        app(history="soon")
    with app(TURNOVER + "\n-- history: none").open(None) as run:
        assert run._described()[0].kept_ms == 0
