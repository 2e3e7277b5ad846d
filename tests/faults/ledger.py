"""What must be there: every answered call once, an unanswered one wholly or not at all, versions as seen."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import duckdb
from tests.faults.life import WRITERS
from tests.faults.shop import COLUMNS, GROSS, shop, views

import headrace as hr
from headrace.sql.plan import ViewPlan
from headrace.testing import Oracle

Facts = dict[str, Any]
Call = list[Any]
FIELDS = {name: [part.split()[0] for part in columns.split(", ")] for name, columns in COLUMNS.items()}


class Wrong(AssertionError):  # noqa: N818
    """Something is not as it must be."""


@dataclass
class Writer:
    """What one writer's rows must be, and the call that was on its way."""

    events: dict[int, tuple[Any, ...]] = field(default_factory=dict)
    stock: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    tags: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    position: Any = None
    calls: dict[int, Call] = field(default_factory=dict)
    done: set[int] = field(default_factory=set)
    open: int | None = None
    again: int | None = None
    next_call: int = 0

    @property
    def unanswered(self) -> int | None:
        """The call that it may make again: the one that was on its way at the end, or one before it."""
        return self.again if self.open is None else self.open

    def begin(self, number: int, call: Call) -> None:
        """Make a call; one before it that came to nothing is given up, for its rows may be gone by now.

        One that is in may be made again at any time: its answer stands.
        """
        self.calls[number] = call
        self.open = number
        self.next_call = max(self.next_call, number + 1)
        if self.again != number and self.again not in self.done:
            self.again = None

    def take(self, number: int) -> None:
        """Apply a call, once."""
        if number in self.done:
            return
        self.done.add(number)
        call = self.calls[number]
        for kind, relation, rows in call:
            for row in rows:
                self._apply(kind, relation, row)
        if len(call) > 1:
            self.position = number

    def _apply(self, kind: str, relation: str, row: dict[str, Any]) -> None:
        values = tuple(_plain(row.get(name)) for name in FIELDS[relation])
        if relation == "events":
            self.events.setdefault(row["id"], values)
        elif relation == "tags":
            self.tags[values] += 1 if kind == "upsert" else -1
            self.tags = +self.tags
        elif kind == "upsert":
            self.stock[row["item"]] = values
        else:
            self.stock.pop(row["item"], None)

    def content(self) -> tuple[Any, ...]:
        """Return everything that can be seen of the writer."""
        return self.events, self.stock, self.tags, self.position


class Ledger:
    """Everything that was told about one folder, over all its lives."""

    def __init__(self) -> None:
        self.writers = [Writer() for _ in range(WRITERS)]
        self.turnover = {GROSS}
        self.extra = {False}
        self.version = 0
        self.seen: dict[int, dict[str, str]] = {}
        self.checked = 0
        self.visits: Counter[str] = Counter()
        self._oracle = duckdb.connect(config={"threads": 1})
        self._oracle.execute("SET TimeZone = 'UTC'")
        for name, columns in COLUMNS.items():
            self._oracle.execute(f"CREATE TABLE {name} ({columns})")

    def close(self) -> None:
        self._oracle.close()

    def read(self, frames: Iterable[tuple[str, Facts]], *, is_disk_dead: bool = False) -> None:
        """Take in what one life told, and check it; where its disk was dead, it may have failed.

        Raises:
            Wrong: something that was promised does not hold.
        """
        for kind, facts in frames:
            if is_disk_dead and kind == "failed" and "Input/output error" in facts["text"]:
                continue
            getattr(self, f"_on_{kind}")(facts)

    # --- calls ------------------------------------------------------------------------------------
    def _on_begun(self, facts: Facts) -> None:
        self.writers[facts["w"]].begin(facts["number"], facts["call"])

    def _on_answered(self, facts: Facts) -> None:
        if facts["rejections"]:
            raise Wrong(f"rows of a good call were rejected: {facts}")
        writer = self.writers[facts["w"]]
        writer.take(facts["number"])
        writer.open = writer.again = None

    def _on_turning(self, facts: Facts) -> None:
        self.turnover.add(facts["turnover"])

    def _on_turned(self, facts: Facts) -> None:
        self.turnover = {facts["turnover"]}

    def _on_creating(self, facts: Facts) -> None:
        self.extra.add(facts["extra"])

    def _on_created(self, facts: Facts) -> None:
        self.extra = {facts["extra"]}

    def _on_failed(self, facts: Facts) -> None:
        raise Wrong(facts["text"])

    def _on_ended(self, facts: Facts) -> None:
        self.visits.update(facts["points"])

    # --- versions ---------------------------------------------------------------------------------
    def _on_seen(self, facts: Facts) -> None:
        version: hr.Version = facts["version"]
        if version.number < self.version:
            raise Wrong(f"version {version.number} after {self.version}")
        self.version = version.number
        before = self.seen.setdefault(version.number, {})
        digests: dict[str, str] = facts["digests"]
        other = [name for name in digests if before.get(name, digests[name]) != digests[name]]
        if other:
            raise Wrong(f"version {version.number} was seen otherwise before: {', '.join(other)}")
        before |= digests

    def _on_opened(self, facts: Facts) -> None:
        self._settle(facts)
        self._check(facts)

    def _on_last(self, facts: Facts) -> None:
        if any(writer.open is not None for writer in self.writers):
            raise Wrong("a call has no answer")
        self._check(facts)

    def _settle(self, facts: Facts) -> None:
        """Find out whether calls without an answer are in or not, and which definitions are in force."""
        for w, writer in enumerate(self.writers):
            if writer.open is None:
                continue
            without = deepcopy(writer)
            writer.take(writer.open)
            if not _same(writer, facts, w):
                self.writers[w] = without
            self.writers[w].again, self.writers[w].open = writer.open, None
        if facts["turnover"] not in self.turnover or bool(facts["created"]) not in self.extra:
            raise Wrong(f"definitions that nobody asked for: {facts['turnover']}, {facts['created']}")
        self.turnover, self.extra = {facts["turnover"]}, {bool(facts["created"])}

    def _check(self, facts: Facts) -> None:
        self._on_seen(facts)
        for w, writer in enumerate(self.writers):
            if not _same(writer, facts, w):
                raise Wrong(f"writer {w}, {facts['version']}:\n{_told_apart(writer, facts, w)}")
        if facts["rows"]["stock__rejected"]:
            raise Wrong("a good row was rejected")
        self._check_views(facts)
        self.checked += 1

    def _check_views(self, facts: Facts) -> None:
        for name in COLUMNS:
            self._oracle.execute(f"DELETE FROM {name}")
            rows = "[" + ",".join(facts["rows"][name]) + "]"
            shape = json.dumps([{part.split()[0]: part.split()[1] for part in COLUMNS[name].split(", ")}])
            self._oracle.execute(
                f"INSERT INTO {name} SELECT r.* FROM (SELECT unnest(from_json(?, ?)) AS r)", [rows, shape]
            )
        version: hr.Version = facts["version"]
        for name, plan in planned(facts["turnover"], tuple(facts["created"].items())).items():
            sql = plan.reference_sql if version.clock is None else plan.reference_at(version.clock)
            self._compare(name, _final(sql, version) if plan.emit else sql, facts)

    def _compare(self, name: str, sql: str, facts: Facts) -> None:
        self._oracle.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}")
        found = self._oracle.execute(f"SELECT to_json(r)::VARCHAR FROM {name} r").fetchall()
        wanted, got = Counter(row for (row,) in found), Counter(facts["rows"][name])
        if wanted != got:
            raise Wrong(
                f"{name} at {facts['version']}\nmissing: {list((wanted - got).elements())[:5]}\n"
                f"too much: {list((got - wanted).elements())[:5]}"
            )


@lru_cache
def planned(turnover: str, created: tuple[tuple[str, str], ...]) -> dict[str, ViewPlan]:
    """Return the plan of every view, inputs first."""
    app = shop(turnover)
    for name, sql in created:
        app.view(name, sql)
    with Oracle(app) as oracle:
        return {name: oracle.plan(name) for name in views(turnover, dict(created))}


def _final(sql: str, version: hr.Version) -> str:
    """Return what has passed the watermark of a version."""
    reached = version.watermarks.get("events")
    if reached is None:
        return f"SELECT * FROM ({sql}) WHERE false"
    bound = reached.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
    return f"SELECT * FROM ({sql}) WHERE window_end <= TIMESTAMP '{bound}'"


def _same(writer: Writer, facts: Facts, w: int) -> bool:
    return writer.content() == _content(facts, w)


def _content(facts: Facts, w: int) -> tuple[Any, ...]:
    rows = {name: _rows(facts, name, w) for name in ("events", "events__late", "stock", "tags")}
    events = [*rows["events"], *rows["events__late"]]
    if len({row[0] for row in events}) < len(events):
        raise Wrong(f"an event is there twice: {Counter(row[0] for row in events).most_common(3)}")
    stock, tags = {row[0]: row for row in rows["stock"]}, Counter(rows["tags"])
    return {row[0]: row for row in events}, stock, tags, facts["positions"][w]


def _rows(facts: Facts, name: str, w: int) -> list[tuple[Any, ...]]:
    fields = FIELDS[name.removesuffix("__late")]
    found = [json.loads(row) for row in facts["rows"][name]]
    return [tuple(row[field_] for field_ in fields) for row in found if row["w"] == w]


def _told_apart(writer: Writer, facts: Facts, w: int) -> str:
    lines = []
    for label, wanted, got in zip(
        ("events", "stock", "tags", "position"), writer.content(), _content(facts, w), strict=True
    ):
        if wanted != got and isinstance(wanted, dict):
            lines += [f"{label} wanted {wanted.get(k)} got {got.get(k)}" for k in wanted.keys() | got.keys()
                      if wanted.get(k) != got.get(k)][:5]  # fmt: skip
        elif wanted != got:
            lines.append(f"{label} wanted {wanted} got {got}")
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Return a value as the JSON of DuckDB shows it."""
    if isinstance(value, datetime):
        text = value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")
        return text.rstrip("0").rstrip(".") if "." in text else text
    return value
