"""A start from a checkpoint is a start from the log: same version, same answers, same memory at the door.

Each test leaves checkpoints in a folder, opens it again, and compares with what was there; some of them
damage what lies on the disk first. Whatever is damaged, the answers must be those of the log.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import headrace as hr
from headrace import keeper
from headrace.declarations import Checkpointing
from headrace.intake import Intake
from headrace.log import documents
from headrace.state import checkpoint as checkpoints
from headrace.testing import ManualClock

NOON = datetime.fromisoformat("2026-01-01T12:00:00+00:00")
VIEWS = {
    "per_shop": "SELECT shop, sum(amount) AS amount, count(*) AS n, min(placed) AS first "
    "FROM orders GROUP BY shop",
    "per_country": "SELECT country, sum(amount) AS amount FROM orders JOIN shops USING (shop) "
    "GROUP BY country",
    "per_minute": "SELECT window_start, median(amount) AS middle, count(DISTINCT id) AS ids "
    "FROM TUMBLE(orders, placed, INTERVAL 1 MINUTE) GROUP BY window_start",
    "best": "SELECT * FROM per_shop ORDER BY amount DESC LIMIT 2",
    "silent": "SELECT shop FROM shops LEFT JOIN orders USING (shop) WHERE orders.id IS NULL",
    "ratio": "SELECT shop, 100 // CAST(note AS INTEGER) AS share FROM shops",
}


def shop(**changed: str) -> hr.App:
    app = hr.App("shop")
    app.stream(
        "orders", "id BIGINT, shop TEXT, amount DECIMAL(18,2), placed TIMESTAMP",
        event_id="id", event_time="placed", lateness="1m",
    )  # fmt: skip
    app.table("shops", "shop TEXT, country TEXT, note TEXT", key="shop")
    app.table("tags", "shop TEXT, tag TEXT", key=None)
    for name, sql in {**VIEWS, **changed}.items():
        app.view(name, sql)
    return app


def orders(first: int, last: int) -> list[dict[str, Any]]:
    return [
        {"id": n, "shop": f"s{n % 7}", "amount": n % 11, "placed": NOON + timedelta(seconds=n)}
        for n in range(first, last)
    ]


def feed(run: hr.Run) -> None:
    run.upsert(
        "shops", [{"shop": f"s{n}", "country": "DK" if n % 2 else "PT", "note": "5"} for n in range(9)]
    )
    run.upsert("tags", [{"shop": "s1", "tag": "new"}] * 2)
    for first in range(0, 300, 50):
        run.append("orders", orders(first, first + 50))
        run.advance()
    run.delete("shops", [{"shop": "s1"}])
    run.advance()


def answers(run: hr.Run) -> dict[str, Any]:
    return {
        name: run.query(f"SELECT * FROM {name} ORDER BY ALL").to_pylist()
        for name in [*VIEWS, "shops", "tags", "orders", "orders__late", "shops__rejected"]
    }


def opened(path: Path, **changed: str) -> hr.Run:
    return shop(**changed).open(path, clock=ManualClock(NOON + timedelta(minutes=6)))


def left_behind(path: Path, times: int = 1) -> tuple[int, dict[str, Any]]:
    """Feed a folder, take checkpoints with rows between and after them; return version and answers."""
    with opened(path) as run:
        feed(run)
        for time in range(times):
            run.checkpoint()
            run.append("orders", orders(300 + 10 * time, 310 + 10 * time))
            run.advance()
        return run.version.number, answers(run)


def files(path: Path, ending: str) -> list[Path]:
    return sorted((path / "state").glob(f"*{ending}"))


def test_a_start_from_a_checkpoint_is_a_start_from_the_log(tmp_path: Path) -> None:
    version, there = left_behind(tmp_path)
    with opened(tmp_path) as run:
        assert run.version.number == version
        assert answers(run) == there
        again = run.append("orders", [*orders(298, 302), *orders(400, 402)])
        assert (again.repeated, again.accepted) == (4, 2)
        late = run.append("orders", [{"id": 900, "shop": "s1", "amount": 1, "placed": NOON}])
        assert late.late == 1
        assert run.upsert("shops", [{"shop": "s2", "country": "PT", "note": "5"}]).repeated == 1
        run.delete("tags", [{"shop": "s1", "tag": "new"}])
        run.upsert("shops", [{"shop": "s3", "country": "SE", "note": "2"}])
        run.advance()
        there = answers(run)
    for path in files(tmp_path, ""):
        path.unlink()
    with opened(tmp_path) as run:
        assert answers(run) == there


def test_only_what_came_after_the_checkpoint_is_replayed(tmp_path: Path, monkeypatch: Any) -> None:
    left_behind(tmp_path)
    decided: list[int] = []
    recover = Intake.recover

    def counted(intake: Any, record: Any) -> None:
        decided.append(getattr(record, "number", 0))
        recover(intake, record)

    monkeypatch.setattr(Intake, "recover", counted)
    with opened(tmp_path):
        pass
    assert [number for number in decided if number] == [10]


def test_a_second_checkpoint_writes_less_and_old_ones_go(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        feed(run)
        first = run.checkpoint()
        second = run.checkpoint()
        assert second.new_bytes < first.new_bytes
        for _ in range(3):
            run.checkpoint()
    assert len(files(tmp_path, ".json")) == checkpoints.KEPT
    needed = {int(path.name[:12]) for path in files(tmp_path, ".pack")}
    assert needed
    assert needed <= {1, 2, 3, 4, 5}


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at % len(data)] ^= 0x40
    path.write_bytes(data)


def newest_manifest(path: Path) -> None:
    flip(files(path, ".json")[-1], 200)


def newest_seal(path: Path) -> None:
    flip(files(path, ".json")[-1], 3)


def cut_manifest(path: Path) -> None:
    newest = files(path, ".json")[-1]
    newest.write_bytes(newest.read_bytes()[:-40])


def newest_pack(path: Path) -> None:
    flip(files(path, ".pack")[-1], 0)


def missing_pack(path: Path) -> None:
    files(path, ".pack")[-1].unlink()


def every_pack(path: Path) -> None:
    for pack in files(path, ".pack"):
        flip(pack, 1)


@pytest.mark.parametrize(
    "damage", [newest_manifest, newest_seal, cut_manifest, newest_pack, missing_pack, every_pack]
)
def test_what_is_damaged_is_passed_over_and_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Callable[[Path], None]
) -> None:
    version, there = left_behind(tmp_path, times=2)
    damage(tmp_path)
    with caplog.at_level(logging.WARNING, "headrace"), opened(tmp_path) as run:
        assert run.version.number == version
        assert answers(run) == there
    assert "passed over" in caplog.text


def test_a_draft_that_a_crash_left_does_not_count(tmp_path: Path) -> None:
    version, there = left_behind(tmp_path)
    (tmp_path / "state" / "000000000099.tmp").write_bytes(b"half")
    (tmp_path / "state" / "000000000098.pack").write_bytes(b"half")
    with opened(tmp_path) as run:
        assert (run.version.number, answers(run)) == (version, there)
        run.checkpoint()
    with opened(tmp_path) as run:
        assert answers(run) == there


def test_state_of_another_program_is_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    version, there = left_behind(tmp_path)
    monkeypatch.setattr(checkpoints, "program", lambda: "another")
    with caplog.at_level(logging.WARNING, "headrace"), opened(tmp_path) as run:
        assert (run.version.number, answers(run)) == (version, there)
    assert "another version of the program" in caplog.text


def test_a_checkpoint_that_asks_for_something_else_is_not_read(tmp_path: Path) -> None:
    import pickle

    from headrace.errors import StorageError
    from headrace.state.frozen import thaw

    class Evil:
        def __reduce__(self) -> Any:
            return json.loads, ("[]",)

    with pytest.raises(StorageError, match="none of ours"):
        thaw(pickle.dumps(Evil(), protocol=5), [])


def test_changed_definitions_apply_on_top_of_a_checkpoint(tmp_path: Path) -> None:
    left_behind(tmp_path)
    changed = "SELECT shop, count(*) AS amount, 0 AS n, max(placed) AS first FROM orders GROUP BY shop"
    with shop(per_shop=changed).open(
        tmp_path, clock=ManualClock(NOON + timedelta(minutes=6)), on_change="apply"
    ) as run:
        expected = run.query(
            "SELECT shop, count(*) AS amount FROM orders GROUP BY shop ORDER BY ALL"
        ).to_pylist()
        assert run.query("SELECT shop, amount FROM per_shop ORDER BY ALL").to_pylist() == expected
        there = answers(run)
        run.checkpoint()
    with opened(tmp_path, per_shop=changed) as run:
        assert answers(run) == there


def test_a_view_in_error_is_in_error_after_the_start_and_heals(tmp_path: Path) -> None:
    with opened(tmp_path) as run:
        feed(run)
        run.upsert("shops", [{"shop": "s8", "country": "DK", "note": "x"}])
        run.advance()
        run.checkpoint()
    with opened(tmp_path) as run:
        with pytest.raises(hr.errors.ViewInError):
            run.query("FROM ratio")
        run.upsert("shops", [{"shop": "s8", "country": "DK", "note": "5"}])
        run.advance()
        assert len(run.query("FROM ratio").to_pylist()) == 8


def drawing(version: str, drawn: list[int]) -> hr.App:
    """An app with a function that answers otherwise each time it is asked."""

    def draw(_: int) -> int:
        drawn.append(len(drawn) + 1)
        return drawn[-1]

    app = hr.App("draw")
    app.stream("tickets", "id BIGINT")
    app.function("draw", draw, args=["BIGINT"], returns="BIGINT", version=version, rowwise=True)
    app.view("drawn", "SELECT id, draw(id) AS number FROM tickets")
    return app


def test_answers_of_a_python_function_are_kept_and_those_of_another_are_not(tmp_path: Path) -> None:
    drawn: list[int] = []
    with drawing("1", drawn).open(tmp_path) as run:
        run.append("tickets", [{"id": 1}, {"id": 2}])
        run.advance()
        run.checkpoint()
    with drawing("1", drawn).open(tmp_path) as run:
        assert sorted(row["number"] for row in run.query("FROM drawn").to_pylist()) == [1, 2]
    with drawing("2", drawn).open(tmp_path, on_change="apply") as run:
        assert min(row["number"] for row in run.query("FROM drawn").to_pylist()) > 2


def test_one_is_taken_when_a_run_that_steps_by_itself_is_closed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(keeper, "ROWS_MIN", 1)
    with shop().open(tmp_path, auto=True) as run:
        feed(run)
    assert list((tmp_path / "state").glob("*.json"))


def test_in_memory_there_is_nothing_to_write(tmp_path: Path) -> None:
    with shop().open(None) as run, pytest.raises(hr.errors.DeclarationError, match="in memory"):
        run.checkpoint()


def test_a_disk_that_refuses_leaves_the_checkpoints_before(tmp_path: Path, monkeypatch: Any) -> None:
    version, there = left_behind(tmp_path)
    with opened(tmp_path) as run:

        def full(*_: Any) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(documents, "write_all", full)
        with pytest.raises(hr.errors.StorageError, match="No space left"):
            run.checkpoint()
        monkeypatch.undo()
        assert answers(run) == there
    with opened(tmp_path) as run:
        assert (run.version.number, answers(run)) == (version, there)


def settled(path: Path, **when: Any) -> hr.Run:
    return shop().open(
        path, clock=ManualClock(NOON + timedelta(minutes=6)), checkpoints=Checkpointing(**when)
    )


def test_so_many_are_kept_as_are_wanted(tmp_path: Path) -> None:
    with settled(tmp_path, kept=4) as run:
        for first in range(0, 60, 10):
            run.append("orders", orders(first, first + 10))
            run.advance()
            run.checkpoint()
        there = answers(run)
    assert [int(path.name[:12]) for path in files(tmp_path, ".json")] == [3, 4, 5, 6]
    for damaged in files(tmp_path, ".json")[1:]:
        flip(damaged, 100)
    with settled(tmp_path) as run:
        assert answers(run) == there


@pytest.mark.parametrize(
    ("when", "due"),
    [({}, False), ({"rows": 2_000}, True), ({"log_bytes": 20_000}, True), ({"every_s": 1e-9}, False)],
)
def test_a_checkpoint_is_due_after_so_much(tmp_path: Path, when: dict[str, Any], due: bool) -> None:
    with settled(tmp_path, **when) as run:
        kept = run._keeper
        assert kept is not None
        assert not kept.is_due()
        run.append("orders", orders(0, 2_000))
        assert kept.is_due() is due
        run.advance()
        run.checkpoint()
        assert not kept.is_due()


def test_rows_that_were_in_no_view_yet_make_the_next_one_due(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(keeper, "ROWS_MIN", 100)
    monkeypatch.setattr(keeper, "REST", 0.0)
    with settled(tmp_path, every_s=1e-9) as run:
        kept = run._keeper
        assert kept is not None
        run.append("orders", orders(0, 100))
        run.checkpoint()
        run.advance()
        assert kept.is_due()
        run.checkpoint()
        assert not kept.is_due()


def test_time_alone_makes_one_due_where_much_has_come(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(keeper, "ROWS_MIN", 100)
    with settled(tmp_path, every_s=1e-9) as run:
        run.append("orders", orders(0, 99))
        assert run._keeper is not None
        assert not run._keeper.is_due()
        run.append("orders", orders(99, 100))
        assert run._keeper.is_due()


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(hr.errors.DeclarationError, match="above 0"):
        Checkpointing(kept=0)


class Placed(hr.Event):
    """Rows whose class belongs to the user: no checkpoint may ask for it."""

    id: int
    amount: int = 1


class Shop(hr.Table):
    shop: str


def test_an_app_of_models_starts_from_its_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def app() -> hr.App:
        made = hr.App("models")
        made.stream("placed", Placed, event_id="id")
        made.table("shops", Shop, key="shop")
        return made

    with app().open(tmp_path) as run:
        run.append("placed", [{"id": 1}])
        run.upsert("shops", [{"shop": "a"}])
        run.advance()
        run.checkpoint()
    with caplog.at_level(logging.WARNING), app().open(tmp_path) as run:
        assert run.append("placed", [{"id": 1}, {"id": 2}]).statuses.tolist() == [1, 0]
        assert run.upsert("shops", [{"shop": "a"}, {"shop": "b"}]).statuses.tolist() == [1, 0]
    assert caplog.messages == []
