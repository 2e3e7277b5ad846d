"""What a sink holds is the view, whatever the kind, after every version, pause, restart and definition.

One suite over every kind: the same shop, read back through the eyes of a stranger (`shop.content`). The bag
with equal rows is there because deleting *one* of several equal rows is where tables without a key go wrong.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sinks.shop import BAGS, KINDS, TURNOVER, URLS, content, options, orders, shop, wanted

import headrace as hr
from headrace.change import VERSION, WEIGHT
from headrace.sinks import Position, Shipment, SinkKind, Target, courier, register_sink, sink_kinds
from headrace.sinks.registry import shown_url

NET = "SELECT shop, sum(amount) AS amount, count(*) AS n FROM orders GROUP BY shop"
WIDE = "SELECT shop, sum(amount) AS amount, count(*) AS n, max(amount) AS best FROM orders GROUP BY shop"


def feed(run: hr.Run, *numbers: int) -> None:
    for number in numbers:
        run.append("orders", orders(number))
        run.advance()


@pytest.mark.parametrize("kind", KINDS)
def test_a_sink_holds_the_view_after_every_version(kind: str, tmp_path: Path) -> None:
    with shop(tmp_path, kind).open(None, sinks=True) as run:
        for number in range(8):
            feed(run, number)
            assert run.deliver()
            assert content(tmp_path, kind) == wanted(run, "turnover")
        assert run.sinks()[0].state == "up to date"
        assert run.sinks()[0].lag_ms == 0


@pytest.mark.parametrize("kind", BAGS)
def test_equal_rows_of_a_bag_come_and_go_one_by_one(kind: str, tmp_path: Path) -> None:
    app = hr.App("bag", folder=tmp_path)
    app.table("goods", "name TEXT, n INTEGER", key=None)
    app.sink("goods", URLS[kind], name="out", **options(kind))
    with app.open(None, sinks=True) as run:
        run.upsert("goods", [{"name": "tea", "n": 1}] * 3 + [{"name": None, "n": None}] * 2)
        run.advance()
        assert run.deliver()
        run.delete("goods", [{"name": "tea", "n": 1}, {"name": None, "n": None}])
        run.advance()
        assert run.deliver()
        assert content(tmp_path, kind, "goods") == {("tea", "1"): 2, ("None", "None"): 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_restart_goes_on_where_the_sink_is(kind: str, tmp_path: Path) -> None:
    for numbers in ((0, 1), (2,), (3, 4)):
        with shop(tmp_path, kind).open(tmp_path / "data") as run:
            feed(run, *numbers)
            rows = wanted(run, "turnover")
        assert content(tmp_path, kind) == rows


@pytest.mark.parametrize("kind", KINDS)
def test_a_sink_of_another_history_is_compared_with_the_view(kind: str, tmp_path: Path) -> None:
    """Two runs in memory count versions from 1 both; the second must not take the first one's for its own."""
    for numbers in ((0, 1, 2), (5,)):
        with shop(tmp_path, kind).open(None, sinks=True) as run:
            feed(run, *numbers)
            assert run.deliver()
            assert content(tmp_path, kind) == wanted(run, "turnover")


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_definition_sends_the_difference(kind: str, tmp_path: Path) -> None:
    with shop(tmp_path, kind).open(None, sinks=True) as run:
        feed(run, 0, 1)
        run.apply(shop(tmp_path, kind, turnover=NET))
        assert run.deliver()
        assert content(tmp_path, kind) == wanted(run, "turnover")
        run.rollback()
        feed(run, 2)
        assert run.deliver()
        assert content(tmp_path, kind) == wanted(run, "turnover")


@pytest.mark.parametrize("kind", KINDS)
def test_other_columns_begin_the_sink_anew(kind: str, tmp_path: Path) -> None:
    with shop(tmp_path, kind).open(None, sinks=True) as run:
        feed(run, 0, 1)
        assert run.deliver()
        run.apply(shop(tmp_path, kind, turnover=WIDE))
        feed(run, 2)
        assert run.deliver()
        assert content(tmp_path, kind) == wanted(run, "turnover")


def test_every_version_is_told_by_its_number(tmp_path: Path) -> None:
    with shop(tmp_path, "parquet").open(None, sinks=True) as run:
        start = run.version.number
        feed(run, 0, 1, 2)
        assert run.deliver()
        versions = {row[VERSION] for row in read_parquet(tmp_path)}
        assert versions <= set(range(start, run.version.number + 1))
        feed(run, 3)
        assert run.deliver()
        last = [row for row in read_parquet(tmp_path) if row[VERSION] == run.version.number]
        assert {WEIGHT: 1}.items() <= last[-1].items()


def read_parquet(folder: Path) -> list[dict[str, Any]]:
    import duckdb

    with duckdb.connect() as con:
        rows: list[dict[str, Any]] = con.sql(f"FROM '{folder}/out/*.parquet'").to_arrow_table().to_pylist()
    return rows


def test_a_table_that_somebody_else_has_changed_is_filled_anew(tmp_path: Path) -> None:
    import sqlite3

    with shop(tmp_path, "sqlite").open(None, sinks=True) as run:
        feed(run, 0)
        assert run.deliver()
        with sqlite3.connect(tmp_path / "out.sqlite") as con:
            con.execute("DELETE FROM turnover")
        con.close()
        feed(run, 4)
        assert run.deliver()
        assert content(tmp_path, "sqlite") == wanted(run, "turnover")
        assert run.sinks()[0].failures == 1


def test_every_type_is_kept(tmp_path: Path) -> None:
    import duckdb

    app = hr.App("types", folder=tmp_path)
    app.table("t", "k INTEGER", key="k")
    app.view(
        "v",
        "SELECT k, k::HUGEINT * 170141183460469231731 AS h, 1.5::DOUBLE AS d, 'é\"' AS s, "
        "DATE '2026-01-02' AS day, TIMESTAMP '2026-01-02 03:04:05.678' AS at, "
        "[1, NULL] AS l, {'a': 1, 'b': 'x'} AS st, true AS b, 1.25::DECIMAL(9,2) AS m, "
        "'\\x00\\xFF'::BLOB AS raw, uuid '00000000-0000-0000-0000-000000000001' AS u FROM t",
    )
    for kind in BAGS:
        app.sink("v", URLS[kind], name=kind, **options(kind))
    with app.open(None, sinks=True) as run:
        for keys in ([1, 2], [3]):
            run.upsert("t", [{"k": key} for key in keys])
            run.advance()
            assert run.deliver()
        run.delete("t", [{"k": 2}])
        run.advance()
        assert run.deliver()
        rows = wanted(run, "v")
        assert [status.failures for status in run.sinks()] == [0] * len(BAGS)
    with duckdb.connect(str(tmp_path / "out.duckdb")) as con:
        assert con.execute("SELECT typeof(h), typeof(st), typeof(u) FROM v").fetchall()[0] == (
            "HUGEINT", "STRUCT(a INTEGER, b VARCHAR)", "UUID",
        )  # fmt: skip
    assert content(tmp_path, "duckdb", "v") == rows
    assert sum(content(tmp_path, "sqlite", "v").values()) == 2
    assert sum(content(tmp_path, "ndjson").values()) == 2
    assert sum(content(tmp_path, "parquet").values()) == 2


# --- a sink that is down ------------------------------------------------------------------------------


class Store:
    """A sink of a third party, that can be told to fail or to hang."""

    def __init__(self) -> None:
        self.rows: dict[Any, int] = {}
        self.at: Position | None = None
        self.is_down = False
        self.versions: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def position(self) -> Position | None:
        if self.is_down:
            raise ConnectionError("nobody answers")
        return self.at

    def write(self, shipment: Shipment) -> None:
        self.gate.wait(100)
        if self.is_down:
            raise ConnectionError("nobody answers")
        if shipment.is_whole:
            self.rows = {}
        for row, weight in zip(shipment.net().rows.to_pylist(), shipment.net().weights.tolist(), strict=True):
            key = tuple(row.values())
            self.rows[key] = self.rows.get(key, 0) + weight
        self.rows = {key: weight for key, weight in self.rows.items() if weight}
        self.versions += sorted(set(shipment.rows.column(VERSION).to_pylist()))
        self.at = shipment.position

    def close(self) -> None:
        pass


STORES: dict[str, Store] = {}


def _open(target: Target) -> Store:
    return STORES[target.url]


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if "teststore" not in sink_kinds():
        register_sink(SinkKind("teststore", "exactly once", "for tests", _open, {"colour": "any"}))
    url = f"teststore://user:secret@{request.node.name.replace('_', '-')}"
    STORES[url] = Store()
    yield STORES[url]
    STORES.pop(url).gate.set()


def stored(store: Store, folder: Path) -> hr.App:
    app = shop(folder, None)
    url = next(url for url, known in STORES.items() if known is store)
    app.sink("turnover", url, name="out", colour="red")
    return app


def test_a_third_party_sink_gets_every_version_once(store: Store, tmp_path: Path) -> None:
    with stored(store, tmp_path).open(None, sinks=True) as run:
        feed(run, *range(6))
        assert run.deliver()
        assert dict.fromkeys(store.rows, 1) == store.rows
        assert {tuple(row.values()) for row in run.query("SELECT * FROM turnover").to_pylist()} == set(
            store.rows
        )
        assert store.versions == sorted(set(store.versions))
        assert "secret" not in run.sinks()[0].url


def test_a_sink_that_hangs_delays_no_step_and_catches_up(store: Store, tmp_path: Path) -> None:
    store.gate.clear()
    with stored(store, tmp_path).open(None, sinks=True) as run:
        feed(run, *range(5))
        status = run.sinks()[0]
        assert run.version.number >= 5
        assert status.version is None
        assert status.versions_behind > 0
        assert status.lag_ms > 0
        assert not run.deliver(0.05)
        store.gate.set()
        assert run.deliver()
        assert run.sinks()[0].versions_behind == 0


def test_versions_that_come_while_a_long_queue_is_delivered_are_not_forgotten(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue of versions whose age is remembered is bounded; what does not fit must be delivered too."""
    monkeypatch.setattr(courier, "WAITING_MAX", 1)
    with stored(store, tmp_path).open(None, sinks=True) as run:
        assert run.deliver()
        store.gate.clear()
        feed(run, 0)
        assert not run.deliver(0.05)  # the courier hangs in its delivery, with what it has read
        feed(run, 1, 2, 3)
        store.gate.set()
        while run.sinks()[0].version != run.version.number:  # nobody asks; it must come by itself
            threading.Event().wait(0.01)


def test_a_torn_name_of_a_folder_is_made_anew(store: Store, tmp_path: Path) -> None:
    """Two folders whose name is an empty file would each take the other's positions for its own."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "sinks.id").write_bytes(b"")
    with stored(store, tmp_path).open(tmp_path / "data") as run:
        feed(run, 0)
        assert run.deliver()
    assert store.at is not None
    assert len(store.at.history) == 32
    assert (tmp_path / "data" / "sinks.id").read_text() == store.at.history


def test_a_sink_that_is_down_is_tried_again_and_says_why(store: Store, tmp_path: Path) -> None:
    with stored(store, tmp_path).open(None, sinks=True) as run:
        feed(run, 0)
        assert run.deliver()
        store.is_down = True
        feed(run, 1, 2)
        assert not run.deliver(0.2)
        status = run.sinks()[0]
        assert (status.state, status.error) == ("down", "ConnectionError: nobody answers")
        assert status.failures >= 1
        assert run.stats()["sinks"][0]["state"] == "down"
        store.is_down = False
        assert run.deliver()
        assert run.sinks()[0].error is None
        assert {tuple(row.values()) for row in run.query("SELECT * FROM turnover").to_pylist()} == set(
            store.rows
        )


def test_a_run_closes_though_a_sink_is_down(store: Store, tmp_path: Path) -> None:
    store.is_down = True
    with stored(store, tmp_path).open(tmp_path / "data") as run:
        feed(run, 0)
    store.is_down = False
    with stored(store, tmp_path).open(tmp_path / "data") as run:
        assert run.deliver()
        assert len(store.rows) == run.query("SELECT * FROM turnover").num_rows


def test_a_sink_follows_a_view_that_comes_and_goes(store: Store, tmp_path: Path) -> None:
    url = next(url for url, known in STORES.items() if known is store)
    with shop(tmp_path, None).open(None, sinks=True) as run:
        feed(run, 0)
        added = shop(tmp_path, None)
        added.view("loud", "SELECT upper(shop) AS shop FROM turnover")
        added.sink("loud", url)
        run.apply(added)
        assert [status.view for status in run.sinks()] == ["loud"]
        assert run.deliver()
        assert store.rows
        run.apply(shop(tmp_path, None))
        assert run.sinks() == ()


# --- declaring ----------------------------------------------------------------------------------------


def test_what_is_declared_wrongly_is_told_at_once(tmp_path: Path) -> None:
    app = shop(tmp_path, None)
    with pytest.raises(hr.UnknownName, match="no sink is registered for 'nowhere'"):
        app.sink("turnover", "nowhere://x")
    with pytest.raises(hr.UnknownName, match="option of duckdb"):
        app.sink("turnover", "duckdb:///x", tabel="t")
    app.sink("turnover", "duckdb:///x")
    with pytest.raises(hr.DeclarationError, match="declared twice"):
        app.sink("turnover", "duckdb:///y")
    assert set(app.sinks) == {"turnover-duckdb"}


@pytest.mark.parametrize(
    ("view", "kind", "message"),
    [
        ("orders", "duckdb", "is a stream"),
        ("sold", "keyvalue", "identify a row"),
        ("nothing", "duckdb", "no stream, table or view named 'nothing'"),
    ],
)
def test_what_does_not_fit_is_told_at_opening(view: str, kind: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(hr.HeadraceError, match=message):
        shop(tmp_path, kind, view).open(None, sinks=True)


def test_the_names_of_kinds_are_taken_once() -> None:
    with pytest.raises(hr.DeclarationError, match="registered already"):
        register_sink(sink_kinds()["duckdb"])


def test_a_folder_that_is_only_looked_at_delivers_nothing(tmp_path: Path) -> None:
    with shop(tmp_path, "ndjson").open(tmp_path / "data", on_change="keep") as run:
        feed(run, 0)
        assert run.sinks() == ()
    assert not (tmp_path / "out.ndjson").exists()


def test_a_trial_in_memory_does_not_touch_what_the_real_run_has_filled(tmp_path: Path) -> None:
    with shop(tmp_path, "duckdb").open(tmp_path / "data") as run:
        feed(run, 0, 1)
        rows = wanted(run, "turnover")
    with shop(tmp_path, "duckdb").open(None) as run:
        feed(run, 5)
        assert run.deliver()
    assert content(tmp_path, "duckdb") == rows


@pytest.mark.parametrize("scheme", ["duckdb", "sqlite", "ndjson", "parquet", "keyvalue"])
def test_every_kind_stands_in_the_table_of_guarantees(scheme: str) -> None:
    text = (Path(__file__).resolve().parents[2] / "docs/guides/sinks.md").read_text()
    kind = sink_kinds()[scheme]
    rows = [line for line in text.splitlines() if line.startswith(f"| `{scheme}:///")]
    assert rows
    assert all(kind.guarantee in row for row in rows)
    assert [option for option in kind.options if f"`{option}=" not in text] == []


def test_a_torn_line_is_cut_off(tmp_path: Path) -> None:
    with shop(tmp_path, "ndjson").open(tmp_path / "data") as run:
        feed(run, 0)
    with (tmp_path / "out.ndjson").open("ab") as file:
        file.write(b'{"shop": "s1", "amo')
    with shop(tmp_path, "ndjson").open(tmp_path / "data") as run:
        feed(run, 1)
        assert run.deliver()
        assert content(tmp_path, "ndjson") == wanted(run, "turnover")


def test_passwords_are_not_shown() -> None:
    assert shown_url("a://me:secret@host/x") == "a://me:…@host/x"
    assert shown_url("a://host/x") == "a://host/x"


def test_turnover_is_what_the_kill_tests_think(tmp_path: Path) -> None:
    with shop(tmp_path, None).open(None, sinks=True) as run:
        feed(run, 0)
        assert run.relation("turnover").key == ("shop",)
        assert TURNOVER in (run.relation("turnover").sql or "")
