"""Why a figure differs, as rows of a named query: the causes, and customers, movements and facts behind each.

    GET /v1/queries/why?merchant=acct_1&day=2026-01-31&reported=2026-02-01T09:00Z

One query tells all of it, so that a page shows one answer and it is computed once; `part` says what a row is:

    figure    what was reported, each cause, and what it is now: these add up to the cent
    customer  what a customer's movements moved under a cause; or, without a customer, what the balances of a
              currency did because rates or the way of converting changed, and what is left over by rounding
              customer by customer. The rows of a cause add up to it
    movement  a movement that came or went
    fact      a row of a table behind late data or a correction, about something that moved
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from headrace.errors import BadRequest
from headrace.solutions.billing.why import (
    CORRECTION,
    DEFINITION,
    LATE,
    NEW,
    RATES,
    Moment,
    Why,
    added,
    why,
)

WANTS = """
-- Why MRR at the end of a day is another figure now than it was reported: by cause, to the cent, with what is
-- behind each.
--
-- A cause is what came between the two moments: late data, correction, exchange rate, definition. Each is
-- given what the figure moved by when it was taken in after those before it. `amount` is in minor units of
-- `currency`, the reporting currency; `own_amount` in those of `own_currency`. `part` says what a row is:
-- figure, customer, movement, fact.
-- $merchant TEXT: whose
-- $scenario TEXT = live IN (live, {scenario_choices}): by which settings
-- $day DATE BETWEEN 1970-01-01 AND 2099-12-31: the end of which day the figure is of
-- $reported TEXT: when it was reported: a version, or a time such as 2026-02-01T09:00Z
-- $rows INTEGER = 1000 BETWEEN 0 AND 10000000: how many customers, movements and facts, the largest first
"""
COLUMNS = """
part TEXT, cause TEXT, is_total BOOLEAN, amount BIGINT, currency TEXT, customers BIGINT, movements BIGINT,
customer_id TEXT, name TEXT, own_amount BIGINT, own_currency TEXT, came TEXT, happened_at TIMESTAMP,
type TEXT, moved_by TEXT, subscription_id TEXT, product_id TEXT, price_id TEXT, relation TEXT, fact TEXT,
definition TEXT
"""
NAMES = "SELECT customer_id, name FROM customers WHERE merchant_id = $merchant"
STAMP = """
SELECT coalesce(strftime(set_at, 'set %Y-%m-%d %H:%M'), 'defaults') AS definition FROM scenarios
WHERE merchant_id = $merchant AND scenario = $scenario
"""
OWN = (
    "customer_id",
    "happened_at",
    "type",
    "cause",
    "subscription_id",
    "product_id",
    "price_id",
    "currency",
    "amount",
)
"""What of a movement is told; a movement that came as it went, but for other columns, is left out."""
HIDDEN = frozenset(("merchant_id", "seq"))
LISTED = (LATE, CORRECTION, NEW)
"""Causes that facts stand behind."""
MOVED = ("customer_id", "subscription_id", "price_id")
"""By what a fact is known to be about something that moved."""
Row = dict[str, Any]


def why_rows(run: Any, asked: Mapping[str, Any]) -> list[Row]:
    """Answer the named query `why`.

    Raises:
        BadRequest: a figure cannot be told because an exchange rate is missing, or the moment is none.
        VersionGone, VersionAhead: the moment is no longer kept, or not yet there.
    """
    if asked["day"] is None or not asked["reported"]:
        raise BadRequest(
            "a day and the moment of the report are wanted", expected="2026-01-31, 2026-02-01T09:00Z"
        )
    who = {"merchant": asked["merchant"]}
    try:
        found = why(run, asked["merchant"], asked["day"], asked["reported"], scenario=asked["scenario"])
    except ValueError as error:
        raise BadRequest(str(error)) from None
    names = {row["customer_id"]: row["name"] for row in run.query(NAMES, who).to_pylist()}
    stamp = run.query(STAMP, who | {"scenario": asked["scenario"]}).to_pylist()
    most = max(asked["rows"] or 0, 0)
    moves = told_apart(found)
    told = [*figures(found, moves), *customers(found, moves, most)]
    told += [*movements(moves, most), *facts(found, moves, most)]
    shared = {"currency": found.currency, "definition": stamp[0]["definition"] if stamp else None}
    return [shared | {"name": names.get(row.get("customer_id"))} | row for row in told]


def figures(found: Why, moves: Sequence[Row]) -> Iterator[Row]:
    """Yield what was reported, each cause and what it is now."""
    yield {"part": "figure", "cause": "reported", "is_total": True, "amount": found.reported}
    for cause, amount in found.moved.items():
        mine = [row for row in moves if row["cause"] == cause]
        people = {row["customer_id"] for row in mine}
        counts = {"customers": len(people) or None, "movements": len(mine) or None}
        yield {"part": "figure", "cause": cause, "is_total": False, "amount": amount, **counts}
    yield {"part": "figure", "cause": "now", "is_total": True, "amount": found.now}


def told_apart(found: Why) -> list[Row]:
    """Return the movements that came or went, without those that came as they went."""
    net: Counter[tuple[Any, ...]] = Counter()
    for row in found.movements:
        net[(_cause(found, row["_cause"]), *(row[name] for name in OWN))] += row["_weight"]
    rows = []
    for (cause, *values), weight in net.items():
        row = dict(zip(OWN, values, strict=True))
        moved_by, currency = row.pop("cause"), row.pop("currency")
        rows += [
            {"cause": cause, "moved_by": moved_by, "own_currency": currency, "weight": weight, **row}
        ] * bool(weight)
    return rows


def _cause(found: Why, cause: str) -> str:
    """Return a cause as the figure has it: where nothing was defined yet, all is new."""
    return NEW if cause == DEFINITION and found.before.currency is None else cause


def customers(found: Why, moves: Sequence[Row], most: int) -> list[Row]:
    """Return what each customer's movements moved, cause by cause, and what is left: the largest first."""
    sums: Counter[tuple[str, str, str]] = Counter()
    for row in moves:
        sums[row["cause"], row["customer_id"], row["own_currency"]] += row["weight"] * row["amount"]
    rows: list[Row] = conversions(found)
    for (cause, customer_id, currency), own in sums.items():
        if own:
            amount = _moment(found, cause).figure({currency: own}, found.day)
            row = {"customer_id": customer_id, "own_amount": own, "own_currency": currency, "amount": amount}
            rows.append({"part": "customer", "cause": cause, **row})
    for cause, moved in found.moved.items():
        left = moved - sum(row["amount"] or 0 for row in rows if row["cause"] == cause)
        if left:
            rows.append({"part": "customer", "cause": cause, "name": "(rounding)", "amount": left})
    return sorted(rows, key=lambda row: -abs(row["amount"] or 0))[:most]


def _moment(found: Why, cause: str) -> Moment:
    """Return what converts the movements of a cause."""
    return found.after if cause == DEFINITION or found.before.currency is None else found.before


def conversions(found: Why) -> list[Row]:
    """Return what other rates, or another way of converting, did to the balances of each currency."""
    balances = found.balances
    for cause in dict.fromkeys(row["_cause"] for row in found.movements):
        if cause != DEFINITION:
            balances = added(balances, found.movements, cause)
    between = Moment(found.after.rates, found.before.currency, found.before.rule)
    steps = [(RATES, found.before, between), (DEFINITION, between, found.after)]
    rows = []
    for cause, old, new in steps if found.before.currency is not None else ():
        for currency, amount in balances.items():
            was, is_now = old.figure({currency: amount}, found.day), new.figure({currency: amount}, found.day)
            if was is not None and is_now is not None and was != is_now and cause in found.moved:
                rows.append(
                    {"part": "customer", "cause": cause, "name": f"(all in {currency})", "own_amount": amount,
                     "own_currency": currency, "amount": is_now - was}
                )  # fmt: skip
    return rows


def movements(moves: Sequence[Row], most: int) -> list[Row]:
    """Return the movements that came or went, the largest first."""
    rows = sorted(moves, key=lambda row: (-abs(row["amount"]), row["happened_at"], row["customer_id"]))
    return [
        row | {"part": "movement", "own_amount": row["amount"] * row["weight"], "amount": None,
               "came": "came" if row["weight"] > 0 else "went"}
        for row in rows[:most]
    ]  # fmt: skip


def facts(found: Why, moves: Sequence[Row], most: int) -> list[Row]:
    """Return the rows of tables behind late data and corrections, each once.

    Those that moved nothing are left out, and those that went and came again as they were.
    """
    moved = [row for row in moves if row["cause"] in LISTED]
    names = {name: pa.array(sorted({row[name] for row in moved if row[name]}), pa.string()) for name in MOVED}
    rows: dict[tuple[Any, ...], Row] = {}
    came: dict[tuple[Any, ...], set[str]] = defaultdict(set)
    for relation, table in found.inputs.items():
        for row in _behind(table, names).to_pylist():
            told = [
                f"{name} {value}" for name, value in row.items()
                if not name.startswith("_") and name not in HIDDEN and value not in (None, False)
            ]  # fmt: skip
            which = "came" if row["_weight"] > 0 else "went"
            fact = {"part": "fact", "cause": row["_cause"], "relation": relation.removesuffix("__versions"),
                    "customer_id": row.get("customer_id"), "fact": ", ".join(told)}  # fmt: skip
            came[tuple(fact.values())].add(which)
            rows.setdefault(tuple(fact.values()), fact | {"came": which})
    return [row for key, row in rows.items() if len(came[key]) == 1][:most]


def _behind(table: pa.Table, moved: Mapping[str, pa.Array]) -> pa.Table:
    """Return the facts about what moved: a sheet that came again tells of everybody."""
    for name in (one for one in MOVED if one in table.column_names):
        column = table.column(name)
        table = table.filter(pc.or_(pc.is_null(column), pc.is_in(column, moved[name])))
    return table
