"""Random cases in the conformance format: declarations, nested views, and what happens to them.

One source of chance gives one case; under hypothesis that source shrinks. A case is checked at every version,
by its `always check` line, and can be kept as a file as it stands.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from headrace.testing import Block, Case

from .expressions import call, predicate
from .functions import TWINS
from .grammar import Grammar
from .kinds import BAD, KEYS, ODD_KEYS, some_type, value
from .scope import Relation, Types

Row = list[Any]


@dataclass
class Base:
    """A stream or table of a case, and the rows that were sent to it."""

    kind: str
    name: str
    columns: tuple[tuple[str, str], ...]
    options: dict[str, str]
    sent: list[Row]

    @property
    def key(self) -> str | None:
        """The key column of a table, or the event id of a stream."""
        return self.options.get("key") or self.options.get("event_id")

    @property
    def block(self) -> Block:
        """Its declaration."""
        listed = ", ".join(f"{name} {kind}" for name, kind in self.columns)
        return Block(self.kind, self.name, tuple(self.options.items()), body=(listed,))

    @property
    def relation(self) -> Relation:
        """What a query reads."""
        return Relation(self.name, self.name, self.columns, self.options.get("event_time"))

    @property
    def history(self) -> Relation | None:
        """What a query reads of the history of a table that keeps one."""
        if "effective" not in self.options:
            return None
        name = f"{self.name}__history"
        return Relation(name, name, (*self.columns, ("valid_from", "TIMESTAMP"), ("valid_to", "TIMESTAMP")))


def random_case(rnd: Random, name: str = "random") -> Case:
    """Return one case: several nested views and few changes, or one view and many."""
    is_long = rnd.random() < 0.2
    bases = _bases(rnd)
    types = Types([at for base in bases for at in (base.relation, base.history) if at is not None], TWINS)
    try:
        views, relations = _views(rnd, types, bases, is_long=is_long)
        views, is_apart = _apart(rnd, views)
        turns = [] if is_apart else _turns(rnd, types, relations, views[-1])
    finally:
        types.close()
    steps = _steps(rnd, bases, is_long=is_long)
    steps = _in_time(rnd, steps) if is_apart else _among(rnd, steps, turns)
    return Case(name, (*(base.block for base in bases), *views), tuple(steps), always=True)


def _bases(rnd: Random) -> list[Base]:
    kinds = [rnd.choice(("stream", "table", "bag")) for _ in range(rnd.choice((1, 2, 2, 3)))]
    return [_base(rnd, kind, at) for at, kind in enumerate(kinds)]


def _base(rnd: Random, kind: str, number: int) -> Base:
    key_type = rnd.choice(KEYS) if rnd.random() < 0.8 else rnd.choice(ODD_KEYS)
    columns = [("k", key_type), *((f"c{i}", some_type(rnd)) for i in range(rnd.randint(1, 4)))]
    options: dict[str, str] = {}
    if kind == "table":
        options["key"] = "k"
        if rnd.random() < 0.25:
            columns.append(("seq", "SMALLINT"))
            options["sequence"] = "seq"
        if rnd.random() < 0.25:
            columns.append(("ts", "TIMESTAMP"))
            options["effective"] = "ts"
    if kind == "stream":
        if rnd.random() < 0.35:
            options["event_id"] = "k"
        if rnd.random() < 0.6:
            columns.append(("ts", "TIMESTAMP"))
            options["event_time"] = "ts"
            if rnd.random() < 0.7:
                options["lateness"] = rnd.choice(("1s", "1m", "2d"))
    names = {"stream": "s", "table": "t", "bag": "b"}
    return Base("table" if kind == "bag" else kind, f"{names[kind]}{number}", tuple(columns), options, [])


def _views(
    rnd: Random, types: Types, bases: list[Base], *, is_long: bool
) -> tuple[list[Block], list[Relation]]:
    relations = [at for base in bases for at in (base.relation, base.history) if at is not None]
    timed = {base.name: "ts" for base in bases if "lateness" in base.options}
    blocks = []
    for at in range(1 if is_long else rnd.choice((1, 1, 2, 3))):
        depth = rnd.choice((0, 1)) if is_long else rnd.choice((0, 0, 1, 1, 2))
        sql, columns = Grammar(rnd, types, relations).view(depth)
        name = f"v{at}"
        options = _emit(rnd, sql, timed)
        if timed and not options and rnd.random() < 0.04:
            sql, options = _final(rnd, types, timed), (("emit", "final"),)
            columns = types.describe(sql)
        elif options:
            sql = sql.replace("window_start AS ws, window_end AS we", "window_start, window_end")
            columns = types.describe(sql)
        blocks.append(Block("view", name, options, body=(sql,)))
        named = [(f'"{column}"' if not column.isidentifier() else column, kind) for column, kind in columns]
        if not any('"NULL"' in kind for _, kind in named):
            types.declare(name, named)
            relations.append(Relation(name, name, tuple(named)))
    return blocks, relations


def _apart(rnd: Random, views: list[Block]) -> tuple[list[Block], bool]:
    """Let a view refresh apart, seldom."""
    if rnd.random() > 0.06:
        return views, False
    at = rnd.randrange(len(views))
    if views[at].options:
        return views, False
    pace = rnd.choice(("1m", "1m", "1h"))
    return [*views[:at], replace(views[at], options=(("refresh", pace),)), *views[at + 1 :]], True


def _in_time(rnd: Random, steps: list[Block]) -> list[Block]:
    """Return the steps with more time between them; what is open again has all that was committed."""
    made = []
    for step in steps:
        made += [Block("advance")] if step.word == "reopen" else []
        made.append(step)
        if step.word == "advance" and rnd.random() < 0.4:
            made += [Block("clock", rest=rnd.choice(("+30s", "+1m", "+10m"))), step]
    return made


def _turns(rnd: Random, types: Types, relations: list[Relation], last: Block) -> list[Block]:
    """Return how views are made, replaced and dropped in the middle of a case, seldom; nobody reads them."""
    if rnd.random() > 0.12:
        return []
    turns = [Block("create", "extra", body=(_text(rnd, types, relations),))]
    if rnd.random() < 0.5:
        turns.append(Block("replace", "extra", body=(_text(rnd, types, relations),)))
    if rnd.random() < 0.4:
        turns.append(Block("drop", "extra"))
    if not last.options and rnd.random() < 0.5:
        others = [relation for relation in relations if relation.alias != last.name]
        turns = [Block(turn.word, turn.name, body=(_text(rnd, types, others),)) if turn.body else turn
                 for turn in turns]  # fmt: skip
        turns.insert(
            rnd.randrange(len(turns)), Block("replace", last.name, body=(_text(rnd, types, others),))
        )
    return turns


def _text(rnd: Random, types: Types, relations: list[Relation]) -> str:
    return Grammar(rnd, types, relations).view(rnd.choice((0, 0, 1)), nested=True)[0]


def _among(rnd: Random, steps: list[Block], turns: list[Block]) -> list[Block]:
    """Return the steps with the turns at some places among them, in their order; not inside a commit."""
    depth, places = 0, [0]
    for at, step in enumerate(steps):
        depth += (step.word == "begin") - (step.word == "commit")
        places += [at + 1] if depth == 0 else []
    chosen = sorted(rnd.choice(places[:-1]) for _ in turns)
    for at, turn in zip(reversed(chosen), reversed(turns), strict=True):
        steps.insert(at, turn)
    return steps


def _emit(rnd: Random, sql: str, timed: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Let some views of windows over one stream wait until their rows are final."""
    found = re.search(r" FROM (TUMBLE|HOP|CUMULATE|SESSION)\((s\d), (\w+),", sql)
    plain = sql.count(" FROM ") == 1 and " AS we" in sql and "now()" not in sql
    able = plain and found is not None and timed.get(found[2]) == found[3]
    return (("emit", "final"),) if able and rnd.random() < 0.8 else ()


def _final(rnd: Random, types: Types, timed: dict[str, str]) -> str:
    """Return a view whose rows become final, by their window's end or by event time itself."""
    name, time = rnd.choice(sorted(timed.items()))
    source = Relation(name, name, types.describe(f"FROM {name}"))
    form = rnd.randrange(5)
    if form < 3:
        kind = rnd.choice(("SESSION({}, {}, '1m')", "SESSION({}, {}, '10m', k)", "HOP({}, {}, '30s', '1m')",
                           "CUMULATE({}, {}, '30s', '1m')"))  # fmt: skip
        listed = f"window_start, window_end, {call(rnd, replace(source, alias='w'))} AS a0"
        return f"SELECT {listed} FROM {kind.format(name, time)} AS w GROUP BY window_start, window_end"
    if form == 3:
        return f"SELECT * FROM {name} WHERE {predicate(rnd, [source])}"
    return f"SELECT {time} AS at, {call(rnd, source)} AS a0 FROM {name} GROUP BY 1"


def _steps(rnd: Random, bases: list[Base], *, is_long: bool) -> list[Block]:
    """Return what happens: in one large step or many small ones, with time passing and a restart between."""
    advance = Block("advance")
    often = 0.95 if is_long else rnd.choice((1.0, 1.0, 0.6, 0.6, 0.2, 0.0))
    lives = rnd.random() < 0.25
    steps: list[Block] = [advance] if rnd.random() < 0.3 else []
    for _ in range(rnd.randint(10, 20) if is_long else rnd.randint(1, 9)):
        draw = rnd.random()
        if draw < 0.1:
            steps += [Block("begin"), *(_change(rnd, rnd.choice(bases)) for _ in range(2)), Block("commit")]
        elif draw < 0.16:
            steps += _rekeyed(rnd, bases)
        else:
            steps.append(_change(rnd, rnd.choice(bases)))
        if rnd.random() < often:
            steps.append(advance)
        if rnd.random() < 0.1:
            steps.append(Block("clock", rest=rnd.choice(("+1m", "+10m", "+2h"))))
        if lives and rnd.random() < 0.2:
            steps.append(Block("checkpoint"))
        if lives and rnd.random() < 0.25:
            steps.append(Block("reopen"))
    steps.append(advance)
    if rnd.random() < 0.06:
        steps.append(Block("query"))
    if rnd.random() < 0.15:
        steps += [Block("sides"), Block("past")]
    return steps


def _rekeyed(rnd: Random, bases: list[Base]) -> list[Block]:
    """Give a row of a table another key, or a row of a bag another value, in one commit."""
    able = [base for base in bases if base.kind == "table" and base.sent]
    if not able:
        return []
    base = rnd.choice(able)
    row = rnd.choice(base.sent)
    other = [value(rnd, base.columns[0][1], nulls=0.02), *row[1:]]
    base.sent.append(other)
    words = (("delete", row), ("upsert", other))
    made = [Block(word, base.name, body=_lines([line])) for word, line in words]
    return [Block("begin"), *made, Block("commit")]


def _change(rnd: Random, base: Base) -> Block:
    if base.kind == "table" and base.sent and rnd.random() < 0.35:
        rows = [rnd.choice(base.sent) for _ in range(rnd.randint(1, 3))]
        if "effective" in base.options and rnd.random() < 0.5:
            return Block("delete", base.name, body=tuple(json.dumps({"k": row[0]}) for row in rows))
        return Block("delete", base.name, body=_lines(rows))
    rows = [_row(rnd, base) for _ in range(rnd.choice((1, 1, 2, 3, 6)))]
    base.sent += rows
    return Block("append" if base.kind == "stream" else "upsert", base.name, body=_lines(rows))


def _row(rnd: Random, base: Base) -> Row:
    if base.sent and rnd.random() < 0.15:
        row = list(rnd.choice(base.sent))
        if rnd.random() < 0.6:
            at = rnd.randrange(len(row))
            row[at] = value(rnd, base.columns[at][1])
        return row
    row = []
    for name, kind in base.columns:
        must = name in (base.key, "ts", "seq")
        row.append(value(rnd, kind, nulls=0.02 if must else 0.12))
        if kind in BAD and rnd.random() < 0.005:
            row[-1] = rnd.choice(BAD[kind])
    return row


def _lines(rows: list[Row]) -> tuple[str, ...]:
    return tuple(json.dumps(row, ensure_ascii=False) for row in rows)
