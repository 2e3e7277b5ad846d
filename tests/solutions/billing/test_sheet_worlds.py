"""Random sheets, imported and corrected again and again, against arithmetic over the lines of the last one.

The lines mix named subscriptions, whose stretches may touch or overlap an open one, with unnamed ones;
trials, wishes to leave and ends come and go between sheets. A version of an earlier sheet that outlives its
correction, or a stretch that is ended by the wrong line, would be MRR on some day that no line explains.
"""

from __future__ import annotations

import csv
import io
import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest

import headrace as hr
from headrace.solutions.billing import settings
from headrace.solutions.billing.app import app

HEAD = "subscription,customer,amount,currency,interval,start,trial_end,canceled,end,quantity\n"
FIRST, LAST = date(2026, 1, 1), date(2026, 12, 31)
MONTHS: dict[str, int | Fraction] = {
    "": 1,
    "monthly": 1,
    "quarterly": 3,
    "6 months": 6,
    "yearly": 12,
    "weekly": Fraction(12, 52),
}
Lines = list[tuple[str, str, date, date | None]]
"""Subscription, customer, start, and the start of the next line of the same subscription."""


@pytest.fixture(scope="module")
def run() -> Iterator[hr.Run]:
    with app.open(None) as opened:
        yield opened


def a_day(rng: random.Random, since: date, until: date) -> date:
    return since + timedelta(days=rng.randrange((until - since).days + 1))


def frame(rng: random.Random) -> Lines:
    """Who has what from when on; a corrected sheet has the same."""
    lines: Lines = []
    for at in range(4):
        starts = sorted({a_day(rng, FIRST, date(2026, 10, 1)) for _ in range(rng.randrange(1, 4))})
        name = rng.choice(["", f"s{at}"])
        following = [*starts[1:], None] if name else [None] * len(starts)
        lines += [(name, f"c{at}", *both) for both in zip(starts, following, strict=True)]
    return lines


def sheet(rng: random.Random, lines: Lines) -> str:
    """The sheet with everything else drawn."""
    rows = []
    for name, customer, start, following in lines:
        latest = following or LAST
        end = rng.choice([None, a_day(rng, start, latest)])
        trial = a_day(rng, start, start + timedelta(days=20)) if rng.random() < 0.3 else ""
        asked = a_day(rng, start, end or latest) if rng.random() < 0.3 else ""
        cost = f"{rng.choice(['10', '19.99', '120', '0'])},{rng.choice(['usd', 'eur', 'jpy'])}"
        interval, quantity = rng.choice(list(MONTHS)), rng.choice(["", "1", "3", "0"])
        rows.append(f"{name},{customer},{cost},{interval},{start},{trial},{asked},{end or ''},{quantity}\n")
    rng.shuffle(rows)
    return HEAD + "".join(rows)


def worth(text: str, day: date, *, at_cancellation: bool) -> dict[str, int]:
    """MRR at the end of a day, by currency, from the lines alone."""
    subscriptions = defaultdict(list)
    for number, row in enumerate(csv.DictReader(io.StringIO(text))):
        subscriptions[row["subscription"] or str(number)].append(row)
    total: Counter[str] = Counter()
    for rows in subscriptions.values():
        rows.sort(key=lambda row: row["start"])
        for row, following in zip(rows, [*rows[1:], None], strict=True):
            ends = [row["end"], following["start"] if following else ""]
            ends += [row["canceled"]] if at_cancellation else []
            begins = max(row["start"], row["trial_end"])
            if begins <= day.isoformat() < min(filter(None, ends), default="9999"):
                size = 1 if row["currency"] == "jpy" else 100
                exact = Fraction(row["amount"]) * size * int(row["quantity"] or 1)
                total[row["currency"]] += int(exact / MONTHS[row["interval"]] + Fraction(1, 2))
    return {currency: amount for currency, amount in total.items() if amount}


def mrr(run: Any, merchant: str, scenario: str, day: date) -> dict[str, int]:
    sql = (
        "SELECT currency, CAST(sum(amount) AS BIGINT) AS mrr FROM mrr_daily "
        "WHERE merchant_id = ? AND scenario = ? AND day <= ? GROUP BY currency HAVING sum(amount) <> 0"
    )
    return {row["currency"]: row["mrr"] for row in run.query(sql, (merchant, scenario, day)).to_pylist()}


@pytest.mark.parametrize("seed", range(8))
def test_a_sheet_that_was_corrected_is_worth_its_lines(run: Any, seed: int) -> None:
    rng = random.Random(seed)
    merchant, lines = f"m{seed}", frame(rng)
    for _ in range(rng.randrange(1, 4)):
        text = sheet(rng, lines)
        done = run.receive("sheet", text.encode(), params={"merchant": merchant})
        assert not any(one.rejected for one in done)
    run.advance()
    settings.preview(run, merchant, by="ada", churn_at="cancellation")
    run.advance()
    for day in (a_day(rng, FIRST, LAST) for _ in range(12)):
        assert mrr(run, merchant, "live", day) == worth(text, day, at_cancellation=False), day
        assert mrr(run, merchant, "preview", day) == worth(text, day, at_cancellation=True), day
