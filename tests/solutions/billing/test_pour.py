"""The settings of one merchant change to and fro while events pour in and the server is killed; a reader
hammers it all the while.

One question asks for the ledger, for `metrics`, and for all that is known of every customer, the settings
among it, at one version. The answer is right if each customer's ledger is what `recompute.py` makes of the
settings row of that very version, and the months are what the ledger adds up to: an answer that is partly of
the old settings and partly of the new ones is explained by neither. No version means two things, before a
kill and after it. A merchant that nobody touches keeps every row.

Nothing waits for a time: settings change when a reader has had an answer under those before, events are sent
as fast as answers come, kills come at a named point or after a number of answers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from tests.torture import Torture

import headrace as hr
from headrace.solutions.billing import settings
from headrace.solutions.billing.app import app
from headrace.solutions.billing.prove import defaults
from headrace.solutions.billing.recompute import Customer, Facts, Movement
from headrace.solutions.billing.simulate.history import World, make_world
from headrace.solutions.billing.simulate.live import Live
from headrace.solutions.billing.simulate.times import to_us

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 6, 10, tzinfo=UTC)
SINCE, UNTIL = date(2025, 7, 1), date(2026, 5, 31)
DEFINITIONS: dict[str, dict[str, Any]] = {
    "plain": defaults(),
    "chosen": {
        **defaults(),
        "active_from": "first_payment",
        "churn_at": "cancellation",
        "count_past_due": False,
    },
    "derived": {**defaults(), "time_zone": "Pacific/Auckland", "reactivation_days": 0},
}
"""Settings that the merchant goes through: some choose among derived movements, some derive them anew."""
MOVES = {
    "new": "new_mrr",
    "reactivation": "reactivation_mrr",
    "expansion": "expansion_mrr",
    "contraction": "contraction_mrr",
    "churn": "churned_mrr",
}
METRICS = app.named_queries["metrics"].text
LEDGER = "merchant_id, scenario, customer_id, happened_at, currency, type, amount"
KNOWN = f"""
SELECT
    (SELECT list(t) FROM subscriptions__history AS t) AS subscriptions,
    (SELECT list(t) FROM subscription_items__history AS t) AS items,
    (SELECT list(t) FROM prices__history AS t) AS prices,
    (SELECT list(t) FROM discounts AS t) AS discounts,
    (SELECT list(t) FROM coupons AS t) AS coupons,
    (SELECT list(t) FROM invoices AS t) AS invoices,
    (SELECT list(t) FROM settings AS t) AS settings,
    (SELECT list(t) FROM merchants AS t) AS merchants,
    (SELECT list(t) FROM (SELECT {LEDGER} FROM customer_movements WHERE scenario = 'live') AS t) AS movements,
    (SELECT list(t) FROM (
        {METRICS}
    ) AS t) AS months
"""
NO_SLICE: dict[str, Any] = dict.fromkeys(one.name for one in app.named_queries["metrics"].parameters)
STEADY = {**NO_SLICE, "scenario": "live", "since": SINCE, "until": UNTIL, "period": "month"}
Key = tuple[str, str]


class Nursery:
    """The warm process that forks one life after the other."""

    def __init__(self, folder: Path) -> None:
        self.errors = (folder / "errors.txt").open("w+")
        command = [sys.executable, "-m", "tests.solutions.billing.poured"]
        self.status = 0
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )

    def born(self, folder: Path, point: str, visit: int) -> tuple[str, int] | None:
        """Begin a life; return its address and process, None where it ended on its way to serving."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{folder}\t{point}\t{visit}\n")
        self._process.stdin.flush()
        said = self._said()
        if said[0] == "ended":
            self.status = int(said[1])
            return None
        return said[0], int(said[1])

    def ended(self) -> int:
        """Wait for the end of a life; return the signal that ended it, negated, or 0."""
        word, status = self._said()
        assert word == "ended"
        return int(status)

    def _said(self) -> list[str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self.errors.seek(0)
        assert line, self.errors.read()[-3000:]
        return line.rstrip("\n").split("\t")

    def close(self) -> None:
        """End it, and the life in it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self.errors):
            if pipe is not None:
                pipe.close()


@dataclass
class Told:
    """What is known of who reads, over all lives: a count of answers, and what they said."""

    merchant: str
    currency: str
    quiet: str
    answers: int = 0
    under: str | None = None
    alive: bool = True
    seen: dict[int, int] = field(default_factory=dict)
    newest: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    untouched: list[Any] | None = None
    changed: threading.Condition = field(default_factory=threading.Condition)
    _ledgers: dict[Any, Counter[Movement]] = field(default_factory=dict)

    def wait(self, until: Callable[[], bool]) -> bool:
        """Wait until something holds; False where the server went before it did."""
        with self.changed:
            self.changed.wait_for(lambda: until() or not self.alive)
            return until()

    def tell(self, **news: Any) -> None:
        """Say what is new."""
        with self.changed:
            for name, value in news.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def check(self, version: int, said: Mapping[str, list[dict[str, Any]]]) -> None:
        """Hold an answer against the settings of its version, and against what was read of it before."""
        rows = {(one["merchant_id"]): one for one in said["settings"] if one["scenario"] == "live"}
        found = by_customer(said["movements"])
        facts = facts_of(said)
        for key in facts.keys() | found.keys():
            expected = self._ledger(facts[key], rows.get(key[0], defaults()))
            if found.get(key, Counter()) != expected:
                self.wrong.append(f"version {version}: the ledger of {key} is not of its settings")
        under = definition_of(rows.get(self.merchant))
        zone = zone_of(said, rows.get(self.merchant), self.merchant)
        own = [
            row
            for row in said["movements"]
            if (row["merchant_id"], row["currency"]) == (self.merchant, self.currency)
        ]
        if [shown(row) for row in said["months"]] != months_of(own, zone):
            self.wrong.append(f"version {version}: the months are not of the ledger under {under!r}")
        self._same(version, said)
        if under is not None and self._tells_apart(facts, found, under):
            self.kinds[under] += 1
        self.tell(answers=self.answers + 1, under=under)

    def _ledger(self, facts: Facts, row: Mapping[str, Any]) -> Counter[Movement]:
        """The ledger from scratch; remembered, since most customers are as they were."""
        facts = Facts(
            row,
            facts.subscriptions,
            facts.items,
            facts.prices,
            facts.discounts,
            facts.invoices,
            facts.coupons,
        )
        chosen = tuple(row[name] for name in DEFINITIONS["plain"] if name not in ("changed_by", "note"))
        mark = (chosen, repr(vars(facts) | {"settings": None}))
        if mark not in self._ledgers:
            self._ledgers[mark] = Counter(Customer(facts).movements())
        return self._ledgers[mark]

    def _tells_apart(self, facts: Mapping[Key, Facts], found: Mapping[Key, Any], under: str) -> bool:
        """Whether the answer could not be of the definitions that choose otherwise."""
        own = [key for key in facts if key[0] == self.merchant]
        other = DEFINITIONS["plain" if under == "chosen" else "chosen"]
        return any(found.get(key, Counter()) != self._ledger(facts[key], other) for key in own)

    def _same(self, version: int, said: Mapping[str, list[dict[str, Any]]]) -> None:
        content = hash(tuple(sorted(map(str, (*said["movements"], *said["months"])))))
        if self.seen.setdefault(version, content) != content:
            self.wrong.append(f"version {version} means two things")
        if version < self.newest:
            self.wrong.append(f"version {version} comes after {self.newest}")
        self.newest = version
        quiet = sorted((row for row in said["movements"] if row["merchant_id"] == self.quiet), key=str)
        if self.untouched is None:
            self.untouched = quiet
        if quiet != self.untouched:
            self.wrong.append(f"version {version}: the merchant that nobody touches has moved")


def definition_of(row: Mapping[str, Any] | None) -> str | None:
    """The name of the settings of a row; None where they are none of this test's."""
    chosen = defaults() if row is None else row
    for name, values in DEFINITIONS.items():
        if all(chosen[one] == values[one] for one in values if one in settings_of_all()):
            return name
    return None


def settings_of_all() -> list[str]:
    """The settings in which the definitions of this test differ."""
    plain = DEFINITIONS["plain"]
    return [name for name in plain if any(one[name] != plain[name] for one in DEFINITIONS.values())]


def by_customer(movements: list[dict[str, Any]]) -> dict[Key, Counter[Movement]]:
    """The ledgers of an answer."""
    found: dict[Key, Counter[Movement]] = {}
    for row in movements:
        one = Movement(row["happened_at"], row["currency"], row["type"], row["amount"])
        found.setdefault((row["merchant_id"], row["customer_id"]), Counter())[one] += 1
    return found


def facts_of(said: Mapping[str, list[dict[str, Any]]]) -> dict[Key, Facts]:
    """What is known of each customer that ever subscribed to anything."""
    found: dict[Key, Facts] = {}
    for merchant, customer in {(one["merchant_id"], one["customer_id"]) for one in said["subscriptions"]}:
        mine = {
            name: [row for row in rows if row.get("merchant_id") == merchant] for name, rows in said.items()
        }
        own = [row for row in mine["subscriptions"] if row["customer_id"] == customer]
        ids = {row["subscription_id"] for row in own}
        items = [row for row in mine["items"] if row["subscription_id"] in ids]
        used = {row["price_id"] for row in items}
        found[merchant, customer] = Facts(
            {},
            own,
            items,
            [row for row in mine["prices"] if row["price_id"] in used],
            [
                row
                for row in mine["discounts"]
                if row["customer_id"] == customer or row["subscription_id"] in ids
            ],
            [row for row in mine["invoices"] if row["subscription_id"] in ids],
            mine["coupons"],
        )
    return found


def zone_of(
    said: Mapping[str, list[dict[str, Any]]], row: Mapping[str, Any] | None, merchant: str
) -> ZoneInfo:
    """The time zone in which a merchant's days are."""
    own = next(one["time_zone"] for one in said["merchants"] if one["merchant_id"] == merchant)
    return ZoneInfo((row and row["time_zone"]) or own)


def shown(month: Mapping[str, Any]) -> tuple[Any, ...]:
    """What is compared of a month."""
    return (month["first_day"], month["mrr"], *(month[name] for name in MOVES.values()))


def months_of(ledger: list[dict[str, Any]], zone: ZoneInfo) -> list[tuple[Any, ...]]:
    """The months of `metrics` from movements in one currency, slow and obvious."""
    months = []
    first = SINCE
    while first <= UNTIL:
        after = (first + timedelta(days=32)).replace(day=1)
        mrr, moved = 0, Counter[str]()
        for row in ledger:
            day = row["happened_at"].replace(tzinfo=UTC).astimezone(zone).date()
            if day < after:
                mrr += row["amount"]
            if first <= day < after:
                moved[row["type"]] += row["amount"]
        months.append((first, mrr, *(moved[name] for name in MOVES)))
        first = after
    return months


def read(url: str, told: Told) -> None:
    """Ask until the server is gone."""
    try:
        with hr.connect(url, patience_s=0) as books:
            while told.alive:
                ask(books, told)
    except hr.ConnectError:
        pass
    except Exception as error:
        told.wrong.append(f"no answer: {error!r}")
        raise
    finally:
        told.tell(alive=False)


def ask(books: Any, told: Told) -> None:
    """Ask once."""
    answer = books.answer(KNOWN, {**STEADY, "merchant": told.merchant, "of_currency": told.currency})
    (row,) = answer.table.to_pylist()
    told.check(int(answer.version), {name: rows or [] for name, rows in row.items()})


class Pour:
    """Sends what goes on in a world, one commit after the other, each until it is acknowledged."""

    def __init__(self, world: World, quiet: str) -> None:
        self._live = Live(world)
        self._rows = world.rows
        self._quiet = quiet
        self._number = self._sent = 0
        self._waiting: tuple[str, list[tuple[str, str, pa.Table]]] | None = None
        self.usage: set[str] = set()

    def into(self, url: str, told: Told) -> None:
        """Send until the server is gone, no faster than answers come."""
        self._sent = told.answers
        with hr.connect(url, patience_s=0) as books, suppress(hr.ConnectError):
            while told.wait(lambda: self._sent <= told.answers + 1) and told.alive:
                self._waiting = self._waiting or self._next()
                self.rest(books)
                self._sent += 1

    def rest(self, books: Any) -> None:
        """Send what was not acknowledged, if anything: it counts once."""
        if self._waiting is None:
            return
        key, calls = self._waiting
        with books.transaction(idempotency_key=key, on_reject="raise") as changes:
            for verb, name, rows in calls:
                getattr(changes, verb)(name, rows)
        self._waiting = None

    def _next(self) -> tuple[str, list[tuple[str, str, pa.Table]]]:
        self._number += 1
        self._live.tick(to_us(NOW + timedelta(hours=self._number)), 6)
        calls = []
        for name, rows in self._rows.take().items():
            kept = self._without_the_quiet(rows)
            calls.append(("append" if name in app.streams else "upsert", name, kept))
            if name == "meter_events":
                self.usage |= set(kept.column("event_id").to_pylist())
        for name, rows in self._rows.take_gone().items():
            calls.append(("delete", name, self._without_the_quiet(rows)))
        return f"act-{self._number}", [call for call in calls if call[2].num_rows]

    def _without_the_quiet(self, rows: pa.Table) -> pa.Table:
        if "merchant_id" not in rows.column_names:
            return rows
        return rows.filter(pa.compute.not_equal(rows.column("merchant_id"), self._quiet))


@contextmanager
def beside(*calls: Callable[[], None]) -> Iterator[None]:
    """Run calls on threads of their own for the time of a block, which they outlast until they return."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


@dataclass
class Play:
    """One folder through many lives."""

    folder: Path
    nursery: Nursery
    told: Told
    pour: Pour
    history: World | None
    order: int = 0

    def life(self, point: str = "-", visit: int = 1, answers: int | None = None, changes: int = 99) -> int:
        """Live once; return how it ended.

        Args:
            point: killed there.
            visit: at which visit.
            answers: killed after so many answers.
            changes: ended calmly after so many changes of settings, when all that was sent has been seen.
        """
        place = self.nursery.born(self.folder, point, visit)
        if place is None:
            return self.nursery.status
        url, process = place
        told, before = self.told, self.told.answers
        told.alive = True

        def kill() -> None:
            if answers is not None and told.wait(lambda: told.answers >= before + answers):
                os.kill(process, signal.SIGKILL)

        with suppress(hr.ConnectError):
            self._load(url)
            with beside(lambda: read(url, told), lambda: self.pour.into(url, told), kill):
                ran = self._change(url, changes)
                told.tell(alive=False)
            if ran or told.wrong:
                self._end(url, process)
        return self.nursery.ended()

    def _load(self, url: str) -> None:
        """Send the history of the world, without the definitions that it compares."""
        if self.history is None:
            return
        tables, gone = self.history.rows.take(), self.history.rows.take_gone()
        with hr.connect(url, patience_s=0) as books:
            for name, rows in tables.items():
                if name not in ("settings", "fx_rates"):
                    (books.append if name in app.streams else books.upsert)(name, rows)
            for name, rows in gone.items():
                books.delete(name, rows)
            books.advance()
        self.history = None

    def _end(self, url: str, process: int) -> None:
        """The last look: everything that was sent is there once, and all of it is right."""
        with hr.connect(url, patience_s=0) as books:
            self.pour.rest(books)
            books.advance()
            ask(books, self.told)
            usage = books.query("SELECT event_id FROM meter_events").column("event_id").to_pylist()
        os.kill(process, signal.SIGTERM)
        assert len(usage) == len(set(usage))
        assert self.pour.usage <= set(usage)

    def _change(self, url: str, changes: int) -> bool:
        """Change settings to and fro, each when an answer was seen under those before; say if it lived."""
        with hr.connect(url, patience_s=0) as books, suppress(hr.ConnectError):
            for _ in range(changes):
                names = sorted(DEFINITIONS)
                name = names[self.order % len(names)]
                settings.change(books, self.told.merchant, by="ada", **without_words(DEFINITIONS[name]))
                self.order += 1
                if not self.told.wait(lambda name=name: self.told.under == name):  # type: ignore[misc]
                    return False
            return True
        return False


def without_words(chosen: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that may be set."""
    return {name: chosen[name] for name in settings_of_all()}


@contextmanager
def play(folder: Path, seed: int = 4) -> Iterator[Play]:
    """A folder with three merchants: of one the settings change, one is left alone."""
    world = make_world(seed=seed, merchants=3, customers=3, years=1, until=NOW)
    shop, quiet = world.shops[0], world.shops[1].merchant_id
    nursery = Nursery(folder)
    try:
        told = Told(shop.merchant_id, shop.currencies[0], quiet)
        yield Play(folder / "data", nursery, told, Pour(world, quiet), history=world)
    finally:
        nursery.close()


def test_settings_change_while_events_pour_in_and_the_server_is_killed(tmp_path: Path) -> None:
    with play(tmp_path) as playing:
        assert playing.life(answers=2) == -9
        assert playing.life("version recorded", 5) == -9
        assert playing.life(changes=3) == 0
        assert playing.told.wrong == []
        assert playing.told.kinds.keys() == DEFINITIONS.keys()
        assert playing.told.untouched


POINTS = (
    "commit durable",
    "version computed",
    "version recorded",
    "version shown",
    "checkpoint frozen",
    "before sync log/*.seg",
    "inside write log/*.seg",
)


@pytest.mark.torture(weight=4, least=3)
def test_settings_change_through_many_kills(tmp_path: Path, torture: Torture) -> None:
    def case(seed: int) -> None:
        rng = Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        with play(folder, seed % 1_000) as playing:
            for _ in range(5):
                if rng.random() < 0.5:
                    playing.life(rng.choice(POINTS), rng.randint(1, 30), changes=12)
                else:
                    playing.life(answers=rng.randint(1, 30))
            assert playing.life(changes=3) == 0
            assert playing.told.wrong == []

    torture.play(case)
