"""A run from end to end, embedded: in, durable, computed, read; and again after a restart."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pytest

import headrace as hr
from headrace.change import VERSION, WEIGHT
from headrace.engine.memory import Memory
from headrace.errors import StepFailed
from headrace.testing import ListOutlet, ManualClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Order(hr.Event):
    order_id: int
    customer_id: int
    amount: Annotated[Decimal, hr.decimal(18, 2)]
    placed_at: Annotated[datetime, hr.event_time(lateness="10s")]


class Customer(hr.Table):
    customer_id: int
    country: str


def shop() -> hr.App:
    app = hr.App("shop")
    app.stream("orders", Order, event_id="order_id")
    app.table("customers", Customer, key="customer_id")
    app.view("gmv", "SELECT sum(amount) AS gmv, count(*) AS orders FROM orders")
    app.view(
        "by_country",
        "SELECT country, sum(amount) AS gmv FROM orders JOIN customers USING (customer_id) GROUP BY ALL",
    )
    app.view("top", "SELECT country, gmv FROM by_country ORDER BY gmv DESC LIMIT 1")
    return app


def order(number: int, amount: str = "10.00", *, customer: int = 1, at: datetime = NOON) -> dict[str, object]:
    return {"order_id": number, "customer_id": customer, "amount": Decimal(amount), "placed_at": at}


def test_the_way_of_the_data() -> None:
    with shop().open(None, clock=ManualClock(NOON)) as run:
        assert run.query("FROM gmv").to_pylist() == [{"gmv": None, "orders": 0}]
        run.upsert("customers", [{"customer_id": 1, "country": "NL"}, {"customer_id": 2, "country": "DE"}])
        answer = run.append("orders", [order(1), order(2, "5.50", customer=2)])
        assert (answer.accepted, answer.commit) == (2, 2)
        version = run.advance()
        assert (version.number, version.commit) == (1, 2)
        assert run.query("FROM gmv").to_pylist() == [{"gmv": Decimal("15.50"), "orders": 2}]
        assert run.query("FROM top").to_pylist() == [{"country": "NL", "gmv": Decimal("10.00")}]
        run.upsert("customers", [{"customer_id": 1, "country": "DE"}])
        run.advance()
        assert run.query("FROM top").to_pylist() == [{"country": "DE", "gmv": Decimal("15.50")}]


def test_an_advance_with_nothing_to_do_makes_no_version() -> None:
    with shop().open(None, clock=ManualClock(NOON)) as run:
        run.append("orders", [order(1)])
        assert run.advance() == run.advance() == hr.Version(1)


def test_repeated_late_and_rejected_rows_are_told_and_kept() -> None:
    clock = ManualClock(NOON)
    with shop().open(None, clock=clock) as run:
        run.append("orders", [order(1)])
        mixed = [order(1), order(2, at=NOON - timedelta(seconds=11)), {"order_id": "x"}, order(3)]
        answer = run.append("orders", mixed)
        assert [hr.RowStatus(status).name for status in answer.statuses] == [
            "REPEATED",
            "LATE",
            "REJECTED",
            "ACCEPTED",
        ]
        run.advance()
        assert run.query("SELECT orders FROM gmv").to_pylist() == [{"orders": 2}]
        assert run.query("SELECT order_id FROM orders__late").to_pylist() == [{"order_id": 2}]
        rejected = run.query('SELECT field, "row" FROM orders__rejected').to_pylist()
        assert len(rejected) == 1
        assert '"x"' in rejected[0]["row"]


def test_strictness_keeps_nothing_of_the_call() -> None:
    with shop().open(None, clock=ManualClock(NOON)) as run:
        with pytest.raises(hr.errors.RowsRejected):
            run.append("orders", [order(1), {"order_id": "x"}], on_reject="raise")
        run.advance()
        assert run.query("SELECT orders FROM gmv").to_pylist() == [{"orders": 0}]


def test_a_transaction_is_one_commit() -> None:
    with shop().open(None, clock=ManualClock(NOON)) as run:
        with run.transaction("feed", {"offset": 7}) as t:
            t.upsert("customers", [{"customer_id": 1, "country": "NL"}])
            t.append("orders", [order(1)])
        assert {result.commit for result in t.results} == {1}
        assert run.position("feed") == {"offset": 7}
        with pytest.raises(hr.errors.UnknownName), run.transaction() as t:  # noqa: PT012 - the block is meant
            t.append("orders", [order(2)])
            t.append("nothing", [])
        run.advance()
        assert run.query("SELECT orders FROM gmv").to_pylist() == [{"orders": 1}]


def test_a_delete_takes_whole_rows_or_keys() -> None:
    with shop().open(None, clock=ManualClock(NOON)) as run:
        run.upsert("customers", [{"customer_id": n, "country": "NL"} for n in (1, 2, 3)])
        run.delete("customers", [{"customer_id": 1}])
        run.delete("customers", [{"customer_id": 2, "country": "whatever"}])
        answer = run.delete("customers", [{"customer_id": 9}])
        assert answer.rejected == 1
        run.advance()
        assert run.query("SELECT customer_id FROM customers").to_pylist() == [{"customer_id": 3}]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    clock = ManualClock(NOON)
    with shop().open(tmp_path, clock=clock) as run:
        run.upsert("customers", [{"customer_id": 1, "country": "NL"}])
        run.append("orders", [order(1)], idempotency_key="a")
        before = run.advance()
        run.append("orders", [order(2)])
    with shop().open(tmp_path, clock=clock) as run:
        assert run.version == before
        assert run.query("SELECT orders FROM gmv").to_pylist() == [{"orders": 1}]
        again = run.append("orders", [order(1)], idempotency_key="a")
        assert (again.replayed, again.accepted) == (True, 1)
        assert run.append("orders", [order(2)]).repeated == 1
        assert run.advance().number == before.number + 1
        assert run.query("SELECT orders FROM gmv").to_pylist() == [{"orders": 2}]
        assert run.query("FROM top").to_pylist() == [{"country": "NL", "gmv": Decimal("20.00")}]


def test_a_view_can_be_created_replaced_and_dropped_and_stays_after_a_restart(tmp_path: Path) -> None:
    with shop().open(tmp_path, clock=ManualClock(NOON)) as run:
        run.append("orders", [order(n) for n in range(10)])
        run.advance()
        run.create_view("big", "SELECT order_id FROM orders WHERE order_id >= 8")
        assert run.query("SELECT count(*) AS n FROM big").to_pylist() == [{"n": 2}]
        seen = run.version
        run.replace_view("big", "SELECT order_id FROM orders WHERE order_id >= 7")
        (change,) = run.changes("big", since=seen)
        assert change.select(["order_id", WEIGHT]).to_pylist() == [{"order_id": 7, WEIGHT: 1}]
        with pytest.raises(hr.errors.DeclarationError):
            run.create_view("big", "SELECT 1 AS one")
        with pytest.raises(hr.errors.DeclarationError):
            run.drop_view("gmv")
    with shop().open(tmp_path, clock=ManualClock(NOON)) as run:
        assert run.query("SELECT count(*) AS n FROM big").to_pylist() == [{"n": 3}]
        run.drop_view("big")
        with pytest.raises(hr.errors.UnknownName):
            run.query("FROM big")
    with shop().open(tmp_path, clock=ManualClock(NOON)) as run, pytest.raises(hr.errors.UnknownName):
        run.query("FROM big")


def test_changed_views_of_the_app_are_computed_over_all_history(tmp_path: Path) -> None:
    with shop().open(tmp_path, clock=ManualClock(NOON)) as run:
        run.append("orders", [order(n) for n in range(10)])
        run.advance()
    changed = shop()
    changed.view("evens", "SELECT count(*) AS n FROM orders WHERE order_id % 2 = 0")
    with changed.open(tmp_path, clock=ManualClock(NOON), on_change="apply") as run:
        assert run.query("FROM evens").to_pylist() == [{"n": 5}]


def test_a_changed_stream_is_refused_by_name(tmp_path: Path) -> None:
    shop().open(tmp_path).close()
    other = hr.App("shop")
    other.stream("orders", "order_id BIGINT")
    with pytest.raises(hr.errors.DeclarationsChanged, match="orders"):
        other.open(tmp_path)


def test_a_folder_has_one_owner(tmp_path: Path) -> None:
    with shop().open(tmp_path), pytest.raises(hr.errors.FolderLocked):
        shop().open(tmp_path)


@pytest.mark.parametrize("auto", [False, True])
def test_an_opening_that_fails_leaves_nothing_behind(
    tmp_path: Path, auto: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, threads went on stepping over a log that had been closed, and said that views stand still."""
    with shop().open(tmp_path, clock=ManualClock(NOON)) as run:
        run.append("orders", [order(1)])
        run.advance()
    wrong = shop()
    wrong.view("broken", "SELECT CAST('x' || order_id AS INT) AS n FROM orders")
    before = set(threading.enumerate())
    with pytest.raises(hr.ChangeFailed):
        wrong.open(tmp_path, auto=auto, on_change="apply", clock=ManualClock(NOON))
    with pytest.raises(hr.DeclarationsChanged):
        wrong.open(tmp_path, auto=auto, clock=ManualClock(NOON))
    assert not [one.name for one in set(threading.enumerate()) - before if one.name.startswith("headrace")]
    assert "stand still" not in caplog.text
    with shop().open(tmp_path, auto=auto, clock=ManualClock(NOON)) as run:
        run.advance()
        assert run.query("FROM gmv").to_pylist()[0]["orders"] == 1


def test_a_part_that_fails_at_the_end_keeps_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shop().open(tmp_path, clock=ManualClock(NOON))
    run.append("orders", [order(1)])

    def refused() -> None:
        raise hr.StorageError("the past is damaged")

    monkeypatch.setattr(run._past, "close", refused)
    with pytest.raises(hr.StorageError, match="damaged"):
        run.close()
    with shop().open(tmp_path, clock=ManualClock(NOON)) as run:
        run.advance()
        assert run.query("FROM gmv").to_pylist()[0]["orders"] == 1


def test_nothing_steps_after_a_step_that_met_a_defect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What the views hold then is half of something; a view that refreshes apart must not publish it."""
    app = shop()
    app.view("apart", "SELECT count(*) AS n FROM orders", refresh="100ms")
    with app.open(None, auto=True) as run:
        version, compute = run.advance(), run._engine.compute
        defects = iter([RuntimeError("a defect")])

        def broken(*given: Any) -> Any:
            for defect in defects:
                raise defect
            return compute(*given)

        monkeypatch.setattr(run._engine, "compute", broken)
        run.append("orders", [order(1, at=datetime.now(UTC))])
        with pytest.raises(StepFailed):
            run.advance()
        for _ in range(2):
            with pytest.raises(StepFailed):
                run._stepper.step()
        with run._stepper.gate, pytest.raises(StepFailed):
            run._stepper.publish({})
        assert run.version == version
        assert run.query("FROM gmv").to_pylist()[0]["orders"] == 0
    assert "a defect" in caplog.text


def test_changes_follow_from_a_version_and_add_up() -> None:
    with shop().open(None, clock=ManualClock(NOON)) as run:
        run.append("orders", [order(1)])
        run.advance()
        (start,) = run.changes("gmv")
        assert start.drop_columns([WEIGHT, VERSION]).to_pylist() == [{"gmv": Decimal("10.00"), "orders": 1}]
        run.append("orders", [order(2)])
        run.advance()
        (change,) = run.changes("gmv", since=1)
        rows = sorted((row[WEIGHT], row["orders"], row[VERSION]) for row in change.to_pylist())
        assert rows == [(-1, 1, 2), (1, 2, 2)]
        assert list(run.changes("gmv", since=2)) == []


def test_a_follower_is_woken_by_each_version_and_by_the_end() -> None:
    run = shop().open(None, clock=ManualClock(NOON), auto=True)
    got: list[pa.Table] = []
    reader = threading.Thread(target=lambda: got.extend(run.changes("gmv", since=0, follow=True)))
    reader.start()
    for number in range(3):
        run.wait_for(run.append("orders", [order(number)]).commit or 0)
    run.close()
    reader.join(60)
    assert not reader.is_alive()
    assert got[-1].column("orders").to_pylist()[-1] == 3


def test_outlets_get_every_version_and_a_broken_one_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def publish(self, version: hr.Version, changes: object) -> None:
            raise RuntimeError("no")

    with shop().open(None, clock=ManualClock(NOON)) as run:
        outlet = ListOutlet()
        run.attach(Broken())
        detach = run.attach(outlet)
        run.append("orders", [order(1)])
        run.advance()
        detach()
        run.append("orders", [order(2)])
        run.advance()
        assert [version.number for version, _ in outlet.versions] == [1]
        assert set(outlet.versions[0][1]) >= {"gmv"}
        assert run.query("SELECT orders FROM gmv").to_pylist() == [{"orders": 2}]
    assert "an outlet failed" in caplog.text


def test_readers_never_see_two_moments() -> None:
    app = hr.App("pair")
    app.stream("s", "n BIGINT")
    app.view("left_sum", "SELECT sum(n) AS total FROM s")
    app.view("right_sum", "SELECT sum(n) + 0 AS total FROM s WHERE n > 0")
    with app.open(None, auto=True) as run:
        stop = threading.Event()

        def write() -> None:
            number = 1
            while not stop.is_set():
                run.append("s", [{"n": number}])
                number += 1

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(100):
                (row,) = run.query(
                    "SELECT l.total IS NOT DISTINCT FROM r.total AS same FROM left_sum l, right_sum r"
                ).to_pylist()
                assert row["same"]
        finally:
            stop.set()
            writer.join()


def test_views_that_read_each_other_are_refused() -> None:
    app = hr.App("circle")
    app.view("a", "SELECT * FROM b")
    app.view("b", "SELECT * FROM a")
    with pytest.raises(hr.errors.DeclarationError, match="circle"):
        app.open(None)


def test_unknown_names_suggest_the_right_one() -> None:
    with shop().open(None) as run:
        with pytest.raises(hr.errors.UnknownName, match="gmv"):
            run.query("SELECT * FROM gmw")
        with pytest.raises(hr.errors.UnknownName, match="orders"):
            run.append("order", [])
        with pytest.raises(hr.errors.UnknownName, match="append"):
            run.upsert("orders", [order(1)])
        with pytest.raises(hr.errors.UnknownName, match="no stream, table or view named 'order'"):
            run.relation("order")


def test_a_closed_run_says_so() -> None:
    run = shop().open(None)
    run.close()
    run.close()
    with pytest.raises(hr.errors.Closed):
        run.append("orders", [order(1)])
    with pytest.raises(hr.errors.Closed):
        run.query("FROM gmv")


def test_a_view_that_fails_is_in_error_and_heals_from_history(tmp_path: Path) -> None:
    app = hr.App("casts")
    app.table("Texts", "id BIGINT, body VARCHAR", key="id")
    app.view("numbers", "SELECT id, body::BIGINT AS n FROM texts")
    app.view("total", "SELECT sum(n) AS total FROM numbers")
    app.view("size", "SELECT count(*) AS n FROM texts")
    app.stream("Seen", "n BIGINT")
    with app.open(tmp_path) as run:
        run.append("seen", [{"n": 1}])
        run.advance()
        run.create_view("seen_sum", "SELECT sum(n) AS n FROM seen")
        assert run.query("FROM seen_sum").to_pylist() == run.query("FROM seen").to_pylist() == [{"n": 1}]
        run.upsert("texts", [{"id": 1, "body": "5"}])
        run.advance()
        run.upsert("texts", [{"id": 2, "body": "x"}])
        run.advance()
        with pytest.raises(hr.errors.ViewInError, match="x"):
            run.query("FROM numbers")
        with pytest.raises(hr.errors.ViewInError):
            run.query("FROM total")
        assert run.query("FROM size").to_pylist() == [{"n": 2}]
        run.upsert("texts", [{"id": 3, "body": "7"}])
        run.advance()
    with app.open(tmp_path) as run:
        with pytest.raises(hr.errors.ViewInError):
            run.query("FROM total")
        run.delete("texts", [{"id": 2}])
        run.advance()
        assert run.query("FROM total").to_pylist() == [{"total": 12}]


def test_content_that_a_change_does_not_fit_is_computed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in one view's upkeep must not stop the others, nor last."""
    with shop().open(None, clock=ManualClock(NOON)) as run:
        run.upsert("customers", [{"customer_id": 1, "country": "NL"}])
        run.append("orders", [order(1)])
        run.advance()
        store = run._engine.store("by_country")
        store.settle()  # changes may wait before they go into a content
        with monkeypatch.context() as patch:
            patch.setattr(type(store), "_remove", failing)
            run.append("orders", [order(2)])
            run.advance()
            run._engine.settle(["by_country"])
        run.append("orders", [order(3)])
        run.advance()
        with pytest.raises(hr.errors.ViewInError):
            run.query("FROM top")
        run.append("orders", [order(4)])
        run.advance()
        assert run.query("FROM top").to_pylist() == [{"country": "NL", "gmv": Decimal("40.00")}]
        assert run.query("SELECT orders FROM gmv").to_pylist() == [{"orders": 4}]


def failing(*_: object) -> None:
    raise AssertionError("a row goes that the view does not hold")


def test_an_older_deletion_never_takes_a_newer_row() -> None:
    app = hr.App("sequenced")
    app.table("t", "id BIGINT, seq BIGINT, v VARCHAR", key="id", sequence="seq")
    with app.open(None) as run:
        run.upsert("t", [{"id": 1, "seq": 5, "v": "new"}])
        assert run.delete("t", [{"id": 1, "seq": 4}]).repeated == 1
        run.advance()
        assert run.query("FROM t").num_rows == 1
        assert run.delete("t", pa.table({"id": [1], "seq": [6]})).accepted == 1
        run.advance()
        assert run.query("FROM t").num_rows == 0


def test_silence_moves_the_watermark_of_the_next_version() -> None:
    clock = ManualClock(NOON)
    with shop().open(None, clock=clock) as run:
        run.append("orders", [order(1)])
        assert run.advance().watermarks == {"orders": NOON - timedelta(seconds=10)}
        clock.advance(timedelta(minutes=6))
        run.upsert("customers", [{"customer_id": 1, "country": "NL"}])
        assert run.advance().watermarks == {"orders": NOON + timedelta(seconds=50)}


def test_a_version_is_seen_before_room_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Putting state into files takes up to a second; who waits for a version does not wait for that."""
    begun, go_on = threading.Event(), threading.Event()

    def make_room(_: Memory) -> None:
        begun.set()
        assert go_on.wait(60)

    with shop().open(tmp_path, auto=True, state_bytes_max=1) as run:
        monkeypatch.setattr(Memory, "make_room", make_room)
        commit = run.append("orders", [order(1)]).commit
        assert commit is not None
        assert run.wait_for(commit, 60).commit == commit
        assert run.query("FROM gmv").to_pylist() == [{"gmv": Decimal("10.00"), "orders": 1}]
        assert begun.wait(60)
        go_on.set()


def test_a_disk_that_refuses_state_leaves_it_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(_: Memory) -> None:
        raise OSError(28, "No space left on device")

    with shop().open(tmp_path, state_bytes_max=1) as run:
        monkeypatch.setattr(Memory, "make_room", full)
        run.append("orders", [order(1)])
        run.advance()
        monkeypatch.undo()
        run.append("orders", [order(2)])
        run.advance()
        assert run.query("FROM gmv").to_pylist() == [{"gmv": Decimal("20.00"), "orders": 2}]
    assert "stays in memory beyond its bound" in caplog.text
